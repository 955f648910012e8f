"""Sufficiency: blind to the effect, consistent with planning, honest about dates."""

from __future__ import annotations

from dataclasses import fields, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from switchpoint.analysis.inference.sample import Sample, from_moments, proportion
from switchpoint.analysis.numerics.reasons import Reason
from switchpoint.analysis.planning import power
from switchpoint.analysis.planning.accrual import constant_accrual, fit_accrual
from switchpoint.analysis.planning.cost import sequential_cost
from switchpoint.analysis.planning.sufficiency import Sufficiency, progress, sufficiency
from switchpoint.experiment.definition.types import DecisionRule, Design, Direction, Grade, LookPlan, Size


def _rule(
    design: Design = Design.FIXED, *, value: float = 0.1, relative: bool = True, deadline: int = 42
) -> DecisionRule:
    return DecisionRule(
        design=design,
        alpha=0.05,
        power=0.8,
        mde=Size(value=value, relative=relative),
        min_runtime_days=14,
        max_runtime_days=deadline,
        evidence=Grade.RANDOMISED,
    )


def only(found: Sufficiency, *index: int) -> SimpleNamespace:
    """One comparison as plain values; the days left of both projections by their names."""
    plain: dict[str, Any] = {
        f.name: getattr(found, f.name)[index].item() for f in fields(found) if f.name != "days_left"
    }
    plain["fast"], plain["slow"] = (side[index].item() for side in found.days_left)
    return SimpleNamespace(**plain)


def test_progress_is_blind_to_which_variant_is_which() -> None:
    one = progress(proportion(900, 90), proportion(1100, 130))
    other = progress(proportion(1100, 130), proportion(900, 90))
    assert (one.baseline, one.error_variance) == pytest.approx(
        (other.baseline, other.error_variance), rel=1e-14
    )
    pooled = proportion(2000, 220)
    assert one.baseline == pytest.approx(pooled.mean)
    assert one.error_variance == pytest.approx(pooled.variance * (1 / 900 + 1 / 1100), rel=1e-12)


def test_units_needed_are_those_of_the_plan() -> None:
    now = progress(from_moments(1000, 5.0, 100.0), from_moments(1000, 5.0, 100.0))
    for design in Design:
        found = only(sufficiency(now, _rule(design)))
        variance = float(now.error_variance) * 500
        plan = power.planned_units(_rule(design), baseline=5.0, variance=variance)
        assert found.n_needed == pytest.approx(np.ceil(plan.total), abs=1)


def test_an_uneven_split_needs_more_units() -> None:
    even = only(
        sufficiency(progress(from_moments(1000, 5.0, 100.0), from_moments(1000, 5.0, 100.0)), _rule())
    )
    uneven = only(
        sufficiency(progress(from_moments(1800, 5.0, 100.0), from_moments(200, 5.0, 100.0)), _rule())
    )
    assert uneven.n_needed == pytest.approx(even.n_needed / (4 * 0.9 * 0.1), rel=1e-3)


def test_smaller_effects_need_more_units() -> None:
    now = progress(proportion(1000, 100), proportion(1000, 110))
    needed = [sufficiency(now, _rule(value=float(size))).n_needed for size in np.linspace(0.01, 0.9, 12)]
    assert (np.diff(needed) < 0).all()


