"""Quotients of exact integer sums, computed on whole arrays: in int64 while that holds them, then doubled.

A doubled number is kept as an unevaluated sum of two doubles (106 bits), so that n·Σx² − (Σx)² and its ratio
twin neither overflow nor cancel. Where even that could be too short (terms beyond 2^100 that nearly cancel)
the callers fall back to Python integers.

Sources: Dekker (1971), Numer. Math. 18:224; Hida, Li, Bailey (2001), ARITH-15.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]
FITS = 2**62
"""Below this, integers and the sum of any two of them are int64."""
_SPLIT = 134_217_729.0
_EXACT = 2.0**100
_CANCELLED = 2.0**-40
_NOTHING = np.zeros(())


@dataclass(frozen=True, slots=True)
class Doubled:
    """high + low, with |low| at most half a unit in the last place of high."""

    high: Float
    low: Float

    @property
    def doubled(self) -> Doubled:
        """Itself."""
        return self

    @property
    def negative(self) -> Mask:
        """Where the number is below zero."""
        return np.asarray(self.high < 0)

    def __mul__(self, given: Number) -> Doubled:
        other = given.doubled
        product, error = _product(self.high, other.high)
        return _renormalised(product, error + (self.high * other.low + self.low * other.high))

    def __add__(self, given: Number) -> Doubled:
        other = given.doubled
        top, error = _sum(self.high, other.high)
        bottom, rest = _sum(self.low, other.low)
        top, error = _quick_sum(top, error + bottom)
        return _renormalised(top, error + rest)

    def __sub__(self, given: Number) -> Doubled:
        other = given.doubled
        return self + Doubled(-other.high, -other.low)

    def over(self, given: Number) -> Float:
        """The quotient, rounded once to a double; NaN or infinite where the divisor is zero."""
        other = given.doubled
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            first = self.high / other.high
            product, error = _product(first, other.high)
            left = (self.high - product) - error + self.low - first * other.low
            return np.asarray(first + left / other.high)

    def lost(self, *terms: Number) -> Mask:
        """Where this difference of the terms may be wrong in its digits: long terms that nearly cancel."""
        size = sum((np.abs(term.doubled.high) for term in terms), np.zeros_like(self.high))
        return np.asarray((size >= _EXACT) & (np.abs(self.high) <= _CANCELLED * size))


@dataclass(frozen=True, slots=True)
class Whole:
    """int64 values known to be within ±`bound` < 2^62; what leaves that range goes on as `Doubled`."""

    values: NDArray[np.int64]
    bound: int

    @property
    def doubled(self) -> Doubled:
        """The same, without rounding."""
        high = self.values.astype(np.float64)
        if self.bound <= 2**53:
            return Doubled(high, _NOTHING)
        return Doubled(high, (self.values - high.astype(np.int64)).astype(np.float64))

    @property
    def negative(self) -> Mask:
        """Where the number is below zero."""
        return np.asarray(self.values < 0)

    def __mul__(self, other: Number) -> Number:
        if isinstance(other, Whole) and self.bound * other.bound < FITS:
            return Whole(self.values * other.values, self.bound * other.bound)
        return self.doubled * other

    def __add__(self, other: Number) -> Number:
        if isinstance(other, Whole) and self.bound + other.bound < FITS:
            return Whole(self.values + other.values, self.bound + other.bound)
        return self.doubled + other

    def __sub__(self, other: Number) -> Number:
        if isinstance(other, Whole) and self.bound + other.bound < FITS:
            return Whole(self.values - other.values, self.bound + other.bound)
        return self.doubled - other

    def over(self, other: Number) -> Float:
        """The quotient, rounded once to a double; NaN or infinite where the divisor is zero."""
        if isinstance(other, Whole) and max(self.bound, other.bound) <= 2**53:
            with np.errstate(divide="ignore", invalid="ignore"):
                return np.asarray(self.values / other.values)
        return self.doubled.over(other)

    def lost(self, *_: Number) -> Mask:
        """Nowhere: integers lose nothing."""
        return np.zeros(self.values.shape, dtype=bool)


Number = Whole | Doubled


def whole(values: NDArray[Any]) -> Whole:
    """int64 values below 2^62 in absolute value."""
    return Whole(values, max(-int(values.min()), int(values.max()), 1) if values.size else 1)


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
