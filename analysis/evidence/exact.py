"""`Sample`s from exact sums, on whole arrays: the fast twin of `analysis.inference.sample`.

Sums that fit 62 bits are combined in int64 and then in doubled precision, which gives the same doubles as
integer arithmetic; places where that cannot be guaranteed, and larger sums, take the integers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.inference import sample
from switchpoint.analysis.inference.sample import Sample
from switchpoint.analysis.numerics.double_double import FITS, Float, Mask, Whole, whole
from switchpoint.analysis.numerics.reasons import Codes, Reason, first_reason

Integers = NDArray[Any]


def proportion(n: Integers, successes: Integers) -> Sample:
    """As `analysis.inference.sample.proportion`."""
    columns = _wholes(n, successes)
    if columns is None:
        return sample.proportion(n, successes)
    count, hits = columns
    impossible = (n < 0) | (successes < 0) | (successes > n)
    reason = first_reason((impossible, Reason.IMPOSSIBLE_MOMENTS), (n < 2, Reason.TOO_FEW_UNITS))
    return _finished(
        n, hits.over(count), (hits * (count - hits)).over(count * (count - _ONE)),
        reason, ~impossible & (n > 0),
    )  # fmt: skip


def mean(n: Integers, sx: Integers, sxx: Integers, *, scale: int) -> Sample:
    """As `analysis.inference.sample.from_sums`."""
    columns = _wholes(n, sx, sxx)
    if columns is None:
        return sample.from_sums(n, sx, sxx, scale=scale)
    count, x, xx = columns
    above, below = count * xx, x * x
    spread = above - below
    empty = (n == 0) & ((sx != 0) | (sxx != 0))
    impossible = (n < 0) | spread.negative | empty
    reason = first_reason((impossible, Reason.IMPOSSIBLE_MOMENTS), (n < 2, Reason.TOO_FEW_UNITS))
    unit = _number(scale)
    found = _finished(
        n, x.over(count * unit), spread.over(unit * unit * count * (count - _ONE)),
        reason, ~impossible & (n > 0),
    )  # fmt: skip
    return _with_integers(
        found, spread.lost(above, below), lambda part: sample.from_sums(*part, scale=scale), n, sx, sxx
    )


def ratio(
    n: Integers,
    sums: tuple[Integers, Integers],
    products: tuple[Integers, Integers, Integers],
    *,
    above: int,
    below: int,
) -> Sample:
    """As `analysis.inference.sample.ratio_from_sums`, with minor units on either side.

    Args:
        sums: Σx, Σy. products: Σx², Σy², Σxy. above, below: minor units of numerator and denominator.
    """
    (sx, sy), (sxx, syy, sxy) = sums, products

    def integers(part: tuple[Integers, ...]) -> Sample:
        c, x, y, xx, yy, xy = (np.asarray(column).astype(object) for column in part)
        return sample.ratio_from_sums(c, x * below, xx * below**2, y, yy, xy * below, scale=above)

    columns = (n, sx, sy, sxx, syy, sxy)
    wholes = _wholes(*columns)
    if wholes is None:
        return integers(columns)
    c, x, y, xx, yy, xy = wholes
    terms = xx * y * y, _number(2) * x * y * xy, x * x * yy
    residual = terms[0] - terms[1] + terms[2]
    spreads = [(c * xx, x * x), (c * yy, y * y)]
    lost = residual.lost(*terms)
    impossible = (n < 0) | residual.negative
    for large, small in spreads:
        spread = large - small
        lost |= spread.lost(large, small)
        impossible |= spread.negative
    reason = first_reason(
        (impossible, Reason.IMPOSSIBLE_MOMENTS),
        (n < 2, Reason.TOO_FEW_UNITS),
        (sy <= 0, Reason.ZERO_DENOMINATOR),
    )
    up, down, square = _number(above), _number(below), y * y
    value = (x * down).over(y * up)
    variance = (down * down * c * c * residual).over(up * up * (c - _ONE) * (square * square))
    return _with_integers(
        _finished(n, value, variance, reason, ~impossible & (sy > 0)), lost, integers, *columns
    )


def _wholes(*columns: Integers) -> tuple[Whole, ...] | None:
    """The columns as numbers; None where int64 might not hold them."""
    if any(column.dtype.kind != "i" for column in columns):
        return None
    found = tuple(whole(column) for column in columns)
    return found if all(column.bound < FITS for column in found) else None


def _number(value: int) -> Whole:
    return Whole(np.asarray(value, dtype=np.int64), value)


_ONE = _number(1)


def _finished(n: Integers, value: Float, variance: Float, reason: Codes, known: Mask) -> Sample:
    """Mask what has a reason, find variances of zero, set the degrees of freedom."""
    holds = reason == 0
    flat = holds & (variance == 0)
    return Sample(
        n=np.asarray(n, dtype=np.float64),
        mean=np.where(known, value, np.nan),
        variance=np.where(holds, variance, np.nan),
        df=np.where(holds, n - 1, np.nan),
        reason=np.where(flat, np.uint8(Reason.ZERO_VARIANCE.code), reason).astype(np.uint8),
    )


def _with_integers(
    found: Sample, lost: Mask, integers: Callable[[tuple[Integers, ...]], Sample], *columns: Integers
) -> Sample:
    """The sample with the places of `lost` computed from Python integers."""
    if not lost.any():
        return found
    better = integers(tuple(column[lost] for column in columns))
    for name in ("mean", "variance", "df", "reason"):
        getattr(found, name)[lost] = getattr(better, name)
    return found
