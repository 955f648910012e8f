"""Effects with a correlated baseline: one test for effect and lift, whatever the covariance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchpoint.analysis.inference import contrast
from switchpoint.analysis.inference.contrast import Contrast, from_samples
from switchpoint.analysis.inference.sample import from_moments
from switchpoint.analysis.numerics.estimates import Alternative
from switchpoint.analysis.numerics.reasons import Reason


def test_a_lift_without_bounds_is_a_reason_also_where_a_root_overflows() -> None:
    """Nothing is significant here: the lift's set is the whole line, and its root next to zero is ±inf."""
    for covariance in (5e-324, -5e-324, 1e-313, 0.0):
        one = Contrast(
            n=np.asarray(1000.0), effect=np.asarray(0.0), baseline=np.asarray(1.0), variance=np.asarray(1.0),
            covariance=np.asarray(covariance), baseline_variance=np.asarray(1.0), df=np.asarray(5.0),
            reason=np.asarray(0, dtype=np.uint8),
        )  # fmt: skip
        assert contrast.lift(one).why_not() is Reason.UNBOUNDED_LIFT
        assert contrast.lift_sequence(one, n_star=5000).why_not() is Reason.UNBOUNDED_LIFT
        assert contrast.effect(one).at().p_value == 1.0


@st.composite
def contrasts(draw: st.DrawFn) -> Contrast:
    """Any effect, baseline and joint variance."""
    error, own = draw(st.floats(0.01, 1.0)), draw(st.floats(0.01, 1.0))
    rho = draw(st.floats(-0.99, 0.99))
    return Contrast(
        n=np.asarray(1000.0), effect=np.asarray(draw(st.floats(-3, 3))),
        baseline=np.asarray(draw(st.floats(1.0, 20.0))), variance=np.asarray(error**2),
        covariance=np.asarray(rho * error * own), baseline_variance=np.asarray(own**2),
        df=np.asarray(draw(st.floats(5, 1e6))), reason=np.asarray(0, dtype=np.uint8),
    )  # fmt: skip


@given(contrasts(), st.sampled_from(Alternative), st.sampled_from([0.01, 0.05, 0.2]))
def test_effect_lift_p_and_intervals_tell_one_story(one: Contrast, side: Alternative, alpha: float) -> None:
    effect = contrast.effect(one, alpha=alpha, alternative=side)
    lift = contrast.lift(one, alpha=alpha, alternative=side)
    assert effect.significant == (effect.low > 0 or effect.high < 0)
    np.testing.assert_allclose(
        lift.p_value if lift.reason == 0 else effect.p_value, effect.p_value, rtol=1e-12
    )
    if lift.reason == 0:
        assert lift.significant == effect.significant == (lift.low > 0 or lift.high < 0)


def test_the_fieller_interval_holds_the_lifts_that_are_not_rejected() -> None:
    one = Contrast(
        n=np.asarray(900.0), effect=np.asarray(0.8), baseline=np.asarray(5.0), variance=np.asarray(0.09),
        covariance=np.asarray(-0.02), baseline_variance=np.asarray(0.04), df=np.asarray(40.0),
        reason=np.asarray(0, dtype=np.uint8),
    )  # fmt: skip
    interval = contrast.lift(one)
    for bound in (interval.low, interval.high):
        assert float(contrast.lift(one, null=bound).p_value) == pytest.approx(0.05, rel=1e-9)


def test_a_zero_baseline_or_no_variance_is_a_reason() -> None:
    zero = from_samples(from_moments(50, 0.0, 1.0), from_moments(50, 1.0, 1.0))
    assert contrast.lift(zero).why_not() is Reason.ZERO_CONTROL
    flat = from_samples(from_moments(50, 1.0, 0.0), from_moments(50, 1.0, 0.0))
    assert contrast.effect(flat).why_not() is Reason.ZERO_VARIANCE
