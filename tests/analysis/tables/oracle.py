"""A table of units summed in plain Python, unit by unit: what every query has to say to the last integer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from switchpoint.analysis.evidence.evidence import Cells, Evidence
from switchpoint.experiment.definition.source import Source
from switchpoint.experiment.definition.types import DAY_MS, Metric, MetricType, Spec
from switchpoint.experiment.ledger.columns import (
    covariate_columns,
    label_of,
    measured_columns,
    served_variant,
    slot_of,
)
from switchpoint.experiment.ledger.event import Event
from switchpoint.experiment.ledger.numbers import number_of
from switchpoint.experiment.ledger.plan import Slot
from switchpoint.experiment.ledger.times import PLAIN

Row = Mapping[str, Any]
Sums = dict[tuple[str, str, str, int, bool], tuple[int, ...]]
"""The integers of every cell: experiment, segment, variant, day, contaminated."""
PARTS = ("n", "x", "xx", "y", "yy", "xy")


@dataclass(frozen=True)
class Unit:
    """One unit, or one cluster: where it counts, and per metric its sides and covariates."""

    place: tuple[str, str, str, int]
    contaminated: bool
    exposures: int
    mismatches: int
    sides: list[list[int]]
    before: list[list[int]]
    cluster: tuple[str, str] | None = None
    served: str = ""
    order: tuple[int, int] = (0, 0)


def expected(rows: Sequence[Row], spec: Spec) -> tuple[Sums, Sums]:
    """The cells, and those by the variants that were served."""
    assert spec.source is not None
    every = [*_units(rows, spec, spec.source)]
    if spec.source.cluster is not None:
        return _cells(_clusters(every, spec.metrics)), {}
    known: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        known[_label(row, spec.source.experiment, "table")].add(_label(row, spec.source.variant, ""))
    met = [
        Unit((*u.place[:2], u.served, u.place[3]), False, u.exposures, u.mismatches, u.sides, u.before)
        for u in every
        if u.served in known[u.place[0]]
    ]
    return _cells(every), _cells(met) if any(u.mismatches for u in every) else {}


def _units(rows: Sequence[Row], spec: Spec, source: Source) -> Iterable[Unit]:
    visits: dict[tuple[str, str], list[tuple[tuple[int, int], Row]]] = defaultdict(list)
    for number, row in enumerate(rows):
        when = 0 if source.day is None else PLAIN.instant(row[source.day])[0]
        unit = f"row {number}" if source.unit is None else _label(row, source.unit, "")
        visits[_label(row, source.experiment, "table"), unit].append(((when, number), row))
    for (experiment, _), own in visits.items():
        own.sort(key=lambda visit: visit[0])
        order, first = own[0]
        variant = _label(first, source.variant, "")
        window = spec.window_ms or 0
        inside = [row for (when, _), row in own if not window or when - order[0] < window]
        yield Unit(
            place=(experiment, _label(first, source.segment, "all"), variant, order[0] // DAY_MS),
            contaminated=any(_label(row, source.variant, "") != variant for _, row in own),
            exposures=len(own),
            mismatches=sum(_served(row, source) != _label(row, source.variant, "") for _, row in own),
            sides=[_sides(metric, source, inside) for metric in spec.metrics],
            before=[_before(metric, source, first) for metric in spec.metrics],
            cluster=None if source.cluster is None else (experiment, _label(first, source.cluster, "")),
            served=_served(first, source),
            order=order,
        )


def _label(row: Row, column: str | None, otherwise: str) -> str:
    return otherwise if column is None else label_of(row[column])


def _served(row: Row, source: Source) -> str:
    variant = _label(row, source.variant, "")
    return variant if source.served is None else served_variant(source, variant, label_of(row[source.served]))


def _sides(metric: Metric, source: Source, rows: Sequence[Row]) -> list[int]:
    found = []
    for measure, column, _ in measured_columns(source, metric):
        total = sum(_amount(row[column], slot_of(metric, measure)) for row in rows)
        ones = metric.type is MetricType.PROPORTION
        found.append(int(total > 0) if ones else max(-metric.cap, min(metric.cap, total)))
    return found


def _amount(value: object, slot: Slot) -> int:
    number = number_of(value)
    if slot.value is None:
        return int(number)
    return slot.amount(Event(id="", type=slot.event, unit="", at=0, properties={slot.value: number}))


def _before(metric: Metric, source: Source, first: Row) -> list[int]:
    """Of metrics that declare the decimals of their covariate."""
    if metric.covariate is None:
        return []
    slot = Slot("", "value", metric.covariate.decimals)
    return [_amount(first[column] or 0, slot) for column in covariate_columns(source, metric)]


def _clusters(units: Sequence[Unit], metrics: Sequence[Metric]) -> list[Unit]:
    members: dict[object, list[Unit]] = defaultdict(list)
    for unit in sorted(units, key=lambda unit: unit.order):
        members[unit.cluster].append(unit)
    found = []
    for own in members.values():
        first = own[0]
        sides = [
            [sum(column) for column in zip(*(u.sides[m] for u in own), strict=True)]
            for m in range(len(metrics))
        ]
        before = [
            [sum(column) for column in zip(*(u.before[m] for u in own), strict=True)]
            for m in range(len(metrics))
        ]
        found.append(
            Unit(
                place=first.place,
                contaminated=any(u.contaminated or u.place[2] != first.place[2] for u in own),
                exposures=sum(u.exposures for u in own),
                mismatches=sum(u.mismatches for u in own),
                sides=[[*side, len(own)][:2] for side in sides],
                before=[[*past, len(own)][:2] if past else [] for past in before],
            )
        )
    return found


def _cells(units: Iterable[Unit]) -> Sums:
    cells: dict[tuple[str, str, str, int, bool], list[list[int]]] = defaultdict(list)
    for unit in units:
        numbers = [1, unit.exposures, 0, unit.mismatches, 0]
        for sides, before in zip(unit.sides, unit.before, strict=True):
            x, y = (*sides, 0)[:2]
            numbers += [1, x, x * x, y, y * y, x * y, *before]
            numbers += [a * b for i, a in enumerate(before) for b in before[i:]]
            numbers += [side * past for side in sides for past in before]
        cells[*unit.place, unit.contaminated].append(numbers)
    return {place: tuple(map(sum, zip(*own, strict=True))) for place, own in cells.items()}


def held(evidence: Evidence, cells: Cells | None) -> Sums:
    """Every integer of cells by the names of their place, each there once."""
    found: Sums = {}
    for i in range(0 if cells is None else len(cells.day)):
        assert cells is not None
        subject = evidence.subjects[int(cells.subject[i])]
        place = (
            subject.key, subject.strata[int(cells.stratum[i])].segment, subject.variants[int(cells.variant[i])],
            int(cells.day[i]), bool(cells.contaminated[i]),
        )  # fmt: skip
        assert place not in found
        numbers = [*map(int, cells.counts[i])]
        for totals in cells.totals:
            numbers += [int(getattr(totals, part)[i]) for part in PARTS]
            past = getattr(totals, "covariates")  # noqa: B009
            if past is not None:
                numbers += [int(part[i]) for group in (past.z, past.zz, past.xz) for part in group]
        found[place] = tuple(numbers)
    return found
