"""The parts of a rendered report that speak of segments: what the rule says in each, and on how much data."""

from __future__ import annotations

from switchpoint.analysis.report.section import Cell, Section, Table, Tone, headline_interval, primary
from switchpoint.analysis.results import format as fmt
from switchpoint.analysis.results.judgement import (
    Comparison,
    ExperimentResult,
    MetricReading,
    SegmentReading,
    Sufficiency,
)

_COLUMNS = (
    "segment", "variant", "units", "control → variant", "effect", "interval", "shrunken",
    "shrunken interval", "corrected p", "the rule says",
)  # fmt: skip
_DATA_COLUMNS = (
    "segment", "variant", "units now", "needed", "reached", "weeks left", "visible effect", "sufficient",
)  # fmt: skip
_TONE = {"better than control": Tone.GOOD, "worse than control": Tone.BAD, "too little data": Tone.MUTED}


def segments(result: ExperimentResult) -> Section:
    """Each segment's effect, raw and shrunken, and what the rule says there under the one family."""
    metric = primary(result.matured)
    if metric is None or not any(c.segments for c in metric.comparisons):
        return Section(key="segments", title="Segments")
    return Section(
        key="segments",
        title=f"{metric.key} by segment",
        table=Table(
            columns=_COLUMNS,
            rows=tuple(_row(metric, c, segment) for c in metric.comparisons for segment in c.segments),
            labels=2,
            sentence=True,
            spare=(3, 7, 8, 5),
        ),
        notes=(
            *(line for line in result.family if line.startswith("Segments")),
            "Segments describe; the verdict reads the effect stratified over all of them.",
            *(heterogeneity(metric, c) for c in metric.comparisons if c.heterogeneity is not None),
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


def heterogeneity(metric: MetricReading, comparison: Comparison) -> str:
    """Whether the segments have one effect, in a sentence."""
    found = comparison.heterogeneity
    if found is None:
        return ""
    word = "Segments differ" if found.p < 0.05 else "No difference between segments is shown"
    return (
        f"{comparison.variant}: {word} (interaction {fmt.p_is(found.p)}); a typical segment has "
        f"{fmt.effect_of(metric, found.mean)} {fmt.interval_of(metric, found.interval)}. "
        "Rank segments by the shrunken effect: the largest raw one is mostly luck."
    )


def _row(metric: MetricReading, comparison: Comparison, reading: SegmentReading) -> tuple[Cell, ...]:
    estimate = reading.estimate
    values = f"{fmt.value_of(metric, reading.control.value)} → {fmt.value_of(metric, reading.value.value)}"
    interval = None if estimate is None else headline_interval(comparison, estimate)
    why = reading.missing.code.replace("_", " ") if reading.missing else ""
    return (
        Cell(reading.segment),
        Cell(comparison.variant),
        Cell(f"{fmt.count(reading.control.n)} / {fmt.count(reading.value.n)}"),
        Cell(values),
        Cell(fmt.effect_of(metric, estimate.effect) if estimate else fmt.ABSENT),
        Cell(fmt.interval_of(metric, interval)),
        Cell(fmt.ABSENT if reading.shrunk is None else fmt.effect_of(metric, reading.shrunk)),
        Cell(fmt.interval_of(metric, reading.shrunk_interval)),
        Cell(fmt.probability(reading.adjusted_p)),
        Cell(why or reading.finding.removesuffix(" than control"), _TONE.get(reading.finding, Tone.PLAIN)),
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
