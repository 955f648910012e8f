"""The sums of one metric over groups of units, merged without rounding, and read as a `Sample`.

`Exact` holds the ledger's integers (also those of counted tables): merging them is integer addition, so
shards, days and strata can be added in any order. `Centred` holds n, mean and sum of squared deviations
of tables that were measured elsewhere, merged by Chan's formula (Chan, Golub, LeVeque 1979, eq. 2.1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.inference import sample
from analysis.inference.sample import Sample
from experiment.definition import Measure, Metric, MetricType

Integers = NDArray[Any]
"""int64 where every sum provably fits, else Python integers (dtype object)."""
Floats = NDArray[np.float64]
Index = NDArray[np.int64]


def integers(values: Sequence[int] | Integers) -> Integers:
    """The values as int64 if their sum cannot overflow, else as Python integers."""
    array = np.asarray(values) if isinstance(values, np.ndarray) else np.array(values, dtype=object)
    largest = max((abs(int(array.max())), abs(int(array.min())))) if array.size else 0
    return array.astype(np.int64) if largest * max(array.size, 1) < 2**63 else array.astype(object)


def add_into(values: Integers, index: Index, shape: tuple[int, ...]) -> Integers:
    """Exact sums of `values` over the flat places `index` of `shape`."""
    out: Integers = np.zeros(int(np.prod(shape)), dtype=values.dtype)
    np.add.at(out, index, values)
    return out.reshape(shape)


def minor_units(measure: Measure, decimals: int) -> int:
    """Minor units per unit of a measure: counts have no decimals, amounts have the metric's."""
    return 1 if measure.value is None else 10**decimals


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """n, Σx, Σx², and for ratios Σy, Σy², Σxy, as integers in minor units."""

    metric: Metric
    n: Integers
    x: Integers
    xx: Integers
    y: Integers
    yy: Integers
    xy: Integers

    def each(self, change: Callable[[Integers], Integers]) -> Exact:
        """The same change to every column."""
        parts = (self.n, self.x, self.xx, self.y, self.yy, self.xy)
        n, x, xx, y, yy, xy = (change(part) for part in parts)
        return Exact(metric=self.metric, n=n, x=x, xx=xx, y=y, yy=yy, xy=xy)

    def grouped(self, index: Index, shape: tuple[int, ...]) -> Exact:
        """Add entries into the flat places `index` of a new `shape`."""
        return self.each(lambda part: add_into(part, index, shape))

    def __getitem__(self, key: Any) -> Exact:
        """The entries at an index of the arrays."""
        return self.each(lambda part: np.asarray(part[key]))

    def merged(self, axis: int) -> Exact:
        """Add all entries along an axis."""
        return self.each(lambda part: np.asarray(part.sum(axis=axis)))

    def cumulative(self) -> Exact:
        """Running sums along the first axis."""
        return self.each(lambda part: np.asarray(part.cumsum(axis=0)))

    def _scales(self) -> tuple[int, int]:
        metric = self.metric
        below = metric.denominator
        return minor_units(metric.numerator, metric.decimals), 1 if below is None else minor_units(
            below, metric.decimals
        )

    def sample(self) -> Sample:
        """n, estimate and unit variance per entry."""
        above, below = self._scales()
        if self.metric.type is MetricType.PROPORTION:
            return sample.proportion(self.n, self.x)
        if self.metric.type is MetricType.MEAN:
            return sample.from_sums(self.n, self.x, self.xx, scale=above)
        # (Σx / above) / (Σy / below) = below·Σx / (above·Σy); the products may leave int64
        x, xx, xy = (part.astype(object) for part in (self.x, self.xx, self.xy))
        return sample.ratio_from_sums(
            self.n, x * below, xx * below**2, self.y, self.yy, xy * below, scale=above
        )

    def values(self) -> tuple[Floats, Floats]:
        """Numerator and denominator totals in the metric's unit (denominator: units, unless a ratio)."""
        above, below = self._scales()
        numerator = np.asarray(self.x / above, dtype=np.float64)
        denominator = self.n if self.metric.type is not MetricType.RATIO else self.y / below
        return numerator, np.asarray(denominator, dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Centred:
    """n, mean and Σ(x − mean)² of tables that hold measured moments; for ratios also of y, and Σ of both."""

    n: Floats
    x: Floats
    xx: Floats
    y: Floats | None = None
    yy: Floats | None = None
    xy: Floats | None = None

    def _combine(self, add: Callable[[Floats], Floats], spread: Callable[[Floats], Floats]) -> Centred:
        """Chan's formula for any way of adding; `spread` carries a group's value back to its members."""
        n = add(self.n)

        def centre(mean: Floats) -> tuple[Floats, Floats]:
            merged = add(self.n * mean) / np.where(n > 0, n, 1)
            return merged, mean - spread(merged)

        x, dx = centre(self.x)
        xx = add(self.xx) + add(self.n * dx**2)
        if self.y is None or self.yy is None or self.xy is None:
            return Centred(n=n, x=x, xx=xx)
        y, dy = centre(self.y)
        yy = add(self.yy) + add(self.n * dy**2)
        return Centred(n=n, x=x, xx=xx, y=y, yy=yy, xy=add(self.xy) + add(self.n * dx * dy))

    def each(self, change: Callable[[Floats], Floats]) -> Centred:
        """The same change to every column."""
        parts = (self.n, self.x, self.xx, self.y, self.yy, self.xy)
        n, x, xx, y, yy, xy = (None if part is None else change(part) for part in parts)
        if n is None or x is None or xx is None:
            raise TypeError("n, x and xx are always there")
        return Centred(n=n, x=x, xx=xx, y=y, yy=yy, xy=xy)

    def grouped(self, index: Index, shape: tuple[int, ...]) -> Centred:
        """Add entries into the flat places `index` of a new `shape`."""
        size = int(np.prod(shape))
        flat = self._combine(
            lambda part: np.bincount(index, weights=part, minlength=size).astype(np.float64),
            lambda group: np.asarray(group[index]),
        )
        return flat.each(lambda part: part.reshape(shape))

    def __getitem__(self, key: Any) -> Centred:
        """The entries at an index of the arrays."""
        return self.each(lambda part: np.asarray(part[key]))

    def merged(self, axis: int) -> Centred:
        """Add all entries along an axis."""
        return self._combine(
            lambda part: np.asarray(part.sum(axis=axis)), lambda group: np.expand_dims(group, axis)
        )

    def cumulative(self) -> Totals:
        """Running sums along the first axis."""
        steps = [self[: day + 1].merged(0) for day in range(len(self.n))]
        return join([step[None] for step in steps]) if steps else self

    def sample(self) -> Sample:
        """n, estimate and unit variance per entry."""
        below = np.maximum(self.n - 1, 1)
        if self.y is None or self.yy is None or self.xy is None:
            return sample.from_moments(self.n, self.x, self.xx / below)
        return sample.ratio_from_moments(
            self.n, self.x, self.y, self.xx / below, self.yy / below, self.xy / below
        )

    def values(self) -> tuple[Floats, Floats]:
        """Numerator and denominator totals in the metric's unit (denominator: units, unless a ratio)."""
        return self.n * self.x, self.n if self.y is None else self.n * self.y


Totals = Exact | Centred
"""The sums of one metric; arrays of one shape, one entry per group of units."""


def join(parts: Sequence[Totals]) -> Totals:
    """Totals one after another along the first axis (all of one kind)."""
    columns: dict[str, Any] = {}
    for field in ("n", "x", "xx", "y", "yy", "xy"):
        own = [getattr(part, field) for part in parts]
        columns[field] = None if own[0] is None else np.concatenate(own)
    return replace(parts[0], **columns)
