"""Estimates over strata: weights, the score test where one stratum decides, guardrails."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.proportion import proportions_ztest

from switchpoint.analysis.evidence import pairs as estimates
from switchpoint.analysis.evidence.moments import Centred, Exact, integers
from switchpoint.analysis.evidence.pairs import pairs
from switchpoint.analysis.inference import sequential
from switchpoint.analysis.numerics.estimates import Alternative
from switchpoint.experiment.definition.types import Direction, Measure, Metric, MetricType, Size
from tests.analysis.cases import BUYERS, ERRORS
from tests.analysis.evidence.test_moments import REVENUE, exact

Table = list[list[list[int]]]
Column = NDArray[np.float64]


def proportions(n: Table, x: Table, metric: Metric = BUYERS) -> Exact:
    """Counted totals of shape (looks, strata, variants)."""
    units, hits = integers(np.array(n)), integers(np.array(x))
    zero = np.zeros_like(units)
    return Exact(metric=metric, n=units, x=hits, xx=hits, y=zero, yy=zero, xy=zero)


def test_one_stratum_of_a_proportion_is_judged_by_the_score_test() -> None:
    """Open Bandit, men: 46 and 69 of 10,000 (published z 2.151, p .0315)."""
    found = pairs(BUYERS, proportions([[[10_000, 10_000]]], [[[46, 69]]]))
    effect, _ = estimates.fixed_effect(found, 0.05)
    assert effect.statistic[0, 0] == pytest.approx(2.151, abs=5e-4)
    assert effect.p_value[0, 0] == pytest.approx(0.0315, abs=5e-5)
    assert estimates.method_names(found).tolist() == [["score"]]


def test_several_strata_are_weighted_not_pooled() -> None:
    """The kidney-stone table (Charig et al. 1986): A is better on small and on large stones, not pooled."""
    n = [[[270, 87], [80, 263]]]
    x = [[[234, 81], [55, 192]]]
    found = pairs(BUYERS, proportions(n, x))
    effect, _ = estimates.fixed_effect(found, 0.05)
    weights = np.array([357, 343]) / 700
    within = np.array([81 / 87 - 234 / 270, 192 / 263 - 55 / 80])
    assert effect.estimate[0, 0] == pytest.approx(float(weights @ within))
    pooled = estimates.pooled_effect([proportions(n, x)], 0.05)
    assert pooled.estimate[0, 0] == pytest.approx(273 / 350 - 289 / 350)
    assert effect.estimate[0, 0] > 0 > pooled.estimate[0, 0]
    assert estimates.method_names(found).tolist() == [["welch"]]


def test_a_guardrail_is_safe_within_and_harmed_beyond_its_margin() -> None:
    """Errors may rise by 2 points: equal rates are safe, ten points are harm, few units are neither."""
    n = [[[20_000, 20_000]], [[20_000, 20_000]], [[200, 200]]]
    x = [[[400, 400]], [[400, 2400]], [[4, 4]]]
    found = pairs(ERRORS, proportions(n, x, ERRORS))
    margin = ERRORS.margin
    assert margin is not None
    for once in (False, True):
        shown = estimates.guards(found, ERRORS, margin, np.array([20_000.0]), 0.05, once=once)
        assert shown.safe[:, 0].tolist() == [True, False, False]
        assert shown.harmed[:, 0].tolist() == [False, True, False]
    assert shown.bound[0, 0] < 0.02


def test_the_smaller_variant_can_expect_its_share_of_the_rarer_outcome() -> None:
    """Both variants together decide, so the gate does not open or close with the luck of one."""
    found = pairs(BUYERS, proportions([[[3000, 1000]]], [[[2990, 910]]]))
    assert found.events[0, 0] == (10 + 90) / 4
    assert found.needed[0, 0] == 20


def test_a_stratum_without_one_variant_is_left_out() -> None:
    totals = proportions([[[1000, 1000], [500, 0]]], [[[100, 120], [400, 0]]])
    found, (dropped, covered) = (
        pairs(BUYERS, totals),
        estimates.left_out(totals, np.ones((1, 2, 2), dtype=bool)),
    )
    assert (dropped[0, 0] > 0).tolist() == [False, True]
    assert covered[0, 0] == 0.8
    assert found.control.mean[0, 0] == pytest.approx(0.1)


def test_strata_of_a_ratio_weigh_what_their_denominators_hold() -> None:
    """A small stratum of busy units outweighs a large one of idle units, as the pooled denominator has it."""
    ratio = replace(BUYERS, type=MetricType.RATIO, cap=2**40, denominator=Measure(event="visit"))
    n = np.array([[[100, 300], [30, 50]]])
    y = np.array([[[200, 600], [1500, 2500]]])
    x = np.array([[[20, 90], [300, 400]]])
    spread = np.full(n.shape, 50.0)
    found = pairs(ratio, Centred(n=n.astype(float), x=x / n, y=y / n, xx=spread, yy=spread, xy=0 * spread))
    effect, _ = estimates.fixed_effect(found, 0.05)
    weights = np.array([800, 4000]) / 4800
    assert effect.estimate[0, 0] == pytest.approx(
        float(weights @ [90 / 600 - 20 / 200, 400 / 2500 - 300 / 1500])
    )
    by_units = np.array([400, 80]) / 480
    assert abs(effect.estimate[0, 0] - by_units @ [0.05, -0.04]) > 0.02


def test_a_ratio_counts_the_rarer_of_events_and_what_its_denominator_has_beyond_them() -> None:
    """300 of 400 visits end in an order; where orders are no part of visits, only they are counted."""
    ratio = replace(BUYERS, type=MetricType.RATIO, cap=2**40, denominator=Measure(event="visit"))

    def events(units: list[list[tuple[int, int]]], metric: Metric = ratio) -> float:
        totals = exact(metric, units).each(lambda part: part.reshape(1, 1, 2))
        found = pairs(metric, totals)
        assert found.needed[0, 0] == 20
        return float(found.events[0, 0])

    part = [[(3, 4)] * 75, [(3, 4)] * 25]
    assert events(part) == pytest.approx(100 / 4)
    assert events([[(1, 4)] * 75, [(1, 4)] * 25]) == pytest.approx(100 / 4)
    # as many in sum, but some units order more often than they visit
    assert events([[(6, 4), (0, 4)] * 37 + [(3, 4)], [(3, 4)] * 25]) == pytest.approx(300 / 4)
    amounts = replace(ratio, denominator=Measure(event="visit", value="minutes"))
    assert events(part, amounts) == pytest.approx(300 / 4)


def reached(quantile: float, base: float, change: float, error: float) -> Column:
    """Fieller's limits of a lift whose two means have the same error, as the roots of his quadratic."""
    a, b, c = (
        base**2 - (quantile * error) ** 2, base * (base + change),
        (base + change) ** 2 - (quantile * error) ** 2,
    )  # fmt: skip
    return np.sort(np.roots([a, -2 * b, c])) - 1


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize("change", [0.5, -0.5, 2.0, -2.0])
def test_a_guardrails_bounds_are_its_one_sided_limits_on_either_side_of_harm(
    direction: Direction, relative: bool, once: bool, change: float
) -> None:
    """Errors known: scipy's one-sided t limit at one look, the boundary of the sequence otherwise. A margin just
    beyond the worst that is not excluded is safe, one just within is not; just within the best that is not
    excluded, by the sequence, it is harm, and just beyond it is not."""
    n, base, sd, alpha, star = 4000, 50.0, 10.0, 0.03, 9000.0
    found = pairs(REVENUE, Centred(
        n=np.full((1, 1, 2), float(n)), x=np.array([[[base, base + change]]]),
        xx=np.full((1, 1, 2), (n - 1) * sd**2),
    ))  # fmt: skip
    rail = replace(REVENUE, direction=direction)
    up = direction is Direction.INCREASE
    watched = float(
        sequential.boundary(
            2 * n, alpha, sequential.mixing_units(star, alpha, Alternative.GREATER), Alternative.GREATER
        )
    )
    shown = stats.t.isf(alpha, 2 * n - 2) if once else watched

    def limits(quantile: float) -> Column:
        """Of the loss: the best and the worst that is not excluded."""
        reach = quantile * sd * np.sqrt(2 / n)
        whole = (
            reached(quantile, base, change, sd / np.sqrt(n))
            if relative
            else change + np.array([-reach, reach])
        )
        return -whole[::-1] if up else whole

    bound, least = float(limits(shown)[1]), float(limits(watched)[0])
    options = {"once": True} if once else {}
    for margin, safe, harmed in (
        (bound + 1e-6, True, False), (bound - 1e-6, False, False), (least + 1e-6, False, False),
        (least - 1e-6, False, True),
    ):  # fmt: skip
        if margin <= 0:
            continue  # no margin is below nothing
        size = Size(value=margin, relative=relative)
        read = estimates.guards(found, rail, size, np.array([star]), alpha, **options)
        assert read.bound[0, 0] == pytest.approx(bound, rel=1e-9)
        assert (bool(read.safe[0, 0]), bool(read.harmed[0, 0])) == (safe, harmed)


