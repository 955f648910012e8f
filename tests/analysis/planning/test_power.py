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

from switchpoint.analysis.inference import contrast, sample
from switchpoint.analysis.inference.posterior import EffectPrior, normal_posterior
from switchpoint.analysis.numerics.crossing import fixed_drift
from switchpoint.analysis.numerics.estimates import Alternative, Distribution
from switchpoint.analysis.planning import power
from switchpoint.analysis.planning.cost import plan_cost, sequential_cost
from switchpoint.analysis.planning.power import Convention
from switchpoint.experiment.definition.types import (
    Belief,
    DecisionRule,
    Design,
    Direction,
    Grade,
    LookPlan,
    Size,
    Spending,
)
from switchpoint.experiment.errors import BadInput

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
    options: dict[str, Any] = {"ratio": ratio, "alternative": alternative, "distribution": distribution}
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
    pooled = power.units_needed(
        power.proportion_spread(0.2, 0.25, convention=Convention.POOLED), 0.05
    ).control
    unpooled = power.units_for_proportions(0.2, 0.25).control
    assert float(pooled) == pytest.approx(1093.739, abs=0.001)
    assert 1090 < float(unpooled) < 1091


def test_a_covariate_saves_its_squared_correlation() -> None:
    helped = power.covariate_spread([4, 9], [0.6, -0.5])
    for side in (helped.control, helped.treatment, helped.null_control, helped.null_treatment):
        np.testing.assert_allclose(side, [4 * 0.64, 9 * 0.75], rtol=1e-12)


@pytest.mark.parametrize("rho", [1.0, -1.0, [0.5, 1.5]])
def test_a_correlation_outside_its_range_is_named(rho: float | list[float]) -> None:
    with pytest.raises(BadInput) as caught:
        power.covariate_spread(1.0, rho)
    fault = caught.value
    assert (fault.message, fault.field, fault.value) == (
        "a correlation lies between −1 and 1", "correlation", rho
    )  # fmt: skip


@pytest.mark.parametrize("side", list(Alternative))
def test_power_and_units_of_normal_means_are_those_of_their_formulas(side: Alternative) -> None:
    """Against scipy, by whole numbers and unequal variances and variants; the wrong side counts when asked for."""
    spread = power.Spread(
        control=np.asarray(4),
        treatment=np.asarray(9),
        null_control=np.asarray(5),
        null_treatment=np.asarray(6),
    )
    tail = 0.01 if side is Alternative.TWO_SIDED else 0.02
    options: dict[str, Any] = {"ratio": 3, "alpha": 0.02, "alternative": side}
    error, null = np.sqrt(4 / 50 + 9 / 150), np.sqrt(5 / 50 + 6 / 150)
    reach = stats.norm.isf(tail) * null
    right = stats.norm.sf((reach - 1) / error)
    for effect in (1, -1):
        assert power.power(spread, effect, n_control=50, **options) == pytest.approx(right, rel=1e-9)
    left = stats.norm.sf((reach + 1) / error) if side is Alternative.TWO_SIDED else 0.0
    both = power.power(spread, 1, n_control=50, wrong_side=True, **options)
    assert both == pytest.approx(right + left, rel=1e-9)
    a, b = np.sqrt(5 + 6 / 3), np.sqrt(4 + 9 / 3)
    needed = (stats.norm.isf(tail) * a + stats.norm.ppf(0.7) * b) ** 2 / 2**2
    for effect in (2, -2):
        units = power.units_needed(spread, effect, target=0.7, **options)
        assert (units.control, units.treatment, units.total) == pytest.approx(
            (needed, 3 * needed, 4 * needed)
        )
    least = stats.norm.isf(tail) * null + stats.norm.ppf(0.7) * error
    assert power.smallest_effect(spread, n_control=50, target=0.7, **options) == pytest.approx(
        least, rel=1e-12
    )


def test_defaults_are_two_sided_five_per_cent_eighty_per_cent_and_equal_variants() -> None:
    spread = power.equal_spread(4)
    needed = (stats.norm.isf(0.025) + stats.norm.ppf(0.8)) ** 2 * 8 / 0.5**2
    units = power.units_needed(spread, 0.5)
    assert (units.control, units.treatment) == pytest.approx((needed, needed), rel=1e-12)
    assert power.power(spread, 0.5, n_control=needed) == pytest.approx(0.8, rel=1e-9)
    assert power.smallest_effect(spread, n_control=needed) == pytest.approx(0.5, rel=1e-12)
    rates = (stats.norm.isf(0.025) + stats.norm.ppf(0.8)) ** 2 * (0.09 + 0.1275) / 0.05**2
    plain = power.units_for_proportions(0.1, 0.15)
    assert (plain.control, plain.treatment) == pytest.approx((rates, rates), rel=1e-12)
    other = power.units_for_proportions([0, 1], [0.5, 0.5], ratio=2, alpha=0.2, target=0.9)
    half = (stats.norm.isf(0.1) + stats.norm.ppf(0.9)) ** 2 * (0.25 / 2) / 0.25
    np.testing.assert_allclose(other.treatment, [2 * half, 2 * half], rtol=1e-12)


