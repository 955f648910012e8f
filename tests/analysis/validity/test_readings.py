"""What the checks read of metrics and comparisons: events, mixes, and what a hidden cause would take."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from switchpoint.analysis.evidence.moments import Exact
from switchpoint.analysis.results.judgement import Comparison, MetricReading, Missing, Value
from switchpoint.analysis.results.numbers import Estimate, Finding, Interval, MixRow, Pooled
from switchpoint.analysis.results.thresholds import DEFAULT
from switchpoint.analysis.validity import confounding, gates
from switchpoint.experiment.definition.types import Grade
from tests.analysis.cases import BUYERS
from tests.analysis.evidence.test_event_gate import VISITS
from tests.analysis.validity.expected import fine, gate, warned

ESTIMATE = Estimate(
    n_control=1000, n_variant=1000, control_value=0.1, variant_value=0.18, effect=0.08, standard_error=0.01,
    interval=Interval(lower=0.06, upper=0.1), p=0.001, sequence=None, anytime_p=None, sequence_missing=None, lift=0.8,
    lift_interval=Interval(lower=0.5, upper=1.1), lift_sequence=None, lift_missing=None, method="score",
)  # fmt: skip
COMPARISON = Comparison(
    variant="b", control="a", headline="interval", estimate=ESTIMATE, missing=None, significant=True, better=True,
    finding=Finding.BETTER, adjusted_p=0.001, events=25.9, events_needed=20.0, counted="events", enough_events=True,
    complete=True, pooled=None, guard=None, sufficiency=None, segments=(), daily=(),
)  # fmt: skip
FEW: dict[str, Any] = {"events": 12.7, "enough_events": False}
APART: dict[str, Any] = {"events": 1200.0, "enough_events": False}
"""Enough of them, but it does not hold with one variance for both."""
NOTHING: dict[str, Any] = {
    "estimate": None,
    "missing": Missing(code="too_few_units", message="Too few units."),
}
CURE = (
    " Collecting: more units help, most of all a larger share of them for the smaller variant; a `cap` settles "
    "amounts."
)


def reading(*comparisons: dict[str, Any], key: str = "buyers", role: str = "primary") -> MetricReading:
    return MetricReading(
        key=key, type="proportion", role=role, direction="increase", decimals=0, values=(),
        comparisons=tuple(replace(COMPARISON, **changed) for changed in comparisons),
    )  # fmt: skip


def numbers(events: float | None, needed: float, counted: str, held: str | None) -> dict[str, Any]:
    return {"events": events, "needed": needed, "counted": counted, "held": held}


def test_enough_events_of_the_variant_that_is_nearest_to_too_few() -> None:
    found = gates.events(
        [reading({}, {"variant": "c", "events": 1100.5, "events_needed": 1000.0, "counted": "units"})]
    )
    assert found == fine(
        "events", "1,100 units in the smallest variant, 1,000 needed.", numbers(1100.5, 1000.0, "units", None)
    )


def test_too_few_everywhere_hold_the_verdict() -> None:
    found = gates.events([reading(FEW), reading({}, key="spend", role="secondary")])
    assert found == gate(
        "events",
        "Only 12 events in the smaller variant (buyers, primary: b against a), 20 needed: an interval from so few "
        "would mislead." + CURE,
        numbers(12.7, 20.0, "events", "buyers (b)"),
    )  # fmt: skip


def test_too_few_in_one_comparison_are_named_beside_the_others() -> None:
    found = gates.events([
        reading({"variant": "c"}, APART),
        reading(FEW | {"counted": "units", "events_needed": 1000.0}, key="errors", role="guardrail"),
        reading(FEW | {"significant": True}, FEW | {"variant": "c", "significant": False}, key="spend", role="secondary"),
        reading(FEW | NOTHING, {"events": None, "enough_events": False}, key="clicks", role="guardrail"),
    ])  # fmt: skip
    assert found == warned(
        "events",
        "The smaller variant may just have met fewer large values (buyers, primary: b against a): what its interval "
        "shows rests on each variant's own variance and does not hold with one shared by both. Only 12 units in the "
        "smaller variant (errors, guardrail: b against a), 1,000 needed: an interval from so few would mislead. Only "
        "12 events in the smaller variant (spend, secondary: b against a), 20 needed: an interval from so few would "
        "mislead." + CURE,
        numbers(25.9, 20.0, "events", "buyers (b), errors (b), spend (b)"),
    )  # fmt: skip


def test_exactly_as_many_as_needed_are_not_too_few() -> None:
    found = gates.events([reading({"events": 20.0, "enough_events": False})])
    assert found.message.startswith("The smaller variant may just have met fewer large values")


def test_no_comparison_at_all_holds_the_verdict_with_the_reason() -> None:
    found = gates.events([reading({"events": None}, NOTHING | {"events_needed": 30.0})])
    assert found == gate(
        "events", "No comparison can be estimated yet. Too few units.",
        {"events": 0.0, "needed": 30.0, "counted": "events"},
    )  # fmt: skip


def test_a_variant_alone_is_compared_with_nobody() -> None:
    assert gates.events([reading()]) == gate(
        "events", "No comparison can be estimated yet.", {"events": 0.0, "needed": 0.0, "counted": "events"}
    )


def test_no_event_at_all_is_nearer_to_too_few_than_half_of_one() -> None:
    none, half = ({"events": events, "enough_events": False} for events in (0.0, 0.5))
    assert gates.events([reading(half, none)]).numbers["events"] == 0.0


# --- mix ------------------------------------------------------------------------------------------------

POOLED = Pooled(
    effect=-0.02, interval=Interval(lower=-0.03, upper=-0.01), p=0.04, between=-0.1, simpson=True,
    mix=(
        MixRow(stratum="US", share_control=0.6, share_variant=0.273, weight=0.5, control_value=0.1, variant_value=0.1,
               effect=0.0, contribution=-0.03),
        MixRow(stratum="CA", share_control=0.4, share_variant=0.727, weight=0.5, control_value=0.3, variant_value=0.3,
               effect=0.0, contribution=-0.07),
        MixRow(stratum="MX", share_control=0.0, share_variant=0.0, weight=0.0, control_value=None, variant_value=None,
               effect=None, contribution=None),
    ),
)  # fmt: skip
AGREE = fine("mix", "Pooled and stratified readings agree.", {})
MOVED = {"pooled": -0.02, "stratified": 0.08, "between": -0.1}
TEXT = "buyers, b: pooled over segments and epochs the effect would be -0.02, within them it is +0.08"


def mixed(**changed: Any) -> list[MetricReading]:
    return [reading({}, {"pooled": replace(POOLED, **changed)})]


def test_unequal_mixes_are_named_with_the_stratum_that_moves_most() -> None:
    assert gates.mix(mixed(), DEFAULT) == warned(
        "mix",
        f"{TEXT} (Simpson's paradox); the latter counts. -0.1 comes from unequal mixes, most of it from CA (40% of a, "
        "73% of b).",
        MOVED,
    )


@pytest.mark.parametrize("rows", [(), POOLED.mix[2:]], ids=["not taken apart", "without a contribution"])
def test_a_mix_without_a_driver_is_named_all_the_same(rows: tuple[MixRow, ...]) -> None:
    assert gates.mix(mixed(mix=rows, simpson=False), DEFAULT) == warned(
        "mix", f"{TEXT}; the latter counts.", MOVED
    )


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"between": 0.0201, "simpson": False}, True),
        ({"between": -0.02, "simpson": False}, False),
        ({"between": 0.0, "p": 0.0499}, True),
        ({"between": 0.0, "p": 0.05}, False),
        ({"between": 0.0, "p": 0.04, "simpson": False}, False),
        ({"between": None}, False),
    ],
)
def test_two_standard_errors_or_a_changed_sign_are_worth_a_word(
    changed: dict[str, Any], *, told: bool
) -> None:
    assert (gates.mix(mixed(**changed), DEFAULT) != AGREE) is told


def test_a_comparison_without_an_estimate_says_nothing_of_mixes() -> None:
    assert gates.mix([reading({"pooled": POOLED} | NOTHING)], DEFAULT) == AGREE
    second = [reading({}), reading(NOTHING, {"pooled": POOLED}, key="spend", role="secondary")]
    assert gates.mix(second, DEFAULT).message.startswith("spend, b: pooled over")
    alike = replace(POOLED, between=0.0, simpson=False)
    assert gates.mix([reading({"pooled": alike}, {"pooled": POOLED})], DEFAULT) != AGREE


def test_the_evidence_grade_says_why() -> None:
    described = "the difference describes, it does not explain."
    assert gates.grade("randomised", aliased=True, clustered=True) == (
        Grade.DESCRIPTIVE, f"Segment and variant are aliased: {described}"
    )  # fmt: skip
    assert gates.grade("unknown", aliased=False) == (
        Grade.DESCRIPTIVE,
        (f"How units were assigned is not known: {described} If they were randomised, say so with "
        "`assignment: randomised`."),
    )  # fmt: skip
    assert gates.grade("randomised", aliased=False, clustered=True) == (
        Grade.CLUSTERED, "Clusters of units were randomised, and clusters are compared."
    )  # fmt: skip
    assert gates.grade("randomised", aliased=False) == (
        Grade.RANDOMISED, "Units were randomised within every segment."
    )  # fmt: skip


# --- what a hidden cause would take ---------------------------------------------------------------------

VALUES = (
    Value(variant="a", n=1000, numerator=100, denominator=1000, value=0.1),
    Value(variant="b", n=1000, numerator=180, denominator=1000, value=0.18),
)


def hidden(**changed: Any) -> Any:
    found = confounding.sensitivity(replace(reading(changed), values=VALUES), "Nobody was randomised.")
    return found[0] if found else None


def lift(lower: float | None, upper: float | None) -> dict[str, Any]:
    return {"estimate": replace(ESTIMATE, lift_interval=Interval(lower=lower, upper=upper))}


def test_a_hidden_cause_is_sized_by_the_estimate() -> None:
    """R + √(R(R − 1)): of 1.8 it is 3, of the interval's near side 1.5 it is 2.37."""
    found = hidden()
    assert (found.variant, found.ratio) == ("b", pytest.approx(1.8))
    assert found.e_value == pytest.approx(3.0)
    assert found.bound == pytest.approx(1.5 + np.sqrt(0.75))
    assert found.sentence == (
        "buyers, b: Nobody was randomised. A hidden cause tied to both variant and outcome by a risk ratio of 3.00 "
        "each (2.37 to move its interval to no effect) would explain all of the difference; a weaker one could not."
    )


