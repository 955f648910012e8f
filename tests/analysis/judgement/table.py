"""The decision table of the rule, written by hand from design.md 7, and records that say what a line says.

The table says of every variant what is known (`VARIANTS`), of the look what holds it, and what the verdict has
to be. Three readers go through all of it: the rule itself, a report's verdict from records (both directions,
every design), and the columnar verdicts of simulated runs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from switchpoint.analysis.judgement.verdict import Case
from switchpoint.analysis.results.judgement import (
    Check,
    CheckName,
    Comparison,
    Estimate,
    Guard,
    Interval,
    MetricReading,
    Severity,
)
from switchpoint.analysis.results.numbers import Finding, Posterior, Sufficiency
from switchpoint.experiment.definition.types import Belief, DecisionRule, Design, LookPlan
from switchpoint.experiment.registry.decision import VerdictKind
from tests.analysis.cases import RULE as FROZEN

INVALID, PROMOTE, ROLLBACK = VerdictKind.INVALID, VerdictKind.PROMOTE, VerdictKind.ROLLBACK
KEEP, STOP, CONTINUE = VerdictKind.KEEP, VerdictKind.STOP, VerdictKind.CONTINUE


class Known(NamedTuple):
    """What is known of one variant: its finding on the primary metric and the size of its effect (in per
    cent, in the direction that is better), its guardrail's, whether a promotion is cheap enough, whether the
    units asked for are there, and whether they cannot come in time."""

    finding: Finding = Finding.UNDECIDED
    gain: float = 0.0
    guard: Finding = Finding.SAFE
    cheap: bool = True
    complete: bool = False
    futile: bool = False


VARIANTS = {
    # better than control
    "win": Known(Finding.BETTER, 2),
    "big win": Known(Finding.BETTER, 5),
    "same win": Known(Finding.BETTER, 2),
    "unsafe win": Known(Finding.BETTER, 9, Finding.NOT_SAFE),
    "win without guardrail events": Known(Finding.BETTER, 9, Finding.FEW_EVENTS),
    "win without guardrail": Known(Finding.BETTER, 9, Finding.NO_ESTIMATE),
    "harmful win": Known(Finding.BETTER, 9, Finding.HARMED),
    "dear win": Known(Finding.BETTER, 9, cheap=False),
    "dear complete win": Known(Finding.BETTER, 9, cheap=False, complete=True),
    # worse than control
    "loss": Known(Finding.WORSE, -3),
    "complete loss": Known(Finding.WORSE, -3, complete=True),
    "harmful loss": Known(Finding.WORSE, -3, Finding.HARMED),
    # neither
    "open": Known(),
    "open ahead": Known(gain=4),
    "open complete": Known(complete=True, gain=4),
    "open futile": Known(futile=True),
    "open both": Known(complete=True, futile=True),
    "open harmful": Known(guard=Finding.HARMED),
    "open unsafe": Known(guard=Finding.NOT_SAFE),
    "few events": Known(Finding.FEW_EVENTS, 9),
    "few units": Known(Finding.FEW_UNITS, 9),
    "no estimate": Known(Finding.NO_ESTIMATE),
    "no estimate futile": Known(Finding.NO_ESTIMATE, futile=True),
}  # fmt: skip


class Line(NamedTuple):
    """One line of the table: variants other than control, what holds the look, and the verdict; `best` is the
    promoted one's number from 1."""

    variants: tuple[str, ...]
    held: str
    kind: VerdictKind
    best: int = 0


def line(variants: str, held: str, kind: VerdictKind, best: int = 0) -> Line:
    return Line(tuple(part.strip() for part in variants.split(",")), held, kind, best)


