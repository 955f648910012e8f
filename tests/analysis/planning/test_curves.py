"""Power curves pass through the plan they belong to, and agree with another library's power."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import NormalIndPower

from switchpoint.analysis.planning.cost import looks_cost, sequential_cost
from switchpoint.analysis.planning.curves import Curve, Planned, curve, units
from switchpoint.analysis.planning.power import planned_units, posterior_cost
from switchpoint.experiment.definition.types import Belief, Design, Size
from switchpoint.experiment.errors import BadInput
from tests.analysis.cases import RULE

MEAN = Planned(mean=12.5, variance=1600.0, effect=0.375, ratio=1.0, alpha=0.05, power=0.8)
RATE = Planned(mean=0.1, variance=None, effect=0.005, ratio=1.0, alpha=0.05, power=0.8)
DESIGNS = tuple(Design)


def test_a_fixed_curve_has_the_power_another_library_gives_its_units() -> None:
    for point in curve(MEAN, Design.FIXED).powers[3:]:  # below, statsmodels counts the wrong side too
        assert point.lift is not None
        other = NormalIndPower().power(0.375 / 40, point.units / 2, 0.05)
        assert point.power == pytest.approx(other, abs=2e-4)


def test_a_visible_lift_is_found_with_the_planned_power() -> None:
    for point in curve(MEAN, Design.FIXED).lifts:
        assert point.lift is not None
        other = NormalIndPower().power(point.lift * 12.5 / 40, point.units / 2, 0.05)
        assert other == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize(("plan", "variance"), [(MEAN, 1600.0), (RATE, None)], ids=["mean", "rate"])
def test_the_curve_passes_through_the_units_of_the_plan(
    plan: Planned, variance: float | None, design: Design
) -> None:
    rule = replace(RULE, design=design, mde=Size(value=plan.effect / plan.mean, relative=True))
    needed = planned_units(rule, baseline=plan.mean, variance=variance)
    point = next(p for p in curve(plan, design).powers if p.power == plan.power)
    # the rule's looks lie in calendar time, those of a curve are equally spaced
    loose = 0.005 if design is Design.GROUP_SEQUENTIAL else 0.0
    assert point.units == pytest.approx(2 * math.ceil(float(needed.control)), rel=loose, abs=0)


@pytest.mark.parametrize("design", DESIGNS)
def test_more_units_mean_more_power_and_a_smaller_visible_effect(design: Design) -> None:
    found: Curve = curve(RATE, design)
    for points in (found.powers, found.lifts):
        units = [p.units for p in points]
        assert units == sorted(units)
    lifts = [p.lift for p in found.lifts if p.lift is not None]
    assert len(lifts) == len(found.lifts)
    assert lifts == sorted(lifts, reverse=True)


@pytest.mark.parametrize(("mean", "effect"), [(0.9, 0.08), (0.1, -0.05)])
def test_no_effect_leads_a_rate_beyond_zero_or_one(mean: float, effect: float) -> None:
    """Effects from 0.4 to 2.5 times the planned one, in equal steps of their logarithm, where there is room."""
    plan = replace(RATE, mean=mean, effect=effect)
    steps = effect * 2.5 * (0.4 / 2.5) ** (np.arange(21) / 20)
    room = [step for step in steps if 0 < mean + step < 1]
    assert len(room) < 21
    assert [p.effect for p in curve(plan, Design.FIXED).lifts] == pytest.approx(room)
    amounts = curve(replace(plan, variance=0.09), Design.FIXED).lifts
    assert [p.effect for p in amounts] == pytest.approx(list(steps))


def test_an_effect_leads_no_rate_to_zero_or_one_itself() -> None:
    """2.5 times 0.04 more than 0.9, and 2.5 times 0.04 less than 0.1."""
    for mean, effect in ((0.9, 0.04), (0.1, -0.04)):
        effects = [p.effect for p in curve(replace(RATE, mean=mean, effect=effect), Design.FIXED).lifts]
        assert effects[0] == pytest.approx(2.5 * effect * 0.16**0.05)


@pytest.mark.parametrize("design", DESIGNS)
def test_units_are_the_fixed_ones_times_what_the_design_costs(design: Design) -> None:
    """By the formula: uneven variants, a level, a power, looks and a prior of the plan's own; a loss as a gain."""
    plan = Planned(
        mean=-12.5, variance=1600, effect=0.4, ratio=3, alpha=0.02, power=0.9, looks=3,
        belief=Belief(mean=0.01, sd=0.03),
    )  # fmt: skip
    fixed = (stats.norm.isf(0.01) + stats.norm.ppf(0.7)) ** 2 * (1600 + 1600 / 3) / 0.5**2
    cost = {
        Design.FIXED: 1.0, Design.SEQUENTIAL: sequential_cost(0.02, 0.7),
        Design.GROUP_SEQUENTIAL: looks_cost(3, alpha=0.02, power=0.7),
        Design.BAYESIAN: float(posterior_cost(0.04, plan.belief, alpha=0.02, target=0.7)),
    }[design]  # fmt: skip
    for effect in (0.5, -0.5):
        assert units(plan, effect, 0.7, design) == (math.ceil(fixed * cost), math.ceil(3 * fixed * cost))
    found = curve(plan, design)
    assert found.design == design.value
    assert {p.power for p in found.lifts} == {0.9}
    assert {p.effect for p in found.powers} == {0.4}
    assert [p.power for p in found.powers] == [
        0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.975
    ]  # fmt: skip
    assert found.lifts[0].lift == pytest.approx(-0.08)
    for point in (found.powers[6], found.lifts[2]):
        assert point.units == sum(units(plan, point.effect, point.power, design))


