"""The reference fold: what a set of events means, as a pure function in any order.

The memory ledger, `verify` and refolds use it. The Lua step of the Redis ledger is its incremental twin and
has to give the same integers. In one sentence: an outcome counts for an experiment when it lies in
[first exposure, first exposure + window), the first exposure being the earliest accepted one. What does not
count is counted as well (`arrivals`): a ledger that loses outcomes says how many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from switchpoint.experiment.definition.types import DAY_MS, MetricType
from switchpoint.experiment.errors import EventError
from switchpoint.experiment.ledger.event import Event, Exposure, damage_of
from switchpoint.experiment.ledger.moments import Cell, CellKey, Moments, Sums
from switchpoint.experiment.ledger.plan import (
    CovariateSlot,
    ExperimentPlan,
    LedgerPlan,
    MetricPlan,
    Slot,
    experiment_plan,
    ledger_plan,
)

# the plan is written for the fold, and callers of one need the other
__all__ = [
    "OTHER",
    "VALUES_PER_DIMENSION",
    "Arrivals",
    "CovariateSlot",
    "DimensionValues",
    "ExperimentPlan",
    "LedgerPlan",
    "MetricPlan",
    "Slot",
    "Standing",
    "TypeCount",
    "UnitRecord",
    "arrivals",
    "contributions",
    "experiment_plan",
    "fold",
    "fold_unit",
    "ledger_plan",
    "narrow",
]

OTHER = "other"
OTHER_TYPE = ""
"""The name under which event types are counted that are not kept apart."""
VALUES_PER_DIMENSION = 100
"""Values a dimension keeps apart in one project; later ones are counted as OTHER."""
TYPES = ("", "")
"""The place of the project's event types among DimensionValues; as many are kept apart as of a dimension."""

DimensionValues = Mapping[tuple[str, str], Collection[str]]
"""Values kept apart, by (experiment key, dimension)."""

HOUR_MS = 3_600_000
FULL_HOUR = 255
"""Outcomes of one unit, type and hour that its record counts apart; beyond them a refold counts."""

Arrivals = dict[tuple[str, ...], int]
"""What arrived, whether it counts or not: ("exposures",), ("outcomes", type), of those ("unexposed", type) of
units that were never exposed, ("ids", damage) events whose unit's id looks damaged, and by experiment and
variant ("early", ...) and ("counted", ...) outcomes. No entry is 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a unit stands in one experiment.

    The first exposure gives `first_at` (ms), epoch, segment, variant, `values` (one per dimension, ""
    where the exposure named none) and `covariates` (in the order of the plan's, 0 where it named none).
    Counts are over all its exposures of the experiment. `counted` outcomes of the types its metrics read lie
    in the window, `early` ones before it: in the clock hour (UTC) of the first exposure or the one before.
    `totals` are in the order of the plan's slots, not yet clipped.
    """

    first_at: int
    epoch: int
    segment: str
    variant: str
    values: tuple[str, ...]
    exposures: int
    fallbacks: int
    mismatches: int
    early: int
    counted: int
    contaminated: bool
    carried: bool
    totals: tuple[int, ...]
    covariates: tuple[int, ...] = ()


class TypeCount(NamedTuple):
    """A unit's outcomes of one type: in the hour of its latest outcome and in the hour before, each up to
    FULL_HOUR, and all of them as long as the unit was never exposed to anything."""

    hour: int
    before: int
    unexposed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitRecord:
    """All a ledger keeps of a unit: accepted events, latest outcome (ms; 0 = none), a Standing each.

    `types` are its recent outcomes, from which a later exposure learns what lies before it.
    """

    events: int
    latest: int
    standings: Mapping[str, Standing]
    types: Mapping[str, TypeCount]


