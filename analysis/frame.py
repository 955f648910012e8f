"""Judge tables in memory: pandas, Polars or Arrow, one experiment or thousands.

    report = analyze(frame, load_spec(text))
    report = analyze(exposures, load_spec(text), outcomes=events)

The same evidence, estimates, checks and verdict as a live experiment; a table is taken as closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.evidence.evidence import Cells, Evidence, Subject
from switchpoint.analysis.evidence.facts import Facts
from switchpoint.analysis.judgement.build import batch, build
from switchpoint.analysis.report.report import BatchReport, Report
from switchpoint.analysis.results.header import Header, VariantHeader, blank, instant
from switchpoint.analysis.results.thresholds import DEFAULT, Thresholds
from switchpoint.analysis.tables import aggregated as shapes
from switchpoint.analysis.tables import events as event_rows
from switchpoint.analysis.tables import unit_sums
from switchpoint.analysis.tables.aggregated import Read
from switchpoint.analysis.tables.columns import Columns, Frame
from switchpoint.analysis.tables.facts import Rows, events_seen, groups_seen, units_seen
from switchpoint.analysis.tables.frames import as_frame, eligible_columns, written
from switchpoint.analysis.tables.placement import layout
from switchpoint.experiment.definition.source import Shape, Source
from switchpoint.experiment.definition.types import DAY_MS, Experiment, Metric, Spec
from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.language.experiment import digest, rule_digest
from switchpoint.experiment.ledger.columns import check_columns, check_metrics, check_outcome_columns
from switchpoint.experiment.ledger.sql import Engine

_SMALL = 100_000
"""Rows below which one thread is done before several have begun."""


def analyze(
    frame: Any,
    spec: Spec | Experiment,
    *,
    outcomes: Any = None,
    at: datetime | None = None,
    compare: Sequence[tuple[str, str]] = (),
    limits: Thresholds = DEFAULT,
    reading: Sequence[str] = (),
) -> Report | BatchReport:
    """Judge a data frame under a spec (or a definition with a `source`).

    Args:
        frame: pandas or Polars data frame, or pyarrow table; in the shape events the exposures.
        outcomes: the second table of the shape events.
        at: the instant of this look, only shown.
        compare: pairs of variants to compare with each other, the second with the first.
        reading: what is to be said of how the table came out of its file, a sentence each.

    Returns:
        A `Report`, or a `BatchReport` when `source.experiment` names a column.

    Raises:
        BadInput: the source does not fit the table (names field, column and row), a pair of variants that
            are not there, or pairs of many experiments.
    """
    many = source_of(spec).experiment is not None
    if many and compare:
        raise BadInput(
            "compares variants of one experiment", field="compare", value=" ".join(compare[0]),
            fix="keep the rows of one with `eligible`, and leave `experiment` out of the source.",
        )  # fmt: skip
    evidence = evidence_of(frame, spec, outcomes)
    header = replace(table_header(spec, evidence, at), reading=(*reading, *evidence.reading))
    if many:
        return BatchReport.of(batch(evidence, header, limits=limits))
    return Report.of(build(evidence, header, compare=compare, limits=limits))


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
    second = None if outcomes is None else event_columns(outcomes, source)
    if not len(columns):
        raise BadInput("no rows are left to analyse", field="source.eligible", fix="widen the condition.")
    from switchpoint.experiment.store.query import session

    with session(threads=1 if len(columns) < _SMALL else None) as engine:
        table = _Table(
            spec=spec, frame=as_frame(frame), columns=columns, excluded=excluded, outcomes=second,
            engine=engine,
        )  # fmt: skip
        evidence = _evidence(table) if source.experiment is None else _of_many(table, source.experiment)
    said = (*columns.notation.said(), *(() if second is None else second.notation.said()))
    return replace(evidence, reading=tuple(dict.fromkeys(said)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """Rows to be judged: eligible and excluded `columns` of the `frame` they came in."""

    spec: Spec | Experiment
    frame: Frame
    columns: Columns
    excluded: Columns
    outcomes: Columns | None
    engine: Engine

    @property
    def source(self) -> Source:
        return source_of(self.spec)

    def only(self, rows: NDArray[np.int64]) -> _Table:
        """Some of the eligible rows."""
        return replace(self, columns=self.columns.take(rows))


def _of_many(table: _Table, column: str) -> Evidence:
    """Experiments that cannot be read are put aside with the reason, which names the row; the others are
    judged.

    Raises:
        BadInput: no experiment can be read.
    """
    names = table.columns.labels(column).names
    emptied = [name for name in table.excluded.texts(column) if name not in set(names)]
    refused = dict.fromkeys(emptied, "No row of it meets the condition.")
    try:
        found = _evidence(table)
    except BadInput as error:
        codes = table.columns.labels(column).codes
        wrong = dict(_unreadable(table, codes, np.arange(len(names))))
        good = np.flatnonzero(~np.isin(codes, list(wrong)))
        if not wrong or not len(good):
            raise error from None
        refused |= {names[code]: str(reason) for code, reason in wrong.items()}
        found = _evidence(table.only(good))
    return replace(found, unreadable=refused)


def _unreadable(
    table: _Table, codes: NDArray[np.int64], some: NDArray[np.int64]
) -> Iterator[tuple[int, BadInput]]:
    """Which of some experiments cannot be read, found by halves, and why."""
    try:
        _sums(table.only(np.flatnonzero(np.isin(codes, some))))
    except BadInput as error:
        if len(some) == 1:
            yield int(some[0]), error
            return
        for half in np.array_split(some, 2):
            yield from _unreadable(table, codes, half)


def _evidence(table: _Table) -> Evidence:
    found = _sums(table)
    last = int(np.max(found.cells.day)) + 1 if found.day_width else 0
    return Evidence(
        metrics=found.metrics, rule=table.spec.decision, window_ms=table.spec.window_ms or 0,
        at=last * DAY_MS, closed=True, day_width=found.day_width, subjects=found.subjects, cells=found.cells,
        snapshots=found.snapshots, as_served=found.as_served, facts=found.facts(),
        clustered=table.source.cluster is not None,
    )  # fmt: skip


def _read(columns: Columns, spec: Spec | Experiment, source: Source) -> Read:
    units = shapes.units_of(columns, source, spec.primary)
    day = source.exposures.at if source.exposures is not None else source.day
    return Read(
        columns=columns, source=source, metrics=spec.metrics, layout=layout(columns, spec, source, units),
        instants=None if day is None else columns.instants(day), window_ms=spec.window_ms or 0,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sums:
    """The sums of a table, and how to see what only its rows show."""

    subjects: tuple[Subject, ...]
    metrics: tuple[Metric, ...]
    cells: Cells
    day_width: int
    facts: Callable[[], tuple[Facts, ...]]
    snapshots: Cells | None = None
    as_served: Cells | None = None


def _sums(table: _Table) -> _Sums:
    if table.source.shape is Shape.UNITS:
        return _of_units(table)
    return _of_events(table) if table.source.shape is Shape.EVENTS else _of_groups(table)


def _of_groups(table: _Table) -> _Sums:
    """Of rows that count many units."""
    read = _read(table.columns, table.spec, table.source)
    count = shapes.counted if table.source.shape is Shape.COUNTS else shapes.measured
    cells = count(read, table.spec.primary)
    snapshots = cells if table.source.cumulative else None
    return _Sums(
        subjects=read.layout.subjects, metrics=table.spec.metrics, day_width=_width(read),
        cells=cells if snapshots is None else shapes.last(read, snapshots), snapshots=snapshots,
        facts=lambda: groups_seen(_rows(table, read.layout.subjects), table.engine),
    )  # fmt: skip


def _width(read: Read) -> int:
    return 0 if read.instants is None else read.instants.width


def _rows(table: _Table, subjects: Sequence[Subject]) -> Rows:
    places, experiment = table.columns.places, table.source.experiment
    one = np.zeros(len(table.columns), dtype=np.int64)
    return Rows(
        source=table.source, columns=table.columns, excluded=table.excluded,
        whole=table.frame if places is None else table.frame[places.tolist()],
        experiments=[subject.key for subject in subjects],
        owner=one if experiment is None else table.columns.labels(experiment).codes,
    )  # fmt: skip


def _of_events(table: _Table) -> _Sums:
    if table.outcomes is None:
        raise ValueError("events have outcomes")
    found = event_rows.folded(table.engine, table.columns, table.outcomes, table.spec, table.source)
    sums = found.sums
    return _Sums(
        subjects=sums.places.subjects, metrics=sums.metrics, cells=sums.cells, day_width=sums.day_width,
        facts=lambda: events_seen(_rows(table, sums.places.subjects), found), as_served=sums.as_served,
    )  # fmt: skip


def _of_units(table: _Table) -> _Sums:
    found = unit_sums.unit_sums(table.engine, table.columns, table.spec, table.source)
    return _Sums(
        subjects=found.places.subjects, metrics=found.metrics, cells=found.cells, day_width=found.day_width,
        facts=lambda: units_seen(_rows(table, found.places.subjects), found), as_served=found.as_served,
    )  # fmt: skip


def event_columns(outcomes: Any, source: Source) -> Columns:
    """The columns of the table of outcomes."""
    frame = as_frame(outcomes)
    frame = frame.select(*check_outcome_columns(source, frame.columns))
    name = source.outcomes.table if source.outcomes is not None else ""
    return written(frame, source, name)


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
        control_named=source_of(spec).control is None and not isinstance(spec, Experiment),
    )  # fmt: skip
    if not isinstance(spec, Experiment):
        return base
    return replace(
        base, hypothesis=spec.hypothesis, owner=spec.owner, unit=spec.unit, definition_digest=digest(spec),
        rule_digest=rule_digest(spec),
    )  # fmt: skip
