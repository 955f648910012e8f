"""Two proportions: score test and its dual intervals, restricted likelihood, extremes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from switchpoint.analysis.inference import contrast, proportion, sample
from switchpoint.analysis.inference.proportion import restricted_rates_difference, restricted_rates_ratio
from switchpoint.analysis.methods import exact_tests as exact
from switchpoint.analysis.numerics.estimates import Alternative
from switchpoint.analysis.numerics.reasons import Reason
from switchpoint.experiment.definition.types import Direction


@st.composite
def tables(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """Successes and units of control and treatment, not all (or none) of them successes."""
    nc, nt = draw(st.integers(2, 5000)), draw(st.integers(2, 5000))
    xc, xt = draw(st.integers(0, nc)), draw(st.integers(0, nt))
    assume(0 < xc + xt < nc + nt)
    return xc, nc, xt, nt


@settings(deadline=None)
@given(tables(), st.sampled_from([0.001, 0.05, 0.2]), st.sampled_from(list(Alternative)))
def test_score_p_and_both_intervals_are_one_statement(
    table: tuple[int, int, int, int], alpha: float, alternative: Alternative
) -> None:
    absolute = proportion.score_difference(*table, alpha=alpha, alternative=alternative).at()
    assume(abs(absolute.p_value - alpha) > 1e-9)
    assert (absolute.p_value < alpha) == (not absolute.low <= 0 <= absolute.high)
    relative = proportion.score_lift(*table, alpha=alpha, alternative=alternative)
    if table[0] > 0:
        one = relative.at()
        assert one.p_value == pytest.approx(absolute.p_value, rel=1e-9)
        assert (one.p_value < alpha) == (not one.low <= 0 <= one.high)
    else:
        assert relative.why_not() is Reason.ZERO_CONTROL


@settings(deadline=None)
@given(tables())
def test_bounds_are_where_the_score_test_just_rejects(table: tuple[int, int, int, int]) -> None:
    one = proportion.score_difference(*table).at()
    for bound in (one.low, one.high):
        if abs(bound) < 1:
            again = proportion.score_difference(*table, null=bound).at()
            assert again.p_value == pytest.approx(0.05, rel=1e-6)


@settings(deadline=None)
@given(tables())
def test_swapping_variants_and_mirroring_outcomes_negate(table: tuple[int, int, int, int]) -> None:
    xc, nc, xt, nt = table
    one = proportion.score_difference(*table).at()
    swapped = proportion.score_difference(xt, nt, xc, nc).at()
    mirrored = proportion.score_difference(nc - xc, nc, nt - xt, nt).at()
    for other in (swapped, mirrored):
        assert other.p_value == pytest.approx(one.p_value, rel=1e-9)
        assert (-other.high, -other.low) == pytest.approx((one.low, one.high), rel=1e-9, abs=1e-12)


@settings(deadline=None, max_examples=50)
@given(tables(), st.floats(-0.95, 0.95))
def test_restricted_rates_maximise_the_likelihood(table: tuple[int, int, int, int], d: float) -> None:
    xc, nc, xt, nt = table

    def loss(p: float) -> float:
        return -float(stats.binom.logpmf(xc, nc, p) + stats.binom.logpmf(xt, nt, np.clip(p + d, 0, 1)))

    pc, pt = (float(p) for p in restricted_rates_difference(*(np.asarray(v, float) for v in (*table, d))))
    assert pt - pc == pytest.approx(d, abs=1e-12)
    low, high = max(0.0, -d), min(1.0, 1 - d)
    best = optimize.minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-12})
    assert loss(pc) <= best.fun + 1e-7 * max(1.0, abs(best.fun))


def test_restricted_rates_given_a_ratio_have_that_ratio() -> None:
    pc, pt = restricted_rates_ratio(*(np.asarray(v, float) for v in (12, 400, 30, 410, 1.7)))
    assert pt / pc == pytest.approx(1.7)


def test_rates_of_one_in_a_billion_keep_their_digits() -> None:
    """At such rates the difference behaves as a difference of Poisson counts."""
    n = 10**9
    one = proportion.score_difference(3, n, 9, n).at()
    assert one.p_value == pytest.approx(2 * stats.norm.sf(6 / np.sqrt(12)), rel=1e-6)
    shrunk = proportion.score_difference(3, n // 10, 9, n // 10).at()
    assert one.low * 10 == pytest.approx(shrunk.low, rel=1e-6)


def test_p_keeps_its_digits_in_the_tail() -> None:
    one = proportion.score_difference(500, 10_000, 2000, 10_000).at()
    assert one.p_value == pytest.approx(stats.chi2.sf(one.statistic**2, 1), rel=1e-10)
    assert one.p_value < 1e-200


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ((11, 10, 1, 10), Reason.IMPOSSIBLE_MOMENTS),
        ((-1, 10, 1, 10), Reason.IMPOSSIBLE_MOMENTS),
        ((0, 0, 1, 10), Reason.IMPOSSIBLE_MOMENTS),
        ((1, 10, 1.5, 10), Reason.IMPOSSIBLE_MOMENTS),
    ],
)
def test_what_cannot_be_compared_has_a_reason(table: tuple[float, ...], reason: Reason) -> None:
    result = proportion.score_difference(*table)
    assert result.why_not() is reason
    assert np.isnan(result.p_value[()])


def test_all_against_none_is_bounded_and_significant() -> None:
    one = proportion.score_difference(50, 50, 0, 60).at()
    assert one.low == -1.0
    assert one.high < -0.9
    assert one.p_value < 1e-20


def test_farrington_manning_agrees_with_the_one_sided_bound() -> None:
    for direction in Direction:
        result = proportion.noninferiority_score(
            500, 10_000, [480, 520, 560], 10_000, margin=0.005, direction=direction
        )
        bound = result.low > -0.005 if direction is Direction.INCREASE else result.high < 0.005
        np.testing.assert_array_equal(result.significant, bound)


def test_exact_tests_know_which_variant_is_treatment() -> None:
    for test in (exact.fisher, exact.boschloo):
        up = test(2, 30, 10, 30, alternative=Alternative.GREATER)
        down = test(2, 30, 10, 30, alternative=Alternative.LESS)
        assert up < 0.05 < down
        assert test(10, 30, 2, 30, alternative=Alternative.LESS) == pytest.approx(float(up), rel=1e-6)


@given(st.integers(1, 2000), st.floats(0, 1))
def test_single_proportion_intervals_hold_the_rate_and_mirror(n: int, share: float) -> None:
    x = round(n * share)
    for interval in (proportion.wilson, proportion.clopper_pearson):
        low, high = (float(bound) for bound in interval(x, n))
        assert 0 <= low <= x / n + 1e-12
        assert x / n - 1e-12 <= high <= 1
        mirror_low, mirror_high = (float(bound) for bound in interval(n - x, n))
        assert (1 - mirror_high, 1 - mirror_low) == pytest.approx((low, high), abs=1e-12)


def test_score_and_welch_agree_for_many_events() -> None:
    score = proportion.score_difference(5000, 100_000, 5300, 100_000).at()
    welch = contrast.effect(
        contrast.from_samples(sample.proportion(100_000, 5000), sample.proportion(100_000, 5300))
    ).at()
    assert score.low == pytest.approx(welch.low, rel=1e-3)
    assert score.p_value == pytest.approx(welch.p_value, rel=1e-2)


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize(("nc", "nt"), [(1, 1), (50, 50), (50, 60), (10_000, 3)])
def test_two_samples_without_any_success_still_bound_the_difference(nc: int, nt: int, every: bool) -> None:
    """0 of n against 0 of n: z²/(n + z²), as the likeliest rate of the other variant is then 0; and nothing but
    successes is the same with both outcomes exchanged."""
    one = proportion.score_difference(nc * every, nc, nt * every, nt)
    assert one.why_not() is None
    assert (float(one.estimate), float(one.p_value)) == (0.0, 1.0)
    z2 = 1.959963984540054**2
    below, above = (z2 / (n + z2) for n in ((nt, nc) if every else (nc, nt)))
    assert float(one.low) == pytest.approx(-below, rel=1e-9)
    assert float(one.high) == pytest.approx(above, rel=1e-9)
    assert 0 < float(one.standard_error) < np.inf
    safe = proportion.noninferiority_score(0, 5000, 0, 5000, margin=0.01)
    assert safe.significant
    assert proportion.score_lift(nc * every, nc, nt * every, nt).why_not() is Reason.ZERO_VARIANCE
