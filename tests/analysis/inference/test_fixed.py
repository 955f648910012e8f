"""Fixed-horizon comparisons: duality, symmetry, scale, tails, reasons. Oracles are in tests/oracles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from switchpoint.analysis.inference import contrast, sample
from switchpoint.analysis.inference.sample import Sample, from_moments
from switchpoint.analysis.numerics.estimates import Alternative, Distribution
from switchpoint.analysis.numerics.reasons import CannotEstimate, Reason
from tests.analysis.inference.strategies import pairs

alphas = st.sampled_from([0.001, 0.01, 0.05, 0.1, 0.3])
alternatives = st.sampled_from(list(Alternative))


@given(pairs(), alphas, alternatives)
def test_p_below_alpha_exactly_when_the_interval_excludes_the_null(
    pair: tuple[Sample, Sample], alpha: float, alternative: Alternative
) -> None:
    for test in (contrast.effect, contrast.lift):
        result = test(contrast.from_samples(*pair), alpha=alpha, alternative=alternative)
        if result.why_not() is not None:
            continue
        one = result.at()
        assume(abs(one.p_value - alpha) > 1e-9)
        assert (one.p_value < alpha) == (not one.low <= 0 <= one.high)


@given(pairs(), alphas, alternatives)
def test_effect_and_lift_test_one_null(
    pair: tuple[Sample, Sample], alpha: float, alternative: Alternative
) -> None:
    absolute = contrast.effect(contrast.from_samples(*pair), alpha=alpha, alternative=alternative)
    relative = contrast.lift(contrast.from_samples(*pair), alpha=alpha, alternative=alternative)
    if relative.why_not() is None:
        assert relative.p_value[()] == absolute.p_value[()]
        assert relative.significant == absolute.significant


@given(pairs())
def test_swapping_the_variants_negates_the_effect(pair: tuple[Sample, Sample]) -> None:
    one, other = (
        contrast.effect(contrast.from_samples(*pair)).at(),
        contrast.effect(contrast.from_samples(*reversed(pair))).at(),
    )
    assert (other.estimate, other.low, other.high) == (-one.estimate, -one.high, -one.low)
    assert other.p_value == one.p_value


@given(pairs())
def test_swapping_the_variants_inverts_the_lift(pair: tuple[Sample, Sample]) -> None:
    forward, backward = (
        contrast.lift(contrast.from_samples(*pair)),
        contrast.lift(contrast.from_samples(*reversed(pair))),
    )
    assume(forward.why_not() is None and backward.why_not() is None)
    assume(forward.low[()] > -0.999)
    assert 1 / (1 + backward.high[()]) == pytest.approx(1 + forward.low[()], rel=1e-6)


@given(pairs(), st.floats(0.001, 1000))
def test_scaling_the_metric_scales_the_effect_and_leaves_the_lift(
    pair: tuple[Sample, Sample], c: float
) -> None:
    scaled = [from_moments(side.n, c * side.mean, c * c * side.variance) for side in pair]
    one, other = (
        contrast.effect(contrast.from_samples(*pair)).at(),
        contrast.effect(contrast.from_samples(*scaled)).at(),
    )
    assert other.low == pytest.approx(c * one.low, rel=1e-9, abs=1e-9 * c * one.standard_error)
    lift, scaled_lift = (
        contrast.lift(contrast.from_samples(*pair)),
        contrast.lift(contrast.from_samples(*scaled)),
    )
    if lift.why_not() is None:
        assert scaled_lift.at().high == pytest.approx(lift.at().high, rel=1e-6, abs=1e-9)


@given(pairs())
def test_intervals_are_nested_in_alpha(pair: tuple[Sample, Sample]) -> None:
    levels = np.array([0.001, 0.01, 0.05, 0.2])
    both = contrast.from_samples(*pair)
    for result in (
        contrast.effect(both, alpha=levels), contrast.lift(both, alpha=levels),
        contrast.log_ratio_lift(*pair, alpha=levels),
    ):  # fmt: skip
        held = result.reason == 0
        assert (np.diff(result.low[held]) > 0).all()
        assert (np.diff(result.high[held]) < 0).all()


def test_fieller_inverts_the_test_of_every_ratio() -> None:
    control, treatment = from_moments(300, 5.0, 90.0), from_moments(280, 6.0, 110.0)
    one = contrast.lift(contrast.from_samples(control, treatment)).at()
    for bound in (one.low, one.high):
        assert contrast.lift(
            contrast.from_samples(control, treatment), null=bound
        ).at().p_value == pytest.approx(0.05, rel=1e-9)


def test_a_control_mean_near_zero_has_no_finite_lift() -> None:
    result = contrast.lift(
        contrast.from_samples(from_moments(100, 0.1, 100.0), from_moments(100, 3.0, 100.0))
    )
    assert result.why_not() is Reason.UNBOUNDED_LIFT
    with pytest.raises(CannotEstimate, match="finite interval"):
        result.at()
    assert result.estimate[()] == pytest.approx(29.0)


@pytest.mark.parametrize(
    ("control", "treatment", "reason"),
    [
        (sample.proportion(100, 0), sample.proportion(100, 5), Reason.ZERO_VARIANCE),
        (sample.proportion(100, 5), sample.proportion(1, 1), Reason.TOO_FEW_UNITS),
        (sample.from_moments(50, -1.0, 4.0), sample.from_moments(50, 1.0, 4.0), Reason.ZERO_CONTROL),
        (sample.from_moments(50, 0.0, 4.0), sample.from_moments(50, 1.0, 4.0), Reason.ZERO_CONTROL),
    ],
)
def test_reasons_reach_the_comparison(control: Sample, treatment: Sample, reason: Reason) -> None:
    result = contrast.lift(contrast.from_samples(control, treatment))
    assert result.why_not() is reason
    assert np.isnan(result.p_value[()])
    assert not result.significant


def test_one_bad_comparison_does_not_touch_its_neighbours() -> None:
    result = contrast.effect(
        contrast.from_samples(sample.proportion([100, 100, 0], [5, 0, 0]), sample.proportion(100, [9, 9, 9]))
    )
    assert [result.why_not(i) for i in range(3)] == [None, Reason.ZERO_VARIANCE, Reason.TOO_FEW_UNITS]
    assert (
        result.at(0).p_value
        == contrast.effect(contrast.from_samples(sample.proportion(100, 5), sample.proportion(100, 9)))
        .at()
        .p_value
    )


@pytest.mark.parametrize("t", [5.0, 12.0, 30.0])
def test_p_keeps_its_digits_in_the_tail(t: float) -> None:
    result = contrast.effect(
        contrast.from_samples(from_moments(2000, 0.0, 1000.0), from_moments(2000, t, 1000.0))
    ).at()
    assert result.p_value == pytest.approx(2 * stats.t.sf(t, 3998), rel=1e-12)
    assert result.log_p == pytest.approx(np.log(2) + stats.t.logsf(t, 3998), rel=1e-9)


def test_log_p_continues_where_p_underflows() -> None:
    """At t = 60 with 3998 degrees of freedom p is about 10⁻⁵⁴⁷."""
    result = contrast.effect(
        contrast.from_samples(from_moments(2000, 0.0, 1000.0), from_moments(2000, 60.0, 1000.0))
    ).at()
    df, peak = result.df, stats.t.logpdf(60.0, result.df)
    beyond = integrate.quad(
        lambda x: np.exp(stats.t.logpdf(x, df) - peak), 60.0, 62.0, epsabs=0, epsrel=1e-12
    )[0]
    assert result.p_value == 0.0
    assert result.log_p == pytest.approx(np.log(2) + peak + np.log(beyond), rel=1e-9)
    normal = contrast.effect(
        contrast.from_samples(from_moments(2000, 0.0, 1000.0), from_moments(2000, 60.0, 1000.0)),
        distribution=Distribution.NORMAL,
    )
    assert normal.log_p[()] == pytest.approx(np.log(2) + stats.norm.logsf(60.0), rel=1e-12)


def test_log_ratio_never_goes_below_minus_100_percent() -> None:
    one = contrast.log_ratio_lift(from_moments(8, 2.0, 30.0), from_moments(8, 1.0, 30.0)).at()
    assert -1 < one.low < one.estimate < one.high


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_batch_of_comparisons_equals_each_one_alone_to_the_last_digit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, m = rng.integers(2, 500, (2, 20))
    a, b = rng.normal(3, 1, (2, 20))
    together = contrast.lift(contrast.from_samples(from_moments(n, a, 4.0), from_moments(m, b, 5.0)))
    for i in range(20):
        alone = contrast.lift(
            contrast.from_samples(from_moments(n[i], a[i], 4.0), from_moments(m[i], b[i], 5.0))
        )
        assert together.reason[i] == alone.reason[()]
        np.testing.assert_array_equal([together.low[i], together.high[i]], [alone.low[()], alone.high[()]])
