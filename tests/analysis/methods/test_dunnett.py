"""Dunnett's test against scipy, tables and simulation."""

from __future__ import annotations

import numpy as np
import pytest

from switchpoint.analysis.inference.sample import from_moments, from_values, stack
from switchpoint.analysis.methods import dunnett as many_to_one
from switchpoint.analysis.numerics.estimates import Alternative
from switchpoint.analysis.numerics.reasons import Reason


@pytest.mark.parametrize("alternative", list(Alternative))
def test_small_samples_agree_with_scipy(alternative: Alternative) -> None:
    from scipy import stats

    rng = np.random.default_rng(1)
    groups = [rng.normal(shift, 2.0, n) for shift, n in ((0, 14), (0.5, 9), (1.8, 12), (-1.0, 10))]
    theirs = stats.dunnett(
        *groups[1:], control=groups[0], alternative=alternative.value, rng=np.random.default_rng(2)
    )
    own = many_to_one.dunnett(
        from_values(groups[0]),
        stack([from_values(g) for g in groups[1:]]),
        pooled=True,
        alternative=alternative,
    )
    np.testing.assert_allclose(own.statistic, theirs.statistic, rtol=1e-10)
    np.testing.assert_allclose(own.p_value, theirs.pvalue, atol=2e-4)
    interval = theirs.confidence_interval(0.95)
    np.testing.assert_allclose(own.low, interval.low, atol=5e-3)
    np.testing.assert_allclose(own.high, interval.high, atol=5e-3)


@pytest.mark.parametrize(("treatments", "df", "value"), [(1, 10, 2.228), (2, 10, 2.57), (4, 20, 2.65)])
def test_critical_values_of_dunnetts_table(treatments: int, df: int, value: float) -> None:
    """Two-sided 5 %, equal sizes (Dunnett 1964, table II)."""
    load = np.full(treatments, np.sqrt(0.5))
    found = many_to_one._critical(0.05, load, float(df), Alternative.TWO_SIDED)
    assert found == pytest.approx(value, abs=6e-3)


def test_the_family_keeps_its_error_and_flags_agree_with_intervals() -> None:
    """The bound of known variances, met by 400,000 families at once; flags and intervals of some of them."""
    rng, n, runs = np.random.default_rng(3), np.array([400, 200, 300, 300, 100]), 400_000
    mean = rng.normal(0, 1, (runs, 5)) / np.sqrt(n)
    error = np.sqrt(1 / n[0] + 1 / n[1:])
    z = (mean[:, 1:] - mean[:, :1]) / error
    for own in (*mean[:20], mean[np.abs(z).max(axis=1).argmax()]):
        found = many_to_one.dunnett(from_moments(400, own[0], 1.0), from_moments(n[1:], own[1:], np.ones(4)))
        assert (found.significant == ((found.low > 0) | (found.high < 0))).all()
    assert found.significant.any()
    reach = (found.high - found.low) / 2 / error
    wrong = (np.abs(z) > reach).any(axis=1).mean()
    assert wrong == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / runs) + 2e-4)


def test_one_treatment_is_the_plain_test_and_tails_keep_their_digits() -> None:
    control = from_moments(1000, 10.0, 4.0)
    one = many_to_one.dunnett(control, from_moments([1000], [10.1], [4.0]))
    z = 0.1 / np.sqrt(8 / 1000)
    assert float(one.p_value[0]) == pytest.approx(2 * float(1 - _phi(z)), rel=1e-9)
    far = many_to_one.dunnett(control, from_moments([1000, 1000], [14.0, 10.0], [4.0, 4.0]))
    assert far.log_p[0] < -900
    assert np.isfinite(far.log_p[0])


def _phi(z: float) -> float:
    from scipy import special

    return float(special.ndtr(z))


def test_a_treatment_without_variance_keeps_its_reason_and_the_family_its_size() -> None:
    control = from_moments(100, 1.0, 1.0)
    found = many_to_one.dunnett(control, from_moments([100, 100, 1], [1.3, 1.2, 5.0], [1.0, 0.0, 0.0]))
    assert found.why_not(0) is None
    assert found.why_not(1) is Reason.ZERO_VARIANCE
    assert found.why_not(2) is Reason.TOO_FEW_UNITS
    alone = many_to_one.dunnett(control, from_moments([100], [1.3], [1.0]))
    assert found.p_value[0] > alone.p_value[0]
