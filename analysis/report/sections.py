"""A report as titled tables of formatted cells: the one layout that terminal, Markdown and HTML share."""

from __future__ import annotations

from switchpoint.analysis.report import designs as design_sections
from switchpoint.analysis.report import segments as segment
from switchpoint.analysis.report import validity
from switchpoint.analysis.report.section import (
    Cell,
    Section,
    Table,
    Tone,
    finding,
    headline_interval,
    primary,
    primary_comparisons,
)
from switchpoint.analysis.results import format as fmt
from switchpoint.analysis.results.headline import deciding
from switchpoint.analysis.results.judgement import (
    Comparison,
    ExperimentResult,
    MetricReading,
    Reading,
    Verdict,
)
from switchpoint.experiment.registry.decision import VerdictKind


def verdict_label(verdict: Verdict) -> str:
    """The verdict in two words: `PROMOTE treatment`, `INVALID`."""
    if verdict.kind is VerdictKind.KEEP:
        return "KEEP control"
    return (
        f"{verdict.kind.value.upper()} {verdict.variant}" if verdict.variant else verdict.kind.value.upper()
    )


# Column names of the wide tables, in the order of their row functions.
_EFFECT_COLUMNS = (
    "variant", "units", "control", "variant value", "effect", "confidence sequence", "lift", "lift sequence",
    "anytime p", "fixed interval", "fixed p", "finding",
)  # fmt: skip
_LIVE_COLUMNS = ("variant", "units", "control", "variant value", "effect", "headline interval", "lift")
_METRIC_COLUMNS = (
    "metric", "role", "variant", "control", "variant value", "effect", "headline interval", "lift", "p",
    "finding",
)  # fmt: skip

_PAIR_COLUMNS = (
    "metric", "pair", "against", "value", "effect", "headline interval", "lift",
    "p after Holm", "finding",
)  # fmt: skip


def status_sections(result: ExperimentResult) -> tuple[Section, ...]:
    """The short reading: verdict, units, sufficiency and sample ratio."""
    parts = (
        _verdict(result),
        validity.overlap(result),
        _primary_effect(result),
        _live(result),
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
        _primary_effect(result),
        _live(result),
        design_sections.looks(result),
        *(_of_matured(result) if result.matured.n else ()),
        validity.sufficiency(result),
        validity.sample_ratio(result, short=False),
        validity.checks(result),
        validity.beside(result),
        validity.variants(result),
        validity.history(result),
        _pooled(result),
        validity.thresholds(result),
    )
    return tuple(p for p in parts if p.lines or p.table)


def _of_matured(result: ExperimentResult) -> tuple[Section, ...]:
    """Parts that are empty tables before anything has matured."""
    return (
        design_sections.losses(result),
        segment.segments(result),
        segment.segment_data(result),
        _metrics(result),
        _pairs(result),
        _guardrails(result),
    )


def said_once(verdict: Verdict) -> str:
    """The headline, empty where it only repeats the label."""
    return "" if verdict.headline.rstrip(".").lower() == verdict_label(verdict).lower() else verdict.headline


def unsaid(result: ExperimentResult) -> tuple[str, ...]:
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
        notes=unsaid(result),
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
        ("looked at", head.at),
        ("evidence", result.evidence.sentence),
        ("control", _control(result)),
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


def _primary_effect(result: ExperimentResult) -> Section:
    metric, matured = primary(result.matured), result.matured
    if metric is None or not metric.comparisons or not matured.n:
        line = "No exposure day has matured yet, so there is nothing the verdict may read."
        return Section(key="effect", title="Effect on matured days", lines=(line,))
    missing = [
        (c.variant, c.missing or (c.estimate and c.estimate.sequence_missing)) for c in metric.comparisons
    ]
    rows = tuple(_effect_row(metric, c) for c in metric.comparisons if c.estimate)
    return Section(
        key="effect",
        title=f"{metric.key} on matured days ({_size(matured)})",
        lines=tuple(f"{variant}: {why.message}" for variant, why in missing if why),
        table=Table(columns=_EFFECT_COLUMNS, rows=rows, spare=_spare(metric)) if rows else None,
    )


