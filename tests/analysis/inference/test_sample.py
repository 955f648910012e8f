"""Samples: exact sums, the delta method, and reasons instead of numbers that do not exist."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchpoint.analysis.inference import sample
from switchpoint.analysis.numerics.reasons import Reason
from switchpoint.experiment.errors import BadInput

totals = st.lists(st.integers(-(2**40), 2**40), min_size=2, max_size=30)


@given(totals)
def test_from_sums_is_the_correctly_rounded_value_of_the_exact_fraction(values: list[int]) -> None:
    n, sx, sxx = len(values), sum(values), sum(v * v for v in values)
    got = sample.from_sums(n, sx, sxx)
    assert got.mean[()] == float(Fraction(sx, n))
    assert got.variance[()] == float((sxx - Fraction(sx * sx, n)) / (n - 1))


def test_sums_that_cancel_in_floats_do_not_cancel_here() -> None:
    """A billion units of 10⁹ ± 1: the naive formula loses every digit of a variance of one."""
    n, base = 10**9, 10**9
    got = sample.from_sums(n, n * base, n * (base * base + 1))
    assert got.variance[()] == pytest.approx(n / (n - 1), rel=1e-15)


def test_scale_turns_minor_into_major_units() -> None:
    cents, euros = sample.from_sums(3, 600, 140_000, scale=100), sample.from_moments(3, 2.0, 1.0)
    assert (cents.mean[()], cents.variance[()]) == (euros.mean[()], euros.variance[()])


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 500)), min_size=2, max_size=40))
def test_ratio_sums_and_ratio_moments_agree(units: list[tuple[int, int]]) -> None:
    x, y = np.array(units).T
    exact = sample.ratio_from_values(x, y)
    cov = np.cov(x, y)
    rounded = sample.ratio_from_moments(len(x), x.mean(), y.mean(), cov[0, 0], cov[1, 1], cov[0, 1])
    assert rounded.mean[()] == pytest.approx(exact.mean[()], rel=1e-12)
    assert rounded.variance[()] == pytest.approx(exact.variance[()], rel=1e-6, abs=1e-9)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 500)), min_size=4, max_size=40), st.integers(1, 3)
)
def test_shards_merge_to_the_same_last_digit(units: list[tuple[int, int]], cut: int) -> None:
    def sums(part: list[tuple[int, int]]) -> np.ndarray:
        columns = [(1, x, x * x, y, y * y, x * y) for x, y in part]
        return np.array(columns, dtype=object).sum(axis=0)

    whole = sample.ratio_from_sums(*sums(units))
    merged = sample.ratio_from_sums(*(sums(units[:cut]) + sums(units[cut:])))
    assert (whole.mean[()], whole.variance[()]) == (merged.mean[()], merged.variance[()])


def test_a_proportion_is_the_mean_of_zeros_and_ones() -> None:
    rate, mean = sample.proportion([1000, 50], [37, 2]), sample.from_sums([1000, 50], [37, 2], [37, 2])
    np.testing.assert_array_equal(rate.mean, mean.mean)
    np.testing.assert_array_equal(rate.variance, mean.variance)


@pytest.mark.parametrize(
    ("built", "reason"),
    [
        (sample.from_sums(0, 0, 0), Reason.TOO_FEW_UNITS),
        (sample.from_sums(1, 5, 25), Reason.TOO_FEW_UNITS),
        (sample.from_sums(4, 20, 100), Reason.ZERO_VARIANCE),
        (sample.from_sums(2, 10, 1), Reason.IMPOSSIBLE_MOMENTS),
        (sample.from_sums(-1, 0, 0), Reason.IMPOSSIBLE_MOMENTS),
        (sample.proportion(10, 11), Reason.IMPOSSIBLE_MOMENTS),
        (sample.proportion(10, -1), Reason.IMPOSSIBLE_MOMENTS),
        (sample.proportion(10, 0), Reason.ZERO_VARIANCE),
        (sample.ratio_from_sums(5, 0, 0, 0, 0, 0), Reason.ZERO_DENOMINATOR),
        (sample.ratio_from_moments(5, 1.0, 0.0, 1.0, 0.0, 0.0), Reason.ZERO_DENOMINATOR),
        (sample.from_moments(10, float("nan"), 1.0), Reason.NOT_FINITE),
        (sample.from_moments(10, 1.0, float("inf")), Reason.NOT_FINITE),
        (sample.from_moments(10, 1.0, -1.0), Reason.IMPOSSIBLE_MOMENTS),
        (sample.from_moments(10.5, 1.0, 1.0), Reason.IMPOSSIBLE_MOMENTS),
        (sample.from_values([3.0]), Reason.TOO_FEW_UNITS),
    ],
)
def test_what_cannot_be_estimated_has_a_reason(built: sample.Sample, reason: Reason) -> None:
    assert Reason.of(int(built.reason[()])) is reason
    if reason is not Reason.ZERO_VARIANCE:
        assert np.isnan(built.variance[()])


def test_fractional_counts_are_refused_by_name() -> None:
    with pytest.raises(BadInput, match="sx"):
        sample.from_sums(10, 2.5, 7)
    with pytest.raises(BadInput, match="successes"):
        sample.proportion(10, float("nan"))


def test_whole_floats_of_a_data_frame_are_counts() -> None:
    assert sample.proportion(np.array([10.0]), np.array([3.0])).mean[0] == 0.3


def test_columns_of_different_shapes_broadcast() -> None:
    got = sample.from_sums(np.array([[10], [20]]), np.array([1, 2, 3]), np.array([1, 2, 3]))
    assert got.mean.shape == (2, 3)
    assert got[1, 2].mean[()] == 3 / 20
