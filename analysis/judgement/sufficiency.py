"""How far the data go, overall and in each segment, and what the rule says there.

The segments of all metrics of a reading are computed in one call: effects are drawn towards their common
effect, p-values are corrected as one family per metric (segments × variants), and the units a segment still
needs are those of the family's strictest step, alpha over its size. Single places of the answer become frozen
results with their sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from math import ceil, nan

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.inference.random_effects import Pooled, pool_effects
from switchpoint.analysis.judgement.family import of_segments
from switchpoint.analysis.judgement.measure import Measured, Whole, target_size
from switchpoint.analysis.numerics.arrays import finite
from switchpoint.analysis.numerics.arrays import rows as columnar_rows
from switchpoint.analysis.numerics.estimates import Alternative, Float
from switchpoint.analysis.numerics.reasons import Reason
from switchpoint.analysis.numerics.tail import critical
from switchpoint.analysis.planning.accrual import Accrual
from switchpoint.analysis.planning.sufficiency import Progress, sufficiency
from switchpoint.analysis.planning.sufficiency import Sufficiency as Columns
from switchpoint.analysis.results.numbers import Missing, Sufficiency
from switchpoint.experiment.definition.types import DecisionRule, Design, Direction, Role, Size

Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """How units reach the segments: `accrual` of arrays (segments, variants − 1), None without dates."""

    accrual: Accrual | None
    window_days: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shrunken:
    """One metric: `pooled` per variant other than control, `low` and `high` of the shrunken effects
    (variants − 1, segments), the corrected p (segments, variants − 1) in a family of `tests`, and how far
    each segment's data go (None where nobody stated an effect size), with the `pace` of its units."""

    pooled: Pooled
    low: Float
    high: Float
    adjusted: Float
    tests: int
    sufficiency: Columns | None
    pace: Float | None


def shrunken(
    measured: Sequence[Measured], others: int, looks: Sequence[int], rule: DecisionRule, arrivals: Arrivals
) -> tuple[Shrunken, ...]:
    """Random effects over the segments at these looks, one family per metric.

    Args:
        others: variants other than control. The p-values are those the rule decides by, confirmed by the
            gate.
        looks: the look of every segment.

    A member's interval is its prediction ± z·(standard error of the prediction).
    """
    found = measured[0].whole
    # (metrics, segments) rows of the whole
    rows = np.array([m.start for m in measured])[:, None] + np.asarray(looks)
    known = found.effect.reason[rows, :others] == 0
    effects = np.where(known, found.effect.estimate[rows, :others], np.nan).swapaxes(1, 2)
    errors = np.where(known, found.effect.standard_error[rows, :others], np.nan).swapaxes(1, 2)
    enough = found.pairs.enough[rows, :others]
    own = np.stack([m.confirmed[list(looks), :others] for m in measured])
    p = np.where(enough, _deciding(own, found, rows), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):  # families without any member
        drawn = pool_effects(effects, np.square(errors), alpha=rule.alpha)
    reach = critical(rule.alpha, np.inf, Alternative.TWO_SIDED) * drawn.shrunk_error
    return tuple(
        Shrunken(
            pooled=Pooled(**{f.name: np.asarray(getattr(drawn, f.name)[place]) for f in fields(drawn)}),
            low=drawn.shrunk[place] - reach[place],
            high=drawn.shrunk[place] + reach[place],
            adjusted=of_segments(p[place]),
            tests=p[place].size,
            sufficiency=_sufficiency(m, rows[place], rule, arrivals, p[place].size),
            pace=None if arrivals.accrual is None else arrivals.accrual.pace,
        )
        for place, m in enumerate(measured)
    )


def _deciding(own: Float, found: Whole, rows: Places) -> Float:
    """The design's p-values; one without a p of its own is read by the confidence sequence."""
    others = own.shape[-1]
    running = found.sequence.reason[rows, :others] == 0
    return np.where(np.isfinite(own), own, np.where(running, found.sequence_confirmed[rows, :others], np.nan))


def _sufficiency(
    m: Measured, rows: Places, rule: DecisionRule, arrivals: Arrivals,
    tests: int,
) -> Columns | None:  # fmt: skip
    """Units needed in each segment, with the segment's own arrivals."""
    size = target_size(m.metric, rule)
    if size is None or size.value == 0 or not tests:
        return None
    now: Progress = columnar_rows(m.whole.pairs.progress, rows)
    # a plan or a prior decides the whole experiment; its segments are watched by the sequence
    watched = rule if rule.design is Design.FIXED else replace(rule, design=Design.SEQUENTIAL)
    return sufficiency(
        now, watched, accrual=arrivals.accrual, window_days=arrivals.window_days, mde=size,
        alpha=rule.alpha / tests, assumed=m.metric.direction if m.metric.role is Role.PRIMARY else None,
    )  # fmt: skip


TOO_LITTLE = "too little data"


