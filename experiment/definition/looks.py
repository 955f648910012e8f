"""On which exposure days a group sequential rule looks."""

from __future__ import annotations

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
