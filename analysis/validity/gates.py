"""What has to be there before a verdict may be read, and what deserves a word beside it."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor

from switchpoint.analysis.evidence.event_gate import Counted
from switchpoint.analysis.evidence.facts import Backlog, Unseen
from switchpoint.analysis.results import format as fmt
from switchpoint.analysis.results.judgement import Check, Comparison, Maturing, MetricReading, Severity
from switchpoint.analysis.results.thresholds import Thresholds
from switchpoint.experiment.definition.types import DecisionRule, Grade, Role


def variants(names: Sequence[str]) -> Check:
    """There has to be something to compare control with."""
    numbers = {"variants": len(names)}
    if len(names) > 1:
        text = f"{len(names)} variants."
        return Check(name="variants", severity=Severity.OK, message=text, numbers=numbers)
    text = (
        f"Only the variant {names[0]} is there: nothing can be compared with it."
        if names
        else "No variant is there."
    )
    return Check(name="variants", severity=Severity.INVALID, message=text, numbers=numbers)


def matured(units: int, window_days: float, waiting: Maturing | None = None) -> Check:
    """At least one exposure day whose window has closed; `waiting` is the next one that will."""
    if units:
        text = f"{fmt.plural(units, 'unit')} matured."
        return Check(name="matured", severity=Severity.OK, message=text, numbers={"units": units})
    text = "No exposure day has matured yet: "
    if waiting is None:
        text += "no unit has come."
    else:
        text += (
            f"outcomes count for {fmt.days(window_days)} after the first exposure, so the first one, "
            f"{waiting.day}, matures at {fmt.moment(waiting.at)}."
        )
    numbers = {"units": 0, "at": None if waiting is None else waiting.at}
    return Check(name="matured", severity=Severity.GATE, message=text, numbers=numbers)


def unchecked(name: str, unseen: Unseen) -> Check:
    """A check that has nothing to look at: nothing speaks against the comparison, nothing for it."""
    return Check(
        name=name, severity=Severity.OK, message=f"Not checked: {unseen.why}.", numbers={}, checked=False
    )


def runtime(days: int | None, rule: DecisionRule, limits: Thresholds) -> Check:
    """Matured exposure days against the minimum runtime and a whole week; None = days are not recorded."""
    least = least_days(rule, limits.whole_week_days)
    numbers = {"days": days or 0, "needed": least}
    if days is None:
        text = f"The table does not say on which days units arrived; {least} days are taken for granted."
        return Check(name="runtime", severity=Severity.WARN, message=text, numbers=numbers)
    if days < least:
        have = fmt.plural(days, "matured day")
        text = f"{have} of the {least} the rule asks for (whole weeks, minimum runtime)."
        return Check(name="runtime", severity=Severity.GATE, message=text, numbers=numbers)
    return Check(
        name="runtime",
        severity=Severity.OK,
        message=f"{fmt.plural(days, 'matured day')}, {least} needed.",
        numbers=numbers,
    )


def events(metrics: Sequence[MetricReading]) -> Check:
    """Whether the smaller variant holds enough for what its comparisons say (`analysis.evidence.event_gate`).

    The gate holds the verdict when no comparison of the primary metric passes; single ones that fail are only
    held back. So are guardrails, and secondary comparisons that would say something; all are named.
    """
    primary = next(m for m in metrics if m.role == Role.PRIMARY)
    known = [c for c in primary.comparisons if c.events is not None and c.missing is None]
    tightest = min(known, key=lambda c: (c.events or 0.0) / c.events_needed, default=None)
    numbers: dict[str, float | str | None] = {
        "events": tightest.events if tightest else 0.0,
        "needed": max((c.events_needed for c in primary.comparisons), default=0.0),
        "counted": tightest.counted if tightest else "events",
    }
    if tightest is None:
        why = next((c.missing.message for c in primary.comparisons if c.missing is not None), "")
        text = f"No comparison can be estimated yet. {why}".rstrip()
        return Check(name="events", severity=Severity.GATE, message=text, numbers=numbers)
    held = [(m, c) for m in metrics for c in m.comparisons if _held(m, c)]
    numbers["held"] = ", ".join(f"{m.key} ({c.variant})" for m, c in held) or None
    if not held:
        text = (
            f"{floor(tightest.events or 0.0):,} {_noun(tightest)} in the smallest variant, "
            f"{tightest.events_needed:,.0f} needed."
        )
        return Check(name="events", severity=Severity.OK, message=text, numbers=numbers)
    text = " ".join(_too_little(m, c) for m, c in held)
    level = Severity.WARN if any(enough_events(c) for c in known) else Severity.GATE
    return Check(name="events", severity=level, message=f"{text} {_CURE}", numbers=numbers)


_CURE = (
    "Collecting: more units help, most of all a larger share of them for the smaller variant; a `cap` "
    "settles amounts."
)


def _held(metric: MetricReading, c: Comparison) -> bool:
    """Whether the gate keeps this comparison from counting."""
    if c.missing is not None or c.events is None or enough_events(c):
        return False
    return metric.role != Role.SECONDARY or c.significant


def _too_little(metric: MetricReading, c: Comparison) -> str:
    of = f"{metric.key}, {metric.role}: {c.variant} against {c.control}"
    if c.events is not None and c.events < c.events_needed:
        return (
            f"Only {floor(c.events):,} {_noun(c)} in the smaller variant ({of}), "
            f"{c.events_needed:,.0f} needed: an interval from so few would mislead."
        )
    return (
        f"The smaller variant may just have met fewer large values ({of}): what its interval shows rests on "
        "each variant's own variance and does not hold with one shared by both."
    )


def _noun(c: Comparison) -> str:
    return "units" if c.counted == Counted.UNITS else "events"


def enough_events(comparison: Comparison) -> bool:
    """Whether a comparison passes the small-variant gate."""
    return comparison.enough_events


_ORDER = (Grade.RANDOMISED, Grade.CLUSTERED, Grade.QUASI, Grade.DESCRIPTIVE)


def grade(assignment: str, *, aliased: bool, clustered: bool = False) -> tuple[Grade, str]:
    """The evidence grade reached, and why."""
    if aliased:
        return (
            Grade.DESCRIPTIVE,
            "Segment and variant are aliased: the difference describes, it does not explain.",
        )
    if assignment != "randomised":
        return Grade.DESCRIPTIVE, (
            "How units were assigned is not known: the difference describes, it does not explain. "
            "If they were randomised, say so with `assignment: randomised`."
        )
    if clustered:
        return Grade.CLUSTERED, "Clusters of units were randomised, and clusters are compared."
    return Grade.RANDOMISED, "Units were randomised within every segment."


def clusters(n: Sequence[int], variants: Sequence[str], limits: Thresholds) -> Check:
    """Clusters per variant: from a handful no interval of any kind can be trusted."""
    least = min(n, default=0)
    numbers = {"clusters": least, "needed": limits.clusters_needed}
    if least >= limits.clusters_needed:
        text = f"{least:,} clusters in the smallest variant, {limits.clusters_needed} needed."
        return Check(name="clusters", severity=Severity.OK, message=text, numbers=numbers)
    shown = ", ".join(f"{variant} {count:,}" for variant, count in zip(variants, n, strict=True))
    text = (
        f"Too few clusters ({shown}; {limits.clusters_needed} per variant needed): units of "
        "one cluster are alike, "
        "so more units in the same clusters do not help. Randomise more clusters."
    )
    return Check(name="clusters", severity=Severity.GATE, message=text, numbers=numbers)


def evidence(reached: Grade, required: Grade, sentence: str) -> Check:
    """Whether the evidence is as strong as the rule asks."""
    ok = _ORDER.index(reached) <= _ORDER.index(required)
    text = sentence if ok else f"{sentence} The rule asks for {required.value} evidence."
    return Check(
        name="evidence", severity=Severity.OK if ok else Severity.GATE, message=text,
        numbers={"reached": reached.value, "required": required.value},
    )  # fmt: skip


def mix(metrics: Sequence[MetricReading], limits: Thresholds) -> Check:
    """Pooled against stratified: unequal allocation over strata moves the naive reading."""
    for metric in metrics:
        for comparison in metric.comparisons:
            pooled, found = comparison.pooled, comparison.estimate
            if pooled is None or pooled.between is None or found is None:
                continue
            far = abs(pooled.between) > limits.pooled_gap * found.standard_error
            flips = pooled.simpson and pooled.p < limits.pooled_p
            if not (far or flips):
                continue
            paradox = " (Simpson's paradox)" if pooled.simpson else ""
            text = (
                f"{metric.key}, {comparison.variant}: pooled over segments and epochs the effect would be "
                f"{pooled.effect:+.4g}, within them it is {found.effect:+.4g}{paradox}; the latter counts."
            )
            driver = max(pooled.mix, key=lambda row: abs(row.contribution or 0.0), default=None)
            if driver is not None and driver.contribution is not None:
                text += (
                    f" {pooled.between:+.4g} comes from unequal mixes, most of it from {driver.stratum} "
                    f"({driver.share_control:.0%} of {comparison.control}, {driver.share_variant:.0%} of "
                    f"{comparison.variant})."
                )
            numbers = {"pooled": pooled.effect, "stratified": found.effect, "between": pooled.between}
            return Check(name="mix", severity=Severity.WARN, message=text, numbers=numbers)
    return Check(
        name="mix", severity=Severity.OK, message="Pooled and stratified readings agree.", numbers={}
    )


def strata_used(left_out: Sequence[str], covered: float) -> Check:
    """Strata that cannot be compared are left out of the effect; it then speaks for the others only."""
    numbers = {"covered": covered, "left_out": len(left_out)}
    if not left_out:
        text = "Every stratum takes part in the effect."
        return Check(name="strata", severity=Severity.OK, message=text, numbers=numbers)
    if not covered:
        text = "No stratum holds enough units of control and of another variant."
        return Check(name="strata", severity=Severity.WARN, message=text, numbers=numbers)
    text = (
        f"{', '.join(left_out)} left out of the effect (too few units of a variant); it speaks for the other "
        f"{covered:.1%} of the units."
    )
    return Check(name="strata", severity=Severity.WARN, message=text, numbers=numbers)


def pending(backlog: Backlog | None) -> Check:
    """Units that wait for a refold and events that came too late to be summed."""
    if backlog is None:
        return unchecked("pending", Unseen("a table is closed, nothing waits"))
    units, late = backlog.pending, backlog.late
    numbers = {"pending": units, "late": late}
    if not units and not late:
        text = "No unit is pending, no event came late."
        return Check(name="pending", severity=Severity.OK, message=text, numbers=numbers)
    waiting = f"{units:,} units wait for a refold; their numbers may still move." if units else ""
    kept = f"{late:,} late events were kept but not summed." if late else ""
    text = " ".join(filter(None, (waiting, kept)))
    return Check(name="pending", severity=Severity.WARN, message=text, numbers=numbers)


def least_days(rule: DecisionRule, whole_week: int) -> int:
    """Matured exposure days below which nothing is promoted: the minimum runtime, and a whole week."""
    return max(rule.min_runtime_days, whole_week)
