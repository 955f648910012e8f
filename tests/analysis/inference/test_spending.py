"""Bounds against published tables, and what a plan costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from switchpoint.analysis.inference import spending
from switchpoint.analysis.inference.spending import Bounds
from switchpoint.analysis.numerics.estimates import Alternative
from switchpoint.analysis.planning.cost import bounds_cost, looks_cost
from switchpoint.experiment.definition.types import Spending
from switchpoint.experiment.errors import BadInput


def shaped(looks: int, constant: float, *, steep: bool = False) -> Bounds:
    """Two-sided bounds of Pocock (1977), z = c, or of O'Brien & Fleming (1979), z = c/√u."""
    times = spending.equal_looks(looks)
    z = constant / np.sqrt(times) if steep else np.full(looks, constant)
    return Bounds(times=times, shares=times, z=z, spent=np.zeros(looks), alternative=Alternative.TWO_SIDED)


def error_of(bounds: Bounds) -> float:
    """Probability of ever stopping under no effect."""
    first = bounds.crossing(0.0)
    return float(first.above.sum() + first.below.sum())


@pytest.mark.parametrize(
    ("looks", "pocock", "obrien_fleming"),
    [(2, 2.178, 1.977), (3, 2.289, 2.004), (4, 2.361, 2.024), (5, 2.413, 2.040), (10, 2.555, 2.087)],
)
def test_constants_of_jennison_and_turnbull(looks: int, pocock: float, obrien_fleming: float) -> None:
    """Two-sided 5 % (Jennison & Turnbull 2000, tables 2.1 and 2.3): with the constants rounded to a thousandth."""
    for bounds in (shaped(looks, pocock), shaped(looks, obrien_fleming, steep=True)):
        first = bounds.crossing(0.0)
        assert float(first.above.sum() + first.below.sum()) == pytest.approx(0.05, abs=1e-4)


@pytest.mark.parametrize(("looks", "inflation"), [(2, 1.008), (4, 1.024), (5, 1.028), (10, 1.040)])
def test_inflation_of_obrien_fleming(looks: int, inflation: float) -> None:
    """80 % power, two-sided 5 % (Jennison & Turnbull 2000, table 2.4)."""
    constants = {2: 1.977, 4: 2.024, 5: 2.040, 10: 2.087}
    bounds = shaped(looks, constants[looks], steep=True)
    assert bounds_cost(bounds, alpha=0.05, power=0.8) == pytest.approx(inflation, abs=6e-4)


@pytest.mark.parametrize("kind", list(Spending))
@pytest.mark.parametrize("alternative", [Alternative.TWO_SIDED, Alternative.GREATER])
def test_unequal_looks_spend_exactly_what_they_may(kind: Spending, alternative: Alternative) -> None:
    times = [0.13, 0.2, 0.61, 0.94, 1.07]
    bounds = spending.spending_bounds(times, alpha=0.04, alternative=alternative, spending=kind)
    first = bounds.crossing(0.0)
    np.testing.assert_allclose(np.cumsum(first.above + first.below), bounds.spent, rtol=1e-6)
    np.testing.assert_allclose(bounds.spent, spending.spent_alpha(times, 0.04, alternative, kind), rtol=1e-9)
    assert bounds.spent[-1] == pytest.approx(0.04)


def test_a_later_look_does_not_change_the_bounds_before_it() -> None:
    short = spending.spending_bounds([0.2, 0.5])
    long = spending.spending_bounds([0.2, 0.5, 0.9, 1.0])
    np.testing.assert_array_equal(short.z, long.z[:2])


def test_overrun_keeps_the_error_and_looks_after_the_end_reject_nothing() -> None:
    over = spending.spending_bounds([0.5, 1.1, 1.4])
    assert over.ended == 1
    assert np.isinf(over.z[2])
    assert error_of(over) == pytest.approx(0.05, rel=1e-6)


def test_a_deadline_before_the_plan_spends_the_rest() -> None:
    cut = spending.spending_bounds([0.3, 0.6], final=True)
    assert error_of(cut) == pytest.approx(0.05, rel=1e-6)
    assert cut.z[1] < spending.spending_bounds([0.3, 0.6]).z[1]


