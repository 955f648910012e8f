"""Judge a table in memory: pandas, Polars or Arrow, one experiment or thousands.

    report = analyze(frame, load_spec(text))

The same evidence, estimates, checks and verdict as a live experiment; a table is taken as closed.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from analysis import shapes
from analysis.analyze import instant
from analysis.batch import batch
from analysis.evidence import Evidence
from analysis.layout import layout
from analysis.report.batch_model import BatchReport
from analysis.report.build import build
from analysis.report.header import Header, VariantHeader, blank
from analysis.report.model import Report
from analysis.tabular import as_frame, eligible_columns
from analysis.thresholds import DEFAULT, Thresholds
from experiment.canonical import digest, rule_digest
from experiment.columns import check_columns, check_metrics
from experiment.definition import DAY_MS, Experiment, Spec
from experiment.errors import BadInput
from experiment.source import Shape, Source


def analyze(
    frame: Any, spec: Spec | Experiment, *, at: datetime | None = None, limits: Thresholds = DEFAULT
) -> Report | BatchReport:
    """Judge a data frame under a spec (or a definition with a `source`).

    Args:
        frame: pandas or Polars data frame, or pyarrow table.
        at: the instant of this look, only shown.

    Returns:
        A `Report`, or a `BatchReport` when `source.experiment` names a column.

    Raises:
        BadInput: the source does not fit the table (names field, column and row).
    """
    evidence = evidence_of(frame, spec)
    header = table_header(spec, evidence, at)
    if source_of(spec).experiment is not None:
        return batch(evidence, header, limits=limits)
    return build(evidence, header, limits=limits)


def source_of(spec: Spec | Experiment) -> Source:
    """The source block; raises BadInput for a definition without one."""
    if spec.source is None:
        raise BadInput("the definition has no source", field="source", fix="add a `source` block.")
    return spec.source


def evidence_of(frame: Any, spec: Spec | Experiment) -> Evidence:
    """The cells of a table. Raises BadInput as `analyze` does."""
    source = source_of(spec)
    _supported(source)
    check_metrics(source, spec.metrics)
    columns = eligible_columns(frame, source, check_columns(source, as_frame(frame).columns))
    if not len(columns):
        raise BadInput("no rows are left to analyse", field="source.eligible", fix="widen the condition.")
    units = shapes.units_of(columns, source, spec.primary)
    instants = None if source.day is None else columns.instants(source.day)
    read = shapes.Read(
        columns=columns, source=source, metrics=spec.metrics, layout=layout(columns, spec, source, units),
        instants=instants, window_ms=spec.window_ms or 0,
    )  # fmt: skip
    if source.shape is Shape.UNITS:
        cells = shapes.units(read)
    else:
        cells = (shapes.counted if source.shape is Shape.COUNTS else shapes.measured)(read, spec.primary)
    last = int(np.max(cells.day)) + 1 if instants is not None else 0
    return Evidence(
        metrics=spec.metrics, rule=spec.decision, window_ms=read.window_ms, at=last * DAY_MS, closed=True,
        day_width=0 if instants is None else instants.width, subjects=read.layout.subjects, cells=cells,
    )  # fmt: skip


def _supported(source: Source) -> None:
    if source.shape is Shape.EVENTS:
        raise BadInput(
            "exposures and outcomes in two tables are no single frame", field="source.shape",
            fix="join them to a row per unit and use `shape: units`.",
        )  # fmt: skip
    for part in ("cluster", "covariate"):
        if getattr(source, part):
            raise BadInput(
                f"{part!r} is not used by this analysis yet, and leaving it out silently would mislead",
                field=f"source.{part}", fix="remove it; a cluster can be analysed as the `unit`.",
            )  # fmt: skip


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
