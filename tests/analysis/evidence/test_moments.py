"""Totals merge without rounding, and measured moments merge as the pooled data would."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchpoint.analysis.evidence.moments import Centred, Exact, integers, join
from switchpoint.experiment.definition.types import Measure, Metric, MetricType
from tests.analysis.cases import BUYERS

REVENUE = Metric(
    key="revenue",
    type=MetricType.MEAN,
    numerator=Measure(event="purchase", value="amount"),
    decimals=2,
    cap=2**40,
)
MARGIN = Metric(
    key="margin", type=MetricType.RATIO, numerator=Measure(event="purchase", value="profit"),
    denominator=Measure(event="purchase", value="amount"), decimals=2, cap=2**40,
)  # fmt: skip


def exact(metric: Metric, units: list[list[tuple[int, int]]]) -> Exact:
    """Totals of groups of units given as (x, y)."""
    columns: dict[str, list[int]] = {
        "n": [len(group) for group in units],
        "x": [sum(x for x, _ in group) for group in units],
        "xx": [sum(x * x for x, _ in group) for group in units],
        "y": [sum(y for _, y in group) for group in units],
        "yy": [sum(y * y for _, y in group) for group in units],
        "xy": [sum(x * y for x, y in group) for group in units],
    }
    sums: dict[str, Any] = {name: integers(column) for name, column in columns.items()}
    return Exact(metric=metric, **sums)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(-(2**40), 2**40), st.integers(1, 2**40)), min_size=4, max_size=40),
    st.integers(1, 3),
)
def test_splitting_units_into_shards_and_merging_them_changes_no_digit(
    units: list[tuple[int, int]], cut: int
) -> None:
    whole = exact(MARGIN, [units]).merged(0).sample()
    parts = exact(MARGIN, [units[:cut], units[cut:]]).merged(0).sample()
    for name in ("n", "mean", "variance", "df", "reason"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


@settings(max_examples=100)
@given(st.integers(0, 44), st.data())
def test_samples_are_those_of_python_integers_whatever_the_size_of_the_sums(
    bits: int, data: st.DataObject
) -> None:
    """Sums are combined in 64 bits, in pairs of doubles or as Python integers, by how large they are."""
    amounts = st.integers(-(2**bits), 2**bits)
    units = data.draw(st.lists(st.tuples(amounts, st.integers(1, 2**bits)), min_size=2, max_size=9))
    for metric in (REVENUE, MARGIN):
        found = exact(metric, [units])
        plain = found.each(lambda part: part.astype(object))
        for name in ("mean", "variance", "reason"):
            np.testing.assert_array_equal(getattr(found.sample(), name), getattr(plain.sample(), name))


def test_sums_beyond_64_bits_stay_exact() -> None:
    big = exact(REVENUE, [[(2**40, 0)], [(2**40 - 1, 0)]]).merged(0)
    assert int(big.xx) == 2**80 + (2**40 - 1) ** 2


def test_minor_units_are_divided_out_of_means_and_cancel_in_ratios_of_amounts() -> None:
    cents = exact(REVENUE, [[(150, 0), (250, 0)]])
    assert cents.sample().mean[0] == 2.0
    assert cents.values()[0][0] == 4.0
    share = exact(MARGIN, [[(50, 200), (10, 100)]])
    assert share.sample().mean[0] == pytest.approx(0.2)
    assert (share.values()[0][0], share.values()[1][0]) == (0.6, 3.0)


def test_a_ratio_of_an_amount_to_a_count_is_in_major_units() -> None:
    latency = replace(MARGIN, denominator=Measure(event="purchase"))
    assert exact(latency, [[(1000, 2), (500, 1)]]).sample().mean[0] == pytest.approx(5.0)


@settings(max_examples=50)
@given(st.lists(st.floats(-1e3, 1e3), min_size=4, max_size=30), st.integers(2, 6))
def test_measured_moments_merge_as_the_pooled_values(values: list[float], parts: int) -> None:
    """Oracle: numpy on the values themselves."""
    chunks = [c for c in np.array_split(np.array(values), parts) if len(c)]
    other = [c**2 + 1 for c in chunks]
    merged = Centred(
        n=np.array([len(c) for c in chunks], float),
        x=np.array([c.mean() for c in chunks]),
        xx=np.array([((c - c.mean()) ** 2).sum() for c in chunks]),
        y=np.array([c.mean() for c in other]),
        yy=np.array([((c - c.mean()) ** 2).sum() for c in other]),
        xy=np.array([((a - a.mean()) * (b - b.mean())).sum() for a, b in zip(chunks, other, strict=True)]),
    ).merged(0)
    y = np.array(values) ** 2 + 1
    scale = float(np.abs(values).max()) + 1
    assert merged.xx == pytest.approx(np.var(values) * len(values), rel=1e-9, abs=1e-9 * scale**2)
    assert merged.xy == pytest.approx(
        ((np.array(values) - np.mean(values)) * (y - y.mean())).sum(), rel=1e-9, abs=1e-9 * scale**3
    )


def test_running_sums_end_at_the_whole() -> None:
    days = exact(BUYERS, [[(1, 0), (0, 0)], [(1, 0)], [(0, 0)]])
    running = days.cumulative(np.zeros(3, dtype=np.int64))
    assert running.n.tolist() == [2, 3, 4]
    assert running.x.tolist() == [1, 2, 2]
    measured = Centred(n=np.array([2.0, 2.0]), x=np.array([1.0, 3.0]), xx=np.array([2.0, 2.0]))
    assert measured.cumulative(np.zeros(2, dtype=np.int64)).xx.tolist() == [2.0, 8.0]


def test_joined_totals_follow_each_other() -> None:
    one, two = exact(BUYERS, [[(1, 0)]]), exact(BUYERS, [[(0, 0), (1, 0)]])
    assert join([one, two]).n.tolist() == [1, 2]