TABLE = [
    # nothing holds; one variant
    line("win", "", PROMOTE, 1),
    line("unsafe win", "", CONTINUE),
    line("win without guardrail events", "", CONTINUE),
    line("win without guardrail", "", CONTINUE),
    line("harmful win", "", ROLLBACK),
    line("dear win", "", CONTINUE),
    line("dear complete win", "", KEEP),
    line("loss", "", KEEP),
    line("complete loss", "", KEEP),
    line("harmful loss", "", ROLLBACK),
    line("open", "", CONTINUE),
    line("open ahead", "", CONTINUE),
    line("open complete", "", KEEP),
    line("open futile", "", STOP),
    line("open both", "", KEEP),
    line("open harmful", "", ROLLBACK),
    line("open unsafe", "", CONTINUE),
    line("few units", "", CONTINUE),
    line("no estimate", "", CONTINUE),
    line("no estimate futile", "", STOP),
    # several variants: the best winner counts, not the first; an unsafe one does not block another
    line("win, big win, win", "", PROMOTE, 2),
    line("big win, win, win", "", PROMOTE, 1),
    line("win, win, big win", "", PROMOTE, 3),
    line("win, same win, loss", "", PROMOTE, 1),
    line("loss, win, open", "", PROMOTE, 2),
    line("open ahead, open, win", "", PROMOTE, 3),
    line("unsafe win, win, open", "", PROMOTE, 2),
    line("win without guardrail, open, win", "", PROMOTE, 3),
    line("win, harmful win, open", "", PROMOTE, 1),
    line("harmful loss, win, loss", "", PROMOTE, 2),
    line("dear win, win, big win", "", PROMOTE, 3),
    line("few events, win, open", "", PROMOTE, 2),
    line("few units, few units, win", "", PROMOTE, 3),
    # harm of any variant, where nothing can be promoted
    line("harmful loss, open, open", "", ROLLBACK),
    line("open, open, open harmful", "", ROLLBACK),
    line("unsafe win, open harmful, loss", "", ROLLBACK),
    line("open complete, open complete, open harmful", "", ROLLBACK),
    line("open futile, open harmful, open futile", "", ROLLBACK),
    # all of them, or only some
    line("loss, loss, loss", "", KEEP),
    line("loss, loss, open", "", CONTINUE),
    line("unsafe win, loss, loss", "", CONTINUE),
    line("unsafe win, open complete, open complete", "", CONTINUE),
    line("open complete, open complete, open complete", "", KEEP),
    line("loss, open complete, complete loss", "", KEEP),
    line("open complete, open, open complete", "", CONTINUE),
    line("open futile, open futile, open futile", "", STOP),
    line("loss, open futile, loss", "", STOP),
    line("open futile, open, open futile", "", CONTINUE),
    line("open futile, open complete, open futile", "", CONTINUE),
    line("dear win, open futile, open futile", "", CONTINUE),
    # a check that invalidates comes before everything
    *(
        line(variants, f"invalid{held}", INVALID)
        for variants in ("win", "harmful loss", "loss", "open complete", "open futile", "win, big win, open harmful")
        for held in ("", ", few", ", held", ", weak", ", overdue", ", few, held, weak, overdue")
    ),
    # a gate holds everything but a rollback
    *(
        line(variants, gate, CONTINUE)
        for variants in (
            "win", "unsafe win", "dear win", "loss", "open", "open complete", "open futile", "few events",
            "win, big win, win", "loss, loss, loss", "open futile, open futile, open futile",
        )
        for gate in ("held", "few", "weak", "few, held", "held, weak", "few, weak", "held, overdue", "weak, overdue",
                     "few, held, overdue", "few, weak, overdue", "few, held, weak, overdue")
    ),
    # harm is acted on whatever gate holds, but not on evidence weaker than the rule asks
    *(
        line(variants, gate, ROLLBACK)
        for variants in ("harmful win", "harmful loss", "open harmful", "win, open harmful, loss", "open, open, harmful win")
        for gate in ("held", "few", "few, held", "held, overdue", "few, overdue", "few, held, overdue")
    ),
    line("harmful win", "overdue", ROLLBACK),
    line("win, open harmful, loss", "overdue", PROMOTE, 1),
    *(
        line(variants, gate, CONTINUE)
        for variants in ("harmful win", "harmful loss", "win, open harmful, loss")
        for gate in ("weak", "weak, held", "weak, few", "weak, overdue", "few, weak, overdue")
    ),
    # overdue: control is kept unless something can be promoted or has to be rolled back
    line("win", "overdue", PROMOTE, 1),
    line("win, big win, unsafe win", "overdue", PROMOTE, 2),
    *(
        line(variants, "overdue", KEEP)
        for variants in (
            "unsafe win", "dear win", "loss", "open", "open complete", "open futile", "few units", "no estimate",
            "unsafe win, open, loss", "open futile, open futile, open futile",
        )
    ),
    # overdue with too few events alone: they will not come any more
    *(
        line(variants, "few, overdue", KEEP)
        for variants in ("few events", "no estimate", "loss", "open", "win", "open futile", "few events, few events, few events")
    ),
]  # fmt: skip


def name(one: Line) -> str:
    return f"{' | '.join(one.variants)} [{one.held}]"


def known(one: Line) -> list[Known]:
    return [VARIANTS[variant] for variant in one.variants]


def holds(one: Line, what: str) -> bool:
    return what in {part.strip() for part in one.held.split(",")}


