"""The columnar numbers of one metric as records: every estimate, and the points of its days.

Reading single places of arrays one by one is what a report would spend its time on; here every array is
turned into Python values once, and every record is filled from them once. None stands for a number that does
not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.judgement.measure import Measured, Whole
from switchpoint.analysis.numerics import arrays as columnar
from switchpoint.analysis.numerics.arrays import Numbers, listed
from switchpoint.analysis.numerics.estimates import Estimates
from switchpoint.analysis.results.numbers import DayPoint, Estimate, Interval, Missing, Value

Mask = NDArray[np.bool_]
Points = tuple[tuple[DayPoint, ...], ...]
Intervals = list[list[Interval | None]]
Records = list[list[Estimate | None]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One metric, [look][variant − 1]; `m` are the arrays themselves.

    `estimates`: None where the effect cannot be estimated. `events` of the smaller variant, and those
    `needed`. Looks that are not read are empty lists, so that reading one fails. `daily`: the points of the
    series, per variant other than control.
    """

    m: Measured
    daily: Points
    estimates: Records
    events: Numbers
    needed: list[list[float]]

    def missing(self, look: int, v: int) -> Missing | None:
        """Why a comparison cannot be estimated; None where it can."""
        return Missing.of(int(self.m.whole.effect.reason[self.m.start + look, v]))

    def values(self, look: int, variants: Sequence[str]) -> tuple[Value, ...]:
        """Totals and value of every variant, strata summed."""
        row, whole = self.m.start + look, self.m.whole
        sides = (column[row].tolist() for column in (whole.n, whole.numerator, whole.denominator))
        return tuple(
            Value(
                variant=key,
                n=n,
                numerator=above,
                denominator=below,
                value=above / below if below > 0 else None,
            )
            for key, n, above, below in zip(variants, *sides, strict=False)
        )


def sheets(
    measured: Sequence[Measured], read: Mask | None = None, daily: Sequence[Points] | None = None
) -> tuple[Sheet, ...]:
    """The records of metrics that were measured together.

    Args:
        read: the looks that are read (None: all).
        daily: the points of each metric's series, where there is one.
    """
    found = measured[0].whole
    pairs = found.pairs
    rows = np.arange(len(found.n)) if read is None else np.flatnonzero(np.tile(read, len(measured)))

    def placed(lists: list[list[T]]) -> list[list[T]]:
        every: list[list[T]] = [[]] * len(found.n)
        for row, own in zip(rows.tolist(), lists, strict=True):
            every[row] = own
        return every

    estimates = placed(_estimates(found, rows))
    events, needed = placed(listed(pairs.events[rows])), placed(pairs.needed[rows].tolist())
    return tuple(
        Sheet(
            m=m, daily=() if daily is None else daily[place], estimates=estimates[m.start : m.end],
            events=events[m.start : m.end], needed=needed[m.start : m.end],
        )
        for place, m in enumerate(measured)
    )  # fmt: skip


def _estimates(found: Whole, rows: columnar.Index) -> Records:
    """The estimates of these rows of all metrics."""
    pairs, effect, lift = found.pairs, columnar.rows(found.effect, rows), columnar.rows(found.lift, rows)
    sequence = columnar.rows(found.sequence, rows)
    lift_sequence = columnar.rows(found.lift_sequence, rows)
    columns = (
        effect.reason.tolist(), pairs.control.n[rows].tolist(), pairs.treatment.n[rows].tolist(),
        listed(pairs.control.mean[rows]), listed(pairs.treatment.mean[rows]), listed(effect.estimate),
        listed(effect.standard_error), intervals(effect), listed(effect.p_value), _underflown(effect),
        intervals(sequence), listed(sequence.p_value), _underflown(sequence), sequence.reason.tolist(),
        listed(lift.estimate), intervals(lift), lift.reason.tolist(), intervals(lift_sequence),
        found.method[rows].tolist(),
    )  # fmt: skip
    return [
        [
            None
            if code or difference is None or error is None or p is None
            else Estimate(
                n_control=int(n_control), n_variant=int(n_variant), control_value=control,
                variant_value=variant, effect=difference, standard_error=error, interval=interval, p=p,
                sequence=running, anytime_p=anytime_p, sequence_missing=Missing.of(why_sequence),
                lift=relative, lift_interval=lift_interval, lift_sequence=lift_running,
                lift_missing=Missing.of(why_lift), method=method, log10_p=log10_p,
                log10_anytime_p=log10_anytime_p,
            )
            for code, n_control, n_variant, control, variant, difference, error, interval, p, log10_p,
            running, anytime_p, log10_anytime_p, why_sequence, relative, lift_interval, why_lift,
            lift_running, method
            in zip(*row, strict=True)
        ]
        for row in zip(*columns, strict=True)
    ]  # fmt: skip


def intervals(found: Estimates) -> Intervals:
    """The intervals of estimates; None where there is none."""
    columns = listed(found.low), listed(found.high), found.reason.tolist()
    return [
        [None if code else Interval(lower=a, upper=b) for a, b, code in zip(*row, strict=True)]
        for row in zip(*columns, strict=True)
    ]


def _underflown(found: Estimates) -> Numbers:
    """The log10 of p-values that a float cannot hold; None where it can."""
    return listed(np.where(found.p_value == 0, found.log_p / log(10), np.nan))


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """The exposure days of a series: ISO dates, the look of the first day, and the units that arrived on each
    day alone, of control and each other variant compared with it (days, 2, variants − 1)."""

    names: Sequence[str]
    first: int
    units: NDArray[np.int64]


def day_points(m: Measured, calendar: Calendar) -> Points:
    """Per variant other than control: the comparison on all days up to each.

    Days are most of a report's objects, so they are made once per metric: a reading that ends earlier holds
    the first of the same points.
    """
    start, whole = m.start + calendar.first, m.whole
    here = slice(start, start + len(calendar.names))
    own, units = (column.T.tolist() for column in (calendar.units, calendar.units.cumsum(axis=0)))
    control, treatment = listed(whole.pairs.control.mean[here].T), listed(whole.pairs.treatment.mean[here].T)
    effect = listed(np.where(whole.effect.reason[here] == 0, whole.effect.estimate[here], np.nan).T)
    sequence, interval = (
        list(zip(*intervals(columnar.rows(found, here)), strict=True))
        for found in (whole.sequence, whole.effect)
    )
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
