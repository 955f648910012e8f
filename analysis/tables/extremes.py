"""The unit that moves a variant's value most, looked for only where one unit could matter at all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.evidence.evidence import Cells, Mask
from switchpoint.analysis.evidence.facts import Extreme
from switchpoint.analysis.evidence.moments import Exact, Index, Integers
from switchpoint.analysis.tables.units import Column, UnitTable
from switchpoint.experiment.definition.types import Metric, MetricType

NEGLIGIBLE = 0.1
"""Standard errors of the effect that no check of single units cares about."""
Ends = Sequence[tuple[Integers, Integers]]
"""The smallest and largest total of each side of a metric, per experiment."""
Floats = NDArray[np.float64]


def extremes(
    units: UnitTable, metrics: Sequence[Metric], cells: Cells, experiments: int
) -> tuple[tuple[Extreme, ...], ...]:
    """Per experiment, metric and variant the unit farthest from what is typical: |x − R·y|, R the variant's
    value. Metrics of which no unit can move an effect by `NEGLIGIBLE` standard errors have none."""
    every: list[list[Extreme]] = [[] for _ in range(experiments)]
    for place, (metric, column) in enumerate(zip(metrics, units.columns, strict=True)):
        sums = sums_of(cells, place, experiments)
        moving = may_move(metric, sums, [_ends(side, units.subject, experiments) for side in column.sides])
        chosen = np.flatnonzero(moving[units.subject] & ~units.contaminated)
        for e, v, unit in _farthest(units, column, chosen, values(metric, sums)):
            x, y, stratum = totals_of(units, column, unit)
            every[e].append(Extreme(metric=metric.key, variant=v, stratum=stratum, x=x, y=y))
    return tuple(map(tuple, every))


def _ends(side: Integers, subject: Index, experiments: int) -> tuple[Integers, Integers]:
    """Smallest and largest total of every experiment; 0 where it has no unit."""
    order = np.argsort(subject, kind="stable")
    start = np.searchsorted(subject[order], np.arange(experiments))
    there = np.bincount(subject, minlength=experiments) > 0
    low, high = np.zeros(experiments, dtype=side.dtype), np.zeros(experiments, dtype=side.dtype)
    if there.any():
        low[there] = np.minimum.reduceat(side[order], start[there])
        high[there] = np.maximum.reduceat(side[order], start[there])
    return low, high


def _farthest(units: UnitTable, column: Column, chosen: Index, typical: Floats) -> list[tuple[int, int, int]]:
    """(experiment, variant, unit) of the unit with the largest |x − typical·y| among those chosen, the first
    of several alike; `typical` (experiments, variants), y is 1 but for ratios."""
    away = _away(units, column, chosen, typical)
    group = units.subject[chosen] * typical.shape[1] + units.variant[chosen]
    order = np.lexsort((chosen, -away, group))
    first = order[np.flatnonzero(np.diff(group[order], prepend=-1))]
    whose = np.divmod(group[first], typical.shape[1])
    return list(zip(whose[0].tolist(), whose[1].tolist(), chosen[first].tolist(), strict=True))


def _away(units: UnitTable, column: Column, chosen: Index, typical: Floats) -> Floats:
    x = column.sides[0][chosen].astype(np.float64)
    y = column.sides[1][chosen].astype(np.float64) if len(column.sides) > 1 else 1.0
    return np.asarray(np.abs(x - typical[units.subject[chosen], units.variant[chosen]] * y))


def totals_of(units: UnitTable, column: Column, unit: int) -> tuple[int, int, int]:
    """(x, y, stratum) of one unit; y is 0 but for ratios."""
    below = int(column.sides[1][unit]) if len(column.sides) > 1 else 0
    return int(column.sides[0][unit]), below, int(units.stratum[unit])


def values(metric: Metric, sums: tuple[Floats, ...]) -> Floats:
    """A metric's value (experiments, variants) over all clean units, in minor units; 0 without a
    denominator."""
    n, x, _, y, _, _ = sums
    below = (y if metric.type is MetricType.RATIO else n).sum(axis=1)
    return np.where(below > 0, x.sum(axis=1) / np.where(below > 0, below, 1.0), 0.0)


def may_move(metric: Metric, sums: tuple[Floats, ...], ends: Ends) -> Mask:
    """Per experiment whether a unit within the ends could move an effect by more than `NEGLIGIBLE` standard
    errors.

    Taking a unit out moves the value of its stratum and variant by (x − R·y) / Σy, of which the stratified
    effect keeps the stratum's share of units; |x − R·y| is largest at a corner of the ends.
    """
    n, x, xx, y, yy, xy = sums
    if metric.type is MetricType.PROPORTION:
        return np.zeros(len(n), dtype=bool)
    if metric.type is not MetricType.RATIO:
        y, yy, xy, ends = n, n, x, [ends[0], (np.ones(len(n)), np.ones(len(n)))]
    there = n > 0
    with np.errstate(all="ignore"):
        R = x / y
        a, b = ([end.astype(np.float64)[:, None, None] for end in side] for side in ends)
        corners = [np.abs(top - R * below) for top in a for below in b]
        share = n.sum(axis=2, keepdims=True) / n.sum(axis=(1, 2), keepdims=True)
        moved = share * np.max(corners, axis=0) / y * n / (n - 1)
        # one unit has no variance, but rounding would leave ±inf of it; with none it is always looked at
        squares = np.where(n > 1, np.maximum(xx - 2 * R * xy + R * R * yy, 0.0), 0.0)
        variance = squares / (y * y) * n / np.maximum(n - 1, 1)
        spread = np.where(there, share * share * variance, 0.0).sum(axis=1)
        pairs = np.where(n.sum(axis=1)[:, 1:] > 0, spread[:, :1] + spread[:, 1:], np.inf)
        error = np.sqrt(np.maximum(pairs.min(axis=1, initial=np.inf), 0.0))
        still = moved <= NEGLIGIBLE * error[:, None, None]
    moving: Mask = (there & ~still).any(axis=(1, 2))
    return moving


def sums_of(cells: Cells, metric: int, experiments: int) -> tuple[Floats, ...]:
    """n, Σx, Σx², Σy, Σy², Σxy (experiments, strata, variants) over clean units."""
    clean = ~cells.contaminated
    strata, variants = (int(part.max(initial=0)) + 1 for part in (cells.stratum, cells.variant))
    place = (cells.subject[clean] * strata + cells.stratum[clean]) * variants + cells.variant[clean]
    held = cells.totals[metric]
    if not isinstance(held, Exact):
        raise TypeError("rows of units have exact sums")

    def summed(part: Integers) -> Floats:
        added = np.zeros(experiments * strata * variants)
        np.add.at(added, place, part[clean].astype(np.float64))
        return added.reshape(experiments, strata, variants)

    return tuple(summed(part) for part in (held.n, held.x, held.xx, held.y, held.yy, held.xy))
