"""Flags and intervals of families agree; e-BH is its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchpoint.analysis.inference.families import e_bh, interval_alpha, power_per_guardrail
from switchpoint.analysis.inference.multiplicity import Correction, rejected

p_values = st.lists(st.floats(1e-9, 1.0), min_size=1, max_size=12)


@given(p_values, st.sampled_from(Correction), st.sampled_from([0.05, 0.1]))
def test_intervals_exclude_the_null_exactly_where_the_family_rejects(
    p: list[float], correction: Correction, level: float
) -> None:
    alpha = interval_alpha(p, correction, level)
    flags = rejected(p, correction, level)
    close = np.abs(np.asarray(p) / alpha - 1) < 1e-9
    assert ((np.asarray(p) <= alpha) == flags)[~close].all()


def test_bh_intervals_are_those_of_benjamini_and_yekutieli() -> None:
    alpha = interval_alpha([0.001, 0.01, 0.02, 0.9], Correction.BENJAMINI_HOCHBERG, 0.05)
    np.testing.assert_allclose(alpha, 3 * 0.05 / 4)


def test_false_coverage_of_selected_intervals_stays_below_the_level() -> None:
    rng = np.random.default_rng(1)
    runs, members, level = 3000, 20, 0.1
    truth = np.concatenate([np.zeros(15), np.full(5, 2.0)])
    z = truth + rng.normal(size=(runs, members))
    p = 2 * _sf(np.abs(z))
    selected = rejected(p, Correction.BENJAMINI_HOCHBERG, level)
    half = -_quantile(interval_alpha(p, Correction.BENJAMINI_HOCHBERG, level) / 2)
    missed = selected & (np.abs(z - truth) > half)
    rate = (missed.sum(axis=1) / np.maximum(selected.sum(axis=1), 1)).mean()
    assert rate <= level


def _sf(z: np.ndarray) -> np.ndarray:
    from scipy import special

    return np.asarray(special.ndtr(-z))


def _quantile(p: np.ndarray) -> np.ndarray:
    from scipy import special

    return np.asarray(special.ndtri(p))


@given(st.lists(st.floats(1e-3, 1e4), min_size=1, max_size=10), st.sampled_from([0.05, 0.2]))
def test_e_bh_is_bh_on_inverse_e_values(e: list[float], level: float) -> None:
    own = e_bh(np.log(e), level)
    theirs = rejected(np.minimum(1 / np.asarray(e), 10.0), Correction.BENJAMINI_HOCHBERG, level)
    assert (own == theirs).all() or np.isclose(np.asarray(e) * level, len(e) / np.arange(1, len(e) + 1)).any()


def test_missing_e_values_are_members_that_are_never_rejected() -> None:
    assert e_bh([np.nan, np.log(50)], 0.05).tolist() == [False, True]
    assert e_bh([np.nan, np.nan, np.log(50)], 0.05).tolist() == [False, False, False]
    assert e_bh([np.inf, 0.0], 0.05).tolist() == [True, False]


def test_guardrails_ask_for_more_power_each() -> None:
    assert power_per_guardrail(0.8, 0) == pytest.approx(0.8)
    assert power_per_guardrail(0.8, 3) == pytest.approx(0.95)
