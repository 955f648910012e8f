"""The sums of one metric over groups of units, merged without rounding, and read as a `Sample`.

`Exact` holds the ledger's integers (also those of counted tables): merging them is integer addition, so
shards, days and strata can be added in any order. `Centred` holds n, mean and sum of squared deviations
of tables that were measured elsewhere, merged by Chan's formula (Chan, Golub, LeVeque 1979, eq. 2.1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.evidence import exact
from switchpoint.analysis.inference import adjust, sample
from switchpoint.analysis.inference.adjust import Joint
from switchpoint.analysis.inference.sample import Sample
from switchpoint.analysis.numerics.arrays import joined
from switchpoint.experiment.definition.types import Measure, Metric, MetricType

Integers = NDArray[Any]
"""int64 where every sum provably fits, else Python integers (dtype object)."""
Floats = NDArray[np.float64]
Index = NDArray[np.int64]


def integers(values: Sequence[int] | Integers) -> Integers:
    """The values as int64 if their sum cannot overflow, else as Python integers."""
    try:
        array = (
            np.fromiter(values, dtype=np.int64, count=len(values)) if isinstance(values, Sequence) else values
        )
    except OverflowError:
        return np.array(values, dtype=object)
    largest = max((abs(int(array.max())), abs(int(array.min())))) if array.size else 0
    return array.astype(np.int64) if largest * max(array.size, 1) < 2**63 else array.astype(object)


def add_into(values: Integers, index: Index, shape: tuple[int, ...]) -> Integers:
    """Exact sums of `values` over the flat places `index` of `shape`."""
    size = int(np.prod(shape))
    large = max(-int(values.min()), int(values.max())) if values.dtype.kind == "i" and len(values) else 2**63
    if large * len(values) < 2**53:
        # no partial sum leaves the integers a double holds, so adding doubles is adding integers
        found = np.bincount(index, weights=values, minlength=size).astype(np.int64)
        return found.reshape(shape)
    out: Integers = np.zeros(size, dtype=values.dtype)
    np.add.at(out, index, values)
    return out.reshape(shape)


def minor_units(measure: Measure, decimals: int) -> int:
    """Minor units per unit of a measure: counts have no decimals, amounts have the metric's."""
    return 1 if measure.value is None else 10**decimals


@dataclass(frozen=True, slots=True, kw_only=True)
class Covariates:
    """Sums of what was measured before exposure, beside those of the outcome.

    `z`: Σz of each covariate; `zz`: the upper triangle of Σz·z row by row; `xz`: Σ(outcome)·z, row by row
    for the numerator and then the denominator. `units`: minor units of each covariate.
    """

    z: tuple[Integers, ...]
    zz: tuple[Integers, ...]
    xz: tuple[Integers, ...]
    units: tuple[int, ...]

    def each(self, change: Callable[[Integers], Integers]) -> Covariates:
        """The same change to every column."""
        z, zz, xz = (tuple(change(part) for part in parts) for parts in (self.z, self.zz, self.xz))
        return Covariates(z=z, zz=zz, xz=xz, units=self.units)


