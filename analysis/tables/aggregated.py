"""Rows of a table that already count many units, as cells: counts and measured moments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.evidence.evidence import COUNTS, Cells
from switchpoint.analysis.evidence.moments import Centred, Exact, Integers, Totals
from switchpoint.analysis.tables.columns import Columns, Instants
from switchpoint.analysis.tables.placement import Layout
from switchpoint.experiment.definition.source import Source
from switchpoint.experiment.definition.types import Metric, MetricType
from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.ledger.columns import slot_of
from switchpoint.experiment.ledger.plan import Slot

Index = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What every shape starts from."""

    columns: Columns
    source: Source
    metrics: tuple[Metric, ...]
    layout: Layout
    instants: Instants | None
    window_ms: int

    @property
    def days(self) -> Index:
        """The exposure day of every row; 0 where the table has none."""
        return np.zeros(len(self.columns), dtype=np.int64) if self.instants is None else self.instants.days


def units_of(columns: Columns, source: Source, metric: Metric) -> Index:
    """Units per row: the column `n` of the metric, 1 where a row is a unit."""
    column = source.columns.get(metric.key, {}).get("n")
    return np.ones(len(columns), dtype=np.int64) if column is None else columns.counts(column)


def counted(read: Read, primary: Metric) -> Cells:
    """A row is a variant (and stratum, day) with its units and sums."""
    n = units_of(read.columns, read.source, primary)
    return _row_cells(read, n, tuple(_counted_totals(read, metric) for metric in read.metrics))


def measured(read: Read, primary: Metric) -> Cells:
    """A row is a variant (and stratum, day) with n, mean and variance."""
    n = units_of(read.columns, read.source, primary)
    return _row_cells(read, n, tuple(_measured_totals(read, metric) for metric in read.metrics))


def _row_cells(read: Read, n: Index, totals: tuple[Totals, ...]) -> Cells:
    counts = np.zeros((len(n), len(COUNTS)), dtype=np.int64)
    counts[:, 0] = counts[:, 1] = n
    return Cells(
        subject=read.layout.subject, stratum=read.layout.stratum, variant=read.layout.variant, day=read.days,
        contaminated=np.zeros(len(n), dtype=bool), counts=counts, totals=totals,
    )  # fmt: skip


def _counted_totals(read: Read, metric: Metric) -> Exact:
    columns, roles = read.columns, read.source.columns[metric.key]
    n = columns.counts(roles["n"])
    zero = np.zeros_like(n)
    if metric.type is MetricType.PROPORTION:
        x = columns.counts(roles["sum"])
        columns.refuse(
            roles["sum"], x > n, f"more successes than units ({roles['n']})",
            "a proportion counts units; for events per unit use `type: mean`.",
        )  # fmt: skip
        return Exact(metric=metric, n=n, x=x, xx=x, y=zero, yy=zero, xy=zero)
    _need(roles, metric)
    above = slot_of(metric, metric.numerator)
    x, xx = _side(columns, roles["n"], (roles["sum"], roles["sum_squares"]), above)
    below = metric.denominator
    if metric.type is not MetricType.RATIO or below is None:
        return Exact(metric=metric, n=n, x=x, xx=xx, y=zero, yy=zero, xy=zero)
    under = slot_of(metric, below)
    y, yy = _side(columns, roles["n"], (roles["denominator_sum"], roles["denominator_sum_squares"]), under)
    xy = columns.sums(roles["sum_products"], above.decimals + under.decimals, power=2)
    spread = (xx.astype(object) * n - x.astype(object) ** 2) * (yy.astype(object) * n - y.astype(object) ** 2)
    beyond = (xy.astype(object) * n - x.astype(object) * y) ** 2 > spread
    columns.refuse(
        roles["sum_products"], beyond.astype(bool), "beyond what these sums of squares allow",
        "give the sum over units of numerator times denominator.",
    )  # fmt: skip
    return Exact(metric=metric, n=n, x=x, xx=xx, y=y, yy=yy, xy=xy)


