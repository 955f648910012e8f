"""On which exposure days a group sequential rule looks, and what such a plan costs."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from switchpoint.analysis.planning.spending import bounds_cost, spending_bounds
from switchpoint.experiment.definition.types import DecisionRule


def first_look(rule: DecisionRule) -> int:
    """Exposure day of the first planned look."""
    every = rule.looks.every_days
    return min(-(-rule.min_runtime_days // every) * every, rule.max_runtime_days)


def planned_days(rule: DecisionRule) -> tuple[int, ...]:
    """Exposure days of the looks of a plan that takes until the maximum runtime."""
    return (
        *range(first_look(rule), rule.max_runtime_days, rule.looks.every_days),
        rule.max_runtime_days,
    )


def next_look(rule: DecisionRule, day: int) -> int | None:
    """Exposure day of the next look after `day`, unless the planned units come before; None past the end."""
    return next((planned for planned in planned_days(rule) if planned > day), None)


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
