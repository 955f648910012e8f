"""Strata of contrasts: their weights, and what the sampling of the shares adds."""

from __future__ import annotations

import numpy as np
import pytest

from switchpoint.analysis.inference import contrast
from switchpoint.analysis.inference.contrast import from_samples
from switchpoint.analysis.inference.sample import from_moments
from switchpoint.analysis.inference.strata import combine, post_stratify, stratify
from switchpoint.analysis.numerics.reasons import Reason

CONTROL = from_moments([600, 250, 150], [10.0, 30.0, 55.0], [25.0, 90.0, 160.0])
TREATMENT = from_moments([580, 280, 140], [10.6, 31.5, 54.0], [26.0, 95.0, 150.0])


def test_without_the_composition_it_is_the_stratified_comparison() -> None:
    units = CONTROL.n + TREATMENT.n
    whole = stratify(CONTROL, TREATMENT, units)
    theirs = contrast.effect(contrast.from_samples(whole.control, whole.treatment))
    own = contrast.effect(post_stratify(from_samples(CONTROL, TREATMENT), composition=False))
    np.testing.assert_allclose([own.low, own.high, own.df], [theirs.low, theirs.high, theirs.df], rtol=1e-9)


def test_sampled_shares_add_variance_and_known_ones_do_not() -> None:
    strata = from_samples(CONTROL, TREATMENT)
    sampled, fixed_shares = post_stratify(strata), post_stratify(strata, composition=False)
    known = post_stratify(strata, weight=strata.n)
    assert sampled.variance > fixed_shares.variance
    np.testing.assert_allclose(known.variance, fixed_shares.variance)


def test_the_composition_term_is_the_variance_of_the_weighted_effect() -> None:
    """Against simulated multinomial shares."""
    rng = np.random.default_rng(1)
    strata = from_samples(CONTROL, TREATMENT)
    n = strata.n.sum()
    shares = rng.multinomial(int(n), strata.n / n, 200_000) / n
    between = post_stratify(strata).variance - post_stratify(strata, composition=False).variance
    assert float(between) == pytest.approx((shares @ strata.effect).var(), rel=0.02)


def test_a_stratum_of_one_variant_is_left_out_and_none_left_is_a_reason() -> None:
    lone = from_moments([500, 0], [1.0, 0.0], [1.0, 0.0])
    both = from_moments([500, 300], [1.2, 5.0], [1.0, 2.0])
    kept = combine(from_samples(lone, both), np.array([1000.0, 300.0]))
    assert float(kept.effect) == pytest.approx(0.2)
    none = combine(from_samples(lone, both), np.array([0.0, 300.0]))
    assert Reason.of(int(none.reason)) is Reason.NOT_COMPARABLE
