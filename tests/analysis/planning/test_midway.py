"""Units still to collect: the root of the power, and reasons where there is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.errors import Reason
from analysis.inference.result import Alternative
from analysis.inference.sample import from_moments
from analysis.planning import designs, midway, power
from analysis.planning.midway import Family
from analysis.planning.spending import planned
from experiment.definition import Spending
from experiment.errors import BadInput


@given(st.floats(0.001, 1.0), st.floats(0.01, 0.5), st.integers(10, 10**6), st.sampled_from([None, 5000.0]))
def test_after_the_additional_units_the_power_is_the_wanted_one(
    error: float, effect: float, n: int, n_star: float | None
) -> None:
    found = midway.more_units(error, effect, n, n_star=n_star)
    if found.reason:
        return
    after = midway.power_at(error, effect, n, more=found.factor, n_star=n_star)
    assert float(after) == pytest.approx(0.8, abs=1e-8) if found.factor > 0 else float(found.power_now) >= 0.8


def test_a_smaller_effect_and_a_larger_family_need_more() -> None:
    few = midway.more_units(0.05, [0.2, 0.1, 0.05], 1000)
    assert (np.diff(few.additional) > 0).all()
    many = midway.more_units(0.05, 0.1, 1000, family=Family(primaries=2, treatments=3))
    assert many.additional > few.additional[1]


def test_no_variance_no_effect_and_no_end_are_reasons() -> None:
    found = midway.more_units([0.0, 0.05, np.nan, 1.0], [0.1, 0.0, 0.1, 1e-9], 1000)
    reasons = [Reason.of(int(code)) for code in found.reason]
    assert reasons == [Reason.ZERO_VARIANCE, Reason.ZERO_CONTROL, Reason.ZERO_VARIANCE, Reason.OUT_OF_REACH]
    assert np.isnan(found.additional).all()


def test_a_covariate_saves_its_squared_correlation() -> None:
    plain = power.units_needed(designs.covariate_spread(4.0, 0.0), 0.1)
    helped = power.units_needed(designs.covariate_spread(4.0, 0.6), 0.1)
    assert float(helped.total / plain.total) == pytest.approx(1 - 0.36)
    history = designs.history_spread(from_moments(500, 3.0, 4.0), correlation=0.6)
    assert float(history.control) == pytest.approx(4.0 * 0.64)
    with pytest.raises(BadInput, match="correlation"):
        designs.covariate_spread(1.0, 1.0)


def test_a_group_sequential_size_is_the_fixed_one_times_its_inflation() -> None:
    size = designs.group_sequential_size(power.equal_spread(4.0), 0.1, looks=4)
    assert float(size.maximum.total / size.fixed.total) == pytest.approx(planned(4).inflation)
    assert size.expected < size.fixed.total < size.maximum.total
    assert size.expected < size.expected_null


def test_a_correlation_outside_its_range_is_named() -> None:
    for rho in (1.0, -1.0, [0.5, 1.5]):
        with pytest.raises(BadInput) as caught:
            designs.covariate_spread(1.0, rho)
        fault = caught.value
        assert (fault.message, fault.field) == ("a correlation lies between −1 and 1", "correlation")
        assert fault.value == rho
    assert float(designs.history_spread(from_moments(500, 3.0, 4.0)).treatment) == 4.0


def test_power_midway_is_that_of_a_normal_estimate_whose_error_shrinks() -> None:
    """Against scipy: both tails by name; by default only the right side counts."""
    error, effect, more = 0.05, 0.1, 0.44
    z = effect / error * np.sqrt(1 + more)
    reach = stats.norm.isf(0.005)
    right = stats.norm.sf(reach - z)
    assert float(midway.power_at(error, effect, 1000, more=more, alpha=0.01)) == pytest.approx(
        right, rel=1e-12
    )
    assert float(midway.power_at(error, -effect, 1000, more=more, alpha=0.01)) == pytest.approx(
        right, rel=1e-12
    )
    both = midway.power_at(error, 0.001, 1000, alpha=0.2, wrong_side=True)
    alone = 0.001 / error
    wrong = stats.norm.cdf(-stats.norm.isf(0.1) - alone)
    assert float(both) == pytest.approx(stats.norm.sf(stats.norm.isf(0.1) - alone) + wrong, rel=1e-12)
    # the sequence's boundary at the units there will be (Waudby-Smith et al. 2024, eq. 9)
    units, k = 1440.0, 3000 / (np.log(1 - 2 * np.log(0.01)) - 2 * np.log(0.01))
    bound = np.sqrt((units + k) / units * np.log((units + k) / (k * 0.01**2)))
    found = midway.power_at(error, effect, 1000, more=more, alpha=0.01, n_star=3000)
    assert float(found) == pytest.approx(stats.norm.sf(bound - z), rel=1e-12)


def test_additional_units_are_those_of_the_formula_of_sizes() -> None:
    """(z_α + z_power)²·(error/effect)² times the units there are; a family divides alpha and multiplies power."""
    error, effect, n = np.array([0.05, 0.02]), 0.08, 500
    family = Family(primaries=2, treatments=3)
    found = midway.more_units(error, effect, n, target=0.9, alpha=0.06, family=family)
    times = ((stats.norm.isf(0.005) + stats.norm.ppf(0.9**0.5)) * error / effect) ** 2 - 1
    np.testing.assert_allclose(found.factor, np.maximum(times, 0), rtol=1e-9)
    np.testing.assert_allclose(found.additional, np.maximum(times, 0) * n, rtol=1e-9)
    whole = Family(primaries=2, treatments=3, divided=False)
    assert (whole.alpha(0.06), family.alpha(0.06)) == (0.06, pytest.approx(0.01))
    nothing = midway.more_units([0.0, 0.05], [0.1, 0.0], n)
    assert np.isnan(nothing.power_now).all()
    assert np.isnan(nothing.factor).all()


@pytest.mark.parametrize("alternative", [Alternative.TWO_SIDED, Alternative.GREATER])
def test_a_group_sequential_size_takes_every_choice(alternative: Alternative) -> None:
    options: dict[str, Any] = {"alpha": 0.01, "alternative": alternative}
    size = designs.group_sequential_size(
        power.equal_spread(4.0), 0.2, looks=3, ratio=2.0, target=0.9, spending=Spending.POCOCK, **options
    )
    level = 0.005 if alternative is Alternative.TWO_SIDED else 0.01
    control = (stats.norm.isf(level) + stats.norm.ppf(0.9)) ** 2 * (4 + 4 / 2) / 0.2**2
    assert float(size.fixed.control) == pytest.approx(control, rel=1e-9)
    assert float(size.fixed.treatment) == pytest.approx(2 * control, rel=1e-9)
    plan = planned(3, alpha=0.01, power=0.9, alternative=alternative, spending=Spending.POCOCK)
    assert size.design is plan
    assert float(size.maximum.treatment) == pytest.approx(2 * control * plan.inflation)
    assert float(size.expected_null) == pytest.approx(3 * control * plan.expected_null)
    assert float(size.expected) == pytest.approx(3 * control * plan.expected)
