"""A report's verdict from records, by the table: every design, both directions."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from switchpoint.analysis.judgement.verdict import decide, facts, rivals
from switchpoint.analysis.results.judgement import CheckName
from switchpoint.analysis.results.numbers import Finding
from switchpoint.experiment.definition.types import Belief, Design
from switchpoint.experiment.registry.decision import VerdictKind
from tests.analysis.judgement.table import (  # fmt: skip
    CONTINUE,
    DESIGNS,
    FROZEN,
    KEEP,
    NAMES,
    PROMOTE,
    ROLLBACK,
    STOP,
    TABLE,
    VARIANTS,
    Known,
    Line,
    case,
    known,
    line,
    name,
    sufficiency,
)


def judgeable(one: Line, design: Design) -> bool:
    """Whether a design can come to such a line: only a Bayesian rule asks what a promotion loses."""
    return design is Design.BAYESIAN or all(VARIANTS[variant].cheap for variant in one.variants)


@pytest.mark.parametrize("one", TABLE, ids=name)
def test_a_report_reaches_the_verdict_of_the_table(one: Line) -> None:
    for design, direction in product(Design, ("increase", "decrease")):
        if judgeable(one, design):
            reaches(one, design, direction)


def reaches(one: Line, design: Design, direction: str) -> None:
    found = decide(case(one, DESIGNS[design], direction))
    assert found.kind is one.kind
    expected = {
        PROMOTE: NAMES[one.best - 1],
        KEEP: "control",
        ROLLBACK: next(
            (n for n, v in zip(NAMES, known(one), strict=False) if v.guard is Finding.HARMED), None
        ),
    }
    assert found.variant == expected.get(one.kind)
    assert found.headline.startswith({ROLLBACK: "Roll back"}.get(one.kind, one.kind.value.capitalize()))
    assert found.reasons
    assert found.what_would_change


@pytest.mark.parametrize(
    "other",
    [
        CheckName.MATURED,
        CheckName.CLUSTERS,
        CheckName.SAMPLE_RATIO,
        CheckName.UNIT_OF_ANALYSIS,
        CheckName.IDS,
    ],
)
@pytest.mark.parametrize(
    ("variants", "held", "kind"),
    [
        ("win", "held", CONTINUE),
        ("loss", "held, overdue", CONTINUE),
        ("few events", "held, few, overdue", CONTINUE),
        ("open harmful", "held", ROLLBACK),
    ],
)
def test_every_gate_holds_what_it_has_to(other: str, variants: str, held: str, kind: VerdictKind) -> None:
    found = decide(case(line(variants, held, kind), FROZEN, "increase", other=other))
    assert found.kind is kind
    if kind is CONTINUE:
        assert f"{other} says so." in found.reasons


def test_without_guardrails_a_winner_is_safe_and_nobody_is_harmed() -> None:
    given = case(line("harmful win", "", PROMOTE, 1), FROZEN, "increase")
    assert decide(replace(given, metrics=given.metrics[:1])).kind is PROMOTE


@pytest.mark.parametrize("design", list(Design))
def test_only_a_bayesian_rule_with_a_loss_asks_what_a_promotion_gives_up(design: Design) -> None:
    """The same dear winner: held by the allowed loss of a Bayesian rule, by nothing else."""
    given = case(line("dear win", "", PROMOTE, 1), DESIGNS[design], "increase")
    assert decide(given).kind is (CONTINUE if design is Design.BAYESIAN else PROMOTE)
    free = replace(given, rule=replace(given.rule, belief=Belief(sd=0.1)))
    assert decide(free).kind is PROMOTE
    primary = given.primary
    unknown = replace(primary, comparisons=tuple(replace(c, posterior=None) for c in primary.comparisons))
    blind = replace(given, metrics=(unknown, *given.metrics[1:]))
    assert decide(blind).kind is (CONTINUE if design is Design.BAYESIAN else PROMOTE)


@pytest.mark.parametrize(("loss", "kind"), [(0.00999, PROMOTE), (0.01, CONTINUE), (0.0101, CONTINUE)])
def test_a_loss_as_large_as_allowed_is_not_below_it(loss: float, kind: VerdictKind) -> None:
    given = case(line("win", "", PROMOTE, 1), DESIGNS[Design.BAYESIAN], "increase")
    (only,) = given.others
    assert only.posterior is not None
    lost = replace(only, posterior=replace(only.posterior, loss_variant=loss))
    primary = replace(given.primary, comparisons=(lost,))
    assert decide(replace(given, metrics=(primary, *given.metrics[1:]))).kind is kind


@pytest.mark.parametrize("days", [41, 42, 43])
def test_the_deadline_is_reached_on_its_day(days: int) -> None:
    found = decide(replace(case(line("open", "", CONTINUE), FROZEN, "increase"), days=days))
    assert found.kind is (CONTINUE if days < 42 else KEEP)


def test_futility_that_is_not_known_stops_nothing() -> None:
    given = case(line("open futile", "", STOP), FROZEN, "increase")
    for unknown in (None, replace(sufficiency(Known()), within_deadline=None)):
        comparisons = tuple(replace(c, sufficiency=unknown) for c in given.others)
        primary = replace(given.primary, comparisons=comparisons)
        assert decide(replace(given, metrics=(primary, *given.metrics[1:]))).kind is CONTINUE


@pytest.mark.parametrize("direction", ["increase", "decrease"])
def test_an_effect_that_cannot_be_estimated_gains_nothing(direction: str) -> None:
    read = facts(case(line("no estimate, win, loss", "", CONTINUE), FROZEN, direction))
    assert read.gain.tolist() == [0, 2, -3]


def test_the_headline_names_the_best_so_far_and_not_the_first() -> None:
    held = decide(case(line("win, big win, win", "held", CONTINUE), FROZEN, "increase"))
    assert "third is ahead so far" in held.headline
    unsafe = decide(case(line("open, unsafe win, open", "", CONTINUE), FROZEN, "decrease"))
    assert unsafe.headline == "Continue: third is better, its guardrails are not shown to be safe yet."
    assert "ahead" not in decide(case(line("open ahead", "held", CONTINUE), FROZEN, "increase")).headline


def test_the_rivals_are_the_best_winner_with_every_other_one() -> None:
    assert rivals(case(line("win, big win, win", "", PROMOTE, 2), FROZEN, "increase")) == (
        ("treatment", "third"),
        ("fourth", "third"),
    )
    assert rivals(case(line("win, unsafe win, loss", "", PROMOTE, 1), FROZEN, "increase")) == ()
    assert rivals(case(line("open, open, open", "", CONTINUE), FROZEN, "increase")) == ()
