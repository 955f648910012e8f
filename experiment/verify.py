"""Proof of exactness: fold the whole log and compare it with what the ledger keeps, integer for integer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import NamedTuple

from experiment.definition import DAY_MS
from experiment.errors import Conflict, Corrupt
from experiment.event import Event
from experiment.fold import DimensionValues, LedgerPlan, UnitRecord, add, fold_unit, narrow
from experiment.moments import Cell, CellKey, Moments
from experiment.store.ledger import Ledger

_ATTEMPTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """One place where ledger and log differ; `problem` says it in a sentence with both values.

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
    """Settle what is pending; a broken cell or record that stops it is compared all the same."""
    try:
        ledger.refold(plan)
    except Corrupt as error:
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
    return _Live(cells, unreadable, dict(ledger.units(plan)), ledger.dimension_values(plan))


def _compare(log: dict[str, list[Event]], live: _Live, plan: LedgerPlan) -> Iterator[Mismatch]:
    folded: Moments = {}
    wrong_units = []
    for unit, events in log.items():
        record = narrow(fold_unit(events, plan), plan, live.values)
        add(folded, record, plan)
        if live.records.get(unit) != record:
            wrong_units.append(_unit_mismatch(unit, events, live.records, record))
    for key, problem in live.unreadable.items():
        yield Mismatch(problem=problem, experiment=key)
    for place in sorted(folded.keys() | live.cells.keys()):
        if place.experiment not in live.unreadable and live.cells.get(place) != folded.get(place):
            yield _cell_mismatch(place, live.cells.get(place), folded.get(place))
    yield from wrong_units
    for unit in live.records.keys() - log.keys():
        yield Mismatch(
            problem=f"unit {unit} has a record but no event on the log", unit=unit, live=live.records[unit]
        )


def _cell_mismatch(place: CellKey, live: Cell | None, folded: Cell | None) -> Mismatch:
    parts = [place.experiment, f"epoch {place.epoch}", place.segment, place.variant, _day(place.day)]
    if place.dimension:
        parts.append(f"{place.dimension}={place.value}")
    if place.contaminated:
        parts.append("contaminated")
    return Mismatch(
        problem=f"cell {' · '.join(parts)}: ledger {_shown(live)}, log {_shown(folded)}",
        experiment=place.experiment,
        cell=place,
        live=live,
        folded=folded,
    )


def _unit_mismatch(
    unit: str, events: list[Event], records: dict[str, UnitRecord | None], folded: UnitRecord
) -> Mismatch:
    first = min(events, key=attrgetter("at", "id"))
    live = records.get(unit)
    if live is None:
        difference = "its record cannot be read" if unit in records else "it has no record"
    else:
        difference = "; ".join(
            f"{name}: ledger {_shown(a)}, log {_shown(b)}" for name, a, b in _differences(live, folded)
        )
    return Mismatch(
        problem=f"unit {unit}, first event {first.id} at {_time(first.at)}: {difference}",
        unit=unit,
        first_event=first,
        live=live,
        folded=folded,
    )


def _differences(live: UnitRecord, folded: UnitRecord) -> Iterator[tuple[str, object, object]]:
    for name in ("events", "latest"):
        if getattr(live, name) != getattr(folded, name):
            yield name, getattr(live, name), getattr(folded, name)
    for key in sorted(live.standings.keys() | folded.standings.keys()):
        if live.standings.get(key) != folded.standings.get(key):
            yield f"in {key}", live.standings.get(key), folded.standings.get(key)


def _shown(value: object) -> str:
    return "nothing" if value is None else str(value)


def _day(day: int) -> str:
    return _time(day * DAY_MS)[:10]


def _time(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")