def _once(events: Iterable[Event]) -> list[Event]:
    """Each event once, in order of time; of several with the same id and day the first given."""
    unique: dict[tuple[str, int], Event] = {}
    for event in events:
        unique.setdefault((event.id, event.at // DAY_MS), event)
    return sorted(unique.values(), key=lambda event: (event.at, event.id))


def fold_unit(events: Iterable[Event], plan: LedgerPlan, types: Collection[str] | None = None) -> UnitRecord:
    """Fold the events of one unit. Of several with the same id and day the first given counts.

    Args:
        types: the event types that are kept apart (None: all); others are neither early nor counted ones.
    """
    ordered = _once(events)
    outcomes = [event for event in ordered if event.exposure is None]
    exposed: dict[str, list[Event]] = {}
    for event in ordered:
        if event.exposure is not None and event.exposure.experiment in plan.by_key:
            exposed.setdefault(event.exposure.experiment, []).append(event)
    return UnitRecord(
        events=len(ordered),
        latest=outcomes[-1].at if outcomes else 0,
        standings={
            key: _standing(found, outcomes, plan.by_key[key], types) for key, found in exposed.items()
        },
        types=_types(outcomes, types, exposed=len(outcomes) < len(ordered)),
    )


def _types(
    outcomes: Sequence[Event], types: Collection[str] | None, *, exposed: bool
) -> dict[str, TypeCount]:
    """The unit's outcomes by type, OTHER_TYPE for all that are not kept apart."""
    if not outcomes:
        return {}
    hours: dict[str, Counter[int]] = {}
    latest = outcomes[-1].at // HOUR_MS
    for event in outcomes:
        kind = event.type if types is None or event.type in types else OTHER_TYPE
        hours.setdefault(kind, Counter())[latest - event.at // HOUR_MS] += 1
    found = {}
    for kind, ago in hours.items():
        recent = (0, 0) if kind == OTHER_TYPE else (min(ago[0], FULL_HOUR), min(ago[1], FULL_HOUR))
        count = TypeCount(*recent, 0 if exposed else ago.total())
        if any(count):
            found[kind] = count
    return found


def _standing(
    exposed: list[Event], outcomes: list[Event], plan: ExperimentPlan, types: Collection[str] | None
) -> Standing:
    start = exposed[0].at
    facts = [event.exposure for event in exposed if event.exposure is not None]
    first = facts[0]
    unfaithful = [fact.cause for fact in facts if fact.served != fact.variant]
    totals = [0] * len(plan.slots)
    early = counted = 0
    for event in outcomes:
        if event.type not in plan.events:
            continue
        apart = types is None or event.type in types
        early += apart and event.at < start and start // HOUR_MS - event.at // HOUR_MS < 2
        if start <= event.at < start + plan.window_ms:
            counted += apart
            for index, slot in enumerate(plan.slots):
                if slot.event == event.type:
                    totals[index] += _amount(slot, event)
    return Standing(
        first_at=start,
        epoch=first.epoch,
        segment=first.segment,
        variant=first.variant,
        values=tuple(first.dimensions.get(name, "") for name in plan.dimensions),
        exposures=len(facts),
        fallbacks=sum(cause is not None for cause in unfaithful),
        mismatches=sum(cause is None for cause in unfaithful),
        early=early,
        counted=counted,
        contaminated=any(f.epoch == first.epoch and f.variant != first.variant for f in facts),
        carried=any(fact.epoch > first.epoch for fact in facts),
        totals=tuple(totals),
        covariates=tuple(_covariate(slot, first) for slot in plan.covariates),
    )


def _amount(slot: Slot, event: Event) -> int:
    """What the event adds; nothing if it was accepted before a metric asked for its property."""
    try:
        return slot.amount(event)
    except EventError:
        return 0


def _covariate(slot: CovariateSlot, exposure: Exposure) -> int:
    """What the exposure carries; nothing if it was accepted before a metric asked for it."""
    try:
        return slot.amount(exposure)
    except EventError:
        return 0


def narrow(record: UnitRecord, plan: LedgerPlan, known: DimensionValues) -> UnitRecord:
    """The record with dimension values that are not kept apart replaced by OTHER."""
    standings = {}
    for key, standing in record.standings.items():
        names = plan.by_key[key].dimensions
        values = tuple(
            value if value in known.get((key, name), ()) else OTHER
            for name, value in zip(names, standing.values, strict=True)
        )
        standings[key] = replace(standing, values=values)
    return replace(record, standings=standings)


def contributions(record: UnitRecord, plan: LedgerPlan) -> Iterator[tuple[CellKey, Cell]]:
    """What the unit adds to the moments: one cell of all units and one per dimension, per experiment."""
    for key, standing in record.standings.items():
        experiment = plan.by_key[key]
        sums = tuple(_sums(metric, standing.totals) for metric in experiment.metrics)
        cell = Cell(
            n=1,
            exposures=standing.exposures,
            fallbacks=standing.fallbacks,
            mismatches=standing.mismatches,
            carried=int(standing.carried),
            metrics=sums,
            covariates=tuple(
                _covariate_sums(metric, own, standing.covariates)
                for metric, own in zip(experiment.metrics, sums, strict=True)
                if metric.covariates
            ),
        )
        place = CellKey(
            experiment=key,
            epoch=standing.epoch,
            segment=standing.segment,
            variant=standing.variant,
            day=standing.first_at // DAY_MS,
            contaminated=standing.contaminated,
        )
        yield place, cell
        for name, value in zip(experiment.dimensions, standing.values, strict=True):
            yield place._replace(dimension=name, value=value), cell


def _sums(metric: MetricPlan, totals: tuple[int, ...]) -> Sums:
    total = totals[metric.x]
    if metric.type is MetricType.PROPORTION:
        x = int(total > 0)
        return Sums(x=x, xx=x)
    x = max(-metric.cap, min(metric.cap, total))
    if metric.y is None:
        return Sums(x=x, xx=x * x)
    y = max(-metric.cap, min(metric.cap, totals[metric.y]))
    return Sums(x=x, xx=x * x, y=y, yy=y * y, xy=x * y)


def _covariate_sums(metric: MetricPlan, own: Sums, values: tuple[int, ...]) -> tuple[int, ...]:
    """The unit's covariates and their products, in the order of `Cell.covariates`."""
    z = [values[at] for at in metric.covariates]
    sides = (own.x,) if metric.y is None else (own.x, own.y)
    squares = (a * b for i, a in enumerate(z) for b in z[i:])
    return (*z, *squares, *(side * a for side in sides for a in z))


def fold(events: Iterable[Event], plan: LedgerPlan, known: DimensionValues | None = None) -> Moments:
    """Fold a whole log, in any order. `known` limits dimension values as a ledger does; None keeps all."""
    units: dict[str, list[Event]] = {}
    for event in events:
        units.setdefault(event.unit, []).append(event)
    moments: Moments = {}
    for found in units.values():
        record = fold_unit(found, plan)
        add(moments, record if known is None else narrow(record, plan, known), plan)
    return moments


def arrivals(
    units: Mapping[str, Iterable[Event]], plan: LedgerPlan, types: Collection[str] | None = None
) -> Arrivals:
    """What arrived of all units, in any order; `types` as for `fold_unit`."""
    counts: Counter[tuple[str, ...]] = Counter()
    for unit, events in units.items():
        add_arrivals(counts, unit, events, fold_unit(events, plan, types), types)
    return {key: count for key, count in counts.items() if count}


def add_arrivals(
    counts: Counter[tuple[str, ...]],
    unit: str,
    events: Iterable[Event],
    record: UnitRecord,
    types: Collection[str] | None,
) -> None:
    """Add what arrived of one unit to `counts`, in place."""
    accepted = _once(events)
    damage = damage_of(unit)
    if damage is not None:
        counts["ids", damage] += len(accepted)
    for event in accepted:
        if event.exposure is not None:
            counts["exposures",] += 1
        else:
            kind = event.type if types is None or event.type in types else OTHER_TYPE
            counts["outcomes", kind] += 1
    for kind, count in record.types.items():
        counts["unexposed", kind] += count.unexposed
    for key, standing in record.standings.items():
        counts["early", key, standing.variant] += standing.early
        counts["counted", key, standing.variant] += standing.counted


def add(moments: Moments, record: UnitRecord, plan: LedgerPlan) -> None:
    """Add a unit's contributions to `moments`, in place."""
    for key, cell in contributions(record, plan):
        moments[key] = moments[key] + cell if key in moments else cell
