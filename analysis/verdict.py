"""The frozen rule applied to the evidence: one verdict, with reasons and what would change it.

Order of the rule (design.md 7): a check that invalidates; a promotion that everything allows; a guardrail
shown to be harmed; gates that hold everything else; control kept; futility; else continue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.report import format as fmt
from analysis.report.headline import NAMES, Deciding, deciding
from analysis.report.model import (
    Check,
    Comparison,
    MetricReading,
    Severity,
    Verdict,
)
from analysis.validity.gates import enough_events
from experiment.decision import VerdictKind
from experiment.definition import DecisionRule, Design


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What the rule reads: the matured reading's metrics, the checks, and the runtime so far in whole
    exposure days (0 = not recorded)."""

    rule: DecisionRule
    metrics: tuple[MetricReading, ...]
    checks: tuple[Check, ...]
    days: int

    @property
    def primary(self) -> MetricReading:
        """The metric that decides."""
        return next(m for m in self.metrics if m.role == "primary")

    @property
    def overdue(self) -> bool:
        """The maximum runtime is reached."""
        return self.days >= self.rule.max_runtime_days

    def guardrails(self, variant: str) -> list[tuple[MetricReading, Comparison]]:
        """Every guardrail's comparison of a variant."""
        rails = (m for m in self.metrics if m.role == "guardrail")
        return [(m, c) for m in rails for c in m.comparisons if c.variant == variant]


def decide(case: Case) -> Verdict:
    """The verdict of the case; every branch says why in sentences with numbers."""
    invalid = [check for check in case.checks if check.severity is Severity.INVALID]
    if invalid:
        return _invalid(invalid)
    gates = [check for check in case.checks if check.severity is Severity.GATE]
    wins = [c for c in case.primary.comparisons if _shown(case, c) and c.better and _cheap(case, c)]
    safe = [c for c in wins if not _unsafe(case, c.variant)]
    if safe and not gates:
        return _promote(case, max(safe, key=lambda c: _gain(case, c)))
    harmed = [c.variant for c in case.primary.comparisons if _harms(case, c.variant)]
    if harmed and not any(check.name == "evidence" for check in gates):
        return _rollback(case, harmed)
    if case.overdue and all(check.name == "events" for check in gates) and gates:
        return _keep(case, f"The maximum runtime is reached. {gates[0].message}")
    if gates:
        return _gated(case, gates, wins)
    return _without_promotion(case, wins)


def _shown(case: Case, c: Comparison) -> bool:
    """Significant under the running design, and with enough data for it."""
    if not c.significant or not enough_events(c):
        return False
    return case.rule.design is not Design.FIXED or _enough(c)


def _enough(c: Comparison) -> bool:
    """The units the rule asked for are there; a plan says so by its end."""
    if c.planned is not None:
        return c.planned.ended
    return c.sufficiency is not None and c.sufficiency.enough


def _cheap(case: Case, c: Comparison) -> bool:
    """Under a Bayesian rule with a `loss`: choosing the variant gives up less than that on average."""
    allowed = case.rule.belief.loss
    if case.rule.design is not Design.BAYESIAN or allowed is None:
        return True
    return c.posterior is not None and c.posterior.loss_variant < allowed


def _gain(case: Case, c: Comparison) -> float:
    sign = 1.0 if case.primary.direction == "increase" else -1.0
    found = deciding(c)
    return sign * found.effect if found is not None else 0.0


def _unsafe(case: Case, variant: str) -> list[tuple[MetricReading, Comparison]]:
    """Guardrails not shown to be within their margin."""
    return [
        (m, c)
        for m, c in case.guardrails(variant)
        if c.guard is None or not c.guard.safe or not enough_events(c)
    ]


def _harms(case: Case, variant: str) -> list[tuple[MetricReading, Comparison]]:
    """Guardrails shown to be worse than their margin."""
    return [
        (m, c)
        for m, c in case.guardrails(variant)
        if c.guard is not None and c.guard.harmed and enough_events(c)
    ]


