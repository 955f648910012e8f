"""Single places of the columnar numbers as frozen results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil, isfinite

import numpy as np

from analysis.errors import Reason
from analysis.inference.result import Estimates, Float
from analysis.measure import Measured, target_size
from analysis.report.model import (
    Comparison,
    DayPoint,
    Estimate,
    Guard,
    Interval,
    MetricReading,
    Missing,
    Pooled,
    SegmentReading,
    Sufficiency,
    Value,
)
from experiment.definition import DAY_MS, DecisionRule, Design, Direction


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """Which place of the leading axis is what: the overall reading, segments by key, days by ISO date.

    `units_per_day` of the calendar days, None where days are not known.
    """

    overall: int = 0
    segments: Sequence[tuple[str, int]] = ()
    days: Sequence[tuple[str, int]] = ()
    day_units: Sequence[Sequence[int]] = ()


def iso_day(day: int) -> str:
    """A UTC day number as an ISO date."""
    return datetime.fromtimestamp(day * DAY_MS / 1000, UTC).date().isoformat()


def number(value: float) -> float | None:
    """The value, or None where it is not finite."""
    return float(value) if isfinite(value) else None


def why(code: int) -> Missing | None:
    """A reason code as a `Missing`; None for 0."""
    reason = Reason.of(int(code))
    return None if reason is None else Missing(code=reason.value, message=reason.sentence)


def span(found: Estimates, at: tuple[int, int]) -> Interval | None:
    """The interval of an estimate; None where there is none."""
    if found.reason[at] != 0:
        return None
    return Interval(lower=number(found.low[at]), upper=number(found.high[at]))


def values(m: Measured, look: int, variants: Sequence[str]) -> tuple[Value, ...]:
    """Totals and value of every variant at one look, strata summed."""
    n, numerator, denominator = m.n[look], m.numerator[look], m.denominator[look]
    return tuple(
        Value(
            variant=key, n=int(n[v]), numerator=float(numerator[v]), denominator=float(denominator[v]),
            value=float(numerator[v] / denominator[v]) if denominator[v] > 0 else None,
        )
        for v, key in enumerate(variants)
    )  # fmt: skip


def estimate(m: Measured, at: tuple[int, int]) -> Estimate | None:
    """One comparison's numbers; None where the effect cannot be estimated."""
    if m.effect.reason[at] != 0:
        return None
    known = m.sequence.reason[at] == 0
    lift_code = int(m.lift.reason[at])
    has_ratio = np.isfinite(m.lift.estimate[at])
    return Estimate(
        n_control=int(m.pairs.control.n[at]),
        n_variant=int(m.pairs.treatment.n[at]),
        control_value=number(m.pairs.control.mean[at]),
        variant_value=number(m.pairs.treatment.mean[at]),
        effect=float(m.effect.estimate[at]),
        standard_error=float(m.effect.standard_error[at]),
        interval=span(m.effect, at) or Interval(lower=None, upper=None),
        p=float(m.effect.p_value[at]),
        sequence=span(m.sequence, at),
        anytime_p=float(m.sequence.p_value[at]) if known else None,
        sequence_missing=why(int(m.sequence.reason[at])),
        lift=float(m.lift.estimate[at]) if has_ratio else None,
        lift_interval=span(m.lift, at),
        lift_sequence=span(m.lift_sequence, at),
        lift_missing=why(lift_code),
        method=str(m.method[at]),
    )


def headline_p(m: Measured, design: Design) -> Float:
    """The p-values the rule's design decides by; NaN where there is none."""
    found = m.effect if design is Design.FIXED else m.sequence
    return np.where(found.reason == 0, found.p_value, np.nan)


def comparison(
    m: Measured, place: int, looks: Looks, variants: Sequence[str], rule: DecisionRule, adjusted: float
) -> Comparison:
    """Variant `place` + 1 against control; `adjusted` is its headline p after the family's correction."""
    at = (looks.overall, place)
    found = estimate(m, at)
    significant = found is not None and isfinite(adjusted) and adjusted < rule.alpha
    raised = m.effect.estimate[at] > 0
    events = number(m.gate.events[at])
    return Comparison(
        variant=variants[place + 1],
        control=variants[0],
        headline="interval" if rule.design is Design.FIXED else "sequence",
        estimate=found,
        missing=why(int(m.effect.reason[at])),
        significant=significant,
        better=bool(raised == (m.metric.direction is Direction.INCREASE)) if significant else None,
        adjusted_p=number(adjusted),
        events=events,
        events_needed=float(m.gate.needed[at]),
        pooled=_pooled(m, at),
        guard=_guard(m, at),
        sufficiency=_sufficiency(m, at, rule),
        segments=tuple(_segment(m, place, name, look, variants) for name, look in looks.segments),
        daily=_daily(m, place, looks),
    )


def metric_reading(
    m: Measured, looks: Looks, variants: Sequence[str], rule: DecisionRule, adjusted: Sequence[float]
) -> MetricReading:
    """One metric of one experiment; `adjusted` holds the corrected headline p of each other variant."""
    metric = m.metric
    return MetricReading(
        key=metric.key, type=metric.type.value, role=metric.role.value, direction=metric.direction.value,
        decimals=metric.decimals, values=values(m, looks.overall, variants),
        comparisons=tuple(
            comparison(m, place, looks, variants, rule, adjusted[place]) for place in range(len(variants) - 1)
        ),
    )  # fmt: skip


