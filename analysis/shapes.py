"""Rows of a table as cells: counts, measured moments, or one row per unit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analysis.evidence import COUNTS, Cells
from analysis.layout import Layout
from analysis.tabular import Columns, Instants
from analysis.totals import Centred, Exact, Integers, Totals, add_into, integers
from experiment.columns import measured_columns, served_variant, slot_of
from experiment.definition import Metric, MetricType
from experiment.errors import BadInput
from experiment.source import Source

Index = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What every shape starts from."""

    columns: Columns
    source: Source
    metrics: tuple[Metric, ...]
    layout: Layout
    instants: Instants | None
    window_ms: int

    @property
    def days(self) -> Index:
        """The exposure day of every row; 0 where the table has none."""
        return np.zeros(len(self.columns), dtype=np.int64) if self.instants is None else self.instants.days


def units_of(columns: Columns, source: Source, metric: Metric) -> Index:
    """Units per row: the column `n` of the metric, 1 where a row is a unit."""
    column = source.columns[metric.key].get("n")
    return np.ones(len(columns), dtype=np.int64) if column is None else columns.counts(column)


def counted(read: Read, primary: Metric) -> Cells:
    """A row is a variant (and stratum, day) with its units and sums."""
    n = units_of(read.columns, read.source, primary)
    return _row_cells(read, n, tuple(_counted_totals(read, metric) for metric in read.metrics))


def measured(read: Read, primary: Metric) -> Cells:
    """A row is a variant (and stratum, day) with n, mean and variance."""
    n = units_of(read.columns, read.source, primary)
    return _row_cells(read, n, tuple(_measured_totals(read, metric) for metric in read.metrics))


def _row_cells(read: Read, n: Index, totals: tuple[Totals, ...]) -> Cells:
    counts = np.zeros((len(n), len(COUNTS)), dtype=np.int64)
    counts[:, 0] = counts[:, 1] = n
    return Cells(
        subject=read.layout.subject, stratum=read.layout.stratum, variant=read.layout.variant, day=read.days,
        contaminated=np.zeros(len(n), dtype=bool), counts=counts, totals=totals,
    )  # fmt: skip


def _counted_totals(read: Read, metric: Metric) -> Exact:
    columns, roles = read.columns, read.source.columns[metric.key]
    n = columns.counts(roles["n"])
    zero = np.zeros_like(n)
    if metric.type is MetricType.PROPORTION:
        x = columns.counts(roles["sum"])
        columns.refuse(
            roles["sum"], x > n, f"more successes than units ({roles['n']})",
            "a proportion counts units; for events per unit use `type: mean`.",
        )  # fmt: skip
        return Exact(metric=metric, n=n, x=x, xx=x, y=zero, yy=zero, xy=zero)
    where = f"source.columns.{metric.key}"
    if metric.type is MetricType.RATIO:
        raise BadInput(
            "counts do not say how a ratio varies between units", field=where,
            fix="declare a proportion if every n is a unit, else use the shape moments or units.",
        )  # fmt: skip
    if "sum_squares" not in roles:
        raise BadInput(
            "a sum does not say how the metric varies between units", field=where,
            fix="add `sum_squares`, or use the shape moments.",
        )  # fmt: skip
    slot = replace(slot_of(metric, metric.numerator), cap=None)
    x = columns.amounts(roles["sum"], slot)
    xx = columns.amounts(roles["sum_squares"], replace(slot, decimals=2 * slot.decimals))
    short = xx.astype(object) * n < x.astype(object) ** 2
    columns.refuse(
        roles["sum_squares"], short.astype(bool), "too small for this sum and number of units",
        "give the sum of the units' squared totals, in the metric's unit squared.",
    )  # fmt: skip
    return Exact(metric=metric, n=n, x=x, xx=integers(xx), y=zero, yy=zero, xy=zero)


def _measured_totals(read: Read, metric: Metric) -> Centred:
    columns, roles = read.columns, read.source.columns[metric.key]
    n = columns.counts(roles["n"]).astype(np.float64)
    below = np.maximum(n - 1, 0)
    x, xx = columns.numbers(roles["mean"]), _variance(columns, roles["variance"]) * below
    if metric.type is not MetricType.RATIO:
        return Centred(n=n, x=x, xx=xx)
    if "denominator_mean" not in roles:
        raise BadInput(
            "a ratio has two sides", field=f"source.columns.{metric.key}",
            fix="add denominator_mean, denominator_variance and covariance.",
        )  # fmt: skip
    return Centred(
        n=n, x=x, xx=xx, y=columns.numbers(roles["denominator_mean"]),
        yy=_variance(columns, roles["denominator_variance"]) * below,
        xy=columns.numbers(roles["covariance"]) * below,
    )  # fmt: skip


def _variance(columns: Columns, column: str) -> NDArray[np.float64]:
    found = columns.numbers(column)
    columns.refuse(column, found < 0, "a variance below 0", "give the variance of the units (ddof 1).")
    return found


