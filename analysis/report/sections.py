"""One report and many experiments as titled tables of cells: the layouts that all renderings share."""

from __future__ import annotations

from switchpoint.analysis.report import effects, metrics, validity
from switchpoint.analysis.report.section import SEVERITY_TONE, VERDICT_TONE, Cell, Section, Table, Tone
from switchpoint.analysis.results import format as fmt
from switchpoint.analysis.results.batch import BatchResult, BatchRow
from switchpoint.analysis.results.judgement import ExperimentResult, Verdict
from switchpoint.experiment.registry.decision import VerdictKind

_REASON = "reason"

_SPARE = (
    "all units", "control", "variant value", "first day", "sample ratio p", "p", "flags", "lift interval",
)  # fmt: skip
"""What a narrow terminal leaves out, in this order."""


def status_sections(result: ExperimentResult) -> tuple[Section, ...]:
    """The short reading: verdict, units, sufficiency and sample ratio."""
    parts = (
        _verdict(result),
        validity.overlap(result),
        effects.effect(result),
        effects.live(result),
        validity.sufficiency(result),
        validity.sample_ratio(result, short=True),
    )
    return tuple(p for p in parts if p.lines or p.table)


def report_sections(result: ExperimentResult) -> tuple[Section, ...]:
    """The full reading; parts that have nothing to say are left out."""
    parts = (
        _verdict(result),
        validity.overlap(result),
        _experiment(result),
        effects.effect(result),
        effects.live(result),
        effects.looks(result),
        *(_of_matured(result) if result.matured.n else ()),
        validity.sufficiency(result),
        validity.sample_ratio(result, short=False),
        validity.checks(result),
        validity.beside(result),
        validity.variants(result),
        validity.history(result),
        effects.pooled(result),
        validity.thresholds(result),
    )
    return tuple(p for p in parts if p.lines or p.table)


def _of_matured(result: ExperimentResult) -> tuple[Section, ...]:
    """Parts that are empty tables before anything has matured."""
    return (
        effects.losses(result),
        metrics.segments(result),
        metrics.segment_data(result),
        metrics.dimensions(result),
        metrics.all_metrics(result),
        metrics.pairs(result),
        metrics.guardrails(result),
    )


def verdict_label(verdict: Verdict) -> str:
    """The verdict in two words: `PROMOTE treatment`, `INVALID`."""
    if verdict.kind is VerdictKind.KEEP:
        return "KEEP control"
    return (
        f"{verdict.kind.value.upper()} {verdict.variant}" if verdict.variant else verdict.kind.value.upper()
    )


def said_once(verdict: Verdict) -> str:
    """The headline, empty where it only repeats the label."""
    return "" if verdict.headline.rstrip(".").lower() == verdict_label(verdict).lower() else verdict.headline


def _unsaid(result: ExperimentResult) -> tuple[str, ...]:
    """The warnings that are not among the verdict's reasons already."""
    return tuple(w for w in dict.fromkeys(result.warnings) if w not in result.verdict.reasons)


def _verdict(result: ExperimentResult) -> Section:
    verdict = result.verdict
    headline = said_once(verdict)
    changes = tuple(f"What would change it: {text}" for text in verdict.what_would_change)
    return Section(
        key="verdict",
        title=f"Verdict: {verdict_label(verdict)}",
        lines=(*([headline] if headline else []), *verdict.reasons, *changes),
        notes=_unsaid(result),
    )


def _experiment(result: ExperimentResult) -> Section:
    head = result.header
    mde = fmt.share(head.mde) if head.mde_relative else fmt.amount(head.mde)
    plan = f" ({head.plan})" if head.plan else ""
    rule = (
        f"{fmt.design(head.design)} design{plan}, alpha {head.alpha:g}, power {head.power:g}, "
        f"MDE {mde}, {head.min_runtime_days} to {head.max_runtime_days} days, "
        + (f"window {fmt.days(head.window_days)}, " if head.window_days else "")
        + f"evidence {head.evidence_required}"
    )
    rows = [
        ("hypothesis", head.hypothesis),
        ("owner", head.owner),
        ("status", f"{head.status}, revision {head.revision}" if head.revision is not None else head.status),
        ("rule", rule),
        ("started", head.started_at or fmt.ABSENT),
        ("changed", "; ".join(f"{change.day} {change.what}" for change in head.changes)),
        ("looked at", head.at),
        ("evidence", result.evidence.sentence),
        ("control", _control(result)),
        ("table", " ".join(head.reading)),
        *(
            (f"variant {v.key}" + (" (control)" if v.control else ""), v.model or fmt.ABSENT)
            for v in head.variants
        ),
    ]
    table = Table(
        columns=("", ""), rows=tuple((Cell(a, Tone.MUTED), Cell(b)) for a, b in rows if b), labels=2
    )
    return Section(key="experiment", title=f"Experiment {head.key}", table=table)


def _control(result: ExperimentResult) -> str:
    """Which variant was taken for control, where nobody said it; empty elsewhere."""
    name = next((v.key for v in result.header.variants if v.control), None)
    if not result.header.control_named or name is None:
        return ""
    return f"{name}, taken by its name: the source does not say which variant is control"


