"""Tables of units summed by an engine of columns, without an array entry per row.

Most tables hold a unit in one row. Their rows are grouped by variant, segment and day where they lie; what
comes back is a row per cell, read like any table. Units with several rows (visits, contamination) go the way
of `analysis.tables.visits`, they alone, and the cells of both are added. Whatever this cannot read (missing
values, text where numbers belong, damage) is left to the reader of single values, which names row and column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import narwhals.stable.v2 as nw
import numpy as np

from switchpoint.analysis.evidence.evidence import COUNTS, Cells
from switchpoint.analysis.evidence.moments import Covariates, Exact, Index, integers
from switchpoint.analysis.tables import engine
from switchpoint.analysis.tables.aggregated import Read
from switchpoint.analysis.tables.amounts import (
    CHUNK,
    Amount,
    Figures,
    amount,
    covariate,
    fits,
    in_doubles,
    product,
    wanted,
    wanted_before,
)
from switchpoint.analysis.tables.columns import Columns, Frame
from switchpoint.analysis.tables.placement import Layout, layout
from switchpoint.analysis.tables.visits import mismatches, served
from switchpoint.experiment.definition.source import Shape, Source
from switchpoint.experiment.definition.types import DAY_MS, Experiment, Metric, MetricType, Spec
from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.ledger.columns import covariate_columns, measured_columns, slot_of

_HEAD = 10_000
"""First rows in which every variant and segment is expected to appear."""
_LEAST_MS = 10**11
"""Integers from here on are milliseconds."""
_REPEATED = 0.2
"""Share of rows of repeated units up to which they are read apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One metric's amounts per row: its sides, then its covariates with their minor units."""

    metric: Metric
    sides: tuple[Amount, ...]
    before: tuple[Amount, ...]
    units: tuple[int, ...]

    def pairs(self) -> Iterator[tuple[str, Amount, Amount | None]]:
        """The factors of every sum, by its name."""
        x, *y = self.sides
        yield "x", x, None
        if self.metric.type is not MetricType.PROPORTION:
            yield "xx", x, x
        for below in y:
            yield from (("y", below, None), ("yy", below, below), ("xy", x, below))
        for i, part in enumerate(self.before):
            yield f"z{i}", part, None
            yield from ((f"zz{i}{j}", part, other) for j, other in enumerate(self.before) if j >= i)
        for s, side in enumerate(self.sides):
            yield from ((f"{s}z{i}", side, part) for i, part in enumerate(self.before))

    def named(self, factors: dict[str, nw.Expr], rows: int) -> Measured:
        """The same with every amount a column of its own; how they are computed is put into `factors`.

        Amounts whose squares are summed as integers over so many rows are made integers here, once.
        """

        def column(place: str, part: Amount) -> Amount:
            name = f"{self.metric.key}\0{place}"
            doubles = part.doubles and in_doubles(part, rows)
            factors[name] = part.expression if doubles or not part.doubles else part.integer
            return replace(part, expression=nw.col(name), doubles=doubles)

        return replace(
            self,
            sides=tuple(column(f"side {i}", part) for i, part in enumerate(self.sides)),
            before=tuple(column(f"before {i}", part) for i, part in enumerate(self.before)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouped:
    """`read` has a row per group (`n` of the table's rows each) and one per row of a repeated unit (n = 1).

    `cells` are those of the groups, `served` the variant each was served (−1: none). `visits` reads the
    `repeated` rows, those of units with several, None without any. `frame` holds all other rows, `measured`
    what they count.
    """

    read: Read
    n: Index
    cells: Cells
    served: Index
    visits: Read | None
    repeated: Index
    frame: Frame
    measured: tuple[Measured, ...]


def grouped(columns: Columns, spec: Spec | Experiment, source: Source) -> Grouped | None:
    """The table's groups; None where its rows have to be read one by one."""
    simple = source.experiment is None and source.cluster is None and source.variant is not None
    if source.shape is not Shape.UNITS or not simple or not _plain(columns.frame, source, spec.metrics):
        return None
    if any(metric.covariate is not None for metric in spec.metrics):
        return None  # rounded to its declared decimals, value by value
    frame = engine.engine(columns.frame)
    repeated = _repeated(frame, source)
    if repeated is None or (len(repeated) and source.covariate):
        return None
    figures = engine.looked_up(frame, dict(_figures(frame, spec.metrics, source)))
    measured, keys = _measured(frame, spec.metrics, source, figures), _keys(frame, source, figures)
    if measured is None:
        return None
    try:
        return _assembled(columns, frame, spec, source, measured, keys, repeated)
    except BadInput:
        return None  # said again, with its row, by the reader of single values


def _plain(frame: Frame, source: Source, metrics: Sequence[Metric]) -> bool:
    """Whether all columns are there in every row and of a kind that an engine can group and add."""
    kinds = frame.schema
    values = _value_columns(source, metrics)
    if set(values) & set(_key_columns(source)):
        return False
    before = {column for roles in source.covariate.values() for column in roles.values()}
    whole = [*_key_columns(source), *values, *([] if source.unit is None else [source.unit])]
    if any(frame[name].null_count() for name in whole):
        return False
    text = (nw.String, nw.Categorical, nw.Enum)
    return (
        all(
            isinstance(kinds[name], (*text, nw.Date, nw.Datetime)) or kinds[name].is_integer()
            for name in _key_columns(source)
        )
        and all(
            kinds[name].is_integer() or kinds[name].is_float() or isinstance(kinds[name], nw.Boolean)
            for name in {*values, *before}
        )
        and (
            source.unit is None
            or isinstance(kinds[source.unit], nw.String)
            or kinds[source.unit].is_integer()
        )
    )


def _key_columns(source: Source) -> list[str]:
    """The columns that place a row, each once."""
    named = (source.variant, source.segment, source.day, source.served, source.assignment_column)
    return list(dict.fromkeys(name for name in named if name is not None))


def _value_columns(source: Source, metrics: Sequence[Metric]) -> list[str]:
    return [column for metric in metrics for _, column, _ in measured_columns(source, metric)]


def _keys(frame: Frame, source: Source, figures: Figures) -> dict[str, nw.Expr]:
    """What rows are grouped by; times by their UTC day."""
    keys = {name: nw.col(name) for name in _key_columns(source)}
    if source.day is None:
        return keys
    kind, day = frame.schema[source.day], nw.col(source.day)
    if isinstance(kind, nw.Datetime):
        utc = day if kind.time_zone is None else day.dt.convert_time_zone("UTC")
        keys[source.day] = utc.dt.date() if frame.implementation.is_polars() else utc.dt.truncate("1d")
    elif kind.is_integer() and int(figures[f"{source.day}:low"] or 0) >= _LEAST_MS:
        keys[source.day] = day // DAY_MS * DAY_MS
    return keys


def _figures(frame: Frame, metrics: Sequence[Metric], source: Source) -> Iterator[tuple[str, nw.Expr]]:
    if source.day is not None and frame.schema[source.day].is_integer():
        yield f"{source.day}:low", nw.col(source.day).min()
    for metric in metrics:
        for measure, column, _ in measured_columns(source, metric):
            slot = slot_of(metric, measure)
            yield from wanted(frame, column, 0 if slot.value is None else slot.decimals)
        for column in source.covariate.get(metric.key, {}).values():
            yield from wanted_before(frame, column)


def _measured(
    frame: Frame, metrics: Sequence[Metric], source: Source, figures: Figures
) -> tuple[Measured, ...] | None:
    found = []
    for metric in metrics:
        sides = [
            amount(frame, column, slot_of(metric, measure), metric, figures)
            for measure, column, _ in measured_columns(source, metric)
        ]
        before = [covariate(frame, column, figures) for column in covariate_columns(source, metric)]
        if any(part is None for part in (*sides, *before)):
            return None
        found.append(
            Measured(
                metric=metric,
                sides=tuple(side for side in sides if side is not None),
                before=tuple(part[0] for part in before if part is not None),
                units=tuple(part[1] for part in before if part is not None),
            )
        )
    return tuple(found)


def _repeated(frame: Frame, source: Source) -> Index | None:
    """The rows of units that have several; None where those are too many to be an exception."""
    if source.unit is None or engine.distinct(frame, source.unit):
        return np.zeros(0, dtype=np.int64)
    rows = np.flatnonzero(frame[source.unit].is_duplicated().to_numpy())
    return rows if len(rows) <= _REPEATED * len(frame) else None


def _assembled(
    columns: Columns, frame: Frame, spec: Spec | Experiment, source: Source,
    measured: tuple[Measured, ...], keys: Mapping[str, nw.Expr], repeated: Index,
) -> Grouped:  # fmt: skip
    rest, again = frame, frame.head(0)
    if len(repeated):
        lone = np.ones(len(frame), dtype=bool)
        lone[repeated] = False
        rest, again = frame.filter(lone.tolist()), frame[repeated.tolist()]
    groups, totals = _summed(rest, keys, measured)
    places = nw.concat([groups.select(*keys), again.select(**keys)])
    order = _appearance(frame, keys, source, places)
    n = np.concatenate(
        [groups[engine.UNITS].to_numpy().astype(np.int64), np.ones(len(again), dtype=np.int64)]
    )[order]
    placed = replace(columns, frame=places[order.tolist()], places=None)
    read = Read(
        columns=placed, source=source, metrics=spec.metrics, layout=layout(placed, spec, source, n),
        instants=None if source.day is None else placed.instants(source.day), window_ms=spec.window_ms or 0,
    )  # fmt: skip
    group = order < len(groups)
    cells = _cells(read, n, group, tuple(held[order[group]] for held in totals))
    visits = None
    if len(repeated):
        where = np.argsort(order)[len(groups) :]
        rows = columns.take(repeated)
        own = read.layout
        visits = replace(
            read, columns=rows, instants=None if source.day is None else rows.instants(source.day),
            layout=Layout(
                subjects=own.subjects, subject=own.subject[where], stratum=own.stratum[where],
                variant=own.variant[where],
            ),
        )  # fmt: skip
    return Grouped(
        read=read,
        n=n,
        cells=cells,
        served=served(read)[group],
        visits=visits,
        repeated=repeated,
        frame=rest,
        measured=measured,
    )


def _summed(
    frame: Frame, keys: Mapping[str, nw.Expr], measured: Sequence[Measured]
) -> tuple[Frame, list[Exact]]:
    """The groups with their number of rows, and every metric's sums; in chunks of rows where needed."""
    rows = max(len(frame), 1)
    if not all(fits(a, b, rows) for one in measured for _, a, b in one.pairs()):
        rows = min(rows, CHUNK)
    factors: dict[str, nw.Expr] = {}
    named = [one.named(factors, rows) for one in measured]
    pairs = [(one, name, a, b) for one in named for name, a, b in one.pairs()]
    parts = {(one.metric.key, name): product(a, b, rows) for one, name, a, b in pairs}
    sums = {
        f"{key}\0{name}\0{place}": expression
        for (key, name), part in parts.items()
        for place, expression in enumerate(part.expressions)
    }
    found = [
        engine.summed(frame[start : start + rows], keys, factors, sums)
        for start in range(0, max(len(frame), 1), rows)
    ]
    groups = found[0] if len(found) == 1 else nw.concat(found)
    n = groups[engine.UNITS].to_numpy().astype(np.int64)

    def total(key: str, name: str) -> np.ndarray:
        part = parts[key, name]
        return integers(
            part.together([groups[f"{key}\0{name}\0{p}"].to_numpy() for p in range(len(part.weights))])
        )

    return groups, [
        _exact(one, n, {name: total(one.metric.key, name) for name, _, _ in one.pairs()}) for one in measured
    ]


def _exact(one: Measured, n: Index, sums: Mapping[str, np.ndarray]) -> Exact:
    zero, size = np.zeros_like(n), len(one.before)
    before = None
    if size:
        before = Covariates(
            z=tuple(sums[f"z{i}"] for i in range(size)),
            zz=tuple(sums[f"zz{i}{j}"] for i in range(size) for j in range(i, size)),
            xz=tuple(sums[f"{s}z{i}"] for s in range(len(one.sides)) for i in range(size)),
            units=one.units,
        )
    x, y, yy, xy = sums["x"], *(sums.get(name, zero) for name in ("y", "yy", "xy"))
    return Exact(metric=one.metric, n=n, x=x, xx=sums.get("xx", x), y=y, yy=yy, xy=xy, covariates=before)


def _appearance(frame: Frame, keys: Mapping[str, nw.Expr], source: Source, places: Frame) -> Index:
    """`places` in the order in which the table's rows first show them."""
    first = frame.head(_HEAD).select(**keys).unique(maintain_order=True)
    for column in (source.variant, source.segment):
        if column is not None and set(places[column].unique()) - set(first[column].unique()):
            first = frame.select(**keys).unique(maintain_order=True)
            break
    known = {row: place for place, row in enumerate(first.iter_rows())}
    position = [known.get(row, len(known)) for row in places.iter_rows()]
    return np.argsort(np.array(position, dtype=np.int64), kind="stable")


def _cells(read: Read, n: Index, group: np.ndarray, totals: tuple[Exact, ...]) -> Cells:
    counts = np.zeros((int(group.sum()), len(COUNTS)), dtype=np.int64)
    counts[:, 0] = counts[:, 1] = n[group]
    counts[:, 3] = (mismatches(read) * n)[group]
    own = read.layout
    return Cells(
        subject=own.subject[group], stratum=own.stratum[group], variant=own.variant[group],
        day=read.days[group], contaminated=np.zeros(len(counts), dtype=bool), counts=counts, totals=totals,
    )  # fmt: skip