def test_a_sequence_reaches_as_far_as_its_boundary() -> None:
    """Waudby-Smith et al. 2024, eq. 9, and the p at which that boundary is met; both intervals, at a level of
    their own. The test of this look is surer, so nothing is taken from it."""
    n, base, sd, alpha, star = 400, 50.0, 10.0, 0.01, 900.0
    found = pairs(REVENUE, Centred(
        n=np.full((1, 1, 2), float(n)), x=np.array([[[base, base + 4]]]), xx=np.full((1, 1, 2), (n - 1) * sd**2)
    ))  # fmt: skip
    k = star / (np.log1p(-2 * np.log(alpha)) - 2 * np.log(alpha))
    quantile = np.sqrt((2 * n + k) / (2 * n) * np.log((2 * n + k) / (k * alpha**2)))
    error = sd * np.sqrt(2 / n)
    z = 4 / error
    p = np.exp(-(z**2) * 2 * n / (2 * (2 * n + k))) * np.sqrt((2 * n + k) / k)
    once = estimates.fixed_effect(found, alpha)
    reach = float(stats.t.isf(alpha / 2, 2 * n - 2))
    for q, one, both in (
        (reach, p, once),
        (quantile, p, estimates.anytime(found, np.array([star]), alpha)),
        (quantile, p, estimates.anytime(found, np.array([star]), alpha, once)),
    ):
        effect, lift = both
        assert (effect.low[0, 0], effect.high[0, 0]) == pytest.approx(
            (4 - q * error, 4 + q * error), rel=1e-9
        )
        np.testing.assert_allclose(
            [lift.low[0, 0], lift.high[0, 0]], reached(q, base, 4, sd / np.sqrt(n)), rtol=1e-9
        )
        if both is not once:
            assert effect.p_value[0, 0] == pytest.approx(one, rel=1e-9, abs=0)


def test_a_sequence_of_rates_is_held_against_the_score_test_of_effect_and_lift() -> None:
    """39 of 40 beside half of 1,000: the own variance is small, so that the sequence alone would be surer."""
    found, star = pairs(BUYERS, proportions([[[1000, 40]]], [[[500, 39]]])), np.array([100.0])
    once, alone = estimates.fixed_effect(found, 0.001), estimates.anytime(found, star, 0.001)
    together = estimates.anytime(found, star, 0.001, once)
    p = proportions_ztest([39, 500], [40, 1000])[1]
    for mine, fixed, sequence in zip(together, once, alone, strict=True):
        assert mine.low[0, 0] == min(fixed.low[0, 0], sequence.low[0, 0])
        assert mine.high[0, 0] == max(fixed.high[0, 0], sequence.high[0, 0])
        assert mine.p_value[0, 0] == pytest.approx(p, rel=1e-9, abs=0)
    assert once[0].low[0, 0] < alone[0].low[0, 0]
    assert once[1].low[0, 0] < alone[1].low[0, 0]
