"""Rows of units, or of their visits, as a table of units.

As in the ledger: a unit counts under its first row (by time, then place); rows within the window of it add
up; a unit with rows of several variants is contaminated. A covariate is read from the first row; a missing
one is 0, as a total before exposure is for a unit that was never seen before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.evidence.moments import Index, Integers, add_into, integers
from switchpoint.analysis.tables.aggregated import Read
from switchpoint.analysis.tables.units import Clusters, Column, UnitTable
from switchpoint.experiment.definition.types import Metric, MetricType
from switchpoint.experiment.ledger.columns import covariate_columns, measured_columns, served_variant, slot_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Visits:
    """Rows by unit: `unit` of every row, `first` row of every unit, rows `inside` the window."""

    unit: Index
    first: Index
    inside: NDArray[np.bool_]
    contaminated: NDArray[np.bool_]


def unit_table(read: Read, visits: Visits) -> UnitTable:
    """One row per unit; its metrics are the clipped totals of its rows."""
    layout, first = read.layout, visits.first
    exposures = np.bincount(visits.unit, minlength=len(first)).astype(np.int64)
    met = served(read)
    wrong = np.bincount(visits.unit, weights=met != layout.variant, minlength=len(first)).astype(np.int64)
    return UnitTable(
        subject=layout.subject[first], stratum=layout.stratum[first], variant=layout.variant[first],
        day=read.days[first], contaminated=visits.contaminated, exposures=exposures, mismatches=wrong,
        served=met[first],
        columns=tuple(_column(read, metric, visits) for metric in read.metrics),
        clusters=clusters(read, first, _times(read)),
    )  # fmt: skip


def clusters(read: Read, first: Index, at: Index) -> Clusters | None:
    """The clusters of units, from the `first` row of every unit and the times `at` of all rows (ms)."""
    if read.source.cluster is None:
        return None
    turn = np.empty_like(first)
    turn[np.lexsort((first, at[first]))] = np.arange(len(first))
    return Clusters(code=read.columns.labels(read.source.cluster).codes[first], turn=turn)


def _times(read: Read) -> Index:
    """The time of every row (ms); 0 where none is recorded."""
    return np.zeros(len(read.columns), dtype=np.int64) if read.instants is None else read.instants.ms


def visits(read: Read) -> Visits:
    """Which rows are of one unit."""
    size = len(read.columns)
    every = np.arange(size)
    if read.source.unit is None:
        return Visits(unit=every, first=every, inside=np.ones(size, bool), contaminated=np.zeros(size, bool))
    named = read.columns.ids(read.source.unit)
    _, unit = np.unique(read.layout.subject * (int(named.max()) + 1) + named, return_inverse=True)
    at = _times(read)
    order = np.lexsort((every, at, unit))
    first = order[np.flatnonzero(np.diff(unit[order], prepend=-1))]
    since = at - at[first][unit]
    other = read.layout.variant != read.layout.variant[first][unit]
    return Visits(
        unit=unit,
        first=first,
        inside=since < read.window_ms if read.window_ms else np.ones(size, dtype=bool),
        contaminated=np.bincount(unit, weights=other, minlength=len(first)) > 0,
    )


def served(read: Read) -> Index:
    """The place of the variant that every row was served; −1 for what is none of them."""
    if read.source.served is None:
        return read.layout.variant
    shown = read.columns.labels(read.source.served)
    widest = max(len(subject.variants) for subject in read.layout.subjects)
    places = np.full((len(read.layout.subjects), widest, len(shown.names)), -1, dtype=np.int64)
    for s, subject in enumerate(read.layout.subjects):
        known = {variant: place for place, variant in enumerate(subject.variants)}
        for v, variant in enumerate(subject.variants):
            met = (served_variant(read.source, variant, name) for name in shown.names)
            places[s, v] = [known.get(name, -1) for name in met]
    return np.asarray(places[read.layout.subject, read.layout.variant, shown.codes])


def mismatches(read: Read) -> Index:
    """Rows that were served another variant than assigned."""
    wrong: Index = (served(read) != read.layout.variant).astype(np.int64)
    return wrong


def clipped(metric: Metric, total: Integers) -> Integers:
    """A unit's total as the metric counts it."""
    if metric.type is MetricType.PROPORTION:
        return (total > 0).astype(np.int64)
    return integers(np.clip(total, -metric.cap, metric.cap))


def _column(read: Read, metric: Metric, found: Visits) -> Column:
    units = (len(found.first),)
    sides = []
    for measure, column, _ in measured_columns(read.source, metric):
        rows = np.where(found.inside, read.columns.amounts(column, slot_of(metric, measure)), 0)
        sides.append(clipped(metric, np.asarray(add_into(integers(rows), found.unit, units))))
    return with_covariates(Column(sides=tuple(sides)), read, metric, found.first)


def with_covariates(column: Column, read: Read, metric: Metric, first: Index) -> Column:
    """The column with the metric's covariates of every unit, read from the row of its first exposure."""
    decimals = None if metric.covariate is None else metric.covariate.decimals
    before = [read.columns.covariate(name, decimals) for name in covariate_columns(read.source, metric)]
    return replace(
        column,
        before=tuple(values[first] for values, _ in before),
        before_units=tuple(unit for _, unit in before),
    )
