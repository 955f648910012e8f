"""One variant's evidence on one metric: how many units, the estimate, and the variance of a unit.

A ratio enters through its linearised unit values, a stratified mean through its weighted variance, so
every comparison (Welch, Fieller, sequential) reads the same four numbers whatever the metric is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from switchpoint.analysis.numerics.estimates import Float
from switchpoint.analysis.numerics.reasons import Codes, Reason, first_code, first_reason
from switchpoint.experiment.errors import BadInput

Integers = NDArray[np.object_]
"""Arrays of Python integers: sums of any size, never rounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Columnar estimates of one variant; all arrays have one shape.

    `n`: units. `mean`: the estimate (mean, ratio, rate or stratified mean), in the metric's major unit.
    `variance`: of one unit's (linearised) value, so that variance / n is the squared standard error.
    `df`: degrees of freedom of that squared standard error. `reason`: 0 where all of these hold; with
    `zero_variance` the mean holds, with any other code `variance` and `df` are NaN (and `mean` where it
    does not exist).
    """

    n: Float
    mean: Float
    variance: Float
    df: Float
    reason: Codes

    @property
    def error_variance(self) -> Float:
        """Squared standard error of `mean`."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.variance / self.n

    @property
    def measured(self) -> NDArray[np.bool_]:
        """Where mean and variance exist (a variance of zero included)."""
        return np.asarray((self.reason == 0) | (self.reason == Reason.ZERO_VARIANCE.code))

    def __getitem__(self, index: Any) -> Sample:
        """The same evidence at an index of the arrays (anything numpy takes as an index)."""
        return Sample(
            n=np.asarray(self.n[index]),
            mean=np.asarray(self.mean[index]),
            variance=np.asarray(self.variance[index]),
            df=np.asarray(self.df[index]),
            reason=np.asarray(self.reason[index], dtype=np.uint8),
        )


def from_sums(n: ArrayLike, sx: ArrayLike, sxx: ArrayLike, *, scale: int = 1) -> Sample:
    """Mean of units from exact sums.

    Args:
        n: units. sx: Σx. sxx: Σx². Integers of any size, in minor units.
        scale: minor units per major unit (100 for cents).

    n·Σx² − (Σx)² is formed in integers and divided once, so nothing cancels: the result is the correctly
    rounded value of the exact fraction, whatever the magnitude of the sums.
    """
    count, s1, s2 = exact_integers(n=n, sx=sx, sxx=sxx)
    spread = count * s2 - s1 * s1
    pairs = count * (count - 1) * (scale * scale)
    impossible = (
        _true(count < 0) | _true(spread < 0) | (_true(count == 0) & (_true(s1 != 0) | _true(s2 != 0)))
    )
    few = _true(count < 2)
    reason = first_reason((impossible, Reason.IMPOSSIBLE_MOMENTS), (few, Reason.TOO_FEW_UNITS))
    mean = divide_exact(s1, count * scale, ~impossible & _true(count > 0))
    variance = divide_exact(spread, pairs, reason == 0)
    return _sample(count.astype(float), mean, variance, reason)


