"""Two tables, exposures and outcomes, as a table of units: the reference fold on whole columns.

The sentence is that of `experiment.ledger.fold`: an outcome counts when it lies in [first exposure, first
exposure + window), the first exposure being the earliest one (by time, then id). An event is counted once per
(unit, id, day); rows of a table without ids are all different events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.evidence.moments import Index, Integers, add_into, integers
from switchpoint.analysis.tables.aggregated import Read
from switchpoint.analysis.tables.columns import Columns, Instants, Labels
from switchpoint.analysis.tables.units import Column, UnitTable
from switchpoint.analysis.tables.visits import clipped, clusters, served, with_covariates
from switchpoint.experiment.definition.source import Source, Table
from switchpoint.experiment.definition.types import DAY_MS, Measure, Metric, MetricType
from switchpoint.experiment.errors import BadInput, plainly
from switchpoint.experiment.ledger.columns import slot_of
from switchpoint.experiment.ledger.times import MONTH, QUARTER, WEEK

HOUR_MS = 3_600_000
_MONDAY = 3
"""1970 began on a Thursday: days since the week's Monday."""
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """The units (`unit`: one number for the same one in every experiment), and per experiment what became of
    the rows: `copies` of its exposures and of its units' outcomes, outcomes `early` (within the hour before
    the first exposure), `before` it at any time, and `counted` inside the window."""

    units: UnitTable
    unit: Index
    copies: Index
    early: Index
    before: Index
    counted: Index


def folded(read: Read, outcomes: Columns) -> Folded:
    """Fold exposures (the rows of `read`) and outcomes."""
    source = read.source
    if source.unit is None or source.exposures is None or source.outcomes is None or read.instants is None:
        raise BadInput("events need `unit`, `exposures` and `outcomes`", field="source", fix="name them.")
    named = read.columns.labels(source.unit)
    pairs = read.layout.subject * max(len(named.names), 1) + named.codes
    kept = _once(read.columns, source.exposures, pairs, read.instants.ms)
    order = _earliest(read.columns, source.exposures, pairs, read.instants.ms)
    order = order[kept[order]]
    first = order[np.flatnonzero(np.diff(pairs[order], prepend=-1))]
    _, unit = np.unique(pairs, return_inverse=True)
    met = served(read)
    wrong = met != read.layout.variant
    every, other = len(first), read.layout.variant != read.layout.variant[first][unit]
    events = _outcomes(read, outcomes, named.names, named.codes[first], read.instants.ms[first])
    units = UnitTable(
        subject=read.layout.subject[first], stratum=read.layout.stratum[first],
        variant=read.layout.variant[first], day=read.instants.ms[first] // DAY_MS,
        contaminated=np.bincount(unit, weights=other & kept, minlength=every) > 0,
        exposures=np.bincount(unit, weights=kept, minlength=every).astype(np.int64),
        mismatches=np.bincount(unit, weights=wrong & kept, minlength=every).astype(np.int64),
        served=met[first],
        columns=tuple(_column(read, metric, outcomes, events, first) for metric in read.metrics),
        clusters=clusters(read, first, read.instants.ms),
    )  # fmt: skip
    size, since = len(read.layout.subjects), events.since

    def of(chosen: Mask, unit: Index) -> Index:
        """Outcomes of every experiment among those chosen."""
        return np.bincount(units.subject[unit[chosen]], minlength=size)

    early = (since < 0) & (since >= -HOUR_MS)
    return Folded(
        units=units, unit=named.codes[first],
        copies=np.bincount(read.layout.subject[~kept], minlength=size)
        + of(np.ones(len(events.copies), dtype=bool), events.copies),
        early=of(early, events.unit), before=of(since < 0, events.unit),
        counted=of(events.inside, events.unit),
    )  # fmt: skip


