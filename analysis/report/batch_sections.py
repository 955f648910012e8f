"""Many experiments as sections: the summary per group, then a row per experiment."""

from __future__ import annotations

from analysis.report import format as fmt
from analysis.report.batch_model import BatchReport, BatchRow
from analysis.report.layout import SEVERITY_TONE, VERDICT_TONE, Cell, Section, Table, Tone
from experiment.decision import VerdictKind

_ROW_COLUMNS = (
    "experiment", "first day", "verdict", "variant", "units", "control", "variant value", "lift",
    "lift interval", "anytime p", "needed", "sample ratio p", "reason",
)  # fmt: skip


def batch_sections(
    report: BatchReport, *, rows: int | None = None, reasons: bool = True
) -> tuple[Section, ...]:
    """The summary, then at most `rows` experiments (all when None), with or without reasons."""
    shown = report.rows if rows is None else report.rows[:rows]
    columns = _ROW_COLUMNS if reasons else _ROW_COLUMNS[:-1]
    lines = tuple(_row(row)[: len(columns)] for row in shown)
    hidden = len(report.rows) - len(shown)
    return (
        Section(
            key="summary",
            title=f"{report.metric}: {fmt.count(len(report.rows))} experiments",
            table=_summary_table(report),
        ),
        Section(
            key="experiments",
            title="Experiments",
            table=Table(columns=columns, rows=lines, labels=4, sentence=reasons) if shown else None,
            notes=(f"{fmt.count(hidden)} more rows with --format json, md or html.",) if hidden else (),
        ),
    )


def _summary_table(report: BatchReport) -> Table:
    kinds = [kind.value for kind in VerdictKind if any(s.verdicts.get(kind.value) for s in report.summaries)]
    columns = ("group", "experiments", "units", *kinds, "sample ratio flagged", "share flagged")
    rows = tuple(
        (
            Cell(summary.group),
            Cell(fmt.count(summary.experiments)),
            Cell(fmt.count(summary.units)),
            *(Cell(fmt.count(summary.verdicts.get(kind, 0))) for kind in kinds),
            Cell(fmt.count(summary.srm_flagged)),
            Cell(fmt.share(summary.srm_share)),
        )
        for summary in report.summaries
    )
    return Table(columns=columns, rows=rows)


def _row(row: BatchRow) -> tuple[Cell, ...]:
    return (
        Cell(row.experiment),
        Cell(row.first_day or fmt.ABSENT, Tone.MUTED),
        Cell(row.verdict.value, VERDICT_TONE[row.verdict]),
        Cell(row.variant or fmt.ABSENT),
        Cell(fmt.count(row.n)),
        Cell(fmt.share(row.control_value, digits=2)),
        Cell(fmt.share(row.variant_value, digits=2)),
        Cell(fmt.share(row.lift, signed=True)),
        Cell(fmt.lift_interval(row.lift_interval)),
        Cell(fmt.probability(row.anytime_p)),
        Cell(fmt.count(row.n_needed)),
        Cell(fmt.probability(row.srm_p), SEVERITY_TONE[row.srm]),
        Cell(row.missing.message if row.missing else row.reason),
    )
