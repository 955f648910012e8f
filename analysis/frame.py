"""Judge tables in memory: pandas, Polars or Arrow, one experiment or thousands.

    report = analyze(frame, load_spec(text))
    report = analyze(exposures, load_spec(text), outcomes=events)

The same evidence, estimates, checks and verdict as a live experiment; a table is taken as closed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from analysis import event_rows, shapes, unit_groups, unit_rows
from analysis.batch import batch
from analysis.evidence import Cells, Evidence
from analysis.extremes import extremes
from analysis.facts import Facts
from analysis.group_extremes import group_extremes
from analysis.layout import layout
from analysis.report.batch_model import BatchReport
from analysis.report.build import build
from analysis.report.header import Header, VariantHeader, blank, instant
from analysis.report.model import Report
from analysis.seen import Rows, events_seen, experiments_seen, rows_seen, units_seen
from analysis.shapes import Read
from analysis.tabular import Columns, Frame, as_frame, eligible_columns
from analysis.thresholds import DEFAULT, Thresholds
from analysis.unit_groups import Grouped
from analysis.unit_table import UnitTable, clustered, clustered_metrics, merged
from analysis.unit_table import cells as summed
from experiment.canonical import digest, rule_digest
from experiment.columns import check_columns, check_metrics, check_outcome_columns
from experiment.definition import DAY_MS, Experiment, Metric, Spec
from experiment.errors import BadInput
from experiment.source import Shape, Source


def analyze(
    frame: Any,
    spec: Spec | Experiment,
    *,
    outcomes: Any = None,
    at: datetime | None = None,
    limits: Thresholds = DEFAULT,
) -> Report | BatchReport:
    """Judge a data frame under a spec (or a definition with a `source`).

    Args:
        frame: pandas or Polars data frame, or pyarrow table; in the shape events the exposures.
        outcomes: the second table of the shape events.
        at: the instant of this look, only shown.

    Returns:
        A `Report`, or a `BatchReport` when `source.experiment` names a column.

    Raises:
        BadInput: the source does not fit the table (names field, column and row).
    """
    evidence = evidence_of(frame, spec, outcomes)
    header = table_header(spec, evidence, at)
    if source_of(spec).experiment is not None:
        return batch(evidence, header, limits=limits)
    return build(evidence, header, limits=limits)


def source_of(spec: Spec | Experiment) -> Source:
    """The source block; raises BadInput for a definition without one."""
    if spec.source is None:
        raise BadInput("the definition has no source", field="source", fix="add a `source` block.")
    return spec.source


def evidence_of(frame: Any, spec: Spec | Experiment, outcomes: Any = None) -> Evidence:
    """The cells of a table. Raises BadInput as `analyze` does."""
    source = source_of(spec)
    if source.shape is not Shape.EVENTS:
        check_metrics(source, spec.metrics)
    if (source.shape is Shape.EVENTS) != (outcomes is not None):
        raise BadInput(
            "the shape events, and only it, has a second table", field="source.shape",
            fix="give the outcomes beside the exposures, or choose the shape of your one table.",
        )  # fmt: skip
    columns, excluded = eligible_columns(frame, source, check_columns(source, as_frame(frame).columns))
    if not len(columns):
        raise BadInput("no rows are left to analyse", field="source.eligible", fix="widen the condition.")
    found = _found(columns, spec, as_frame(frame), excluded, outcomes)
    read = found.read
    last = int(np.max(found.cells.day)) + 1 if read.instants is not None else 0
    return Evidence(
        metrics=found.metrics, rule=spec.decision, window_ms=read.window_ms, at=last * DAY_MS, closed=True,
        day_width=0 if read.instants is None else read.instants.width, subjects=read.layout.subjects,
        cells=found.cells, snapshots=found.snapshots, facts=found.facts, clustered=source.cluster is not None,
    )  # fmt: skip


def _read(columns: Columns, spec: Spec | Experiment, source: Source) -> Read:
    units = shapes.units_of(columns, source, spec.primary)
    day = source.exposures.at if source.exposures is not None else source.day
    return Read(
        columns=columns, source=source, metrics=spec.metrics, layout=layout(columns, spec, source, units),
        instants=None if day is None else columns.instants(day), window_ms=spec.window_ms or 0,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """The sums of a table, and what only its rows show."""

    read: Read
    metrics: tuple[Metric, ...]
    cells: Cells
    snapshots: Cells | None = None
    facts: tuple[Facts, ...] | None = None


def _found(
    columns: Columns, spec: Spec | Experiment, frame: Frame, excluded: Columns, outcomes: Any
) -> _Found:
    source = source_of(spec)
    groups = unit_groups.grouped(columns, spec, source)
    if groups is not None:
        return _of_groups(groups, columns, spec.metrics, frame, excluded)
    read = _read(columns, spec, source)
    if source.shape in {Shape.COUNTS, Shape.MOMENTS}:
        cells = (shapes.counted if source.shape is Shape.COUNTS else shapes.measured)(read, spec.primary)
        snapshots = cells if source.cumulative else None
        last = cells if snapshots is None else shapes.last(read, snapshots)
        facts = rows_seen(read, frame, excluded)
        return _Found(read=read, metrics=spec.metrics, cells=last, snapshots=snapshots, facts=facts)
    if source.shape is Shape.EVENTS:
        folded = event_rows.folded(read, event_columns(outcomes, source))
        units, held = folded.units, summed(folded.units, spec.metrics)
        seen = events_seen(read, frame, excluded, folded, held)
    else:
        visits = unit_rows.visits(read)
        units = unit_rows.unit_table(read, visits)
        held = summed(units, spec.metrics)
        seen = _seen(read, units, visits, held, frame, excluded)
    if source.cluster is None:
        return _Found(read=read, metrics=spec.metrics, cells=held, facts=seen)
    metrics = clustered_metrics(spec.metrics)
    return _Found(read=read, metrics=metrics, cells=summed(clustered(units), metrics), facts=seen)


def _seen(
    read: Read, units: UnitTable, visits: unit_rows.Visits, held: Cells, frame: Frame, excluded: Columns
) -> tuple[Facts, ...]:
    if len(read.layout.subjects) != 1:
        return experiments_seen(read, units, visits)
    whole = _eligible(frame, read.columns)
    rows = Rows(
        columns=read.columns, excluded=excluded, whole=whole, several=whole, units=len(units),
        extremes=extremes(units, read.metrics, held), variant=lambda: read.layout.variant,
    )  # fmt: skip
    return units_seen(read.source, rows)


def _of_groups(
    found: Grouped, columns: Columns, metrics: tuple[Metric, ...], frame: Frame, excluded: Columns
) -> _Found:
    """The sums of the units with one row, and of those with several, which are read on their own."""
    units = None
    if found.visits is not None:
        units = unit_rows.unit_table(found.visits, unit_rows.visits(found.visits))
    cells = merged([found.cells, *([] if units is None else [summed(units, metrics)])])
    whole = _eligible(frame, columns)
    rows = Rows(
        columns=columns, excluded=excluded, whole=whole, several=whole[found.repeated.tolist()],
        units=len(found.frame) + (0 if units is None else len(units)),
        extremes=group_extremes(found, units, cells),
        variant=lambda: columns.codes(str(found.read.source.variant)),
    )  # fmt: skip
    return _Found(read=found.read, metrics=metrics, cells=cells, facts=units_seen(found.read.source, rows))


def _eligible(frame: Frame, columns: Columns) -> Frame:
    """The eligible rows with every column of the table."""
    return frame if columns.places is None else frame[columns.places.tolist()]


def event_columns(outcomes: Any, source: Source) -> Columns:
    """The columns of the table of outcomes."""
    frame = as_frame(outcomes)
    frame = frame.select(*check_outcome_columns(source, frame.columns))
    name = source.outcomes.table if source.outcomes is not None else ""
    return Columns(frame=frame, table=name)


def table_header(spec: Spec | Experiment, evidence: Evidence, at: datetime | None) -> Header:
    """What the report of a table is about."""
    single = len(evidence.subjects) == 1
    subject = evidence.subjects[0]
    when = at.astimezone(UTC).isoformat(timespec="seconds") if at is not None else ""
    base = replace(
        blank(spec.decision, evidence.window_ms),
        key=subject.key if single else "table",
        unit=source_of(spec).unit or "row",
        status="closed",
        source="table",
        assignment=subject.assignment,
        at=when or (instant(evidence.at) if evidence.day_width else ""),
        variants=tuple(
            VariantHeader(key=key, control=place == 0, model=None, digest=None)
            for place, key in enumerate(subject.variants)
        ) if single else (),
    )  # fmt: skip
    if not isinstance(spec, Experiment):
        return base
    return replace(
        base, hypothesis=spec.hypothesis, owner=spec.owner, unit=spec.unit, definition_digest=digest(spec),
        rule_digest=rule_digest(spec),
    )  # fmt: skip
