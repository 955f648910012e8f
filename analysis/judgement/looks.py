"""What the designs with looks of their own, or with a prior, read of pairs brought to one composition.

The looks of a group sequential rule are reconstructed from what had matured by each exposure day. No look is
remembered: the days that had matured at a planned look are exactly what that look saw, so every report finds
the same looks, whenever and however often it is made. A comparison looks at the first multiple of
`every_days` at or after the minimum runtime, at every further one, and on the day that brings its planned
units; the maximum runtime at the latest. A look with too few events in the smaller variant is not taken.

Alpha is spent by the share of the plan that was there at the look, as it was estimated from the data of
that look (the share never falls); two looks are as correlated as their information says (Lan & DeMets 1989;
Mehta & Tsiatis 2001, Drug Inf. J. 35:1095). The estimate is blinded, so it says nothing about the effect.
The look whose reading counts is the first that passed its bound, else the last one taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.evidence.pairs import Pairs, score_statistic, widened
from switchpoint.analysis.inference import contrast, group_sequential
from switchpoint.analysis.inference.group_sequential import Looks
from switchpoint.analysis.inference.posterior import (
    EffectPosterior,
    EffectPrior,
    binomial_lift,
    normal_posterior,
)
from switchpoint.analysis.inference.sample import Sample
from switchpoint.analysis.numerics.arrays import finite, rows
from switchpoint.analysis.numerics.estimates import Estimates, Float
from switchpoint.analysis.numerics.reasons import Reason, first_code, first_reason
from switchpoint.analysis.planning.sufficiency import Sufficiency
from switchpoint.analysis.results.numbers import Interval, LookTaken, Missing, Planned
from switchpoint.experiment.definition.looks import first_look, next_look
from switchpoint.experiment.definition.types import Belief, DecisionRule, Metric

Mask = NDArray[np.bool_]
Places = NDArray[np.int64]

LEAST_GROWTH = 1.01
"""Information of a look over that of the look before; less is taken as this much, which only makes the bounds
higher (looks are treated as less alike than they are)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What a plan reads, arrays (subjects, rows, variants − 1), rows in order of time.

    `days`: exposure days by the end of each row, 0 = not recorded. `variants` other than control of each
    subject (a tuple). `z` of the headline test, `share` of the plan and blinded `information` at each
    row; `ready`: enough events for a look.
    """

    days: Places
    variants: tuple[int, ...]
    z: Float
    share: Float
    information: Float
    ready: Mask


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The rows a group sequential plan follows, in order of time, and their exposure days (subjects, rows,
    variants − 1, or 1 where all have the same); day 0 = not recorded, or before the variant came. `at`: the
    row of each subject whose headline is the plan's; `variants` other than control that it has."""

    rows: NDArray[np.int64]
    days: NDArray[np.int64]
    at: tuple[int, ...]
    variants: tuple[int, ...]


def watch(given: Pairs, enough: Sufficiency, series: Series) -> Watched:
    """What a group sequential plan reads; `enough` is the metric's sufficiency at every row of `given`."""
    at = series.rows
    with np.errstate(divide="ignore", invalid="ignore"):
        information = 1 / given.progress.error_variance
    z = statistic(given)
    ready = given.enough & np.isfinite(z)
    share = np.where(enough.reason == 0, enough.fraction, np.nan)
    return Watched(
        days=np.broadcast_to(series.days, z[at].shape), variants=series.variants, z=z[at],
        share=share[at], information=information[at], ready=ready[at],
    )  # fmt: skip


