"""Who can be compared at all: the sentence, the sizes and the ways out where nobody can."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from switchpoint.analysis.evidence.evidence import Stratum, Subject
from switchpoint.analysis.inference.sample import Sample, from_moments, proportion
from switchpoint.analysis.planning.power import (
    Spread,
    absolute_effect,
    design_factor,
    equal_spread,
    proportion_spread,
    units_needed,
)
from switchpoint.analysis.results.judgement import Overlap, OverlapRow, Value
from switchpoint.analysis.validity import overlap
from switchpoint.experiment.definition.types import Belief, DecisionRule, Design, MetricType, Size
from tests.analysis.cases import RULE
from tests.analysis.validity.expected import fine, void, warned


def subject(*weights: tuple[float, ...] | None) -> Subject:
    strata = tuple(Stratum(epoch=1, segment=name, weights=w) for name, w in zip("uvw", weights, strict=False))
    return Subject(
        key="x", variants=("a", "b", "c"), strata=strata, segmented_by="country", assignment="randomised"
    )


@pytest.mark.parametrize(
    ("weights", "aliased"),
    [
        (((1.0, 0.0, 0.0), (0.0, 0.5, 0.5)), ("b", "c")),
        (((0.5, 0.0, 0.5), (0.0, 1.0, 0.0)), ("b",)),
        (((0.5, 0.0, 0.5), None), ()),
        ((), ()),
    ],
    ids=["all apart", "one apart", "a stratum of unknown weights", "no stratum"],
)
def test_what_is_configured_apart_is_aliased_before_a_unit_comes(
    weights: tuple[tuple[float, ...] | None, ...], aliased: tuple[str, ...]
) -> None:
    who = subject(*weights)
    assert overlap.aliased_variants(who, np.zeros((len(weights) + 1, 3), dtype=np.int64)) == aliased


def test_units_of_one_only_elsewhere_do_not_alias() -> None:
    """Control has units and b none yet; c meets control in the second stratum."""
    n = np.array([[5, 0, 0], [5, 0, 1], [0, 0, 9]])
    assert overlap.aliased_variants(subject(None, None, None), n) == ()
    assert (
        overlap.aliased_variants(subject(None, None, None), np.array([[0, 4, 0], [0, 0, 0], [0, 0, 0]])) == ()
    )


def test_one_unit_of_each_is_enough_to_meet() -> None:
    alone = subject(None, None)
    assert overlap.aliased_variants(alone, np.array([[1, 1, 0], [0, 0, 0]])) == ()
    assert overlap.aliased_variants(alone, np.array([[1, 0, 0], [0, 1, 0]])) == ("b",)


def test_rows_hold_the_units_of_the_variants_there_are() -> None:
    found = overlap.rows(subject((0.5, 0.25, 0.25), None), np.array([[7, 8, 9, 0], [1, 2, 3, 0]]))
    assert found == (
        OverlapRow(segment="u", n=(7, 8, 9), weights=(0.5, 0.25, 0.25)),
        OverlapRow(segment="v", n=(1, 2, 3), weights=None),
    )


def test_the_sentence_says_who_holds_what() -> None:
    who = subject(None, (0.0, 1.0, 0.0), (0.0, 0.5, 0.5))
    n = np.array([[9, 0, 0], [0, 0, 0], [0, 3, 3]])
    assert overlap.sentence(who, n, ("b", "c")) == (
        "Not identified: difference = model + country. No segment holds both a and b or c (u holds only a; "
        "v holds only b), so what the models do and what the segments are like cannot be told apart, however "
        "many units arrive."
    )
    assert "(u holds only a)" in overlap.sentence(who, n, ("c",))
    one = np.array([[0, 0, 0], [0, 0, 1], [0, 3, 3]])
    assert "()" in overlap.sentence(
        who, one, ("b",)
    )  # a single unit counts for more than what was configured


def value(variant: str, rate: float | None) -> Value:
    return Value(variant=variant, n=10, numerator=1, denominator=10, value=rate)


@pytest.mark.parametrize("pair", [(None, 0.1), (0.1, None), (0.0, 0.1), (0.1, 0.0), (-0.1, 0.1), (0.1, -0.1)])
def test_an_e_value_needs_two_positive_values(pair: tuple[float | None, float | None]) -> None:
    assert overlap.e_value(value("a", pair[0]), value("b", pair[1])) is None


# --- units inside the segments --------------------------------------------------------------------------


ASKED = replace(RULE, alpha=0.1, power=0.9, design=Design.BAYESIAN, belief=Belief(sd=0.05))


def needed(spread: Spread, baseline: float, rule: DecisionRule) -> int:
    """As anybody would size a test of this baseline."""
    effect = float(absolute_effect(rule.mde, baseline))
    plain = units_needed(spread, effect, alpha=rule.alpha, target=rule.power).total
    return int(np.ceil(float(plain * design_factor(rule, lift=effect / baseline))))


@pytest.mark.parametrize("rule", [RULE, ASKED], ids=["fixed", "bayesian"])
def test_amounts_inside_the_segments_are_sized_by_their_variance_there(rule: DecisionRule) -> None:
    """Strata of means 10 and 30 with variances 4 and 16, three to one: 15 and 7 on average."""
    samples = from_moments([[300, 0], [0, 100]], [[10.0, 0.0], [0.0, 30.0]], [[4.0, 0.0], [0.0, 16.0]])
    assert overlap.units_inside(MetricType.MEAN, samples, rule) == needed(equal_spread(7.0), 15.0, rule)


@pytest.mark.parametrize("rule", [RULE, ASKED], ids=["fixed", "bayesian"])
def test_shares_inside_the_segments_are_sized_by_the_two_they_may_be(rule: DecisionRule) -> None:
    """Three quarters at 10 %, a quarter at 30 %; the cells with too few units count for nothing."""
    samples = proportion([[300, 1], [0, 100]], [[30, 1], [0, 30]])
    effect = float(absolute_effect(rule.mde, 0.15))
    spread = proportion_spread(0.15, 0.15 + effect)
    assert overlap.units_inside(MetricType.PROPORTION, samples, rule) == needed(spread, 0.15, rule)


def test_a_single_unit_in_a_cell_says_nothing_of_it() -> None:
    alone = proportion([[1000, 1], [0, 1000]], [[100, 1], [0, 300]])
    without = proportion([[1000, 0], [0, 1000]], [[100, 0], [0, 300]])
    found = overlap.units_inside(MetricType.PROPORTION, alone, RULE)
    assert found == overlap.units_inside(MetricType.PROPORTION, without, RULE)
    pair = proportion([[1000, 2], [0, 1000]], [[100, 2], [0, 300]])
    assert overlap.units_inside(MetricType.PROPORTION, pair, RULE) != found


@pytest.mark.parametrize(
    ("kind", "samples", "mde"),
    [
        (MetricType.PROPORTION, proportion([[1, 1]], [[1, 0]]), RULE.mde),
        (MetricType.MEAN, from_moments([[100, 100]], [[-3.0, -3.0]], [[1.0, 1.0]]), RULE.mde),
        (MetricType.MEAN, from_moments([[100, 100]], [[0.0, 0.0]], [[1.0, 1.0]]), RULE.mde),
        (MetricType.PROPORTION, proportion([[100, 100]], [[95, 95]]), RULE.mde),
        (MetricType.PROPORTION, proportion([[100, 100]], [[50, 50]]), Size(value=0.5, relative=False)),
    ],
    ids=["one unit each", "a negative mean", "a mean of 0", "beyond certainty", "certainty"],
)
def test_nothing_is_asked_for_where_no_effect_can_be_named(
    kind: MetricType, samples: Sample, mde: Size
) -> None:
    assert overlap.units_inside(kind, samples, replace(RULE, mde=mde)) is None


# --- the ways out ---------------------------------------------------------------------------------------


def ways(*, needed: int | None, per_day: float | None, figure: float | None) -> list[tuple[object, ...]]:
    found = overlap.ladder(subject(), needed, 1200, per_day, figure)
    return [(rung.name, rung.n, rung.days, rung.text) for rung in found]


def test_every_way_out_has_its_units_and_days() -> None:
    assert ways(needed=5001, per_day=100.0, figure=1.813) == [
        ("randomise a slice inside each segment", 5001, 51,
         ("give every country both variants by a random split; 5,001 units in all, about 51 days at the present "
         "traffic.")),
        ("switchback", 5100, 51,
         ("let every country alternate between the variants in random time windows, at least 51 of a day each; "
         "windows, not units, are then compared.")),
        ("difference-in-differences", 2800, 28,
         ("compare the change of each country from before to after the switch, 2 whole weeks on either side, with "
         "placebo checks on earlier dates; evidence grade quasi, it never promotes by itself.")),
        ("bounds with a sensitivity figure", 1200, 0,
         ("report the raw difference with its E-value of 1.81: a hidden cause tied that strongly (as a risk ratio) "
         "to both segment and outcome would explain all of it.")),
    ]  # fmt: skip


@pytest.mark.parametrize(("needed", "per_day"), [(None, None), (None, 33.4), (900, None), (900, 33.4)])
def test_what_is_not_known_is_not_said(needed: int | None, per_day: float | None) -> None:
    slice_, switchback, difference, bounds = ways(needed=needed, per_day=per_day, figure=None)
    days = 27 if needed and per_day else None
    text = "give every country both variants by a random split;"
    text += " 900 units in all" if needed else " size it with `power`"
    text += ", about 27 days at the present traffic." if days else "."
    assert slice_[1:] == (needed, days, text)
    assert switchback[1:3] == (1336 if per_day else None, 40)
    assert difference[1:3] == (936 if per_day else None, 28)
    assert bounds[3] == "report the raw difference with the smallest confounding that would explain it away."


def test_some_apart_warn_and_all_apart_void() -> None:
    def found(*aliased: str, figure: float | None = None, sentence: str | None = "Who.") -> Overlap:
        return Overlap(
            variants=("a", "b", "c"), rows=(), aliased=aliased, sentence=sentence, e_value=figure, ladder=()
        )

    assert overlap.check(found()) == fine(
        "overlap", "Control and every variant meet in at least one segment.", {"aliased": 0, "e_value": None}
    )
    assert overlap.check(found("b", figure=1.5)) == warned("overlap", "Who.", {"aliased": 1, "e_value": 1.5})
    assert overlap.check(found("b", "c")) == void("overlap", "Who.", {"aliased": 2, "e_value": None})
