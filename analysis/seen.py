"""The facts of a table's rows, gathered per shape while the rows are at hand."""

from __future__ import annotations

import numpy as np

from analysis import row_facts
from analysis.event_rows import Folded
from analysis.facts import Facts, Shared
from analysis.shapes import Read
from analysis.tabular import Columns, Frame
from analysis.totals import Index
from analysis.unit_rows import Visits
from analysis.unit_table import UnitTable


def rows_seen(read: Read, frame: Frame, excluded: Columns) -> tuple[Facts, ...] | None:
    """Of a table whose rows are groups of units."""
    if len(read.layout.subjects) != 1:
        return None
    size = len(read.columns)
    kept, out = _excluded(read, excluded)
    repeated = row_facts.copies(frame) if read.source.variant is not None else 0
    return (Facts(rows=size, units=size, copies=repeated, kept=kept, excluded=out),)


def units_seen(
    read: Read, frame: Frame, excluded: Columns, units: UnitTable, visits: Visits
) -> tuple[Facts, ...]:
    """Of a table of units or visits; of many experiments only how they share units."""
    subjects, source = read.layout.subjects, read.source
    if len(subjects) != 1:
        return _batch(read, units, visits)
    named = [*read.columns.frame.columns]
    whole = frame if not len(excluded) else frame[(read.columns.rows - 1).tolist()]
    kept, out = _excluded(read, excluded)
    visited = source.unit is not None and len(units) < len(read.columns)
    return (
        Facts(
            rows=len(read.columns),
            units=len(units),
            copies=row_facts.copies(whole) if visited else 0,
            ids=None if source.unit is None else row_facts.ids(read.columns, source.unit),
            nesting=None
            if source.cluster is not None or visited
            else row_facts.nesting(whole, named, read.layout.variant),
            extremes=row_facts.extremes(units, read.metrics),
            kept=kept,
            excluded=out,
        ),
    )


def events_seen(read: Read, frame: Frame, excluded: Columns, folded: Folded) -> tuple[Facts, ...] | None:
    """Of two tables of events."""
    subjects, source = read.layout.subjects, read.source
    if len(subjects) != 1:
        return None
    kept, out = _excluded(read, excluded)
    repeated = row_facts.copies(frame) if source.exposures is not None and source.exposures.id is None else 0
    return (
        Facts(
            rows=len(read.columns), units=len(folded.units), copies=repeated, repeated=folded.copies,
            early=folded.early, before=folded.before, counted=folded.counted, unexposed=folded.unexposed,
            ids=None if source.unit is None else row_facts.ids(read.columns, source.unit),
            extremes=row_facts.extremes(folded.units, read.metrics),
            kept=kept,
            excluded=out,
        ),
    )  # fmt: skip


def _batch(read: Read, units: UnitTable, visits: Visits) -> tuple[Facts, ...]:
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


def _excluded(read: Read, excluded: Columns) -> tuple[dict[str, int], dict[str, int]]:
    """Rows kept by the condition and rows it left out, per variant."""
    column = read.source.variant
    if not len(excluded) or column is None:
        return {}, {}
    return _by_label(read.columns, column), _by_label(excluded, column)


def _by_label(columns: Columns, column: str) -> dict[str, int]:
    labels = columns.labels(column)
    return dict(
        zip(labels.names, np.bincount(labels.codes, minlength=len(labels.names)).tolist(), strict=True)
    )
