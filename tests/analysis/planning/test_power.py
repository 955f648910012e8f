"""Units, power and MDE: inverses of each other, monotone, by named convention."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.inference import fixed, sample
from analysis.inference.effect_prior import EffectPrior, normal_posterior
from analysis.inference.result import Alternative, Distribution
from analysis.planning import power
from analysis.planning.boundary import fixed_drift
from analysis.planning.power import Convention
from experiment.definition import Belief, DecisionRule, Design, Direction, Grade, LookPlan, Size, Spending

ratios = st.floats(0.05, 20)


def _rule(design: Design = Design.SEQUENTIAL, *, value: float = 0.1) -> DecisionRule:
    return DecisionRule(
        design=design,
        alpha=0.05,
        power=0.8,
        mde=Size(value=value, relative=True),
        min_runtime_days=14,
        max_runtime_days=42,
        evidence=Grade.RANDOMISED,
    )


@settings(deadline=None)
@given(st.floats(0.05, 1.0), ratios, st.sampled_from(list(Distribution)), st.sampled_from(list(Alternative)))
def test_units_power_and_smallest_effect_invert_each_other(
    effect: float, ratio: float, distribution: Distribution, alternative: Alternative
) -> None:
    spread = power.equal_spread(2.0)
    options = {"ratio": ratio, "alternative": alternative, "distribution": distribution}
    n = power.units_needed(spread, effect, **options).control
    assert float(power.power(spread, effect, n_control=n, **options)) == pytest.approx(0.8, abs=1e-8)
    assert float(power.smallest_effect(spread, n_control=n, **options)) == pytest.approx(effect, rel=1e-6)


@given(ratios)
def test_more_units_are_needed_for_smaller_effects(ratio: float) -> None:
    deltas = np.geomspace(1e-4, 0.5, 30)
    n = power.units_needed(power.equal_spread(1.0), deltas, ratio=ratio).total
    assert (np.diff(n) < 0).all()
    p = np.linspace(0.11, 0.6, 30)
    assert (np.diff(power.units_for_proportions(0.1, p, ratio=ratio).total) < 0).all()


def test_an_even_split_needs_the_fewest_units() -> None:
    totals = [
        float(power.units_needed(power.equal_spread(1.0), 0.1, ratio=r).total)
        for r in (0.1, 0.5, 1.0, 2.0, 10.0)
    ]
    assert int(np.argmin(totals)) == 2
    assert totals[0] == pytest.approx(totals[4])


def test_conventions_for_rates_bracket_each_other_as_documented() -> None:
    """20 % + 5 points: pooled null 1094 (R power.prop.test), unpooled 1091 per variant."""
    pooled = power.units_for_proportions(0.2, 0.25, convention=Convention.POOLED).control
    unpooled = power.units_for_proportions(0.2, 0.25).control
    assert float(pooled) == pytest.approx(1093.739, abs=0.001)
    assert 1090 < float(unpooled) < 1091


def test_the_smallest_rate_difference_is_found_with_the_wanted_power() -> None:
    n, p = np.array([2000, 30_000]), np.array([0.05, 0.3])
    effect = power.smallest_proportion_effect(p, n_control=n)
    found = power.power(power.proportion_spread(p, p + effect), effect, n_control=n)
    np.testing.assert_allclose(found, 0.8, atol=1e-9)
    assert float(power.smallest_proportion_effect(0.5, n_control=2)) == 0.5


def test_planned_power_is_the_power_of_the_analysis() -> None:
    """Seeded trials at the planned size reject as often as planned."""
    units = power.units_for_proportions(0.1, 0.13)
    n = int(np.ceil(units.control))
    rng = np.random.default_rng(5)
    control, treatment = rng.binomial(n, 0.1, 4000), rng.binomial(n, 0.13, 4000)
    result = fixed.effect(sample.proportion(n, control), sample.proportion(n, treatment))
    assert result.significant.mean() == pytest.approx(0.8, abs=4 * np.sqrt(0.16 / 4000))


def test_planned_units_follow_the_rule() -> None:
    fixed_plan = power.planned_units(_rule(Design.FIXED), baseline=0.05)
    sequential_plan = power.planned_units(_rule(), baseline=0.05)
    factor = power.design_factor(_rule())
    np.testing.assert_allclose(sequential_plan.total, fixed_plan.total * factor)
    mean = power.planned_units(_rule(Design.FIXED), baseline=5.0, variance=100.0)
    np.testing.assert_allclose(mean.control, power.units_needed(power.equal_spread(100.0), 0.5).control)


def test_the_factor_of_a_mistuned_sequence_is_larger() -> None:
    factors = power.design_factor(_rule(), tuning=np.array([1 / 16, 1.0, 16.0]))
    assert factors[1] < factors[0]
    assert factors[1] < factors[2]
    assert (power.design_factor(_rule(Design.FIXED), tuning=np.ones(3)) == 1).all()


def test_a_group_sequential_plan_costs_what_its_looks_cost() -> None:
    """Five looks of 42 days from day 14 on; Pocock's cost more, one look costs nothing."""
    rule = _rule(Design.GROUP_SEQUENTIAL)
    assert float(power.design_factor(rule)) == pytest.approx(1.029, abs=0.002)
    assert float(power.design_factor(replace(rule, looks=LookPlan(spending=Spending.POCOCK)))) > 1.15
    once = replace(rule, min_runtime_days=42)
    assert float(power.design_factor(once)) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("belief", [Belief(), Belief(sd=0.05), Belief(mean=0.03, sd=0.05)])
