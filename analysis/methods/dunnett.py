"""Several treatments against one control: Dunnett's test, exact for the correlation they share.

All contrasts contain the same control, so they are correlated and Bonferroni gives power away. With
correlations λ_i·λ_j the joint probability is an integral over one normal and one chi variable (Dunnett 1955,
JASA 50:1096), computed here by quadrature instead of the usual random lattice.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from switchpoint.analysis.inference.sample import Sample
from switchpoint.analysis.numerics.estimates import Alternative, Estimates, Float, estimates
from switchpoint.analysis.numerics.reasons import Reason, first_code, first_reason
from switchpoint.analysis.numerics.tail import bracketed_root, log_upper_tail, open_side

_NODES, _REACH = 400, 9.0
_LARGE_DF = 2e4
_DEEP = 1e-12


def dunnett(
    control: Sample,
    treatments: Sample,
    *,
    alpha: float = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    pooled: bool = False,
) -> Estimates:
    """Every treatment against control with family-wise error alpha and simultaneous intervals.

    Args:
        control: one sample (no axes). treatments: one per treatment along the single axis.
        pooled: one variance for all variants and its t distribution (the classical test); False keeps each
            variant's own variance with a normal reference, for large samples.

    A treatment without an estimate takes no part and keeps its reason; the others get no easier: the
    family keeps its size by treating it as independent.
    """
    reason = first_code(np.broadcast_to(control.reason, treatments.reason.shape), treatments.reason)
    vc, vt, df = _variances(control, treatments, pooled=pooled)
    usable = (reason == 0) & (vc > 0) & (vt > 0)
    reason = first_code(reason, first_reason((~usable, Reason.ZERO_VARIANCE)))
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.sqrt(vc + vt)
        statistic = (treatments.mean - control.mean) / error
        load = np.where(usable, np.sqrt(vc / (vc + vt)), 0.0)
    size = reason.size
    log_p = np.full(size, np.nan)
    for place in np.flatnonzero(usable):
        log_p[place] = _log_p(float(statistic[place]), load, df, alternative)
    reach = _critical(alpha, load, df, alternative) if usable.any() else np.nan
    difference = treatments.mean - control.mean
    low, high = open_side(difference - reach * error, difference + reach * error, alternative)
    columns: dict[str, ArrayLike] = {
        "estimate": difference, "standard_error": error, "statistic": statistic, "df": np.full(size, df),
        "p_value": np.exp(log_p), "log_p": log_p, "low": low, "high": high, "alpha": alpha,
    }  # fmt: skip
    return estimates("dunnett", alternative, reason, columns)


def _variances(control: Sample, treatments: Sample, *, pooled: bool) -> tuple[Float, Float, float]:
    """Squared standard errors of control and treatments, and the df of their common estimate."""
    if not pooled:
        return (
            np.broadcast_to(control.error_variance, treatments.n.shape), treatments.error_variance, np.inf,
        )  # fmt: skip
    n = np.append(treatments.n, control.n)
    v = np.append(treatments.variance, control.variance)
    known = np.isfinite(v) & (n > 1)
    df = float((n[known] - 1).sum())
    common = float(((n[known] - 1) * v[known]).sum() / df) if df > 0 else np.nan
    with np.errstate(divide="ignore"):
        return np.full(treatments.n.shape, common / control.n), common / treatments.n, df


def _log_p(statistic: float, load: Float, df: float, alternative: Alternative) -> float:
    """Log probability that the largest of the family exceeds this statistic.

    Deep in the tail the quadrature ends; there the sum of the single tails is as good as exact.
    """
    two_sided = alternative is Alternative.TWO_SIDED
    value = abs(statistic) if two_sided else statistic if alternative is Alternative.GREATER else -statistic
    p = min(1.0, _exceeds(value, load, df, two_sided=two_sided))
    if p > _DEEP:
        return float(np.log(p))
    return float(log_upper_tail(value, df) + np.log(load.size * (2 if two_sided else 1)))


def _critical(alpha: float, load: Float, df: float, alternative: Alternative) -> float:
    two_sided = alternative is Alternative.TWO_SIDED

    def surplus(c: Float) -> Float:
        beyond = _exceeds(float(c), load, df, two_sided=two_sided)
        return np.asarray(np.log(max(beyond, 1e-300)) - np.log(alpha))

    low = 0.0 if two_sided else -20.0
    high = 20.0
    while _exceeds(high, load, df, two_sided=two_sided) > alpha:
        high *= 2
    return float(bracketed_root(surplus, np.asarray(low), np.asarray(high), precision=1e-12))


def _exceeds(c: float, load: Float, df: float, *, two_sided: bool) -> float:
    """P(max T_i > c) or P(max |T_i| > c), T_i sharing a normal part λ_i·Z and a chi scale S.

    1 − E Π Φ(...) is formed as E(1 − Π Φ) in logs, so tails keep their digits.
    """
    z, wz = _normal_nodes()
    s, ws = _scale_nodes(df)
    own = np.sqrt(1 - np.square(load))[:, None, None]
    shift = load[:, None, None] * z[:, None]
    edge = c * s
    over = special.ndtr(-(edge - shift) / own)
    if two_sided:
        over = over + special.ndtr(-(edge + shift) / own)
    outside = -np.expm1(np.log1p(-np.minimum(over, 1 - 1e-16)).sum(axis=0))
    return float(wz @ outside @ ws)


@lru_cache(maxsize=1)
def _normal_nodes() -> tuple[Float, Float]:
    x, w = np.polynomial.legendre.leggauss(_NODES)
    z = _REACH * x
    weight = w * _REACH * np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    return z, weight / weight.sum()


@lru_cache(maxsize=64)
def _scale_nodes(df: float) -> tuple[Float, Float]:
    """S = √(χ²/df): nodes and weights; a point at 1 for many degrees of freedom."""
    if df > _LARGE_DF:
        return np.ones(1), np.ones(1)
    x, w = np.polynomial.legendre.leggauss(100)
    low, high = np.sqrt(special.chdtri(df, np.array([1 - 1e-15, 1e-15])) / df)
    s = low + (high - low) * (x + 1) / 2
    log = (df - 1) * np.log(s) - df * s * s / 2
    weight = w * np.exp(log - log.max())
    return s, weight / weight.sum()
