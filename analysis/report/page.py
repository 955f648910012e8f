"""A report as plain data: what its page holds, and the line of it that a list of experiments shows.

The self-contained report and the console's page are made from the same `Page`. Both classes can be written as
JSON and read back (`experiment.language.document`): who shows a page that was stored computes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from switchpoint.analysis.planning.curves import Curve, Planned, Point
from switchpoint.analysis.report.charts import charts, lift_curves, power_curves
from switchpoint.analysis.report.effects import daily_table
from switchpoint.analysis.report.section import (
    Cell,
    Section,
    Table,
    Tone,
    primary,
    primary_comparisons,
    verdict_tone,
)
from switchpoint.analysis.report.sections import report_sections, verdict_label
from switchpoint.analysis.report.validity import overall_ratio, ratio_finding
from switchpoint.analysis.results import format as fmt
from switchpoint.analysis.results.judgement import (
    CheckName,
    Comparison,
    ExperimentResult,
    MetricReading,
    Severity,
    Sufficiency,
)
from switchpoint.analysis.results.sentences import deciding, foremost
from switchpoint.experiment.registry.decision import VerdictKind


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure with its name above and its detail below; `reached` per cent of what is needed, as a bar."""

    name: str
    figure: str
    detail: str
    reached: float | None = None
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One look at one experiment, ready to be laid out.

    `sentence` is what to do now, models by name where they are known, `label` the same in two words. `lines`
    are the first reasons, whatever else is shown to be worse, and what would change it. `charts` are
    Vega-Lite specifications by key, `daily` the table behind the first of them, `at` the instant of the look.
    """

    key: str
    at: str
    label: str
    sentence: str
    tone: Tone
    lines: tuple[str, ...]
    tiles: tuple[Tile, ...]
    sections: tuple[Section, ...]
    daily: Table
    charts: Mapping[str, Any]
    definition_digest: str | None
    rule_digest: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The weightiest thing that a check found, in a few words; that nothing did where none has."""

    says: str
    tone: Tone


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One experiment in a list of many: what to do, the primary metric, how far to go, whether to believe it.

    `reached` is the share of the units needed (None: not known). `attention` sorts a list: 0 is broken or
    does harm, 1 waits for somebody to act, 2 has a warning, 3 goes on by itself.
    """

    label: str
    sentence: str
    tone: Tone
    metric: str
    lift: str
    interval: str
    units: str
    reached: float | None
    left: str
    health: Health
    attention: int
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPage:
    """A plan, ready to be laid out: the question, its answer, the facts, and the curves (power, and the
    `visible` effect) as tables and as Vega-Lite specifications by key, `power` and `lift`."""

    title: str
    answer: str
    facts: Section
    power: Section
    visible: Table
    charts: Mapping[str, Any]


def page_of(result: ExperimentResult) -> Page:
    """The page of a result."""
    verdict, head = result.verdict, result.header
    first = verdict.reasons[:_REASONS]
    worse = [one.sentence for one in verdict.worse if one.sentence not in first]
    return Page(
        key=head.key,
        at=head.at,
        label=verdict_label(verdict),
        sentence=verdict.headline,
        tone=verdict_tone(verdict),
        lines=(*first, *worse, *(f"What would change it: {text}" for text in verdict.what_would_change)),
        tiles=tuple(_tiles(result)),
        sections=_sections(result, {*first, *worse}),
        daily=daily_table(result),
        charts=charts(result),
        definition_digest=head.definition_digest,
        rule_digest=head.rule_digest,
    )


def plan_page(plan: Planned, curves: Sequence[Curve], facts: Sequence[tuple[str, str]]) -> PlanPage:
    """The page of a plan; `facts`: what it asks for and needs, as names and formatted values."""
    needed = {fmt.design(c.design): next(p.units for p in c.powers if p.power == plan.power) for c in curves}
    said = ", ".join(f"{fmt.count(units)} under the {design} design" for design, units in needed.items())
    lift = plan.lift(plan.effect)
    effect = (
        f"an effect of {fmt.amount(plan.effect, signed=True)}"
        if lift is None
        else f"a lift of {fmt.share(lift, signed=True)}"
    )
    rows = tuple((Cell(name, Tone.MUTED), Cell(value)) for name, value in facts)
    powers = [fmt.share(point.power) for point in curves[0].powers]
    effects = [
        fmt.amount(p.effect, signed=True) if p.lift is None else fmt.share(p.lift, signed=True)
        for p in curves[0].lifts
    ]
    return PlanPage(
        title=f"How many units for {effect}?",
        answer=f"{said}, to find it with a power of {fmt.share(plan.power, digits=0)}.",
        facts=Section(key="plan", title="The plan", table=Table(columns=("", ""), rows=rows, labels=2)),
        power=Section(
            key="power",
            title="Power",
            table=_points("power", powers, [c.powers for c in curves], list(needed)),
        ),
        visible=_points("effect", effects, [c.lifts for c in curves], list(needed)),
        charts={"power": power_curves(plan, curves), "lift": lift_curves(plan, curves)},
    )


def _points(name: str, labels: Sequence[str], curves: Sequence[Sequence[Point]], designs: list[str]) -> Table:
    """Units that each point of the curves takes, a column per design."""
    rows = tuple(
        (Cell(label), *(Cell(fmt.count(point.units)) for point in points))
        for label, *points in zip(labels, *curves, strict=True)
    )
    return Table(columns=(name, *(f"units, {design}" for design in designs)), rows=rows)


_REASONS = 3
"""Reasons that stand beside the sentence; the others have a section of their own."""

# may it be believed, what was found, how far to go, the details, what was asked
_ORDER = (
    "overlap", "checks", "sample-ratio", "effect", "live", "looks", "loss", "sufficiency", "metrics", "pairs",
    "guardrails", "segments", "segment-data", "dimensions", "pooled", "beside", "variants", "history",
    "reasons", "experiment", "thresholds",
)  # fmt: skip


def _sections(result: ExperimentResult, said: set[str]) -> tuple[Section, ...]:
    """The sections in reading order; the reasons that are not `said` already have one of their own."""
    told, *sections = report_sections(result)
    rest = tuple(reason for reason in result.verdict.reasons if reason not in said)
    # what the checks warn of stands among them
    messages = {check.message for check in result.checks}
    notes = tuple(note for note in told.notes if note not in messages)
    if rest or notes:
        sections.append(Section(key="reasons", title="More reasons", lines=rest, notes=notes))
    return tuple(sorted(sections, key=lambda section: _ORDER.index(section.key)))


def summary_of(result: ExperimentResult) -> Summary:
    """The line of a result."""
    verdict, health = result.verdict, _health(result)
    metric, comparison = _leading(result)
    enough = None if comparison is None else comparison.sufficiency
    read = None if comparison is None else deciding(comparison)
    estimate = None if comparison is None else read or comparison.estimate
    return Summary(
        label=verdict_label(verdict),
        sentence=verdict.headline,
        tone=verdict_tone(verdict),
        metric="" if metric is None else metric.key,
        lift=fmt.ABSENT if estimate is None else fmt.share(estimate.lift, signed=True),
        interval="" if read is None else fmt.lift_interval(read.lift_interval),
        units=_units(result, enough),
        reached=None if enough is None or enough.share is None else min(1.0, enough.share),
        left=_left(enough),
        health=health,
        attention=_attention(verdict.kind, health),
        at=result.header.at,
    )


def _leading(result: ExperimentResult) -> tuple[MetricReading | None, Comparison | None]:
    """The primary metric and the comparison a list shows: that of the verdict's variant, else of the best."""
    metric = primary(result.matured if result.matured.n else result.live)
    if metric is None:
        return None, None
    named = (c for c in metric.comparisons if c.variant == result.verdict.variant)
    return metric, next(named, foremost(metric))