def statistic(given: Pairs) -> Float:
    """Z of the headline test of no effect: the score statistic where that decides, else effect over the wider
    of its standard errors (`analysis.evidence.event_gate`); NaN where there is none."""
    found = widened(given)
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.where(given.scored, score_statistic(given), found.effect / np.sqrt(found.variance))
    return np.where((found.reason == 0) & np.isfinite(z), z, np.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One comparison: the `rows` at which a look was taken, and the `plan` up to the last of them (None
    before the first). `passes` (variants, looks): the look passes its bound at alpha / 1, / 2 ... / number of
    variants. `ended`: no look is left."""

    rows: tuple[int, ...]
    plan: Looks | None
    passes: Mask
    ended: bool

    def counted(self, last: int) -> int:
        """Which look counts when `last` is the last one taken: the first that passed, else the last. With
        several variants the level of a single one is alpha / variants, so that Holm over them holds."""
        crossed = np.flatnonzero(self.passes[-1])
        return min(int(crossed[0]), last) if crossed.size else last

    def upto(self, place: int) -> Looks:
        """The plan as it was at one of the looks."""
        plan = self.plan
        if plan is None or plan.shares is None:
            raise ValueError("no look was taken yet")
        last = place == len(self.rows) - 1
        return replace(
            plan, times=plan.times[: place + 1], shares=plan.shares[: place + 1], final=plan.final and last
        )


def course(watched: Watched, rule: DecisionRule, subject: int, other: int) -> Course:
    """The looks of one comparison."""
    here = np.s_[subject, :, other]
    rows, final = _taken(
        rule, watched.days[here], watched.share[here], watched.information[here], watched.ready[here]
    )
    if not rows:
        return Course(rows=(), plan=None, passes=np.zeros((0, 0), dtype=bool), ended=False)
    at = np.array(rows)
    share = np.maximum.accumulate(watched.share[here][at])
    plan = Looks(
        times=_growing(watched.information[here][at], float(share[0])), shares=tuple(share.tolist()),
        spending=rule.looks.spending, gamma=rule.looks.gamma, final=final,
    )  # fmt: skip
    z, variants = np.abs(watched.z[here][at]), watched.variants[subject]
    passes = np.stack([z > plan.bounds(rule.alpha / tests).z for tests in range(1, variants + 1)])
    return Course(rows=rows, plan=plan, passes=passes, ended=final or bool(share[-1] >= 1))


def _taken(
    rule: DecisionRule, days: Places, share: Float, information: Float, ready: Mask
) -> tuple[tuple[int, ...], bool]:
    """Rows at which a look was taken, and whether the last is the final one because time is up."""
    first, every = first_look(rule), rule.looks.every_days
    unknown, late = days <= 0, days >= rule.max_runtime_days
    due = np.where(unknown, 1, np.where(days >= first, (days - first) // every + 1, 0))
    fit = ready & np.isfinite(share) & np.isfinite(information) & (share > 0) & (due > 0)
    scheduled = np.diff(due, prepend=0) > 0
    with np.errstate(invalid="ignore"):
        ending = fit & ((share >= 1) | late)
    end = int(np.flatnonzero(ending)[0]) if ending.any() else len(days) - 1
    looks = np.flatnonzero((fit & scheduled)[: end + 1] | ending[: end + 1])
    return tuple(looks.tolist()), bool(ending.any() and share[end] < 1)


def _growing(information: Float, scale: float) -> tuple[float, ...]:
    """Information of the looks in units of the plan, each look's above the one's before."""
    times = [scale]
    for now in (information[1:] / information[0] * scale).tolist():
        times.append(max(now, times[-1] * LEAST_GROWTH))
    return tuple(times)


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """A plan as it stood at every row, arrays (subjects, rows, variants − 1).

    `counted`: row whose reading counts (−1 before the first look). `p`: a p-value on the same side of alpha,
    alpha / 2 ... as the repeated one, 1 where it is not below alpha. `ended`: no look is left.
    """

    counted: Places
    p: Float
    ended: Mask


def follow(watched: Watched, rule: DecisionRule) -> Followed:
    """Every comparison's plan, row after row."""
    counted = np.full(watched.z.shape, -1, dtype=np.int64)
    p, ended = np.ones(watched.z.shape), np.zeros(watched.z.shape, dtype=bool)
    subjects, _, others = watched.z.shape
    for subject in range(subjects):
        for other in range(others):
            found = course(watched, rule, subject, other)
            for place, row in enumerate(found.rows):
                look = found.counted(place)
                counted[subject, row:, other] = found.rows[look]
                p[subject, row:, other] = _sided(found.passes[:, look], rule.alpha)
            if found.ended:
                ended[subject, found.rows[-1] :, other] = True
    return Followed(counted=counted, p=p, ended=ended)


def _sided(passes: Mask, alpha: float) -> float:
    """A p just below the strictest of the levels alpha / 1, / 2 ... that is passed; 1 where none is."""
    strictest = np.flatnonzero(passes)
    return alpha / float(strictest[-1] + 1) * (1 - 1e-9) if strictest.size else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRead:
    """The plan of variant `v` + 1 of one experiment: its `course` among the `watched` rows of the `subject`.

    `rows` of the metric (whose first row of the pairs is `start`), one for each look. The look that counts is
    `place` among them; `effect` and `lift` are its repeated ones, arrays of one entry. Before the first look
    the place is −1, and there is nothing to estimate.
    """

    course: Course
    watched: Watched
    subject: int
    v: int
    pairs: Pairs
    start: int
    rows: tuple[int, ...]
    place: int
    effect: Estimates | None
    lift: Estimates | None


def plans(
    pairs: Pairs, start: int, series: Series, watched: Watched, rule: DecisionRule
) -> dict[int, tuple[PlanRead, ...]]:
    """The plans of every variant, by the look whose headline they are.

    Args:
        start: the first row of the metric in `pairs`.
    """
    return {
        at: tuple(
            _plan(pairs, start, series, watched, rule, (subject, v)) for v in range(series.variants[subject])
        )
        for subject, at in enumerate(series.at)
    }


def _plan(
    pairs: Pairs, start: int, series: Series, watched: Watched, rule: DecisionRule, whose: tuple[int, int]
) -> PlanRead:
    subject, v = whose
    found = course(watched, rule, subject, v)
    taken, place = tuple(int(series.rows[subject, at]) for at in found.rows), -1
    effect = lift = None
    if taken:
        place = found.counted(len(taken) - 1)
        effect, lift = _repeated(pairs, start + taken[place], v, found.upto(place), rule.alpha)
    return PlanRead(
        course=found, watched=watched, subject=subject, v=v, pairs=pairs, start=start, rows=taken,
        place=place, effect=effect, lift=lift,
    )  # fmt: skip


def planned(read: PlanRead, rule: DecisionRule, dates: Mapping[int, str]) -> Planned:
    """A plan as frozen numbers with its sentence.

    Args:
        dates: ISO date of the rows that are days.
    """
    days = read.watched.days[read.subject, :, read.v]
    last = int(days.max(initial=0))  # days of shorter series are filled with 0
    recorded = not len(days) or last > 0
    taken = _looks(read, rule, dates)
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
    sides = [finite(side.mean[_at(read, read.place)]) for side in _sides(read)] if taken else [None, None]
    return Planned(
        looks=taken, counted=read.place + 1 if taken else None, ended=read.course.ended or passed,
        effect=_number(effect), interval=_interval(effect), lift=_number(lift), lift_interval=_interval(lift),
        p=None if effect is None or effect.reason[0] else float(effect.p_value[0]),
        control_value=sides[0], variant_value=sides[1], next_day=coming, next_date=when,
        sentence=_sentence(taken, read, rule, _on(coming, when)),
        missing=None if effect is None else Missing.of(int(effect.reason[0])),
    )  # fmt: skip


def _sides(read: PlanRead) -> tuple[Sample, Sample]:
    return read.pairs.control, read.pairs.treatment


def _at(read: PlanRead, place: int) -> tuple[int, int]:
    """One of the looks in the arrays of the pairs."""
    return read.start + read.rows[place], read.v


def _looks(read: PlanRead, rule: DecisionRule, dates: Mapping[int, str]) -> tuple[LookTaken, ...]:
    plan, watched = read.course.plan, read.watched
    if plan is None:
        return ()
    bounds = plan.bounds(rule.alpha)
    found = []
    for place, (at, row) in enumerate(zip(read.course.rows, read.rows, strict=True)):
        here = read.subject, at, read.v
        found.append(
            LookTaken(
                day=int(watched.days[here]) or None, date=dates.get(row),
                units=int(sum(float(side.n[_at(read, place)]) for side in _sides(read))),
                share=float(watched.share[here]), spent=float(bounds.spent[place]),
                bound=finite(bounds.z[place]), z=float(watched.z[here]),
                passed=bool(read.course.passes[-1, place]),
            )
        )  # fmt: skip
    return tuple(found)


def _repeated(given: Pairs, row: int, v: int, looks: Looks, alpha: float) -> tuple[Estimates, Estimates]:
    """Repeated effect and lift of variant `v` + 1 at the last of these looks, by the headline test; arrays
    of one entry."""
    if given.scored[row, v]:
        xc, nc, xt, nt = (given.counts[row, v, part : part + 1] for part in range(4))
        counts = xc, nc, xt, nt
        return (
            group_sequential.score_effect(counts, looks, alpha=alpha),
            group_sequential.score_lift(counts, looks, alpha=alpha),
        )
    found = rows(widened(given), np.s_[row : row + 1, v])
    return (
        group_sequential.effect(found, looks, alpha=alpha),
        group_sequential.lift(found, looks, alpha=alpha),
    )


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
    return None if found is None else finite(found.estimate[0])


def _interval(found: Estimates | None) -> Interval | None:
    if found is None or found.reason[0]:
        return None
    return Interval(lower=finite(found.low[0]), upper=finite(found.high[0]))


def believed(given: Pairs, metric: Metric, belief: Belief, alpha: float) -> EffectPosterior:
    """Normal posteriors of the lifts (delta method) under the rule's prior."""
    found = given.contrast
    positive = found.baseline > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(positive, found.effect / found.baseline, np.nan)
        _, error = contrast.lift_statistic(found, ratio)
    return normal_posterior(
        ratio, error, first_code(found.reason, first_reason((~positive, Reason.ZERO_CONTROL))),
        prior=EffectPrior(mean=belief.mean, sd=belief.sd), direction=metric.direction, alpha=alpha,
    )  # fmt: skip


def judged(given: Pairs, metric: Metric, belief: Belief, alpha: float) -> EffectPosterior:
    """The posteriors a Bayesian rule decides by: exact where the score test would be the headline, else with
    the wider of the standard errors."""
    base, where = believed(replace(given, contrast=widened(given)), metric, belief, alpha), given.scored
    if not where.any():
        return base
    exact = binomial_lift(
        given.counts[where], prior=EffectPrior(mean=belief.mean, sd=belief.sd), direction=metric.direction,
        alpha=alpha,
    )  # fmt: skip
    columns: dict[str, Any] = {}
    for name in (f.name for f in fields(base) if f.name != "alpha"):
        column: NDArray[Any] = np.array(getattr(base, name))
        column[where] = getattr(exact, name)
        columns[name] = column
    return EffectPosterior(alpha=alpha, **columns)