def test_the_visible_effect_is_the_mde_exactly_when_there_is_enough() -> None:
    needed = only(
        sufficiency(progress(from_moments(1000, 5.0, 100.0), from_moments(1000, 5.0, 100.0)), _rule())
    ).n_needed
    half = needed // 2 + 10
    now = only(sufficiency(progress(from_moments(half, 5.0, 100.0), from_moments(half, 5.0, 100.0)), _rule()))
    assert now.sufficient
    assert now.visible_now == pytest.approx(0.1, rel=1e-3)
    early = only(
        sufficiency(
            progress(from_moments(half // 4, 5.0, 100.0), from_moments(half // 4, 5.0, 100.0)), _rule()
        )
    )
    assert not early.sufficient
    assert early.visible_now == pytest.approx(0.2, rel=1e-2)


def test_strata_count_with_their_own_variance_and_weight() -> None:
    """Unequal weights that are not the units, and strata that are allocated differently; a stratum of one
    variant only is left out of everything."""
    control, treatment = proportion([500, 900, 70], [50, 450, 7]), proportion([700, 100, 0], [90, 50, 0])
    weight = np.array([3.0, 1.0, 9.0])
    now = progress(control, treatment, weight)
    w = np.array([0.75, 0.25])
    each = [progress(control[i], treatment[i]) for i in range(2)]
    pooled = [proportion(1200, 140), proportion(1000, 500)]
    variance = [pooled[0].variance * (1 / 500 + 1 / 700), pooled[1].variance * (1 / 900 + 1 / 100)]
    for stratum, own in zip(each, variance, strict=True):
        assert stratum.error_variance == pytest.approx(own, rel=1e-12)
    assert now.error_variance == pytest.approx(float(w**2 @ np.array(variance)), rel=1e-12)
    assert now.baseline == pytest.approx(w @ [140 / 1200, 0.5], rel=1e-12)
    assert now.treated == pytest.approx(w @ [7 / 12, 0.1], rel=1e-12)
    assert now.n == 2200


def test_days_left_at_a_constant_pace() -> None:
    now = progress(proportion(1000, 100), proportion(1000, 110))
    rule = _rule()
    accrual = constant_accrual(200.0, enrolled=2000, day=10)
    found = only(sufficiency(now, rule, accrual=accrual))
    days = (found.n_needed - 2000) / 200
    assert (found.fast, found.slow) == pytest.approx((days, days))
    assert found.futile == (found.n_needed > 2000 + 32 * 200)


def test_futility_is_called_only_when_the_fast_projection_falls_short() -> None:
    now = progress(proportion(1000, 100), proportion(1000, 110))
    needed = only(sufficiency(now, _rule())).n_needed
    pace = (needed - 2000) / 32
    just = only(sufficiency(now, _rule(), accrual=constant_accrual(pace * 1.01, enrolled=2000, day=10)))
    short = only(sufficiency(now, _rule(), accrual=constant_accrual(pace * 0.99, enrolled=2000, day=10)))
    assert (just.futile, short.futile) == (False, True)
    assert short.visible_by_deadline > 0.1 >= just.visible_by_deadline


def test_immature_units_wait_for_their_window() -> None:
    """Enough are enrolled already; the last of them matures a week after it came."""
    now = progress(proportion(1000, 100), proportion(1000, 110))
    needed = only(sufficiency(now, _rule(value=0.5))).n_needed
    assert needed < 2000
    small = progress(proportion(400, 40), proportion(400, 44))
    found = only(
        sufficiency(
            small, _rule(value=0.5), accrual=constant_accrual(300.0, enrolled=3000, day=10), window_days=7
        )
    )
    assert not found.sufficient
    assert found.slow == pytest.approx(7)


@pytest.mark.parametrize("window", [0.0, 3.0])
def test_dates_of_a_slowing_pace_are_a_range_and_end_a_window_before_the_deadline(window: float) -> None:
    """Arrivals slow down as N(d) = 400·d^0.5: the curve is the slow projection, the last week's pace the fast
    one. What comes in the last window before the deadline does not mature in time, and futility asks the fast
    projection only."""
    days = np.arange(1, 17)
    accrual = fit_accrual(400.0 * days**0.5)
    now = progress(proportion(700, 70), proportion(700, 77))  # of 1,600 that came, 1,400 have matured
    pace = (1600 - 400 * 9**0.5) / 7
    for needed, late in ((2_200, False), (3_400, True)):
        rule = replace(
            _rule(Design.GROUP_SEQUENTIAL, deadline=36), looks=LookPlan(units=needed), max_runtime_days=36
        )
        found = only(sufficiency(now, rule, accrual=accrual, window_days=window))
        fast, slow = 16 + (needed - 1600) / pace, (needed / 400) ** 2
        assert found.fast == pytest.approx(fast + window - 16, rel=1e-9)
        assert found.slow == pytest.approx(slow + window - 16, rel=1e-9)
        assert found.futile is late
        came = 400 * (36 - window) ** 0.5
        assert found.visible_by_deadline / found.visible_now == pytest.approx(np.sqrt(1400 / came), rel=1e-9)
    # just inside and just outside: the units that the fast projection brings before the last window
    most = 1600 + pace * (36 - window - 16)
    for needed, late in ((int(most), False), (int(most) + 2, True)):
        rule = replace(_rule(Design.GROUP_SEQUENTIAL, deadline=36), looks=LookPlan(units=needed))
        assert only(sufficiency(now, rule, accrual=accrual, window_days=window)).futile is late


def test_no_dates_without_arrivals() -> None:
    now = progress(proportion(1000, 100), proportion(1000, 110))
    for accrual in (None, constant_accrual(0, enrolled=2500, day=10)):
        found = only(sufficiency(now, _rule(), accrual=accrual))
        assert found.duration_reason == Reason.NO_ACCRUAL.code
        assert np.isnan([found.fast, found.slow]).all()
    # nothing comes any more: what is visible stays what the matured units show; without arrivals nobody knows
    assert found.visible_by_deadline == found.visible_now
    assert found.futile
    unknown = sufficiency(now, _rule())
    assert np.isnan(unknown.visible_by_deadline)
    assert (unknown.futile.dtype, unknown.duration_reason.dtype) == (bool, np.uint8)
    assert not unknown.futile
    late = only(sufficiency(now, _rule(value=1e-6), accrual=constant_accrual(1.0, enrolled=2000, day=10)))
    assert late.duration_reason == Reason.OUT_OF_REACH.code
    assert late.futile
    assert np.isnan([late.fast, late.slow]).all()


def test_of_two_projections_the_slow_one_says_whether_there_is_a_date() -> None:
    """Arrivals slow down to a hundredth root: the pace of the last week would do, the curve takes centuries."""
    accrual = fit_accrual(1000.0 * np.arange(1, 15) ** 0.05)
    now = progress(proportion(500, 50), proportion(500, 55))
    rule = replace(_rule(Design.GROUP_SEQUENTIAL), looks=LookPlan(units=2_000))
    found = only(sufficiency(now, rule, accrual=accrual))
    assert found.duration_reason == Reason.OUT_OF_REACH.code
    assert np.isfinite(accrual.days_until(np.array(2_000.0))[0])


def test_what_has_come_already_takes_no_more_days() -> None:
    """Full at exactly the units that are needed, and the deadline may have passed: no day is left, and more than
    the units there are is not asked for."""
    now = progress(proportion(1000, 100), proportion(1000, 110))
    for units, full in ((2_000, True), (2_001, False)):
        rule = replace(_rule(Design.GROUP_SEQUENTIAL, deadline=5), looks=LookPlan(units=units))
        found = only(
            sufficiency(now, rule, accrual=constant_accrual(1, enrolled=2_000, day=10), window_days=7)
        )
        assert found.sufficient is full
        assert (found.fast, found.slow) == ((0, 0) if full else (8, 8))
        assert found.futile is not full
        assert found.fraction == 2_000 / units
        assert found.visible_by_deadline == found.visible_now


def test_a_deadline_within_the_window_sees_no_new_unit() -> None:
    """Five days to go and a window of seven: of those that come none matures."""
    now = progress(proportion(10, 1), proportion(10, 2))
    found = only(
        sufficiency(now, _rule(deadline=5), accrual=constant_accrual(50, enrolled=200, day=4), window_days=7)
    )
    assert found.visible_by_deadline == found.visible_now


@pytest.mark.parametrize("assumed", [None, Direction.INCREASE, Direction.DECREASE])
@pytest.mark.parametrize("relative", [False, True])
def test_units_needed_are_those_of_the_formula_at_any_level(
    assumed: Direction | None, relative: bool
) -> None:
    """n·se²·(z_α + z_power)²/Δ², another metric's size and a share of alpha in place of the rule's."""
    now = progress(from_moments(900, 5.0, 100.0), from_moments(600, 5.5, 120.0))
    size = Size(value=0.2, relative=relative)
    found, watched = (
        only(sufficiency(now, _rule(design), alpha=0.01, mde=size, assumed=assumed))
        for design in (Design.FIXED, Design.SEQUENTIAL)
    )
    common = (900 * 5.0 + 600 * 5.5) / 1500
    within = 899 * 100 + 599 * 120 + 900 * 600 / 1500 * 0.5**2
    squared = within / 1499 * (1 / 900 + 1 / 600)
    sign = {None: 0, Direction.INCREASE: 1, Direction.DECREASE: -1}[assumed]
    delta = 0.2 * common / (1 + sign * 0.4 * 0.2) if relative else 0.2
    reach = stats.norm.isf(0.005) + stats.norm.ppf(0.8)
    exact = 1500 * squared * reach**2 / delta**2
    assert found.n_needed == np.ceil(exact)
    assert watched.n_needed == np.ceil(exact * sequential_cost(0.01, 0.8))
    assert found.fraction == pytest.approx(1500 / exact, rel=1e-12)
    assert found.visible_now == pytest.approx(0.2 * np.sqrt(exact / 1500), rel=1e-12)


@pytest.mark.parametrize(("beyond", "needed"), [(5e-10, 2_000), (-5e-10, 2_000), (2e-9, 2_001)])
def test_a_whole_number_of_units_is_not_rounded_up_for_a_rounding(beyond: float, needed: int) -> None:
    """An MDE for which the formula gives 2,000 units, and a billionth more or less."""
    now = progress(from_moments(500, 5.0, 100.0), from_moments(500, 5.0, 100.0))
    variance = 1000 * float(now.error_variance)
    delta = (stats.norm.isf(0.025) + stats.norm.ppf(0.8)) * np.sqrt(variance / (2_000 * (1 + beyond)))
    assert only(sufficiency(now, _rule(value=float(delta), relative=False))).n_needed == needed


def test_a_plan_that_states_its_units_states_none_where_nothing_is_known() -> None:
    rule = replace(_rule(Design.GROUP_SEQUENTIAL), looks=LookPlan(units=1_500))
    known = progress(proportion([1_000, 0], [100, 0]), proportion([500, 0], [50, 0]))
    found = sufficiency(known, rule)
    np.testing.assert_array_equal(found.n_needed, [1_500, np.nan])
    assert found.sufficient.tolist() == [True, False]
    # another design does not read it
    assert only(sufficiency(known, replace(rule, design=Design.FIXED)), 0).n_needed > 10_000


def test_strata_of_nobody_and_of_one_unit_change_nothing() -> None:
    """Strata without units, without those of one variant, without weight, and one whose two units have no variance
    of their own, for which both together have one; weights that sum up to less than 1, beside a comparison of other
    weights and one without any stratum."""
    n, mean, variance = [0, 400, 3, 1, 50], [0.0, 4, 5, 2, 9], [0.0, 9, 1, 0, 4]
    control = from_moments([n, n, [0] * 5], [mean, mean, [0.0] * 5], [variance, variance, [0.0] * 5])
    n, mean, variance = [0, 500, 0, 1, 60], [0.0, 5, 0, 4, 9], [0.0, 16, 0, 0, 4]
    treatment = from_moments([n, n, [0] * 5], [mean, mean, [0.0] * 5], [variance, variance, [0.0] * 5])
    found = progress(control, treatment, np.array([[0.1, 0.6, 0.2, 0.2, 0], [5, 5, 5, 5, 0], [1] * 5]))
    both = (399 * 9 + 499 * 16 + 400 * 500 / 900 * 1) / 899 * (1 / 400 + 1 / 500)
    two = (1 * 1 / 2 * 4) / 1 * 2
    assert found.n.tolist() == [902, 902, 0]
    for w, row in ((np.array([0.75, 0.25]), 0), (np.array([0.5, 0.5]), 1)):
        assert found.error_variance[row] == pytest.approx(w**2 @ [both, two], rel=1e-12)
        assert found.baseline[row] == pytest.approx(w @ [(400 * 4 + 500 * 5) / 900, 3], rel=1e-12)
        assert found.treated[row] == pytest.approx(w @ [5 / 9, 0.5], rel=1e-12)
    assert np.isnan([found.error_variance[2], found.baseline[2], found.treated[2]]).all()


@pytest.mark.parametrize(
    ("control", "treatment", "reason"),
    [
        (proportion(0, 0), proportion(5, 1), Reason.TOO_FEW_UNITS),
        (proportion(100, 0), proportion(100, 0), Reason.ZERO_VARIANCE),
        (from_moments(10, 0.0, 0.0), from_moments(10, 0.0, 0.0), Reason.ZERO_VARIANCE),
        (from_moments(10, 0.0, 1.0), from_moments(10, 0.0, 1.0), Reason.ZERO_CONTROL),
    ],
)
def test_where_nothing_can_be_said_there_is_a_reason(
    control: Sample, treatment: Sample, reason: Reason
) -> None:
    found = only(sufficiency(progress(control, treatment), _rule()))
    assert found.reason == reason.code
    assert np.isnan([found.n_needed, found.fraction, found.visible_now]).all()
    assert not found.sufficient


def test_thousands_at_once_equal_one_by_one() -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(20, 200, 50)
    together = sufficiency(progress(proportion(1000, x), proportion(1000, x + 5)), _rule(Design.SEQUENTIAL))
    for i in (0, 17, 49):
        alone = sufficiency(
            progress(proportion(1000, x[i]), proportion(1000, x[i] + 5)),
            _rule(Design.SEQUENTIAL),
        )
        np.testing.assert_equal(vars(only(together, i)), vars(only(alone)))


def test_a_saturating_curve_is_recovered_and_bounded_by_the_line() -> None:
    days = np.arange(1, 22)
    accrual = fit_accrual(1000 * days**0.6)
    assert accrual.exponent == pytest.approx(0.6)
    fast, slow = accrual.days_until(1000 * 60**0.6)
    assert slow == pytest.approx(60, rel=1e-9)
    assert 21 < fast < 60
    low, high = accrual.units_by(60)
    assert low == pytest.approx(1000 * 60**0.6, rel=1e-9)
    assert high > low


def test_steady_arrival_gives_one_date() -> None:
    accrual = fit_accrual(100.0 * np.arange(1, 22))
    fast, slow = accrual.days_until(4200)
    assert (fast, slow) == pytest.approx((42, 42))


def test_a_few_days_are_taken_as_a_line() -> None:
    accrual = fit_accrual([100.0, 160.0, 200.0])
    assert accrual.exponent == 1
    assert accrual.days_until(400)[0] == pytest.approx(3 + 200 / (200 / 3))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 500), min_size=2, max_size=30).filter(lambda arrivals: sum(arrivals) > 0))
