"""The frozen rule applied to the evidence: one verdict, with reasons and what would change it.

What is known of the records becomes the facts that the rule reads (`analysis.judgement.rule`); the row that
spoke says which sentences stand in the verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from switchpoint.analysis.judgement import rule as table
from switchpoint.analysis.judgement.rule import BRANCHES, KINDS, Branch, Facts
from switchpoint.analysis.results import format as fmt
from switchpoint.analysis.results.judgement import (
    Check,
    CheckName,
    Comparison,
    MetricReading,
    Severity,
    Shown,
    Verdict,
)
from switchpoint.analysis.results.numbers import Finding
from switchpoint.analysis.results.sentences import (
    deciding,
    guard_sentence,
    is_worse,
    lacking,
    listed,
    mend,
    outlook,
    sentence,
    worse_sentence,
)
from switchpoint.experiment.definition.types import DecisionRule, Design
from switchpoint.experiment.registry.decision import VerdictKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What the rule reads: the matured reading's metrics, the checks, and the runtime so far in whole
    exposure days (0 = not recorded).

    `models`: `name@version` of the variants that have one. `pairs`: the comparisons of `rivals`.
    """

    rule: DecisionRule
    metrics: tuple[MetricReading, ...]
    checks: tuple[Check, ...]
    days: int
    models: Mapping[str, str] = field(default_factory=dict)
    pairs: tuple[Comparison, ...] = ()

    @property
    def primary(self) -> MetricReading:
        """The metric that decides."""
        return next(m for m in self.metrics if m.role == "primary")

    @property
    def others(self) -> tuple[Comparison, ...]:
        """The primary comparison of every variant other than control."""
        return self.primary.comparisons

    @property
    def gates(self) -> list[Check]:
        """The checks that hold the verdict."""
        return [check for check in self.checks if check.severity is Severity.GATE]

    def guardrails(self, variant: str) -> list[tuple[MetricReading, Comparison]]:
        """Every guardrail's comparison of a variant."""
        rails = (m for m in self.metrics if m.role == "guardrail")
        return [(m, c) for m in rails for c in m.comparisons if c.variant == variant]

    def unsafe(self, variant: str) -> list[tuple[MetricReading, Comparison]]:
        """Guardrails of a variant that are not shown to be within their margin."""
        return [(m, c) for m, c in self.guardrails(variant) if c.finding is not Finding.SAFE]

    def harmed(self, variant: str) -> list[tuple[MetricReading, Comparison]]:
        """Guardrails of a variant that are shown to be beyond their margin."""
        return [(m, c) for m, c in self.guardrails(variant) if c.finding is Finding.HARMED]

    def name(self, variant: str) -> str:
        """A variant with its model where it has one: `ranker@2 (treatment)`."""
        model = self.models.get(variant)
        return variant if model is None else f"{model} ({variant})"


class _Told(NamedTuple):
    """What a verdict says: its headline, why, what would change it, and the variant it names."""

    headline: str
    reasons: Sequence[str]
    change: Sequence[str]
    variant: str | None = None


def decide(case: Case) -> Verdict:
    """The verdict of the case; every branch says why in sentences with numbers."""
    read = facts(case)
    ruling = table.apply(read)
    branch, kind = BRANCHES[int(ruling.branch)], KINDS[int(ruling.kind)]
    ahead = int(table.leader(read.wins, read.gain))
    leader = None if ahead < 0 else case.others[ahead]
    if branch is Branch.PROMOTE:
        told = _promote(case, case.others[int(ruling.variant)])
    elif branch is Branch.UNSAFE:
        told = _unsafe(case, case.others[ahead])
    else:
        told = _WORDS.get(branch, _keep)(case, branch, leader)
    worse = () if kind is VerdictKind.INVALID else _worse(case, told.variant)
    return Verdict(
        kind=kind, variant=told.variant, headline=told.headline, reasons=tuple(told.reasons),
        what_would_change=tuple(told.change),
        worse=tuple(
            Shown(
                metric=m.key, variant=c.variant, finding=c.finding,
                sentence=worse_sentence(m, c, case.rule),
            )
            for m, c in worse
        ),
    )  # fmt: skip


def facts(case: Case) -> Facts:
    """What the rule reads of the records."""
    names = [c.variant for c in case.others]
    gates = {check.name for check in case.gates}

    def each(values: Sequence[bool]) -> table.Mask:
        return np.array(values, dtype=bool)

    return Facts(
        better=each([c.finding is Finding.BETTER for c in case.others]),
        worse=each([c.finding is Finding.WORSE for c in case.others]),
        gain=np.array([_gain(case, c) for c in case.others], dtype=np.float64),
        cheap=each([_cheap(case, c) for c in case.others]),
        safe=each([not case.unsafe(name) for name in names]),
        harmed=each([bool(case.harmed(name)) for name in names]),
        complete=each([c.complete for c in case.others]),
        futile=each([_futile(c) for c in case.others]),
        invalid=np.array(any(check.severity is Severity.INVALID for check in case.checks)),
        weak=np.array(CheckName.EVIDENCE in gates),
        few=np.array(CheckName.EVENTS in gates),
        held=np.array(bool(gates - {CheckName.EVIDENCE, CheckName.EVENTS})),
        overdue=np.array(case.days >= case.rule.max_runtime_days),
    )


