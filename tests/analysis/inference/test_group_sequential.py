"""Repeated p-values and intervals: one story, the stated error, and words for every stage of the plan."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchpoint.analysis.inference import contrast, group_sequential, proportion
from switchpoint.analysis.inference.group_sequential import Looks, repeated_p
from switchpoint.analysis.inference.sample import Sample, from_moments
from switchpoint.analysis.numerics.estimates import Alternative, Distribution
from switchpoint.analysis.numerics.reasons import Reason
from switchpoint.experiment.definition.types import Spending
from tests.analysis.inference.strategies import pairs

PLANS = [
    Looks(times=(0.25, 0.5, 0.75)), Looks(times=(0.3, 1.08)), Looks(times=(0.5, 1.0), spending=Spending.POCOCK),
    Looks(times=(0.2, 0.7), spending=Spending.POWER, gamma=3.0), Looks(times=(0.4, 0.6), final=True),
]  # fmt: skip


@settings(max_examples=60)
@given(pairs(), st.sampled_from(PLANS), st.sampled_from(Alternative), st.sampled_from([0.01, 0.05]))
def test_effect_lift_p_and_bounds_agree(
    pair: tuple[Sample, Sample], looks: Looks, side: Alternative, alpha: float
) -> None:
    effect = group_sequential.effect(contrast.from_samples(*pair), looks, alpha=alpha, alternative=side)
    lift = group_sequential.lift(contrast.from_samples(*pair), looks, alpha=alpha, alternative=side)
    assert effect.significant == (effect.low > 0 or effect.high < 0)
    if lift.reason == 0:
        assert lift.significant == effect.significant == (lift.low > 0 or lift.high < 0)


@given(pairs(), st.sampled_from(PLANS))
def test_swapping_variants_negates_and_a_smaller_alpha_contains(
    pair: tuple[Sample, Sample], looks: Looks
) -> None:
    there, back = (
        group_sequential.effect(contrast.from_samples(*pair), looks),
        group_sequential.effect(contrast.from_samples(*pair[::-1]), looks),
    )
    np.testing.assert_allclose([there.low, there.high], [-back.high, -back.low])
    np.testing.assert_allclose(there.p_value, back.p_value)
    wide = group_sequential.effect(contrast.from_samples(*pair), looks, alpha=0.005)
    assert wide.low <= there.low <= there.high <= wide.high


def test_the_repeated_p_is_the_alpha_whose_bound_is_met() -> None:
    looks = Looks(times=(0.25, 0.5, 0.75, 1.0))
    for alpha in (0.2, 0.05, 0.003, 1e-6):
        z = looks.bounds(alpha).z[-1]
        p, log_p = repeated_p(z, looks)
        assert float(p) == pytest.approx(alpha, rel=1e-6)
        many = repeated_p(np.full(20, z), looks)
        np.testing.assert_allclose(many[1], log_p, atol=2e-3)


def test_one_look_at_the_plans_end_is_the_fixed_test() -> None:
    control, treatment = from_moments(4000, 1.0, 2.0), from_moments(4000, 1.07, 2.0)
    once = group_sequential.effect(contrast.from_samples(control, treatment), Looks(times=(1.0,)))
    z = contrast.effect(contrast.from_samples(control, treatment), distribution=Distribution.NORMAL)
    np.testing.assert_allclose([once.p_value, once.low], [z.p_value, z.low], rtol=1e-6)


@pytest.mark.parametrize(
    "times", [(0.25, 0.5, 0.75, 1.0), (0.1, 0.15, 0.9, 1.2), tuple(np.arange(1, 21) / 20)]
)
@pytest.mark.parametrize("spending", list(Spending))
def test_no_plan_rejects_more_often_than_alpha(times: tuple[float, ...], spending: Spending) -> None:
    rng = np.random.default_rng(1)
    runs = 20_000
    steps = np.diff(times, prepend=0.0)
    z = (rng.normal(size=(runs, len(times))) * np.sqrt(steps)).cumsum(axis=1) / np.sqrt(times)
    bounds = Looks(times=times, spending=spending).bounds(0.05).z
    error = (np.abs(z) >= bounds).any(axis=1).mean()
    assert error == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / runs))


def test_the_score_reading_is_the_score_test_with_this_looks_bound() -> None:
    looks, counts = Looks(times=(0.3, 0.6)), (500, 10_000, 590, 10_000)
    found, lift = group_sequential.score_effect(counts, looks), group_sequential.score_lift(counts, looks)
    np.testing.assert_allclose(found.statistic, proportion.score_difference(*counts).statistic)
    np.testing.assert_allclose(found.p_value, lift.p_value)
    edge = proportion.score_difference(*counts, null=found.low)
    np.testing.assert_allclose(np.abs(edge.statistic), looks.bounds(0.05).z[-1], rtol=1e-6)
    none = group_sequential.score_effect((0, 50, 0, 50), looks)
    bound = looks.bounds(0.05).z[-1]
    assert float(none.high) == pytest.approx(bound**2 / (50 + bound**2), rel=1e-9)
    assert group_sequential.score_effect((51, 50, 0, 50), looks).why_not() is Reason.IMPOSSIBLE_MOMENTS


def test_too_early_and_too_late_are_reasons_not_numbers() -> None:
    sides = from_moments(100, 1.0, 1.0), from_moments(100, 3.0, 1.0)
    early = group_sequential.effect(contrast.from_samples(*sides), Looks(times=(0.01,)))
    assert early.why_not() is Reason.TOO_EARLY
    assert np.isnan(early.p_value)
    assert float(early.estimate) == 2.0
    late = group_sequential.lift(contrast.from_samples(*sides), Looks(times=(1.0, 1.2)))
    assert late.why_not() is Reason.PLAN_ENDED
    flat = group_sequential.effect(
        contrast.from_samples(from_moments(9, 1.0, 0.0), from_moments(9, 1.0, 0.0)), Looks(times=(0.5,))
    )
    assert flat.why_not() is Reason.ZERO_VARIANCE
