"""A comparison's group sequential plan as frozen numbers with its sentence."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

import numpy as np

from switchpoint.analysis.judgement.plans import PlanRead
from switchpoint.analysis.judgement.sheet import Sheet, why
from switchpoint.analysis.numerics.estimates import Estimates
from switchpoint.analysis.results.numbers import Interval, LookTaken, Planned
from switchpoint.experiment.definition.looks import next_look
from switchpoint.experiment.definition.types import DecisionRule


def planned(s: Sheet, look: int, v: int, rule: DecisionRule, dates: Mapping[int, str]) -> Planned | None:
    """The plan of a variant where it decides this look; None elsewhere.

    Args:
        dates: ISO date of the rows that are days.
    """
    reads = s.plans.get(look)
    if reads is None or s.m.series is None or s.m.watched is None:
        return None
    read, subject = reads[v], s.m.series.at.index(look)
    days = s.m.watched.days[subject, :, v]
    last = int(days.max(initial=0))  # days of shorter series are filled with 0
    recorded = not len(days) or last > 0
    taken = _looks(s, subject, v, read, rule, dates)
    passed = bool(taken) and taken[read.place].passed
    taken = taken[: read.place + 1]  # a look that passed is the last one that matters
    over = passed or read.course.ended or not recorded
    coming = None if over else next_look(rule, last)
    # counted from the last day: days that only history has lie between the first one and it
    newest = next(reversed(list(dates.values())), None)
    when = None
    if coming is not None and newest is not None:
        when = (date.fromisoformat(newest) + timedelta(days=coming - last)).isoformat()
    effect, lift = read.effect, read.lift
    return Planned(
        looks=taken, counted=read.place + 1 if taken else None, ended=read.course.ended or passed,
        effect=_number(effect), interval=_interval(effect), lift=_number(lift), lift_interval=_interval(lift),
        p=None if effect is None or effect.reason[0] else float(effect.p_value[0]),
        control_value=s.control[read.row][v] if taken else None,
        variant_value=s.treatment[read.row][v] if taken else None,
        next_day=coming, next_date=when,
        sentence=_sentence(taken, read, rule, _on(coming, when)),
        missing=None if effect is None else why(int(effect.reason[0])),
    )  # fmt: skip


def _looks(
    s: Sheet, subject: int, v: int, read: PlanRead, rule: DecisionRule, dates: Mapping[int, str]
) -> tuple[LookTaken, ...]:
    plan, watched, series = read.course.plan, s.m.watched, s.m.series
    if plan is None or watched is None or series is None:
        return ()
    bounds = plan.bounds(rule.alpha)
    found = []
    for place, at in enumerate(read.course.rows):
        row, day = int(series.rows[subject, at]), int(watched.days[subject, at, v])
        bound = float(bounds.z[place])
        found.append(
            LookTaken(
                day=day or None, date=dates.get(row), units=int(s.n_control[row][v] + s.n_treatment[row][v]),
                share=float(watched.share[subject, at, v]), spent=float(bounds.spent[place]),
                bound=bound if np.isfinite(bound) else None, z=float(watched.z[subject, at, v]),
                passed=bool(read.course.passes[-1, place]),
            )
        )  # fmt: skip
    return tuple(found)


def _sentence(taken: tuple[LookTaken, ...], read: PlanRead, rule: DecisionRule, coming: str) -> str:
    if not taken:
        return f"No look was taken yet: the first is {coming}." if coming else "No look was taken yet."
    one, number = taken[read.place], read.place + 1
    when = f" on day {one.day}" if one.day is not None else ""
    need = "nothing can be called this early" if one.bound is None else f"{one.bound:.2f} has to be passed"
    text = f"Look {number}{when} at {one.share:.0%} of the plan: |Z| = {abs(one.z):.2f}, {need}; "
    text += f"{one.spent:.2g} of the alpha of {rule.alpha:g} was spent."
    if one.passed:
        return f"{text} It passed, so its reading counts; later units are shown but do not decide."
    if read.course.ended:
        return f"{text} It ended the plan; units that came later are shown but cannot decide."
    return f"{text} The next look is {coming}, or when the planned units have arrived." if coming else text


def _on(day: int | None, when: str | None) -> str:
    return "" if day is None else f"on day {day}" + (f" ({when})" if when else "")


def _number(found: Estimates | None) -> float | None:
    return None if found is None else _finite(found.estimate[0])


def _interval(found: Estimates | None) -> Interval | None:
    if found is None or found.reason[0]:
        return None
    return Interval(lower=_finite(found.low[0]), upper=_finite(found.high[0]))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
