"""Covariate adjustment from moments: against regression, invariances, refusals, coverage of the lift."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchpoint.analysis.inference import adjust, contrast
from switchpoint.analysis.inference.adjust import Adjusted, Joint, Theta
from switchpoint.analysis.inference.sample import Sample
from switchpoint.analysis.numerics.estimates import Estimates
from switchpoint.analysis.numerics.reasons import Reason
from tests.analysis.inference.strategies import joint_of


def _data(rng: np.random.Generator, n: int, rho: float = 0.8, effect: float = 0.0) -> Joint:
    before = rng.gamma(2.0, 5.0, n)
    after = rho * before + rng.gamma(2.0, 5.0, n) + effect
    return joint_of(after, before)


def test_a_strong_covariate_removes_its_share_of_the_variance() -> None:
    rng = np.random.default_rng(1)
    control, treatment = _data(rng, 4000), _data(rng, 4000, effect=0.5)
    found = adjust.adjust_mean(control, treatment)
    rho2 = 0.8**2 / (1 + 0.8**2)
    assert float(found.reduction) == pytest.approx(rho2, abs=0.03)
    plain = contrast.effect(contrast.from_samples(*(one_column(side) for side in (control, treatment))))
    assert (
        contrast.effect(contrast.from_samples(found.control, found.treatment)).standard_error
        < plain.standard_error
    )
    np.testing.assert_allclose(contrast.effect(found.unadjusted).p_value, plain.p_value)


def one_column(side: Joint) -> Sample:
    """The outcome alone."""
    return Sample(
        n=side.n, mean=side.mean[..., 0], variance=side.covariance[..., 0, 0], df=side.n - 1,
        reason=side.reason,
    )  # fmt: skip


def test_theta_is_the_slope_of_a_regression_on_both_variants() -> None:
    from statsmodels.api import OLS, add_constant

    rng = np.random.default_rng(2)
    before, after = rng.normal(size=(2, 300))
    after += 0.5 * before
    treated = np.arange(300) < 120
    sides = [joint_of(after[part], before[part]) for part in (~treated, treated)]
    slope = OLS(after, add_constant(before)).fit().params[1]
    assert float(adjust.adjust_mean(*sides).theta) == pytest.approx(slope, rel=1e-10)
    within = adjust.adjust_mean(*sides, theta=Theta.WITHIN)
    assert float(within.theta) == pytest.approx(slope, abs=0.02)


def test_a_theta_fixed_before_is_used_as_it_is() -> None:
    rng = np.random.default_rng(3)
    control, treatment = _data(rng, 500), _data(rng, 400)
    found = adjust.adjust_mean(control, treatment, theta=0.0)
    np.testing.assert_allclose(found.contrast.variance, found.unadjusted.variance)
    np.testing.assert_allclose(found.contrast.effect, found.unadjusted.effect)


@given(st.integers(0, 2**32 - 1))
def test_swapping_variants_negates_the_effect_and_keeps_p(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = _data(rng, 60), _data(rng, 40)
    there, back = (contrast.effect(adjust.adjust_mean(*pair).contrast) for pair in ((a, b), (b, a)))
    np.testing.assert_allclose([there.low, there.high], [-back.high, -back.low], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(there.p_value, back.p_value, rtol=1e-9)


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1e4), st.floats(0.01, 1e4))
def test_units_of_money_do_not_matter(seed: int, scale: float, other: float) -> None:
    rng = np.random.default_rng(seed)
    before, after = rng.gamma(1.0, 1.0, (2, 2, 50))
    plain = _lift(adjust.adjust_mean(*(joint_of(after[v], before[v]) for v in range(2))))
    scaled = _lift(adjust.adjust_mean(*(joint_of(scale * after[v], other * before[v]) for v in range(2))))
    assert plain.reason == scaled.reason
    np.testing.assert_allclose([plain.low, plain.high], [scaled.low, scaled.high], rtol=1e-7, atol=1e-9)


def _lift(found: Adjusted) -> Estimates:
    return contrast.lift(found.contrast)


def test_sums_in_cents_of_any_size_give_the_moments_to_the_last_digit() -> None:
    rng = np.random.default_rng(4)
    base = 10**14
    x, z = (base + rng.integers(0, 1000, 50) for _ in range(2))
    cents = [int(v) for v in x], [int(v) for v in z]
    sums = [sum(column) for column in cents]
    products = [
        [sum(a * b for a, b in zip(cents[i], cents[j], strict=True)) for j in range(i, 2)] for i in range(2)
    ]
    exact = adjust.from_sums(50, sums, products, scale=[100, 100])
    small = joint_of((x - base) / 100, (z - base) / 100)
    np.testing.assert_allclose(exact.covariance, small.covariance, rtol=1e-12)


def test_shards_merge_to_the_same_joint_moments() -> None:
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(3, 90))
    whole = joint_of(*rows)
    merged = adjust.pool(joint_of(*rows[:, :30]), joint_of(*rows[:, 30:]))
    np.testing.assert_allclose(merged.mean, whole.mean)
    np.testing.assert_allclose(merged.covariance, whole.covariance)


def test_a_covariate_that_says_nothing_leaves_the_plain_comparison_and_says_so() -> None:
    rng = np.random.default_rng(6)
    sides = [joint_of(rng.normal(size=80), np.ones(80)) for _ in range(2)]
    found = adjust.adjust_mean(*sides)
    assert Reason.of(int(found.covariate_reason)) is Reason.ZERO_VARIANCE
    np.testing.assert_allclose(found.contrast.effect, found.unadjusted.effect)
    no_visits = [joint_of(*rng.gamma(1, 1, (2, 80)), *np.zeros((2, 80))) for _ in range(2)]
    ratio = adjust.adjust_ratio(*no_visits)
    assert Reason.of(int(ratio.covariate_reason)) is Reason.ZERO_DENOMINATOR
    assert ratio.contrast.reason == 0
    np.testing.assert_allclose(ratio.contrast.effect, ratio.unadjusted.effect)


@pytest.mark.parametrize(
    ("side", "reason"),
    [
        (adjust.from_sums(1, [1, 1], [[1, 1], [1]]), Reason.TOO_FEW_UNITS),
        (adjust.from_sums(5, [10, 1], [[1, 1], [1]]), Reason.IMPOSSIBLE_MOMENTS),
        (adjust.from_sums(5, [0, 0], [[10, 50], [10]]), Reason.IMPOSSIBLE_MOMENTS),
        (adjust.from_moments(5, [0.0, np.nan], np.eye(2)), Reason.NOT_FINITE),
        (adjust.from_moments(5, [0.0, 0.0], [[1.0, 2.0], [2.0, 1.0]]), Reason.IMPOSSIBLE_MOMENTS),
        (adjust.from_moments(5, [0.0, 0.0], [[0.0, 0.0], [0.0, 1.0]]), Reason.ZERO_VARIANCE),
    ],
)
def test_bad_moments_are_a_reason_never_a_number(side: Joint, reason: Reason) -> None:
    good = adjust.from_moments(50, [1.0, 1.0], np.eye(2))
    found = contrast.effect(adjust.adjust_mean(good, side).contrast)
    assert (
        found.why_not() is (reason if reason is not Reason.ZERO_VARIANCE else None)
        or found.reason == reason.code
    )


def test_the_lift_of_an_adjusted_mean_covers_the_truth_because_of_the_baseline_covariance() -> None:
    """rho 0.9 and a lift of 30 %: leaving the covariance out covers less."""
    rng = np.random.default_rng(7)
    runs, n, lift = 3000, 400, 0.3
    before = rng.gamma(4.0, 1.0, (2, runs, n))
    after = before + rng.normal(0, 1.0, (2, runs, n))
    after[1] *= 1 + lift
    found = adjust.adjust_mean(*(joint_of(after[v], before[v]) for v in range(2)))
    interval = contrast.lift(found.contrast)
    covered = float(((interval.low <= lift) & (lift <= interval.high)).mean())
    assert covered == pytest.approx(0.95, abs=4 * np.sqrt(0.05 * 0.95 / runs))
