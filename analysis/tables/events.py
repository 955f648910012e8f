"""Two tables, exposures and outcomes, as exact sums: the reference fold of the ledger as queries.

The sentence is that of `experiment.ledger.fold`: an outcome counts when it lies in [first exposure, first
exposure + window), the first exposure being the earliest one (by time, then id). An event is counted once per
(unit, id, day); rows of a table without ids are all different events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from switchpoint.analysis.evidence.moments import Index
from switchpoint.analysis.tables.columns import Columns
from switchpoint.analysis.tables.relation import Chosen, Places, Rows, amounts, place
from switchpoint.analysis.tables.unit_sums import EXPOSURES, UnitSums, by_place, covariates
from switchpoint.experiment.definition.source import Source, Table
from switchpoint.experiment.definition.types import DAY_MS, Experiment, Measure, Metric, MetricType, Spec
from switchpoint.experiment.errors import BadInput, plainly
from switchpoint.experiment.ledger import event_sql, sql
from switchpoint.experiment.ledger.columns import slot_of
from switchpoint.experiment.ledger.plan import Slot
from switchpoint.experiment.ledger.sql import Engine, First, Grouping, Measured, Number, Roles

SHIFTS = 26
"""Hours before and after an exposure in which a shift between the clocks of two tables would show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """The sums of the units, and what became of the rows: how many outcomes there are of every type that
    metrics `read`, and of those `unread`; those read of units never exposed. Per experiment `copies` of its
    exposures and of its units' outcomes, outcomes `early` (within the hour before the first exposure),
    `before` it at any time, `after` the window and `counted` inside it, and how many happened in the `hours`
    around the first exposure, by their number (none where outcomes have no time of day).
    """

    sums: UnitSums
    read: Mapping[str, int]
    unread: Mapping[str, int]
    unexposed: int
    copies: Index
    early: Index
    before: Index
    after: Index
    counted: Index
    hours: tuple[Mapping[int, int], ...]


def folded(
    engine: Engine, columns: Columns, outcomes: Columns, spec: Spec | Experiment, source: Source
) -> Folded:
    """Fold exposures and outcomes.

    Raises:
        BadInput: a value that cannot be read (names table, column, row and value), rows that cannot be
            placed, or outcomes that only their spelling keeps from being counted.
    """
    unit, first, second = source.unit, source.exposures, source.outcomes
    if unit is None or first is None or second is None:
        raise BadInput("events need `unit`, `exposures` and `outcomes`", field="source", fix="name them.")
    rows, events = (
        Rows(engine=engine, columns=columns),
        Rows(engine=engine, columns=outcomes, relation="events"),
    )
    exposed = _exposed(rows, spec, source, first)
    kinds, timed = _joined(events, second, unit, spec.window_ms or 0)
    _refuse_other_types(spec.metrics, kinds)
    fates = engine.values(event_sql.fates())
    if not fates["subject"]:
        _refuse_other_units(columns, outcomes, unit)
    numbers = {name: place for place, name in enumerate(kinds)}
    read = {name: kinds.get(name, 0) for name in sorted(_read_types(spec.metrics))}
    met = engine.values(event_sql.met([numbers[name] for name in read if name in numbers]))["met"][0]
    every, adding = _sides(events, spec.metrics, exposed.measured, second, numbers)
    events.load()
    query, measured = event_sql.units(every, adding, len(outcomes))
    engine.run(sql.stored("counted", query))
    summed = by_place(
        engine, "with units as (select * from counted)", measured, exposed.places, exposed.grouping
    )
    sums = summed.sums(
        rows, repeated="true", day_width=exposed.day_width, clustered=source.cluster is not None
    )

    def fate(name: str) -> Index:
        """How many outcomes of every experiment."""
        counts = np.zeros(len(sums.places.subjects), dtype=np.int64)
        counts[fates["subject"]] = fates[name]
        return counts

    hours: list[dict[int, int]] = [{} for _ in sums.places.subjects]
    around = engine.values(event_sql.hours(SHIFTS)) if timed else {}
    for subject, hour, outcomes_then in zip(*around.values(), strict=True):
        hours[subject][hour] = outcomes_then
    rows_met = np.bincount(sums.places.layout.subject, weights=sums.places.rows).astype(np.int64)
    np.subtract.at(rows_met, sums.cells.subject, sums.cells.counts[:, EXPOSURES])
    return Folded(
        sums=sums, read=read, unread={name: n for name, n in sorted(kinds.items()) if name not in read},
        unexposed=sum(read.values()) - met,
        copies=rows_met + fate("copies"), early=fate("early"), before=fate("before"), after=fate("after"),
        counted=fate("counted"), hours=tuple(hours),
    )  # fmt: skip


