"""One row per unit, as integer arrays: what every table of units or events becomes before it is summed.

Summing to cells is exact integer addition, as in the ledger. Where clusters were randomised, the cells count
clusters: a mean or share of units becomes a ratio of the cluster's total to its number of units, whose
variance between clusters the delta method knows (Deng, Knoblich, Lu 2018).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.evidence.evidence import COUNTS, Cells
from switchpoint.analysis.evidence.moments import Covariates, Exact, Index, Integers, add_into, integers
from switchpoint.experiment.definition.types import Measure, Metric, MetricType
from switchpoint.experiment.ledger.sql import SIZE

Change = Callable[[Integers], Integers]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One metric's totals per unit, in minor units and clipped: numerator, and for ratios the denominator.

    `before` are its covariates, `before_units` their minor units.
    """

    sides: tuple[Integers, ...]
    before: tuple[Integers, ...] = ()
    before_units: tuple[int, ...] = ()

    def each(self, change: Change) -> Column:
        """The same change to every array."""
        return replace(self, sides=tuple(map(change, self.sides)), before=tuple(map(change, self.before)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Clusters:
    """What was randomised: the `code` of every unit's cluster, and the unit's `turn`, its place by the time,
    then the row, of its first exposure."""

    code: Index
    turn: Index


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitTable:
    """`subject`, `stratum`, `variant`, `day` and `contaminated` place every unit as in `Cells`; `exposures`
    and `mismatches` count its rows, `served` is the variant of the first one (−1: none of the experiment's);
    `columns` hold one entry per metric; `clusters` what was randomised, where that is not the unit."""

    subject: Index
    stratum: Index
    variant: Index
    day: Index
    contaminated: NDArray[np.bool_]
    exposures: Index
    mismatches: Index
    served: Index
    columns: tuple[Column, ...]
    clusters: Clusters | None = None

    def __len__(self) -> int:
        return len(self.subject)


def clustered_metrics(metrics: Sequence[Metric]) -> tuple[Metric, ...]:
    """The metrics as measured over clusters: per unit of the cluster, or the ratio they already are."""
    return tuple(
        m
        if m.type is MetricType.RATIO
        else replace(m, type=MetricType.RATIO, denominator=Measure(event=SIZE))
        for m in metrics
    )


def clustered(units: UnitTable) -> UnitTable:
    """The clusters of a table of units, each with the totals and number of its units.

    A cluster counts under the unit that came first; one with units of several variants is contaminated.
    """
    if units.clusters is None:
        return units
    pair = units.subject * (int(units.clusters.code.max(initial=0)) + 1) + units.clusters.code
    _, where = np.unique(pair, return_inverse=True)
    # by turn, not as they stand: units are numbered by name, and names have another order among more of them
    order = np.lexsort((units.clusters.turn, where))
    first = order[np.flatnonzero(np.diff(where[order], prepend=-1))]
    size = np.bincount(where, minlength=len(first)).astype(np.int64)

    def summed(part: Integers) -> Integers:
        return integers(add_into(integers(part), where, (len(first),)))

    other = (units.variant != units.variant[first][where]) | units.contaminated
    columns = [column.each(summed) for column in units.columns]
    return UnitTable(
        subject=units.subject[first], stratum=units.stratum[first], variant=units.variant[first],
        day=units.day[first], contaminated=np.bincount(where, weights=other, minlength=len(first)) > 0,
        exposures=summed(units.exposures), mismatches=summed(units.mismatches),
        served=units.served[first],
        columns=tuple(c if len(c.sides) > 1 else _sized(c, size) for c in columns),
    )  # fmt: skip


def _sized(column: Column, size: Index) -> Column:
    """Totals of a cluster beside its number of units; the covariate gets the same denominator."""
    before, units = column.before, column.before_units
    if before:
        before, units = (before[0], size), (units[0], 1)
    return Column(sides=(column.sides[0], size), before=before, before_units=units)


def cells(units: UnitTable, metrics: Sequence[Metric]) -> Cells:
    """The exact sums of a table of units."""
    first, cell = _places(units)
    shape = first.shape
    counts = np.zeros((len(first), len(COUNTS)), dtype=np.int64)
    found = ((0, np.ones_like(units.subject)), (1, units.exposures), (3, units.mismatches))
    for place_of, column in found:
        counts[:, place_of] = add_into(column, cell, shape)
    return Cells(
        subject=units.subject[first], stratum=units.stratum[first], variant=units.variant[first],
        day=units.day[first], contaminated=units.contaminated[first], counts=counts,
        totals=tuple(
            _totals(metric, column, cell, counts[:, 0])
            for metric, column in zip(metrics, units.columns, strict=True)
        ),
    )  # fmt: skip


def as_served(units: UnitTable, metrics: Sequence[Metric]) -> Cells:
    """The sums with every unit under the variant it was first served; who got none of them is left out."""
    rows = np.flatnonzero(units.served >= 0)

    def taken(part: Integers) -> Integers:
        return np.asarray(part[rows])

    chosen = UnitTable(
        subject=units.subject[rows], stratum=units.stratum[rows], variant=units.served[rows],
        day=units.day[rows], contaminated=np.zeros(len(rows), dtype=bool), exposures=units.exposures[rows],
        mismatches=units.mismatches[rows], served=units.served[rows],
        columns=tuple(column.each(taken) for column in units.columns),
    )  # fmt: skip
    return cells(chosen, metrics)


def _places(held: UnitTable) -> tuple[Index, Index]:
    """The first row of every place of a cell, and each row's cell."""
    place = np.zeros(len(held.subject), dtype=np.int64)
    for part in (held.subject, held.stratum, held.variant, held.day, held.contaminated.astype(np.int64)):
        low = int(part.min(initial=0))
        place = place * (int(part.max(initial=0)) - low + 1) + (part - low)
    _, first, cell = np.unique(place, return_index=True, return_inverse=True)
    return first, cell


def _totals(metric: Metric, column: Column, cell: Index, n: Index) -> Exact:
    def summed(values: Integers) -> Integers:
        return add_into(integers(values), cell, n.shape)

    x, y = column.sides[0], column.sides[1] if len(column.sides) > 1 else None
    zero = np.zeros_like(n)
    before = None
    if column.before:
        z = column.before
        before = Covariates(
            z=tuple(summed(part) for part in z),
            zz=tuple(summed(_product(z[i], z[j])) for i in range(len(z)) for j in range(i, len(z))),
            xz=tuple(summed(_product(side, part)) for side in column.sides for part in z),
            units=column.before_units,
        )
    return Exact(
        metric=metric, n=n, x=summed(x), xx=summed(_product(x, x)),
        y=zero if y is None else summed(y),
        yy=zero if y is None else summed(_product(y, y)),
        xy=zero if y is None else summed(_product(x, y)),
        covariates=before,
    )  # fmt: skip


def _product(a: Integers, b: Integers) -> Integers:
    """Element-wise product; Python integers where int64 could overflow."""
    if a.size and max(abs(int(end)) for part in (a, b) for end in (part.max(), part.min())) >= 2**31:
        return np.asarray(a.astype(object) * b.astype(object))
    return np.asarray(a * b)
