"""The parts of a report beyond its primary metric: every metric, pairs of variants, guardrails, segments."""

from __future__ import annotations

from switchpoint.analysis.report.section import (
    Cell,
    Section,
    Table,
    Tone,
    finding,
    part_interval,
    primary,
)
from switchpoint.analysis.results import format as fmt
from switchpoint.analysis.results.judgement import (
    Comparison,
    ExperimentResult,
    Heterogeneity,
    MetricReading,
    SegmentReading,
    Sufficiency,
)
from switchpoint.analysis.results.sentences import deciding

# Column names of the tables, in the order of their row functions.
_METRIC_COLUMNS = (
    "metric", "role", "variant", "control", "variant value", "effect", "headline interval", "lift", "p",
    "finding",
)  # fmt: skip

_PAIR_COLUMNS = (
    "metric", "pair", "against", "value", "effect", "headline interval", "lift",
    "p after Holm", "finding",
)  # fmt: skip

_BY_SEGMENT = (
    "segment", "variant", "units", "control → variant", "effect", "interval", "shrunken",
    "shrunken interval", "corrected p", "the rule says",
)  # fmt: skip

_DATA_COLUMNS = (
    "segment", "variant", "units now", "needed", "reached", "weeks left", "visible effect", "sufficient",
)  # fmt: skip

_EXPLORES = (
    "Exploratory: no verdict reads a dimension; what is found here is a question for another experiment. The "
    "values of a dimension × variants are a correction family of their own."
)

_RULE_TONE = {
    "better than control": Tone.GOOD,
    "worse than control": Tone.BAD,
    "too little data": Tone.MUTED,
}


def all_metrics(result: ExperimentResult) -> Section:
    """Every metric of every variant, by the interval its rule decides by."""
    rows = tuple(_metric_row(m, c) for m in result.matured.metrics for c in m.comparisons)
    if not rows:
        return Section(key="metrics", title="Metrics")
    table = Table(columns=_METRIC_COLUMNS, rows=rows, labels=3, spare=(1, 3, 7, 4))
    # the family of the segments is told beside them
    notes = tuple(line for line in result.family if not line.startswith(("Segments", "Pairs")))
    return Section(key="metrics", title="All metrics", table=table, notes=notes)


def pairs(result: ExperimentResult) -> Section:
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


def guardrails(result: ExperimentResult) -> Section:
    """What each guardrail loses, at worst, against its margin."""
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


def segments(result: ExperimentResult) -> Section:
    """Each segment's effect, raw and shrunken, and what the rule says there under the one family."""
    metric = primary(result.matured)
    if metric is None or not any(c.segments for c in metric.comparisons):
        return Section(key="segments", title="Segments")
    return Section(
        key="segments",
        title=f"{metric.key} by segment",
        table=Table(
            columns=_BY_SEGMENT,
            rows=tuple(
                _segment_row(metric, c.variant, c.headline, segment)
                for c in metric.comparisons
                for segment in c.segments
            ),
            labels=2,
            sentence=True,
            spare=(3, 7, 8, 5),
        ),
        notes=(
            *(line for line in result.family if line.startswith("Segments")),
            "Segments describe; the verdict reads the effect stratified over all of them.",
            *(
                _heterogeneity(metric, c.variant, c.heterogeneity, "segments")
                for c in metric.comparisons
                if c.heterogeneity is not None
            ),
        ),
    )


def segment_data(result: ExperimentResult) -> Section:
    """Is there enough data in each segment, for the same rule at the strictest level of its family?"""
    metric = primary(result.matured)
    rows = tuple(
        _data_row(c, segment)
        for c in (metric.comparisons if metric is not None else ())
        for segment in c.segments
        if segment.sufficiency is not None
    )
    return Section(
        key="segment-data",
        title="Sample size by segment",
        table=Table(columns=_DATA_COLUMNS, rows=rows, labels=2, spare=(4,)) if rows else None,
    )


def _heterogeneity(metric: MetricReading, variant: str, found: Heterogeneity, parts: str) -> str:
    """Whether the parts (segments, values) have one effect, in a sentence."""
    word = f"{parts.capitalize()} differ" if found.p < 0.05 else f"No difference between {parts} is shown"
    return (
        f"{variant}: {word} (interaction {fmt.p_is(found.p)}); a typical {parts[:-1]} has "
        f"{fmt.effect_of(metric, found.mean)} {fmt.interval_of(metric, found.interval)}. "
        f"Rank {parts} by the shrunken effect: the largest raw one is mostly luck."
    )


def dimensions(result: ExperimentResult) -> Section:
    """The primary metric by every dimension, to explore."""
    metric = primary(result.matured)
    if metric is None or not result.dimensions:
        return Section(key="dimensions", title="Dimensions")
    found = [(one, c) for one in result.dimensions for c in one.comparisons]
    rows = tuple(
        (Cell(one.dimension), *_segment_row(metric, c.variant, one.headline, value))
        for one, c in found
        for value in c.values
    )
    table = Table(
        columns=("dimension", "value", *_BY_SEGMENT[1:-1], "finding"), rows=rows, labels=3, sentence=True,
        spare=(4, 8, 9, 6),
    )  # fmt: skip
    return Section(
        key="dimensions",
        title=f"{metric.key} by dimension",
        table=table,
        notes=(
            _EXPLORES,
            *(
                f"{one.dimension}: {_heterogeneity(metric, c.variant, c.heterogeneity, 'values')}"
                for one, c in found
                if c.heterogeneity is not None
            ),
        ),
    )


def _segment_row(
    metric: MetricReading, variant: str, headline: str, reading: SegmentReading
) -> tuple[Cell, ...]:
    estimate = reading.estimate
    values = f"{fmt.value_of(metric, reading.control.value)} → {fmt.value_of(metric, reading.value.value)}"
    interval = None if estimate is None else part_interval(headline, estimate)
    why = reading.missing.code.replace("_", " ") if reading.missing else ""
    return (
        Cell(reading.segment),
        Cell(variant),
        Cell(f"{fmt.count(reading.control.n)} / {fmt.count(reading.value.n)}"),
        Cell(values),
        Cell(fmt.effect_of(metric, estimate.effect) if estimate else fmt.ABSENT),
        Cell(fmt.interval_of(metric, interval)),
        Cell(fmt.ABSENT if reading.shrunk is None else fmt.effect_of(metric, reading.shrunk)),
        Cell(fmt.interval_of(metric, reading.shrunk_interval)),
        Cell(fmt.probability(reading.adjusted_p)),
        Cell(
            why or reading.finding.removesuffix(" than control"),
            _RULE_TONE.get(reading.finding, Tone.PLAIN),
        ),
    )


def _data_row(comparison: Comparison, reading: SegmentReading) -> tuple[Cell, ...]:
    enough = reading.sufficiency
    names = Cell(reading.segment), Cell(comparison.variant)
    if enough is None:
        return (*names, *(Cell(fmt.ABSENT, Tone.MUTED),) * (len(_DATA_COLUMNS) - 2))
    return (
        *names,
        Cell(fmt.count(enough.n_now)),
        Cell(fmt.count(enough.n_needed)),
        Cell(fmt.share(enough.share, digits=0)),
        Cell(fmt.weeks(enough.weeks_left, enough.weeks_left_slow)),
        Cell(fmt.share(enough.mde_now_relative)),
        _sufficient(enough),
    )


def _sufficient(enough: Sufficiency) -> Cell:
    if enough.n_needed is None:
        return Cell("not known", Tone.MUTED)
    return Cell("enough", Tone.GOOD) if enough.enough else Cell("not yet", Tone.WARN)
