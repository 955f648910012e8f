"""Is there enough data: one place of the columnar answer as a frozen result with its sentence."""

from __future__ import annotations

from math import ceil, isfinite, nan

from switchpoint.analysis.judgement.measure import target_size
from switchpoint.analysis.judgement.segments import Shrunken
from switchpoint.analysis.judgement.sheet import Sheet, why
from switchpoint.analysis.numerics.reasons import Reason
from switchpoint.analysis.planning.sufficiency import Sufficiency as Columns
from switchpoint.analysis.results.numbers import Missing, Sufficiency
from switchpoint.experiment.definition.types import DecisionRule, Design, Direction, Size

TOO_LITTLE = "too little data"


def sufficiency(s: Sheet, look: int, v: int, rule: DecisionRule) -> Sufficiency | None:
    """One comparison's sufficiency; None where no effect size is stated for the metric."""
    enough, size = s.m.sufficiency, target_size(s.m.metric, rule)
    if enough is None or size is None:
        return None
    pace = None if s.m.accrual is None else _number(s.m.accrual.at(look).pace[v])
    return _answer(enough, (look, v), size, pace, _baseline(s, look, v), why(s.interval.code[look][v]))


def of_segment(
    s: Sheet, look: int, v: int, rule: DecisionRule, found: Shrunken | None, place: int
) -> Sufficiency | None:
    """The same in one segment, at the level its family allows and with its own arrivals."""
    size = target_size(s.m.metric, rule)
    if found is None or found.sufficiency is None or size is None:
        return None
    pace = None if found.pace is None else _number(found.pace[place, v])
    blocked = why(s.interval.code[look][v])
    return _answer(found.sufficiency, (place, v), size, pace, _baseline(s, look, v), blocked)


def segment_finding(
    s: Sheet, look: int, v: int, adjusted: float | None, *, enough: Sufficiency | None, rule: DecisionRule
) -> str:
    """What the rule says in one segment, in words, from the family's corrected p.

    A fixed design is read only with the units it asked for; without a shown difference a segment that has
    not its units has too little data to say that there is none.
    """
    effect, events = s.effect[look][v], s.events[look][v]
    ready = enough is None or enough.enough
    if effect is None or adjusted is None or events is None or (rule.design is Design.FIXED and not ready):
        return TOO_LITTLE
    if not adjusted < rule.alpha:
        return "no difference shown" if ready else TOO_LITTLE
    better = (effect > 0) == (s.m.metric.direction is Direction.INCREASE)
    return "better than control" if better else "worse than control"


def _baseline(s: Sheet, look: int, v: int) -> float:
    """Control's size, which relative effects are relative to; 0 where it is not known."""
    found = float(s.m.whole.pairs.contrast.baseline[s.m.start + look, v])
    return abs(found) if isfinite(found) else 0.0


def _answer(
    enough: Columns, at: tuple[int, int], size: Size, pace: float | None, base: float, blocked: Missing | None
) -> Sufficiency:
    missing = why(int(enough.reason[at])) or why(int(enough.duration_reason[at]))
    if enough.reason[at] != 0:
        return _unknown(int(enough.n_now[at]) if isfinite(enough.n_now[at]) else 0, blocked or missing)
    absolute, relative = (base, 1.0) if size.relative else (1.0, 1 / base if base > 0 else nan)
    fast, slow = (_number(days[at]) for days in enough.days_left)
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
        mde_now=_number(visible * absolute),
        mde_now_relative=_number(visible * relative),
        mde_by_deadline_relative=_number(float(enough.visible_by_deadline[at]) * relative),
        message=_message(now, needed, fast, slow, _number(visible * relative), done=done),
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


def _number(value: float) -> float | None:
    return float(value) if isfinite(value) else None
