"""Beta-binomial posteriors: against closed forms, against each other, and at the extremes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from switchpoint.analysis.methods.beta_binomial import BetaPrior, posterior
from switchpoint.analysis.numerics.reasons import CannotEstimate
from switchpoint.experiment.errors import BadInput


def _closed_form(x: tuple[int, int], n: tuple[int, int]) -> float:
    """P(B > A) as a finite sum (Cook 2005) for the uniform prior."""
    a, b = x[0] + 1, n[0] - x[0] + 1
    c, d = x[1] + 1, n[1] - x[1] + 1
    i = np.arange(c)
    terms = special.betaln(a + i, b + d) - np.log(d + i) - special.betaln(1 + i, d) - special.betaln(a, b)
    return float(np.exp(terms).sum())


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_chance_to_be_better_is_the_closed_form(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 5000)), data.draw(st.integers(1, 5000))
    x = data.draw(st.integers(0, n[0])), data.draw(st.integers(0, n[1]))
    found = posterior(x, n)
    assert found.better() == pytest.approx(_closed_form(x, n), abs=1e-9)
    assert found.better() + found.better(0, 1) == pytest.approx(1, abs=1e-11)
    assert found.best().sum() == pytest.approx(1, abs=1e-11)
    loss, mean = found.expected_loss(), found.mean()
    # E max(B − A, 0) − E max(A − B, 0) = E(B − A)
    assert loss[0] - loss[1] == pytest.approx(mean[1] - mean[0], abs=1e-11)


@settings(max_examples=25, deadline=None)
@given(st.data(), st.sampled_from([0.01, 0.05, 0.2]))
def test_interval_and_decision_come_from_one_posterior(data: st.DataObject, alpha: float) -> None:
    n = data.draw(st.integers(5, 2000)), data.draw(st.integers(5, 2000))
    x = data.draw(st.integers(0, n[0])), data.draw(st.integers(0, n[1]))
    found = posterior(x, n)
    low, high = found.difference_interval(alpha=alpha)
    better = found.better()
    if min(abs(better - alpha / 2), abs(better - 1 + alpha / 2)) > 1e-9:
        assert (low > 0) == (better > 1 - alpha / 2)
        assert (high < 0) == (better < alpha / 2)


def test_three_variants_agree_with_random_draws() -> None:
    rng = np.random.default_rng(1)
    found = posterior([100, 120, 90], [1000, 1000, 1000])
    draws = rng.beta(found.a, found.b, (400_000, 3))
    best = np.bincount(draws.argmax(axis=1), minlength=3) / len(draws)
    np.testing.assert_allclose(found.best(), best, atol=4e-3)
    loss = np.maximum(draws.max(axis=1, keepdims=True) - draws, 0).mean(axis=0)
    np.testing.assert_allclose(found.expected_loss(), loss, atol=2e-4)


def test_a_billion_units_and_no_success_are_answered() -> None:
    large = posterior([50_000_000, 50_010_000], [10**9, 10**9])
    z = 10_000 / np.sqrt(2 * 0.05 * 0.95 * 1e9)
    assert large.better() == pytest.approx(float(special.ndtr(z)), abs=2e-5)
    assert posterior([0, 0], [50, 50]).better() == pytest.approx(0.5)
    jeffreys = posterior([0, 3], [10, 12], prior=BetaPrior(successes=0.5, failures=0.5))
    assert jeffreys.better() == pytest.approx(0.9641629152581489, abs=1e-9)


def test_impossible_counts_and_improper_priors_are_refused() -> None:
    for x, n in (([3], [2]), ([-1], [5]), ([1.5], [5]), ([np.nan], [5])):
        with pytest.raises(CannotEstimate):
            posterior(x, n)
    with pytest.raises(BadInput, match="prior"):
        posterior([1], [2], prior=BetaPrior(successes=0.0))