def test_a_pooled_null_rate_is_that_of_all_units() -> None:
    spread = power.proportion_spread(0.1, 0.4, convention=Convention.POOLED, ratio=2)
    assert (spread.control, spread.treatment) == pytest.approx((0.09, 0.24))
    assert (spread.null_control, spread.null_treatment) == pytest.approx((0.3 * 0.7, 0.3 * 0.7))
    plain = power.proportion_spread([0, 1], [1, 1])
    assert (plain.control.tolist(), plain.null_treatment.tolist()) == ([0, 0], [0, 0])
    unpooled = power.proportion_spread(0.1, 0.4)
    assert (unpooled.null_control, unpooled.null_treatment) == (unpooled.control, unpooled.treatment)
    even = power.proportion_spread(0.1, 0.4, convention=Convention.POOLED)
    assert even.null_control == pytest.approx(0.25 * 0.75)


def test_sizes_of_nothing_are_none_or_infinite_without_a_warning() -> None:
    """No effect is never found, nothing that does not vary needs no unit, and both at once have no size."""
    spread = power.equal_spread([4, 0, 0, 4])
    units = power.units_needed(spread, [0, 1, 0, 1e-300])
    np.testing.assert_array_equal(units.control, [np.inf, 0, np.nan, np.inf])


@pytest.mark.parametrize("wrong_side", [False, True])
@pytest.mark.parametrize("distribution", list(Distribution))
def test_solved_sizes_have_the_power_asked_for(wrong_side: bool, distribution: Distribution) -> None:
    """Also where so few units are needed that the wrong side counts and degrees of freedom are scarce."""
    effects = np.array([0.01, 0.3, 0.9, 8])
    options: dict[str, Any] = {"alpha": 0.3, "distribution": distribution, "wrong_side": wrong_side}
    units = power.units_needed(power.equal_spread(1), effects, target=0.35, ratio=[1, 2, 0.5, 1], **options)
    reached = power.power(
        power.equal_spread(1), effects, n_control=units.control, ratio=[1, 2, 0.5, 1], **options
    )
    fewest = np.maximum(1, 1 / np.array([1, 2, 0.5, 1])) + 1e-6
    solved = units.control > fewest * 1.001
    assert solved[:2].all()
    np.testing.assert_allclose(reached[solved], 0.35, rtol=1e-9)
    back = power.smallest_effect(
        power.equal_spread(1), n_control=units.control, ratio=[1, 2, 0.5, 1], target=0.35, **options
    )
    np.testing.assert_allclose(back[solved], effects[solved], rtol=1e-6)


def test_an_effect_size_is_absolute_or_a_share_of_the_baseline() -> None:
    baseline = np.array([10, 20])
    assert power.absolute_effect(Size(value=0.5, relative=False), baseline).tolist() == [0.5, 0.5]
    assert power.absolute_effect(Size(value=0.5, relative=True), baseline).tolist() == [5, 10]
    assert power.absolute_effect(Size(value=0.25, relative=False), 3) == 0.25


@pytest.mark.parametrize("variance", [None, 9])
def test_planned_units_take_everything_from_the_rule(variance: float | None) -> None:
    """A prior sharp enough to matter, uneven variants, a level and a power of its own."""
    belief = Belief(mean=0.03, sd=0.05)
    rule = replace(
        _rule(Design.BAYESIAN), belief=belief, alpha=0.02, power=0.9, mde=Size(value=0.1, relative=False)
    )
    baseline = [0.4, 0.5]
    plan = power.planned_units(rule, baseline=baseline, variance=variance, ratio=3)
    for place, base in enumerate(baseline):
        control, treatment = (base * (1 - base), (base + 0.1) * (0.9 - base)) if variance is None else (9, 9)
        fixed = (stats.norm.isf(0.01) + stats.norm.ppf(0.9)) ** 2 * (control + treatment / 3) / 0.1**2
        cost = power.posterior_cost(0.1 / base, belief, alpha=0.02, target=0.9)
        assert plan.control[place] == pytest.approx(fixed * cost, rel=1e-9)
        assert plan.treatment[place] == pytest.approx(3 * fixed * cost, rel=1e-9)


