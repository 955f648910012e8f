"""Bayesian reading of an effect or lift under a prior, and the prior that past experiments give.

The estimate is taken as normal with its standard error; with a prior N(m0, s0²) the posterior is the
precision-weighted mean. A proper prior is what shrinks the winner's curse; without one the numbers are a
one-sided p-value in another dress. Decision and interval come from the one posterior.

Of two proportions the lift has an exact binomial likelihood and the same prior: control's rate is uniform,
the lift l = p_t/p_c − 1 is normal before the data (cut where a rate would leave [0, 1]). The two-dimensional
posterior is integrated by quadrature, never by Monte Carlo: over the logit of p_c's share of its range by the
trapezoid rule around its most likely value given l, over l by Gauss-Legendre on panels that meet at l = 0.
Probability, interval and loss come from those panels, so the interval excludes 0 exactly when the probability
of being better says so. For large counts it is the normal posterior; with few events it has the skewness that
one lacks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from switchpoint.analysis.inference.proportion import restricted_rates_ratio
from switchpoint.analysis.inference.random_effects import Heterogeneity, Reference, pool_effects
from switchpoint.analysis.numerics.estimates import Alternative, Estimates, Float
from switchpoint.analysis.numerics.reasons import CannotEstimate, Codes, Reason, first_code, first_reason
from switchpoint.analysis.numerics.tail import critical
from switchpoint.experiment.definition.types import WEAK_LIFT, Direction
from switchpoint.experiment.errors import BadInput


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectPrior:
    """What is believed of an effect before the data, on the scale of the estimate (a lift, mostly)."""

    mean: float = 0.0
    sd: float = WEAK_LIFT


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectPosterior:
    """Normal posteriors of effects; every array has one shape.

    `better`: probability that treatment is better than control in the metric's direction. `low`, `high`:
    equal-tailed credible interval. `loss_treatment`, `loss_control`: what choosing each gives up on
    average, on the scale of the effect. Where `reason` is not 0 every number is NaN.
    """

    mean: Float
    sd: Float
    low: Float
    high: Float
    better: Float
    loss_treatment: Float
    loss_control: Float
    alpha: float
    reason: Codes


def effect_posterior(
    estimate: Estimates,
    *,
    prior: EffectPrior | None,
    direction: Direction = Direction.INCREASE,
    alpha: float = 0.05,
) -> EffectPosterior:
    """Posterior of an estimated effect or lift.

    m = (x/v + m0/s0²)/(1/v + 1/s0²), s² = 1/(1/v + 1/s0²); P(better) = Φ(m/s); loss = s·φ(m/s) ∓ m·Φ(∓m/s).

    Args:
        estimate: effect or lift with a standard error (for lifts `delta_lift`, whose error is symmetric).
        prior: on the same scale; None = flat, for comparison with tools that default to it, never a design.

    Raises:
        BadInput: for a prior whose standard deviation is not above 0 and finite.
    """
    return normal_posterior(
        estimate.estimate, estimate.standard_error, estimate.reason, prior=prior, direction=direction,
        alpha=alpha,
    )  # fmt: skip


def normal_posterior(
    value: Float,
    error: Float,
    given: Codes,
    *,
    prior: EffectPrior | None,
    direction: Direction = Direction.INCREASE,
    alpha: float = 0.05,
) -> EffectPosterior:
    """`effect_posterior` of an estimate with its standard error; `given` says why one is not there.

    Raises:
        BadInput: for a prior whose standard deviation is not above 0 and finite.
    """
    if prior is not None and not (np.isfinite(prior.mean) and 0 < prior.sd < np.inf):
        raise BadInput(
            "a prior is proper", field="prior", value=(prior.mean, prior.sd), fix="give sd above 0"
        )
    x, v = value, np.square(error)
    with np.errstate(invalid="ignore", divide="ignore"):
        flat = ~(v > 0)
        reason = first_code(given, first_reason((flat, Reason.ZERO_VARIANCE)))
        extra = 0.0 if prior is None else 1 / prior.sd**2
        pull = 0.0 if prior is None else prior.mean * extra
        precision = 1 / v + extra
        mean, sd = (x / v + pull) / precision, 1 / np.sqrt(precision)
    z = mean / sd
    density = np.exp(-0.5 * np.square(z)) / np.sqrt(2 * np.pi)
    up = sd * density + mean * special.ndtr(z)
    down = sd * density - mean * special.ndtr(-z)
    gain = direction is Direction.INCREASE
    reach = critical(alpha, np.inf, Alternative.TWO_SIDED) * sd

    def held(column: ArrayLike) -> Float:
        return np.where(reason == 0, np.asarray(column, float), np.nan)

    return EffectPosterior(
        mean=held(mean), sd=held(sd), low=held(mean - reach), high=held(mean + reach),
        better=held(special.ndtr(z if gain else -z)),
        loss_treatment=held(np.maximum(down if gain else up, 0.0)),
        loss_control=held(np.maximum(up if gain else down, 0.0)),
        alpha=alpha, reason=reason,
    )  # fmt: skip


def empirical_prior(effects: ArrayLike, standard_errors: ArrayLike, *, centred: bool = False) -> EffectPrior:
    """Prior from the effects of past experiments: the normal-normal model by REML.

    sd² = τ² plus the uncertainty of the mean, so few experiments give a wide prior. Effects that were
    selected because they won make it too optimistic: give all of them.

    Args:
        effects: estimates of comparable past experiments (lifts). standard_errors: theirs.
        centred: take the prior mean as 0 instead of estimating it.

    Raises:
        CannotEstimate: with fewer than two experiments, or when they show no variation beyond noise.
    """
    error = np.asarray(standard_errors, float)
    pooled = pool_effects(
        effects, np.square(error), heterogeneity=Heterogeneity.REML, reference=Reference.NORMAL
    )
    if int(pooled.reason):
        raise CannotEstimate(Reason.TOO_FEW_UNITS, "empirical prior: fewer than two past experiments")
    spread = float(pooled.tau2)
    if spread <= 0:
        raise CannotEstimate(Reason.ZERO_VARIANCE, "empirical prior: past effects vary no more than noise")
    mean = 0.0 if centred else float(pooled.mean)
    more = float(pooled.mean) ** 2 if centred else float(pooled.standard_error) ** 2
    return EffectPrior(mean=mean, sd=float(np.sqrt(spread + more)))


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
