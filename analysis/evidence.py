"""Everything known about one or thousands of experiments, as columns.

A cell is what `experiment.moments` calls one: the units of one experiment, stratum (epoch × segment),
variant and exposure day. Here the cells of all experiments lie side by side in arrays, so that every
later step works on all of them at once. Integers stay exact until `Totals.sample` divides them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, compress

import numpy as np
from numpy.typing import NDArray

from analysis.facts import Facts
from analysis.totals import Covariates, Exact, Index, Integers, Totals, add_into, integers
from experiment.condition import attribute_names
from experiment.definition import BUCKETS, DAY_MS, DecisionRule, Experiment, Metric, MetricType
from experiment.lifecycle import ExperimentState
from experiment.moments import Cell, CellKey, Moments, Sums
from experiment.source import RANDOMISED, UNKNOWN, Source

Mask = NDArray[np.bool_]
COUNTS = ("n", "exposures", "fallbacks", "mismatches", "carried")
"""Columns of `Cells.counts`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """Units that were randomised together. `weights` in the order of the variants, None = unknown."""

    epoch: int
    segment: str
    weights: tuple[float, ...] | None

    @property
    def label(self) -> str:
        """How texts name it; the epoch only where there was a second one."""
        return self.segment if self.epoch <= 1 else f"{self.segment}, epoch {self.epoch}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One experiment: its variants (control first) and strata.

    `segmented_by` names what segments differ in. `assignment` is "randomised" or "unknown".
    """

    key: str
    variants: tuple[str, ...]
    strata: tuple[Stratum, ...]
    segmented_by: str
    assignment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """Parallel columns, one entry per cell; `stratum` and `variant` are places within the subject.

    `counts` has the columns of `COUNTS`; `totals` one entry per metric.
    """

    subject: Index
    stratum: Index
    variant: Index
    day: Index
    contaminated: Mask
    counts: NDArray[np.int64]
    totals: tuple[Totals, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DayLooks:
    """The days of one experiment (ascending), its cells, and their flat places in `shape`."""

    days: Index
    cells: Mask
    place: Index
    shape: tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Cells of experiments that share metrics and rule.

    `at` is the instant of the look (ms); `closed` sources (tables) have no window left to wait for.
    `day_width` is how many days one value of `day` stands for: 1, 7 for weeks, 0 when days are unknown.
    `snapshots` are cells of tables that say where things stood on each day; `cells` are then the last ones.
    `facts` per subject are what only a table's rows can show. `clustered`: cells count clusters.
    """

    metrics: tuple[Metric, ...]
    rule: DecisionRule
    window_ms: int
    at: int
    closed: bool
    day_width: int
    subjects: tuple[Subject, ...]
    cells: Cells
    snapshots: Cells | None = None
    facts: tuple[Facts, ...] | None = None
    clustered: bool = False

    @property
    def series(self) -> Cells:
        """The cells that know every day."""
        return self.cells if self.snapshots is None else self.snapshots

    @property
    def daily(self) -> bool:
        """Whether cells of single days are there (not only where things stood)."""
        return self.day_width == 1 and self.snapshots is None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Subjects, most strata of one, most variants of one."""
        return (
            len(self.subjects),
            max((len(s.strata) for s in self.subjects), default=0),
            max((len(s.variants) for s in self.subjects), default=0),
        )

    def clean(self) -> Mask:
        """Cells of units seen in one variant only."""
        return ~self.cells.contaminated

    def matured(self) -> Mask:
        """Cells whose exposure day ended at least a window ago."""
        return self.closed_days(self.cells.day)

    def closed_days(self, days: Index) -> Mask:
        """Days that ended at least a window ago."""
        if self.closed:
            return np.ones(len(days), dtype=bool)
        return (days + 1) * DAY_MS + self.window_ms <= self.at

    def next_matured(self) -> tuple[int, int] | None:
        """The first exposure day whose window is open, and when it closes (ms); None where none is."""
        waiting = self.cells.day[~self.matured() & self.clean()]
        if not len(waiting):
            return None
        day = int(waiting.min())
        return day, (day + 1) * DAY_MS + self.window_ms

    def _place(self, mask: Mask, lead: Index, cells: Cells) -> Index:
        _, strata, variants = self.shape
        place: Index = (lead[mask] * strata + cells.stratum[mask]) * variants + cells.variant[mask]
        return place

    def counts(self, mask: Mask) -> NDArray[np.int64]:
        """Counts of shape (subjects, strata, variants, COUNTS) over the cells of `mask`."""
        place, width = self._place(mask, self.cells.subject, self.cells), len(COUNTS)
        columns = place[:, None] * width + np.arange(width)
        return add_into(self.cells.counts[mask].reshape(-1), columns.reshape(-1), (*self.shape, width))

    def totals(self, metric: int, mask: Mask) -> Totals:
        """A metric's totals of shape (subjects, strata, variants) over the cells of `mask`."""
        return self.cells.totals[metric][mask].grouped(
            self._place(mask, self.cells.subject, self.cells), self.shape
        )

    def by_day(self, subject: int, mask: Mask) -> DayLooks:
        """The exposure days of one experiment within `mask` (all its snapshots where there are any)."""
        cells = self.series
        own = cells.subject == subject
        own &= mask if self.snapshots is None else mask.any()
        days, lead = np.unique(cells.day[own], return_inverse=True)
        full = np.zeros(len(own), dtype=np.int64)
        full[own] = lead
        return DayLooks(
            days=days, cells=own, place=self._place(own, full, cells), shape=(len(days), *self.shape[1:])
        )

    def daily_units(self, looks: DayLooks) -> NDArray[np.int64]:
        """Units of shape (days, strata, variants), each day alone."""
        if self.snapshots is None:
            return add_into(self.cells.counts[looks.cells, 0], looks.place, looks.shape)
        standing = _carried(looks)(self.snapshots.counts[looks.cells, 0])
        return np.diff(standing, axis=0, prepend=np.zeros_like(standing[:1]))

    def daily_totals(self, metric: int, looks: DayLooks) -> Totals:
        """A metric's totals of shape (days, strata, variants), each day alone."""
        return self.cells.totals[metric][looks.cells].grouped(looks.place, looks.shape)

    def running_totals(self, metric: int, looks: DayLooks, single: Totals | None = None) -> Totals:
        """A metric's totals of shape (days, strata, variants), from the first day to each.

        `single`: the days alone, where they are at hand.
        """
        if self.snapshots is not None:
            return self.snapshots.totals[metric][looks.cells].each(_carried(looks))
        return (self.daily_totals(metric, looks) if single is None else single).cumulative()