@pytest.mark.parametrize(
    ("interval", "bound"),
    [
        ((0.5, 1.1), 1.5 + np.sqrt(0.75)), ((-0.9, -0.5), 2 + np.sqrt(2)), ((-0.1, 0.2), 1.0), ((0.0, 0.2), 1.0),
        ((-0.2, 0.0), 1.0), ((None, 0.5), None), ((0.5, None), None), ((-1.5, -1.0), None), ((-1.5, -1.2), None),
    ],
)  # fmt: skip
def test_the_interval_is_bounded_by_its_side_nearest_to_no_effect(
    interval: tuple[float | None, float | None], bound: float | None
) -> None:
    assert hidden(**lift(*interval)).bound == (None if bound is None else pytest.approx(bound))


def test_without_an_estimate_the_values_are_compared() -> None:
    found = hidden(**NOTHING)
    assert found.ratio == pytest.approx(1.8)
    assert found.bound is None
    assert "by a risk ratio of 3.00 each would explain" in found.sentence
    assert hidden(**NOTHING, variant="c") is None
    assert hidden(**NOTHING, control="z") is None
    assert hidden(estimate=replace(ESTIMATE, lift_interval=None)).bound is None


@pytest.mark.parametrize(
    "sides", [(None, 0.1), (0.1, None), (0.0, 0.1), (0.1, 0.0), (-0.1, 0.1), (0.1, -0.1)]
)
def test_only_positive_values_have_a_ratio(sides: tuple[float | None, float | None]) -> None:
    assert hidden(estimate=replace(ESTIMATE, control_value=sides[0], variant_value=sides[1])) is None