def rivals(case: Case) -> tuple[tuple[str, str], ...]:
    """Each other winner with the best of them: what a promotion has to tell apart."""
    read = facts(case)
    best = int(table.leader(read.winners, read.gain))
    return tuple(
        (case.others[place].variant, case.others[best].variant)
        for place in np.flatnonzero(read.winners).tolist()
        if place != best
    )


def _futile(c: Comparison) -> bool:
    """The units the rule asked for cannot come in time."""
    return c.sufficiency is not None and c.sufficiency.within_deadline is False


def _gain(case: Case, c: Comparison) -> float:
    sign = 1.0 if case.primary.direction == "increase" else -1.0
    now = deciding(c)
    return sign * now.effect if now is not None else 0.0


def _cheap(case: Case, c: Comparison) -> bool:
    """Under a Bayesian rule with a `loss`: choosing the variant gives up less than that on average."""
    allowed = case.rule.belief.loss
    if case.rule.design is not Design.BAYESIAN or allowed is None:
        return True
    return c.posterior is not None and c.posterior.loss_variant < allowed


def _invalid(case: Case, _branch: Branch, _leader: Comparison | None) -> _Told:
    checks = [check for check in case.checks if check.severity is Severity.INVALID]
    name = "not identified" if checks[0].name == CheckName.OVERLAP else checks[0].name
    return _Told(
        f"Invalid: {name}. No verdict can be reached.",
        [check.message for check in checks],
        [mend(check) for check in checks],
    )


_SAID_WITH_PROMOTION = {CheckName.RUNTIME, CheckName.EVENTS, CheckName.EVIDENCE}


def _promote(case: Case, best: Comparison) -> _Told:
    worse = _worse(case, best.variant)
    harm = [m.key for m, c in worse if c.variant == best.variant and c.guard is None]
    although = f", although {listed(harm)} {'is' if len(harm) == 1 else 'are'} worse" if harm else ""
    return _Told(
        f"Promote {case.name(best.variant)}{although}.",
        [
            sentence(case.primary, best, case.rule),
            *(worse_sentence(m, c, case.rule) for m, c in worse),
            *(guard_sentence(m, c) for m, c in case.guardrails(best.variant)),
            *_chosen(case, best),
            *(sentence(case.primary, c, case.rule) for c in case.others if c is not best),
            *(c.message for c in case.checks if c.name in _SAID_WITH_PROMOTION),
        ],
        ["a failed check, or a guardrail that moves beyond its margin."],
        best.variant,
    )


def _worse(case: Case, first: str | None = None) -> list[tuple[MetricReading, Comparison]]:
    """Whatever is shown to be worse beside the primary metric, of the variant `first` first; what is beyond
    its margin has a sentence of its own."""
    shown = [(m, c) for m in case.metrics if m.role != "primary" for c in m.comparisons if is_worse(c)]
    return sorted(shown, key=lambda one: one[1].variant != first)


def _chosen(case: Case, best: Comparison) -> list[str]:
    """How the best of several winners was chosen, and whether it can be told from the others."""
    # a pair that was only asked for has no part in the choice, even if the best is one of the two
    others = {other for other, _ in rivals(case)}
    told = [(c, {c.variant, c.control} - {best.variant}) for c in case.pairs]
    pairs = [(c, rest.pop()) for c, rest in told if len(rest) == 1 and rest <= others]
    alike = [other for c, other in pairs if c.finding not in {Finding.BETTER, Finding.WORSE}]
    said = [sentence(case.primary, c, case.rule) for c, _ in pairs]
    if not alike:
        return said
    most = "highest" if case.primary.direction == "increase" else "lowest"
    choice = (
        f"{listed([best.variant, *alike])} are better than {best.control} and not distinguishable from each "
        f"other; {best.variant} is chosen by rule: the {most} {case.primary.key}, of equal ones the variant "
        "named first."
    )
    return [choice, *said]


