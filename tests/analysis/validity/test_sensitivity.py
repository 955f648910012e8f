"""E-values and composition: published values and planted problems."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from switchpoint.analysis.evidence.moments import Centred, Exact
from switchpoint.analysis.frame import analyze
from switchpoint.analysis.report.report import Report
from switchpoint.analysis.results.numbers import MixRow
from switchpoint.analysis.validity import confounding
from switchpoint.experiment.language.experiment import load_spec
from tests.analysis.cases import BUYERS


@pytest.mark.parametrize(("ratio", "value"), [(3.9, 7.26), (1.8, 3.0), (0.80, 1.81), (1.0, 1.0)])
def test_published_e_values(ratio: float, value: float) -> None:
    """VanderWeele & Ding (2017), examples and table."""
    assert float(confounding.e_value(ratio)) == pytest.approx(value, abs=6e-3)


UNKNOWN = """
metrics: [{key: ctr, type: proportion, role: primary}]
decision: {design: fixed, mde: 20%, min_runtime: 7d, max_runtime: 60d}
source: {shape: counts, assignment: unknown, variant: v, weights: equal, columns: {ctr: {n: n, sum: k}}}
"""


@pytest.mark.parametrize(("successes", "figure", "clear"), [(180, 3.0, True), (101, 1.11, False)])
def test_a_report_of_an_unknown_assignment_says_what_a_hidden_cause_would_take(
    successes: int, figure: float, *, clear: bool
) -> None:
    """A risk ratio of 1.8 has the published E-value 3; that of an interval that holds no effect is 1."""
    table = pa.table({"v": ["a", "b"], "n": [1000, 1000], "k": [100, successes]})
    found = analyze(table, load_spec(UNKNOWN))
    assert isinstance(found, Report)
    (one,) = found.sensitivity
    assert one.e_value == pytest.approx(figure, abs=6e-3)
    assert one.bound is not None
    assert (1 < one.bound < one.e_value) if clear else one.bound == 1


def test_strata_weigh_by_their_denominators_however_small_these_are() -> None:
    """Two units in each of four cells with 0.1 or 0.2 hours of reading in all."""
    n, each = np.full((2, 2), 2.0), np.array([[0.05, 0.05], [0.1, 0.1]])
    zero = np.zeros((2, 2))
    totals = Centred(n=n, x=each * [1.0, 3.0], xx=zero, y=each, yy=zero, xy=zero)
    rows = confounding.mix(totals, np.ones(2, dtype=bool), 1, ["short", "long"])
    assert [row.weight for row in rows] == pytest.approx([1 / 3, 2 / 3])


def mix(n: list[list[int]], x: list[list[int]]) -> tuple[MixRow, ...]:
    """Strata by control and one variant."""
    zero = np.zeros_like(n)
    totals = Exact(metric=BUYERS, n=np.array(n), x=np.array(x), xx=np.array(x), y=zero, yy=zero, xy=zero)
    return confounding.mix(totals, np.ones(len(n), dtype=bool), 1, ["small", "large"])


def test_kidney_stones_reverse_when_pooled() -> None:
    """Open surgery is better for small and for large stones, and worse over all (Charig et al. 1986)."""
    rows = mix([[270, 87], [80, 263]], [[234, 81], [55, 192]])
    within = (357 * (81 / 87 - 234 / 270) + 343 * (192 / 263 - 55 / 80)) / 700
    pooled = (273 - 289) / 350
    assert pooled < 0 < within
    assert [row.effect for row in rows] == pytest.approx([81 / 87 - 234 / 270, 192 / 263 - 55 / 80])
    assert sum(row.contribution or 0.0 for row in rows) == pytest.approx(pooled - within, rel=1e-12)


def test_equal_mixes_add_nothing() -> None:
    rows = mix([[500, 500], [300, 300]], [[50, 60], [90, 99]])
    assert [row.contribution for row in rows] == pytest.approx([0.0, 0.0], abs=1e-12)
    assert [row.weight for row in rows] == [500 / 800, 300 / 800]


def test_an_allocation_that_changed_with_the_season_is_a_matter_of_mixes() -> None:
    """No effect in either epoch, rates of 0.1 and 0.9; the variant got more of the good one."""
    rows = mix([[9000, 1000], [1000, 9000]], [[900, 100], [900, 8100]])
    assert [row.effect for row in rows] == [0.0, 0.0]
    assert [row.contribution for row in rows] == pytest.approx([0.32, 0.32])
