"""Crossing probabilities against published values, and what the sequential design costs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from switchpoint.analysis.inference.sequential import boundary, mixing_units
from switchpoint.analysis.numerics.crossing import _nodes as boundary_nodes
from switchpoint.analysis.numerics.crossing import crossing, fixed_drift, start_paths
from switchpoint.analysis.numerics.estimates import Alternative
from switchpoint.analysis.planning.cost import PLANNING_LOOKS, sequential_cost


@pytest.mark.parametrize(
    ("looks", "error"), [(1, 0.050), (2, 0.083), (3, 0.107), (4, 0.126), (5, 0.142), (10, 0.193), (20, 0.248)]
)
def test_peeking_error_of_armitage_mcpherson_rowe_1969(looks: int, error: float) -> None:
    """Repeated 5 % tests on accumulating data, their table 2."""
    times = np.arange(1, looks + 1) / looks
    bound = 1.959963984540054 * np.sqrt(times)
    found = crossing(times, -bound, bound, 0.0)
    assert float(found.above.sum() + found.below.sum()) == pytest.approx(error, abs=6e-4)


def test_pocock_bounds_of_jennison_and_turnbull() -> None:
    """Five looks at 5 %: constant 2.413 (Jennison & Turnbull 2000, table 2.1)."""
    times = np.arange(1, 6) / 5
    bound = 2.413 * np.sqrt(times)
    found = crossing(times, -bound, bound, 0.0)
    assert float(found.above.sum() + found.below.sum()) == pytest.approx(0.05, abs=5e-5)


def test_first_crossings_are_those_of_the_normal_vector() -> None:
    """Unequal looks and bounds, and a drift: scipy's multivariate normal with covariance min(u, v)."""
    times, drift = np.array([0.3, 0.75, 1.2]), 0.6
    lower, upper = np.array([-0.9, -0.5, -0.4]), np.array([0.8, 1.1, 1.3])
    found = crossing(times, lower, upper, drift)
    for look in range(3):
        law = stats.multivariate_normal(
            drift * times[: look + 1], np.minimum.outer(times[: look + 1], times[: look + 1])
        )
        going, stop = lower[:look], upper[:look]
        above = law.cdf([*stop, np.inf], lower_limit=[*going, upper[look]])
        below = law.cdf([*stop, lower[look]], lower_limit=[*going, -np.inf])
        assert (found.above[look], found.below[look]) == pytest.approx((above, below), abs=2e-6)


def test_every_path_crosses_or_goes_on() -> None:
    """Without bounds all go on, whatever drifts them; where the bounds meet all have stopped."""
    times, drift = np.array([0.2, 0.5, 2.0, 2.3]), -3.0
    paths = start_paths(drift)
    for time in times:
        paths = paths.advance(float(time), -np.inf, np.inf)
        assert paths.mass.sum() == pytest.approx(1, abs=1e-12)
        assert paths.mass @ paths.nodes == pytest.approx(drift * time, abs=1e-9)
        assert paths.mass @ (paths.nodes - drift * time) ** 2 == pytest.approx(time, rel=1e-9)
        assert (paths.time, paths.drift) == (time, drift)
    closed = np.array([-1.0, 0.1, -1.0, -1.0])
    found = crossing(times, closed, np.array([1.0, 0.1, 1.0, 1.0]), drift)
    assert found.above[:2].sum() + found.below[:2].sum() == pytest.approx(1, abs=1e-12)
    assert (found.above[2:], found.below[2:]) == (pytest.approx(0), pytest.approx(0))
    with pytest.raises(ValueError, match="shorter"):
        crossing(times, closed[:3], closed, drift)


def test_a_tail_is_that_of_the_next_step_and_its_density_the_slope() -> None:
    paths = start_paths(0.5).advance(0.4, -0.3, 0.9)
    tail, density = paths.tail(1.0, 0.7)
    above, below = paths.beyond(1.0, 0.7, 0.7)
    assert tail == above
    assert above + below == pytest.approx(paths.mass.sum(), rel=1e-12)
    slope = (paths.tail(1.0, 0.7 + 1e-5)[0] - paths.tail(1.0, 0.7 - 1e-5)[0]) / 2e-5
    assert density == pytest.approx(-slope, rel=1e-8)


