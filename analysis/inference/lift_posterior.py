"""Posterior of the lift between two proportions: exact binomial likelihood, normal prior of the lift.

One prior, that of the rule, for every kind of metric: control's rate is uniform, the lift l = p_t/p_c − 1
is normal before the data (cut where a rate would leave [0, 1]). The two-dimensional posterior is integrated
by quadrature, never by Monte Carlo: over the logit of p_c's share of its range by the trapezoid rule around
its most likely value given l, over l by Gauss-Legendre on panels that meet at l = 0. Probability, interval
and loss come from those panels, so the interval excludes 0 exactly when the probability of being better says
so.

For large counts it is the normal posterior of `effect_prior`; with few events it has the skewness that one
lacks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from switchpoint.analysis.inference.effect_prior import EffectPosterior, EffectPrior
from switchpoint.analysis.inference.restricted import restricted_rates_ratio
from switchpoint.analysis.numerics.estimates import Float
from switchpoint.analysis.numerics.reasons import Reason, first_reason
from switchpoint.experiment.definition.types import Direction

_REACH, _PANELS, _NODES = 9.0, 16, 4
_RATES = np.linspace(-7.5, 7.5, 21)
_ROWS = 400
"""Comparisons integrated at a time, to keep the memory small."""


def binomial_lift(
    counts: ArrayLike,
    *,
    prior: EffectPrior,
    direction: Direction = Direction.INCREASE,
    alpha: float = 0.05,
) -> EffectPosterior:
    """Posterior lifts of pairs of proportions.

    Args:
        counts: (..., 4) successes and units of control, then of the other variant.
        prior: of the lift.
    """
    given = np.asarray(counts, float)
    flat = given.reshape(-1, 4)
    xc, nc, xt, nt = flat.T
    none, every = (xc + xt) <= 0, (xc + xt) >= (nc + nt)
    empty = ~((nc >= 1) & (nt >= 1))
    reason = first_reason(
        (empty, Reason.TOO_FEW_UNITS), (none, Reason.ZERO_CONTROL), (every, Reason.ZERO_VARIANCE)
    )
    columns = np.full((7, len(flat)), np.nan)
    for start in range(0, len(flat), _ROWS):
        rows = np.flatnonzero(reason[start : start + _ROWS] == 0) + start
        if rows.size:
            columns[:, rows] = _integrated(flat[rows], prior, alpha)
    mean, sd, low, high, above, up, down = columns.reshape(7, *given.shape[:-1])
    gain = direction is Direction.INCREASE
    return EffectPosterior(
        mean=mean, sd=sd, low=low, high=high, better=above if gain else 1 - above,
        loss_treatment=down if gain else up, loss_control=up if gain else down, alpha=alpha,
        reason=reason.reshape(given.shape[:-1]),
    )  # fmt: skip


def _integrated(counts: Float, prior: EffectPrior, alpha: float) -> Float:
    """Mean, sd, both bounds, P(l > 0), E max(l, 0) and E max(−l, 0) of every row."""
    edges = _edges(counts, prior)
    x, w = np.polynomial.legendre.leggauss(_NODES)
    half = np.diff(edges, axis=1)[..., None] / 2
    lift = edges[:, :-1, None] + half * (x + 1)
    log = _log_marginal(counts[:, :, None, None], lift) - 0.5 * np.square((lift - prior.mean) / prior.sd)
    density = np.exp(log - log.max(axis=(1, 2), keepdims=True)) * half * w
    density /= density.sum(axis=(1, 2), keepdims=True)
    mass = density.sum(axis=2)
    mean = (density * lift).sum(axis=(1, 2))
    spread = np.sqrt((density * np.square(lift - mean[:, None, None])).sum(axis=(1, 2)))
    above = mass[:, _PANELS:].sum(axis=1)
    up = (density * np.maximum(lift, 0.0)).sum(axis=(1, 2))
    down = (density * np.maximum(-lift, 0.0)).sum(axis=(1, 2))
    low, high = (_quantile(edges, mass, level) for level in (alpha / 2, 1 - alpha / 2))
    return np.stack([mean, spread, low, high, above, up, down])


def _edges(counts: Float, prior: EffectPrior) -> Float:
    """Panels on both sides of 0 that cover the posterior; all on one side where 0 is out of reach."""
    xc, nc, xt, nt = counts.T
    pc, pt = (xc + 0.5) / (nc + 1), (xt + 0.5) / (nt + 1)
    ratio = pt / pc
    # the likelihood is nearer to normal in log(1 + l): its reach is taken there, then narrowed by the prior
    error = np.sqrt((1 - pc) / (nc * pc) + (1 - pt) / (nt * pt))
    first, last = prior.mean - _REACH * prior.sd, prior.mean + _REACH * prior.sd
    low = np.maximum(np.maximum(ratio * np.exp(-_REACH * error) - 1, first), -1 + 1e-9)
    high = np.minimum(ratio * np.exp(_REACH * error) - 1, last)
    # data far beyond the prior: both tails are kept
    low, high = np.minimum(low, np.maximum(last, -1 + 2e-9)), np.maximum(high, first + 1e-9)
    high = np.maximum(high, low + 1e-12)
    centre = np.clip(0.0, low, high)
    step = np.arange(_PANELS + 1) / _PANELS
    a, b, c = (np.log1p(part)[:, None] for part in (low, centre, high))
    panels = np.expm1(np.concatenate([a + (b - a) * step, b + (c - b) * step[1:]], axis=1))
    panels[:, _PANELS] = centre
    return np.asarray(panels, dtype=np.float64)


def _log_marginal(counts: Float, lift: Float) -> Float:
    """log ∫ p^x_c (1 − p)^(n_c − x_c) (rp)^x_t (1 − rp)^(n_t − x_t) dp at r = 1 + lift (up to a constant)."""
    xc, nc, xt, nt = counts[:, 0], counts[:, 1], counts[:, 2], counts[:, 3]
    ratio = 1 + lift
    top = np.minimum(1.0, 1 / ratio)  # control's highest rate: neither rate is above 1
    rate, _ = restricted_rates_ratio(xc + 0.5, nc + 1, xt + 0.5, nt + 1, ratio)
    share = np.clip(rate / top, 1e-12, 1 - 1e-12)
    other = np.minimum(rate * ratio, 1 - 1e-12)
    information = (nc + 1) / (rate * np.maximum(1 - rate, 1e-12)) + np.square(ratio) * (nt + 1) / (
        other * (1 - other)
    )
    width = 1 / (np.sqrt(information) * top * share * (1 - share))
    u = special.logit(share)[..., None] + _RATES * width[..., None]
    odds = np.exp(-u)
    # log of p over its highest value, and of what is left of that
    part = -np.log1p(odds)
    rest, top, peak = odds * np.exp(part), top[..., None], (top * ratio)[..., None]
    log = (
        (xc + xt + 1)[..., None] * part
        + (nc - xc)[..., None] * np.log(np.maximum(1 - top + top * rest, 1e-300))
        + (nt - xt)[..., None] * np.log(np.maximum(1 - peak + peak * rest, 1e-300))
        + (part - u)
    )
    most = log.max(axis=-1)
    total = np.log(np.exp(log - most[..., None]).sum(axis=-1) * width)
    return np.asarray(
        most + total + (xc + 1) * np.log(top[..., 0]) + xt * np.log(peak[..., 0]), dtype=np.float64
    )


def _quantile(edges: Float, mass: Float, level: float) -> Float:
    """Where the distribution reaches `level`: linear between the panels' edges on the normal scale."""
    below = np.concatenate([np.zeros((len(mass), 1)), np.cumsum(mass, axis=1)], axis=1)
    z = special.ndtri(np.clip(below, 1e-300, 1 - 1e-16))
    place = np.clip((below < level).sum(axis=1) - 1, 0, mass.shape[1] - 1)
    rows: NDArray[np.int64] = np.arange(len(mass))
    z0, z1 = z[rows, place], z[rows, place + 1]
    share = np.clip((special.ndtri(level) - z0) / np.where(z1 > z0, z1 - z0, 1.0), 0.0, 1.0)
    return np.asarray(edges[rows, place] + share * (edges[rows, place + 1] - edges[rows, place]))
