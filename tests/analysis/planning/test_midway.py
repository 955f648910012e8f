"""Units still to collect: the root of the power, and reasons where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.errors import Reason
from analysis.inference.sample import from_moments
from analysis.planning import designs, midway, power
from analysis.planning.midway import Family
from analysis.planning.spending import planned
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
