"""The simulations are what they say, and the shortcuts of the calibration agree with the product."""

from __future__ import annotations

import numpy as np
import pytest

from switchpoint.analysis.inference import proportion
from switchpoint.analysis.inference.sample import from_values, ratio_from_values
from tests.calibration import errors, streams
from tests.calibration.errors import Cell, Row
from tests.calibration.page import render
from tests.calibration.streams import Traffic


def test_the_score_statistic_is_the_products() -> None:
    rng = np.random.default_rng(1)
    n = rng.integers(50, 5000, (200, 2)).astype(float)
    x = rng.binomial(n.astype(int), 0.07).astype(float)
    theirs = proportion.score_difference(x[:, 0], n[:, 0], x[:, 1], n[:, 1])
    known = theirs.reason == 0
    np.testing.assert_allclose(
        errors.score_statistic(x, n)[known], np.abs(theirs.statistic)[known], rtol=1e-9, atol=1e-9
    )


def test_capped_revenue_has_the_mean_that_coverage_is_measured_against() -> None:
    rng = np.random.default_rng(2)
    for lift in (0.0, 0.3):
        stream = streams.revenue(Traffic(units=8_000_000, share=0.5, runs=1, looks=1), rng, lift=lift)
        side = stream.sample[1][0, -1]
        error = float(np.sqrt(side.error_variance))
        assert float(side.mean) == pytest.approx(streams.capped_mean(lift), abs=4 * error)


def test_cumulative_sums_are_those_of_the_users_drawn() -> None:
    rng = np.random.default_rng(3)
    users = streams.heavy_users(rng)
    stream = streams.clicks(Traffic(units=3000, share=0.3, runs=2, looks=5), rng, populations=(users, users))
    assert (np.diff(stream.n, axis=1) >= 0).all()
    assert stream.n[:, -1].sum(axis=1) == pytest.approx([3000, 3000], rel=0.1)
    ratio = float(stream.sample[0].mean[0, -1])
    assert ratio == pytest.approx(streams.click_rate(users), abs=0.01)
    rows = users[:500].astype(int)
    assert from_values(rows[:, 0]).reason == 0
    assert float(ratio_from_values(rows[:, 0], rows[:, 1]).mean) == pytest.approx(
        rows[:, 0].sum() / rows[:, 1].sum()
    )


def test_a_small_grid_holds_and_an_error_above_its_limit_is_told() -> None:
    row = Row(
        metric="conversion 5.0%", units=(20_000,) * 3, runs=400, chunk=150,
        make=lambda traffic, source: streams.conversions(traffic, source, rate=0.05),
    )  # fmt: skip
    cells = errors.measure(row, 0, np.random.default_rng(4))
    assert [cell.design for cell in cells] == list(errors.DESIGNS)
    assert all(cell.holds and cell.passing == 1 for cell in cells)
    broken = Cell(
        metric="x", treated=0.5, design="fixed", units=1, runs=100, passing=1.0, opens=1.0, error=0.2,
        ungated=0.2, limit=0.11,
    )  # fmt: skip
    page = render([*cells, broken], [], [], seed=1, peeking=0.4)
    assert "**20.00%**" in page