@pytest.mark.parametrize(
    ("low", "high", "sd", "count"),
    [(0, 10, 1.0, 40), (-1, 1, 0.5, 32), (2.0, 2.1, 1.0, 24), (0, 3.6, 1.0, 24), (0, 10, 0.1, 240)],
)
def test_nodes_are_dense_for_the_kernel_and_integrate_polynomials(
    low: float, high: float, sd: float, count: int
) -> None:
    """2.2 of them to a standard deviation and sixteen more, in whole eights; Gauss's rule is exact for x³."""
    points, weights = boundary_nodes(low, high, sd)
    assert len(points) == len(weights) == count
    assert weights.sum() == pytest.approx(high - low, rel=1e-12)
    assert weights @ points**3 == pytest.approx((high**4 - low**4) / 4, rel=1e-12)
    assert low < points.min() < points.max() < high


@pytest.mark.parametrize("high", [1.0, 0.5])
def test_where_nothing_goes_on_one_node_holds_nothing(high: float) -> None:
    points, weights = boundary_nodes(1.0, high, 0.3)
    assert (points.tolist(), weights.tolist()) == ([1.0], [0.0])


def test_one_look_is_the_conservative_power_at_n() -> None:
    """The boundary of Waudby-Smith et al. 2024 (eq. 9) at N = n_star, and z_power beyond it."""
    for alpha, power in ((0.05, 0.8), (0.01, 0.9)):
        k = 1 / (np.log1p(-2 * np.log(alpha)) - 2 * np.log(alpha))
        reach = np.sqrt((1 + k) * np.log((1 + k) / (k * alpha**2))) + stats.norm.ppf(power)
        fixed = stats.norm.isf(alpha / 2) + stats.norm.ppf(power)
        assert sequential_cost(alpha, power, looks=1) == pytest.approx((reach / fixed) ** 2, rel=1e-6)


def test_more_looks_need_fewer_units_at_most() -> None:
    assert (np.diff([sequential_cost(0.05, 0.8, looks=k) for k in (1, 4, 14, 28)]) < 0).all()


def test_the_planned_cost_is_the_one_measured_by_simulation() -> None:
    """80 % power: maximum 1.65-1.8 times the fixed design's units, at a look a day of four weeks."""
    assert 1.65 < sequential_cost(0.05, 0.8) < 1.8
    assert sequential_cost(0.05, 0.8) == sequential_cost(0.05, 0.8, looks=28)


@pytest.mark.parametrize(
    ("alternative", "tail"),
    [(Alternative.TWO_SIDED, 0.01), (Alternative.GREATER, 0.02), (Alternative.LESS, 0.02)],
)
def test_the_fixed_drift_is_the_sum_of_both_quantiles(alternative: Alternative, tail: float) -> None:
    assert fixed_drift(0.02, 0.7, alternative) == pytest.approx(
        stats.norm.isf(tail) + stats.norm.ppf(0.7), rel=1e-12
    )


def test_the_recursion_agrees_with_simulated_paths() -> None:
    drift = fixed_drift(0.05, 0.8, Alternative.TWO_SIDED) * np.sqrt(sequential_cost(0.05, 0.8))
    times = np.arange(1, PLANNING_LOOKS + 1) / PLANNING_LOOKS
    bound = boundary(times, 0.05, mixing_units(1.0, 0.05)) * np.sqrt(times)
    steps = np.random.default_rng(20_240_601).normal(0, PLANNING_LOOKS**-0.5, (20_000, PLANNING_LOOKS))
    paths = steps.cumsum(axis=1) + drift * times
    crossed = (paths >= bound).any(axis=1)
    assert crossed.mean() == pytest.approx(0.8, abs=4 * np.sqrt(0.8 * 0.2 / 20_000))
    null = np.abs(steps.cumsum(axis=1)) >= bound
    assert null.any(axis=1).mean() < 0.05