def test_a_bayesian_rule_needs_the_units_at_which_its_posterior_passes_with_the_wanted_power(
    belief: Belief,
) -> None:
    """Against random draws of an estimated lift of 10 % and the posterior of that module."""
    rule = replace(_rule(Design.BAYESIAN), belief=belief)
    error = 0.1 / fixed_drift(0.05, 0.8, Alternative.TWO_SIDED) / np.sqrt(float(power.design_factor(rule)))
    x = np.random.default_rng(4).normal(0.1, error, 200_000)
    found = normal_posterior(
        x,
        np.full_like(x, error),
        np.zeros(x.shape, np.uint8),
        prior=EffectPrior(mean=belief.mean, sd=belief.sd),
    )
    assert (found.better > 0.975).mean() == pytest.approx(0.8, abs=0.004)


@pytest.mark.parametrize("ratio", [1.0, 0.5, 2.0, 0.1, 0.01])
@pytest.mark.parametrize("side", [Alternative.TWO_SIDED, Alternative.GREATER])
def test_solved_sizes_and_effects_agree_with_the_noncentral_t(ratio: float, side: Alternative) -> None:
    """scipy.stats.nct at Welch's degrees of freedom, from a handful of units to tens of thousands."""
    for effect, spread, alpha, target in itertools.product(
        (0.03, 0.3, 1.0, 4.0), (1.0, 0.25), (0.05, 0.001), (0.5, 0.8, 0.99)
    ):
        given = power.Spread(
            control=np.asarray(1.0), treatment=np.asarray(spread), null_control=np.asarray(1.0),
            null_treatment=np.asarray(spread),
        )  # fmt: skip
        asked: dict[str, Any] = {"ratio": ratio, "alpha": alpha, "target": target, "alternative": side}
        n = float(power.units_needed(given, effect, distribution=Distribution.T, **asked).control)
        a, b = 1 / n, spread / (ratio * n)
        df = (a + b) ** 2 / (a**2 / (n - 1) + b**2 / (ratio * n - 1))
        t = stats.t.isf(alpha / (2 if side is Alternative.TWO_SIDED else 1), df)
        reached = stats.nct.sf(t, df, effect / np.sqrt(a + b))
        fewest = max(1.0, 1 / ratio) + 1e-6
        if n > fewest * 1.01:  # below, the fewest units there can be have more power than asked for
            assert reached == pytest.approx(target, abs=1e-6), (effect, spread, alpha, target)
            back = power.smallest_effect(given, n_control=n, distribution=Distribution.T, **asked)
            assert float(back) == pytest.approx(effect, rel=1e-6)


@pytest.mark.parametrize("mean", [0.3, -0.1])
def test_a_prior_on_one_side_moves_the_units_of_a_posterior(mean: float) -> None:
    """At the units found, z passes where the posterior probability is 1 − alpha/2 with the power asked for."""
    lift, belief = 0.1, Belief(mean=mean, sd=0.2)
    cost = float(power.posterior_cost(lift, belief, alpha=0.05, target=0.8))
    s = lift / (stats.norm.isf(0.025) + stats.norm.ppf(0.8)) / np.sqrt(cost)
    least = s * stats.norm.isf(0.025) * np.sqrt(1 + s**2 / belief.sd**2) - s**2 * mean / belief.sd**2
    assert stats.norm.sf(least, lift, s) == pytest.approx(0.8, abs=1e-9)
    assert (cost < 1) is (mean > 0)
    posterior = normal_posterior(
        np.asarray(least), np.asarray(s), np.asarray(0, dtype=np.uint8),
        prior=EffectPrior(mean=mean, sd=belief.sd), direction=Direction.INCREASE, alpha=0.05,
    )  # fmt: skip
    assert float(posterior.better) == pytest.approx(0.975, abs=1e-9)