def totals(n: list[list[int]], x: list[list[int]]) -> Exact:
    zero = np.zeros_like(np.array(n))
    return Exact(metric=BUYERS, n=np.array(n), x=np.array(x), xx=np.array(x), y=zero, yy=zero, xy=zero)


def test_every_stratum_is_taken_apart_by_hand() -> None:
    """Control 60:40, the variant 30:70 (beside a third that is not looked at); weights of all three together."""
    made = totals([[60, 5, 30], [40, 5, 70], [0, 9, 0]], [[6, 1, 6], [12, 1, 28], [0, 9, 0]])
    us, ca = confounding.mix(made, np.array([True, True, False]), 2, ["US", "CA", "MX"])
    weight, overall = 95 / 210, (18 + 34) / 200
    assert (us.stratum, us.share_control, us.share_variant, us.weight) == (
        "US",
        0.6,
        0.3,
        pytest.approx(weight),
    )
    assert (us.control_value, us.variant_value, us.effect) == pytest.approx((0.1, 0.2, 0.1))
    assert us.contribution == pytest.approx(
        (0.3 - weight) * (0.2 - overall) - (0.6 - weight) * (0.1 - overall)
    )
    assert ca.weight == pytest.approx(115 / 210)
    assert ca.contribution == pytest.approx(
        (0.7 - 115 / 210) * (0.4 - overall) - (0.4 - 115 / 210) * (0.3 - overall)
    )


