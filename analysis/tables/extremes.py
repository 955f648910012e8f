"""The unit that moves a variant's value most, looked for only where one unit could matter at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.evidence.evidence import Cells, Mask
from switchpoint.analysis.evidence.facts import Extreme
from switchpoint.analysis.evidence.moments import Exact, Integers
from switchpoint.analysis.tables.unit_sums import UnitSums
from switchpoint.experiment.definition.types import Metric, MetricType
from switchpoint.experiment.ledger import sql
from switchpoint.experiment.ledger.sql import Measured

NEGLIGIBLE = 0.1
"""Standard errors of the effect that no check of single units cares about."""
Ends = Sequence[tuple[Integers, Integers]]
"""The smallest and largest total of each side of a metric, per experiment."""
Floats = NDArray[np.float64]


def extremes(sums: UnitSums) -> tuple[tuple[Extreme, ...], ...]:
    """Per experiment, metric and variant the unit farthest from what is typical: |x − R·y|, R the variant's
    value. Metrics of which no unit can move an effect by `NEGLIGIBLE` standard errors have none."""
    places, size = sums.places.layout, len(sums.places.subjects)
    every: list[list[Extreme]] = [[] for _ in range(size)]
    typical: dict[str, Any] = {}
    asked: dict[int, Measured] = {}
    moving: dict[int, Mask] = {}
    for number, one in enumerate(sums.measured):
        moments = sums_of(sums.cells, number, size)
        moves = may_move(one.metric, moments, list(zip(sums.low[number], sums.high[number], strict=True)))
        if moves.any():
            value = values(one.metric, moments)
            known = places.variant < value.shape[1]  # others have contaminated units alone
            typical[f"value{number}"] = value[places.subject, np.where(known, places.variant, 0)]
            asked[number], moving[number] = one, moves
    if not asked:
        return tuple(map(tuple, every))
    width = int(places.variant.max()) + 1
    owner = places.subject * width + places.variant
    sums.engine.load("groups", {**sums.groups, "owner": owner, "stratum_of": places.stratum, **typical})
    found = sums.engine.values(f"{sums.units} {sql.farthest(asked, [*sums.groups])}")
    for number, one in asked.items():
        for owned, unit in zip(found["owner"], found[f"unit{number}"], strict=True):
            experiment, variant = divmod(owned, width)
            if moving[number][experiment]:
                every[experiment].append(Extreme(metric=one.metric.key, variant=variant, **unit))
    return tuple(map(tuple, every))


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