def _units(result: ExperimentResult, enough: Sufficiency | None) -> str:
    if enough is None or enough.n_needed is None:
        return fmt.count(result.live.n)
    return f"{fmt.count(enough.n_now)} of {fmt.count(enough.n_needed)}"


def _left(enough: Sufficiency | None) -> str:
    if enough is not None and enough.enough:
        return "enough units"
    if enough is None or enough.weeks_left is None:
        return fmt.ABSENT
    last = enough.weeks_left if enough.weeks_left_slow is None else enough.weeks_left_slow
    return f"{fmt.weeks(enough.weeks_left, enough.weeks_left_slow)} {'week' if last == 1 else 'weeks'}"


# what only time can change is no fault
_PATIENCE = frozenset({CheckName.MATURED, CheckName.RUNTIME, CheckName.EVENTS, CheckName.STRATA})
_WEIGHT = {Severity.INVALID: Tone.BAD, Severity.GATE: Tone.WARN, Severity.WARN: Tone.WARN}


def _health(result: ExperimentResult) -> Health:
    for severity, tone in _WEIGHT.items():
        names = [c.name for c in result.checks if c.severity is severity and c.name not in _PATIENCE]
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            return Health(says=f"{names[0]}{more}", tone=tone)
    looked = sum(check.checked for check in result.checks)
    tone = Tone.GOOD if looked else Tone.MUTED
    return Health(says=f"{fmt.plural(looked, 'check')} found nothing", tone=tone)