DESIGNS = {
    Design.FIXED: replace(FROZEN, design=Design.FIXED),
    Design.SEQUENTIAL: FROZEN,
    Design.GROUP_SEQUENTIAL: replace(FROZEN, design=Design.GROUP_SEQUENTIAL, looks=LookPlan(every_days=7)),
    Design.BAYESIAN: replace(FROZEN, design=Design.BAYESIAN, belief=Belief(sd=0.1, loss=0.01)),
}
NAMES = ("treatment", "third", "fourth")


def gate(check: str, severity: Severity) -> Check:
    numbers = {
        "days": 3,
        "needed": 20 if check == CheckName.EVENTS else 14,
        "events": 5,
        "counted": "events",
        "clusters": 3,
        "column": "visit",
        "at": "2026-01-05T00:00:00+00:00",
    }
    return Check(name=check, severity=severity, message=f"{check} says so.", numbers=numbers)  # fmt: skip


def checks(one: Line, *, other: str = CheckName.RUNTIME) -> tuple[Check, ...]:
    gates = {"weak": CheckName.EVIDENCE, "few": CheckName.EVENTS, "held": other}
    found = [gate(check, Severity.GATE) for what, check in gates.items() if holds(one, what)]
    found += [gate(check, Severity.OK) for what, check in gates.items() if not holds(one, what)]
    if holds(one, "invalid"):
        found.append(gate(CheckName.SAMPLE_RATIO, Severity.INVALID))
    return (*found, gate(CheckName.MIX, Severity.WARN))


def estimate(effect: float) -> Estimate:
    span = Interval(lower=effect - 1, upper=effect + 1)
    return Estimate(
        n_control=500, n_variant=500, control_value=10.0, variant_value=10 + effect, effect=effect, standard_error=0.5,
        interval=span, p=0.01, sequence=span, anytime_p=0.01, sequence_missing=None, lift=effect / 10,
        lift_interval=span, lift_sequence=span, lift_missing=None, method="welch",
    )  # fmt: skip


def sufficiency(v: Known) -> Sufficiency:
    return Sufficiency(
        n_now=1000, n_needed=2000, share=0.5, enough=v.complete, units_per_day=10.0, days_left=100, weeks_left=15,
        weeks_left_slow=16, within_deadline=not v.futile, mde_target=0.5, mde_now=1.0, mde_now_relative=0.1,
        mde_by_deadline_relative=0.08, message="1,000 of 2,000 units.", missing=None,
    )  # fmt: skip


def posterior(v: Known) -> Posterior:
    span = Interval(lower=-0.1, upper=0.1)
    return Posterior(
        better=0.9, mean=0.0, interval=span, loss_variant=0.00999 if v.cheap else 0.01001, loss_control=0.0,
        prior_mean=0.0, prior_sd=0.1, method="normal",
    )  # fmt: skip


def record(number: int, v: Known, finding: Finding, *, sign: float, guard: Guard | None = None) -> Comparison:
    estimated = finding is not Finding.NO_ESTIMATE
    return Comparison(
        variant=NAMES[number], control="control", headline="sequence", estimate=estimate(sign * v.gain) if estimated else None,
        missing=None, significant=finding in {Finding.BETTER, Finding.WORSE},
        better={Finding.BETTER: True, Finding.WORSE: False}.get(finding), finding=finding, adjusted_p=0.01, events=100.0,
        events_needed=20.0,
        counted="events", enough_events=finding is not Finding.FEW_EVENTS, complete=v.complete, pooled=None, guard=guard,
        sufficiency=sufficiency(v), segments=(), daily=(), posterior=posterior(v),
    )  # fmt: skip


def metric(role: str, direction: str, *comparisons: Comparison, key: str = "") -> MetricReading:
    return MetricReading(
        key=key or role,
        type="mean",
        role=role,
        direction=direction,
        decimals=2,
        values=(),
        comparisons=comparisons,
    )


def case(one: Line, frozen: DecisionRule, direction: str, *, other: str = CheckName.RUNTIME) -> Case:
    sign = 1.0 if direction == "increase" else -1.0
    primary = [record(place, v, v.finding, sign=sign) for place, v in enumerate(known(one))]
    guards = []
    for place, v in enumerate(known(one)):
        safe, harmed = v.guard is Finding.SAFE, v.guard is Finding.HARMED
        bound = Guard(margin=1.0, margin_relative=None, loss=0.5, loss_bound=None, safe=safe, harmed=harmed)
        guards.append(
            record(place, Known(), v.guard, sign=1, guard=None if v.guard is Finding.NO_ESTIMATE else bound)
        )
    return Case(
        rule=frozen, checks=checks(one, other=other), days=frozen.max_runtime_days - (not holds(one, "overdue")),
        metrics=(metric("primary", direction, *primary), metric("guardrail", "decrease", *guards)),
    )  # fmt: skip
