"""Sentences of a report: its headline, what holds a verdict back, and what would change it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from switchpoint.analysis.results import format as fmt
from switchpoint.analysis.results.judgement import Check, CheckName, MetricReading, Severity
from switchpoint.analysis.results.numbers import Comparison, Finding, Interval
from switchpoint.experiment.definition.types import DecisionRule, Design, Direction

_MARGIN = {
    Finding.HARMED: "harmed: worse than its margin allows",
    Finding.FEW_EVENTS: "too few events, not shown to be safe",
}


def sentence(metric: MetricReading, c: Comparison, rule: DecisionRule) -> str:
    """One comparison: values, effect, lift, the deciding interval and p, and what they show."""
    found = c.estimate
    if found is None:
        why = c.missing.message if c.missing is not None else ""
        return f"{metric.key}, {c.variant} against {c.control}: {c.finding}. {why}".rstrip()
    now = deciding(c)
    values = now or found
    lift = f" ({fmt.share(values.lift, signed=True)} of {c.control})" if values.lift is not None else ""
    text = (
        f"{metric.key}: {c.variant} {fmt.value_of(metric, values.variant_value)}, {c.control} "
        f"{fmt.value_of(metric, values.control_value)}; effect {fmt.effect_of(metric, values.effect)}{lift}"
    )
    if now is not None and _known(now):
        text += _reading(metric, c, now, rule)
    else:
        text += _unread(c)
    plan = f" {c.planned.sentence}" if c.planned is not None else ""
    return f"{text}{plan}{_loss(metric, c)}"


def effects(metric: MetricReading, comparisons: Sequence[Comparison]) -> str:
    """The effects of comparisons with their deciding intervals, to be read beside others; empty without any.

    `new +0.4 % [-0.2 %, 1 %], other -0.1 % [-0.7 %, 0.5 %]`
    """
    found = []
    for c in comparisons:
        now = deciding(c)
        if now is None:
            continue
        bounds = (
            f" {fmt.interval_of(metric, now.interval)}"
            if now.interval is not None
            else f", lift {fmt.lift_interval(now.lift_interval)}" * (now.lift_interval is not None)
        )
        found.append(f"{c.variant} {fmt.effect_of(metric, now.effect)}{bounds}")
    return ", ".join(found)


def family(metric: MetricReading, rule: DecisionRule) -> str:
    """The correction of a metric's comparisons with control, in a word."""
    if metric.role == "secondary":
        return "BH" if rule.design is Design.FIXED else "e-BH"
    return "Holm"


def _known(now: Deciding) -> bool:
    return now.better is not None or (now.interval is not None and now.p is not None)


def _reading(metric: MetricReading, c: Comparison, now: Deciding, rule: DecisionRule) -> str:
    """The deciding interval with its p or probability, and what it shows."""
    name, level = NAMES[c.headline], f"{1 - rule.alpha:.0%}"
    if now.better is not None:
        bounds = fmt.lift_interval(now.lift_interval)
        return f", {level} {name} {bounds}, probability of being better {now.better:.1%}: {c.finding}."
    text = f", {level} {name} {fmt.interval_of(metric, now.interval)}, {fmt.p_is(now.p, now.log10_p)}"
    if c.adjusted_p is not None and c.adjusted_p != now.p:
        text += f" ({fmt.probability(c.adjusted_p)} after {family(metric, rule)})"
    return f"{text}: {c.finding}."


def _unread(c: Comparison) -> str:
    """Why there is no deciding interval."""
    found = c.estimate
    missing = (c.planned and c.planned.missing) or (found and (found.sequence_missing or found.lift_missing))
    why = f" {missing.message}" if missing else ""
    return f"; no interval yet: {c.finding}.{why}"


def _loss(metric: MetricReading, c: Comparison) -> str:
    """What choosing the variant now gives up on average."""
    if c.posterior is None or metric.role != "primary":
        return ""
    return f" Expected loss of choosing {c.variant}: {fmt.share(c.posterior.loss_variant)} of {c.control}."