def test_a_stratum_without_one_of_the_two_has_no_effect_but_a_place() -> None:
    made = totals([[50, 50], [50, 0]], [[5, 10], [20, 0]])
    one, other = confounding.mix(made, np.array([True, False]), 1, ["US", "CA"])
    assert (one.weight, other.weight) == (1.0, 0.0)
    assert (other.control_value, other.variant_value, other.effect) == (0.4, None, None)
    assert other.contribution == pytest.approx(-0.5 * (0.4 - 35 / 150))
    alone = confounding.mix(
        totals([[1, 0], [0, 1]], [[1, 0], [0, 0]]), np.zeros(2, dtype=bool), 1, ["US", "CA"]
    )
    assert [(row.share_control, row.share_variant, row.contribution) for row in alone] == [
        (1.0, 0.0, -0.5), (0.0, 1.0, -0.5)
    ]  # fmt: skip
    none = confounding.mix(made, np.array([False, False]), 1, ["US", "CA"])
    assert [row.weight for row in none] == [0.0, 0.0]
    assert (
        confounding.mix(totals([[50, 0], [50, 0]], [[5, 0], [5, 0]]), np.ones(2, dtype=bool), 1, ["u", "v"])
        == ()
    )


def test_a_stratum_of_events_without_a_denominator_has_no_place() -> None:
    n, x, y = np.full((2, 2), 5), np.array([[3, 3], [4, 4]]), np.array([[0, 0], [9, 9]])
    made = Exact(metric=VISITS, n=n, x=x, xx=x, y=y, yy=y, xy=x)
    assert [row.stratum for row in confounding.mix(made, np.ones(2, dtype=bool), 1, ["US", "CA"])] == ["CA"]


def test_strata_are_used_where_both_can_be_estimated() -> None:
    made = totals([[50, 50, 0], [50, 0, 9], [0, 50, 9]], [[5, 10, 0], [20, 0, 1], [0, 3, 1]])
    assert confounding.used_strata(made).tolist() == [[True, False], [False, True], [False, False]]
