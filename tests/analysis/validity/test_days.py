"""The rules that read exposure days one by one, on both sides of every limit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from switchpoint.analysis.evidence.facts import Unseen
from switchpoint.analysis.results import format as fmt
from switchpoint.analysis.results.judgement import Check, Severity
from switchpoint.analysis.results.thresholds import DEFAULT
from switchpoint.analysis.validity.sample_ratio import SampleRatio, sample_ratio
from switchpoint.analysis.validity.series import Effects, Levels, daily_ratio, jump, novelty
from tests.analysis.validity.expected import fine, unseen, void, warned

VARIANTS = ("a", "b", "c")


def levels(value: list[float], error: float = 0.001, *, metric: str = "ctr", variant: int = 0) -> Levels:
    """One variant has these values, the others the same on every day."""
    column = np.full((len(value), 3), 0.5)
    column[:, variant] = value
    return Levels(metric=metric, value=column, error=np.full(column.shape, error))


def jumped(*found: Levels, days: int | None = None) -> Check:
    names = [f"2026-03-{day + 1:02}" for day in range(days or len(found[0].value))]
    return jump(found, names, VARIANTS, DEFAULT)


FLAT = [1.0, 1.02] * 7
"""Fourteen days that lie 0.02 apart."""


@pytest.mark.parametrize(
    ("last", "error", "severity"),
    [
        (1.28, 0.001, Severity.WARN),  # a quarter above the nearest day, which is 1.02
        (1.27, 0.001, Severity.OK),
        (0.74, 0.001, Severity.WARN),  # and below it, which is 1.0
        (0.76, 0.001, Severity.OK),
        (1.5, 0.07, Severity.OK),  # within 5 standard errors of the difference: 5 · √2 · 0.07 = 0.495
        (1.5, 0.067, Severity.WARN),
    ],
)
def test_a_day_stands_out_by_a_quarter_and_five_standard_errors(
    last: float, error: float, severity: Severity
) -> None:
    assert jumped(levels([*FLAT, last], error)).severity is severity


@pytest.mark.parametrize(
    ("spread", "severity"), [(0.49, Severity.WARN), (0.5, Severity.OK), (0.51, Severity.OK)]
)
def test_a_day_stands_out_from_days_that_differ_themselves_by_more_than_they_do(
    spread: float, severity: Severity
) -> None:
    """The gap to the nearest day, 0.5, against the range of all the others."""
    days = [1.5, 1.5 - spread] * 7
    assert jumped(levels([*days, 2.0])).severity is severity


@pytest.mark.parametrize(
    ("last", "severity"),
    [
        (2.05, Severity.WARN),
        (1.9, Severity.OK),
        (0.49, Severity.WARN),
        (0.51, Severity.OK),
        (0.0, Severity.WARN),
    ],
)
def test_before_two_weeks_a_day_has_to_be_twice_or_half_of_any_other(last: float, severity: Severity) -> None:
    """Seven to thirteen days have not shown every weekday twice."""
    assert jumped(levels([1.0, 1.02] * 6 + [last])).severity is severity


@pytest.mark.parametrize("days", [[0.99, *[1.3] * 12, 1.5, 2.0], [1.0, 1.5, *[1.7] * 12, 2.01]])
def test_the_range_of_the_others_is_that_of_all_of_them(days: list[float]) -> None:
    """0.5 from the nearest day, where the others lie 0.51 apart for the sake of one on either side."""
    assert jumped(levels(days)).severity is Severity.OK


@pytest.mark.parametrize(
    ("days", "last", "severity"),
    [
        (14, 1.25, Severity.OK), (14, 0.75, Severity.OK), (13, 1.3, Severity.WARN), (12, 1.3, Severity.OK),
        (12, 2.0, Severity.OK), (12, 0.5, Severity.OK), (6, 2.1, Severity.WARN),
    ],
)  # fmt: skip
def test_a_day_at_a_limit_does_not_stand_out(days: int, last: float, severity: Severity) -> None:
    """Seven days are looked at, and fourteen have shown every weekday twice."""
    assert jumped(levels([1.0] * days + [last])).severity is severity


def test_a_value_out_of_nothing_is_a_jump() -> None:
    assert jumped(levels([0.0] * 8 + [1.0])).severity is Severity.WARN


def test_too_few_days_are_not_checked() -> None:
    assert jumped(levels([1.0] * 7)).checked
    six = jumped(levels([1.0] * 6))
    assert not six.checked
    assert six.message == "Not checked: 6 days can be estimated, 7 are needed."
    assert not jump(Unseen("no column `day` is named"), (), VARIANTS, DEFAULT).checked


def test_a_day_that_cannot_be_estimated_is_no_day() -> None:
    assert jumped(levels([np.nan, *FLAT, 9.0])).severity is Severity.WARN
    assert jumped(levels([*FLAT, np.nan])).severity is Severity.OK


@pytest.mark.parametrize("variant", [0, 1, 2])
def test_the_worst_day_of_all_metrics_and_variants_is_named(variant: int) -> None:
    small, large = levels([*FLAT, 2.0]), levels([*FLAT, 0.01], metric="revenue", variant=variant)
    found = jumped(small, large)
    assert found.message.startswith(
        f"revenue, {VARIANTS[variant]}: 0.01 on 2026-03-15 where other days have 1.01"
    )
    assert jumped(large, small).message == found.message


@pytest.mark.parametrize(
    ("small", "large"),
    [([10.0, 10.2] * 7 + [20.0], [*FLAT, 0.3]), ([*FLAT, 0.6], [*FLAT, 4.0])],
    ids=["of a large value", "downwards"],
)
def test_the_worst_day_is_the_one_that_changes_by_the_largest_factor(
    small: list[float], large: list[float]
) -> None:
    found = jumped(levels(small), levels(large, metric="revenue"))
    assert found.message.startswith("revenue, a: ")
    assert jumped(levels(large, metric="revenue"), levels(small)).message == found.message


def test_of_days_that_jump_alike_the_first_is_named() -> None:
    assert jumped(levels([*FLAT, 4.0]), levels([*FLAT, 4.0], metric="x")).message.startswith("ctr, a: ")


def effects(
    slope: float, days: int = 14, *, variant: int = 0, start: float = 0.1, error: float = 0.01
) -> Effects:
    """A straight line in one variant beside variants without any effect."""
    found = np.zeros((days, 2))
    found[:, variant] = start + slope * np.arange(days)
    # deviations that a line cannot follow, of the size of the error
    found += error * np.where(np.arange(days) % 2, 1.0, -1.0)[:, None]
    return Effects(metric="buyers", effect=found, variance=np.full(found.shape, error**2))


def trend(found: Effects, variants: tuple[str, ...] = VARIANTS) -> Check:
    return novelty(found, range(len(found.effect)), variants, DEFAULT)


def test_the_trend_is_that_of_a_weighted_line() -> None:
    """The slope's t as scipy has it, where days spread by more than their errors; times two variants."""
    found = effects(0.003, error=0.01)
    narrow = Effects(metric="buyers", effect=found.effect, variance=found.variance / 100)
    line = stats.linregress(np.arange(14.0), found.effect[:, 0])
    assert float(trend(narrow).numbers["p"] or 0) == pytest.approx(2 * line.pvalue, rel=1e-9)