def overall(m: Measured, look: int, v: int, rule: DecisionRule) -> Sufficiency | None:
    """One comparison's sufficiency; None where no effect size is stated for the metric."""
    enough, size = m.sufficiency, target_size(m.metric, rule)
    if enough is None or size is None:
        return None
    pace = None if m.accrual is None else finite(m.accrual.at(look).pace[v])
    return _answer(enough, (look, v), size, pace, _baseline(m, look, v), _blocked(m, look, v))


def of_segment(
    m: Measured, look: int, v: int, rule: DecisionRule, found: Shrunken | None, place: int
) -> Sufficiency | None:
    """The same in one segment, at the level its family allows and with its own arrivals."""
    size = target_size(m.metric, rule)
    if found is None or found.sufficiency is None or size is None:
        return None
    pace = None if found.pace is None else finite(found.pace[place, v])
    blocked = _blocked(m, look, v)
    return _answer(found.sufficiency, (place, v), size, pace, _baseline(m, look, v), blocked)


def segment_finding(
    m: Measured, look: int, v: int, adjusted: float | None, *, enough: Sufficiency | None, rule: DecisionRule
) -> str:
    """What the rule says in one segment, in words, from the family's corrected p.

    A fixed design is read only with the units it asked for; without a shown difference a segment that has
    not its units has too little data to say that there is none.
    """
    at = m.start + look, v
    effect, events = m.whole.effect.estimate[at], m.whole.pairs.events[at]
    ready = enough is None or enough.enough
    if adjusted is None or not np.isfinite([effect, events]).all():
        return TOO_LITTLE
    if rule.design is Design.FIXED and not ready:
        return TOO_LITTLE
    if not adjusted < rule.alpha:
        return "no difference shown" if ready else TOO_LITTLE
    better = (effect > 0) == (m.metric.direction is Direction.INCREASE)
    return "better than control" if better else "worse than control"


def _blocked(m: Measured, look: int, v: int) -> Missing | None:
    """Why a comparison cannot be estimated."""
    return Missing.of(int(m.whole.effect.reason[m.start + look, v]))


def _baseline(m: Measured, look: int, v: int) -> float:
    """Control's size, which relative effects are relative to; 0 where it is not known."""
    found = float(m.whole.pairs.contrast.baseline[m.start + look, v])
    return abs(found) if np.isfinite(found) else 0.0


def _answer(
    enough: Columns, at: tuple[int, int], size: Size, pace: float | None, base: float, blocked: Missing | None
) -> Sufficiency:
    missing = Missing.of(int(enough.reason[at])) or Missing.of(int(enough.duration_reason[at]))
    if enough.reason[at] != 0:
        return _unknown(int(enough.n_now[at]) if np.isfinite(enough.n_now[at]) else 0, blocked or missing)
    absolute, relative = (base, 1.0) if size.relative else (1.0, 1 / base if base > 0 else nan)
    fast, slow = (finite(days[at]) for days in enough.days_left)
    now, needed, done = int(enough.n_now[at]), int(enough.n_needed[at]), bool(enough.sufficient[at])
    visible = float(enough.visible_now[at])
    return Sufficiency(
        n_now=now,
        n_needed=needed,
        share=float(enough.fraction[at]),
        enough=done,
        units_per_day=pace,
        days_left=None if fast is None else ceil(fast),
        weeks_left=None if fast is None else ceil(fast / 7),
        weeks_left_slow=None if slow is None else ceil(slow / 7),
        # further off than any date is told is not in time either
        within_deadline=(
            None if enough.duration_reason[at] == Reason.NO_ACCRUAL.code else not bool(enough.futile[at])
        ),
        mde_target=size.value * absolute,
        mde_now=finite(visible * absolute),
        mde_now_relative=finite(visible * relative),
        mde_by_deadline_relative=finite(float(enough.visible_by_deadline[at]) * relative),
        message=_message(now, needed, fast, slow, finite(visible * relative), done=done),
        missing=missing,
    )


def _message(
    now: int, needed: int, fast: float | None, slow: float | None, visible: float | None, *, done: bool
) -> str:
    if done:
        return f"Enough data: {now:,} units of the {needed:,} needed."
    text = f"Not enough data: {now:,} units of the {needed:,} needed"
    if fast is not None and slow is not None:
        weeks = sorted({ceil(fast / 7), ceil(slow / 7)})
        plural = "" if weeks[-1] == 1 else "s"
        text += f", about {' to '.join(str(w) for w in weeks)} more week{plural} at this pace"
    if visible is not None:
        text += f"; so far an effect of {visible:.1%} of control would be visible"
    return text + "."


def _unknown(now: int, missing: Missing | None) -> Sufficiency:
    message = missing.message if missing is not None else "The units needed cannot be computed yet."
    return Sufficiency(
        n_now=now, n_needed=None, share=None, enough=False, units_per_day=None, days_left=None,
        weeks_left=None, weeks_left_slow=None, within_deadline=None, mde_target=None, mde_now=None,
        mde_now_relative=None, mde_by_deadline_relative=None, message=message, missing=missing,
    )  # fmt: skip
