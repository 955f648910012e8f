"""The facts of a table's rows, gathered per shape while the rows are at hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis import row_facts
from analysis.event_rows import Folded
from analysis.evidence import Cells
from analysis.extremes import extremes
from analysis.facts import Extreme, Facts, Shared
from analysis.shapes import Read
from analysis.tabular import Columns, Frame
from analysis.totals import Index
from analysis.unit_rows import Visits
from analysis.unit_table import UnitTable
from experiment.source import Source


def rows_seen(read: Read, frame: Frame, excluded: Columns) -> tuple[Facts, ...] | None:
    """Of a table whose rows are groups of units."""
    if len(read.layout.subjects) != 1:
        return None
    size = len(read.columns)
    kept, out = _excluded(read.columns, read.source, excluded)
    repeated = row_facts.copies(frame) if read.source.variant is not None else 0
    return (Facts(rows=size, units=size, copies=repeated, kept=kept, excluded=out),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What is at hand while a table of units is read.

    `columns` are its eligible rows, `excluded` the others, `whole` the eligible rows with every column of the
    table and `several` those of them whose unit may have more than one. `units` is how many there are,
    `variant` says the variant of every eligible row.
    """

    columns: Columns
    excluded: Columns
    whole: Frame
    several: Frame
    units: int
    extremes: tuple[Extreme, ...]
    variant: Callable[[], Index]


def units_seen(source: Source, rows: Rows) -> tuple[Facts, ...]:
    """Of the one experiment of a table of units or visits."""
    columns = rows.columns
    kept, out = _excluded(columns, source, rows.excluded)
    visited = source.unit is not None and rows.units < len(columns)
    named = columns.frame.columns
    return (
        Facts(
            rows=len(columns),
            units=rows.units,
            copies=row_facts.copies(rows.several) if visited else 0,
            ids=None if source.unit is None else row_facts.ids(columns, source.unit),
            nesting=None
            if source.cluster is not None or visited
            else row_facts.nesting(rows.whole, named, rows.variant),
            extremes=rows.extremes,
            kept=kept,
            excluded=out,
        ),
    )


def events_seen(
    read: Read, frame: Frame, excluded: Columns, folded: Folded, held: Cells
) -> tuple[Facts, ...] | None:
    """Of two tables of events."""
    subjects, source = read.layout.subjects, read.source
    if len(subjects) != 1:
        return None
    kept, out = _excluded(read.columns, read.source, excluded)
    repeated = row_facts.copies(frame) if source.exposures is not None and source.exposures.id is None else 0
    return (
        Facts(
            rows=len(read.columns), units=len(folded.units), copies=repeated, repeated=folded.copies,
            early=folded.early, before=folded.before, counted=folded.counted, unexposed=folded.unexposed,
            ids=None if source.unit is None else row_facts.ids(read.columns, source.unit),
            extremes=extremes(folded.units, read.metrics, held),
            kept=kept,
            excluded=out,
        ),
    )  # fmt: skip


def experiments_seen(read: Read, units: UnitTable, visits: Visits) -> tuple[Facts, ...]:
    """Of the many experiments of a table of units: how they share them."""
    sizes = [(subject.key, len(subject.variants)) for subject in read.layout.subjects]
    held = np.bincount(units.subject, minlength=len(sizes)).tolist()
    rows = np.bincount(read.layout.subject, minlength=len(sizes)).tolist()
    shared: tuple[tuple[Shared, ...], ...] = ((),) * len(sizes)
    if read.source.unit is not None:
        same: Index = read.columns.labels(read.source.unit).codes[visits.first]
        shared = row_facts.shared(same, units.subject, units.variant, sizes)
    return tuple(
        Facts(rows=rows[place], units=held[place], shared=shared[place]) for place in range(len(sizes))
    )


def _excluded(columns: Columns, source: Source, excluded: Columns) -> tuple[dict[str, int], dict[str, int]]:
    """Rows kept by the condition and rows it left out, per variant."""
    if not len(excluded) or source.variant is None:
        return {}, {}
    return _by_label(columns, source.variant), _by_label(excluded, source.variant)


def _by_label(columns: Columns, column: str) -> dict[str, int]:
    labels = columns.labels(column)
    return dict(
        zip(labels.names, np.bincount(labels.codes, minlength=len(labels.names)).tolist(), strict=True)
    )
