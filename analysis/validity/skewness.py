"""Is the sample large enough for a t interval of a skewed metric?

The skewness of a mean is skew/√n; at n ≥ 355·skew² the 95 % t interval covers to within a fifth of its
nominal tail error (Kohavi, Deng, Longbotham, Xu, KDD 2014, section 5.4). The smaller variant decides.
Revenue with few payers fails until it is capped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.inference.result import Float

UNITS_PER_SQUARED_SKEW = 355.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SkewnessGate:
    """Units of the smaller variant now, how many the skewness asks for, and whether that is enough."""

    units: Float
    needed: Float
    passes: NDArray[np.bool_]


def skewness(values: ArrayLike) -> Float:
    """Sample skewness m3/m2^(3/2) of one value per unit (last axis); 0 for a constant."""
    x = np.asarray(values, float)
    centred = x - x.mean(axis=-1, keepdims=True)
    second, third = (centred**2).mean(axis=-1), (centred**3).mean(axis=-1)
    return np.asarray(np.where(second > 0, third / np.where(second > 0, second, 1.0) ** 1.5, 0.0))


def zero_inflated_skewness(
    payers: ArrayLike, n: ArrayLike, mean: ArrayLike, variance: ArrayLike, skew: ArrayLike
) -> Float:
    """Skewness per unit when a share of the units pays an amount of known mean, variance and skewness.

    For planning from typed-in rates: E x^k of the mixture are the share times those of the amounts.
    """
    p = np.asarray(payers, float) / np.asarray(n, float)
    m, v = np.asarray(mean, float), np.asarray(variance, float)
    third = np.asarray(skew, float) * v**1.5 + 3 * m * v + m**3
    first, second = p * m, p * (v + m * m)
    spread = second - first**2
    return np.asarray((p * third - 3 * first * second + 2 * first**3) / spread**1.5, dtype=np.float64)


def skewness_gate(units: ArrayLike, skew: ArrayLike, *, axis: int = -1) -> SkewnessGate:
    """Gate from units and skewness per variant along `axis`: every variant needs its own 355·skew²."""
    n, s = np.broadcast_arrays(np.asarray(units, float), np.asarray(skew, float))
    needed = UNITS_PER_SQUARED_SKEW * np.square(s)
    # the variant furthest from enough is the one reported
    short = np.argmin(n / np.maximum(needed, 1e-9), axis=axis, keepdims=True)
    now = np.take_along_axis(n, short, axis=axis).squeeze(axis)
    need = np.take_along_axis(needed, short, axis=axis).squeeze(axis)
    return SkewnessGate(units=now, needed=np.ceil(need), passes=np.asarray((n >= needed).all(axis=axis)))