def _spare(metric: MetricReading) -> tuple[int, ...]:
    """What a narrow terminal leaves out first: what the rule does not decide by."""
    sequential = metric.comparisons[0].headline == "sequence"
    fixed, anytime = (9, 10), (5, 7, 8)
    return (*(fixed if sequential else anytime), 2, 3, *((7,) if sequential else ()))


def _effect_row(metric: MetricReading, comparison: Comparison) -> tuple[Cell, ...]:
    estimate = comparison.estimate
    if estimate is None:
        return (Cell(comparison.variant), *(Cell(fmt.ABSENT, Tone.MUTED),) * 10, finding(comparison))
    return (
        Cell(comparison.variant),
        Cell(f"{fmt.count(estimate.n_control)} / {fmt.count(estimate.n_variant)}"),
        Cell(fmt.value_of(metric, estimate.control_value)),
        Cell(fmt.value_of(metric, estimate.variant_value)),
        Cell(fmt.effect_of(metric, estimate.effect)),
        Cell(fmt.interval_of(metric, estimate.sequence)),
        Cell(fmt.share(estimate.lift, signed=True)),
        Cell(fmt.lift_interval(estimate.lift_sequence)),
        Cell(fmt.probability(estimate.anytime_p, estimate.log10_anytime_p)),
        Cell(fmt.interval_of(metric, estimate.interval)),
        Cell(fmt.probability(estimate.p, estimate.log10_p)),
        finding(comparison),
    )


def daily_table(result: ExperimentResult) -> Table:
    """The cumulative effect on the primary metric after each matured exposure day."""
    rows = tuple(
        (
            Cell(day.day),
            Cell(c.variant),
            Cell(fmt.count(day.n_control + day.n_variant)),
            Cell(fmt.effect_of(metric, day.effect)),
            Cell(fmt.interval_of(metric, day.sequence)),
        )
        for metric, c in primary_comparisons(result.matured)
        for day in c.daily
        if day.effect is not None
    )
    columns = ("day", "variant", "units so far", "effect so far", "confidence sequence")
    return Table(columns=columns, rows=rows, labels=2)


def _metrics(result: ExperimentResult) -> Section:
    rows = tuple(_metric_row(m, c) for m in result.matured.metrics for c in m.comparisons)
    if not rows:
        return Section(key="metrics", title="Metrics")
    table = Table(columns=_METRIC_COLUMNS, rows=rows, labels=3, spare=(1, 3, 7, 4))
    # the family of the segments is told beside them
    notes = tuple(line for line in result.family if not line.startswith(("Segments", "Pairs")))
    return Section(key="metrics", title="All metrics", table=table, notes=notes)


def _pairs(result: ExperimentResult) -> Section:
    """Variants compared with each other."""
    rows = tuple(
        (Cell(metric.key), Cell(f"{c.variant} against {c.control}"), *_metric_row(metric, c)[3:8],
         Cell(fmt.probability(c.adjusted_p)), finding(c))
        for metric in result.pairs
        for c in metric.comparisons
    )  # fmt: skip
    note = next((line for line in result.family if line.startswith("Pairs")), "")
    return Section(
        key="pairs",
        title="Variants compared with each other",
        table=Table(columns=_PAIR_COLUMNS, rows=rows, labels=2, spare=(6, 2, 3)) if rows else None,
        notes=(note,) if rows and note else (),
    )


def _metric_row(metric: MetricReading, comparison: Comparison) -> tuple[Cell, ...]:
    names = Cell(metric.key), Cell(metric.role, Tone.MUTED), Cell(comparison.variant)
    estimate = comparison.estimate
    if estimate is None:
        return (*names, *(Cell(fmt.ABSENT, Tone.MUTED),) * 6, finding(comparison))
    read = deciding(comparison)
    shown = read or estimate
    interval = fmt.ABSENT
    if read is not None:
        believed = read.better is not None
        interval = (
            f"lift {fmt.lift_interval(read.lift_interval)}"
            if believed
            else fmt.interval_of(metric, read.interval)
        )
    return (
        *names,
        Cell(fmt.value_of(metric, shown.control_value)),
        Cell(fmt.value_of(metric, shown.variant_value)),
        Cell(fmt.effect_of(metric, shown.effect)),
        Cell(interval),
        Cell(fmt.share(shown.lift, signed=True)),
        Cell(fmt.ABSENT if read is None else fmt.probability(read.p, read.log10_p)),
        finding(comparison),
    )