def _need(roles: Mapping[str, str], metric: Metric) -> None:
    """The sums a mean or ratio needs; raises BadInput naming what is missing."""
    where = f"source.columns.{metric.key}"
    if metric.type is MetricType.RATIO and "sum_products" not in roles:
        raise BadInput(
            "counts do not say how a ratio varies between units", field=where,
            fix="add sum_squares, denominator_sum, denominator_sum_squares and sum_products; declare a "
            "proportion if every n is a unit; or use the shape moments or units.",
        )  # fmt: skip
    if "sum_squares" not in roles:
        raise BadInput(
            "a sum does not say how the metric varies between units", field=where,
            fix="add `sum_squares`, or use the shape moments.",
        )  # fmt: skip


def _side(columns: Columns, n: str, roles: tuple[str, str], slot: Slot) -> tuple[Integers, Integers]:
    """A sum and its sum of squares, in minor units."""
    total, squares = roles
    x, xx = columns.sums(total, slot.decimals), columns.sums(squares, 2 * slot.decimals, power=2)
    short = xx.astype(object) * columns.counts(n) < x.astype(object) ** 2
    columns.refuse(
        squares, short.astype(bool), "too small for this sum and number of units",
        "give the sum of the units' squared totals, in the metric's unit squared.",
    )  # fmt: skip
    return x, xx


def _measured_totals(read: Read, metric: Metric) -> Centred:
    columns, roles = read.columns, read.source.columns[metric.key]
    n = columns.counts(roles["n"]).astype(np.float64)
    below = np.maximum(n - 1, 0)
    x, xx = columns.numbers(roles["mean"]), _variance(columns, roles["variance"], below) * below
    if metric.type is not MetricType.RATIO:
        return Centred(n=n, x=x, xx=xx)
    if "denominator_mean" not in roles:
        raise BadInput(
            "a ratio has two sides", field=f"source.columns.{metric.key}",
            fix="add denominator_mean, denominator_variance and covariance.",
        )  # fmt: skip
    return Centred(
        n=n, x=x, xx=xx, y=columns.numbers(roles["denominator_mean"]),
        yy=_variance(columns, roles["denominator_variance"], below) * below,
        xy=columns.numbers(roles["covariance"], power=2, where=below > 0) * below,
    )  # fmt: skip


def _variance(columns: Columns, column: str, below: NDArray[np.float64]) -> NDArray[np.float64]:
    """The variance of every row's units; a single unit has none, whatever stands there."""
    found = columns.numbers(column, power=2, where=below > 0)
    columns.refuse(column, found < 0, "a variance below 0", "give the variance of the units (ddof 1).")
    return found


def last(read: Read, snapshots: Cells) -> Cells:
    """Where every variant of every stratum stood on its last day.

    Raises:
        BadInput: two rows of one day, or units that get fewer from day to day.
    """
    place = (snapshots.subject, snapshots.stratum, snapshots.variant)
    order = np.lexsort((snapshots.day, *place[::-1]))
    group = np.any([np.diff(part[order]) != 0 for part in place], axis=0)
    again = ~group & (np.diff(snapshots.day[order]) == 0)
    fewer = ~group & (np.diff(snapshots.counts[order, 0]) < 0)
    for wrong, message in ((again, "two rows of one day"), (fewer, "fewer units than on the day before")):
        mask = np.zeros(len(order), dtype=bool)
        mask[order[1:][wrong]] = True
        column = str(read.source.day)
        read.columns.refuse(column, mask, message, "write one row per day that holds all days up to it.")
    final = np.sort(order[np.append(group, True)])
    return replace(
        snapshots, subject=snapshots.subject[final], stratum=snapshots.stratum[final],
        variant=snapshots.variant[final], day=snapshots.day[final],
        contaminated=snapshots.contaminated[final], counts=snapshots.counts[final],
        totals=tuple(totals[final] for totals in snapshots.totals),
    )  # fmt: skip
