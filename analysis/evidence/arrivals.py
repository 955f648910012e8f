"""How units arrived, by whole calendar day, as the projections a report is dated with."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.evidence.evidence import DayLooks, Evidence
from switchpoint.analysis.numerics.estimates import Float
from switchpoint.analysis.planning.accrual import Accrual, fit_accrual
from switchpoint.experiment.definition.types import DAY_MS

Places = NDArray[np.int64]


def accruals(evidence: Evidence, looks: DayLooks) -> Accrual | None:
    """Arrival of each pair's units in every experiment (subjects, variants − 1); None where days are not
    recorded one by one."""
    if evidence.day_width != 1 or not len(looks.days):
        return None
    shape = len(evidence.subjects), evidence.shape[2] - 1
    columns = {name: np.zeros(shape) for name in ("day", "enrolled", "pace", "exponent")}
    for subjects, units in _by_length(evidence, looks):
        found = _fitted(units.sum(axis=2))
        for name, column in columns.items():
            column[subjects] = getattr(found, name)
    return Accrual(**columns)


def by_segment(evidence: Evidence, looks: DayLooks, strata: Places) -> Accrual | None:
    """The same in every segment of the one experiment (segments, variants − 1).

    Args:
        strata: of every segment (segments, epochs), padded with the place after the last stratum.
    """
    if evidence.day_width != 1 or not len(looks.days):
        return None
    ((_, units),) = _by_length(evidence, looks)
    padded = np.concatenate([units[0], np.zeros_like(units[0][:, :1])], axis=1)
    return _fitted(padded[:, strata].sum(axis=2).swapaxes(0, 1))


def _fitted(cumulative: Float) -> Accrual:
    """Accrual of control with each other variant, from units (…, days, variants − 1)."""
    return fit_accrual(np.swapaxes(cumulative, -1, -2))


def _by_length(evidence: Evidence, looks: DayLooks) -> Iterator[tuple[Places, Float]]:
    """Experiments of one number of days on which evidence was collected, and the units of control and each
    other variant (experiments, days, strata, variants − 1) by the end of each whole day."""
    subject = np.repeat(np.arange(len(evidence.subjects)), np.diff(looks.start))
    units, compared = evidence.daily_units(looks), evidence.compared()[subject][..., 1:]
    pairs = np.where(compared, units[..., :1] + units[..., 1:], 0)
    days, there = evidence.running(looks.days), np.flatnonzero(np.diff(looks.start))
    first, last = days[looks.start[there]], days[looks.start[there + 1] - 1]
    today = int(evidence.running(np.array(evidence.at // DAY_MS)))
    length = (last if evidence.closed else np.maximum(today - 1, first)) - first + 1
    for size in np.unique(length).tolist():
        chosen = there[length == size]
        own = np.isin(subject, chosen)
        day = (days - days[looks.first])[own]
        by_day = np.zeros((len(chosen), max(size, int(day.max()) + 1), *pairs.shape[1:]))
        by_day[np.searchsorted(chosen, subject[own]), day] = pairs[own]
        yield chosen, by_day[:, :size].cumsum(axis=1)
