"""Effects of many segments (or of past experiments) pooled and shrunk: the normal-normal model.

y_i = μ + u_i + e_i with Var e_i = v_i known and Var u_i = τ² unknown. Segments are ranked by their shrunken
values only: the most extreme raw effect is mostly luck. One family lies along the last axis; members
without an estimate (NaN) take no part. Viechtbauer (2010), J. Stat. Softw. 36(3).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from switchpoint.analysis.numerics.estimates import Alternative, Float
from switchpoint.analysis.numerics.reasons import Codes, Reason, first_reason
from switchpoint.analysis.numerics.tail import bracketed_root, critical, p_values

_RESOLUTION = 1e-14
"""τ² below this share of the smallest sampling variance is zero."""
_GRID = 2.0 ** np.arange(-16, 3)


class Heterogeneity(StrEnum):
    """Estimator of τ²: restricted maximum likelihood (default), DerSimonian & Laird (1986), or none
    (one common effect)."""

    REML = "reml"
    DERSIMONIAN_LAIRD = "dersimonian-laird"
    NONE = "none"


class Reference(StrEnum):
    """How the common effect is tested: Hartung & Knapp (t with k − 1 df; default) or the normal."""

    HARTUNG_KNAPP = "hartung-knapp"
    NORMAL = "normal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """The common effect and the shrunken members; one entry per family.

    `tau2`: variance between members. `q`, `q_p`: Cochran's test that all members have one effect (the
    interaction test). `i2`: share of the variation that is between members, 0 to 1. `shrunk`,
    `shrunk_error`: best linear unbiased predictions of the members (..., members) and their standard
    errors. Where `reason` is not 0 (fewer than two members) every number is NaN.
    """

    tau2: Float
    mean: Float
    standard_error: Float
    p_value: Float
    low: Float
    high: Float
    q: Float
    q_p: Float
    i2: Float
    members: Float
    shrunk: Float
    shrunk_error: Float
    reason: Codes

    @property
    def i2_percent(self) -> Float:
        """`i2` in percent."""
        return np.asarray(100 * self.i2)


def pool_effects(
    effects: ArrayLike,
    variances: ArrayLike,
    *,
    alpha: float = 0.05,
    heterogeneity: Heterogeneity = Heterogeneity.REML,
    reference: Reference = Reference.HARTUNG_KNAPP,
) -> Pooled:
    """Pool the effects of a family (last axis) and shrink each towards the common one.

    Args:
        effects: estimates. variances: their squared standard errors (> 0).

    Sources: Viechtbauer (2005), J. Educ. Behav. Stat. 30:261 (REML); Hartung & Knapp (2001), Stat. Med.
    20:3875; predictions as metafor's `blup`.
    """
    y, v = np.broadcast_arrays(np.asarray(effects, float), np.asarray(variances, float))
    with np.errstate(invalid="ignore"):
        used = np.isfinite(y) & np.isfinite(v) & (v > 0)
    count = used.sum(axis=-1).astype(float)
    reason = first_reason((count < 2, Reason.TOO_FEW_UNITS))
    y, v = np.where(used, y, 0.0), np.where(used, v, 1.0)
    k = np.maximum(count, 2.0)
    fixed_w = np.where(used, 1 / v, 0.0)
    q = _q(y, fixed_w)
    tau2 = _tau2(y, v, used, k, heterogeneity)
    w = np.where(used, 1 / (v + tau2[..., None]), 0.0)
    mean = _centre(y, w)
    variance = 1 / _positive(w.sum(axis=-1))
    df = np.full_like(k, np.inf)
    if reference is Reference.HARTUNG_KNAPP:
        variance, df = variance * _q(y, w) / (k - 1), k - 1
    error = np.sqrt(variance)
    with np.errstate(invalid="ignore", divide="ignore"):
        p, _ = p_values(mean / error, df, Alternative.TWO_SIDED)
    reach = critical(alpha, df, Alternative.TWO_SIDED) * error
    share = (tau2[..., None] / (tau2[..., None] + v)) if heterogeneity is not Heterogeneity.NONE else 0 * v
    shrunk = share * y + (1 - share) * mean[..., None]
    shrunk_error = np.sqrt(share * v + np.square(1 - share) * variance[..., None])

    def held(column: Float) -> Float:
        return np.where(reason == 0, column, np.nan)

    each = used & (reason == 0)[..., None]
    return Pooled(
        tau2=held(tau2), mean=held(mean), standard_error=held(error), p_value=held(p),
        low=held(mean - reach), high=held(mean + reach), q=held(q), q_p=held(special.chdtrc(k - 1, q)),
        i2=held(_i2(tau2, fixed_w, k)), members=np.asarray(count), shrunk=np.where(each, shrunk, np.nan),
        shrunk_error=np.where(each, shrunk_error, np.nan), reason=reason,
    )  # fmt: skip


def _tau2(y: Float, v: Float, used: NDArray[np.bool_], k: Float, method: Heterogeneity) -> Float:
    """Variance between members, never negative."""
    w = np.where(used, 1 / v, 0.0)
    if method is Heterogeneity.NONE:
        return np.zeros_like(k)
    total = _positive(w.sum(axis=-1))
    spare = _positive(total - np.square(w).sum(axis=-1) / total)
    start = np.maximum(0.0, (_q(y, w) - (k - 1)) / spare)
    if method is Heterogeneity.DERSIMONIAN_LAIRD:
        return start
    return _reml(y, v, used, start)


def _reml(y: Float, v: Float, used: NDArray[np.bool_], start: Float) -> Float:
    """Maximum of the restricted likelihood, which may have two: from the best point of a grid to the zero of
    the score between it and its neighbour uphill."""
    scale = np.where(used, v, np.inf).min(axis=-1)
    scale = np.where(np.isfinite(scale), scale, 1.0)
    spread = np.where(used, np.square(y - _centre(y, used.astype(np.float64))[..., None]), 0.0).max(axis=-1)
    widest = np.maximum(spread, scale)
    grid = np.sort(np.stack([0 * scale, start, *(widest * step for step in _GRID)]), axis=0)
    best = np.argmax(_likelihood(y, v, used, grid), axis=0)[None]
    highest = np.take_along_axis(grid, best, axis=0)
    uphill = np.where(_score(y, v, used, highest) > 0, 1, -1)
    beside = np.take_along_axis(grid, np.clip(best + uphill, 0, len(grid) - 1), axis=0)
    found = bracketed_root(
        lambda tau2: _score(y, v, used, tau2), highest, beside, resolution=_RESOLUTION * scale
    )
    climbed = _likelihood(y, v, used, found) > _likelihood(y, v, used, highest)
    return np.asarray(np.where(climbed, found, highest)[0], dtype=np.float64)


def _score(y: Float, v: Float, used: NDArray[np.bool_], tau2: Float) -> Float:
    """Slope of the restricted likelihood in τ², doubled (Viechtbauer 2005, eq. 11)."""
    w = np.where(used, 1 / (v + tau2[..., None]), 0.0)
    total = _positive(w.sum(axis=-1))
    residual = np.square(w * (y - _centre(y, w)[..., None])).sum(axis=-1)
    return np.asarray(residual - (total - np.square(w).sum(axis=-1) / total), dtype=np.float64)


def _likelihood(y: Float, v: Float, used: NDArray[np.bool_], tau2: Float) -> Float:
    """Restricted log likelihood up to a constant."""
    total = v + tau2[..., None]
    w = np.where(used, 1 / total, 0.0)
    logs = np.where(used, np.log(total), 0.0).sum(axis=-1)
    return np.asarray(-0.5 * (logs + np.log(_positive(w.sum(axis=-1))) + _q(y, w)), dtype=np.float64)


def _i2(tau2: Float, fixed_w: Float, k: Float) -> Float:
    """τ² against the typical sampling variance (Higgins & Thompson 2002, as in metafor)."""
    total = fixed_w.sum(axis=-1)
    typical = (k - 1) * total / _positive(np.square(total) - np.square(fixed_w).sum(axis=-1))
    return np.asarray(tau2 / (tau2 + typical), dtype=np.float64)


def _centre(y: Float, w: Float) -> Float:
    return np.asarray((w * y).sum(axis=-1) / _positive(w.sum(axis=-1)), dtype=np.float64)


def _q(y: Float, w: Float) -> Float:
    """Weighted sum of squares about the weighted mean."""
    return np.asarray((w * np.square(y - _centre(y, w)[..., None])).sum(axis=-1), dtype=np.float64)


def _positive(values: Float) -> Float:
    return np.where(values > 0, values, 1.0)


def log_risk_ratio(
    control_successes: ArrayLike,
    control_n: ArrayLike,
    treatment_successes: ArrayLike,
    treatment_n: ArrayLike,
) -> tuple[Float, Float]:
    """Log of the ratio of two rates and its sampling variance, ready for `pool_effects`.

    ln(p_t/p_c) with 1/x_t − 1/n_t + 1/x_c − 1/n_c; NaN (no member) where a variant has no success.
    """
    xc, nc, xt, nt = np.broadcast_arrays(
        *(
            np.asarray(part, float)
            for part in (control_successes, control_n, treatment_successes, treatment_n)
        )
    )
    some = (xc > 0) & (xt > 0)
    a, b = np.where(some, xc, 1.0), np.where(some, xt, 1.0)
    effect = np.log(b / nt) - np.log(a / nc)
    variance = 1 / b - 1 / nt + 1 / a - 1 / nc
    return np.where(some, effect, np.nan), np.where(some, variance, np.nan)