def test_looks_so_early_that_alpha_underflows_cannot_reject() -> None:
    assert np.isinf(spending.spending_bounds([0.01, 0.5]).z[0])


def test_daily_looks_cost_less_than_five_percent() -> None:
    for looks in (4, 7, 28):
        assert 1 < looks_cost(looks, alpha=0.05, power=0.8) < 1.05


@pytest.mark.parametrize("times", [[], [0.0, 0.5], [0.5, 0.5], [0.5, 0.3], [np.nan], [-1.0]])
def test_fractions_that_do_not_increase_are_refused(times: list[float]) -> None:
    with pytest.raises(BadInput, match="increase"):
        spending.spending_bounds(times)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": 1.0}, "alpha"),
        ({"gamma": 0.0}, "gamma"),
        ({"shares": (0.5,)}, "shares"),
        ({"shares": (0.6, 0.5)}, "shares"),
        ({"shares": (0.5, np.nan)}, "shares"),
    ],
)
def test_a_plan_that_cannot_be_spent_is_bad_input_that_names_what(given: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput) as caught:
        spending.spending_bounds((0.5, 1.0), **given)
    assert field in caught.value.field


def test_alpha_is_spent_by_shares_and_looks_correlate_by_their_information() -> None:
    """The plan was thought larger at first: shares lag behind the information in any unit."""
    times, shares = np.array([300.0, 500.0, 900.0]), np.array([0.2, 0.5, 1.0])
    bounds = spending.spending_bounds(times, shares=shares)
    spent = spending.spent_alpha(shares, 0.05, Alternative.TWO_SIDED, Spending.OBRIEN_FLEMING)
    np.testing.assert_allclose(bounds.spent, spent, rtol=1e-9)
    first = bounds.crossing(0.0)
    np.testing.assert_allclose(np.cumsum(first.above + first.below), spent, rtol=1e-6)
    np.testing.assert_allclose(bounds.z, spending.spending_bounds(times / 900, shares=shares).z, rtol=1e-9)
    # a share that does not grow spends nothing and rejects nothing
    still = spending.spending_bounds(times, shares=(0.2, 0.2, 1.0))
    assert np.isinf(still.z).tolist() == [False, True, False]
    assert still.ended == 2


def test_a_level_next_to_certainty_still_has_bounds() -> None:
    bounds = spending.spending_bounds([0.5, 1.0], alpha=1 - 1e-7, alternative=Alternative.GREATER)
    first = bounds.crossing(0.0)
    assert float(first.above.sum()) == pytest.approx(1 - 1e-7, abs=1e-9)
    assert (first.below == 0).all()


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"times": (0.5, 0.5)}, ("information fractions increase from above 0", "times", [0.5, 0.5])),
        ({"times": (0.5, 1.0), "shares": (0.6, 0.5)}, ("shares of the plan do not fall", "shares", [0.6, 0.5])),
        ({"times": (0.5,), "alpha": 1.0}, ("alpha lies between 0 and 1, gamma above 0", "alpha, gamma", (1.0, 2.0))),
    ],
)  # fmt: skip
def test_what_is_refused_says_field_value_and_fix(given: dict[str, Any], text: tuple[Any, ...]) -> None:
    with pytest.raises(BadInput) as caught:
        spending.spending_bounds(**given)
    fault = caught.value
    assert (fault.message, fault.field, fault.value) == text
    fixes = {
        "times": "give units at each look over units planned, first look first, each look once",
        "shares": "give one share for each look, first look first",
    }
    assert fault.fix == fixes.get(text[1], "")


