"""Exact sequences of shares: a martingale by enumeration, valid at 99/1 from the first event, one story."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from switchpoint.analysis.inference import shares as share_sequence
from switchpoint.analysis.numerics.estimates import Alternative
from switchpoint.analysis.validity.sample_ratio import log_e_sample_ratio


@given(st.integers(1, 60), st.floats(0.005, 0.995), st.floats(0.5, 500), st.sampled_from(Alternative))
def test_the_e_value_expects_one_under_the_null(
    n: int, share: float, weight: float, side: Alternative
) -> None:
    s = np.arange(n + 1)
    log_e = share_sequence.log_e_share(s, n, share, weight=weight, alternative=side)
    log_p = special.gammaln(n + 1) - special.gammaln(s + 1) - special.gammaln(n - s + 1)
    log_p = log_p + special.xlogy(s, share) + special.xlog1py(n - s, -share)
    assert float(np.exp(log_e + log_p).sum()) == pytest.approx(1, rel=1e-8)


@given(st.integers(1, 40), st.floats(0.1, 0.8), st.floats(0.01, 0.09))
def test_one_sided_it_expects_less_on_the_other_side(n: int, share: float, less: float) -> None:
    s = np.arange(n + 1)
    truth = share - less
    log_e = share_sequence.log_e_share(s, n, share, weight=20.0, alternative=Alternative.GREATER)
    log_p = special.gammaln(n + 1) - special.gammaln(s + 1) - special.gammaln(n - s + 1)
    log_p = log_p + special.xlogy(s, truth) + special.xlog1py(n - s, -truth)
    assert float(np.exp(log_e + log_p).sum()) <= 1 + 1e-9


def test_two_sided_it_is_the_sequential_sample_ratio_test() -> None:
    theirs = log_e_sample_ratio([150, 100], [0.6, 0.4], concentration=100)
    own = share_sequence.log_e_share(150, 250, 0.6, weight=100)
    np.testing.assert_allclose(own, theirs, rtol=1e-10)


@given(
    st.integers(0, 300),
    st.integers(0, 300),
    st.sampled_from([0.01, 0.05, 0.5, 0.9]),
    st.sampled_from(Alternative),
)
def test_p_and_sequence_agree_from_the_first_event(c: int, t: int, share: float, side: Alternative) -> None:
    weight = share_sequence.concentration(share_sequence.TUNED_EVENTS)
    log_e = share_sequence.log_e_share(t, c + t, share, weight=weight, alternative=side)
    low, high = share_sequence.share_interval(t, c + t, alternative=side)
    assert bool(log_e >= np.log(20)) == bool(low > share or high < share)


@pytest.mark.parametrize("share", [0.5, 0.05, 0.01])
@pytest.mark.parametrize("side", [Alternative.TWO_SIDED, Alternative.GREATER])
def test_watching_every_event_keeps_the_error_at_any_split(share: float, side: Alternative) -> None:
    rng = np.random.default_rng(1)
    runs, events = 1500, 160
    t = (rng.random((runs, events)) < share).cumsum(axis=1)
    n = np.arange(1, events + 1)
    weight = share_sequence.concentration(share_sequence.TUNED_EVENTS)
    log_e = share_sequence.log_e_share(t, n, share, weight=weight, alternative=side)
    error = (log_e >= np.log(20)).any(axis=1).mean()
    assert error <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / runs)


def test_a_canary_that_breaks_is_found_within_a_few_errors() -> None:
    """1 % of the traffic, errors five times as frequent there."""
    rng = np.random.default_rng(2)
    share = 5 * 0.01 / (5 * 0.01 + 0.99)
    n = np.arange(10, 401, 10)
    t = (rng.random((200, 400)) < share).cumsum(axis=1)[:, n - 1]
    weight = share_sequence.concentration(share_sequence.TUNED_EVENTS)
    log_e = share_sequence.log_e_share(t, n, 0.01, weight=weight, alternative=Alternative.GREATER)
    alarm = log_e >= np.log(20)
    assert alarm.any(axis=1).mean() > 0.95
    assert np.median(n[alarm.argmax(axis=1)]) <= 150


def test_the_share_sequence_covers_at_every_draw() -> None:
    rng = np.random.default_rng(3)
    runs, draws, truth = 1500, 200, 0.12
    x = (rng.random((runs, draws)) < truth).cumsum(axis=1)[:, 4::5]
    low, high = share_sequence.share_interval(x, np.arange(5, draws + 1, 5), tuned_for=100)
    covered = ((low <= truth) & (truth <= high)).all(axis=1).mean()
    assert covered >= 0.95 - 4 * np.sqrt(0.05 * 0.95 / runs)