def _rollback(case: Case, _branch: Branch, _leader: Comparison | None) -> _Told:
    harmed = [c.variant for c in case.others if case.harmed(c.variant)]
    shown = [(m, c) for variant in harmed for m, c in case.harmed(variant)]
    metrics, harm = list(dict.fromkeys(m.key for m, _ in shown)), [guard_sentence(m, c) for m, c in shown]
    return _Told(
        f"Roll back {listed([case.name(v) for v in harmed])}: "
        f"{listed(metrics)} {'is' if len(metrics) == 1 else 'are'} harmed.",
        [
            *harm,
            *(sentence(case.primary, c, case.rule) for c in case.others),
            *(line for line in _beside(case) if line not in harm),
        ],
        ["a repaired variant, in a new experiment."],
        harmed[0],
    )


def _beside(case: Case) -> tuple[str, ...]:
    """A sentence for whatever is shown to be worse."""
    return tuple(worse_sentence(m, c, case.rule) for m, c in _worse(case))


def _gated(case: Case, _branch: Branch, leader: Comparison | None) -> _Told:
    ahead = f" {case.name(leader.variant)} is ahead so far." if leader else ""
    return _Told(
        f"Continue: {lacking(case.gates[0])}.{ahead}",
        [*(check.message for check in case.gates), *_state(case)],
        [mend(check) for check in case.gates],
    )


def _kept(case: Case, branch: Branch, leader: Comparison | None) -> str:
    """Why control is kept."""
    if branch is Branch.KEEP_WORSE:
        return "Every variant is worse than control."
    if branch is Branch.KEEP_FEW_EVENTS:
        return f"The maximum runtime is reached. {case.gates[0].message}"
    over = (
        "The units the rule asked for have arrived"
        if branch is Branch.KEEP_COMPLETE
        else "The maximum runtime is reached"
    )
    if leader is not None:
        return f"{over} and the guardrails of {case.name(leader.variant)} are not shown to be safe."
    return f"{over} and {_dear(case) or 'no variant is shown to be better'}."


def _dear(case: Case) -> str | None:
    """What holds back variants that are shown to be better but give up too much; None without such."""
    dear = [case.name(c.variant) for c in case.others if c.finding is Finding.BETTER and not _cheap(case, c)]
    return f"choosing {listed(dear)} may lose more than the rule allows" if dear else None


def _keep(case: Case, branch: Branch, leader: Comparison | None) -> _Told:
    control = case.others[0].control
    better = [c.variant for c in case.others if c.finding is Finding.BETTER]
    return _Told(
        f"Keep {case.name(control)}. {_kept(case, branch, leader)}",
        [*_state(case), *(guard_sentence(m, c) for variant in better for m, c in case.unsafe(variant))],
        ["a better variant, or a rule that asks for a smaller effect with more units."],
        control,
    )


def _stop(case: Case, _branch: Branch, _leader: Comparison | None) -> _Told:
    futile = [c.sufficiency for c in case.others if c.finding is not Finding.WORSE and c.sufficiency]
    needed = max(one.n_needed for one in futile if one.n_needed is not None)
    visible = [x for x in (one.mde_by_deadline_relative for one in futile) if x is not None]
    change = f"more traffic, a longer max_runtime than {case.rule.max_runtime_days} days"
    if visible:
        # of the variant that sees least: every one that is left has to get there
        change += f", or an MDE of {fmt.share(max(visible))} of control, which the deadline allows"
    headline = f"Stop: {needed:,} units are needed, too many for {case.rule.max_runtime_days} days."
    return _Told(headline, _state(case), [f"{change}."])


def _unsafe(case: Case, leader: Comparison) -> _Told:
    return _Told(
        f"Continue: {case.name(leader.variant)} is better, its guardrails are not shown to be safe yet.",
        [*(guard_sentence(m, c) for m, c in case.unsafe(leader.variant)), *_state(case)],
        ["guardrail bounds within their margins."],
    )


def _continue(case: Case, _branch: Branch, _leader: Comparison | None) -> _Told:
    dear = _dear(case)
    change = [outlook(c) for c in case.others]
    if dear is not None:
        change.insert(0, f"an expected loss below {fmt.share(case.rule.belief.loss)} of control.")
    return _Told(f"Continue: {dear or 'not enough data'}.", _state(case), change)


def _state(case: Case) -> tuple[str, ...]:
    """Where every comparison of the primary metric stands, how far the data go, and what is worse."""
    if any(check.name == CheckName.MATURED for check in case.gates):
        return ()
    lines = []
    for c in case.others:
        lines.append(sentence(case.primary, c, case.rule))
        if c.sufficiency is not None:
            prefix = f"{c.variant}: " if len(case.others) > 1 else ""
            lines.append(prefix + c.sufficiency.message)
    return (*lines, *_beside(case))


_WORDS: Mapping[Branch, Callable[[Case, Branch, Comparison | None], _Told]] = {
    Branch.INVALID: _invalid,
    Branch.ROLLBACK: _rollback,
    Branch.GATED: _gated,
    Branch.STOP: _stop,
    Branch.CONTINUE: _continue,
}
"""What says a branch that names no winner; every other branch keeps control."""
