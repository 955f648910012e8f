"""What a design that looks more than once costs: its maximum units over those of the fixed design."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from switchpoint.analysis.inference.sequential import boundary, mixing_units
from switchpoint.analysis.inference.spending import Bounds, equal_looks, spending_bounds
from switchpoint.analysis.numerics.crossing import crossing, fixed_drift
from switchpoint.analysis.numerics.estimates import Alternative, Float
from switchpoint.analysis.numerics.tail import bracketed_root
from switchpoint.experiment.definition.looks import planned_days
from switchpoint.experiment.definition.types import DecisionRule, Spending

PLANNING_LOOKS = 28
"""Looks assumed when a sequential design is planned: four weeks read once a day."""


@lru_cache(maxsize=1024)
def sequential_cost(alpha: float, power: float, *, looks: int = PLANNING_LOOKS) -> float:
    """Maximum units of the two-sided confidence sequence over those of the fixed design with the same power.

    Finds the drift at which the process crosses its boundary, tightest at the plan's end, within the maximum
    number of units with probability `power`, at `looks` equally spaced looks; no simulation.
    """
    times = np.arange(1, looks + 1) / looks
    bound = boundary(times, alpha, mixing_units(1.0, alpha)) * np.sqrt(times)
    fixed = fixed_drift(alpha, power, Alternative.TWO_SIDED)

    def shortfall(drift: Float) -> Float:
        return np.asarray(crossing(times, -bound, bound, float(drift)).above.sum() - power)

    drift = bracketed_root(shortfall, np.asarray(fixed), np.asarray(8 * fixed), precision=1e-9)
    return float(drift / fixed) ** 2


def bounds_cost(bounds: Bounds, *, alpha: float, power: float) -> float:
    """Maximum units of planned bounds (whose last look is at fraction 1) over those of the fixed design with
    the same alpha and power."""
    fixed = fixed_drift(alpha, power, bounds.alternative)

    def shortfall(drift: Float) -> Float:
        return np.asarray(bounds.crossing(float(drift)).above.sum() - power)

    drift = bracketed_root(shortfall, np.asarray(fixed * 0.9), np.asarray(3 * fixed), precision=1e-10)
    return float(drift / fixed) ** 2


@lru_cache(maxsize=256)
def looks_cost(
    looks: int, *, alpha: float, power: float, spending: Spending = Spending.OBRIEN_FLEMING
) -> float:
    """`bounds_cost` of two-sided equally spaced looks."""
    bounds = spending_bounds(equal_looks(looks), alpha=alpha, spending=spending)
    return bounds_cost(bounds, alpha=alpha, power=power)


@lru_cache(maxsize=256)
def plan_cost(rule: DecisionRule, alpha: float) -> float:
    """`bounds_cost` of the rule's looks when the planned units arrive with the maximum runtime.

    A plan that fills sooner has fewer looks and needs no more.
    """
    bounds = spending_bounds(
        np.array(planned_days(rule)) / rule.max_runtime_days, alpha=alpha, spending=rule.looks.spending,
        gamma=rule.looks.gamma,
    )  # fmt: skip
    return bounds_cost(bounds, alpha=alpha, power=rule.power)
