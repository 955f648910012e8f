"""The cumulative comparisons after every exposure day, read from the arrays column by column.

Days are most of a report's objects, so they are made once per metric: a reading that ends earlier holds the
first of the same points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.inference.result import Estimates
from analysis.measure import Measured
from analysis.report.numbers import DayPoint
from analysis.report.sheet import Intervals, Points, intervals, listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """The exposure days of a series: ISO dates, the look of the first day, and the units that arrived in each
    variant on each day alone (days, variants)."""

    names: Sequence[str]
    first: int
    units: NDArray[np.int64]


def day_points(m: Measured, calendar: Calendar) -> Points:
    """Per variant other than control: the comparison on all days up to each."""
    start, whole = m.start + calendar.first, m.whole
    here = slice(start, start + len(calendar.names))
    units, own = whole.n[here].T.tolist(), calendar.units.T.tolist()
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
                calendar.names, own[0], own[v + 1], units[0], units[v + 1], control[v], treatment[v],
                effect[v], sequence[v], interval[v], strict=True,
            )
        )
        for v in range(len(calendar.units[0]) - 1)
    )  # fmt: skip


def _intervals(found: Estimates, here: slice) -> Intervals:
    """Intervals [variant − 1][day]."""
    return intervals(listed(found.low[here].T), listed(found.high[here].T), found.reason[here].T.tolist())
