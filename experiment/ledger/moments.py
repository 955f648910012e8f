"""Exact integer sufficient statistics that merge with `+`.

A cell holds everything the platform knows of the units of one experiment × epoch × segment × variant ×
exposure day (× one dimension value): how many there are, and for every metric the sums of the units'
totals, squares and products, in minor units. Python integers, so nothing is ever rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import add
from typing import NamedTuple


class CellKey(NamedTuple):
    """Where a unit is counted. `dimension` and `value` are "" in the cells of all units.

    `day` is the UTC day number of the unit's first exposure (milliseconds since 1970 // 86_400_000).
    `contaminated` separates units seen in several variants of one epoch, so that results with and
    without them are both sums of cells.
    """

    experiment: str
    epoch: int
    segment: str
    variant: str
    day: int
    dimension: str = ""
    value: str = ""
    contaminated: bool = False


class Sums(NamedTuple):
    """Σx, Σx², and for ratios Σy, Σy², Σxy, over units (x: numerator total, y: denominator total)."""

    x: int = 0
    xx: int = 0
    y: int = 0
    yy: int = 0
    xy: int = 0

    def plus(self, other: Sums) -> Sums:
        """Component-wise sum."""
        return Sums(*(a + b for a, b in zip(self, other, strict=True)))


@dataclass(frozen=True, slots=True)
class Cell:
    """Counts and sums of one cell; `metrics` is in the order of the definition's metrics.

    `exposures` counts exposure events; of those `fallbacks` were served another variant with a recorded
    cause, `mismatches` without one; `carried` counts units that came back in a later epoch. `covariates`
    has one entry per metric that has any, in their order: Σz of each covariate, the upper triangle of Σz·z
    row by row, Σx·z of each, and for ratios Σy·z of each.
    """

    n: int
    exposures: int
    fallbacks: int
    mismatches: int
    carried: int
    metrics: tuple[Sums, ...]
    covariates: tuple[tuple[int, ...], ...] = ()

    def __add__(self, other: Cell) -> Cell:
        return Cell(
            self.n + other.n,
            self.exposures + other.exposures,
            self.fallbacks + other.fallbacks,
            self.mismatches + other.mismatches,
            self.carried + other.carried,
            tuple(a.plus(b) for a, b in zip(self.metrics, other.metrics, strict=True)),
            tuple(tuple(map(add, a, b)) for a, b in zip(self.covariates, other.covariates, strict=True)),
        )


Moments = dict[CellKey, Cell]