def test_days_that_agree_are_not_more_certain_than_their_errors() -> None:
    line = effects(0.002, error=0.01)
    smooth = Effects(
        metric="m", effect=0.1 + 0.002 * np.arange(14.0)[:, None] + np.zeros((14, 2)), variance=line.variance
    )
    centred = np.arange(14.0) - 6.5
    z = 0.002 * np.sqrt((centred**2).sum()) / 0.01
    assert float(trend(smooth).numbers["p"] or 0) == pytest.approx(2 * 2 * stats.t.sf(z, 12), rel=1e-9)


def test_every_variant_costs_its_share() -> None:
    one = Effects(metric="m", effect=effects(0.003).effect[:, :1], variance=effects(0.003).variance[:, :1])
    alone, both = trend(one, ("a", "b")), trend(effects(0.003))
    assert float(both.numbers["p"] or 0) == pytest.approx(2 * float(alone.numbers["p"] or 0))


@pytest.mark.parametrize("variant", [0, 1])
@pytest.mark.parametrize(
    ("slope", "start", "words"),
    [
        (0.02, 0.1, "grows (users learn it: primacy)"),
        (-0.02, 0.3, "wears off (novelty)"),
        (-0.02, -0.1, "grows (users learn it: primacy)"),
        (-0.02, 0.13, "turns round"),
    ],
)
def test_a_trend_is_named(variant: int, slope: float, start: float, words: str) -> None:
    found = trend(effects(slope, variant=variant, start=start, error=0.002))
    assert found.severity is Severity.WARN
    assert found.message.startswith(f"buyers, {VARIANTS[variant + 1]}: the effect {words}")


