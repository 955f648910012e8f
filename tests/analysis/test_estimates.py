"""Estimates over strata: invariances, and the score test where one stratum decides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis import estimates
from analysis.errors import Reason
from analysis.estimates import pairs
from analysis.inference import sequential
from analysis.inference.result import Alternative
from analysis.totals import Centred, Exact, Totals, integers
from experiment.definition import Direction, Measure, Metric, MetricType, Size
from tests.analysis.cases import BUYERS, ERRORS
from tests.analysis.test_totals import REVENUE, exact

Table = list[list[list[int]]]


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


table = st.lists(
    st.tuples(st.integers(20, 500), st.integers(20, 500), st.floats(0.1, 0.9), st.floats(0.1, 0.9)),
    min_size=1,
    max_size=4,
)


@settings(max_examples=40, deadline=None)
@given(table)
def test_swapping_the_variants_negates_effect_and_interval(rows: list[tuple[int, int, float, float]]) -> None:
    n = [[[a, b] for a, b, _, _ in rows]]
    x = [[[round(a * p), round(b * q)] for a, b, p, q in rows]]
    there = pairs(BUYERS, proportions(n, x))
    back = pairs(BUYERS, proportions([[r[::-1] for r in n[0]]], [[r[::-1] for r in x[0]]]))
    for one, two in zip(
        (estimates.fixed_effect(there, 0.05)[0], estimates.anytime(there, np.array([1e4]), 0.05)[0]),
        (estimates.fixed_effect(back, 0.05)[0], estimates.anytime(back, np.array([1e4]), 0.05)[0]),
        strict=True,
    ):
        assert one.estimate[0, 0] == pytest.approx(-two.estimate[0, 0], abs=1e-12)
        assert one.low[0, 0] == pytest.approx(-two.high[0, 0], abs=1e-9)
        assert one.p_value[0, 0] == pytest.approx(two.p_value[0, 0], rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 5000), min_size=3, max_size=20),
    st.lists(st.integers(0, 5000), min_size=3, max_size=20),
    st.integers(2, 100),
)
def test_scaling_amounts_scales_the_effect_and_leaves_lift_and_p(a: list[int], b: list[int], c: int) -> None:
    a, b = [*a, 100], [*b, 200]
    totals = [exact(REVENUE, [[(x * k, 0) for x in a], [(x * k, 0) for x in b]]) for k in (1, c)]
    one, two = (
        estimates.fixed_effect(pairs(REVENUE, t.each(lambda part: part.reshape(1, 1, 2))), 0.05)
        for t in totals
    )
    np.testing.assert_array_equal(one[0].reason, two[0].reason)
    if one[0].reason[0, 0] == 0:
        assert two[0].estimate[0, 0] == pytest.approx(c * one[0].estimate[0, 0], rel=1e-9, abs=1e-12)
        assert two[0].p_value[0, 0] == pytest.approx(one[0].p_value[0, 0], rel=1e-7)
        assert two[1].estimate[0, 0] == pytest.approx(one[1].estimate[0, 0], rel=1e-7, abs=1e-12)


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


Cells = list[tuple[int, int, float, float, float, float]]
cells = st.lists(
    st.tuples(
        st.integers(2, 3000), st.integers(2, 3000), st.floats(0, 1), st.floats(0, 1), st.floats(0, 3),
        st.floats(0, 3),
    ),
    min_size=1,
    max_size=3,
)  # fmt: skip


def totals_of(kind: str, rows: Cells) -> tuple[Metric, Totals]:
    """Strata of two variants: counts, amounts or a ratio, with effects of any size."""
    n = np.array([[[a, b] for a, b, *_ in rows]])
    rate = np.array([[[p, q] for _, _, p, q, _, _ in rows]])
    spread = np.array([[[s, t] for *_, s, t in rows]]) + 1e-3
    if kind == "proportion":
        return BUYERS, proportions(n.tolist(), np.rint(n * rate).astype(int).tolist())
    squares = (n - 1) * spread**2
    if kind == "mean":
        return REVENUE, Centred(n=n.astype(float), x=10 * rate, xx=squares)
    y, yy = 5 + rate, (n - 1) * np.ones(rate.shape)
    ratio = replace(REVENUE, type=MetricType.RATIO, denominator=Measure(event="visit"))
    return ratio, Centred(
        n=n.astype(float), x=10 * rate, xx=squares, y=y, yy=yy, xy=0.5 * np.sqrt(squares * yy)
    )


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from(["proportion", "mean", "ratio"]), cells, st.floats(1, 7).map(lambda power: 10.0**power),
    st.sampled_from([0.001, 0.05, 0.2]),
)  # fmt: skip
def test_nothing_is_surer_at_every_look_than_at_this_one(
    kind: str, rows: Cells, n_star: float, alpha: float
) -> None:
    found = pairs(*totals_of(kind, rows))
    once = estimates.fixed_effect(found, alpha)
    always = estimates.anytime(found, np.array([n_star]), alpha, once)
    for fixed, sequence in zip(once, always, strict=True):
        known = (fixed.reason == 0) & (sequence.reason == 0)
        assert (sequence.p_value[known] >= fixed.p_value[known]).all()
        assert (sequence.log_p[known] >= fixed.log_p[known]).all()
        assert (sequence.low[known] <= fixed.low[known]).all()
        assert (sequence.high[known] >= fixed.high[known]).all()
        # p and interval are those of one test
        outside = (sequence.low > 0) | (sequence.high < 0)
        near = np.abs(sequence.p_value - alpha) < 1e-9
        assert ((sequence.significant == outside) | near)[known].all()
        assert not ((fixed.reason == Reason.UNBOUNDED_LIFT.code) & (sequence.reason == 0)).any()
    # what simulations read without searching for intervals
    quick = estimates.anytime(found, np.array([n_star]), alpha)[0]
    np.testing.assert_allclose(quick.p_value, always[0].p_value, rtol=1e-9)
    sure = estimates.confirmed_anytime(found, always[0], np.array([n_star]), alpha)
    assert (sure >= always[0].p_value)[always[0].reason == 0].all()


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


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("once", [False, True])
def test_a_guardrails_bound_is_its_one_sided_limit_on_the_side_of_harm(
    direction: Direction, relative: bool, once: bool
) -> None:
    """A change of 1 % in either direction, errors known: scipy's one-sided t limit at one look, the boundary of
    the sequence otherwise; a margin just beyond the bound is safe, one just inside is not."""
    n, base, sd = 4000, 50.0, 10.0
    for change in (0.5, -0.5):
        found = pairs(REVENUE, Centred(
            n=np.full((1, 1, 2), float(n)), x=np.array([[[base, base + change]]]),
            xx=np.full((1, 1, 2), (n - 1) * sd**2),
        ))  # fmt: skip
        rail = replace(REVENUE, direction=direction)
        harm = -change if direction is Direction.INCREASE else change
        error, star = sd * np.sqrt(2 / n), 9000.0
        reach = (
            stats.t.ppf(0.95, 2 * n - 2)
            if once
            else float(sequential.boundary(2 * n, 0.05, sequential.mixing_units(star, 0.05, Alternative.GREATER), Alternative.GREATER))
        )  # fmt: skip
        bound = harm + reach * error
        if relative:  # Fieller on the side of harm, from the quadratic itself
            a, b, c = (
                base**2 - (reach * sd) ** 2 / n,
                base * (base + change),
                (base + change) ** 2 - (reach * sd) ** 2 / n,
            )
            roots = np.sort(np.roots([a, -2 * b, c])) - 1
            bound = float(-roots[0] if direction is Direction.INCREASE else roots[1])
        for beyond, safe in ((1e-6, True), (-1e-6, False)):
            margin = Size(value=bound + beyond, relative=relative)
            shown = estimates.guards(found, rail, margin, np.array([star]), 0.05, once=once)
            assert shown.bound[0, 0] == pytest.approx(bound, rel=1e-6)
            assert bool(shown.safe[0, 0]) is safe
            assert not shown.harmed[0, 0]
        # harm is called where even the best that is not excluded lies beyond the margin, by the sequence
        worse = abs(change) if harm > 0 else 0.0
        tiny = Size(value=worse / base / 1e6 if relative else worse / 1e6 or 1e-6, relative=relative)
        sure = harm / error > float(
            sequential.boundary(2 * n, 0.05, sequential.mixing_units(star, 0.05, Alternative.GREATER), Alternative.GREATER)
        )  # fmt: skip
        read = estimates.guards(found, rail, tiny, np.array([star]), 0.05, once=once)
        assert bool(read.harmed[0, 0]) is bool(sure)