def _without_promotion(case: Case, wins: Sequence[Comparison]) -> Verdict:
    """Nothing to promote, nothing harmed, no gate: keep control, stop, or go on."""
    every = case.primary.comparisons
    lost = [c for c in every if _shown(case, c) and not c.better]
    if len(lost) == len(every):
        return _keep(case, "Every variant is worse than control.")
    open_ = [c for c in every if c not in lost]
    short = "the guardrails are not shown to be safe" if wins else "no variant is shown to be better"
    if case.overdue:
        return _keep(case, f"The maximum runtime is reached and {short}.")
    if wins:
        return _continue(case, wins)
    if all(_enough(c) for c in open_):
        return _keep(case, f"The units the rule asked for have arrived and {short}.")
    if all(c.sufficiency is not None and c.sufficiency.within_deadline is False for c in open_):
        return _stop(case, open_)
    return _continue(case, wins)


_REMEDY = {
    "sample ratio": "find where units are lost or moved (assignment, redirects, logging), start a new epoch.",
    "sample ratio by day": "find what broke on that day; a new epoch starts clean.",
    "eligibility": "use a condition on what was known before exposure.",
    "before exposure": "find why the variants differed before the start, then randomise anew (a new salt).",
    "contamination": "make the unit id stable across devices and services, then start a new epoch.",
    "served": "serve what was assigned, or record the cause with the exposure.",
    "variants": "name the column that tells the variants apart.",
    "overlap": "randomise a slice inside each segment, so that every segment holds both variants.",
}


def _invalid(checks: Sequence[Check]) -> Verdict:
    name = "not identified" if checks[0].name == "overlap" else checks[0].name
    return Verdict(
        kind=VerdictKind.INVALID,
        variant=None,
        headline=f"Invalid: {name}. No verdict can be reached.",
        reasons=tuple(check.message for check in checks),
        what_would_change=tuple(_REMEDY[check.name] for check in checks if check.name in _REMEDY),
    )


def _promote(case: Case, best: Comparison) -> Verdict:
    reasons = [sentence(case.primary, best, case.rule)]
    reasons += [_guard_sentence(m, c) for m, c in case.guardrails(best.variant)]
    reasons += [sentence(case.primary, c, case.rule) for c in case.primary.comparisons if c is not best]
    reasons += [c.message for c in case.checks if c.name in {"runtime", "events", "evidence"}]
    return Verdict(
        kind=VerdictKind.PROMOTE,
        variant=best.variant,
        headline=f"Promote {best.variant}.",
        reasons=tuple(reasons),
        what_would_change=("a failed check, or a guardrail that moves beyond its margin.",),
    )


def _rollback(case: Case, harmed: Sequence[str]) -> Verdict:
    found = [(m, c) for variant in harmed for m, c in _harms(case, variant)]
    return Verdict(
        kind=VerdictKind.ROLLBACK,
        variant=harmed[0],
        headline=f"Roll back {', '.join(harmed)}: a guardrail is harmed.",
        reasons=tuple(_guard_sentence(m, c) for m, c in found)
        + tuple(sentence(case.primary, c, case.rule) for c in case.primary.comparisons),
        what_would_change=("a repaired variant, in a new experiment.",),
    )


def _gated(case: Case, gates: Sequence[Check], wins: Sequence[Comparison]) -> Verdict:
    ahead = f" {wins[0].variant} is ahead so far." if wins else ""
    return Verdict(
        kind=VerdictKind.CONTINUE,
        variant=None,
        headline=f"Continue: {_LACKING[gates[0].name]}.{ahead}",
        reasons=tuple(check.message for check in gates) + _state(case),
        what_would_change=tuple(_next(check) for check in gates),
    )


_LACKING = {
    "sample ratio": "the intended weights are not known",
    "matured": "no exposure day has matured yet",
    "runtime": "the minimum runtime is not reached",
    "events": "too few events yet",
    "clusters": "too few clusters",
    "evidence": "the evidence is weaker than the rule asks",
    "unit of analysis": "rows are not what was randomised",
}
"""What a gate says in the headline."""


