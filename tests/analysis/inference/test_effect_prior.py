"""Gaussian posterior of an effect, and the prior that past experiments give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchpoint.analysis.inference import contrast
from switchpoint.analysis.inference.posterior import EffectPrior, effect_posterior, empirical_prior
from switchpoint.analysis.inference.sample import Sample, from_moments
from switchpoint.analysis.numerics.reasons import CannotEstimate, Reason
from switchpoint.experiment.definition.types import Direction
from switchpoint.experiment.errors import BadInput
from tests.analysis.inference.strategies import pairs


@given(pairs(), st.floats(0.01, 1.0), st.floats(-0.2, 0.2))
def test_the_posterior_lies_between_prior_and_data_and_is_sharper_than_both(
    pair: tuple[Sample, Sample], sd: float, mean: float
) -> None:
    lift = contrast.delta_lift(contrast.from_samples(*pair))
    if lift.reason != 0:
        return
    found = effect_posterior(lift, prior=EffectPrior(mean=mean, sd=sd))
    low, high = sorted((float(lift.estimate), mean))
    assert low - 1e-9 <= float(found.mean) <= high + 1e-9
    assert float(found.sd) <= min(float(lift.standard_error), sd) + 1e-12


@given(pairs(), st.sampled_from(Direction))
def test_the_decision_and_the_interval_agree_and_losses_balance(
    pair: tuple[Sample, Sample], direction: Direction
) -> None:
    lift = contrast.delta_lift(contrast.from_samples(*pair))
    if lift.reason != 0:
        return
    found = effect_posterior(lift, prior=EffectPrior(), direction=direction, alpha=0.1)
    clear = found.low > 0 if direction is Direction.INCREASE else found.high < 0
    assert bool(clear) == bool(found.better > 0.95) or abs(float(found.better) - 0.95) < 1e-9
    gain = found.mean if direction is Direction.INCREASE else -found.mean
    np.testing.assert_allclose(found.loss_control - found.loss_treatment, gain, rtol=1e-9, atol=1e-12)


def test_no_estimate_stays_a_reason_and_decides_nothing() -> None:
    none = effect_posterior(
        contrast.delta_lift(contrast.from_samples(from_moments(5, 0.0, 1.0), from_moments(5, 1.0, 1.0))),
        prior=EffectPrior(),
    )
    assert Reason.of(int(none.reason)) is Reason.ZERO_CONTROL
    assert np.isnan(none.better)
    with pytest.raises(BadInput, match="proper"):
        effect_posterior(
            contrast.delta_lift(contrast.from_samples(from_moments(5, 1.0, 1.0), from_moments(5, 1.0, 1.0))),
            prior=EffectPrior(sd=np.inf),
        )


def test_past_experiments_give_back_the_spread_they_came_from() -> None:
    rng = np.random.default_rng(1)
    error = rng.uniform(0.005, 0.03, 400)
    effects = rng.normal(0.004, 0.02, 400) + rng.normal(0, error)
    prior = empirical_prior(effects, error)
    assert prior.mean == pytest.approx(0.004, abs=0.004)
    assert prior.sd == pytest.approx(0.02, rel=0.15)
    assert empirical_prior(effects, error, centred=True).mean == 0


def test_an_empirical_prior_takes_the_winners_curse_away() -> None:
    """Among winners, raw effects overstate the truth; shrunken ones do not."""
    rng = np.random.default_rng(2)
    truth = rng.normal(0, 0.01, 20_000)
    error = np.full(20_000, 0.012)
    seen = truth + rng.normal(0, error)
    prior = empirical_prior(seen[:2000], error[:2000])
    shrunk = (seen / error**2 + prior.mean / prior.sd**2) / (1 / error**2 + 1 / prior.sd**2)
    won = seen > 1.96 * error
    assert seen[won].mean() > 1.5 * truth[won].mean()
    assert shrunk[won].mean() == pytest.approx(truth[won].mean(), rel=0.1)


def test_noise_alone_or_a_single_experiment_is_no_prior() -> None:
    with pytest.raises(CannotEstimate):
        empirical_prior([0.01], [0.01])
    with pytest.raises(CannotEstimate):
        empirical_prior([0.01, 0.01, 0.01], [0.1, 0.1, 0.1])
