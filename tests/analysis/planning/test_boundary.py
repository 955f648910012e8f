"""Crossing probabilities against published values, and what the sequential design costs."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.inference.result import Alternative
from analysis.inference.sequential import boundary, mixing_units
from analysis.planning.boundary import (
    PLANNING_LOOKS,
    crossing,
    fixed_drift,
    sequential_cost,
    single_look_factor,
)


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


def test_one_look_is_the_conservative_power_at_n() -> None:
    for alpha, power in ((0.05, 0.8), (0.01, 0.9)):
        one = sequential_cost(alpha, power, looks=1)
        assert one.inflation == pytest.approx(single_look_factor(alpha, power), rel=1e-6)
        assert one.expected == pytest.approx(one.inflation)


def test_more_looks_need_fewer_units_at_most() -> None:
    costs = [sequential_cost(0.05, 0.8, looks=k) for k in (1, 4, 14, 28, 60)]
    assert (np.diff([c.inflation for c in costs]) < 0).all()
    assert (np.diff([c.expected for c in costs]) < 0).all()


def test_the_planned_cost_is_the_one_measured_by_simulation() -> None:
    """80 % power: maximum 1.65-1.8 times the fixed design, on average 1.0-1.15 times."""
    cost = sequential_cost(0.05, 0.8)
    assert 1.65 < cost.inflation < 1.8
    assert 1.0 < cost.expected < 1.15
    flat = [sequential_cost(0.05, 0.8, tuning=t).inflation for t in (0.5, 1.0, 2.0)]
    assert max(flat) / min(flat) < 1.06


def test_the_recursion_agrees_with_simulated_paths() -> None:
    cost = sequential_cost(0.05, 0.8)
    drift = fixed_drift(0.05, 0.8, Alternative.TWO_SIDED) * np.sqrt(cost.inflation)
    times = np.arange(1, PLANNING_LOOKS + 1) / PLANNING_LOOKS
    bound = boundary(times, 0.05, mixing_units(1.0, 0.05)) * np.sqrt(times)
    steps = np.random.default_rng(20_240_601).normal(0, PLANNING_LOOKS**-0.5, (20_000, PLANNING_LOOKS))
    paths = steps.cumsum(axis=1) + drift * times
    crossed = (paths >= bound).any(axis=1)
    assert crossed.mean() == pytest.approx(0.8, abs=4 * np.sqrt(0.8 * 0.2 / 20_000))
    null = np.abs(steps.cumsum(axis=1)) >= bound
    assert null.any(axis=1).mean() < 0.05


def test_one_sided_designs_need_fewer_units() -> None:
    one = (
        fixed_drift(0.05, 0.8, Alternative.GREATER) ** 2
        * sequential_cost(0.05, 0.8, alternative=Alternative.GREATER).inflation
    )
    two = fixed_drift(0.05, 0.8, Alternative.TWO_SIDED) ** 2 * sequential_cost(0.05, 0.8).inflation
    assert one < two
