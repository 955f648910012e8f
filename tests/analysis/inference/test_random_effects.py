"""Pooling and shrinkage: against statsmodels, against the likelihood, and the shape of shrinkage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchpoint.analysis.inference.random_effects import Heterogeneity, Reference, pool_effects
from switchpoint.analysis.numerics.reasons import Reason

EFFECTS = np.array([0.021, 0.084, -0.054, 0.151, 0.018, 0.112])
VARIANCES = np.array([0.0001, 0.00025, 0.0004, 0.0009, 0.00016, 0.0016])


def test_dersimonian_laird_agrees_with_statsmodels() -> None:
    from statsmodels.stats.meta_analysis import combine_effects

    theirs = combine_effects(EFFECTS, VARIANCES, method_re="dl")
    own = pool_effects(
        EFFECTS, VARIANCES, heterogeneity=Heterogeneity.DERSIMONIAN_LAIRD, reference=Reference.NORMAL
    )
    assert float(own.tau2) == pytest.approx(theirs.tau2, rel=1e-10)
    assert float(own.mean) == pytest.approx(theirs.mean_effect_re, rel=1e-10)
    assert float(own.standard_error) == pytest.approx(theirs.sd_eff_w_re, rel=1e-10)
    assert float(own.q) == pytest.approx(theirs.q, rel=1e-10)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(0.001, 0.5)), min_size=2, max_size=8))
def test_reml_maximises_the_restricted_likelihood(members: list[tuple[float, float]]) -> None:
    y, v = np.transpose(members)
    found = float(pool_effects(y, v).tau2)
    grid = np.concatenate([[0.0], np.geomspace(1e-6, 10, 400)])

    def likelihood(tau2: float) -> float:
        w = 1 / (v + tau2)
        mean = (w * y).sum() / w.sum()
        return float(-0.5 * (np.log(v + tau2).sum() + np.log(w.sum()) + (w * (y - mean) ** 2).sum()))

    near = found * 0.99, found * 1.01 + 1e-9
    assert all(likelihood(found) >= likelihood(value) - 1e-9 for value in near)
    assert likelihood(found) >= max(likelihood(value) for value in grid) - 1e-9


def test_members_are_shrunk_towards_the_common_effect_and_the_noisy_ones_most() -> None:
    pooled = pool_effects(EFFECTS, VARIANCES)
    moved = np.abs(pooled.shrunk - EFFECTS) / np.abs(EFFECTS - pooled.mean)
    assert (np.abs(pooled.shrunk - pooled.mean) <= np.abs(EFFECTS - pooled.mean) + 1e-12).all()
    assert (np.argsort(moved) == np.argsort(VARIANCES)).all()


def test_no_variation_beyond_noise_is_one_common_effect() -> None:
    pooled = pool_effects([0.1, 0.11, 0.09], [0.04, 0.04, 0.04])
    assert float(pooled.tau2) == 0
    np.testing.assert_allclose(pooled.shrunk, float(pooled.mean))
    assert float(pooled.q_p) > 0.9


def test_members_without_an_estimate_take_no_part_and_one_alone_is_a_reason() -> None:
    some = pool_effects([0.1, np.nan, 0.3], [0.01, 0.01, 0.02])
    np.testing.assert_allclose(some.mean, pool_effects([0.1, 0.3], [0.01, 0.02]).mean)
    assert np.isnan(some.shrunk[1])
    assert Reason.of(int(pool_effects([0.1], [0.01]).reason)) is Reason.TOO_FEW_UNITS


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_a_family_is_pooled_the_same_alone_and_beside_others(seed: int) -> None:
    """Families differ in how much their members vary: one at zero must not end the search of another."""
    rng = np.random.default_rng(seed)
    v = rng.uniform(0.5, 2.0, (6, 8))
    y = rng.normal(0.0, np.sqrt(v + np.array([0, 0, 0.1, 1, 10, 100])[:, None]))
    together = pool_effects(y, v)
    alone = [float(pool_effects(own, errors).tau2) for own, errors in zip(y, v, strict=True)]
    np.testing.assert_allclose(together.tau2, alone, rtol=1e-12, atol=1e-13)


def test_families_are_pooled_side_by_side() -> None:
    both = pool_effects(np.stack([EFFECTS, -EFFECTS]), VARIANCES)
    np.testing.assert_allclose(both.mean[0], -both.mean[1])
    np.testing.assert_allclose(both.tau2[0], both.tau2[1])