def test_an_effect_that_comes_out_of_nothing_grows() -> None:
    found = Effects(metric="m", effect=np.repeat([[0.0], [0.1]], 7, axis=0), variance=np.full((14, 1), 1e-4))
    assert trend(found, ("a", "b")).message.startswith(
        "m, b: the effect grows (users learn it: primacy), from +0 "
    )


def test_the_day_in_the_middle_belongs_to_the_second_half() -> None:
    """0.1, 0.11 and 0.12 before four days from 0.13 to 0.16."""
    found = Effects(metric="m", effect=0.1 + 0.01 * np.arange(7.0)[:, None], variance=np.full((7, 1), 1e-6))
    assert (
        "from +0.11 in the first half of the days to +0.145 in the second" in trend(found, ("a", "b")).message
    )


def test_of_variants_that_trend_alike_the_first_is_named() -> None:
    found = effects(0.02, error=0.002)
    found.effect[:, 1] = found.effect[:, 0]
    assert trend(found).message.startswith("buyers, b: ")


def test_a_trend_at_the_limit_is_none() -> None:
    found = effects(0.02, error=0.002)
    p = float(trend(found).numbers["p"] or 0)
    for limit, severity in ((p, Severity.OK), (p * 1.001, Severity.WARN)):
        assert novelty(found, range(14), VARIANTS, replace(DEFAULT, trend_p=limit)).severity is severity


def test_a_variant_alone_has_no_effect_that_could_trend() -> None:
    nothing = np.zeros((9, 0))
    assert trend(Effects(metric="m", effect=nothing, variance=nothing), ("a",)) == unseen(
        "novelty", "0 days can be estimated, 7 are needed"
    )


def test_six_days_are_no_trend() -> None:
    assert trend(effects(0.02, days=7)).checked
    assert trend(effects(0.02, days=6)).message == "Not checked: 6 days can be estimated, 7 are needed."
    assert not novelty(Unseen("x"), (), VARIANTS, DEFAULT).checked


@pytest.mark.parametrize(
    ("lost", "severity"), [(0, Severity.OK), (150, Severity.WARN), (250, Severity.INVALID)]
)
def test_days_share_the_threshold_of_the_sample_ratio(lost: int, severity: Severity) -> None:
    """1,000 units in either variant on 14 days, of which some are lost on one."""
    counts = np.full((14, 2), 1000)
    counts[4, 1] -= lost
    tested = sample_ratio(counts, [0.5, 0.5])
    found = daily_ratio(tested, [f"d{day}" for day in range(14)], DEFAULT)
    assert found.severity is severity
    if lost:
        assert float(found.numbers["p"] or 0) == pytest.approx(
            14 * stats.chisquare(counts[4]).pvalue, rel=1e-9
        )
        assert "on d4 (" in found.message


def test_several_broken_days_are_named_and_the_rest_counted() -> None:
    counts = np.full((14, 2), 1000)
    counts[2:7, 1] = 600
    found = daily_ratio(sample_ratio(counts, [0.5, 0.5]), [f"d{day}" for day in range(14)], DEFAULT)
    assert "on d2, d3, d4 and other days (" in found.message


