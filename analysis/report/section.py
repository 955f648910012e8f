"""What a rendered result is made of: sections of sentences and tables of formatted cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from switchpoint.analysis.results.judgement import (
    Comparison,
    Estimate,
    Interval,
    MetricReading,
    Reading,
    Severity,
    Verdict,
)
from switchpoint.analysis.results.numbers import Finding
from switchpoint.analysis.results.sentences import deciding
from switchpoint.experiment.registry.decision import VerdictKind


class Tone(StrEnum):
    """What a cell means, for renderings that have colours; the text alone says the same."""

    PLAIN = "plain"
    GOOD = "good"
    BAD = "bad"
    WARN = "warn"
    MUTED = "muted"


@dataclass(frozen=True, slots=True)
class Cell:
    """One formatted cell."""

    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of cells under column names.

    The first `labels` columns are words, the others numbers; `sentence` says that the last one is a sentence.
    `spare` are the places of columns that may be left out where all do not fit, the first to go first.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    labels: int = 1
    sentence: bool = False
    spare: tuple[int, ...] = ()

    def is_text(self, column: int) -> bool:
        """Whether a column reads from the left."""
        return column < self.labels or (self.sentence and column == len(self.columns) - 1)


def transposed(table: Table) -> Table:
    """The same cells with rows and columns exchanged, for a few rows that are too wide."""
    columns = zip(*table.rows, strict=True)
    named = tuple(
        (Cell(name, Tone.MUTED), *cells) for name, cells in zip(table.columns, columns, strict=True)
    )
    head, *rest = named
    return Table(columns=tuple(cell.text for cell in head), rows=tuple(rest))


def narrowed(table: Table, fits: Callable[[Table], bool]) -> Table:
    """The table without its spare columns, as many of them as it takes until it `fits`."""
    found = table
    for number in range(1, len(table.spare) + 1):
        if fits(found):
            break
        gone = set(table.spare[:number])
        kept = [place for place in range(len(table.columns)) if place not in gone]
        found = Table(
            columns=tuple(table.columns[place] for place in kept),
            rows=tuple(tuple(row[place] for place in kept) for row in table.rows),
            labels=sum(place < table.labels for place in kept),
            sentence=table.sentence and kept[-1] == len(table.columns) - 1,
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A titled part of the report: sentences, then at most one table, then notes.

    `folded`: for who looks for it; a page shows its title until it is opened.
    """

    key: str
    title: str
    lines: tuple[str, ...] = ()
    table: Table | None = None
    notes: tuple[str, ...] = ()
    folded: bool = False


VERDICT_TONE = {
    VerdictKind.PROMOTE: Tone.GOOD,
    VerdictKind.KEEP: Tone.PLAIN,
    VerdictKind.CONTINUE: Tone.WARN,
    VerdictKind.STOP: Tone.WARN,
    VerdictKind.ROLLBACK: Tone.BAD,
    VerdictKind.INVALID: Tone.BAD,
}


def verdict_tone(verdict: Verdict) -> Tone:
    """The tone of a verdict; a promotion that does harm elsewhere is no good news alone."""
    harm = {one.finding for one in verdict.worse if one.variant == verdict.variant} - {Finding.SAFE}
    if verdict.kind is VerdictKind.PROMOTE and harm:
        return Tone.WARN
    return VERDICT_TONE[verdict.kind]


SEVERITY_TONE = {
    Severity.OK: Tone.GOOD,
    Severity.WARN: Tone.WARN,
    Severity.GATE: Tone.WARN,
    Severity.INVALID: Tone.BAD,
}


_FINDING_TONE = {
    Finding.BETTER: Tone.GOOD,
    Finding.SAFE: Tone.GOOD,
    Finding.WORSE: Tone.BAD,
    Finding.HARMED: Tone.BAD,
    Finding.NOT_SAFE: Tone.WARN,
}


def finding(comparison: Comparison) -> Cell:
    """What a comparison shows, as its record says it."""
    return Cell(comparison.finding.value, _FINDING_TONE.get(comparison.finding, Tone.MUTED))


def primary(reading: Reading) -> MetricReading | None:
    """The primary metric of a reading; None where nothing was measured yet."""
    return next((m for m in reading.metrics if m.role == "primary"), None)


def part_interval(headline: str, estimate: Estimate) -> Interval | None:
    """The interval by which a segment or a dimension's value is read."""
    return estimate.interval if headline == "interval" else estimate.sequence


def headline_interval(comparison: Comparison, estimate: Estimate) -> Interval | None:
    """The interval of the effect that the rule's design decides by; of a segment's estimate under a plan or a
    prior the confidence sequence. None where there is none."""
    if estimate is comparison.estimate:
        read = deciding(comparison)
        return None if read is None else read.interval
    return part_interval(comparison.headline, estimate)


def headline_lift(comparison: Comparison, estimate: Estimate) -> Interval | None:
    """The interval of the lift that the rule's design decides by, as `headline_interval`."""
    if estimate is comparison.estimate:
        read = deciding(comparison)
        return None if read is None else read.lift_interval
    return estimate.lift_interval if comparison.headline == "interval" else estimate.lift_sequence


def primary_comparisons(reading: Reading) -> tuple[tuple[MetricReading, Comparison], ...]:
    """The primary metric with each of its comparisons; empty where nothing was measured yet."""
    metric = primary(reading)
    return tuple((metric, c) for c in metric.comparisons) if metric else ()
