"""The cumulative comparisons after every exposure day, read from the arrays column by column.

Days are most of a report's objects, so they are made once per metric: a reading that ends earlier holds the
first of the same points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.judgement.measure import Measured
from switchpoint.analysis.judgement.sheet import Intervals, Points, intervals, listed
from switchpoint.analysis.numerics.estimates import Estimates
from switchpoint.analysis.results.numbers import DayPoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """The exposure days of a series: ISO dates, the look of the first day, and the units that arrived on each
    day alone, of control and each other variant compared with it (days, 2, variants − 1)."""

    names: Sequence[str]
    first: int
    units: NDArray[np.int64]


def day_points(m: Measured, calendar: Calendar) -> Points:
    """Per variant other than control: the comparison on all days up to each."""
    start, whole = m.start + calendar.first, m.whole
    here = slice(start, start + len(calendar.names))
    own, units = (column.T.tolist() for column in (calendar.units, calendar.units.cumsum(axis=0)))
    control, treatment = listed(whole.pairs.control.mean[here].T), listed(whole.pairs.treatment.mean[here].T)
    effect = listed(np.where(whole.effect.reason[here] == 0, whole.effect.estimate[here], np.nan).T)
    sequence, interval = _intervals(whole.sequence, here), _intervals(whole.effect, here)
    return tuple(
        tuple(
            DayPoint(
                day=day, n_control_day=a, n_variant_day=b, n_control=n_control, n_variant=n_variant,
                control_value=before, variant_value=after, effect=difference, sequence=anytime,
                interval=fixed,
            )
            for day, a, b, n_control, n_variant, before, after, difference, anytime, fixed in zip(
                calendar.names, *own[v], *units[v], control[v], treatment[v], effect[v], sequence[v],
                interval[v], strict=True,
            )
        )
        for v in range(calendar.units.shape[2])
    )  # fmt: skip


def _intervals(found: Estimates, here: slice) -> Intervals:
    """Intervals [variant − 1][day]."""
    return intervals(listed(found.low[here].T), listed(found.high[here].T), found.reason[here].T.tolist())
