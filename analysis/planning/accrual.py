"""How many units will have arrived by which day.

New units saturate: the heavy visitors come first, so users per day times days promises too much. Two
projections give a range: a concave curve N(d) = N_D·(d/D)^b with 0 < b ≤ 1 fitted to the last two weeks of
the cumulative curve and tied to its last point, and a straight line at the pace of the last seven days.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike

from switchpoint.analysis.numerics.estimates import Float

FIT_DAYS = 14
"""Days of the cumulative curve that the exponent is fitted to."""

FEWEST_DAYS = 5
"""Below this many days the curve is taken as a straight line."""

_LEAST_EXPONENT = 0.05
_FOREVER = 36_500.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Accrual:
    """Arrival of units, columnar.

    `day`: whole days observed. `enrolled`: units by then. `pace`: units per day of the straight line.
    `exponent`: b of the concave curve; 0 where the pace is known and the line alone counts.
    """

    day: Float
    enrolled: Float
    pace: Float
    exponent: Float

    def at(self, look: int) -> Accrual:
        """One look of arrays (looks, ...); of a single one, that."""
        here = min(look, len(self.day) - 1)
        return Accrual(**{f.name: getattr(self, f.name)[here] for f in fields(self)})

    def days_until(self, units: Float | float) -> tuple[Float, Float]:
        """Day of the experiment on which `units` have arrived: (fast, slow) projection.

        inf where no units arrive, or where it takes longer than a century.
        """
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            line = self.day + (units - self.enrolled) / self.pace
            curve = self.day * (units / self.enrolled) ** (1 / self.exponent)
        curve = np.where(self.exponent > 0, curve, line)
        arrived = units <= self.enrolled
        line = np.where(arrived, self.day, line)
        curve = np.where(arrived, self.day, np.where(self.pace > 0, curve, np.inf))
        fast, slow = np.fmin(line, curve), np.fmax(line, curve)
        return np.where(fast > _FOREVER, np.inf, fast), np.where(slow > _FOREVER, np.inf, slow)

    def units_by(self, day: Float | float) -> tuple[Float, Float]:
        """Units arrived by the end of `day`: (slow, fast) projection; past days give the curve's value."""
        line = np.maximum(self.enrolled + self.pace * (day - self.day), 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            curve = self.enrolled * (day / self.day) ** self.exponent
        curve = np.where(self.exponent > 0, curve, line)
        curve = np.where(self.pace > 0, curve, np.minimum(curve, self.enrolled))
        return np.fmin(line, curve), np.fmax(line, curve)


def constant_accrual(per_day: ArrayLike, *, enrolled: ArrayLike = 0.0, day: ArrayLike = 0.0) -> Accrual:
    """Arrival at a known constant pace, `enrolled` units after `day` days."""
    pace, units, days = np.broadcast_arrays(per_day, enrolled, day)
    return Accrual(day=days, enrolled=units, pace=pace, exponent=np.zeros_like(pace))


def fit_accrual(cumulative: ArrayLike) -> Accrual:
    """Fit the range of projections to cumulative units by the end of each day (last axis, day 1 first)."""
    curve = np.asarray(cumulative)
    days = curve.shape[-1]
    last = curve[..., -1]
    back = min(7, days)
    start = curve[..., -back - 1] if days > back else 0
    pace = (last - start) / back
    exponent = _exponent(curve) if days >= FEWEST_DAYS else np.ones_like(last)
    return Accrual(day=np.full_like(last, float(days)), enrolled=last, pace=pace, exponent=exponent)


def _exponent(curve: Float) -> Float:
    """Slope of log N on log d over the last days, within (0, 1]; 1 where the curve starts with nothing."""
    days = curve.shape[-1]
    tail = curve[..., -min(FIT_DAYS, days) :]
    x = np.log(np.arange(days - tail.shape[-1] + 1, days + 1))
    centred = x - x.mean()
    positive = (tail > 0).all(axis=-1)
    y = np.log(np.where(tail > 0, tail, 1.0))
    slope = (y * centred).sum(axis=-1) / (centred**2).sum()
    return np.where(positive, np.clip(slope, _LEAST_EXPONENT, 1.0), 1.0)
