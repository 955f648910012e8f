"""The rule itself, and the words of single comparisons."""

from __future__ import annotations

from itertools import permutations, product
from typing import Any

import numpy as np
import pytest

from switchpoint.analysis.judgement import rule
from switchpoint.analysis.judgement.rule import BRANCHES, KINDS, RULE, Branch, Facts
from switchpoint.analysis.results.numbers import Finding
from switchpoint.experiment.definition.types import Design
from tests.analysis.judgement.table import PROMOTE, TABLE, VARIANTS, Line, holds, known, name


def facts(one: Line) -> Facts:
    variants = known(one)
    masks = {
        "better": [v.finding is Finding.BETTER for v in variants],
        "worse": [v.finding is Finding.WORSE for v in variants],
        "cheap": [v.cheap for v in variants],
        "safe": [v.guard is Finding.SAFE for v in variants],
        "harmed": [v.guard is Finding.HARMED for v in variants],
        "complete": [v.complete for v in variants],
        "futile": [v.futile for v in variants],
    }
    look = {what: np.array(holds(one, what)) for what in ("invalid", "weak", "few", "held", "overdue")}
    return Facts(**{key: np.array(mask) for key, mask in masks.items()}, gain=np.array([v.gain for v in variants]), **look)  # fmt: skip


@pytest.mark.parametrize("one", TABLE, ids=name)
def test_the_rule_gives_the_verdict_of_the_table(one: Line) -> None:
    found = rule.apply(facts(one))
    assert (KINDS[int(found.kind)], int(found.variant) + 1) == (one.kind, one.best)


def test_the_rule_reads_many_looks_of_many_runs_at_once_as_one_by_one() -> None:
    """Arrays (runs, looks, variants): every line of three variants in one call."""
    lines = [one for one in TABLE if len(one.variants) == 3]
    lines = lines[: len(lines) // 4 * 4]
    single = [facts(one) for one in lines]
    joined = Facts(
        **{
            key: np.stack([getattr(f, key) for f in single]).reshape(4, len(lines) // 4, *getattr(single[0], key).shape)
            for key in Facts.__dataclass_fields__
        }
    )  # fmt: skip
    found = rule.apply(joined)
    kinds = [KINDS[kind] for kind in found.kind.reshape(-1).tolist()]
    assert kinds == [one.kind for one in lines]
    assert (found.variant.reshape(-1) + 1).tolist() == [one.best for one in lines]


@pytest.mark.parametrize("one", [one for one in TABLE if len(set(one.variants)) > 1], ids=name)
def test_the_order_of_the_variants_changes_nothing_but_the_number_of_the_best(one: Line) -> None:
    for order in permutations(range(len(one.variants))):
        moved = one._replace(variants=tuple(one.variants[place] for place in order))
        found = rule.apply(facts(moved))
        assert KINDS[int(found.kind)] is one.kind
        if one.kind is PROMOTE:
            best = VARIANTS[moved.variants[int(found.variant)]]
            assert best.gain == VARIANTS[one.variants[one.best - 1]].gain


def test_every_row_of_the_rule_is_reached_by_the_table() -> None:
    spoke = {BRANCHES[int(rule.apply(facts(one)).branch)] for one in TABLE}
    assert spoke == set(Branch) == set(BRANCHES)
    assert [row.branch for row in RULE] == list(BRANCHES[:-1])


def test_the_leader_is_the_first_of_the_largest_gains_among_those_asked_for() -> None:
    gain = np.array([3.0, 9.0, 3.0])
    assert int(rule.leader(np.array([True, False, True]), gain)) == 0
    assert int(rule.leader(np.array([True, True, True]), gain)) == 1
    assert int(rule.leader(np.array([False, False, True]), -gain)) == 2
    assert int(rule.leader(np.zeros(3, dtype=bool), gain)) == -1
    assert int(rule.leader(np.zeros(0, dtype=bool), np.zeros(0))) == -1
    # each look has its own leader, or none
    assert rule.leader(np.array([[True, False], [False, False]]), np.ones((2, 2))).tolist() == [0, -1]
    # without variants nobody leads, at any look of any run
    assert rule.leader(np.zeros((2, 3, 0), dtype=bool), np.zeros((2, 3, 0))).tolist() == [[-1] * 3] * 2


# what one comparison shows


@pytest.mark.parametrize("design", list(Design))
def test_a_difference_counts_with_its_events_and_in_the_fixed_design_with_its_units(design: Design) -> None:
    for significant, enough_events, complete in product((True, False), repeat=3):
        expected = significant and enough_events and (complete or design is not Design.FIXED)
        given = {"enough_events": enough_events, "complete": complete}
        assert rule.shown(significant, design=design, **given) is expected
        arrays = {key: np.array([value]) for key, value in given.items()}
        assert rule.shown(np.array([significant]), design=design, **arrays).tolist() == [expected]


@pytest.mark.parametrize(
    ("better", "estimated", "enough_events", "complete", "design", "word"),
    [
        (True, True, True, True, Design.FIXED, "better"),
        (False, True, True, True, Design.FIXED, "worse"),
        (None, True, True, True, Design.FIXED, "no difference shown"),
        (True, True, True, False, Design.FIXED, "too few units"),
        (False, True, True, False, Design.FIXED, "too few units"),
        (None, True, True, False, Design.FIXED, "too few units"),
        (True, True, False, True, Design.FIXED, "too few events"),
        (None, True, False, False, Design.FIXED, "too few events"),
        *(
            (better, True, True, complete, design, word)
            for better, word in ((True, "better"), (False, "worse"), (None, "no difference shown"))
            for complete in (True, False)
            for design in (Design.SEQUENTIAL, Design.GROUP_SEQUENTIAL, Design.BAYESIAN)
        ),
        *((better, True, False, True, design, "too few events") for better in (True, False, None) for design in Design),
        *((None, False, events, complete, design, "no estimate") for events in (True, False) for complete in (True, False) for design in Design),
    ],
)  # fmt: skip
def test_the_word_of_a_comparison(
    better: bool | None, estimated: bool, enough_events: bool, complete: bool, design: Design, word: str
) -> None:
    known: dict[str, Any] = {
        "better": better,
        "estimated": estimated,
        "enough_events": enough_events,
        "complete": complete,
    }
    assert rule.finding(design=design, young=False, **known) == word
    # a variant that came later first has to run the minimum runtime itself
    assert rule.finding(design=design, young=True, **known) == ("too few days" if estimated else word)


@pytest.mark.parametrize(
    ("safe", "harmed", "enough_events", "word"),
    [
        (True, False, True, "safe"),
        (False, False, True, "not shown to be safe"),
        (False, True, True, "harmed"),
        (True, False, False, "too few events"),
        (False, True, False, "too few events"),
        (False, False, False, "too few events"),
    ],
)
def test_the_word_of_a_guardrail(safe: bool, harmed: bool, enough_events: bool, word: str) -> None:
    assert rule.guard_finding(safe=safe, harmed=harmed, enough_events=enough_events) == word