def ratio_from_sums(
    n: ArrayLike,
    sx: ArrayLike,
    sxx: ArrayLike,
    sy: ArrayLike,
    syy: ArrayLike,
    sxy: ArrayLike,
    *,
    scale: int = 1,
    ddof: int = 1,
) -> Sample:
    """Ratio Σx / Σy over units with unit-level variance (delta method), from exact sums.

    The variance of the linearised unit value (x − R·y)/ȳ with ddof = 1 equals
    n²·(Σx²·(Σy)² − 2·Σx·Σy·Σxy + (Σx)²·Σy²) / ((n − 1)·(Σy)⁴), formed in integers and divided once.

    Args:
        n: units. sx, sxx: Σx, Σx² of the numerator. sy, syy: of the denominator. sxy: Σxy.
        scale: minor units of the numerator per minor unit of the denominator, in major units
            (100 for cents per event).
        ddof: 0 gives the cluster-robust CR0 variance of a regression on rows, clustered by unit.

    Source: Deng, Knoblich, Lu (KDD 2018), Applying the Delta Method in Metric Analytics, eq. 1.
    """
    count, x, xx, y, yy, xy = exact_integers(n=n, sx=sx, sxx=sxx, sy=sy, syy=syy, sxy=sxy)
    residual = xx * y * y - 2 * x * y * xy + x * x * yy
    impossible = (
        _true(count < 0) | _true(residual < 0) | _true(count * xx < x * x) | _true(count * yy < y * y)
    )
    empty = _true(count < 2)
    no_denominator = _true(y <= 0)
    reason = first_reason(
        (impossible, Reason.IMPOSSIBLE_MOMENTS),
        (empty, Reason.TOO_FEW_UNITS),
        (no_denominator, Reason.ZERO_DENOMINATOR),
    )
    mean = divide_exact(x, y * scale, ~impossible & ~no_denominator)
    variance = divide_exact(count * count * residual, (count - ddof) * y**4 * (scale * scale), reason == 0)
    return _sample(count.astype(float), mean, variance, reason)


def proportion(n: ArrayLike, successes: ArrayLike, *, ddof: int = 1) -> Sample:
    """Share of units with a success; with ddof = 1 the same numbers as `from_sums(n, s, s)`.

    `ddof=0` gives p(1 − p), the variance of the textbook formulas for proportions.
    """
    count, hits = exact_integers(n=n, successes=successes)
    impossible = _true(count < 0) | _true(hits < 0) | _true(hits > count)
    reason = first_reason((impossible, Reason.IMPOSSIBLE_MOMENTS), (_true(count < 2), Reason.TOO_FEW_UNITS))
    mean = divide_exact(hits, count, ~impossible & _true(count > 0))
    variance = divide_exact(hits * (count - hits), count * (count - ddof), reason == 0)
    return _sample(count.astype(float), mean, variance, reason)


def from_moments(n: ArrayLike, mean: ArrayLike, variance: ArrayLike) -> Sample:
    """Mean of units from given moments (variance with ddof = 1, in the metric's unit squared)."""
    count, centre, spread = np.broadcast_arrays(*(np.asarray(part, float) for part in (n, mean, variance)))
    finite = np.isfinite(count) & np.isfinite(centre) & np.isfinite(spread)
    with np.errstate(invalid="ignore"):
        impossible = (count < 0) | (spread < 0) | (np.floor(count) != count)
        few = count < 2
    reason = first_reason(
        (~finite, Reason.NOT_FINITE), (impossible, Reason.IMPOSSIBLE_MOMENTS), (few, Reason.TOO_FEW_UNITS)
    )
    return _sample(count, np.where(np.isfinite(centre), centre, np.nan), spread, reason)


def ratio_from_moments(
    n: ArrayLike,
    mean_x: ArrayLike,
    mean_y: ArrayLike,
    variance_x: ArrayLike,
    variance_y: ArrayLike,
    covariance: ArrayLike,
) -> Sample:
    """Ratio of means with unit-level variance (delta method) from given moments (ddof = 1).

    variance = (s_x² − 2·R·s_xy + R²·s_y²) / ȳ², R = x̄/ȳ. Source as in `ratio_from_sums`.
    """
    parts = (n, mean_x, mean_y, variance_x, variance_y, covariance)
    count, mx, my, vx, vy, cxy = np.broadcast_arrays(*(np.asarray(part, float) for part in parts))
    no_denominator = ~(my > 0)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        ratio = np.where(no_denominator, np.nan, mx / np.where(no_denominator, 1.0, my))
        spread = np.where(no_denominator, 0.0, (vx - 2 * ratio * cxy + ratio * ratio * vy) / (my * my))
        # the sum of three rounded terms may fall below zero by rounding alone
        noise = 1e-12 * (np.abs(vx) + ratio * ratio * np.abs(vy)) / (my * my)
    sample = from_moments(
        count, np.where(no_denominator, 0.0, ratio), np.where(np.abs(spread) < noise, 0.0, spread)
    )
    zero = first_reason((no_denominator & (count > 0), Reason.ZERO_DENOMINATOR))
    reason = first_code(np.where(sample.measured, 0, sample.reason).astype(np.uint8), zero, sample.reason)
    return _sample(sample.n, ratio, sample.variance, reason)


