"""Confidence sequences: duality, tightness at n_star, one side, lifts, the small-variant gate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import integrate, stats

from switchpoint.analysis.inference import contrast, sequential
from switchpoint.analysis.inference.sample import Sample, from_moments, proportion
from switchpoint.analysis.numerics.estimates import Alternative, Distribution
from switchpoint.analysis.numerics.reasons import Reason
from tests.analysis.inference.strategies import pairs

n_stars = st.sampled_from([50, 1000, 50_000])


@given(pairs(), n_stars, st.sampled_from([0.01, 0.05, 0.2]), st.sampled_from(list(Alternative)))
def test_p_e_value_and_interval_are_one_statement(
    pair: tuple[Sample, Sample], n_star: int, alpha: float, alternative: Alternative
) -> None:
    for test in (contrast.sequence, contrast.lift_sequence):
        result = test(contrast.from_samples(*pair), n_star=n_star, alpha=alpha, alternative=alternative)
        if result.why_not() is not None:
            continue
        one = result.at()
        assume(abs(one.p_value - alpha) > 1e-9)
        assert (one.p_value < alpha) == (not one.low <= 0 <= one.high)
        assert one.log_e is not None
        assert one.p_value == pytest.approx(min(1.0, np.exp(-one.log_e)), rel=1e-12)


@given(pairs(), n_stars)
def test_sequential_is_wider_than_fixed_at_every_look(pair: tuple[Sample, Sample], n_star: int) -> None:
    peeked, once = (
        contrast.sequence(contrast.from_samples(*pair), n_star=n_star).at(),
        contrast.effect(contrast.from_samples(*pair), distribution=Distribution.NORMAL).at(),
    )
    assert peeked.low < once.low
    assert peeked.p_value >= once.p_value


@given(pairs())
def test_swapping_the_variants_negates(pair: tuple[Sample, Sample]) -> None:
    one = contrast.sequence(contrast.from_samples(*pair), n_star=1000).at()
    other = contrast.sequence(contrast.from_samples(*reversed(pair)), n_star=1000).at()
    assert (other.low, other.high, other.p_value) == (-one.high, -one.low, one.p_value)
    greater = contrast.sequence(
        contrast.from_samples(*pair), n_star=1000, alternative=Alternative.GREATER
    ).at()
    less = contrast.sequence(
        contrast.from_samples(*reversed(pair)), n_star=1000, alternative=Alternative.LESS
    ).at()
    assert (less.high, less.p_value) == (-greater.low, greater.p_value)


@given(pairs(), n_stars)
def test_intervals_are_nested_in_alpha(pair: tuple[Sample, Sample], n_star: int) -> None:
    """For one mixture: the rejected set of a smaller alpha lies inside that of a larger one."""
    k = sequential.mixing_units(n_star, 0.05)
    n = pair[0].n + pair[1].n
    reach = sequential.boundary(n, np.array([0.001, 0.01, 0.05, 0.2]), k)
    assert (np.diff(reach) < 0).all()


def test_the_sequence_is_tightest_at_n_star() -> None:
    n = np.arange(100, 20_001, 50.0)
    width = sequential.boundary(n, 0.05, sequential.mixing_units(5000, 0.05)) / np.sqrt(n)
    normalised = sequential.boundary(n, 0.05, sequential.mixing_units(n, 0.05)) / np.sqrt(n)
    at = int(np.searchsorted(n, 5000))
    assert width[at] == pytest.approx(normalised[at], rel=1e-12)
    tuned = [
        sequential.boundary(5000, 0.05, sequential.mixing_units(star, 0.05))
        for star in (2500, 4500, 5000, 5500, 10_000)
    ]
    assert int(np.argmin(tuned)) == 2


@pytest.mark.parametrize("z", [-3.0, 0.0, 1.0, 2.5, 6.0])
def test_the_e_value_is_the_normal_mixture_of_likelihood_ratios(z: float) -> None:
    """Directly from the definition: average the likelihood ratio over a N(0, 1/k) effect per unit sd."""
    n, k = 800.0, 300.0

    def integrand(effect: float) -> float:
        return float(np.exp(effect * z * np.sqrt(n) - effect**2 * n / 2) * stats.norm.pdf(effect, 0, k**-0.5))

    mixed = integrate.quad(integrand, -1.5, 1.5, points=[z / np.sqrt(n)], epsabs=0, epsrel=1e-10)[0]
    assert np.exp(sequential.log_e_value(z, n, k)) == pytest.approx(mixed, rel=1e-8)


@pytest.mark.parametrize("z", [-4.0, -0.5, 0.0, 0.5, 2.0, 5.0, 40.0])
def test_the_one_sided_e_value_never_exceeds_its_mixture(z: float) -> None:
    n, k = 800.0, 300.0
    log_e = float(sequential.log_e_value(z, n, k, Alternative.GREATER))
    x = z * z * n / (2 * (n + k))
    mixture = np.log(2) + x + stats.norm.logcdf(np.sign(z) * np.sqrt(2 * x)) - 0.5 * np.log1p(n / k)
    assert np.isfinite(log_e)
    assert log_e <= mixture + 1e-12


def test_the_sequential_lift_inverts_its_own_test() -> None:
    control, treatment = from_moments(3000, 5.0, 90.0), from_moments(2800, 6.0, 110.0)
    one = contrast.lift_sequence(contrast.from_samples(control, treatment), n_star=6000).at()
    for bound in (one.low, one.high):
        again = contrast.lift_sequence(
            contrast.from_samples(control, treatment), n_star=6000, null=bound
        ).at()
        assert again.p_value == pytest.approx(0.05, rel=1e-9)


def test_reasons_reach_the_sequence() -> None:
    nothing = contrast.sequence(contrast.from_samples(proportion(100, 0), proportion(100, 3)), n_star=1000)
    assert nothing.why_not() is Reason.ZERO_VARIANCE
    assert nothing.log_e is not None
    assert np.isnan(nothing.log_e[()])
    wide = contrast.lift_sequence(
        contrast.from_samples(from_moments(100, 0.1, 100.0), from_moments(100, 3.0, 100.0)), n_star=1000
    )
    assert wide.why_not() is Reason.UNBOUNDED_LIFT


def test_e_values_of_overwhelming_evidence_do_not_overflow() -> None:
    one = contrast.sequence(
        contrast.from_samples(from_moments(10**6, 1.0, 1.0), from_moments(10**6, 2.0, 1.0)), n_star=10**6
    ).at()
    assert one.log_e is not None
    assert one.log_e > 100_000
    assert one.p_value == 0.0
    assert one.log_p == pytest.approx(-one.log_e)


def test_running_p_keeps_the_best_look() -> None:
    np.testing.assert_allclose(sequential.running_p([-1.0, 2.0, 0.5]), [1.0, np.exp(-2.0), np.exp(-2.0)])