def test_a_power_of_the_plans_own_stands_in_its_place() -> None:
    assert [p.power for p in curve(replace(MEAN, power=0.83), Design.FIXED).powers][6:10] == [
        0.7,
        0.8,
        0.83,
        0.85,
    ]


def test_units_of_rates_follow_from_both_rates() -> None:
    fixed = (stats.norm.isf(0.025) + stats.norm.ppf(0.6)) ** 2 * (0.09 + 0.1275) / 0.05**2
    assert units(RATE, 0.05, 0.6, Design.FIXED) == (math.ceil(fixed), math.ceil(fixed))


def test_a_control_of_zero_has_no_lifts_and_no_prior_of_one() -> None:
    plan = replace(MEAN, mean=0)
    assert {p.lift for p in curve(plan, Design.FIXED).lifts} == {None}
    with pytest.raises(BadInput, match="no test has the units"):
        units(plan, 0.5, 0.8, Design.BAYESIAN)


@pytest.mark.parametrize("effect", [1e-300, 1e-12])
def test_units_that_no_test_will_have_are_bad_input(effect: float) -> None:
    with pytest.raises(BadInput) as caught:
        units(MEAN, effect, 0.8, Design.FIXED)
    fault = caught.value
    assert (
        fault.message == f"no test has the units that an effect of {effect:g} needs where units differ by 40"
    )
    assert (fault.field, fault.value) == ("effect", effect)
    assert fault.fix == "choose a larger effect, or check the figures it is compared with"


def test_no_variant_has_more_units_than_any_test() -> None:
    """Fixed units of 2·1600·7.849/Δ² each: below 10^15 there are some; one variant beyond it is enough to refuse."""
    small = math.sqrt(2 * 1600 * 7.8488 / 1e15)
    assert units(MEAN, small * 1.001, 0.8, Design.FIXED)[0] < 10**15
    for ratio in (0.5, 1.0, 2.0):
        with pytest.raises(BadInput):
            units(replace(MEAN, ratio=ratio), small * 0.999, 0.8, Design.FIXED)


def test_an_effect_beyond_every_doubt_still_needs_units_that_vary() -> None:
    assert units(MEAN, 1e300, 0.8, Design.FIXED) == (2, 2)
