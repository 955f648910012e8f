"""Quantiles: order statistics against scipy, density-free errors against the truth, refusals."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from switchpoint.analysis.inference import contrast
from switchpoint.analysis.methods import quantile
from switchpoint.analysis.numerics.estimates import Alternative
from switchpoint.analysis.numerics.reasons import Reason


@pytest.mark.parametrize("alternative", list(Alternative))
def test_order_statistic_intervals_are_scipys(alternative: Alternative) -> None:
    from scipy import stats

    rng = np.random.default_rng(1)
    for n in (7, 60, 400):
        x = np.round(rng.lognormal(size=n), 1)
        for p in (0.02, 0.5, 0.95):
            for alpha in (0.2, 0.05, 0.01):
                tested = stats.quantile_test(x, p=p, alternative=alternative.value)
                theirs = cast("tuple[float, float]", tested.confidence_interval(1 - alpha))
                own = quantile.order_interval(x, p, alpha=alpha, alternative=alternative)
                # scipy says NaN where the sample has no value far enough out
                bounds = [(a, b) for a, b in zip(own, theirs, strict=True) if not np.isnan(b)]
                assert all(a == b for a, b in bounds)
                assert all(np.isinf(a) for a, b in zip(own, theirs, strict=True) if np.isnan(b))


def test_a_difference_of_p90_keeps_its_level_with_rows_clustered_by_user() -> None:
    rng = np.random.default_rng(2)
    runs, users, wrong, naive = 1500, 400, 0, 0
    for _ in range(runs):
        sides, plain = [], []
        for _ in range(2):
            rows = rng.integers(1, 12, users)
            owner = np.repeat(np.arange(users), rows)
            latency = np.exp(rng.normal(0, 0.7, users)[owner] + rng.normal(0, 0.4, owner.size))
            sides.append(quantile.from_values(latency, 0.9, cluster=owner))
            plain.append(quantile.from_values(latency, 0.9))
        wrong += bool(contrast.effect(contrast.from_samples(sides[0], sides[1])).significant)
        naive += bool(contrast.effect(contrast.from_samples(plain[0], plain[1])).significant)
    assert wrong / runs == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / runs))
    assert naive / runs > 0.15


def test_a_p99_of_fewer_than_a_thousand_users_is_refused() -> None:
    rng = np.random.default_rng(3)
    rows = rng.normal(size=20_000)
    assert quantile.from_values(rows, 0.99).reason == 0
    few = quantile.from_values(rows, 0.99, cluster=np.arange(20_000) % 500)
    assert Reason.of(int(few.reason)) is Reason.TOO_FEW_CLUSTERS
    one = quantile.from_values(rows, 0.5, cluster=np.zeros(20_000))
    assert Reason.of(int(one.reason)) is Reason.ONE_CLUSTER
    assert contrast.effect(contrast.from_samples(few, few)).why_not() is Reason.TOO_FEW_CLUSTERS


def test_contradictions_and_constants_are_reasons() -> None:
    reversed_ = quantile.from_interval(1000, 1.0, 1.2, 0.8, probability=0.5)
    assert Reason.of(int(reversed_.reason)) is Reason.IMPOSSIBLE_MOMENTS
    assert Reason.of(int(quantile.from_values(np.ones(100), 0.5).reason)) is Reason.ZERO_VARIANCE
    assert Reason.of(int(quantile.from_values([1.0, np.nan, 2.0], 0.5).reason)) is Reason.NOT_FINITE