_ROUNDING = 1e-9
"""What the difference of two sums may be off by, as a share of them."""
_SUMS = ("n", "x", "xx", "y", "yy", "xy")


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
    covariates: Covariates | None = None

    def each(self, change: Callable[[Integers], Integers]) -> Exact:
        """The same change to every column."""
        # columns that are one array (the zeros of a mean's denominator) are changed once and stay one
        done: dict[int, Integers] = {}
        for part in (self.n, self.x, self.xx, self.y, self.yy, self.xy):
            if id(part) not in done:
                done[id(part)] = change(part)
        n, x, xx = done[id(self.n)], done[id(self.x)], done[id(self.xx)]
        y, yy, xy = done[id(self.y)], done[id(self.yy)], done[id(self.xy)]
        before = None if self.covariates is None else self.covariates.each(change)
        return Exact(metric=self.metric, n=n, x=x, xx=xx, y=y, yy=yy, xy=xy, covariates=before)

    def grouped(self, index: Index, shape: tuple[int, ...]) -> Exact:
        """Add entries into the flat places `index` of a new `shape`."""
        return self.each(lambda part: add_into(part, index, shape))

    def __getitem__(self, key: Any) -> Exact:
        """The entries at an index of the arrays."""
        return self.each(lambda part: np.asarray(part[key]))

    def merged(self, axis: int) -> Exact:
        """Add all entries along an axis."""
        return self.each(lambda part: np.asarray(part.sum(axis=axis)))

    def cumulative(self, first: Index) -> Exact:
        """Running sums along the first axis, from the row `first` of each row on."""

        def running(part: Integers) -> Integers:
            total = np.concatenate([np.zeros_like(part[:1]), part.cumsum(axis=0)])
            return np.asarray(total[1:] - total[first])

        return self.each(running)

    def less(self, other: Totals) -> Exact:
        """What is left without the units of `other`, of the same kind; without covariates."""
        if not isinstance(other, Exact):
            raise TypeError("exact sums are left of exact sums")
        sums: dict[str, Any] = {n: np.asarray(getattr(self, n) - getattr(other, n)) for n in _SUMS}
        return Exact(metric=self.metric, **sums)

    @property
    def possible(self) -> NDArray[np.bool_]:
        """Whether units with such sums can exist: of differences they sometimes cannot."""
        n, x, xx, y, yy = (part.astype(object) for part in (self.n, self.x, self.xx, self.y, self.yy))
        found = (n >= 0) & (n * xx >= x * x) & (n * yy >= y * y) & ((n > 0) | ((xx == 0) & (yy == 0)))
        if self.metric.type is MetricType.PROPORTION:
            found &= (x >= 0) & (x <= n)
        return np.asarray(found, dtype=bool)

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
            return exact.proportion(self.n, self.x)
        if self.metric.type is MetricType.MEAN:
            return exact.mean(self.n, self.x, self.xx, scale=above)
        sums, products = (self.x, self.y), (self.xx, self.yy, self.xy)
        return exact.ratio(self.n, sums, products, above=above, below=below)

    def raw_moments(self) -> tuple[Integers, Integers, Integers, Integers, Integers]:
        """Σx, Σy, Σx², Σxy and Σy² of a ratio's units, in minor units."""
        return self.x, self.y, self.xx, self.xy, self.yy

    def denominator_sample(self) -> Sample:
        """The denominator per unit, of a ratio."""
        return exact.mean(self.n, self.y, self.yy, scale=self._scales()[1])

    def covariate_samples(self) -> tuple[Sample, ...]:
        """Every covariate per unit."""
        if self.covariates is None:
            return ()
        found, size = self.covariates, len(self.covariates.z)
        return tuple(
            exact.mean(self.n, z, found.zz[_row(place, size)], scale=unit)
            for place, (z, unit) in enumerate(zip(found.z, found.units, strict=True))
        )

    def joint(self) -> Joint:
        """Outcome (numerator, denominator) and covariates together, for covariate adjustment."""
        found = self.covariates
        if found is None:
            raise TypeError("joint moments are only there with covariates")
        above, below = self._scales()
        k = len(found.z)
        triangle = [found.zz[_row(i, k) : _row(i + 1, k)] for i in range(k)]
        if self.metric.type is not MetricType.RATIO:
            rows = [[self.xx, *found.xz], *triangle]
            return adjust.from_sums(self.n, (self.x, *found.z), rows, scale=(above, *found.units))
        rows = [[self.xx, self.xy, *found.xz[:k]], [self.yy, *found.xz[k:]], *triangle]
        sums = (self.x, self.y, *found.z)
        return adjust.from_sums(self.n, sums, rows, scale=(above, below, *found.units))

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

    def cumulative(self, first: Index) -> Totals:
        """Running sums along the first axis, from the row `first` of each row on."""
        steps = [self[start : day + 1].merged(0) for day, start in enumerate(first.tolist())]
        return join([step[None] for step in steps]) if steps else self

    def less(self, other: Totals) -> Centred:
        """What is left without the units of `other`, of the same kind: Chan's formula solved for one part;
        NaN where no units could be left with such moments."""
        if not isinstance(other, Centred):
            raise TypeError("moments are left of moments")
        n = self.n - other.n
        with np.errstate(invalid="ignore", divide="ignore"):
            weight = other.n * self.n / n

            def difference(whole: Floats, part: Floats) -> Floats:
                """What rounding leaves of nothing, on either side of 0, is nothing."""
                near = np.abs(whole - part) <= _ROUNDING * (np.abs(whole) + np.abs(part))
                return np.where(near, 0.0, whole - part)

            def centre(whole: Floats, part: Floats) -> tuple[Floats, Floats]:
                mean = np.where(n > 0, difference(self.n * whole, other.n * part) / n, 0.0)
                return np.where((n == 0) & (whole != part) & (self.n > 0), np.nan, mean), whole - part

            def spread(whole: Floats, part: Floats, moved: Floats) -> Floats:
                return np.where(n > 0, difference(whole, part + weight * moved), 0.0)

            x, dx = centre(self.x, other.x)
            xx = spread(self.xx, other.xx, dx * dx)
            if self.y is None or self.yy is None or self.xy is None:
                return Centred(n=n, x=x, xx=np.where(xx >= 0, xx, np.nan))
            if other.y is None or other.yy is None or other.xy is None:
                raise TypeError("both have a denominator, or neither")
            y, dy = centre(self.y, other.y)
            yy, xy = spread(self.yy, other.yy, dy * dy), spread(self.xy, other.xy, dx * dy)
            held = (xx >= 0) & (yy >= 0)
        return Centred(n=n, x=x, xx=np.where(held, xx, np.nan), y=y, yy=np.where(held, yy, np.nan), xy=xy)

    @property
    def possible(self) -> NDArray[np.bool_]:
        """Whether units with such moments can exist: of differences they sometimes cannot."""
        return np.asarray(np.isfinite(self.x + self.xx) & (self.y is None or np.isfinite(self.y)))

    def sample(self) -> Sample:
        """n, estimate and unit variance per entry."""
        below = np.maximum(self.n - 1, 1)
        if self.y is None or self.yy is None or self.xy is None:
            return sample.from_moments(self.n, self.x, self.xx / below)
        return sample.ratio_from_moments(
            self.n, self.x, self.y, self.xx / below, self.yy / below, self.xy / below
        )

    def raw_moments(self) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        """Σx, Σy, Σx², Σxy and Σy² of a ratio's units."""
        if self.y is None or self.yy is None or self.xy is None:
            raise TypeError("only a ratio has a denominator")
        n, x, y = self.n, self.x, self.y
        return n * x, n * y, self.xx + n * x * x, self.xy + n * x * y, self.yy + n * y * y

    def denominator_sample(self) -> Sample:
        """The denominator per unit, of a ratio."""
        if self.y is None or self.yy is None:
            raise TypeError("only a ratio has a denominator")
        return sample.from_moments(self.n, self.y, self.yy / np.maximum(self.n - 1, 1))

    def values(self) -> tuple[Floats, Floats]:
        """Numerator and denominator totals in the metric's unit (denominator: units, unless a ratio)."""
        return self.n * self.x, self.n if self.y is None else self.n * self.y


def _row(place: int, size: int) -> int:
    """Where row `place` of an upper triangle of this size starts when its rows follow each other."""
    return place * size - place * (place - 1) // 2


Totals = Exact | Centred
"""The sums of one metric; arrays of one shape, one entry per group of units."""


def join(parts: Sequence[Totals]) -> Totals:
    """Totals one after another along the first axis (all of one kind)."""
    return joined(parts)
