"""What a record says, word for word: one line per kind of record, and what a check that holds a verdict asks for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from switchpoint.analysis.results.judgement import (
    Check,
    CheckName,
    Comparison,
    Guard,
    Interval,
    Missing,
    Severity,
)
from switchpoint.analysis.results.numbers import Finding, Planned, Posterior
from switchpoint.analysis.results.sentences import (
    effects,
    family,
    guard_sentence,
    is_worse,
    lacking,
    listed,
    mend,
    outlook,
    sentence,
    worse_sentence,
)
from switchpoint.experiment.definition.types import Design
from tests.analysis.judgement.table import DESIGNS, FROZEN, Known, estimate, gate, metric, record, sufficiency
from tests.analysis.validity.page import CHECKS

FIXED = DESIGNS[Design.FIXED]
FEW = Missing(code="few", message="Two units are needed.")
ZERO = Missing(code="zero_control", message="Control is zero.")
PLAN = Planned(
    looks=(), counted=1, ended=False, effect=1.5, interval=Interval(lower=0.25, upper=2.75), p=0.004, lift=0.15,
    lift_interval=Interval(lower=0.02, upper=0.3), control_value=10.0, variant_value=11.5, next_day=21, next_date="2026-01-25",
    sentence="Look 1 passed its bound.",
)  # fmt: skip
BELIEF = Posterior(
    better=0.987, mean=0.2, interval=Interval(lower=0.05, upper=0.4), loss_variant=0.0004, loss_control=0.2, prior_mean=0.0,
    prior_sd=0.1, method="normal",
)  # fmt: skip
GUARD = Guard(margin=1.0, margin_relative=None, loss=0.5, loss_bound=0.75, safe=True, harmed=False)


def compared(finding: Finding = Finding.BETTER, **changed: Any) -> Comparison:
    """A record of a gain of 20 % on 10: an interval of ±1, p = 0.01 after the correction too."""
    base = record(0, Known(finding, 2), finding, sign=1)
    numbers = estimate(2)
    plain = {
        "headline": "interval",
        "posterior": None,
        "sufficiency": None,
        "estimate": numbers,
        "adjusted_p": numbers.p,
    }
    return replace(base, **{**plain, **changed})


def estimated(**changed: Any) -> Any:
    return replace(estimate(2), **changed)


VALUES = "buy: treatment 12, control 10; effect +2 (+20.0% of control)"
SENTENCES = {
    "fixed": ("primary", compared(), FIXED, f"{VALUES}, 95% interval [+1, +3], p = 0.01: better."),
    "of a share": (
        "share", compared(estimate=estimated(control_value=0.1, variant_value=0.12, effect=0.02, lift=0.2,
                                             interval=Interval(lower=0.01, upper=0.03))), FIXED,
        "buy: treatment 12.00%, control 10.00%; effect +2.00 pp (+20.0% of control), 95% interval [+1.00, +3.00] pp, p = 0.01: better.",
    ),
    "another level": (
        "primary", compared(), replace(FIXED, alpha=0.1), f"{VALUES}, 90% interval [+1, +3], p = 0.01: better.",
    ),
    "corrected": (
        "primary", compared(adjusted_p=0.02), FIXED, f"{VALUES}, 95% interval [+1, +3], p = 0.01 (0.02 after Holm): better.",
    ),
    "corrected secondary": (
        "secondary", compared(adjusted_p=0.02), FIXED, f"{VALUES}, 95% interval [+1, +3], p = 0.01 (0.02 after BH): better.",
    ),
    "corrected secondary sequence": (
        "secondary", compared(adjusted_p=0.02, headline="sequence", estimate=estimated(anytime_p=0.001, p=0.5)), FROZEN,
        f"{VALUES}, 95% confidence sequence [+1, +3], p = 0.001 (0.02 after e-BH): better.",
    ),
    "not corrected": (
        "primary", compared(adjusted_p=None), FIXED, f"{VALUES}, 95% interval [+1, +3], p = 0.01: better.",
    ),
    "p beyond a float": (
        "primary", compared(adjusted_p=0.0, estimate=estimated(p=0.0, log10_p=-412.3)), FIXED,
        f"{VALUES}, 95% interval [+1, +3], p = 5.0e-413: better.",
    ),
    "sequence": (
        "primary", compared(Finding.UNDECIDED, headline="sequence", adjusted_p=0.4, estimate=estimated(
            anytime_p=0.4, sequence=Interval(lower=-1.0, upper=5.0))), FROZEN,
        f"{VALUES}, 95% confidence sequence [-1, +5], p = 0.4: no difference shown.",
    ),
    "no sequence yet": (
        "primary", compared(Finding.UNDECIDED, headline="sequence", estimate=estimated(
            sequence=None, anytime_p=None, sequence_missing=FEW, lift_missing=ZERO)), FROZEN,
        f"{VALUES}; no interval yet: no difference shown. Two units are needed.",
    ),
    "a sequence without its p": (
        "primary", compared(Finding.UNDECIDED, headline="sequence", estimate=estimated(anytime_p=None)), FROZEN,
        f"{VALUES}; no interval yet: no difference shown.",
    ),
    "a p without its sequence": (
        "primary", compared(Finding.UNDECIDED, headline="sequence", estimate=estimated(sequence=None)), FROZEN,
        f"{VALUES}; no interval yet: no difference shown.",
    ),
    "no lift": (
        "primary", compared(estimate=estimated(lift=None)), FIXED,
        "buy: treatment 12, control 10; effect +2, 95% interval [+1, +3], p = 0.01: better.",
    ),
    "a plan": (
        "primary", compared(headline="planned", planned=PLAN, adjusted_p=0.004), DESIGNS[Design.GROUP_SEQUENTIAL],
        ("buy: treatment 11.5, control 10; effect +1.5 (+15.0% of control), 95% repeated interval [+0.25, +2.75], "
        "p = 0.004: better. Look 1 passed its bound."),
    ),
    "a plan before its first look": (
        "primary", compared(Finding.UNDECIDED, headline="planned", planned=replace(PLAN, effect=None, sentence="No look yet.", missing=FEW),
                            estimate=estimated(sequence_missing=ZERO)), DESIGNS[Design.GROUP_SEQUENTIAL],
        f"{VALUES}; no interval yet: no difference shown. Two units are needed. No look yet.",
    ),
    "a belief": (
        "primary", compared(headline="posterior", posterior=BELIEF, adjusted_p=None), DESIGNS[Design.BAYESIAN],
        (f"{VALUES}, 95% credible interval of the lift [+5.0%, +40.0%], probability of being better 98.7%: better. "
        "Expected loss of choosing treatment: 0.04% of control."),
    ),
    "a belief beside": (
        "secondary", compared(headline="interval", posterior=BELIEF), FIXED, f"{VALUES}, 95% interval [+1, +3], p = 0.01: better.",
    ),
    "no belief": (
        "primary", compared(Finding.UNDECIDED, headline="posterior", estimate=estimated(lift_missing=ZERO)), DESIGNS[Design.BAYESIAN],
        f"{VALUES}; no interval yet: no difference shown. Control is zero.",
    ),
    "no estimate": (
        "primary", compared(Finding.NO_ESTIMATE, estimate=None, missing=FEW), FIXED,
        "buy, treatment against control: no estimate. Two units are needed.",
    ),
    "no estimate, no reason": (
        "primary", compared(Finding.NO_ESTIMATE, estimate=None), FIXED, "buy, treatment against control: no estimate.",
    ),
}  # fmt: skip


def of_role(role: str) -> Any:
    found = metric("primary" if role == "share" else role, "increase", key="buy")
    return replace(found, type="proportion") if role == "share" else found


@pytest.mark.parametrize(("role", "c", "rule", "said"), SENTENCES.values(), ids=SENTENCES.keys())
def test_the_sentence_of_a_comparison(role: str, c: Comparison, rule: Any, said: str) -> None:
    assert sentence(of_role(role), c, rule) == said


@pytest.mark.parametrize(
    ("role", "design", "word"),
    [
        *(("primary", design, "Holm") for design in Design),
        *(("secondary", design, "BH" if design is Design.FIXED else "e-BH") for design in Design),
    ],
)
def test_the_correction_of_a_role(role: str, design: Design, word: str) -> None:
    assert family(of_role(role), DESIGNS[design]) == word


def test_effects_are_read_beside_each_other() -> None:
    believed = replace(compared(headline="posterior", posterior=BELIEF), variant="third")
    blind = replace(compared(headline="posterior"), variant="fourth")
    unread = replace(compared(Finding.NO_ESTIMATE, estimate=None), variant="fifth")
    said = effects(of_role("primary"), [compared(), unread, believed, blind])
    assert said == "treatment +2 [+1, +3], third +2, lift [+5.0%, +40.0%], fourth +2"
    assert effects(of_role("primary"), []) == ""


@pytest.mark.parametrize(
    ("finding", "changed", "said"),
    [
        (Finding.SAFE, {}, "loss +0.5, at worst +0.75, margin +1: safe."),
        (Finding.SAFE, {"loss_bound": None}, "loss +0.5, at worst not known yet, margin +1: safe."),
        (Finding.NOT_SAFE, {"loss_bound": 1.5}, "loss +0.5, at worst +1.5, margin +1: not shown to be safe."),
        (Finding.HARMED, {"loss": 3.0}, "loss +3, at worst +0.75, margin +1: harmed: worse than its margin allows."),
        (Finding.FEW_EVENTS, {}, "loss +0.5, at worst +0.75, margin +1: too few events, not shown to be safe."),
    ],
)  # fmt: skip
def test_the_sentence_of_a_guardrail(finding: Finding, changed: dict[str, Any], said: str) -> None:
    guarded = compared(finding, guard=replace(GUARD, **changed))
    assert guard_sentence(of_role("guardrail"), guarded) == f"Guardrail buy, treatment: {said}"


def test_a_guardrail_without_an_estimate_says_why() -> None:
    blind = compared(Finding.NO_ESTIMATE, estimate=None, missing=FEW)
    rail = of_role("guardrail")
    assert guard_sentence(rail, blind) == "Guardrail buy, treatment: no estimate. Two units are needed."
    assert guard_sentence(rail, replace(blind, missing=None)) == "Guardrail buy, treatment: no estimate."


def test_the_sentence_of_what_is_worse() -> None:
    rail, other = of_role("guardrail"), of_role("secondary")
    plain = compared(Finding.WORSE, adjusted_p=0.02)
    assert worse_sentence(other, plain, FIXED) == f"Shown to be worse: {sentence(other, plain, FIXED)}"
    harmed = compared(Finding.HARMED, guard=GUARD)
    assert worse_sentence(rail, harmed, FIXED) == guard_sentence(rail, harmed)
    within = compared(Finding.SAFE, guard=GUARD)
    text = "Shown to be worse, though not beyond its margin: buy, treatment: loss +0.5 against control"
    assert worse_sentence(rail, within, FIXED) == f"{text}, p = 0.01: safe."
    tiny = replace(within, estimate=estimated(p=0.0, log10_p=-400.0))
    assert worse_sentence(rail, tiny, FIXED) == f"{text}, p = 1.0e-400: safe."
    assert worse_sentence(rail, replace(within, headline="planned"), FIXED) == f"{text}: safe."


@pytest.mark.parametrize(
    ("finding", "guard", "better", "enough", "worse"),
    [
        (Finding.WORSE, None, False, True, True),
        (Finding.UNDECIDED, None, None, True, False),
        (Finding.FEW_EVENTS, None, False, False, False),
        (Finding.SAFE, GUARD, False, True, True),
        (Finding.SAFE, GUARD, None, True, False),
        (Finding.SAFE, GUARD, True, True, False),
        (Finding.FEW_EVENTS, GUARD, False, False, False),
        (Finding.HARMED, replace(GUARD, harmed=True), None, True, True),
        (Finding.FEW_EVENTS, replace(GUARD, harmed=True), False, False, False),
    ],
)
def test_what_is_shown_to_be_worse(
    finding: Finding, guard: Guard | None, better: bool | None, enough: bool, worse: bool
) -> None:
    c = compared(finding, guard=guard, better=better, enough_events=enough)
    assert is_worse(c) is worse


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"days": 3}, "the minimum runtime with its present model (3 days so far)."),
        ({"days": 1, "planned": PLAN}, "the minimum runtime with its present model (1 day so far)."),
        ({"planned": PLAN}, "the look on day 21 (2026-01-25), or when the planned units have arrived."),
        (
            {"planned": replace(PLAN, next_date=None)},
            "the look on day 21, or when the planned units have arrived.",
        ),
        ({"planned": replace(PLAN, next_day=None)}, "enough units to say how many are needed."),
        ({}, "enough units to say how many are needed."),
        ({"n_needed": None}, "enough units to say how many are needed."),
        ({"n_needed": 3500}, "2,500 more units (of 3,500), about 15 weeks."),
        ({"n_needed": 3500, "weeks_left": 1}, "2,500 more units (of 3,500), about 1 week."),
        ({"n_needed": 3500, "weeks_left": None}, "2,500 more units (of 3,500)."),
        ({"n_needed": 1001}, "1 more unit (of 1,001), about 15 weeks."),
        ({"n_needed": 900}, "0 more units (of 900), about 15 weeks."),
    ],
)
def test_what_it_takes(changed: dict[str, Any], said: str) -> None:
    units = {key: value for key, value in changed.items() if key in {"n_needed", "weeks_left"}}
    enough = replace(sufficiency(Known()), **units) if units else None
    rest = {key: value for key, value in changed.items() if key not in units}
    assert outlook(compared(sufficiency=enough, **rest)) == f"treatment: {said}"


def test_names_in_a_sentence() -> None:
    assert listed(["B"]) == "B"
    assert listed(["B", "C"]) == "B and C"
    assert listed(["B", "C", "D"]) == "B, C and D"


# what a check that holds the verdict says and asks for


GATES = {
    CheckName.SAMPLE_RATIO: ("the intended weights are not known", "the intended weights in the source: `weights: equal`, or a share per variant."),
    CheckName.MATURED: ("no exposure day has matured yet", "the window of the first exposure day closes at 2026-01-05 00:00 UTC."),
    CheckName.RUNTIME: ("the minimum runtime is not reached", "11 more matured days."),
    CheckName.EVENTS: ("too few events yet", "15 more events in the smaller variant."),
    CheckName.CLUSTERS: ("too few clusters", "11 more clusters in the smallest variant."),
    CheckName.EVIDENCE: ("the evidence is weaker than the rule asks", "randomise units within each segment, or state that they were."),
    CheckName.UNIT_OF_ANALYSIS: ("rows are not what was randomised", "rows added up by visit."),
    CheckName.ELIGIBILITY: ("rows are left out by what is measured", "a condition that reads nothing a metric measures."),
    CheckName.IDS: ("unit ids look damaged", "whole unit ids, as text, from the sender of the events."),
    CheckName.EARLY_OUTCOMES: ("outcomes lie before their exposure", "exposures recorded when they happen, by the clock of the outcomes."),
    CheckName.OUTCOMES: ("no outcome counts", "the same unit ids, and one clock, in exposures and outcomes."),
}  # fmt: skip
VOID = {
    CheckName.VARIANTS: "name the column that tells the variants apart.",
    CheckName.ROWS: "mend the rows that cannot be read, or take them out for a reason that is no outcome.",
    CheckName.OVERLAP: "randomise a slice inside each segment, so that every segment holds both variants.",
    CheckName.SAMPLE_RATIO: "find where units are lost or moved (assignment, redirects, logging), start a new epoch.",
    CheckName.SAMPLE_RATIO_BY_DAY: "find what broke on that day (of a table whose allocation was changed, give the weights by day); a new epoch starts clean.",
    CheckName.CONTAMINATION: "make the unit id stable across devices and services, then start a new epoch.",
    CheckName.SERVED: "serve what was assigned, or record the cause with the exposure.",
    CheckName.ELIGIBILITY: "use a condition on what was known before exposure.",
    CheckName.BEFORE_EXPOSURE: "find why the variants differed before the start, then randomise anew (a new salt).",
}  # fmt: skip


def test_every_check_that_can_hold_a_verdict_has_words_of_its_own() -> None:
    """Which checks can is what docs/checks.md says of when they speak."""
    assert {name for name, told in CHECKS.items() if "gate" in told.when} == set(GATES)
    assert {name for name, told in CHECKS.items() if "invalid" in told.when} == set(VOID)
    assert set(CHECKS) == set(CheckName)
    said = [*(text for pair in GATES.values() for text in pair), *VOID.values()]
    assert len(set(said)) == len(said)


@pytest.mark.parametrize("name", GATES)
def test_a_gate_says_what_is_lacking_and_what_would_mend_it(name: CheckName) -> None:
    held = gate(name, Severity.GATE)
    assert (lacking(held), mend(held)) == GATES[name]


@pytest.mark.parametrize("name", VOID)
def test_a_check_that_makes_a_comparison_void_says_what_to_do(name: CheckName) -> None:
    assert mend(gate(name, Severity.INVALID)) == VOID[name]


@pytest.mark.parametrize(
    ("name", "numbers", "said"),
    [
        (CheckName.RUNTIME, {"days": 13, "needed": 14}, "1 more matured day."),
        (CheckName.RUNTIME, {"days": 0, "needed": 7}, "7 more matured days."),
        (CheckName.EVENTS, {"events": 19.2, "needed": 20.0, "counted": "events"}, "1 more event in the smaller variant."),
        (CheckName.EVENTS, {"events": 0.0, "needed": 20.0, "counted": "outcomes"}, "20 more events in the smaller variant."),
        (CheckName.EVENTS, {"events": 8.0, "needed": 10.0, "counted": "units"}, "2 more units in the smaller variant."),
        (CheckName.EVENTS, {"events": 20.0, "needed": 20.0, "counted": "events"}, "more units in the smaller variant."),
        (CheckName.EVENTS, {"events": 25.0, "needed": 20.0, "counted": "events"}, "more units in the smaller variant."),
        (CheckName.EVENTS, {"events": None, "needed": 0.0, "counted": "events"}, "more units in the smaller variant."),
        (CheckName.CLUSTERS, {"clusters": 9, "needed": 10}, "1 more cluster in the smallest variant."),
        (CheckName.CLUSTERS, {"clusters": 0, "needed": 10}, "10 more clusters in the smallest variant."),
        (CheckName.MATURED, {"units": 0, "at": None}, "the window of the first exposure day closes."),
    ],
)  # fmt: skip
def test_a_gate_counts_what_is_missing(name: CheckName, numbers: dict[str, Any], said: str) -> None:
    assert mend(Check(name=name, severity=Severity.GATE, message="", numbers=numbers)) == said
