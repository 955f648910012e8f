"""Everything known about one or thousands of experiments, as columns.

A cell is what `experiment.moments` calls one: the units of one experiment, stratum (epoch × segment),
variant and exposure day. Here the cells of all experiments lie side by side in arrays, so that every
later step works on all of them at once. Integers stay exact until `Totals.sample` divides them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.totals import Exact, Index, Totals, add_into, integers
from experiment.condition import attribute_names
from experiment.definition import BUCKETS, DAY_MS, DecisionRule, Experiment, Metric
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
    """

    metrics: tuple[Metric, ...]
    rule: DecisionRule
    window_ms: int
    at: int
    closed: bool
    day_width: int
    subjects: tuple[Subject, ...]
    cells: Cells

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
        if self.closed:
            return np.ones(len(self.cells.day), dtype=bool)
        return (self.cells.day + 1) * DAY_MS + self.window_ms <= self.at

    def _place(self, mask: Mask, lead: Index) -> Index:
        cells, (_, strata, variants) = self.cells, self.shape
        place: Index = (lead[mask] * strata + cells.stratum[mask]) * variants + cells.variant[mask]
        return place

    def counts(self, mask: Mask) -> NDArray[np.int64]:
        """Counts of shape (subjects, strata, variants, COUNTS) over the cells of `mask`."""
        place = self._place(mask, self.cells.subject)
        chosen = self.cells.counts[mask]
        return np.stack([add_into(chosen[:, c], place, self.shape) for c in range(len(COUNTS))], axis=-1)

    def totals(self, metric: int, mask: Mask) -> Totals:
        """A metric's totals of shape (subjects, strata, variants) over the cells of `mask`."""
        return self.cells.totals[metric][mask].grouped(self._place(mask, self.cells.subject), self.shape)

    def by_day(self, subject: int, mask: Mask) -> DayLooks:
        """The exposure days of one experiment within `mask`."""
        own = mask & (self.cells.subject == subject)
        days, lead = np.unique(self.cells.day[own], return_inverse=True)
        full = np.zeros(len(own), dtype=np.int64)
        full[own] = lead
        return DayLooks(
            days=days, cells=own, place=self._place(own, full), shape=(len(days), *self.shape[1:])
        )

    def daily_units(self, looks: DayLooks) -> NDArray[np.int64]:
        """Units of shape (days, strata, variants), each day alone."""
        return add_into(self.cells.counts[looks.cells, 0], looks.place, looks.shape)

    def daily_totals(self, metric: int, looks: DayLooks) -> Totals:
        """A metric's totals of shape (days, strata, variants), each day alone."""
        return self.cells.totals[metric][looks.cells].grouped(looks.place, looks.shape)


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
    own = [(k, c) for k, c in moments.items() if k.experiment == definition.key and not k.dimension]
    return Evidence(
        metrics=definition.metrics, rule=definition.decision, window_ms=definition.window_ms, at=at,
        closed=definition.source is not None, day_width=1, subjects=(subject,),
        cells=_cells(own, definition.metrics, places, order),
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
    seen = {(s.epoch, s.segment) for s in known}
    found = sorted({(k.epoch, k.segment) for k in moments if k.experiment == state.key} - seen)
    return (*known, *(Stratum(epoch=epoch, segment=segment, weights=None) for epoch, segment in found))


def _cells(
    own: Sequence[tuple[CellKey, Cell]],
    metrics: tuple[Metric, ...],
    places: Mapping[tuple[int, str], int],
    order: Mapping[str, int],
) -> Cells:
    counts = np.array(
        [(c.n, c.exposures, c.fallbacks, c.mismatches, c.carried) for _, c in own], dtype=np.int64
    )
    n = counts.reshape(-1, len(COUNTS))[:, 0]
    return Cells(
        subject=np.zeros(len(own), dtype=np.int64),
        stratum=np.array([places[k.epoch, k.segment] for k, _ in own], dtype=np.int64),
        variant=np.array([order[k.variant] for k, _ in own], dtype=np.int64),
        day=np.array([k.day for k, _ in own], dtype=np.int64),
        contaminated=np.array([k.contaminated for k, _ in own], dtype=bool),
        counts=counts.reshape(-1, len(COUNTS)),
        totals=tuple(exact(m, n, [c.metrics[place] for _, c in own]) for place, m in enumerate(metrics)),
    )


def exact(metric: Metric, n: NDArray[Any], sums: Sequence[Sums]) -> Exact:
    """A metric's totals from the sums of cells."""
    x, xx, y, yy, xy = (integers([s[part] for s in sums]) for part in range(len(Sums._fields)))
    return Exact(metric=metric, n=n, x=x, xx=xx, y=y, yy=yy, xy=xy)
