"""What holds of estimates over any strata: invariances, and that nothing is surer at every look than at one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchpoint.analysis.evidence import pairs as estimates
from switchpoint.analysis.evidence.moments import Centred, Totals
from switchpoint.analysis.evidence.pairs import pairs
from switchpoint.analysis.numerics.reasons import Reason
from switchpoint.experiment.definition.types import Measure, Metric, MetricType
from tests.analysis.cases import BUYERS
from tests.analysis.evidence.test_moments import REVENUE, exact
from tests.analysis.evidence.test_pairs import proportions

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
