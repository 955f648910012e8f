"""Is there enough data: one place of the columnar answer as a frozen result with its sentence."""

from __future__ import annotations

from math import ceil, isfinite, nan

from analysis.measure import target_size
from analysis.report.numbers import Missing, Sufficiency
from analysis.report.sheet import Sheet, why
from experiment.definition import DecisionRule


def sufficiency(s: Sheet, look: int, v: int, rule: DecisionRule) -> Sufficiency | None:
    """One comparison's sufficiency; None where no effect size is stated for the metric."""
    enough, size = s.m.sufficiency, target_size(s.m.metric, rule)
    if enough is None or size is None:
        return None
    at = (look, v)
    missing = why(int(enough.reason[at])) or why(int(enough.duration_reason[at]))
    if enough.reason[at] != 0:
        missing = why(s.interval.code[look][v]) or missing
        return _unknown(int(enough.n_now[at]) if isfinite(enough.n_now[at]) else 0, missing)
    baseline = float(s.m.whole.pairs.contrast.baseline[s.m.start + look, v])
    base = abs(baseline) if isfinite(baseline) else 0.0
    absolute, relative = (base, 1.0) if size.relative else (1.0, 1 / base if base > 0 else nan)
    fast, slow = (_number(days[at]) for days in enough.days_left)
    now, needed, done = int(enough.n_now[at]), int(enough.n_needed[at]), bool(enough.sufficient[at])
    visible = float(enough.visible_now[at])
    return Sufficiency(
        n_now=now,
        n_needed=needed,
        share=float(enough.fraction[at]),
        enough=done,
        units_per_day=None if s.m.accrual is None else _number(s.m.accrual.pace[v]),
        days_left=None if fast is None else ceil(fast),
        weeks_left=None if fast is None else ceil(fast / 7),
        weeks_left_slow=None if slow is None else ceil(slow / 7),
        within_deadline=None if fast is None else not bool(enough.futile[at]),
        mde_target=size.value * absolute,
        mde_now=_number(visible * absolute),
        mde_now_relative=_number(visible * relative),
        mde_by_deadline_relative=_number(float(enough.visible_by_deadline[at]) * relative),
        message=_message(now, needed, done, fast, slow, _number(visible * relative)),
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


def _number(value: float) -> float | None:
    return float(value) if isfinite(value) else None