def batch_sections(
    result: BatchResult, *, rows: int | None = None, reasons: bool = True
) -> tuple[Section, ...]:
    """The summary, then at most `rows` experiments (all when None), with or without reasons.

    Where not all are shown, those with a decision come first, by their p.
    """
    shown = result.rows if rows is None else tuple(sorted(result.rows, key=_rank)[:rows])
    table = row_table(result, shown, reasons=reasons)
    hidden = len(result.rows) - len(shown)
    notes = table_notes(result)
    if hidden:
        notes = (
            *notes,
            f"{fmt.count(hidden)} more rows with --format json, md or html; decided ones come first here.",
        )
    return (
        Section(key="summary", title=batch_title(result), table=summary_table(result)),
        Section(key="experiments", title="Experiments", table=table if shown else None, notes=notes),
    )


def batch_title(result: BatchResult) -> str:
    """`ctr: 2,471 experiments`."""
    return f"{result.metric}: {fmt.plural(len(result.rows), 'experiment')}"


def table_notes(result: BatchResult) -> tuple[str, ...]:
    """What the columns of the rows mean."""
    head = result.header
    design = fmt.design(head.design)
    rule = f"The {_p_name(result)} and interval are those the {design} design decides by at {head.alpha:g}"
    holm = "; Holm corrects over the variants of one experiment, not over experiments" * _several(result)
    return (f"{rule}{holm}.", "Units and needed count control and the variant of the row together.")


def _several(result: BatchResult) -> bool:
    """Whether any experiment has several variants beside control."""
    return any(row.variants > 2 for row in result.rows)


def _p_name(result: BatchResult) -> str:
    """The name of the p-value the rule decides by."""
    return "anytime p" if any(row.headline == "sequence" for row in result.rows) else "p"


def row_table(result: BatchResult, rows: tuple[BatchRow, ...], *, reasons: bool) -> Table:
    """A row per experiment; the Holm column only where an experiment has several other variants."""
    several = _several(result)
    names = {"p": _p_name(result)}
    cells = [_cells(row, shares=result.shares) for row in rows]
    columns = [
        name
        for name in (cells[0] if cells else {})
        if (reasons or name != _REASON) and (several or name != "Holm p")
    ]
    return Table(
        columns=tuple(names.get(name, name) for name in columns),
        rows=tuple(tuple(row[name] for name in columns) for row in cells),
        labels=4,
        sentence=reasons,
        spare=tuple(columns.index(name) for name in _SPARE if name in columns and (several or name != "p")),
    )


def summary_table(result: BatchResult) -> Table:
    """Verdicts by group, in order of time."""
    kinds = [kind.value for kind in VerdictKind if any(s.verdicts.get(kind.value) for s in result.summaries)]
    columns = ("group", "experiments", "units", *kinds, "ratio broken", "share")
    rows = tuple(
        (
            Cell(summary.group),
            Cell(fmt.count(summary.experiments)),
            Cell(fmt.count(summary.units)),
            *(Cell(fmt.count(summary.verdicts.get(kind, 0))) for kind in kinds),
            Cell(fmt.count(summary.srm_flagged)),
            Cell(fmt.share(summary.srm_share)),
        )
        for summary in result.summaries
    )
    return Table(columns=columns, rows=rows, spare=(2, len(columns) - 1))


def _rank(row: BatchRow) -> tuple[bool, float]:
    decided = row.verdict in {VerdictKind.PROMOTE, VerdictKind.ROLLBACK}
    return (not decided, 2.0 if row.adjusted_p is None else row.adjusted_p)


def _reason(row: BatchRow) -> str:
    """Why the verdict is what it is, and what the checks found."""
    first = row.missing.message if row.missing else row.reason
    return " ".join([first, *(flag.message for flag in row.flags if flag.message not in first)])


def _cells(row: BatchRow, *, shares: bool) -> dict[str, Cell]:
    control, variant = (
        fmt.share(value, digits=2) if shares else fmt.amount(value)
        for value in (row.control_value, row.variant_value)
    )
    return {
        "experiment": Cell(row.experiment),
        "first day": Cell(row.first_day or fmt.ABSENT, Tone.MUTED),
        "verdict": Cell(row.verdict.value, VERDICT_TONE[row.verdict]),
        "variant": Cell(row.variant or fmt.ABSENT),
        "lift": Cell(fmt.share(row.lift, signed=True)),
        "lift interval": Cell(fmt.lift_interval(row.headline_lift)),
        "p": Cell(fmt.probability(row.headline_p)),
        "Holm p": Cell(fmt.probability(row.adjusted_p)),
        "units": Cell(fmt.count(row.n_compared)),
        "needed": Cell(fmt.count(row.n_needed)),
        "flags": Cell(", ".join(flag.name for flag in row.flags)),
        "sample ratio p": Cell(fmt.probability(row.srm_p), SEVERITY_TONE[row.srm]),
        "control": Cell(control),
        "variant value": Cell(variant),
        "all units": Cell(fmt.count(row.n)),
        _REASON: Cell(_reason(row)),
    }