def test_the_cost_of_a_posterior_is_unknown_without_a_lift() -> None:
    lifts = [1, 0, -0.1, np.nan, np.inf, 0.5]
    cost = power.posterior_cost(lifts, Belief(sd=10), alpha=0.05, target=0.8)
    assert np.isnan(cost).tolist() == [False, True, True, True, True, False]
    for place in (0, 5):
        assert cost[place] == power.posterior_cost(lifts[place], Belief(sd=10), alpha=0.05, target=0.8)
    assert cost[0] == pytest.approx(1, abs=0.002)


def test_a_posterior_costs_the_same_in_any_unit_of_lift() -> None:
    """A prior far on the variant's side for the small lifts, and on none's for the large one."""
    lifts, belief = np.array([0.02, 0.1, 4]), Belief(mean=0.3, sd=0.2)
    cost = power.posterior_cost(lifts, belief, alpha=0.05, target=0.8)
    assert (cost < 1).tolist() == [True, True, False]
    wide = Belief(mean=50 * belief.mean, sd=50 * belief.sd)
    np.testing.assert_allclose(
        power.posterior_cost(50 * lifts, wide, alpha=0.05, target=0.8), cost, rtol=1e-9
    )
    assert [
        float(power.posterior_cost(lift, belief, alpha=0.05, target=0.8)) for lift in lifts
    ] == pytest.approx(cost.tolist(), rel=1e-9)


def test_planned_power_is_the_power_of_the_analysis() -> None:
    """Seeded trials at the planned size reject as often as planned."""
    units = power.units_for_proportions(0.1, 0.13)
    n = int(np.ceil(units.control))
    rng = np.random.default_rng(5)
    control, treatment = rng.binomial(n, 0.1, 4000), rng.binomial(n, 0.13, 4000)
    result = contrast.effect(
        contrast.from_samples(sample.proportion(n, control), sample.proportion(n, treatment))
    )
    assert result.significant.mean() == pytest.approx(0.8, abs=4 * np.sqrt(0.16 / 4000))


def test_planned_units_follow_the_rule() -> None:
    fixed_plan = power.planned_units(_rule(Design.FIXED), baseline=0.05)
    sequential_plan = power.planned_units(_rule(), baseline=0.05)
    np.testing.assert_allclose(sequential_plan.total, fixed_plan.total * sequential_cost(0.05, 0.8))
    mean = power.planned_units(_rule(Design.FIXED), baseline=5.0, variance=100.0)
    np.testing.assert_allclose(mean.control, power.units_needed(power.equal_spread(100.0), 0.5).control)


def test_a_design_costs_what_its_own_module_says_at_the_level_asked_for() -> None:
    for alpha, level in ((None, 0.05), (0.01, 0.01)):
        costs = [
            power.design_factor(_rule(d), lift=-0.1, alpha=alpha) for d in (Design.FIXED, Design.SEQUENTIAL)
        ]
        assert costs == [1, sequential_cost(level, 0.8)]
        rule = replace(_rule(Design.BAYESIAN), belief=Belief(mean=0.03, sd=0.05))
        expected = power.posterior_cost(0.1, rule.belief, alpha=level, target=0.8)
        assert power.design_factor(rule, lift=-0.1, alpha=alpha) == expected
        planned = _rule(Design.GROUP_SEQUENTIAL)
        assert power.design_factor(planned, lift=0.1, alpha=alpha) == plan_cost(planned, level)


def test_a_group_sequential_plan_costs_what_its_looks_cost() -> None:
    """Five looks of 42 days from day 14 on; Pocock's cost more, one look costs nothing."""
    rule = _rule(Design.GROUP_SEQUENTIAL)
    assert plan_cost(rule, 0.05) == pytest.approx(1.029, abs=0.002)
    assert plan_cost(replace(rule, looks=LookPlan(spending=Spending.POCOCK)), 0.05) > 1.15
    once = replace(rule, min_runtime_days=42)
    assert plan_cost(once, 0.05) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("belief", [Belief(), Belief(sd=0.05), Belief(mean=0.03, sd=0.05)])
def test_a_bayesian_rule_needs_the_units_at_which_its_posterior_passes_with_the_wanted_power(
    belief: Belief,
) -> None:
    """Against random draws of an estimated lift of 10 % and the posterior of that module."""
    rule = replace(_rule(Design.BAYESIAN), belief=belief)
    error = (
        0.1
        / fixed_drift(0.05, 0.8, Alternative.TWO_SIDED)
        / np.sqrt(float(power.design_factor(rule, lift=0.1)))
    )
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
