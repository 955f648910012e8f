"""The looks of a group sequential rule, reconstructed from what had matured by each exposure day.

No look is remembered: the days that had matured at a planned look are exactly what that look saw, so every
report finds the same looks, whenever and however often it is made. A comparison looks at the first multiple
of `every_days` at or after the minimum runtime, at every further one, and on the day that brings its planned
units; the maximum runtime at the latest. A look with too few events in the smaller variant is not taken.

Alpha is spent by the share of the plan that was there at the look, as it was estimated from the data of
that look (the share never falls); two looks are as correlated as their information says (Lan & DeMets 1989;
Mehta & Tsiatis 2001, Drug Inf. J. 35:1095). The estimate is blinded, so it says nothing about the effect.
The look whose reading counts is the first that passed its bound, else the last one taken.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.inference.group_sequential import Looks
from switchpoint.analysis.numerics.estimates import Float
from switchpoint.experiment.definition.looks import first_look
from switchpoint.experiment.definition.types import DecisionRule

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
