"""The group sequential plans of a measured metric: which look of each comparison counts, and its reading."""

from __future__ import annotations

from dataclasses import dataclass

from switchpoint.analysis.judgement import beliefs as deciding
from switchpoint.analysis.judgement.beliefs import Series
from switchpoint.analysis.judgement.looks import Course, Watched, course
from switchpoint.analysis.judgement.measure import Measured
from switchpoint.analysis.numerics.estimates import Estimates
from switchpoint.experiment.definition.types import DecisionRule


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRead:
    """One comparison's plan: its looks, and the repeated effect and lift (arrays of one entry) at the look
    that counts. That is `place` among the looks and `row` of the metric; None before the first look."""

    course: Course
    place: int
    row: int
    effect: Estimates | None
    lift: Estimates | None


def plans(m: Measured, rule: DecisionRule) -> dict[int, tuple[PlanRead, ...]]:
    """The plans of every variant, by the look whose headline they are; empty where no plan decides."""
    if m.series is None or m.watched is None:
        return {}
    return {
        at: tuple(_plan(m, m.series, m.watched, rule, subject, v) for v in range(m.series.variants[subject]))
        for subject, at in enumerate(m.series.at)
    }


def _plan(
    m: Measured, series: Series, watched: Watched, rule: DecisionRule, subject: int, v: int
) -> PlanRead:
    found = course(watched, rule, subject, v)
    if not found.rows:
        return PlanRead(course=found, place=-1, row=-1, effect=None, lift=None)
    place = found.counted(len(found.rows) - 1)
    row = int(series.rows[subject, found.rows[place]])
    effect, lift = deciding.planned(m.whole.pairs, m.start + row, v, found.upto(place), rule.alpha)
    return PlanRead(course=found, place=place, row=row, effect=effect, lift=lift)