def _guardrails(result: ExperimentResult) -> Section:
    rows = []
    for metric in result.matured.metrics:
        for comparison in metric.comparisons:
            guard = comparison.guard
            if guard is None:
                continue
            margin = fmt.effect_of(metric, guard.margin).lstrip("+")
            if guard.margin_relative is not None:
                margin = f"{fmt.share(guard.margin_relative)} = {margin}"
            rows.append((
                Cell(metric.key),
                Cell(comparison.variant),
                Cell(margin),
                Cell(fmt.effect_of(metric, guard.loss)),
                Cell(fmt.effect_of(metric, guard.loss_bound)),
                finding(comparison),
            ))  # fmt: skip
    if not rows:
        return Section(key="guardrails", title="Guardrails")
    return Section(
        key="guardrails",
        title="Guardrails (positive loss is worse)",
        table=Table(
            columns=("metric", "variant", "margin", "loss", "worst loss", "finding"),
            rows=tuple(rows),
            labels=2,
        ),
    )


def _pooled(result: ExperimentResult) -> Section:
    rows = []
    for metric, comparison in primary_comparisons(result.matured):
        pooled = comparison.pooled
        if pooled is None or comparison.estimate is None:
            continue
        rows.append((
            Cell(comparison.variant),
            Cell(fmt.effect_of(metric, comparison.estimate.effect)),
            Cell(fmt.effect_of(metric, pooled.effect)),
            Cell(fmt.interval_of(metric, pooled.interval)),
            Cell(fmt.effect_of(metric, pooled.between)),
            Cell("Simpson's paradox", Tone.BAD) if pooled.simpson else Cell("same sign", Tone.MUTED),
        ))  # fmt: skip
    if not rows:
        return Section(key="pooled", title="Naive reading")
    columns = ("variant", "stratified", "pooled", "pooled interval", "between strata", "finding")
    return Section(
        key="pooled",
        title="Naive pooled reading, for comparison",
        table=Table(columns=columns, rows=tuple(rows)),
        notes=("The pooled reading mixes segments of different allocation; the verdict does not use it.",),
    )


def _live(result: ExperimentResult) -> Section:
    """The state with open windows, where it differs from the matured one."""
    live, metric, next_ = result.live, primary(result.live), result.matures
    if metric is None or live.n == result.matured.n:
        return Section(key="live", title="Live")
    lines = []
    if next_ is not None:
        which = "the first exposure day" if not result.matured.n else "the next exposure day"
        lines.append(
            f"{which.capitalize()} to mature is {next_.day}: its window closes at {fmt.moment(next_.at)}."
        )
    if not result.matured.n:
        units = ", ".join(f"{v.variant} {fmt.count(v.n)}" for v in live.variants)
        lines.append(f"Units so far: {units}.")
    return Section(
        key="live",
        title=f"{metric.key} live, unmatured days included ({_size(live)})",
        lines=tuple(lines),
        table=Table(
            columns=_LIVE_COLUMNS,
            rows=tuple((*_effect_row(metric, c)[:5], *_headline(metric, c)) for c in metric.comparisons),
        ),
        notes=("Windows of the latest days are still open; the verdict reads matured days only.",),
    )


def _headline(metric: MetricReading, comparison: Comparison) -> tuple[Cell, Cell]:
    """The interval the rule reads, and the lift."""
    estimate = comparison.estimate
    if estimate is None:
        return Cell(fmt.ABSENT, Tone.MUTED), Cell(fmt.ABSENT, Tone.MUTED)
    interval = headline_interval(comparison, estimate)
    return Cell(fmt.interval_of(metric, interval)), Cell(fmt.share(estimate.lift, signed=True))


def _size(reading: Reading) -> str:
    """How much a reading holds; days only where they are recorded."""
    units = fmt.plural(reading.n, "unit")
    return f"{units}, {fmt.plural(reading.days, 'day')}" if reading.days else units