def _once(columns: Columns, table: Table, unit: Index, at: Index) -> Mask:
    """Rows that are the first with their unit, id and day."""
    if table.id is None:
        return np.ones(len(columns), dtype=bool)
    ids = columns.labels(table.id)
    key = np.stack([unit, ids.codes, at // DAY_MS])
    _, first = np.unique(key, axis=1, return_index=True)
    kept = np.zeros(len(columns), dtype=bool)
    kept[first] = True
    return kept


def _earliest(columns: Columns, table: Table, pairs: Index, at: Index) -> Index:
    """Rows by unit, then time, then id (or place)."""
    place = np.arange(len(columns))
    if table.id is not None:
        ids = columns.labels(table.id)
        alphabetic = sorted(range(len(ids.names)), key=ids.names.__getitem__)
        place = np.argsort(np.array(alphabetic, dtype=np.int64))[ids.codes]
    return np.lexsort((place, at, pairs))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcomes:
    """Outcome rows beside the units they are of: `row`, `unit` and time `since` its first exposure; `copies`
    are the units of outcomes that came more than once."""

    row: Index
    unit: Index
    since: Index
    inside: Mask
    kinds: tuple[str, ...]
    kind: Index
    copies: Index


def _outcomes(
    read: Read, outcomes: Columns, names: Sequence[str], units: Index, first_at: Index
) -> _Outcomes:
    """Every outcome with every experiment of its unit."""
    source, table = read.source, read.source.outcomes
    if source.unit is None or table is None or table.type is None or table.at is None:
        raise BadInput("outcomes need `unit`, `type` and `at`", field="source.outcomes", fix="name them.")
    known = {name: code for code, name in enumerate(names)}
    labels = outcomes.labels(source.unit)
    code = np.array([known.get(name, -1) for name in labels.names], dtype=np.int64)[labels.codes]
    kinds = outcomes.labels(table.type)
    _refuse_other_spellings(read, kinds, labels, names)
    instants = outcomes.instants(table.at)
    at, first_at = instants.ms, _as_finely(first_at, instants)
    kept = _once(outcomes, table, labels.codes, at)
    order = np.argsort(units, kind="stable")
    row, unit = _units_of(np.flatnonzero(kept & (code >= 0)), code, units, order)
    since = at[row] - first_at[unit]
    inside = (since >= 0) & ((since < read.window_ms) if read.window_ms else True)
    return _Outcomes(
        row=row, unit=unit, since=since, inside=inside, kinds=kinds.names, kind=kinds.codes[row],
        copies=_units_of(np.flatnonzero(~kept & (code >= 0)), code, units, order)[1],
    )  # fmt: skip


def _as_finely(first_at: Index, outcomes: Instants) -> Index:
    """Times of first exposures, as exact as those of the outcomes: the beginning of their day or period.

    A date without a time of day says nothing about before and after on the day of the exposure; it is read as
    midnight, which would put every outcome of that day before it.
    """
    if (outcomes.ms % DAY_MS).any():
        return first_at
    days = first_at // DAY_MS
    if outcomes.width in {MONTH, QUARTER}:
        months = first_at.astype("datetime64[ms]").astype("datetime64[M]")
        months -= months.astype(np.int64) % 3 if outcomes.width == QUARTER else 0
        return months.astype("datetime64[ms]").astype(np.int64)
    return (days - ((days + _MONDAY) % WEEK if outcomes.width == WEEK else 0)) * DAY_MS


def _refuse_other_spellings(read: Read, kinds: Labels, units: Labels, names: Sequence[str]) -> None:
    """Outcomes that count for nothing because two spellings of a name differ are no result of 0.

    Raises:
        BadInput: a metric's type is there only in another spelling; no outcome is of an exposed unit as both
            are written, and some would be.
    """
    spelled = {_plainly(name): name for name in kinds.names}
    for metric in read.metrics:
        for measure in filter(None, (metric.numerator, metric.denominator)):
            other = spelled.get(_plainly(measure.event))
            if other is not None and measure.event not in kinds.names:
                count = int((kinds.codes == kinds.names.index(other)).sum())
                raise BadInput(
                    f"no outcome has the type {measure.event!r}, {count} have {other!r}",
                    field="source.outcomes.type", value=measure.event, fix="write it as the table does.",
                )  # fmt: skip
    if units.names and not {*units.names} & {*names}:
        exposed = {_plainly(name): name for name in names}
        for name in units.names:
            if _plainly(name) in exposed:
                raise BadInput(
                    f"none of {len(units.codes)} outcomes is of a unit that was exposed",
                    field=f"column {read.source.unit}", value=name,
                    fix=f"write units alike in both tables: exposures have {exposed[_plainly(name)]!r}.",
                )  # fmt: skip


def _plainly(name: str) -> str:
    """A name without what spellings differ in: white space around it, case, leading zeros."""
    return plainly(name).lstrip("0")


def _units_of(rows: Index, code: Index, units: Index, order: Index) -> tuple[Index, Index]:
    """Every row with each unit (one per experiment) that has its code; `order` sorts `units`."""
    start = np.searchsorted(units[order], code[rows], side="left")
    width = np.searchsorted(units[order], code[rows], side="right") - start
    offset = np.arange(width.sum()) - np.repeat(np.cumsum(width) - width, width)
    return np.repeat(rows, width), order[np.repeat(start, width) + offset]


def _column(read: Read, metric: Metric, outcomes: Columns, events: _Outcomes, first: Index) -> Column:
    sides = [_side(metric, metric.numerator, read.source, outcomes, events, len(first))]
    if metric.type is MetricType.RATIO and metric.denominator is not None:
        sides.append(_side(metric, metric.denominator, read.source, outcomes, events, len(first)))
    column = Column(sides=tuple(clipped(metric, side) for side in sides))
    return with_covariates(column, read, metric, first)


def _side(
    metric: Metric, measure: Measure, source: Source, outcomes: Columns, events: _Outcomes, units: int
) -> Integers:
    """The units' totals of one measure."""
    of_kind = np.array([kind == measure.event for kind in events.kinds], dtype=bool)
    mine = events.inside & of_kind[events.kind]
    slot = slot_of(metric, measure)
    if slot.value is None:
        return np.asarray(add_into(np.ones(int(mine.sum()), dtype=np.int64), events.unit[mine], (units,)))
    column = source.outcomes.value if source.outcomes is not None else None
    if column is None:
        raise BadInput(
            f"the metric {metric.key!r} reads an amount", field="source.outcomes.value",
            fix="name the column that holds it.",
        )  # fmt: skip
    rows, where = np.unique(events.row[mine], return_inverse=True)
    amounts = outcomes.take(rows).amounts(column, slot)
    return np.asarray(add_into(integers(amounts[where]), events.unit[mine], (units,)))