def _pooled(m: Measured, at: tuple[int, int]) -> Pooled | None:
    interval = span(m.pooled, at)
    if interval is None:
        return None
    naive, stratified = float(m.pooled.estimate[at]), float(m.effect.estimate[at])
    known = m.effect.reason[at] == 0
    several = not bool(m.pairs.single[at])
    return Pooled(
        effect=naive,
        interval=interval,
        p=float(m.pooled.p_value[at]),
        between=naive - stratified if known else None,
        simpson=bool(known and several and naive * stratified < 0),
    )


def _guard(m: Measured, at: tuple[int, int]) -> Guard | None:
    if m.guard is None or m.metric.margin is None or m.effect.reason[at] != 0:
        return None
    margin, control = m.metric.margin, float(m.pairs.control.mean[at])
    scale = abs(control) if margin.relative else 1.0
    sign = -1.0 if m.metric.direction is Direction.INCREASE else 1.0
    bound = number(m.guard.bound[at])
    return Guard(
        margin=margin.value * scale,
        margin_relative=margin.value if margin.relative else None,
        loss=sign * float(m.effect.estimate[at]),
        loss_bound=None if bound is None else bound * scale,
        safe=bool(m.guard.safe[at]),
        harmed=bool(m.guard.harmed[at]),
    )


def _sufficiency(m: Measured, at: tuple[int, int], rule: DecisionRule) -> Sufficiency | None:
    enough, size = m.sufficiency, target_size(m.metric, rule)
    if enough is None or size is None:
        return None
    missing = why(int(enough.reason[at])) or why(int(enough.duration_reason[at]))
    if enough.reason[at] != 0:
        missing = why(int(m.effect.reason[at])) or missing
        return _unknown(int(enough.n_now[at]) if isfinite(enough.n_now[at]) else 0, missing)
    base = abs(float(m.pairs.control.mean[at])) if isfinite(m.pairs.control.mean[at]) else 0.0
    absolute, relative = (base, 1.0) if size.relative else (1.0, 1 / base if base > 0 else np.nan)
    fast, slow = (number(days[at]) for days in enough.days_left)
    later = enough.visible_by_deadline[at]
    now, needed, done = int(enough.n_now[at]), int(enough.n_needed[at]), bool(enough.sufficient[at])
    return Sufficiency(
        n_now=now,
        n_needed=needed,
        share=float(enough.fraction[at]),
        enough=done,
        units_per_day=None if m.accrual is None else number(m.accrual.pace[at[1]]),
        days_left=None if fast is None else ceil(fast),
        weeks_left=None if fast is None else ceil(fast / 7),
        weeks_left_slow=None if slow is None else ceil(slow / 7),
        within_deadline=None if fast is None else not bool(enough.futile[at]),
        mde_target=size.value * absolute,
        mde_now=number(enough.visible_now[at] * absolute),
        mde_now_relative=number(enough.visible_now[at] * relative),
        mde_by_deadline_relative=number(later * relative),
        message=_message(now, needed, done, fast, slow, number(enough.visible_now[at] * relative)),
        missing=missing,
    )


def _message(
    now: int, needed: int, done: bool, fast: float | None, slow: float | None, visible: float | None
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


def _segment(m: Measured, place: int, name: str, look: int, variants: Sequence[str]) -> SegmentReading:
    at = (look, place)
    found, every = estimate(m, at), values(m, look, variants)
    return SegmentReading(
        segment=name, control=every[0], value=every[place + 1], estimate=found,
        missing=why(int(m.effect.reason[at])), finding=_finding(m, at),
    )  # fmt: skip


def _finding(m: Measured, at: tuple[int, int]) -> str:
    """In words, by the confidence sequence: segments are looked at many at a time."""
    if m.effect.reason[at] != 0 or m.sequence.reason[at] != 0 or not m.gate.passes[at]:
        return "too little data"
    if not bool(m.sequence.significant[at]):
        return "no difference shown"
    better = (m.effect.estimate[at] > 0) == (m.metric.direction is Direction.INCREASE)
    return "better than control" if better else "worse than control"


def _daily(m: Measured, place: int, looks: Looks) -> tuple[DayPoint, ...]:
    points = []
    for (day, look), own in zip(looks.days, looks.day_units, strict=True):
        at = (look, place)
        known = m.effect.reason[at] == 0
        n = m.n[look]
        points.append(
            DayPoint(
                day=day,
                n_control_day=int(own[0]),
                n_variant_day=int(own[place + 1]),
                n_control=int(n[0]),
                n_variant=int(n[place + 1]),
                control_value=number(m.pairs.control.mean[at]),
                variant_value=number(m.pairs.treatment.mean[at]),
                effect=float(m.effect.estimate[at]) if known else None,
                sequence=span(m.sequence, at),
                interval=span(m.effect, at),
            )
        )
    return tuple(points)
