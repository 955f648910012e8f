"""The units of one experiment as arrays, from the ledger's records: what re-randomisation starts from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.evidence.evidence import Stratum, configured_strata, variants_compared
from switchpoint.analysis.evidence.ledger import model_digests
from switchpoint.analysis.evidence.moments import Integers, integers
from switchpoint.analysis.simulation.randomise import Places, UnitIds, unit_ids
from switchpoint.experiment.definition.state import ExperimentState
from switchpoint.experiment.definition.types import BUCKETS, DAY_MS, Experiment, MetricType, Segment
from switchpoint.experiment.ledger.fold import Standing, UnitRecord
from switchpoint.experiment.ledger.plan import ExperimentPlan, MetricPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One metric's totals per unit, clipped as the ledger clips them; `y` only for ratios.

    `before` are its covariates.
    """

    x: Integers
    y: Integers | None
    before: tuple[Integers, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Units of the log that are not re-randomised, and why; `history` met models that are no longer in
    force."""

    contaminated: int
    immature: int
    unreadable: int
    history: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitLog:
    """The analysed units of an experiment.

    `ids`, `stratum` (its place in `strata`), `day` (exposure day) and `columns` (one per metric) have one
    entry per unit. `segments`: per stratum the allocation of its epoch at full traffic, because every unit
    here was enrolled.
    """

    definition: Experiment
    ids: UnitIds
    stratum: Places
    day: Places
    columns: tuple[Column, ...]
    strata: tuple[Stratum, ...]
    segments: tuple[Segment, ...]
    left_out: LeftOut

    def __len__(self) -> int:
        return len(self.stratum)


def unit_log(
    records: Iterable[tuple[str, UnitRecord | None]], state: ExperimentState, plan: ExperimentPlan, *, at: int
) -> UnitLog:
    """The matured units of an experiment that were seen in one variant only, with the models in force.

    Args:
        records: every unit's record, None where it cannot be read (`Ledger.units`). plan: of this experiment,
            the one the records were folded with. at: the instant of the look (ms).
    """
    compared = _compared(state)
    strata, segments = _strata(state, compared)
    places = {(s.epoch, s.segment): place for place, s in enumerate(strata)}
    kept: list[tuple[str, Standing]] = []
    contaminated = immature = unreadable = history = 0
    closed = state.definition.source is not None
    for unit, record in records:
        standing = None if record is None else record.standings.get(state.key)
        if record is None:
            unreadable += 1
        elif standing is None or standing.epoch not in compared:
            continue
        elif standing.variant not in compared[standing.epoch]:
            history += 1
        elif (standing.epoch, standing.segment) not in places:
            continue
        elif standing.contaminated:
            contaminated += 1
        elif not closed and (standing.first_at // DAY_MS + 1) * DAY_MS + plan.window_ms > at:
            immature += 1
        else:
            kept.append((unit, standing))
    totals = np.array([s.totals for _, s in kept], dtype=object).reshape(len(kept), len(plan.slots))
    before = np.array([s.covariates for _, s in kept], dtype=object).reshape(len(kept), len(plan.covariates))
    return UnitLog(
        definition=state.definition,
        ids=unit_ids([unit for unit, _ in kept]),
        stratum=np.array([places[s.epoch, s.segment] for _, s in kept], dtype=np.int64),
        day=np.array([s.first_at // DAY_MS for _, s in kept], dtype=np.int64),
        columns=tuple(_column(metric, totals, before) for metric in plan.metrics),
        strata=strata,
        segments=segments,
        left_out=LeftOut(
            contaminated=contaminated, immature=immature, unreadable=unreadable, history=history
        ),
    )


def _compared(state: ExperimentState) -> dict[int, frozenset[str]]:
    """The variants whose units are evidence about the models in force, by epoch."""
    keys, now = [variant.key for variant in state.definition.variants], model_digests(state, state.epoch)
    return {
        epoch.number: frozenset(compress(keys, variants_compared(now, model_digests(state, epoch))))
        if now
        else frozenset(keys)
        for epoch in state.epochs
    }


def _strata(
    state: ExperimentState, compared: Mapping[int, frozenset[str]]
) -> tuple[tuple[Stratum, ...], tuple[Segment, ...]]:
    """Strata of every epoch that is evidence, and the segment that randomises each."""
    strata: list[Stratum] = []
    segments: list[Segment] = []
    for epoch in state.epochs:
        kept = [variant.key in compared[epoch.number] for variant in state.definition.variants]
        own = tuple(_among(replace(s, traffic=BUCKETS), kept) for s in epoch.segments) if any(kept) else ()
        strata += configured_strata(replace(state.definition, segments=own), epoch.number)
        segments += own
    return tuple(strata), tuple(segments)


def _among(segment: Segment, kept: Sequence[bool]) -> Segment:
    """The segment with the whole allocation given to the variants kept, in their proportions."""
    ends = list(accumulate(w if mine else 0 for w, mine in zip(segment.allocation, kept, strict=True)))
    if not ends[-1]:
        return segment
    ends = [end * BUCKETS // ends[-1] for end in ends]
    return replace(segment, allocation=tuple(b - a for a, b in zip([0, *ends], ends, strict=False)))


def _column(metric: MetricPlan, totals: NDArray[Any], before: NDArray[Any]) -> Column:
    known = tuple(integers(before[:, at]) for at in metric.covariates)

    def clipped(slot: int) -> Integers:
        return integers(np.clip(totals[:, slot], -metric.cap, metric.cap))

    if metric.type is MetricType.PROPORTION:
        return Column(x=np.asarray(totals[:, metric.x] > 0, dtype=np.int64), y=None, before=known)
    y = None if metric.y is None else clipped(metric.y)
    return Column(x=clipped(metric.x), y=y, before=known)
