"""Quotients of exact integer sums, computed on whole arrays in doubled precision.

A number is kept as an unevaluated sum of two doubles (106 bits), so that n·Σx² − (Σx)² and its ratio twin
neither overflow nor cancel. Where even that could be too short (terms beyond 2^100 that nearly cancel) the
callers fall back to Python integers. Dekker (1971), Numer. Math. 18:224; Hida, Li, Bailey (2001), ARITH-15.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
_SPLIT = 134_217_729.0
_EXACT = 2.0**100
_CANCELLED = 2.0**-40


@dataclass(frozen=True, slots=True)
class Doubled:
    """high + low, with |low| at most half a unit in the last place of high."""

    high: Float
    low: Float

    def __mul__(self, other: Doubled) -> Doubled:
        product, error = _product(self.high, other.high)
        return _renormalised(product, error + (self.high * other.low + self.low * other.high))

    def __add__(self, other: Doubled) -> Doubled:
        top, error = _sum(self.high, other.high)
        bottom, rest = _sum(self.low, other.low)
        top, error = _quick_sum(top, error + bottom)
        return _renormalised(top, error + rest)

    def __sub__(self, other: Doubled) -> Doubled:
        return self + Doubled(-other.high, -other.low)

    def over(self, other: Doubled) -> Float:
        """The quotient, rounded once to a double; NaN or infinite where the divisor is zero."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            first = self.high / other.high
            safe = np.where(np.isfinite(first), first, 0.0)
            product, error = _product(safe, other.high)
            left = (self.high - product) - error + self.low - safe * other.low
            return np.asarray(first + np.where(np.isfinite(first), left / other.high, 0.0))

    def lost(self, *terms: Doubled) -> NDArray[np.bool_]:
        """Where this difference of the terms may be wrong in its digits: long terms that nearly cancel."""
        size = sum((np.abs(term.high) for term in terms), np.zeros_like(self.high))
        return np.asarray((size >= _EXACT) & (np.abs(self.high) <= _CANCELLED * size))


def doubled(values: NDArray[Any]) -> Doubled:
    """int64 values below 2^62 in absolute value, without rounding."""
    high = values.astype(np.float64)
    return Doubled(high, (values - high.astype(np.int64)).astype(np.float64))


def _sum(a: Float, b: Float) -> tuple[Float, Float]:
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _quick_sum(a: Float, b: Float) -> tuple[Float, Float]:
    total = a + b
    return total, b - (total - a)


def _product(a: Float, b: Float) -> tuple[Float, Float]:
    product = a * b
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    return product, error


def _halves(a: Float) -> tuple[Float, Float]:
    scaled = _SPLIT * a
    high = scaled - (scaled - a)
    return high, a - high


def _renormalised(high: Float, low: Float) -> Doubled:
    return Doubled(*_quick_sum(high, low))