_NEXT = {
    "sample ratio": "the intended weights in the source: `weights: equal`, or a share per variant.",
    "evidence": "randomise units within each segment, or state that they were.",
}


def _next(gate: Check) -> str:
    numbers = gate.numbers
    match gate.name:
        case "runtime":
            days = float(numbers["needed"] or 0) - float(numbers["days"] or 0)
            return f"{fmt.plural(round(days), 'more matured day')}."
        case "events":
            events = float(numbers["needed"] or 0) - float(numbers["events"] or 0)
            return f"{events:,.0f} more events in the smaller variant."
        case "clusters":
            clusters = float(numbers["needed"] or 0) - float(numbers["clusters"] or 0)
            return f"{clusters:,.0f} more clusters in the smallest variant."
        case "unit of analysis":
            return f"rows added up by {numbers['column']}."
        case "matured":
            at = f" at {fmt.moment(str(numbers['at']))}" if numbers.get("at") else ""
            return f"the window of the first exposure day closes{at}."
        case _:
            return _NEXT[gate.name]


def _keep(case: Case, why: str) -> Verdict:
    control = case.primary.comparisons[0].control
    unsafe = tuple(
        _guard_sentence(m, c)
        for win in case.primary.comparisons
        if win.better
        for m, c in _unsafe(case, win.variant)
    )
    return Verdict(
        kind=VerdictKind.KEEP,
        variant=control,
        headline=f"Keep {control}. {why}",
        reasons=_state(case) + unsafe,
        what_would_change=("a better variant, or a rule that asks for a smaller effect with more units.",),
    )


def _stop(case: Case, open_: Sequence[Comparison]) -> Verdict:
    needed = max((c.sufficiency.n_needed or 0 for c in open_ if c.sufficiency), default=0)
    later = [c.sufficiency.mde_by_deadline_relative for c in open_ if c.sufficiency]
    visible = [x for x in later if x is not None]
    change = f"more traffic, a longer max_runtime than {case.rule.max_runtime_days} days"
    if visible:
        change += f", or an MDE of {fmt.share(min(visible))} of control, which the deadline allows"
    return Verdict(
        kind=VerdictKind.STOP,
        variant=None,
        headline=f"Stop: {needed:,} units are needed, too many for {case.rule.max_runtime_days} days.",
        reasons=_state(case),
        what_would_change=(f"{change}.",),
    )


def _continue(case: Case, wins: Sequence[Comparison]) -> Verdict:
    if wins:
        lacking = tuple(_guard_sentence(m, c) for m, c in _unsafe(case, wins[0].variant))
        headline = f"Continue: {wins[0].variant} is better, its guardrails are not shown to be safe yet."
        return Verdict(
            kind=VerdictKind.CONTINUE, variant=None, headline=headline, reasons=lacking + _state(case),
            what_would_change=("guardrail bounds within their margins.",),
        )  # fmt: skip
    return Verdict(
        kind=VerdictKind.CONTINUE,
        variant=None,
        headline="Continue: not enough data.",
        reasons=_state(case),
        what_would_change=tuple(_outlook(c) for c in case.primary.comparisons),
    )


def _outlook(c: Comparison) -> str:
    if c.planned is not None and c.planned.next_day is not None:
        when = f" ({c.planned.next_date})" if c.planned.next_date else ""
        day = f"day {c.planned.next_day}{when}"
        return f"{c.variant}: the look on {day}, or when the planned units have arrived."
    enough = c.sufficiency
    if enough is None or enough.n_needed is None:
        return f"{c.variant}: enough units to say how many are needed."
    left = max(enough.n_needed - enough.n_now, 0)
    if enough.weeks_left is None:
        return f"{c.variant}: {left:,} more units (of {enough.n_needed:,})."
    weeks = enough.weeks_left
    return (
        f"{c.variant}: {left:,} more units (of {enough.n_needed:,}), about {weeks} week{'s' * (weeks != 1)}."
    )


