"""E-values and composition: published values and planted problems."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from analysis.frame import analyze
from analysis.inference.sample import from_moments
from analysis.inference.sample import proportion as rate
from analysis.report.model import Report
from analysis.totals import Exact
from analysis.validity import confounding, sensitivity, simpson
from experiment.parsing import load_spec
from tests.analysis.cases import BUYERS


@pytest.mark.parametrize(("ratio", "value"), [(3.9, 7.26), (1.8, 3.0), (0.80, 1.81), (1.0, 1.0)])
def test_published_e_values(ratio: float, value: float) -> None:
    """VanderWeele & Ding (2017), examples and table."""
    assert float(sensitivity.e_value(ratio)) == pytest.approx(value, abs=6e-3)


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


def test_kidney_stones_reverse_when_pooled() -> None:
    """Open surgery is better for small and for large stones, and worse over all (Charig et al. 1986)."""
    found = simpson.decompose(rate([270, 80], [234, 55]), rate([87, 263], [81, 192]))
    assert found.reversal
    assert found.pooled < 0 < found.within.estimate
    assert float(found.pooled) == pytest.approx(float(found.within.estimate + found.composition))


def test_the_rows_of_a_report_add_up_to_the_composition() -> None:
    """The same stones, by what each stratum adds: the difference of pooled and stratified, nothing else."""
    n, x = np.array([[270, 87], [80, 263]]), np.array([[234, 81], [55, 192]])
    zero = np.zeros_like(n)
    totals = Exact(metric=BUYERS, n=n, x=x, xx=x, y=zero, yy=zero, xy=zero)
    rows = confounding.mix(totals, np.ones(2, dtype=bool), 1, ["small", "large"])
    found = simpson.decompose(rate([270, 80], [234, 55]), rate([87, 263], [81, 192]))
    assert sum(row.contribution for row in rows) == pytest.approx(float(found.composition), rel=1e-12)


def test_equal_composition_leaves_nothing_to_composition() -> None:
    found = simpson.decompose(rate([500, 300], [50, 90]), rate([500, 300], [60, 99]))
    assert float(found.composition) == pytest.approx(0, abs=1e-12)
    assert not found.reversal


def test_an_allocation_that_changed_with_the_season_is_composition() -> None:
    """No effect in either epoch; treatment got more of the good one."""
    control = from_moments([9000, 1000], [1.0, 2.0], [1.0, 1.0])
    treatment = from_moments([1000, 9000], [1.0, 2.0], [1.0, 1.0])
    found = simpson.decompose(control, treatment)
    assert float(found.within.estimate) == 0
    assert float(found.composition) == pytest.approx(0.8)
    assert abs(float(found.composition_z)) > 20
