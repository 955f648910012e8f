"""Strata: Simpson's trap, weights, dropped strata, composed degrees of freedom."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchpoint.analysis.inference import contrast
from switchpoint.analysis.inference.sample import Sample, from_moments, proportion
from switchpoint.analysis.inference.strata import stratify
from switchpoint.analysis.numerics.reasons import Reason


def _side(n: list[float], mean: list[float], variance: list[float]) -> Sample:
    return from_moments(np.array(n), np.array(mean), np.array(variance))


def test_an_allocation_that_differs_between_strata_does_not_reverse_the_effect() -> None:
    """50/50 in a poor segment, 90/10 in a rich one: pooled, control looks better although it is worse."""
    control, treatment = proportion([1000, 9000], [100, 2700]), proportion([1000, 1000], [120, 320])
    pooled = contrast.effect(contrast.from_samples(proportion(10_000, 2800), proportion(2000, 440))).at()
    both = stratify(control, treatment, control.n + treatment.n)
    assert pooled.estimate < 0
    assert contrast.effect(
        contrast.from_samples(both.control, both.treatment)
    ).at().estimate == pytest.approx(0.02)


def test_charig_1986_kidney_stones() -> None:
    """Open surgery is better for small and for large stones; pooled it looks worse (BMJ 292:879)."""
    pcn, surgery = proportion([270, 80], [234, 55]), proportion([87, 263], [81, 192])
    both = stratify(pcn, surgery, pcn.n + surgery.n)
    assert contrast.effect(contrast.from_samples(both.control, both.treatment)).estimate > 0
    assert contrast.effect(contrast.from_samples(proportion(350, 289), proportion(350, 273))).estimate < 0


def test_effect_variance_and_df_are_the_weighted_sums_over_all_components() -> None:
    control, treatment = (
        _side([600, 250, 150], [10, 30, 55], [25, 90, 160]),
        _side([580, 280, 140], [10.6, 31.5, 54], [26, 95, 150]),
    )
    both = stratify(control, treatment, control.n + treatment.n)
    one = contrast.effect(contrast.from_samples(both.control, both.treatment)).at()
    w = (control.n + treatment.n) / 2000
    parts = np.concatenate([w**2 * control.error_variance, w**2 * treatment.error_variance])
    dfs = np.concatenate([control.n - 1, treatment.n - 1])
    assert one.estimate == pytest.approx(float(w @ (treatment.mean - control.mean)))
    assert one.standard_error == pytest.approx(np.sqrt(parts.sum()))
    assert one.df == pytest.approx(parts.sum() ** 2 / (parts**2 / dfs).sum())


def test_strata_without_both_variants_are_dropped_and_named() -> None:
    control, treatment = (
        proportion([500, 0, 400, 300], [50, 0, 40, 30]),
        proportion([500, 700, 1, 300], [60, 90, 0, 33]),
    )
    both = stratify(control, treatment, control.n + treatment.n)
    assert [Reason.of(code) for code in both.dropped] == [
        None,
        Reason.NOT_COMPARABLE,
        Reason.TOO_FEW_UNITS,
        None,
    ]
    assert both.covered == pytest.approx(1600 / 2701)
    assert both.weight.tolist() == [1000 / 1600, 0, 0, 600 / 1600]
    without = stratify(control[[0, 3]], treatment[[0, 3]], [1000, 600])
    assert both.control.mean == without.control.mean
    assert both.treatment.variance == pytest.approx(without.treatment.variance)


def test_aliased_segments_cannot_be_compared() -> None:
    """The lecture example: one country saw only model 1, the other only model 2."""
    both = stratify(proportion([1000, 0], [100, 0]), proportion([0, 1000], [0, 300]), [1000, 1000])
    result = contrast.effect(contrast.from_samples(both.control, both.treatment))
    assert result.why_not() is Reason.NOT_COMPARABLE
    assert both.covered == 0


def test_one_stratum_is_the_plain_comparison() -> None:
    control, treatment = proportion([500], [50]), proportion([510], [70])
    both = stratify(control, treatment, [1010])
    alone, plain = (
        contrast.lift(contrast.from_samples(both.control, both.treatment)).at(),
        contrast.lift(contrast.from_samples(control, treatment)).at(0),
    )
    assert (alone.low, alone.high, alone.p_value) == pytest.approx(
        (plain.low, plain.high, plain.p_value), rel=1e-12
    )


def test_a_stratum_without_events_counts_and_no_events_at_all_is_a_reason() -> None:
    both = stratify(proportion([500, 40], [50, 0]), proportion([500, 40], [60, 0]), [1000, 80])
    assert both.dropped.tolist() == [0, 0]
    assert contrast.effect(contrast.from_samples(both.control, both.treatment)).why_not() is None
    empty = stratify(proportion([500, 40], [0, 0]), proportion([500, 40], [60, 0]), [1000, 80])
    assert (
        contrast.effect(contrast.from_samples(empty.control, empty.treatment)).why_not()
        is Reason.ZERO_VARIANCE
    )


@given(st.permutations(range(4)))
def test_the_order_of_strata_does_not_matter(order: list[int]) -> None:
    control, treatment = (
        proportion([500, 40, 77, 900], [50, 3, 9, 80]),
        proportion([480, 44, 70, 100], [60, 5, 11, 9]),
    )
    weight = control.n + treatment.n
    one, other = (
        stratify(control, treatment, weight),
        stratify(control[order], treatment[order], weight[order]),
    )
    assert other.control.mean == pytest.approx(one.control.mean, rel=1e-14)
    assert other.treatment.df == pytest.approx(one.treatment.df, rel=1e-12)