def test_days_without_weights_are_not_checked() -> None:
    none = sample_ratio(np.zeros((3, 2)), [0.5, 0.5])
    assert not daily_ratio(none, ["x", "y", "z"], DEFAULT).checked


@given(st.lists(st.floats(0.5, 2.0), min_size=7, max_size=30), st.floats(0.01, 100))
def test_the_unit_of_a_metric_does_not_matter(values: list[float], scale: float) -> None:
    plain = jumped(levels(values, 0.01), days=30)
    scaled = levels(values, 0.01)
    other = Levels(metric="ctr", value=scaled.value * scale, error=scaled.error * scale)
    assert jumped(other, days=30).severity is plain.severity


# --- in full --------------------------------------------------------------------------------------------


def test_a_jump_is_told_in_full() -> None:
    assert jumped(levels([1.0, 1.02] * 7 + [2.0])) == warned(
        "jump",
        "ctr, a: 2 on 2026-03-15 where other days have 1.01 (from 1 to 1.02). A jump on a single day is recording more "
        "often than behaviour: check what was deployed or lost that day.",
        {"days": 15},
    )
    assert jumped(levels(FLAT)) == fine("jump", "No day stands out.", {})
    assert jumped(levels([1.0])) == unseen("jump", "1 day can be estimated, 7 are needed")
    assert jump((), (), VARIANTS, DEFAULT) == unseen("jump", "0 days can be estimated, 7 are needed")
    assert jump(Unseen("no day"), (), VARIANTS, DEFAULT) == unseen("jump", "no day")


def test_the_days_that_count_are_those_of_the_variant_with_most() -> None:
    """Six days of one variant and seven of another: these are looked at."""
    found = levels([1.0] * 7)
    found.value[3, 0] = np.nan
    assert jumped(found).checked
    found.error[4] = np.nan
    assert jumped(found) == unseen("jump", "6 days can be estimated, 7 are needed")


def test_a_day_below_zero_or_from_zero_is_as_far_as_can_be() -> None:
    """Of two metrics the one whose day is out of proportion is named, not the larger factor."""
    double, below = levels([*FLAT, 9.0]), levels([*FLAT, -2.0], metric="profit")
    assert jumped(double, below).message.startswith("profit, a: -2 on")
    assert jumped(below, double).message.startswith("profit, a: -2 on")
    nothing = levels([0.0] * 8 + [1.0], metric="refunds")
    assert jumped(levels([*[1.0, 1.02] * 4, 3.0]), nothing).message.startswith("refunds, a: 1 on")


def test_a_trend_is_told_in_full() -> None:
    found = trend(effects(-0.02, start=0.3, error=0.002))
    p = float(found.numbers["p"] or 0)
    assert found == warned(
        "novelty",
        f"buyers, b: the effect wears off (novelty), from +0.2397 in the first half of the days to +0.1003 in the second "
        f"(trend {fmt.p_is(p)}). The mean over all days is not what to expect; run longer and read the later days.",
        {"p": p},
    )
    flat = trend(effects(0.0))
    assert flat == fine("novelty", "The effect does not trend over exposure days.", flat.numbers)
    assert float(flat.numbers["p"] or 0) == 1.0
    none = Effects(metric="m", effect=np.zeros((0, 2)), variance=np.zeros((0, 2)))
    assert trend(none) == unseen("novelty", "0 days can be estimated, 7 are needed")
    assert novelty(Unseen("no day"), (), VARIANTS, DEFAULT) == unseen("novelty", "no day")


def test_days_without_a_variance_are_no_days() -> None:
    found = effects(0.02, days=8, error=0.002)
    found.variance[:2, 0] = 0.0
    found.variance[1, 1] = np.nan
    assert trend(found).checked  # the other variant has seven
    found.effect[4, 1] = np.nan
    assert trend(found) == unseen("novelty", "6 days can be estimated, 7 are needed")


