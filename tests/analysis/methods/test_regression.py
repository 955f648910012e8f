"""Regression from units: against statsmodels and brute force, coverage of Lin's effect, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from switchpoint.analysis.inference import contrast
from switchpoint.analysis.methods import regression
from switchpoint.analysis.methods.regression import Robust
from switchpoint.analysis.numerics.reasons import CannotEstimate, Reason
from switchpoint.experiment.errors import BadInput


def _table(seed: int, rows: int = 80) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    cluster = rng.integers(0, 9, rows)
    x = np.column_stack([np.ones(rows), rng.normal(size=(rows, 2))])
    y = x @ [1.0, 0.5, -0.3] + rng.normal(size=9)[cluster] + rng.normal(size=rows)
    return y, x, cluster


def test_hc2_and_cr1_agree_with_statsmodels() -> None:
    from statsmodels.api import OLS

    y, x, cluster = _table(1)
    theirs = OLS(y, x).fit(cov_type="HC2", use_t=True)
    own = regression.least_squares(y, x)
    np.testing.assert_allclose(np.sqrt(np.diag(own.covariance)), theirs.bse, rtol=1e-10)
    np.testing.assert_allclose(own.estimate(1).p_value, theirs.pvalues[1], rtol=1e-8)
    grouped = OLS(y, x).fit(cov_type="cluster", cov_kwds={"groups": cluster}, use_t=True)
    own = regression.least_squares(y, x, robust=Robust.CR1, cluster=cluster)
    np.testing.assert_allclose(np.sqrt(np.diag(own.covariance)), grouped.bse, rtol=1e-10)
    np.testing.assert_allclose(own.estimate(2).p_value, grouped.pvalues[2], rtol=1e-8)


def test_cr3_is_the_jackknife_over_clusters() -> None:
    y, x, cluster = _table(2)
    left_out = [np.linalg.lstsq(x[cluster != g], y[cluster != g], rcond=None)[0] for g in np.unique(cluster)]
    shift = np.array(left_out) - np.linalg.lstsq(x, y, rcond=None)[0]
    count = len(left_out)
    brute = (count - 1) / count * shift.T @ shift
    own = regression.least_squares(y, x, robust=Robust.CR3, cluster=cluster)
    np.testing.assert_allclose(own.covariance, brute, rtol=1e-9)


def test_cr2_of_clusters_of_one_row_is_hc2() -> None:
    y, x, _ = _table(3)
    single = regression.least_squares(y, x, robust=Robust.CR2, cluster=np.arange(y.size))
    np.testing.assert_allclose(single.covariance, regression.least_squares(y, x).covariance, rtol=1e-9)


def test_few_unequal_clusters_cost_degrees_of_freedom() -> None:
    rng = np.random.default_rng(4)
    cluster = np.repeat(np.arange(8), [40, 5, 5, 5, 40, 5, 5, 5])
    treated = (cluster < 4).astype(float)
    y = rng.normal(size=8)[cluster] + rng.normal(size=cluster.size)
    found = regression.clustered_effect(y, treated, cluster).at()
    assert 1 < found.df < 6
    assert found.p_value > regression.clustered_effect(y, treated, cluster, robust=Robust.CR1).at().p_value


def test_lins_effect_covers_the_truth_when_covariate_and_effect_interact() -> None:
    rng = np.random.default_rng(5)
    covered, runs = 0, 2000
    for _ in range(runs):
        z = rng.gamma(1.0, 1.0, 300)
        treated = rng.permutation(np.arange(300) < 90).astype(float)
        y = z + treated * (1 + 0.5 * (z - 1)) + rng.normal(size=300)
        found = regression.lin_effect(y, treated, z)
        covered += bool(found.low <= 1 <= found.high)
    assert covered / runs == pytest.approx(0.95, abs=4 * np.sqrt(0.05 * 0.95 / runs))


def test_a_prediction_that_is_bad_costs_precision_not_validity() -> None:
    rng = np.random.default_rng(6)
    z = rng.normal(size=400)
    treated = (np.arange(400) % 2).astype(float)
    y = z + 0.3 * treated + rng.normal(0, 0.3, 400)
    good, bad = (regression.lin_effect(y, treated, guess).at() for guess in (z, rng.normal(size=400)))
    assert good.standard_error < bad.standard_error
    assert bad.low < 0.3 < bad.high


def test_a_constant_covariate_changes_nothing_and_the_contrast_reads_the_same() -> None:
    rng = np.random.default_rng(7)
    treated = (np.arange(60) % 2).astype(float)
    y, z = rng.normal(size=60) + treated, rng.normal(size=60)
    both = regression.lin_effect(y, treated, np.column_stack([z, np.ones(60)])).at()
    assert both.p_value == pytest.approx(regression.lin_effect(y, treated, z).at().p_value, rel=1e-10)
    whole = contrast.effect(regression.lin_contrast(y, treated, z)).at()
    assert whole.p_value == pytest.approx(both.p_value)


def test_bad_input_names_the_problem() -> None:
    y, x, cluster = _table(8)
    with pytest.raises(BadInput, match="clusters"):
        regression.least_squares(y, x, robust=Robust.CR2)
    with pytest.raises(BadInput, match="finite"):
        regression.least_squares(np.where(np.arange(80) == 3, np.nan, y), x)
    with pytest.raises(BadInput, match="treated"):
        regression.lin_effect(y, np.full(80, 2.0), y)
    for design, reason in (
        (np.column_stack([x, x[:, 1]]), Reason.ZERO_VARIANCE),
        (x[:3], Reason.TOO_FEW_UNITS),
    ):
        with pytest.raises(CannotEstimate) as refusal:
            regression.least_squares(y[: len(design)], design)
        assert refusal.value.reason is reason
    with pytest.raises(CannotEstimate) as refusal:
        regression.least_squares(y, x, robust=Robust.CR2, cluster=np.zeros_like(cluster))
    assert refusal.value.reason is Reason.ONE_CLUSTER