def guard_sentence(metric: MetricReading, c: Comparison) -> str:
    """A guardrail's comparison: the loss, the worst that is not excluded, the margin, and what they show."""
    guard = c.guard
    if guard is None:
        why = c.missing.message if c.missing is not None else ""
        return f"Guardrail {metric.key}, {c.variant}: {c.finding}. {why}".rstrip()
    bound = "not known yet" if guard.loss_bound is None else fmt.effect_of(metric, guard.loss_bound)
    return (
        f"Guardrail {metric.key}, {c.variant}: loss {fmt.effect_of(metric, guard.loss)}, at worst {bound}, "
        f"margin {fmt.effect_of(metric, guard.margin)}: {_MARGIN.get(c.finding, c.finding)}."
    )


def worse_sentence(metric: MetricReading, c: Comparison, rule: DecisionRule) -> str:
    """A comparison that is shown to be worse, where the verdict is not about it."""
    if c.guard is None:
        return f"Shown to be worse: {sentence(metric, c, rule)}"
    if c.finding is Finding.HARMED:
        return guard_sentence(metric, c)
    now = deciding(c)
    p = "" if now is None else f", {fmt.p_is(now.p, now.log10_p)}"
    return (
        f"Shown to be worse, though not beyond its margin: {metric.key}, {c.variant}: loss "
        f"{fmt.effect_of(metric, c.guard.loss)} against {c.control}{p}: {c.finding}."
    )


def is_worse(c: Comparison) -> bool:
    """Whether a comparison is shown to be worse than control, by its corrected p and with enough events."""
    if c.guard is not None:
        return c.enough_events and (c.guard.harmed or c.better is False)
    return c.finding is Finding.WORSE


def outlook(c: Comparison) -> str:
    """What it takes until more can be said."""
    if c.days is not None:
        return (
            f"{c.variant}: the minimum runtime with its present model ({fmt.plural(c.days, 'day')} so far)."
        )
    if c.planned is not None and c.planned.next_day is not None:
        when = f" ({c.planned.next_date})" if c.planned.next_date else ""
        day = f"day {c.planned.next_day}{when}"
        return f"{c.variant}: the look on {day}, or when the planned units have arrived."
    enough = c.sufficiency
    if enough is None or enough.n_needed is None:
        return f"{c.variant}: enough units to say how many are needed."
    left = max(enough.n_needed - enough.n_now, 0)
    text = f"{c.variant}: {fmt.plural(left, 'more unit')} (of {enough.n_needed:,})"
    return (
        f"{text}." if enough.weeks_left is None else f"{text}, about {fmt.plural(enough.weeks_left, 'week')}."
    )


