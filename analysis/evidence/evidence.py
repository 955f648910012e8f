"""Everything known about one or thousands of experiments, as columns.

A cell is what `experiment.ledger.moments` calls one: the units of one experiment, stratum (epoch × segment),
variant and exposure day. Here the cells of all experiments lie side by side in arrays, so that every
later step works on all of them at once. Integers stay exact until `Totals.sample` divides them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.evidence.facts import Facts
from switchpoint.analysis.evidence.moments import Index, Integers, Totals, add_into
from switchpoint.experiment.definition.condition import attribute_names
from switchpoint.experiment.definition.source import RANDOMISED, UNKNOWN, Source
from switchpoint.experiment.definition.types import BUCKETS, DAY_MS, DecisionRule, Experiment, Metric, Role

Mask = NDArray[np.bool_]
Digests = tuple[str | None, ...]
"""The models behind the variants, in their order; None where one is not known."""
COUNTS = ("n", "exposures", "fallbacks", "mismatches", "carried")
"""Columns of `Cells.counts`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """Units that were randomised together. `weights` in the order of the variants, None = unknown.

    `digests` of the variants' models in its epoch, in the same order (empty: there are no models).
    """

    epoch: int
    segment: str
    weights: tuple[float, ...] | None
    digests: Digests = ()

    @property
    def label(self) -> str:
        """How texts name it; the epoch only where there was a second one."""
        return self.segment if self.epoch <= 1 else f"{self.segment}, epoch {self.epoch}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One experiment: its variants (control first) and strata.

    `segmented_by` names what segments differ in. `assignment` is "randomised" or "unknown". `digests` of the
    models in force (empty: there are none).
    """

    key: str
    variants: tuple[str, ...]
    strata: tuple[Stratum, ...]
    segmented_by: str
    assignment: str
    digests: Digests = ()


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

    def taken(self, rows: Index, **places: NDArray[Any]) -> Cells:
        """Some of the cells, with these columns of theirs replaced."""
        columns = {
            name: getattr(self, name)[rows]
            for name in ("subject", "stratum", "variant", "day", "contaminated", "counts")
        }
        return Cells(**(columns | places), totals=tuple(totals[rows] for totals in self.totals))


@dataclass(frozen=True, slots=True, kw_only=True)
class DayLooks:
    """Rows of single days: `days` of one experiment after another's, ascending, those of experiment i from
    `start[i]` to `start[i + 1]`; the cells they are made of, and the flat places of these in `shape`."""

    days: Index
    start: Index
    cells: Mask
    place: Index
    shape: tuple[int, int, int]

    def of(self, subject: int) -> slice:
        """The rows of one experiment."""
        return slice(int(self.start[subject]), int(self.start[subject + 1]))

    @property
    def first(self) -> Index:
        """The first row of the experiment that each row is of."""
        return np.repeat(self.start[:-1], np.diff(self.start))


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Cells of experiments that share metrics and rule.

    `at` is the instant of the look (ms); `closed` sources (tables) have no window left to wait for.
    `day_width` is how many days one value of `day` stands for: 1, 7 for weeks, 0 when days are unknown.
    `facts` per subject are what only rows can show.
    `snapshots` are cells of tables that say where things stood on each day; `cells` are then the last ones.
    `as_served` are cells of every unit under the variant it was first served, where that is known and differs
    from the one it was assigned. `clustered`: cells count clusters. `unreadable`: experiments of the table
    that are not among the subjects, because a row of them cannot be read, and why. `history` is what was
    measured of other models, `breakdown` the same units by the values of dimensions. `gaps`, of one
    experiment: the days between that only history has, for all variants together, then for each other one.
    `reading` says what is not plain in how a table was read.
    """

    metrics: tuple[Metric, ...]
    rule: DecisionRule
    window_ms: int
    at: int
    closed: bool
    day_width: int
    subjects: tuple[Subject, ...]
    cells: Cells
    facts: tuple[Facts, ...]
    snapshots: Cells | None = None
    as_served: Cells | None = None
    clustered: bool = False
    unreadable: Mapping[str, str] = field(default_factory=dict)
    history: History | None = None
    breakdown: Breakdown | None = None
    gaps: tuple[Index, ...] = ()
    reading: tuple[str, ...] = ()

    @property
    def series(self) -> Cells:
        """The cells that know every day."""
        return self.cells if self.snapshots is None else self.snapshots

    @property
    def primary(self) -> int:
        """The index of the primary metric."""
        return next(i for i, metric in enumerate(self.metrics) if metric.role is Role.PRIMARY)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Subjects, most strata of one, most variants of one."""
        return (
            len(self.subjects),
            max((len(s.strata) for s in self.subjects), default=0),
            max((len(s.variants) for s in self.subjects), default=0),
        )

    def compared(self) -> Mask:
        """Whether a stratum's units of a variant are evidence for it, of `shape`."""
        found = np.ones(self.shape, dtype=bool)
        for e, subject in enumerate(self.subjects):
            if subject.digests:
                rows = [variants_compared(subject.digests, s.digests) for s in subject.strata]
                found[e, : len(rows), : len(subject.variants)] = rows
        return found

    def running(self, days: Index, variant: int = 0) -> Index:
        """Day numbers without the gaps, so that differences are days on which evidence was collected."""
        gaps = self.gaps[variant] if self.gaps else np.zeros(0, dtype=np.int64)
        return days - np.searchsorted(gaps, days)

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

    def next_matured(self, subject: int) -> tuple[int, int] | None:
        """An experiment's first exposure day whose window is open, and when it closes (ms); None where none
        is."""
        waiting = self.cells.day[~self.matured() & self.clean() & (self.cells.subject == subject)]
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

    def served_totals(self, metric: int) -> Totals:
        """A metric's totals of shape (subjects, strata, variants) by the variants that were served."""
        cells = self.as_served
        if cells is None:
            raise ValueError("what was served is not known")
        every = np.ones(len(cells.day), dtype=bool)
        return cells.totals[metric].grouped(self._place(every, cells.subject, cells), self.shape)

    def by_day(self, mask: Mask) -> DayLooks:
        """The exposure days of every experiment within `mask` (all its snapshots where there are any)."""
        cells, subjects = self.series, len(self.subjects)
        own = mask if self.snapshots is None else np.full(len(cells.day), mask.any())
        low = int(cells.day.min(initial=0))
        width = int(cells.day.max(initial=0)) - low + 1
        pair, lead = np.unique(cells.subject[own] * width + cells.day[own] - low, return_inverse=True)
        subject, days = pair // width, pair % width + low
        full = np.zeros(len(own), dtype=np.int64)
        full[own] = lead
        return DayLooks(
            days=days, start=np.searchsorted(subject, np.arange(subjects + 1)), cells=own,
            place=self._place(own, full, cells), shape=(len(days), *self.shape[1:]),
        )  # fmt: skip

    def daily_units(self, looks: DayLooks) -> NDArray[np.int64]:
        """Units of shape (days, strata, variants), each day alone."""
        if self.snapshots is None:
            return add_into(self.cells.counts[looks.cells, 0], looks.place, looks.shape)
        standing = _carried(looks)(self.snapshots.counts[looks.cells, 0])
        return np.asarray(standing - _before(looks)(standing))

    def daily_totals(self, metric: int, looks: DayLooks) -> Totals:
        """A metric's totals of shape (days, strata, variants), each day alone; of snapshots the differences
        between where things stood."""
        if self.snapshots is None:
            return self.cells.totals[metric][looks.cells].grouped(looks.place, looks.shape)
        standing = self.snapshots.totals[metric][looks.cells].each(_carried(looks))
        return standing.less(standing.each(_before(looks)))

    def running_totals(self, metric: int, looks: DayLooks, single: Totals | None = None) -> Totals:
        """A metric's totals of shape (days, strata, variants), from an experiment's first day to each.

        `single`: the days alone, where they are at hand.
        """
        if self.snapshots is not None:
            return self.snapshots.totals[metric][looks.cells].each(_carried(looks))
        return (self.daily_totals(metric, looks) if single is None else single).cumulative(looks.first)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What was measured of models that are not the ones in force: shown and counted, never evidence.

    `pairs` has one subject per former pair, of two variants. `units` are all of them, each once; `carried`
    those that came back under later models, where they are not counted.
    """

    pairs: Evidence
    units: int
    carried: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """The units of one experiment once more for each of its dimensions, by the dimension's values.

    `values`: (dimension, value) of every subject of `evidence`, which is the experiment among these units.
    """

    values: tuple[tuple[str, str], ...]
    evidence: Evidence


def _carried(looks: DayLooks) -> Callable[[Integers], Integers]:
    """Snapshots in the order of `looks` as (days, strata, variants), each standing until the next one."""
    place = np.full(looks.shape, -1, dtype=np.int64)
    place.reshape(-1)[looks.place] = np.arange(len(looks.place))
    day = np.where(place >= 0, np.arange(looks.shape[0])[:, None, None], -1)
    latest = np.maximum.accumulate(day, axis=0)
    there = latest >= looks.first[:, None, None]
    standing = np.where(there, np.take_along_axis(place, np.maximum(latest, 0), axis=0), len(looks.place))

    def carry(part: Integers) -> Integers:
        return np.asarray(np.concatenate([part, np.zeros_like(part[:1])])[standing])

    return carry


def _before(looks: DayLooks) -> Callable[[Integers], Integers]:
    """Rows of days as where things stood on the day before; nothing before an experiment's first."""
    first = looks.first == np.arange(looks.shape[0])

    def shift(part: Integers) -> Integers:
        earlier = np.concatenate([np.zeros_like(part[:1]), part[:-1]])
        earlier[first] = 0
        return np.asarray(earlier)

    return shift


def variants_compared(in_force: Digests, then: Digests) -> tuple[bool, ...]:
    """Per variant whether its units under the models of `then` are evidence about those in force.

    A comparison is of a pair of models, control's and the variant's: units count where both are the same.
    Control's units count where any other variant's do.
    """
    same = [now == before for now, before in zip(in_force, then, strict=True)]
    others = [same[0] and one for one in same[1:]]
    return (any(others) if others else same[0], *others)


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