def test_days_are_weighed_by_how_much_is_known_of_them() -> None:
    """The slope of weighted least squares, by numpy; unequal gaps between the days."""
    rng = np.random.default_rng(5)
    day, error = np.array([0, 1, 2, 5, 6, 7, 9, 12]), rng.uniform(0.005, 0.03, 8)
    effect = 0.1 + 0.002 * day + rng.normal(0, 0.05, 8)
    found = Effects(metric="m", effect=effect[:, None], variance=np.square(error)[:, None])
    (slope, _), covariance = np.polyfit(day, effect, 1, w=1 / error, cov=True)
    p = 2 * stats.t.sf(abs(slope) / np.sqrt(covariance[0, 0]), 6)
    assert float(novelty(found, day.tolist(), ("a", "b"), DEFAULT).numbers["p"] or 0) == pytest.approx(p)


def test_days_that_split_as_intended_are_told_in_full() -> None:
    counts = np.full((3, 2), 1000)
    counts[1, 1] = 950
    found = daily_ratio(sample_ratio(counts, [0.5, 0.5]), ["x", "y", "z"], DEFAULT)
    p = 3 * stats.chisquare(counts[1]).pvalue
    assert found == fine(
        "sample ratio by day", "Units split as intended on every day (3 days).",
        {"p": pytest.approx(p), "day": "y", "days": 3},
    )  # fmt: skip
    none = daily_ratio(sample_ratio(np.zeros((3, 2)), [0.5, 0.5]), ["x", "y", "z"], DEFAULT)
    assert none == unseen("sample ratio by day", "the intended weights are not known, or no day has units")


def test_a_day_that_does_not_is_told_in_full() -> None:
    counts = np.array([[1000, 1000], [1000, 700], [0, 0], [1000, 850]])
    found = daily_ratio(sample_ratio(counts, [0.5, 0.5]), list("wxyz"), DEFAULT)
    p = float(stats.chisquare(counts[1]).pvalue)
    assert found == void(
        "sample ratio by day",
        f"Units did not split as intended on x, z ({fmt.p_is(p)}, 3 days looked at): something broke then. Some units "
        "were lost or moved.",
        {"p": pytest.approx(3 * p), "day": "x", "days": 3},
    )  # fmt: skip


def days_of(*p: float) -> Check:
    """Days with these p; a day that cannot be tested is NaN."""
    value = np.array(p)
    none = np.zeros(len(p))
    tested = SampleRatio(
        statistic=none,
        df=none,
        p_value=value,
        expected=none,
        stray=none,
        reason=np.isnan(value).astype(np.uint8),
    )
    return daily_ratio(tested, [f"d{place}" for place in range(len(p))], DEFAULT)


@pytest.mark.parametrize(
    ("p", "severity"),
    [
        ((0.005, 1.0), Severity.OK), ((0.0049, 1.0), Severity.WARN), ((0.0005, 1.0), Severity.WARN),
        ((0.00049, 1.0), Severity.INVALID), ((0.0049, 1.0, 1.0), Severity.OK), ((0.0049, 1.0, np.nan), Severity.WARN),
    ],
)  # fmt: skip
def test_only_days_that_can_be_tested_share_the_threshold(p: tuple[float, ...], severity: Severity) -> None:
    assert days_of(*p).severity is severity


def test_the_day_named_is_one_that_was_tested_and_its_p_at_most_1() -> None:
    assert days_of(np.nan, 1.0, 1.0).numbers == {"p": 1.0, "day": "d1", "days": 2}
    assert days_of(0.9, 0.8, 0.7).numbers == {"p": 1.0, "day": "d2", "days": 3}


@pytest.mark.parametrize(
    ("p", "named"),
    [
        ((0.0001, 0.005), "d0"), ((0.0049, 0.0048), "d0, d1"), ((1e-5, 1e-5, 1e-5), "d0, d1, d2"),
        ((1e-5, 1e-5, 1e-5, 1e-5), "d0, d1, d2 and other days"),
    ],
)  # fmt: skip
def test_the_days_below_the_shared_threshold_are_named(p: tuple[float, ...], named: str) -> None:
    assert days_of(*p).message.startswith(f"Units did not split as intended on {named} (p = ")