def _carried(looks: DayLooks) -> Callable[[Integers], Integers]:
    """Snapshots in the order of `looks` as (days, strata, variants), each standing until the next one."""
    place = np.full(looks.shape, -1, dtype=np.int64)
    place.reshape(-1)[looks.place] = np.arange(len(looks.place))
    day = np.where(place >= 0, np.arange(looks.shape[0])[:, None, None], -1)
    latest = np.maximum.accumulate(day, axis=0)
    standing = np.where(
        latest >= 0, np.take_along_axis(place, np.maximum(latest, 0), axis=0), len(looks.place)
    )

    def carry(part: Integers) -> Integers:
        return np.asarray(np.concatenate([part, np.zeros_like(part[:1])])[standing])

    return carry


def from_ledger(state: ExperimentState, moments: Moments, *, at: int) -> Evidence:
    """Evidence of one experiment from the live ledger's moments at the instant `at` (ms).

    Strata are the segments of every epoch with the allocation of that epoch; cells of a dimension's
    values are left out (the cells of all units hold the same units). An experiment with a `source` was
    imported from a closed log, so nothing is waited for.
    """
    definition = state.definition
    subject = Subject(
        key=definition.key,
        variants=tuple(v.key for v in definition.variants),
        strata=_strata(state, moments),
        segmented_by=segment_attribute(definition),
        assignment=RANDOMISED if definition.source is None else stated_assignment(definition.source),
    )
    places = {(s.epoch, s.segment): place for place, s in enumerate(subject.strata)}
    order = {variant: place for place, variant in enumerate(subject.variants)}
    # two lists, not pairs: thousands of small objects that live on are what a garbage collection costs
    mine = [k.experiment == definition.key and not k.dimension for k in moments]
    keys, cells = list(compress(moments, mine)), list(compress(moments.values(), mine))
    return Evidence(
        metrics=definition.metrics, rule=definition.decision, window_ms=definition.window_ms, at=at,
        closed=definition.source is not None, day_width=1, subjects=(subject,),
        cells=_cells(keys, cells, definition.metrics, places, order),
    )  # fmt: skip


def configured_strata(definition: Experiment, epoch: int = 1) -> tuple[Stratum, ...]:
    """The segments of a definition with their allocation as weights.

    Units assigned elsewhere have the weights their source states, which may be none.
    """
    stated = definition.source is None or definition.source.weights is not None
    return tuple(
        Stratum(
            epoch=epoch,
            segment=segment.key,
            weights=tuple(weight / BUCKETS for weight in segment.allocation) if stated else None,
        )
        for segment in definition.segments
    )