def _attention(kind: VerdictKind, health: Health) -> int:
    if kind in {VerdictKind.INVALID, VerdictKind.ROLLBACK} or health.tone is Tone.BAD:
        return 0
    if kind is not VerdictKind.CONTINUE:
        return 1
    return 2 if health.tone is Tone.WARN else 3


def _tiles(result: ExperimentResult) -> list[Tile]:
    """The figures of one experiment that are read first."""
    matured, live = result.matured, result.live
    tiles = [tile for m, c in primary_comparisons(matured) for tile in _comparison_tiles(m, c)]
    if (ratio := overall_ratio(matured if matured.n else live)) is not None:
        said = ratio_finding(ratio).text
        observed = " / ".join(fmt.count(n) for n in ratio.observed)
        figure = said if ratio.p is None else fmt.p_is(ratio.p)
        name = "Sample ratio" if matured.n else "Sample ratio, live"
        detail = f"{observed} units" if ratio.p is None else f"{said} · {observed} units"
        tiles.append(Tile(name, figure, detail))
    tiles.append(Tile("Units, matured", fmt.count(matured.n), fmt.plural(matured.days, "exposure day")))
    if live.n != matured.n:
        tiles.append(Tile("Units, live", fmt.count(live.n), fmt.plural(live.days, "exposure day")))
    return tiles


def _comparison_tiles(metric: MetricReading, comparison: Comparison) -> list[Tile]:
    tiles, variant = [], comparison.variant
    estimate, enough = comparison.estimate, comparison.sufficiency
    if estimate is not None:
        read = deciding(comparison)
        shown, bounds = read or estimate, None if read is None else read.lift_interval
        values = [fmt.value_of(metric, v) for v in (shown.control_value, shown.variant_value)]
        lift = fmt.share(shown.lift, signed=True)
        effect = fmt.effect_of(metric, shown.effect)
        tiles.append(Tile(f"{metric.key} lift, {variant}", lift, fmt.lift_interval(bounds)))
        tiles.append(Tile(f"{metric.key} effect, {variant}", effect, " → ".join(values)))
    if enough is not None and enough.share is not None:
        detail = f"{fmt.count(enough.n_now)} of {fmt.count(enough.n_needed)} units"
        tiles.append(Tile(
            f"Sample size, {variant}", fmt.share(enough.share, digits=0), detail,
            reached=min(100.0, 100 * enough.share), tone=Tone.GOOD if enough.enough else Tone.WARN,
        ))  # fmt: skip
    return tiles
