"""Planned looks in whole days, and what a plan of them costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from switchpoint.experiment.definition.looks import first_look, next_look, planned_days
from switchpoint.experiment.definition.types import LookPlan
from tests.analysis.cases import RULE


@pytest.mark.parametrize(
    ("low", "high", "every", "days"),
    [
        (7, 28, 7, (7, 14, 21, 28)),
        (14, 42, 7, (14, 21, 28, 35, 42)),
        (10, 30, 7, (14, 21, 28, 30)),
        (10, 12, 7, (12,)),
        (3, 3, 1, (3,)),
        (5, 9, 2, (6, 8, 9)),
    ],
)
def test_looks_are_whole_intervals_from_the_minimum_runtime_to_the_deadline(
    low: int, high: int, every: int, days: tuple[int, ...]
) -> None:
    rule = replace(RULE, min_runtime_days=low, max_runtime_days=high, looks=LookPlan(every_days=every))
    assert planned_days(rule) == days
    assert first_look(rule) == days[0]
    assert [next_look(rule, day) for day in (0, days[0], days[-1])] == [
        days[0], days[1] if len(days) > 1 else None, None,
    ]  # fmt: skip