def stated_assignment(source: Source) -> str:
    """What the source says of all its rows; a column may differ by row and is read from the table only."""
    return RANDOMISED if source.assignment == RANDOMISED else UNKNOWN


def segment_attribute(definition: Experiment) -> str:
    """The attribute that all conditions of the segments ask for; "segment" where there is no single one."""
    source = definition.source
    if source is not None and source.segment is not None:
        return source.segment
    asked = {name for segment in definition.segments for name in attribute_names(segment.when)}
    return asked.pop() if len(asked) == 1 else "segment"


def _strata(state: ExperimentState, moments: Moments) -> tuple[Stratum, ...]:
    """Configured strata first (also empty ones), then any that only the data know."""
    known = [
        stratum
        for epoch in state.epochs
        for stratum in configured_strata(replace(state.definition, segments=epoch.segments), epoch.number)
    ]
    seen, key = {(s.epoch, s.segment) for s in known}, state.key
    found = sorted({(k.epoch, k.segment) for k in moments if k.experiment == key} - seen)
    return (*known, *(Stratum(epoch=epoch, segment=segment, weights=None) for epoch, segment in found))


def _cells(
    keys: Sequence[CellKey],
    cells: Sequence[Cell],
    metrics: tuple[Metric, ...],
    places: Mapping[tuple[int, str], int],
    order: Mapping[str, int],
) -> Cells:
    rows, width, size = len(cells), len(Sums._fields), len(metrics)
    counts = _table(
        lambda: ((c.n, c.exposures, c.fallbacks, c.mismatches, c.carried) for c in cells), rows, len(COUNTS)
    )
    sums = _table(lambda: chain.from_iterable(c.metrics[:size] for c in cells), rows, size * width).T.copy()
    n = np.asarray(counts[:, 0], dtype=np.int64)
    zero = np.zeros(rows, dtype=np.int64)
    before = _covariates(cells, metrics)
    return Cells(
        subject=np.zeros(rows, dtype=np.int64),
        stratum=np.array([places[k.epoch, k.segment] for k in keys], dtype=np.int64),
        variant=np.array([order[k.variant] for k in keys], dtype=np.int64),
        day=np.array([k.day for k in keys], dtype=np.int64),
        contaminated=np.array([k.contaminated for k in keys], dtype=bool),
        counts=np.asarray(counts, dtype=np.int64),
        totals=tuple(
            replace(
                _sums(metric, n, sums[place * width : (place + 1) * width], zero),
                covariates=before.get(metric.key),
            )
            for place, metric in enumerate(metrics)
        ),
    )


def _sums(metric: Metric, n: Integers, columns: Integers, zero: Integers) -> Exact:
    """A metric's totals; what a type does not have is one array of zeros."""
    x, xx = integers(columns[0]), integers(columns[1])
    if metric.type is MetricType.PROPORTION:
        return Exact(metric=metric, n=n, x=x, xx=x, y=zero, yy=zero, xy=zero)
    if metric.type is MetricType.MEAN:
        return Exact(metric=metric, n=n, x=x, xx=xx, y=zero, yy=zero, xy=zero)
    y, yy, xy = (integers(columns[part]) for part in (2, 3, 4))
    return Exact(metric=metric, n=n, x=x, xx=xx, y=y, yy=yy, xy=xy)


def _covariates(own: Sequence[Cell], metrics: tuple[Metric, ...]) -> dict[str, Covariates]:
    """The sums of every metric's covariates, in the order of `Cell.covariates`."""
    found: dict[str, Covariates] = {}
    for metric in metrics:
        if metric.covariate is None:
            continue
        k, place = len(metric.covariate.names), len(found)
        squares = k + k * (k + 1) // 2
        rows = np.array([cell.covariates[place] for cell in own], dtype=object)
        columns = tuple(integers(column) for column in rows.reshape(len(own), squares + k * k).T)
        found[metric.key] = Covariates(
            z=columns[:k], zz=columns[k:squares], xz=columns[squares:],
            units=(10**metric.covariate.decimals,) * k,
        )  # fmt: skip
    return found


def _table(parts: Callable[[], Iterable[tuple[int, ...]]], rows: int, width: int) -> Integers:
    """Integers given part by part as an array of rows, of Python integers where 64 bits are too few."""
    try:
        flat: Integers = np.fromiter(chain.from_iterable(parts()), dtype=np.int64, count=rows * width)
    except OverflowError:
        flat = np.array(list(chain.from_iterable(parts())), dtype=object)
    return flat.reshape(rows, width)