@pytest.mark.parametrize(
    ("kind", "gamma", "spent"),
    [
        (Spending.POWER, 2.0, 0.0125), (Spending.POWER, 1.0, 0.025), (Spending.POWER, 0.5, 0.05 * np.sqrt(0.5)),
        (Spending.POCOCK, 2.0, 0.05 * np.log(1 + (np.e - 1) / 2)),
        (Spending.OBRIEN_FLEMING, 2.0, 4 * stats.norm.sf(stats.norm.isf(0.0125) * np.sqrt(2))),
    ],
)  # fmt: skip
def test_half_way_the_functions_have_spent_what_their_papers_say(
    kind: Spending, gamma: float, spent: float
) -> None:
    """Kim & DeMets (1987): α·u^ρ; Lan & DeMets (1983): α·log(1 + (e − 1)u)."""
    bounds = spending.spending_bounds([0.5, 1.0], spending=kind, gamma=gamma)
    assert bounds.spent.tolist() == pytest.approx([spent, 0.05])
    once = spending.spent_alpha([1 / 2, 1, 1.5, 3], 0.05, Alternative.TWO_SIDED, kind, gamma=gamma)
    assert once.tolist() == pytest.approx([spent, 0.05, 0.05, 0.05])


def test_a_power_of_two_is_spent_unless_said_otherwise_and_one_side_has_it_all() -> None:
    for spent in (
        spending.spending_bounds([0.5, 1], spending=Spending.POWER).spent,
        spending.spent_alpha([0.5, 1], 0.05, Alternative.GREATER, Spending.POWER),
    ):
        assert spent.tolist() == pytest.approx([0.0125, 0.05])


def test_a_plan_ends_at_the_first_look_that_spends_the_rest() -> None:
    """Rounding of a billionth is none; and a look before has not ended it."""
    for last, ended in ((1.0, 1), (1 - 1e-9, 1), (1 - 1e-8, None), (1.5, 1)):
        assert spending.spending_bounds([0.5, last]).ended == ended
    assert spending.spending_bounds([1, 2, 3]).ended == 0


@pytest.mark.parametrize("later", [1e-2, 1e-3])
@pytest.mark.parametrize("kind", list(Spending))
def test_a_look_soon_after_another_spends_its_share(kind: Spending, later: float) -> None:
    """Next to nothing has arrived in between: the bound is that of hardly any paths, not none."""
    times = [0.5, 0.5 + later, 1.0]
    bounds = spending.spending_bounds(times, spending=kind, alpha=0.2)
    first = bounds.crossing(0.0)
    spent = spending.spent_alpha(times, 0.2, Alternative.TWO_SIDED, kind)
    np.testing.assert_allclose(np.cumsum(first.above + first.below), spent, rtol=1e-6)


def test_a_first_share_of_nothing_rejects_nothing() -> None:
    bounds = spending.spending_bounds([1, 2], shares=[0, 1], spending=Spending.POCOCK)
    assert (bounds.z[0], bounds.spent[0]) == (np.inf, 0)
    assert bounds.z[1] == pytest.approx(stats.norm.isf(0.025), rel=1e-9)
    with pytest.raises(BadInput, match="shares of the plan do not fall"):
        spending.spending_bounds([1, 2], shares=[-0.1, 1])


@pytest.mark.parametrize("alternative", [Alternative.TWO_SIDED, Alternative.GREATER])
def test_bounds_cost_what_gives_them_their_power(alternative: Alternative) -> None:
    """Unequal looks: at the drift of the fixed design times √cost the upper bound is crossed as often as asked."""
    bounds = spending.spending_bounds([0.3, 0.5, 1.0], alpha=0.02, alternative=alternative)
    tail = 0.01 if alternative is Alternative.TWO_SIDED else 0.02
    cost = bounds_cost(bounds, alpha=0.02, power=0.9)
    drift = np.sqrt(cost) * (stats.norm.isf(tail) + stats.norm.ppf(0.9))
    assert bounds.crossing(drift).above.sum() == pytest.approx(0.9, abs=1e-9)
    flat = spending.spending_bounds([1.0], alpha=0.02, alternative=alternative)
    assert bounds_cost(flat, alpha=0.02, power=0.9) == pytest.approx(1, abs=1e-9)


def test_looks_cost_what_their_bounds_cost() -> None:
    bounds = spending.spending_bounds([0.25, 0.5, 0.75, 1], alpha=0.02, spending=Spending.POCOCK)
    assert looks_cost(4, alpha=0.02, power=0.9, spending=Spending.POCOCK) == bounds_cost(
        bounds, alpha=0.02, power=0.9
    )
