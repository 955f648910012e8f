"""Proof of exactness: fold the whole log and compare it with what the ledger keeps, integer for integer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from operator import attrgetter
from typing import NamedTuple

from switchpoint.experiment.definition.types import DAY_MS
from switchpoint.experiment.errors import Conflict, Corrupt, StoreUnavailable
from switchpoint.experiment.ledger.event import Event
from switchpoint.experiment.ledger.fold import (
    TYPES,
    Arrivals,
    DimensionValues,
    LedgerPlan,
    Standing,
    UnitRecord,
    add,
    add_arrivals,
    fold_unit,
    narrow,
)
from switchpoint.experiment.ledger.moments import Cell, CellKey, Moments
from switchpoint.experiment.ledger.plan import ExperimentPlan
from switchpoint.experiment.ledger.protocol import Ledger

_ATTEMPTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """One place where ledger and log differ; `problem` names the parts that differ, with both values.

    `cell` names a cell, `unit` a unit, with `first_event` its earliest event on the log. `live` and `folded`
    are None where there is nothing, or where the live bytes cannot be read.
    """

    problem: str
    experiment: str = ""
    cell: CellKey | None = None
    unit: str | None = None
    first_event: Event | None = None
    live: Cell | UnitRecord | None = None
    folded: Cell | UnitRecord | None = None


class _Live(NamedTuple):
    cells: Moments
    unreadable: dict[str, str]
    records: dict[str, UnitRecord | None]
    values: DimensionValues
    arrivals: Arrivals


def verify(ledger: Ledger, plan: LedgerPlan) -> list[Mismatch]:
    """Every difference between the ledger and the fold of its log: cells first, then units; [] is proof.

    Pending units are refolded first. The log is held in memory (about 1 kB per event). Events that arrive
    meanwhile are read as well, until the ledger stands still for one reading of its cells and records.

    Raises:
        Conflict: it never stood still; verify again with less traffic.
        StoreUnavailable, Corrupt: the log itself cannot be read.
    """
    log: dict[str, list[Event]] = {}
    read: dict[str, str] = {}
    for _ in range(_ATTEMPTS):
        stuck = _refold(ledger, plan)
        position = ledger.position()
        for event in ledger.events(read):
            log.setdefault(event.unit, []).append(event)
        read = position  # what lies behind it and was read already is a duplicate to the fold
        live = _live(ledger, plan)
        if ledger.position() == position:
            return [*stuck, *_compare(log, live, plan)]
    raise Conflict("events keep arriving while the ledger is read. Fix: verify again with less traffic")


def _refold(ledger: Ledger, plan: LedgerPlan) -> list[Mismatch]:
    """Settle what is pending; where a broken record or the store stops it, all is compared all the same."""
    try:
        ledger.refold(plan)
    except (Corrupt, StoreUnavailable) as error:
        return [Mismatch(problem=f"{ledger.pending()} pending units cannot be refolded: {error}")]
    return []


def _live(ledger: Ledger, plan: LedgerPlan) -> _Live:
    cells: Moments = {}
    unreadable = {}
    for key in plan.by_key:
        try:
            cells |= ledger.moments(key, plan)
        except Corrupt as error:
            unreadable[key] = str(error)
    values = ledger.dimension_values(plan)
    try:
        arrivals = ledger.arrivals(plan)
    except Corrupt as error:
        unreadable[""] = str(error)
        arrivals = {}
    return _Live(cells, unreadable, dict(ledger.units(plan)), values, arrivals)


def _compare(log: dict[str, list[Event]], live: _Live, plan: LedgerPlan) -> Iterator[Mismatch]:
    folded: Moments = {}
    wrong_units = []
    types = live.values[TYPES]
    arrived: Counter[tuple[str, ...]] = Counter()
    for unit, events in log.items():
        record = narrow(fold_unit(events, plan, types), plan, live.values)
        add(folded, record, plan)
        add_arrivals(arrived, unit, events, record, types)
        if live.records.get(unit) != record:
            wrong_units.append(_unit_mismatch(unit, events, live.records, record, plan))
    for key, problem in live.unreadable.items():
        yield Mismatch(problem=problem, experiment=key)
    for place in sorted(folded.keys() | live.cells.keys()):
        if place.experiment not in live.unreadable and live.cells.get(place) != folded.get(place):
            found, expected = live.cells.get(place), folded.get(place)
            yield _cell_mismatch(place, found, expected, plan.by_key[place.experiment])
    if "" not in live.unreadable:
        for counted in sorted(arrived.keys() | live.arrivals.keys()):
            mine, theirs = live.arrivals.get(counted, 0), arrived[counted]
            if mine != theirs:
                yield Mismatch(problem=f"count {' '.join(counted)}: ledger {mine}, log {theirs}")
    yield from wrong_units
    for unit in live.records.keys() - log.keys():
        yield Mismatch(
            problem=f"unit {unit} has a record but no event on the log", unit=unit, live=live.records[unit]
        )


def _cell_mismatch(place: CellKey, live: Cell | None, folded: Cell | None, plan: ExperimentPlan) -> Mismatch:
    parts = [
        f"experiment {place.experiment}", f"epoch {place.epoch}", f"segment {place.segment}",
        f"variant {place.variant}", f"first exposed {_day(place.day)}",
    ]  # fmt: skip
    if place.dimension:
        parts.append(f"{place.dimension}={place.value}")
    if place.contaminated:
        parts.append("contaminated")
    return Mismatch(
        problem=f"cell {' · '.join(parts)}: {_contrast(_cell_parts(live, plan), _cell_parts(folded, plan))}",
        experiment=place.experiment,
        cell=place,
        live=live,
        folded=folded,
    )


def _unit_mismatch(
    unit: str,
    events: list[Event],
    records: dict[str, UnitRecord | None],
    folded: UnitRecord,
    plan: LedgerPlan,
) -> Mismatch:
    first = min(events, key=attrgetter("at", "id"))
    live = records.get(unit)
    if live is None:
        difference = "its record cannot be read" if unit in records else "it has no record"
    else:
        difference = _record_contrast(live, folded, plan)
    return Mismatch(
        problem=f"unit {unit}, first event {first.id} at {_time(first.at)}: {difference}",
        unit=unit,
        first_event=first,
        live=live,
        folded=folded,
    )


def _contrast(live: Mapping[str, object], folded: Mapping[str, object]) -> str:
    """The parts that differ, each with both values; a side without parts does not have the thing at all."""
    if not live or not folded:
        there, absent = ("log", "ledger") if not live else ("ledger", "log")
        shown = ", ".join(f"{name} {value}" for name, value in (live or folded).items() if value)
        return f"not in the {absent}; {there}: {shown}"
    return "; ".join(
        f"{name}: ledger {live.get(name, 'nothing')}, log {folded.get(name, 'nothing')}"
        for name in dict.fromkeys((*live, *folded))
        if live.get(name) != folded.get(name)
    )


_SUMS = ("sum", "sum of squares", "denominator's sum", "denominator's sum of squares", "sum of products")


def _cell_parts(cell: Cell | None, plan: ExperimentPlan) -> dict[str, object]:
    """The counts and sums of a cell by names for people; {} without one."""
    if cell is None:
        return {}
    parts: dict[str, object] = {"units": cell.n}
    parts |= {name: getattr(cell, name) for name in ("exposures", "fallbacks", "mismatches", "carried")}
    for number, (metric, sums) in enumerate(zip(plan.metrics, cell.metrics, strict=True), 1):
        measured = [_slot(plan, at) for at in (metric.x, metric.y) if at is not None]
        name = f"metric {number} ({' per '.join(measured)})"
        parts |= {f"{name} {part}": value for part, value in zip(_SUMS, sums, strict=True)}
    adjusted = [number for number, metric in enumerate(plan.metrics, 1) if metric.covariates]
    parts |= {
        f"metric {number} covariate sum {place}": value
        for number, found in zip(adjusted, cell.covariates, strict=True)
        for place, value in enumerate(found, 1)
    }
    return parts


def _record_contrast(live: UnitRecord, folded: UnitRecord, plan: LedgerPlan) -> str:
    """What differs of a unit as a whole, then of where it stands in each experiment."""
    found = [_contrast(_unit_parts(live), _unit_parts(folded))]
    for key in sorted(live.standings.keys() | folded.standings.keys()):
        mine, theirs = live.standings.get(key), folded.standings.get(key)
        if mine != theirs:
            own = plan.by_key[key]
            found.append(f"in {key}: {_contrast(_standing_parts(mine, own), _standing_parts(theirs, own))}")
    return "; ".join(filter(None, found))


def _unit_parts(record: UnitRecord) -> dict[str, object]:
    return {
        "events": record.events,
        "latest outcome": _time(record.latest) if record.latest else "none",
        **{f"recent {kind or 'others'}": tuple(count) for kind, count in record.types.items()},
    }


def _standing_parts(standing: Standing | None, plan: ExperimentPlan) -> dict[str, object]:
    """The parts of a standing by names for people; {} without one."""
    if standing is None:
        return {}
    parts: dict[str, object] = {"first exposure": _time(standing.first_at)}
    for field in fields(standing):
        if field.name not in {"first_at", "values", "totals", "covariates"}:
            parts[field.name] = getattr(standing, field.name)
    parts |= dict(zip(plan.dimensions, (value or "none" for value in standing.values), strict=True))
    known = zip(plan.covariates, standing.covariates, strict=True)
    parts |= {f"covariate {covariate.name}": value for covariate, value in known}
    return parts | {f"total of {_slot(plan, at)}": total for at, total in enumerate(standing.totals)}


def _slot(plan: ExperimentPlan, at: int) -> str:
    slot = plan.slots[at]
    return f"{slot.event}.{slot.value}" if slot.value else slot.event


def _day(day: int) -> str:
    return _time(day * DAY_MS)[:10]


def _time(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")
