"""Sample ratio: weights, zero-weight variants, strata, and error under peeking."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchpoint.analysis.numerics.reasons import Reason
from switchpoint.analysis.results.thresholds import DEFAULT
from switchpoint.analysis.validity.sample_ratio import (
    combine,
    log_e_sample_ratio,
    sample_ratio,
    sequential_p,
)

SRM = DEFAULT.srm_invalid


def test_variants_without_weight_do_not_dilute_the_test() -> None:
    with_dead = sample_ratio([5100, 4900, 0], [0.5, 0.5, 0.0])
    without = sample_ratio([5100, 4900], [0.5, 0.5])
    assert (with_dead.p_value, with_dead.df) == (without.p_value, without.df)
    assert not with_dead.broken(SRM)

    expected = log_e_sample_ratio([5100, 4900], [0.5, 0.5])
    assert log_e_sample_ratio([5100, 4900, 0], [0.5, 0.5, 0.0]) == expected


def test_units_in_a_variant_without_weight_break_the_ratio() -> None:
    test = sample_ratio([5000, 5000, 3], [0.5, 0.5, 0.0])
    assert test.stray == 3
    assert test.broken(SRM)
    assert log_e_sample_ratio([5000, 5000, 3], [0.5, 0.5, 0.0]) == np.inf
    assert log_e_sample_ratio([5000, 5000, 1], [0.5, 0.5, 0.0]) == np.inf


def test_a_variant_that_got_nobody_is_not_skipped() -> None:
    assert sample_ratio([1000, 0], [0.9, 0.1]).broken(SRM)


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ([0, 0], Reason.TOO_FEW_UNITS),
        ([-1, 5], Reason.IMPOSSIBLE_MOMENTS),
        ([1.5, 5], Reason.IMPOSSIBLE_MOMENTS),
        ([np.nan, 5], Reason.IMPOSSIBLE_MOMENTS),
    ],
)
def test_counts_that_cannot_be_tested_have_a_reason(counts: list[float], reason: Reason) -> None:
    test = sample_ratio(counts, [0.5, 0.5])
    assert Reason.of(int(test.reason)) is reason
    assert np.isnan(test.p_value)
    assert not test.broken(SRM)


def test_one_live_variant_has_no_ratio() -> None:
    assert Reason.of(int(sample_ratio([10, 0], [1.0, 0.0]).reason)) is Reason.NOT_COMPARABLE


def test_a_single_unit_has_a_statistic() -> None:
    """Half a unit expected in either of two, a quarter and three quarters of weights that add up to 0.4."""
    assert sample_ratio([1, 0], [0.5, 0.5]).statistic == 1.0
    uneven = sample_ratio([0, 1], [0.3, 0.1])
    assert uneven.statistic == pytest.approx(0.75**2 / 0.75 + 0.75**2 / 0.25)
    assert uneven.expected == pytest.approx([0.75, 0.25])
    small, whole = (log_e_sample_ratio([30, 70], weights) for weights in ([0.3, 0.1], [0.75, 0.25]))
    assert float(small) == pytest.approx(float(whole), rel=1e-9)


@given(st.integers(1, 10**9), st.floats(0.01, 0.99))
def test_weights_need_not_be_normalised(n: int, share: float) -> None:
    counts = [round(n * share), n - round(n * share)]
    one, other = (
        sample_ratio(counts, [share, 1 - share]),
        sample_ratio(counts, [10_000 * share, 10_000 * (1 - share)]),
    )
    assert other.statistic == pytest.approx(one.statistic, rel=1e-6, abs=1e-6)


def test_strata_are_tested_with_their_own_weights() -> None:
    """50/50 and 90/10 strata are each right although the pooled counts fit neither weight."""
    tests = sample_ratio([[5000, 5000], [9000, 1000]], [[0.5, 0.5], [0.9, 0.1]])
    both = combine(tests)
    assert both.df == 2
    assert both.p_value == pytest.approx(1.0)
    assert sample_ratio([14_000, 6000], [0.5, 0.5]).broken(SRM)
    bad = combine(sample_ratio([[5000, 5000], [8800, 1200]], [[0.5, 0.5], [0.9, 0.1]]))
    assert bad.broken(SRM)
    assert bad.expected.tolist() == [14_000, 6000]


def test_empty_strata_are_left_out() -> None:
    both = combine(sample_ratio([[5100, 4900], [0, 0]], [[0.5, 0.5], [0.5, 0.5]]))
    assert both.p_value == sample_ratio([5100, 4900], [0.5, 0.5]).p_value
    none = combine(sample_ratio([[0, 0], [0, 0]], [0.5, 0.5]))
    beside = combine(sample_ratio([[[0, 0]], [[5, 5]]], [0.5, 0.5]))
    assert beside.reason.tolist() == [int(none.reason), 0]
    assert Reason.of(int(none.reason)) is Reason.TOO_FEW_UNITS


def test_the_sequential_test_finds_what_is_broken_and_leaves_what_is_not() -> None:
    assert log_e_sample_ratio([5000, 5000], [0.5, 0.5]) < 0
    assert log_e_sample_ratio([5400, 4600], [0.5, 0.5]) > np.log(1000)
    assert log_e_sample_ratio([821_588, 815_482], [0.5, 0.5]) > np.log(1000)
    assert sequential_p(log_e_sample_ratio([5000, 5000], [0.5, 0.5])) == 1


@pytest.mark.parametrize("k", [100.0, 10_000.0, None])
def test_the_e_value_averages_to_one_over_all_outcomes(k: float | None) -> None:
    """E[e] = 1 under the intended weights, summed over every count of 40 units (20/80)."""
    from scipy import stats

    s = np.arange(41)
    log_e = log_e_sample_ratio(np.stack([s, 40 - s], axis=-1), [0.2, 0.8], concentration=k)
    assert float(np.exp(log_e) @ stats.binom.pmf(s, 40, 0.2)) == pytest.approx(1.0, rel=1e-9)


def test_peeking_at_every_unit_keeps_the_error() -> None:
    rng = np.random.default_rng(3)
    arrivals = rng.random((400, 3000)) < 0.1
    seen = np.stack([~arrivals, arrivals], axis=-1).cumsum(axis=1)
    log_e = log_e_sample_ratio(seen, [0.9, 0.1])
    assert (log_e.max(axis=1) >= np.log(20)).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)


def test_a_billion_units_do_not_overflow() -> None:
    assert np.isfinite(log_e_sample_ratio([5 * 10**8, 6 * 10**8], [0.5, 0.5]))
    assert sample_ratio([10**9, 10**9], [0.5, 0.5]).p_value == 1


def test_a_ratio_is_broken_below_the_threshold_or_by_a_single_stray_unit() -> None:
    test = sample_ratio([5150, 4850], [0.5, 0.5])
    assert not test.broken(float(test.p_value))
    assert test.broken(float(test.p_value) * 1.001)
    assert sample_ratio([5, 5, 1], [0.5, 0.5, 0.0]).broken(SRM)
    assert not sample_ratio([0, 0], [0.5, 0.5]).broken(1.0)


def test_every_row_of_many_is_tested_as_it_is_alone() -> None:
    """Half units, a unit where none may be, weights of any sum: no row says anything of another."""
    counts = np.array([[50.0, 60.0, 0.0], [0.5, 1.0, 0.0], [10.0, 4.0, 1.0], [3.0, 5.0, 0.0]])
    weights = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.5, 0.5, 0.0], [0.0, 0.4, 0.0]])
    together, log_e = sample_ratio(counts, weights), log_e_sample_ratio(counts, weights)
    for row in range(len(counts)):
        alone = sample_ratio(counts[row : row + 1], weights[row : row + 1])
        assert together.reason[row] == alone.reason[0]
        assert together.stray[row] == alone.stray[0]
        np.testing.assert_equal(together.p_value[row], alone.p_value[0])
        np.testing.assert_equal(
            log_e[row], log_e_sample_ratio(counts[row : row + 1], weights[row : row + 1])[0]
        )
    # twice the weights are the same weights
    np.testing.assert_allclose(log_e, log_e_sample_ratio(counts, weights / 2))
