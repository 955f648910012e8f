"""Rows of units, or of their visits, as a table of units.

As in the ledger: a unit counts under its first row (by time, then place); rows within the window of it add
up; a unit with rows of several variants is contaminated. A covariate is read from the first row; a missing
one is 0, as a total before exposure is for a unit that was never seen before.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from switchpoint.analysis.evidence.moments import Index, Integers, integers
from switchpoint.analysis.tables.aggregated import Read
from switchpoint.analysis.tables.units import Clusters, Column
from switchpoint.experiment.definition.types import Metric, MetricType
from switchpoint.experiment.ledger.columns import covariate_columns, served_variant


def clusters(read: Read, first: Index, at: Index) -> Clusters | None:
    """The clusters of units, from the `first` row of every unit and the times `at` of all rows (ms)."""
    if read.source.cluster is None:
        return None
    turn = np.empty_like(first)
    turn[np.lexsort((first, at[first]))] = np.arange(len(first))
    return Clusters(code=read.columns.labels(read.source.cluster).codes[first], turn=turn)


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


def clipped(metric: Metric, total: Integers) -> Integers:
    """A unit's total as the metric counts it."""
    if metric.type is MetricType.PROPORTION:
        return (total > 0).astype(np.int64)
    return integers(np.clip(total, -metric.cap, metric.cap))


def with_covariates(column: Column, read: Read, metric: Metric, first: Index) -> Column:
    """The column with the metric's covariates of every unit, read from the row of its first exposure."""
    decimals = None if metric.covariate is None else metric.covariate.decimals
    before = [read.columns.covariate(name, decimals) for name in covariate_columns(read.source, metric)]
    return replace(
        column,
        before=tuple(values[first] for values, _ in before),
        before_units=tuple(unit for _, unit in before),
    )
