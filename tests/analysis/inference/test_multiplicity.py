"""Corrections: order, ties and families with members that cannot be estimated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchpoint.analysis.inference.multiplicity import Correction, adjust, e_bh, rejected

families = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(families)
def test_holm_lies_between_raw_and_bonferroni_and_bh_below_holm(p: list[float]) -> None:
    raw, holm = np.array(p), adjust(p, Correction.HOLM)
    assert (raw <= holm).all()
    assert (holm <= adjust(p, Correction.BONFERRONI)).all()
    assert (adjust(p, Correction.BENJAMINI_HOCHBERG) <= holm * (1 + 1e-12)).all()


@given(st.permutations([0.001, 0.01, 0.02, 0.04, 0.2]), st.sampled_from(list(Correction)))
def test_the_order_of_the_family_does_not_matter(p: list[float], correction: Correction) -> None:
    order = np.argsort(p)
    np.testing.assert_allclose(adjust(p, correction)[order], adjust(sorted(p), correction))


@pytest.mark.parametrize("correction", list(Correction))
def test_a_test_that_cannot_be_estimated_stays_a_member(correction: Correction) -> None:
    with_gap = adjust([0.01, np.nan, 0.02], correction)
    assert np.isnan(with_gap[1])
    np.testing.assert_allclose(with_gap[[0, 2]], adjust([0.01, 1.0, 0.02], correction)[[0, 2]])
    assert rejected([0.0001, np.nan, 0.9], correction, 0.05).tolist() == [True, False, False]


def test_families_are_rows() -> None:
    both = adjust([[0.01, 0.04], [0.04, 0.01]], Correction.HOLM)
    np.testing.assert_allclose(both, [[0.02, 0.04], [0.04, 0.02]])


@given(st.lists(st.floats(1e-3, 1e4), min_size=1, max_size=10), st.sampled_from([0.05, 0.2]))
def test_e_bh_is_bh_on_inverse_e_values(e: list[float], level: float) -> None:
    own = e_bh(np.log(e), level)
    theirs = rejected(np.minimum(1 / np.asarray(e), 10.0), Correction.BENJAMINI_HOCHBERG, level)
    assert (own == theirs).all() or np.isclose(np.asarray(e) * level, len(e) / np.arange(1, len(e) + 1)).any()


def test_missing_e_values_are_members_that_are_never_rejected() -> None:
    assert e_bh([np.nan, np.log(50)], 0.05).tolist() == [False, True]
    assert e_bh([np.nan, np.nan, np.log(50)], 0.05).tolist() == [False, False, False]
    assert e_bh([np.inf, 0.0], 0.05).tolist() == [True, False]
