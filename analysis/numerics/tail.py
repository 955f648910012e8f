"""Tail probabilities that keep their digits, quantiles, and a vectorised root finder.

Survival functions are computed as lower tails of the negated statistic, never as 1 − cdf, and log tails
continue where doubles underflow. `df` = inf means the normal distribution.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from switchpoint.analysis.numerics.estimates import Alternative, Float

_UNDERFLOW = 1e-290
_LENTZ_STEPS = 200
PRECISION = 2e-15
"""Relative precision of a root that uses all digits of a double."""


def upper_tail(statistic: ArrayLike, df: ArrayLike) -> Float:
    """P(T ≥ statistic) for Student's t with `df` degrees of freedom."""
    t, nu = np.broadcast_arrays(np.asarray(statistic, float), np.asarray(df, float))
    normal = np.isinf(nu)
    return np.where(normal, special.ndtr(-t), special.stdtr(np.where(normal, 1.0, nu), -t))


def log_upper_tail(statistic: ArrayLike, df: ArrayLike) -> Float:
    """log P(T ≥ statistic), finite where the probability itself underflows to zero."""
    return _log_of(upper_tail(statistic, df), statistic, df)


def _log_of(tail: Float, statistic: ArrayLike, df: ArrayLike) -> Float:
    """Logarithm of the `tail` of a statistic, continued where the tail underflows."""
    t, nu = np.broadcast_arrays(np.asarray(statistic, float), np.asarray(df, float))
    normal = np.isinf(nu)
    log = np.log(np.maximum(tail, _UNDERFLOW))
    if (deep := tail < _UNDERFLOW).any():
        log = np.where(deep & normal, special.log_ndtr(-t), log)
        student = deep & ~normal
        log = np.where(
            student, _log_student_tail(np.where(student, t, 50.0), np.where(student, nu, 9.0)), log
        )
    return log


def _log_student_tail(t: Float, df: Float) -> Float:
    """log P(T ≥ t) for t > 2: half the incomplete beta function, by its continued fraction in logs.

    Press et al., Numerical Recipes (3rd ed.) 6.4.5-6, evaluated with the modified Lentz method.
    """
    a, b = df / 2, 0.5
    x = df / (df + t * t)
    log_front = a * np.log(x) + b * np.log1p(-x) - np.log(a) - special.betaln(a, b)
    c, d = np.ones_like(x), 1 / (1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, _LENTZ_STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d, c = 1 / (1 + even * d), 1 + even / c
        fraction = fraction * d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d, c = 1 / (1 + odd * d), 1 + odd / c
        step = d * c
        fraction = fraction * step
        if (np.abs(step - 1) < 1e-15).all():
            break
    return np.asarray(log_front + np.log(fraction) - np.log(2), dtype=np.float64)


def p_values(statistic: ArrayLike, df: ArrayLike, alternative: Alternative) -> tuple[Float, Float]:
    """p-value of a statistic and its logarithm."""
    t = np.asarray(statistic, float)
    if alternative is not Alternative.TWO_SIDED:
        signed = t if alternative is Alternative.GREATER else -t
        tail = upper_tail(signed, df)
        return tail, _log_of(tail, signed, df)
    size = np.abs(t)
    tail = upper_tail(size, df)
    return np.minimum(1.0, 2 * tail), np.minimum(0.0, np.log(2) + _log_of(tail, size, df))


def critical(alpha: ArrayLike, df: ArrayLike, alternative: Alternative) -> Float:
    """The value a statistic must pass to be rejected at `alpha` (positive for alpha below one half)."""
    level = np.asarray(alpha, float) / (2 if alternative is Alternative.TWO_SIDED else 1)
    level, nu = np.broadcast_arrays(level, np.asarray(df, float))
    normal = np.isinf(nu)
    return -np.where(normal, special.ndtri(level), special.stdtrit(np.where(normal, 1.0, nu), level))


def open_side(low: Float, high: Float, alternative: Alternative) -> tuple[Float, Float]:
    """Replace the side a one-sided test does not bound by ±inf."""
    if alternative is Alternative.GREATER:
        return low, np.full_like(high, np.inf)
    if alternative is Alternative.LESS:
        return np.full_like(low, -np.inf), high
    return low, high


def bracketed_root(
    function: Callable[[Float], Float],
    low: Float,
    high: Float,
    *,
    precision: float = PRECISION,
    resolution: ArrayLike = 1e-300,
    steps: int = 120,
) -> Float:
    """Root of a function inside [low, high] at every place at once, to a relative `precision`.

    A sign change between the ends is assumed. `resolution`: the width below which the function is rounding
    noise, where that is more than a `precision` of the root.

    Chandrupatla (1997), Advances in Engineering Software 28:145: bisection that takes inverse quadratic
    steps where they are safe. Where an end is itself a root, that end is returned.
    """
    a, b = np.array(high, float), np.array(low, float)
    fa, fb = function(a), function(b)
    c, fc, t = a, fa, np.full_like(a, 0.5)
    for _ in range(steps):
        x = a + t * (b - a)
        fx = function(x)
        same = np.sign(fx) == np.sign(fa)
        c, fc = np.where(same, a, b), np.where(same, fa, fb)
        b, fb = np.where(same, b, a), np.where(same, fb, fa)
        a, fa = x, fx
        best = np.where(np.abs(fa) < np.abs(fb), a, b)
        width = np.abs(b - a)
        tolerance = np.maximum(precision * np.abs(best), resolution)
        relative = np.minimum(0.5, tolerance / np.where(width > 0, width, 1.0))
        done = ~(width > 2 * tolerance) | (fa == 0) | (fb == 0)  # also where there is no bracket (NaN)
        if done.all():
            break
        t = np.where(done, 0.0, np.clip(_quadratic_step(a, b, c, fa, fb, fc), relative, 1 - relative))
    return np.asarray(np.where(np.abs(fa) < np.abs(fb), a, b), dtype=np.float64)


def _quadratic_step(a: Float, b: Float, c: Float, fa: Float, fb: Float, fc: Float) -> Float:
    """Inverse quadratic interpolation where Chandrupatla's criterion allows it, else bisection."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        xi, phi = (a - b) / (c - b), (fa - fb) / (fc - fb)
        allowed = (phi * phi < xi) & ((1 - phi) ** 2 < 1 - xi)
        step = fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
    return np.where(allowed & np.isfinite(step), step, 0.5)