def listed(names: list[str]) -> str:
    """Names in a sentence: `B and C`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


_REMEDY: Mapping[str, str] = {
    CheckName.ROWS: "mend the rows that cannot be read, or take them out for a reason that is no outcome.",
    CheckName.SAMPLE_RATIO: (
        "find where units are lost or moved (assignment, redirects, logging), start a new epoch."
    ),
    CheckName.SAMPLE_RATIO_BY_DAY: (
        "find what broke on that day (of a table whose allocation was changed, give the weights by day); a "
        "new epoch starts clean."
    ),
    CheckName.ELIGIBILITY: "use a condition on what was known before exposure.",
    CheckName.BEFORE_EXPOSURE: (
        "find why the variants differed before the start, then randomise anew (a new salt)."
    ),
    CheckName.CONTAMINATION: ("make the unit id stable across devices and services, then start a new epoch."),
    CheckName.SERVED: "serve what was assigned, or record the cause with the exposure.",
    CheckName.VARIANTS: "name the column that tells the variants apart.",
    CheckName.OVERLAP: "randomise a slice inside each segment, so that every segment holds both variants.",
}
_LACKING: Mapping[str, str] = {
    CheckName.SAMPLE_RATIO: "the intended weights are not known",
    CheckName.MATURED: "no exposure day has matured yet",
    CheckName.RUNTIME: "the minimum runtime is not reached",
    CheckName.EVENTS: "too few events yet",
    CheckName.CLUSTERS: "too few clusters",
    CheckName.EVIDENCE: "the evidence is weaker than the rule asks",
    CheckName.ELIGIBILITY: "rows are left out by what is measured",
    CheckName.UNIT_OF_ANALYSIS: "rows are not what was randomised",
    CheckName.IDS: "unit ids look damaged",
    CheckName.EARLY_OUTCOMES: "outcomes lie before their exposure",
    CheckName.OUTCOMES: "no outcome counts",
}

_NEXT: Mapping[str, str] = {
    CheckName.SAMPLE_RATIO: "the intended weights in the source: `weights: equal`, or a share per variant.",
    CheckName.EVIDENCE: "randomise units within each segment, or state that they were.",
    CheckName.ELIGIBILITY: "a condition that reads nothing a metric measures.",
    CheckName.IDS: "whole unit ids, as text, from the sender of the events.",
    CheckName.EARLY_OUTCOMES: "exposures recorded when they happen, by the clock of the outcomes.",
    CheckName.OUTCOMES: "the same unit ids, and one clock, in exposures and outcomes.",
}


def lacking(gate: Check) -> str:
    """What a gate says in the headline: what is not there yet."""
    return _LACKING[gate.name]


def mend(check: Check) -> str:
    """What would let a check that holds the verdict, or makes it invalid, pass."""
    return _REMEDY[check.name] if check.severity is Severity.INVALID else _next(check)


def _next(gate: Check) -> str:
    numbers = gate.numbers
    match gate.name:
        case CheckName.RUNTIME:
            return f"{fmt.plural(ceil(_missing(gate, 'days')), 'more matured day')}."
        case CheckName.EVENTS:
            missing = ceil(_missing(gate, "events"))
            word = "unit" if numbers["counted"] == "units" else "event"
            few = fmt.plural(missing, f"more {word}") if missing > 0 else "more units"
            return f"{few} in the smaller variant."
        case CheckName.CLUSTERS:
            return f"{fmt.plural(ceil(_missing(gate, 'clusters')), 'more cluster')} in the smallest variant."
        case CheckName.UNIT_OF_ANALYSIS:
            return f"rows added up by {numbers['column']}."
        case CheckName.MATURED:
            at = f" at {fmt.moment(str(numbers['at']))}" if numbers["at"] else ""
            return f"the window of the first exposure day closes{at}."
        case _:
            return _NEXT[gate.name]


def _missing(gate: Check, what: str) -> float:
    """How much of what a gate counts is not there yet."""
    needed, there = gate.numbers["needed"], gate.numbers[what]
    return float(needed or 0) - float(there or 0)


NAMES = {
    "interval": "interval", "sequence": "confidence sequence", "planned": "repeated interval",
    "posterior": "credible interval of the lift",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Deciding:
    """The numbers the design decides by; `interval` is None where there is none, and for a posterior, which
    is of the lift. `better`: the posterior probability, None for every other design."""

    effect: float
    lift: float | None
    interval: Interval | None
    lift_interval: Interval | None
    p: float | None
    control_value: float | None
    variant_value: float | None
    better: float | None = None
    log10_p: float | None = None


def foremost(metric: MetricReading) -> Comparison | None:
    """The comparison with the best point estimate; one without an estimate only if there is no other."""
    sign = 1.0 if metric.direction == Direction.INCREASE else -1.0
    estimated = [(sign * c.estimate.effect, c) for c in metric.comparisons if c.estimate is not None]
    if estimated:
        return max(estimated, key=lambda one: one[0])[1]
    return metric.comparisons[0] if metric.comparisons else None


def deciding(c: Comparison) -> Deciding | None:
    """The deciding numbers of a comparison; None where nothing was estimated, or no look was taken yet."""
    found, planned, posterior = c.estimate, c.planned, c.posterior
    if found is None:
        return None
    if c.headline == "planned":
        if planned is None or planned.effect is None:
            return None
        return Deciding(
            effect=planned.effect, lift=planned.lift, interval=planned.interval,
            lift_interval=planned.lift_interval, p=planned.p, control_value=planned.control_value,
            variant_value=planned.variant_value,
        )  # fmt: skip
    interval: Interval | None = found.interval
    log10_p = found.log10_p
    lift_interval: Interval | None = found.lift_interval
    p: float | None = found.p
    better: float | None = None
    if c.headline == "sequence":
        interval, lift_interval, p = found.sequence, found.lift_sequence, found.anytime_p
        log10_p = found.log10_anytime_p
    elif c.headline == "posterior":
        interval, p = None, None
        lift_interval = None if posterior is None else posterior.interval
        better = None if posterior is None else posterior.better
    return Deciding(
        effect=found.effect, lift=found.lift, interval=interval, lift_interval=lift_interval, p=p,
        control_value=found.control_value, variant_value=found.variant_value, better=better,
        log10_p=log10_p,
    )  # fmt: skip
