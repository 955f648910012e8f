"""What a verdict tells, word for word: headline, reasons and what would change it, for every row of the rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from switchpoint.analysis.judgement.verdict import Case, decide
from switchpoint.analysis.results.judgement import Check, CheckName, Guard, Severity, Shown, Verdict
from switchpoint.analysis.results.numbers import Comparison, Finding, MetricReading
from switchpoint.analysis.results.sentences import guard_sentence, sentence, worse_sentence
from switchpoint.experiment.definition.types import Design
from switchpoint.experiment.registry.decision import VerdictKind
from tests.analysis.judgement.table import (  # fmt: skip
    CONTINUE,
    DESIGNS,
    FROZEN,
    INVALID,
    KEEP,
    PROMOTE,
    ROLLBACK,
    STOP,
    Known,
    case,
    gate,
    line,
    metric,
    record,
    sufficiency,
)

BELIEF = DESIGNS[Design.BAYESIAN]
BETTER_RULE = "a better variant, or a rule that asks for a smaller effect with more units."
HAVE = "1,000 of 2,000 units."
UNITS = "1,000 more units (of 2,000), about 15 weeks."
MODELS = {"control": "ranker@1", "treatment": "ranker@2", "third": "ranker@3"}


def given(variants: str, held: str = "", **changed: Any) -> Case:
    dear = "dear" in variants
    return replace(
        case(line(variants, held, CONTINUE), BELIEF if dear else FROZEN, "increase"),
        **changed,
    )


def primary(of: Case, place: int) -> str:
    return sentence(of.primary, of.others[place], of.rule)


def rail(of: Case, place: int, number: int = 1) -> str:
    return guard_sentence(of.metrics[number], of.metrics[number].comparisons[place])


def state(of: Case) -> list[str]:
    """Every primary comparison with the units it has."""
    several = len(of.others) > 1
    found = []
    for place, c in enumerate(of.others):
        found += [
            primary(of, place),
            f"{c.variant}: {HAVE}" if several else HAVE,
        ]
    return found


def told(of: Case) -> tuple[str, list[str], list[str]]:
    found = decide(of)
    return found.headline, list(found.reasons), list(found.what_would_change)


def test_a_promotion() -> None:
    of = given("win, big win, loss")
    assert told(of) == (
        "Promote third.",
        [
            primary(of, 1), rail(of, 1), primary(of, 0), primary(of, 2),
            "evidence says so.", "events says so.", "runtime says so.",
        ],
        ["a failed check, or a guardrail that moves beyond its margin."],
    )  # fmt: skip


def worse_metric(key: str, finding: Finding, *, of: str = "treatment") -> MetricReading:
    """A secondary metric with one comparison, of the variant named."""
    place = ("treatment", "third", "fourth").index(of)
    return metric(
        "secondary", "increase", record(place, Known(finding, -3), finding, sign=1, guard=None), key=key
    )


def test_a_promotion_says_first_what_is_worse_of_the_promoted_one() -> None:
    of = given("win, big win, open")
    worse = (
        worse_metric("a", Finding.WORSE), worse_metric("b", Finding.WORSE, of="third"),
        worse_metric("c", Finding.UNDECIDED, of="third"), worse_metric("d", Finding.WORSE, of="third"),
    )  # fmt: skip
    of = replace(of, metrics=(*of.metrics, *worse))
    found = decide(of)
    assert found.headline == "Promote third, although b and d are worse."
    said = {
        key: worse_sentence(of.metrics[place], of.metrics[place].comparisons[0], of.rule)
        for place, key in ((2, "a"), (3, "b"), (5, "d"))
    }
    assert list(found.reasons[:4]) == [primary(of, 1), said["b"], said["d"], said["a"]]
    assert [(w.metric, w.variant) for w in found.worse] == [
        ("b", "third"),
        ("d", "third"),
        ("a", "treatment"),
    ]
    one = replace(of, metrics=of.metrics[:4])
    assert decide(one).headline == "Promote third, although b is worse."


def with_worse(of: Case) -> tuple[Case, str]:
    """The same with a secondary metric that is worse, and its sentence."""
    more = replace(of, metrics=(*of.metrics, worse_metric("extra", Finding.WORSE)))
    return more, worse_sentence(more.metrics[-1], more.metrics[-1].comparisons[0], more.rule)


def test_what_is_worse_is_said_whatever_the_verdict() -> None:
    for variants, held, kind in (
        ("open", "", CONTINUE), ("open", "held", CONTINUE), ("open complete", "", KEEP), ("open futile", "", STOP),
        ("unsafe win", "", CONTINUE), ("open harmful", "", ROLLBACK), ("win", "", PROMOTE),
    ):  # fmt: skip
        of, said = with_worse(given(variants, held))
        found = decide(of)
        assert found.kind is kind
        assert found.reasons.count(said) == 1, variants
        assert Shown(metric="extra", variant="treatment", finding=Finding.WORSE, sentence=said) in found.worse
    of, said = with_worse(given("win", "invalid"))
    assert said not in decide(of).reasons
    assert decide(of).worse == ()


def test_a_rollback_names_every_harmed_variant_and_guardrail_once() -> None:
    of = given("harmful win, open, open harmful")
    more = metric("guardrail", "decrease", *of.metrics[1].comparisons, key="second")
    of = replace(of, metrics=(*of.metrics, more), models=MODELS)
    harm = [rail(of, 0, 1), rail(of, 0, 2), rail(of, 2, 1), rail(of, 2, 2)]
    assert told(of) == (
        "Roll back ranker@2 (treatment) and fourth: guardrail and second are harmed.",
        [*harm, primary(of, 0), primary(of, 1), primary(of, 2)],
        ["a repaired variant, in a new experiment."],
    )
    assert decide(of).variant == "treatment"
    assert told(replace(of, metrics=of.metrics[:2]))[0].endswith("fourth: guardrail is harmed.")


@pytest.mark.parametrize(
    ("variants", "held", "kind", "headline", "change"),
    [
        ("loss", "", KEEP, "Keep control. Every variant is worse than control.", BETTER_RULE),
        ("open complete", "", KEEP,
         "Keep control. The units the rule asked for have arrived and no variant is shown to be better.", BETTER_RULE),
        ("dear complete win", "", KEEP,
         "Keep control. The units the rule asked for have arrived and choosing treatment may lose more than the rule allows.",
         BETTER_RULE),
        ("open", "overdue", KEEP, "Keep control. The maximum runtime is reached and no variant is shown to be better.",
         BETTER_RULE),
        ("dear win", "overdue", KEEP,
         "Keep control. The maximum runtime is reached and choosing treatment may lose more than the rule allows.", BETTER_RULE),
        ("few events", "few, overdue", KEEP, "Keep control. The maximum runtime is reached. events says so.", BETTER_RULE),
        ("open", "", CONTINUE, "Continue: not enough data.", f"treatment: {UNITS}"),
        ("few units", "", CONTINUE, "Continue: not enough data.", f"treatment: {UNITS}"),
        ("win", "held", CONTINUE, "Continue: the minimum runtime is not reached. treatment is ahead so far.", "11 more matured days."),
        ("open", "held", CONTINUE, "Continue: the minimum runtime is not reached.", "11 more matured days."),
        ("open", "few", CONTINUE, "Continue: too few events yet.", "15 more events in the smaller variant."),
        ("open futile", "", STOP, "Stop: 2,000 units are needed, too many for 42 days.",
         "more traffic, a longer max_runtime than 42 days, or an MDE of 8.0% of control, which the deadline allows."),
    ],
)  # fmt: skip
def test_one_variant(variants: str, held: str, kind: VerdictKind, headline: str, change: str) -> None:
    of = given(variants, held)
    gates = {"held": "runtime says so.", "few": "events says so."}
    said = [gates[held]] if held in gates else []
    found = decide(of)
    assert (found.kind, told(of)) == (kind, (headline, [*said, *state(of)], [change]))


def test_units_are_told_of_their_variant_where_there_are_several() -> None:
    of = given("open, open")
    assert told(of) == (
        "Continue: not enough data.",
        [primary(of, 0), f"treatment: {HAVE}", primary(of, 1), f"third: {HAVE}"],
        [f"treatment: {UNITS}", f"third: {UNITS}"],
    )


def test_a_dear_winner_is_told_what_the_rule_allows() -> None:
    of = given("dear win, open, dear win")
    assert told(of) == (
        "Continue: choosing treatment and fourth may lose more than the rule allows.",
        state(of),
        ["an expected loss below 1.0% of control.", *(f"{c.variant}: {UNITS}" for c in of.others)],
    )


def test_only_better_variants_are_dear() -> None:
    """What a variant that is not shown to be better may lose is no reason to hold it back."""
    for variants in ("open, loss", "dear win, loss, open"):
        of = replace(given(variants), rule=BELIEF)
        lost = [
            replace(c, posterior=replace(c.posterior, loss_variant=0.5)) if c.posterior else c
            for c in of.others
        ]
        of = replace(of, metrics=(replace(of.primary, comparisons=tuple(lost)), *of.metrics[1:]))
        expected = (
            "choosing treatment may lose more than the rule allows"
            if "dear" in variants
            else "not enough data"
        )
        assert decide(of).headline == f"Continue: {expected}."


def test_an_unsafe_winner() -> None:
    of = replace(given("open, unsafe win, open"), models=MODELS)
    assert told(of) == (
        "Continue: ranker@3 (third) is better, its guardrails are not shown to be safe yet.",
        [rail(of, 1), *state(of)],
        ["guardrail bounds within their margins."],
    )
    late = replace(given("open, unsafe win, open", "overdue"), models=MODELS)
    assert told(late) == (
        (
            "Keep ranker@1 (control). The maximum runtime is reached and the guardrails of ranker@3 (third) are not "
            "shown to be safe."
        ),
        [*state(late), rail(late, 1)],
        [BETTER_RULE],
    )


def test_several_gates_are_all_said_and_the_first_heads() -> None:
    of = given("win, big win, open", "weak, few, held", models=MODELS)
    assert told(of) == (
        "Continue: the evidence is weaker than the rule asks. ranker@3 (third) is ahead so far.",
        ["evidence says so.", "events says so.", "runtime says so.", *state(of)],
        [
            "randomise units within each segment, or state that they were.",
            "15 more events in the smaller variant.",
            "11 more matured days.",
        ],
    )


def test_before_a_day_has_matured_nothing_is_said_of_the_numbers() -> None:
    of = replace(
        case(line("open", "held", CONTINUE), FROZEN, "increase", other=CheckName.MATURED),
        rule=FROZEN,
    )
    assert told(of) == (
        "Continue: no exposure day has matured yet.",
        ["matured says so."],
        ["the window of the first exposure day closes at 2026-01-05 00:00 UTC."],
    )
    # a check that passes holds nothing back
    passed = gate(CheckName.MATURED, Severity.OK)
    seen = given("open", "held")
    assert told(replace(seen, checks=(*seen.checks, passed))) == told(seen)


def test_an_invalid_comparison_says_every_cause_and_its_cure() -> None:
    def void(*names: CheckName) -> Verdict:
        of = given("win")
        return decide(replace(of, checks=(*of.checks, *(gate(name, Severity.INVALID) for name in names))))

    found = void(CheckName.SERVED, CheckName.CONTAMINATION)
    assert found == Verdict(
        kind=INVALID, variant=None, headline="Invalid: served. No verdict can be reached.",
        reasons=("served says so.", "contamination says so."),
        what_would_change=(
            "serve what was assigned, or record the cause with the exposure.",
            "make the unit id stable across devices and services, then start a new epoch.",
        ),
    )  # fmt: skip
    assert void(CheckName.OVERLAP).headline == "Invalid: not identified. No verdict can be reached."


@pytest.mark.parametrize(
    ("needed", "visible", "headline", "change"),
    [
        ((2_000, 3_000, 9_000), (0.08, 0.11, 0.5), "Stop: 3,000 units", ", or an MDE of 11.0% of control, which the deadline allows"),
        ((3_000, 2_000, None), (0.11, 0.08, None), "Stop: 3,000 units", ", or an MDE of 11.0% of control, which the deadline allows"),
        ((3_000, 2_000, None), (None, None, None), "Stop: 3,000 units", ""),
    ],
)  # fmt: skip
def test_a_stop_asks_for_what_every_open_variant_needs(
    needed: tuple[int | None, ...], visible: tuple[float | None, ...], headline: str, change: str
) -> None:
    """The last variant is shown to be worse, so what it lacks does not matter."""
    of = given("open futile, open futile, loss")
    changed = []
    for c, n, mde in zip(of.others, needed, visible, strict=True):
        enough = replace(sufficiency(Known(futile=True)), n_needed=n, mde_by_deadline_relative=mde)
        changed.append(replace(c, sufficiency=None if n is None else enough))
    of = replace(of, metrics=(replace(of.primary, comparisons=tuple(changed)), *of.metrics[1:]))
    found = decide(of)
    assert found.headline == f"{headline} are needed, too many for 42 days."
    assert found.what_would_change == (f"more traffic, a longer max_runtime than 42 days{change}.",)
    # a comparison without a plan of units has no sentence of its own
    assert sum("of 2,000 units" in reason for reason in found.reasons) == 3 - needed.count(None)


# of several winners one is chosen


def between(base: int, other: int, finding: Finding) -> Comparison:
    names = ("control", "treatment", "third", "fourth")
    found = record(0, Known(finding, 1), finding, sign=1)
    return replace(found, control=names[base], variant=names[other])


@pytest.mark.parametrize("direction", ["increase", "decrease"])
def test_only_winners_are_told_apart_by_pairs(direction: str) -> None:
    """Pairs that were asked for beside (of a variant that is no winner, or of control) have no part in it."""
    pairs = (
        between(0, 2, Finding.UNDECIDED), between(2, 3, Finding.UNDECIDED), between(1, 2, Finding.UNDECIDED),
        between(0, 1, Finding.UNDECIDED), between(1, 3, Finding.UNDECIDED),
    )  # fmt: skip
    of = replace(case(line("win, big win, open", "", PROMOTE), FROZEN, direction), pairs=pairs)
    found = decide(of)
    most = "highest" if direction == "increase" else "lowest"
    choice = (
        "third and treatment are better than control and not distinguishable from each other; third is chosen by "
        f"rule: the {most} primary, of equal ones the variant named first."
    )
    pair = sentence(of.primary, of.pairs[2], of.rule)
    assert list(found.reasons[:4]) == [primary(of, 1), rail(of, 1), choice, pair]
    assert len([reason for reason in found.reasons if "against" in reason or "chosen" in reason]) == 1


@pytest.mark.parametrize(("base", "other"), [(1, 2), (2, 1)])
@pytest.mark.parametrize(
    ("finding", "alike"),
    [
        (Finding.BETTER, False), (Finding.WORSE, False), (Finding.UNDECIDED, True), (Finding.FEW_EVENTS, True),
        (Finding.NO_ESTIMATE, True),
    ],
)  # fmt: skip
def test_a_pair_that_is_told_apart_is_no_choice(base: int, other: int, finding: Finding, alike: bool) -> None:
    of = replace(given("win, big win, loss"), pairs=(between(base, other, finding),))
    found = decide(of)
    assert any("chosen by rule" in reason for reason in found.reasons) is alike
    assert sentence(of.primary, of.pairs[0], of.rule) in found.reasons
    assert not any("fourth" in reason and "chosen" in reason for reason in found.reasons)


def test_what_is_worse_within_its_margin_is_not_in_the_headline() -> None:
    of = given("win")
    guard = Guard(margin=1.0, margin_relative=None, loss=0.5, loss_bound=0.75, safe=True, harmed=False)
    within = replace(of.metrics[1].comparisons[0], better=False, guard=guard)
    of = replace(of, metrics=(of.metrics[0], replace(of.metrics[1], comparisons=(within,))))
    found = decide(of)
    assert found.headline == "Promote treatment."
    assert found.reasons[1] == worse_sentence(of.metrics[1], within, of.rule)
    assert found.worse == (
        Shown(metric="guardrail", variant="treatment", finding=Finding.SAFE, sentence=found.reasons[1]),
    )


def test_checks_that_pass_are_said_with_a_promotion_only_where_they_matter() -> None:
    of = given("win")
    more = Check(name=CheckName.NOVELTY, severity=Severity.WARN, message="It wears off.", numbers={})
    assert decide(replace(of, checks=(*of.checks, more))).reasons == decide(of).reasons
