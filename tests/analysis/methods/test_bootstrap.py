"""Studentised bootstrap: seeded, dual, better than t where it has to be, and refusing where it cannot."""

from __future__ import annotations

import numpy as np
import pytest

from switchpoint.analysis.inference import contrast
from switchpoint.analysis.inference.sample import from_values, ratio_from_values
from switchpoint.analysis.methods import bootstrap
from switchpoint.analysis.numerics.estimates import Alternative
from switchpoint.analysis.numerics.reasons import Reason


def test_the_same_seed_gives_the_same_answer_and_ordinary_data_that_of_welch() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(10, 2, 300), rng.normal(10.5, 2, 250)
    first, second = (
        bootstrap.studentised_effect(x, y, rng=np.random.default_rng(9), resamples=1999).at()
        for _ in range(2)
    )
    assert first == second
    welch = contrast.effect(contrast.from_samples(from_values(x), from_values(y))).at()
    assert first.low == pytest.approx(welch.low, abs=0.03)
    assert first.p_value == pytest.approx(welch.p_value, abs=0.02)


@pytest.mark.parametrize("alternative", list(Alternative))
def test_p_and_interval_agree_at_every_null(alternative: Alternative) -> None:
    rng = np.random.default_rng(2)
    x, y = rng.lognormal(0, 1, 60), rng.lognormal(0.3, 1, 50)
    for null in np.linspace(-1.0, 2.5, 60):
        found = bootstrap.studentised_effect(
            x, y, rng=np.random.default_rng(3), resamples=999, alternative=alternative, null=float(null)
        ).at()
        outside = null < found.low or null > found.high
        # at the bound itself the count of resamples decides
        assert (found.p_value <= 0.05) == outside or min(abs(null - found.low), abs(null - found.high)) < 1e-9


def test_it_covers_skewed_revenue_where_t_does_not() -> None:
    rng = np.random.default_rng(4)
    runs, hit, plain = 400, 0, 0
    truth = float(np.exp(0.5 * 1.2**2))
    known = np.full(50, truth) + rng.normal(0, 1e-6, 50)
    for _ in range(runs):
        paid = rng.lognormal(0, 1.2, 40)
        found = bootstrap.studentised_effect(known, paid, rng=rng, resamples=499)
        hit += bool(found.low <= 0 <= found.high)
        welch = contrast.effect(contrast.from_samples(from_values(known), from_values(paid)))
        plain += bool(welch.low <= 0 <= welch.high)
    assert hit / runs > plain / runs + 0.015
    assert hit / runs > 0.91


def test_ratios_resample_whole_units() -> None:
    rng = np.random.default_rng(5)
    shown = rng.integers(1, 30, (2, 300))
    clicked = rng.binomial(shown, 0.2)
    found = bootstrap.studentised_effect(
        clicked[0], clicked[1], rng=rng, resamples=1999, denominators=(shown[0], shown[1])
    ).at()
    delta = contrast.effect(
        contrast.from_samples(*(ratio_from_values(clicked[v], shown[v]) for v in range(2)))
    ).at()
    assert found.estimate == pytest.approx(delta.estimate)
    assert found.high == pytest.approx(delta.high, rel=0.1)


def test_one_payer_who_carries_everything_is_refused() -> None:
    control, treatment = np.zeros(200), np.zeros(200)
    control[0], treatment[0] = 5.0, 500.0
    found = bootstrap.studentised_effect(control, treatment, rng=np.random.default_rng(6), resamples=499)
    assert found.why_not() is Reason.TOO_FEW_EVENTS
    flat = bootstrap.studentised_effect(np.zeros(9), np.ones(9), rng=np.random.default_rng(6))
    assert flat.why_not() is Reason.ZERO_VARIANCE
    short = bootstrap.studentised_effect(
        control, treatment + 1e-9, rng=np.random.default_rng(6), resamples=19
    )
    assert short.why_not() is Reason.TOO_FEW_EVENTS