def stack(samples: Sequence[Sample]) -> Sample:
    """Samples of one shape along a new last axis (several treatments, say)."""
    return Sample(
        n=np.stack([one.n for one in samples], axis=-1),
        mean=np.stack([one.mean for one in samples], axis=-1),
        variance=np.stack([one.variance for one in samples], axis=-1),
        df=np.stack([one.df for one in samples], axis=-1),
        reason=np.stack([one.reason for one in samples], axis=-1),
    )


def from_values(values: ArrayLike) -> Sample:
    """Mean of units given one value per unit (last axis)."""
    x = np.asarray(values, float)
    n = x.shape[-1]
    variance = x.var(axis=-1, ddof=1) if n > 1 else np.zeros(x.shape[:-1])
    return from_moments(float(n), x.mean(axis=-1) if n else np.zeros(x.shape[:-1]), variance)


def ratio_from_values(x: ArrayLike, y: ArrayLike, *, ddof: int = 1) -> Sample:
    """Ratio Σx / Σy given whole-number totals per unit (last axis), summed exactly."""
    a, b = exact_integers(x=x, y=y)
    n, sx, sxx = a.shape[-1], a.sum(axis=-1), (a * a).sum(axis=-1)
    sy, syy, sxy = b.sum(axis=-1), (b * b).sum(axis=-1), (a * b).sum(axis=-1)
    return ratio_from_sums(n, sx, sxx, sy, syy, sxy, ddof=ddof)


def _sample(n: Float, mean: Float, variance: Float, reason: Codes) -> Sample:
    """Finish a sample: mask what has a reason, find variances of zero, set the degrees of freedom."""
    holds = (reason == 0) | (reason == Reason.ZERO_VARIANCE.code)
    with np.errstate(invalid="ignore"):
        codes = first_code(reason, first_reason((holds & (variance == 0), Reason.ZERO_VARIANCE)))
    return Sample(
        n=np.asarray(n, float),
        mean=np.asarray(mean, float),
        variance=np.where(holds, variance, np.nan),
        df=np.where(holds, n - 1, np.nan),
        reason=codes,
    )


def exact_integers(**columns: ArrayLike) -> tuple[Integers, ...]:
    """The columns as arrays of Python integers of one shape.

    Raises:
        BadInput: naming the column and a value that is not an integer.
    """
    return tuple(np.broadcast_arrays(*(_integers(name, column) for name, column in columns.items())))


def _integers(name: str, column: ArrayLike) -> Integers:
    array = np.asarray(column)
    if array.dtype.kind not in "iuO":
        wrong = array != np.floor(array) if array.dtype.kind == "f" else np.ones(array.shape, bool)
        if wrong.any():
            value = array[wrong].flat[0]
            raise BadInput(
                "counts and sums are exact integers",
                field=name,
                value=value.item(),
                fix="give integers in minor units, or the `moments` shape for measured means",
            )
        array = array.astype(np.int64) if (np.abs(array) < 2**53).all() else array.astype(object)
    result: Integers = np.asarray(_TO_INT(array), dtype=object)
    return result


_TO_INT: Callable[[NDArray[Any]], Any] = np.frompyfunc(int, 1, 1)


def _true(condition: object) -> NDArray[np.bool_]:
    """A comparison of object arrays as a boolean array."""
    return np.asarray(condition, dtype=bool)


def divide_exact(numerator: Integers, denominator: Integers, where: NDArray[np.bool_]) -> Float:
    """Correctly rounded quotient of integers; NaN where it is not wanted."""
    # object arithmetic turns zero-dimensional arrays into Python integers, which np.where would make int64
    top, bottom = np.asarray(numerator, dtype=object), np.asarray(denominator, dtype=object)
    safe = np.where(where, bottom, np.asarray(1, dtype=object))
    return np.where(where, np.asarray(top / safe, float), np.nan)