def units(read: Read) -> Cells:
    """A row is a unit, or one visit of the unit that `unit` names.

    As in the ledger: a unit counts under its first row (by time, then place); rows within the window of it
    add up; a unit with rows of several variants is contaminated.
    """
    visits = _visits(read)
    layout, first = read.layout, visits.first
    place = [layout.subject[first], layout.stratum[first], layout.variant[first], read.days[first]]
    keys, cell = np.unique(np.stack([*place, visits.contaminated]), axis=1, return_inverse=True)
    shape = (keys.shape[1],)
    counts = np.zeros((keys.shape[1], len(COUNTS)), dtype=np.int64)
    exposures = np.bincount(visits.unit, minlength=len(first))
    mismatched = np.bincount(visits.unit, weights=_mismatches(read), minlength=len(first)).astype(np.int64)
    for place_of, column in ((0, np.ones_like(first)), (1, exposures), (3, mismatched)):
        counts[:, place_of] = add_into(column, cell, shape)
    n = counts[:, 0]
    totals = tuple(_unit_totals(read, metric, visits, cell, n) for metric in read.metrics)
    return Cells(
        subject=keys[0], stratum=keys[1], variant=keys[2], day=keys[3], contaminated=keys[4].astype(bool),
        counts=counts, totals=totals,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Visits:
    """Rows by unit: `unit` of every row, `first` row of every unit, rows `inside` the window."""

    unit: Index
    first: Index
    inside: NDArray[np.bool_]
    contaminated: Index


def _visits(read: Read) -> _Visits:
    size = len(read.columns)
    every = np.arange(size)
    if read.source.unit is None:
        return _Visits(
            unit=every, first=every, inside=np.ones(size, bool), contaminated=np.zeros(size, np.int64)
        )
    named = read.columns.labels(read.source.unit)
    pair = read.layout.subject * len(named.names) + named.codes
    _, unit = np.unique(pair, return_inverse=True)
    at = np.zeros(size, dtype=np.int64) if read.instants is None else read.instants.ms
    order = np.lexsort((every, at, unit))
    starts = np.flatnonzero(np.diff(unit[order], prepend=-1))
    first = order[starts]
    since = at - at[first][unit]
    inside = since < read.window_ms if read.window_ms else np.ones(size, dtype=bool)
    other = read.layout.variant != read.layout.variant[first][unit]
    contaminated = (np.bincount(unit, weights=other, minlength=len(first)) > 0).astype(np.int64)
    return _Visits(unit=unit, first=first, inside=inside, contaminated=contaminated)


def _mismatches(read: Read) -> Index:
    """Rows that were served another variant than assigned."""
    if read.source.served is None:
        return np.zeros(len(read.columns), dtype=np.int64)
    shown = read.columns.labels(read.source.served)
    widest = max(len(subject.variants) for subject in read.layout.subjects)
    differs = np.ones((len(read.layout.subjects), widest, len(shown.names)), dtype=bool)
    for s, subject in enumerate(read.layout.subjects):
        for v, variant in enumerate(subject.variants):
            served = [served_variant(read.source, variant, name) for name in shown.names]
            differs[s, v] = [name != variant for name in served]
    return differs[read.layout.subject, read.layout.variant, shown.codes].astype(np.int64)


def _unit_totals(read: Read, metric: Metric, visits: _Visits, cell: Index, n: Index) -> Exact:
    """A metric's sums per cell, from the units' clipped totals."""
    sides = []
    for measure, column, _ in measured_columns(read.source, metric):
        rows = np.where(visits.inside, read.columns.amounts(column, slot_of(metric, measure)), 0)
        total = np.asarray(add_into(integers(rows), visits.unit, (len(visits.first),)))
        if metric.type is MetricType.PROPORTION:
            total = (total > 0).astype(np.int64)
        sides.append(integers(np.clip(total, -metric.cap, metric.cap)))
    shape = n.shape

    def summed(values: Integers) -> Integers:
        return add_into(integers(values), cell, shape)

    zero = np.zeros_like(n)
    x = sides[0]
    if len(sides) == 1:
        return Exact(metric=metric, n=n, x=summed(x), xx=summed(_product(x, x)), y=zero, yy=zero, xy=zero)
    y = sides[1]
    return Exact(
        metric=metric, n=n, x=summed(x), xx=summed(_product(x, x)), y=summed(y), yy=summed(_product(y, y)),
        xy=summed(_product(x, y)),
    )  # fmt: skip


def _product(a: Integers, b: Integers) -> Integers:
    """Element-wise product; Python integers where int64 could overflow."""
    bound = max((abs(int(part.max())), abs(int(part.min()))) for part in (a, b)) if a.size else (0, 0)
    if a.size and max(bound) >= 2**31:
        return np.asarray(a.astype(object) * b.astype(object))
    return np.asarray(a * b)
