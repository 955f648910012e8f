"""The unit that moves a variant's value most, looked for only where one unit could matter at all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.evidence import Cells
from analysis.facts import Extreme
from analysis.totals import Exact, Integers
from analysis.unit_table import Column, UnitTable
from experiment.definition import Metric, MetricType

NEGLIGIBLE = 0.1
"""Standard errors of the effect that no check of single units cares about."""
Ends = Sequence[tuple[int, int]]
"""The smallest and largest total of each side of a metric."""


def extremes(units: UnitTable, metrics: Sequence[Metric], cells: Cells) -> tuple[Extreme, ...]:
    """Per metric and variant the unit farthest from what is typical: |x − R·y|, R the variant's value.

    Metrics of which no unit can move an effect by `NEGLIGIBLE` standard errors have none.
    """
    found = []
    for place, (metric, column) in enumerate(zip(metrics, units.columns, strict=True)):
        if not may_move(metric, cells, place, [(int(s.min()), int(s.max())) for s in column.sides]):
            continue
        for v in range(int(units.variant.max(initial=0)) + 1):
            one = farthest(units, column, v, value(cells, place, v))
            if one is not None:
                x, y, stratum = one
                found.append(Extreme(metric=metric.key, variant=v, stratum=stratum, x=x, y=y))
    return tuple(found)


def farthest(units: UnitTable, column: Column, variant: int, typical: float) -> tuple[int, int, int] | None:
    """(x, y, stratum) of the unit of a variant with the largest |x − typical·y|; y is 0 but for ratios."""
    mine = np.flatnonzero((units.variant == variant) & ~units.contaminated)
    if not len(mine):
        return None
    ratio = len(column.sides) > 1
    x = column.sides[0][mine].astype(np.float64)
    y = column.sides[1][mine].astype(np.float64) if ratio else 1.0
    place = int(mine[np.argmax(np.abs(x - typical * y))])
    below = int(column.sides[1][place]) if ratio else 0
    return int(column.sides[0][place]), below, int(units.stratum[place])


def value(cells: Cells, metric: int, variant: int) -> float:
    """A variant's value of a metric over all clean units, in minor units; 0 without a denominator."""
    n, x, _, y, _, _ = _sums(cells, metric)
    below = (y if _exact(cells, metric).metric.type is MetricType.RATIO else n)[:, variant].sum()
    return float(x[:, variant].sum() / below) if below > 0 else 0.0


def may_move(metric: Metric, cells: Cells, place: int, ends: Ends) -> bool:
    """Whether a unit within the ends could move an effect by more than `NEGLIGIBLE` standard errors.

    Taking a unit out moves the value of its stratum and variant by (x − R·y) / Σy, of which the stratified
    effect keeps the stratum's share of units; |x − R·y| is largest at a corner of the ends.
    """
    if metric.type is MetricType.PROPORTION:
        return False
    n, x, xx, y, yy, xy = _sums(cells, place)
    if metric.type is not MetricType.RATIO:
        y, yy, xy, ends = n, n, x, [ends[0], (1, 1)]
    there = n > 0
    with np.errstate(all="ignore"):
        R = x / y
        corners = [np.abs(a - R * b) for a in ends[0] for b in ends[1]]
        share = n.sum(axis=1, keepdims=True) / n.sum()
        moved = share * np.max(corners, axis=0) / y * n / (n - 1)
        # one unit has no variance, but rounding would leave ±inf of it; with none it is always looked at
        squares = np.where(n > 1, np.maximum(xx - 2 * R * xy + R * R * yy, 0.0), 0.0)
        variance = squares / (y * y) * n / np.maximum(n - 1, 1)
        spread = np.where(there, share * share * variance, 0.0).sum(axis=0)
    error = np.sqrt(max(float((spread[:1] + spread[1:]).min(initial=np.inf)), 0.0))
    return not bool((moved[there] <= NEGLIGIBLE * error).all())


def _sums(cells: Cells, metric: int) -> tuple[NDArray[np.float64], ...]:
    """n, Σx, Σx², Σy, Σy², Σxy by stratum and variant over clean units."""
    clean = ~cells.contaminated
    strata, variants = (int(part.max(initial=0)) + 1 for part in (cells.stratum, cells.variant))
    place = cells.stratum[clean] * variants + cells.variant[clean]
    held = _exact(cells, metric)

    def summed(part: Integers) -> NDArray[np.float64]:
        added = np.zeros(strata * variants)
        np.add.at(added, place, part[clean].astype(np.float64))
        return added.reshape(strata, variants)

    return tuple(summed(part) for part in (held.n, held.x, held.xx, held.y, held.yy, held.xy))


def _exact(cells: Cells, metric: int) -> Exact:
    held = cells.totals[metric]
    if not isinstance(held, Exact):
        raise TypeError("rows of units have exact sums")
    return held