def _state(case: Case) -> tuple[str, ...]:
    """Where every comparison of the primary metric stands, and how far the data go."""
    if any(check.name == "matured" and check.severity is Severity.GATE for check in case.checks):
        return ()
    lines = []
    for c in case.primary.comparisons:
        lines.append(sentence(case.primary, c, case.rule))
        if c.sufficiency is not None:
            prefix = f"{c.variant}: " if len(case.primary.comparisons) > 1 else ""
            lines.append(prefix + c.sufficiency.message)
    return tuple(lines)


def sentence(metric: MetricReading, c: Comparison, rule: DecisionRule) -> str:
    """One comparison in plain words: values, effect, lift, the deciding interval and p."""
    found = c.estimate
    if found is None:
        why = c.missing.message if c.missing is not None else ""
        return f"{metric.key}, {c.variant} against {c.control}: no estimate. {why}"
    now = deciding(c)
    shown = now or found
    lift = f" ({fmt.share(shown.lift, signed=True)} of control)" if shown.lift is not None else ""
    text = (
        f"{metric.key}: {c.variant} {fmt.value_of(metric, shown.variant_value)}, {c.control} "
        f"{fmt.value_of(metric, shown.control_value)}; effect {fmt.effect_of(metric, shown.effect)}{lift}"
    )
    text += f", {_reading(metric, c, rule)}" if _known(now) else _unread(c)
    plan = f" {c.planned.sentence}" if c.planned is not None else ""
    return f"{text}{plan}{_loss(c)}"


def _known(now: Deciding | None) -> bool:
    return now is not None and (now.better is not None or (now.interval is not None and now.p is not None))


def _reading(metric: MetricReading, c: Comparison, rule: DecisionRule) -> str:
    """The deciding interval with its p or probability, and what it says."""
    now, name, level = deciding(c), NAMES[c.headline], f"{1 - rule.alpha:.0%}"
    if now is None:
        return ""
    word = "no difference shown" if not c.significant else ("better" if c.better else "worse")
    if now.better is not None:
        bounds = fmt.lift_interval(now.lift_interval)
        return f"{level} {name} {bounds}, probability of being better {now.better:.1%}: {word}."
    text = f"{level} {name} {fmt.interval_of(metric, now.interval)}, {fmt.p_is(now.p, now.log10_p)}"
    if c.adjusted_p is not None and c.adjusted_p != now.p:
        text += f" ({fmt.probability(c.adjusted_p)} after Holm)"
    return f"{text}: {word}."


def _unread(c: Comparison) -> str:
    """Why there is no deciding interval."""
    found = c.estimate
    missing = (c.planned and c.planned.missing) or (found and (found.sequence_missing or found.lift_missing))
    why = f" {missing.message}" if missing else ""
    return f"; no interval yet.{why}"


def _loss(c: Comparison) -> str:
    """What choosing the variant now gives up on average."""
    if c.posterior is None:
        return ""
    return f" Expected loss of choosing {c.variant}: {fmt.share(c.posterior.loss_variant)} of control."


def _guard_sentence(metric: MetricReading, c: Comparison) -> str:
    guard = c.guard
    if guard is None:
        why = c.missing.message if c.missing is not None else ""
        return f"Guardrail {metric.key}, {c.variant}: no estimate. {why}"
    bound = "not known yet" if guard.loss_bound is None else fmt.effect_of(metric, guard.loss_bound)
    margin = fmt.effect_of(metric, guard.margin)
    if guard.harmed:
        word = "harmed: worse than its margin allows"
    elif guard.safe and enough_events(c):
        word = "safe"
    else:
        word = "not shown to be safe"
    return (
        f"Guardrail {metric.key}, {c.variant}: loss {fmt.effect_of(metric, guard.loss)}, at worst {bound}, "
        f"margin {margin}: {word}."
    )
