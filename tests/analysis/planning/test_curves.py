"""Power curves pass through the plan they belong to, and agree with another library's power."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
from statsmodels.stats.power import NormalIndPower

from analysis.planning.curves import Curve, Planned, curve, units
from analysis.planning.power import planned_units
from analysis.report.power_html import power_html
from experiment.definition import Design, Size
from experiment.errors import BadInput
from tests.analysis.cases import RULE

MEAN = Planned(mean=12.5, variance=1600.0, effect=0.375, ratio=1.0, alpha=0.05, power=0.8)
RATE = Planned(mean=0.1, variance=None, effect=0.005, ratio=1.0, alpha=0.05, power=0.8)
DESIGNS = tuple(Design)


def test_a_fixed_curve_has_the_power_another_library_gives_its_units() -> None:
    for point in curve(MEAN, Design.FIXED).powers[3:]:  # below, statsmodels counts the wrong side too
        other = NormalIndPower().power(0.375 / 40, point.units / 2, 0.05)
        assert point.power == pytest.approx(other, abs=2e-4)


def test_a_visible_lift_is_found_with_the_planned_power() -> None:
    for point in curve(MEAN, Design.FIXED).lifts:
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
    assert [p.lift for p in found.lifts] == sorted((p.lift for p in found.lifts), reverse=True)


def test_no_lift_leads_a_rate_beyond_one() -> None:
    near = replace(RATE, mean=0.9, effect=0.08)
    assert all(0 < 0.9 * (1 + p.lift) < 1 for p in curve(near, Design.FIXED).lifts)


def test_the_page_draws_every_curve_and_needs_nothing_from_outside() -> None:
    page = power_html(RATE, [curve(RATE, design) for design in DESIGNS], [("control", "0.1")])
    assert page.count("<svg") == 4  # two charts, light and dark
    assert "<script" not in page
    assert not re.search(r'(?:src|href)="(?!#)', page.replace("xmlns:xlink", ""))
    assert "199,116 under the sequential design" in page


@pytest.mark.parametrize("effect", [1e-300, 1e-12])
def test_units_that_no_test_will_have_are_bad_input(effect: float) -> None:
    with pytest.raises(BadInput, match="no test has the units"):
        units(MEAN, effect, 0.8, Design.FIXED)


def test_an_effect_beyond_every_doubt_still_needs_units_that_vary() -> None:
    assert units(MEAN, 1e300, 0.8, Design.FIXED) == (2, 2)
