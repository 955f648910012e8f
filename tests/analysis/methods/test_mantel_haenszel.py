"""Common odds and risk ratios against statsmodels, and tables that say nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from switchpoint.analysis.methods.mantel_haenszel import mantel_haenszel
from switchpoint.analysis.numerics.reasons import Reason


@settings(max_examples=40)
@given(st.lists(st.tuples(*[st.integers(1, 60)] * 4), min_size=2, max_size=6))
def test_every_number_agrees_with_statsmodels(cells: list[tuple[int, int, int, int]]) -> None:
    from statsmodels.stats.contingency_tables import StratifiedTable

    a, b, c, d = np.transpose(cells)
    # at an odds ratio of one the library divides zero by zero
    assume(abs((a * d / (a + b + c + d)).sum() / (b * c / (a + b + c + d)).sum() - 1) > 1e-3)
    theirs = StratifiedTable([np.array([[w, x], [y, z]], float) for w, x, y, z in cells])
    own = mantel_haenszel(c, c + d, a, a + b)
    low, high = theirs.oddsratio_pooled_confint()
    pairs = [
        (own.odds_ratio, theirs.oddsratio_pooled), (own.risk_ratio, theirs.riskratio_pooled),
        (own.log_odds_error, theirs.logodds_pooled_se), (own.low, low), (own.high, high),
        (own.statistic, theirs.test_null_odds().statistic), (own.p_value, theirs.test_null_odds().pvalue),
        (own.breslow_day, theirs.test_equal_odds().statistic),
        (own.breslow_day_p, theirs.test_equal_odds().pvalue),
        (own.tarone, theirs.test_equal_odds(adjust=True).statistic),
    ]  # fmt: skip
    for mine, other in pairs:
        assert float(mine) == pytest.approx(float(other), rel=1e-8, abs=1e-10)


def test_a_stratum_of_one_variant_changes_nothing() -> None:
    base = mantel_haenszel([10, 20], [100, 80], [14, 30], [90, 85])
    more = mantel_haenszel([10, 20, 5], [100, 80, 50], [14, 30, 0], [90, 85, 0])
    np.testing.assert_allclose(base.odds_ratio, more.odds_ratio)
    np.testing.assert_allclose(base.tarone_p, more.tarone_p)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (([5], [4], [1], [10]), Reason.IMPOSSIBLE_MOMENTS),
        (([0], [0], [1], [10]), Reason.NOT_COMPARABLE),
        (([0], [10], [0], [10]), Reason.TOO_FEW_EVENTS),
    ],
)
def test_tables_that_say_nothing_have_a_reason(table: tuple[list[int], ...], reason: Reason) -> None:
    found = mantel_haenszel(*table)
    assert Reason.of(int(found.reason)) is reason
    assert np.isnan(found.p_value)