def _read_types(metrics: Sequence[Metric]) -> set[str]:
    """The types of outcomes that metrics read."""
    sides = (side for metric in metrics for side in (metric.numerator, metric.denominator))
    return {side.event for side in sides if side is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exposed:
    """What is known of the units stored as `exposed`: their places, and their covariates."""

    places: Places
    grouping: Grouping
    measured: tuple[Measured, ...]
    day_width: int


def _exposed(rows: Rows, spec: Spec | Experiment, source: Source, table: Table) -> _Exposed:
    keys, (ms, day, width) = rows.keys(source), rows.times(table.at)
    cluster = None if source.cluster is None else rows.identity(source.cluster)
    numbers = {} if table.id is None else {"id": rows.text(table.id)}
    unit = rows.text(str(source.unit))
    rows.load()
    places = place(rows, [*keys.values()], spec, source)
    measured = []
    for metric in spec.metrics:
        past = covariates(rows, metric, source)
        numbers |= {f"z{number.sql}": number.sql for number, _ in past}
        before = tuple(Number(sql=f"z{number.sql}", size=number.size) for number, _ in past)
        units = tuple(unit for _, unit in past)
        measured.append(Measured(metric=metric, sides=(), before=before, before_units=units))
    rows.load()
    first = First(low=0, high=0, rows=len(rows.columns))
    if cluster is not None:
        ends = rows.engine.values(sql.of_rows({"low": f"min({ms})", "high": f"max({ms})"}))
        first = replace(first, low=ends["low"][0], high=ends["high"][0])
    grouping = Grouping(
        first=first, many=len(places.subjects) > 1, cluster=cluster is not None,
        window_ms=spec.window_ms or 0,
    )  # fmt: skip
    roles = Roles(keys=tuple(keys.values()), ms=ms, day=day, unit=unit, cluster=cluster, numbers=numbers)
    query, known = event_sql.exposed(measured, grouping, ids=table.id is not None)
    rows.engine.run(sql.stored("exposed", f"with placed as ({sql.placed(roles)}) {query}"))
    return _Exposed(places=places, grouping=grouping, measured=known, day_width=width)


def _joined(events: Rows, table: Table, unit: str, window_ms: int) -> tuple[dict[str, int], bool]:
    """Store as `joined` the outcomes of exposed units; returns how many outcomes there are of every type, and
    whether they have a time of day."""
    if table.type is None or table.at is None:
        raise BadInput("outcomes need `unit`, `type` and `at`", field="source.outcomes", fix="name them.")
    (ms, day, width), key = events.times(table.at), events.key(table.type)
    id_ = None if table.id is None else events.text(table.id)
    happened = event_sql.Happened(key=key, unit=events.text(unit), ms=ms, day=day, id=id_)
    events.load()
    engine = events.engine
    found = engine.values(sql.places([key], events.relation))
    first = np.array(found["row"], dtype=np.int64)
    kinds = events.columns.take(first).labels(table.type)
    engine.load("kinds", {key: events.values(key, first), "kind": kinds.codes})
    # a date without a time of day says nothing about before and after on the day of the exposure; it is read
    # as midnight, which would put every outcome of that day before it
    midnight = engine.values(sql.of_rows({"every": f"bool_and({ms} % {DAY_MS} = 0)"}, events.relation))
    opened = event_sql.beginning("exposed.ms", width) if midnight["every"][0] else "exposed.ms"
    engine.run(sql.stored("joined", happened.joined(window_ms, opened)))
    counts = np.bincount(kinds.codes, weights=found["units"], minlength=len(kinds.names))
    return dict(zip(kinds.names, counts.astype(int).tolist(), strict=True)), not midnight["every"][0]


def _sides(
    events: Rows,
    metrics: Sequence[Metric],
    before: Sequence[Measured],
    table: Table,
    kinds: Mapping[str, int],
) -> tuple[list[Measured], dict[str, tuple[int, Number]]]:
    """The metrics in the names of sums over outcomes, and per name the type of these and what each adds."""
    sums: dict[str, tuple[int, Number]] = {}
    names: dict[tuple[str, Slot], str] = {}

    def name(metric: Metric, measure: Measure) -> Number:
        slot, kind = slot_of(metric, measure), kinds.get(measure.event, -1)
        if (measure.event, slot) not in names:
            names[measure.event, slot] = f"t{len(names)}"
            number = (
                Number(sql="1", size=1) if slot.value is None else _amount(events, metric, table, slot, kind)
            )
            sums[names[measure.event, slot]] = (kind, number)
        return Number(sql=names[measure.event, slot], size=0)

    every = []
    for metric, past in zip(metrics, before, strict=True):
        below = metric.denominator if metric.type is MetricType.RATIO else None
        sides = tuple(name(metric, measure) for measure in (metric.numerator, below) if measure is not None)
        every.append(Measured(metric=metric, sides=sides, before=past.before, before_units=past.before_units))
    return every, sums


def _amount(events: Rows, metric: Metric, table: Table, slot: Slot, kind: int) -> Number:
    """What outcomes of a type add; those that do not count may have any value."""
    if table.value is None:
        raise BadInput(
            f"the metric {metric.key!r} reads an amount", field="source.outcomes.value",
            fix="name the column that holds it.",
        )  # fmt: skip
    asked, counting = (table.value, slot), event_sql.counting(kind)

    def rows() -> Index:
        return np.unique(events.engine.arrays(sql.of_rows({"row": "row"}, counting))["row"])

    return amounts(events, [asked], Chosen(relation=counting, rows=rows))[0][asked]


def _refuse_other_types(metrics: Sequence[Metric], kinds: Mapping[str, int]) -> None:
    """Outcomes that count for nothing because two spellings of a name differ are no result of 0.

    Raises:
        BadInput: a metric's type is there only in another spelling.
    """
    spelled = {_plainly(name): name for name in kinds}
    for metric in metrics:
        for measure in filter(None, (metric.numerator, metric.denominator)):
            other = spelled.get(_plainly(measure.event))
            if other is not None and measure.event not in kinds:
                raise BadInput(
                    f"no outcome has the type {measure.event!r}, {kinds[other]} have {other!r}",
                    field="source.outcomes.type", value=measure.event, fix="write it as the table does.",
                )  # fmt: skip


def _refuse_other_units(columns: Columns, outcomes: Columns, unit: str) -> None:
    """No outcome is of an exposed unit as both are written.

    Raises:
        BadInput: some would be.
    """
    exposed = {_plainly(name): name for name in columns.labels(unit).names}
    for name in outcomes.labels(unit).names:
        if _plainly(name) in exposed:
            raise BadInput(
                f"none of {len(outcomes)} outcomes is of a unit that was exposed", field=f"column {unit}",
                value=name,
                fix=f"write units alike in both tables: exposures have {exposed[_plainly(name)]!r}.",
            )  # fmt: skip


def _plainly(name: str) -> str:
    """A name without what spellings differ in: white space around it, case, leading zeros."""
    return plainly(name).lstrip("0")