def test_projections_are_ordered_and_grow(arrivals: list[int]) -> None:
    accrual = fit_accrual(np.cumsum(arrivals))
    total, day = sum(arrivals), len(arrivals)
    needs = total * np.array([0.5, 1.0, 1.5, 4.0])
    fast, slow = accrual.days_until(needs)
    assert (fast <= slow).all()
    assert (fast[:2] == day).all()
    low, high = accrual.units_by(np.arange(day, day + 30.0))
    assert (low <= high + 1e-9).all()
    assert low[0] == pytest.approx(total)


@pytest.mark.parametrize("assumed", list(Direction))
def test_the_units_for_a_relative_mde_are_those_of_control_under_that_effect(assumed: Direction) -> None:
    """Blinded data of a true effect of the MDE ask for as many units as a plan that knows both rates; a mean
    that mixes both variants would ask for 5 % fewer, and the power would be missed."""
    sign = 1 if assumed is Direction.INCREASE else -1
    rates = 0.1, 0.1 * (1 + sign * 0.1)
    now = progress(proportion(20_000, round(20_000 * rates[0])), proportion(20_000, round(20_000 * rates[1])))
    found = only(sufficiency(now, _rule(), assumed=assumed))
    wanted = power.units_for_proportions(*rates).total
    assert found.n_needed == pytest.approx(float(wanted), rel=0.002)
    naive = only(sufficiency(now, _rule()))
    assert abs(naive.n_needed / float(wanted) - 1) > 0.04


def test_a_plan_that_states_its_units_is_full_when_they_have_come() -> None:
    rule = replace(_rule(Design.GROUP_SEQUENTIAL), looks=LookPlan(units=1_500))
    now = progress(proportion(1_000, 100), proportion(500, 50))
    found = only(sufficiency(now, rule))
    assert (found.n_needed, found.fraction, found.sufficient) == (1_500, 1.0, True)
    assert found.visible_now > 0.1
