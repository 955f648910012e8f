"""Rows of a table before the query engine: every column cast by the role it plays.

Columns of plain types are cast by the engine itself; what it cannot read (mixed values, text where numbers
belong, missing or damaged values) is left to the reader of single values, which names row and column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.evidence.evidence import Subject
from switchpoint.analysis.evidence.moments import Index
from switchpoint.analysis.tables.columns import Columns
from switchpoint.analysis.tables.placement import Layout, epochs, layout
from switchpoint.experiment.definition.source import Source
from switchpoint.experiment.definition.types import DAY_MS, TOTAL_BOUND, Experiment, Spec
from switchpoint.experiment.ledger import sql
from switchpoint.experiment.ledger.columns import served_variant
from switchpoint.experiment.ledger.plan import Slot
from switchpoint.experiment.ledger.sql import Engine, Number
from switchpoint.experiment.ledger.times import MILLISECONDS, PLAIN

_DENSE = 8
"""Integer ids are ticked off on a list when their range is at most this many times their number."""
_CLEAR = 0.499
"""Distance from a whole number above which an amount may be a decimal tie."""
_EXACT_DECIMAL = 15
"""Digits of a decimal that a double holds."""


FEW = 10_000
"""Rows up to which all are grouped sooner than those that others repeat are found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where rows are counted: per place its experiment, stratum and variant, and the variant that was served
    (−1: none of the experiment's); and how many `rows` it has."""

    layout: Layout
    rows: Index
    served: Index

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """The experiments."""
        return self.layout.subjects

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Whether another variant was served than assigned."""
        return np.asarray(self.served != self.layout.variant)


@dataclass(slots=True)
class Rows:
    """The relation of a table's rows: columns by name, each loaded once."""

    engine: Engine
    columns: Columns
    relation: str = "rows"
    loaded: dict[str, Any] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    shown: int = 0

    def __post_init__(self) -> None:
        size = len(self.columns)
        self.loaded["row"] = np.arange(size, dtype=np.int32 if size < 2**31 else np.int64)

    def raw(self, column: str) -> str:
        """A column as it is."""
        if column not in self.names:
            self.names[column] = self.put(self.columns.frame[column])
        return self.names[column]

    def put(self, values: Any) -> str:
        """A column of values; only `load` shows it to the engine."""
        name = f"c{len(self.loaded)}"
        self.loaded[name] = values
        return name

    def load(self) -> None:
        """Show the engine what was put since the last time."""
        if self.shown < len(self.loaded):
            self.engine.load(self.relation, self.loaded)
            self.shown = len(self.loaded)

    def values(self, name: str, rows: Index) -> Any:
        """A column's values of some rows, of the column's type."""
        values = self.loaded[name]
        return values[rows] if isinstance(values, np.ndarray) else values[rows.tolist()]

    def key(self, column: str) -> str:
        """A column whose values tell places apart."""
        return (
            self.raw(column)
            if _plain(self.columns.frame.schema[column])
            else self.put(self.columns.codes(column))
        )

    def any(self, column: str) -> str:
        """A column whose values tell rows apart, whatever they are."""
        kind = self.columns.frame.schema[column]
        plain = _plain(kind) or _number(kind)
        return self.raw(column) if plain else self.put(self.columns.codes(column))

    def keys(self, source: Source) -> dict[str, str]:
        """What says where a row is counted, by the column it is read from."""
        named = (
            source.experiment, source.variant, source.segment, source.served, source.epoch,
            source.assignment_column,
        )  # fmt: skip
        found = {name: self.key(name) for name in dict.fromkeys(named) if name is not None}
        if source.weights_by and source.epoch is None and source.day is not None:
            found[source.day] = self.put(epochs(self.columns, source).codes)
        return found

    def identity(self, column: str) -> str:
        """A column of labels, none missing, or numbers of them: equal where the labels are."""
        return self.raw(column) if self._apart(column) else self.put(self.columns.labels(column).codes)

    def text(self, column: str) -> str:
        """A column of labels, none missing, as text."""
        if self._apart(column):
            return f"cast({self.raw(column)} as varchar)"
        labels = self.columns.labels(column)
        return self.put(np.array(labels.names, dtype=object)[labels.codes])

    def _apart(self, column: str) -> bool:
        """Whether values of a column are different where their labels are, and none is missing."""
        series = self.columns.frame[column]
        plain = series.dtype.is_integer() or isinstance(series.dtype, nw.String)
        return plain and not series.null_count()

    def times(self, column: str | None) -> tuple[str, str, int]:
        """A time in milliseconds, its UTC day number, and how many days a value stands for; 0 without one."""
        if column is None:
            return "0", "0", 0
        series = self.columns.frame[column]
        kind, missing = series.dtype, bool(series.null_count())
        if isinstance(kind, nw.Date) and not missing:
            day = f"({self.raw(column)} - date '1970-01-01')"
            return f"cast({day} as bigint) * {DAY_MS}", day, 1
        if isinstance(kind, nw.Datetime) and not missing:
            at = sql.milliseconds(self.raw(column), zone=kind.time_zone is not None)
            return at, sql.day_of(at), 1
        if kind.is_integer() and not missing and self._milliseconds(column):
            return self.raw(column), sql.day_of(self.raw(column)), 1
        found = self.columns.instants(column)
        at = self.put(found.ms)
        return at, sql.day_of(at), found.width

    def _milliseconds(self, column: str) -> bool:
        series, (least, most) = self.columns.frame[column], MILLISECONDS
        plain = self.columns.notation.times.get(column, PLAIN).form is None
        return plain and least <= int(series.min()) and int(series.max()) < most


def _plain(kind: Any) -> bool:
    """Whether an engine tells the values of a column apart as we do."""
    plain = (nw.String, nw.Categorical, nw.Enum, nw.Boolean, nw.Date, nw.Datetime)
    return isinstance(kind, plain) or kind.is_integer()


def _number(kind: Any) -> bool:
    """Whether an engine reads the numbers of a column as we do."""
    if isinstance(kind, nw.Decimal):
        return kind.precision <= _EXACT_DECIMAL
    return isinstance(kind, nw.Boolean) or kind.is_integer() or kind.is_float()


def place(rows: Rows, keys: Sequence[str], spec: Spec | Experiment, source: Source) -> Places:
    """Say where the keys of the rows are counted: the relation `places`.

    Raises:
        BadInput: see `analysis.tables.placement.layout`.
    """
    found = {name: np.array(values) for name, values in rows.engine.values(sql.places(keys)).items()}
    places = placed(rows.columns.take(found["row"]), spec, source, found["units"])
    where, numbers = places.layout, np.arange(len(found["row"]), dtype=np.int32)
    rows.engine.load("places", {
        **{name: rows.values(name, found["row"]) for name in keys}, "place": numbers,
        "subject": where.subject.astype(np.int32), "variant": where.variant.astype(np.int32),
        "wrong": places.wrong.astype(np.int32),
    })  # fmt: skip
    return places


def placed(shown: Columns, spec: Spec | Experiment, source: Source, units: Index) -> Places:
    """Where rows are counted, each with a number of units. Raises BadInput as `layout` does."""
    where = layout(shown, spec, source, units)
    return Places(layout=where, rows=units, served=_served(shown, where, source))


def _served(columns: Columns, where: Layout, source: Source) -> Index:
    """The variant that every place was served."""
    if source.served is None:
        return where.variant
    shown = columns.labels(source.served)
    known = [{name: place for place, name in enumerate(subject.variants)} for subject in where.subjects]
    met = [
        known[s].get(served_variant(source, where.subjects[s].variants[v], shown.names[code]), -1)
        for s, v, code in zip(
            where.subject.tolist(), where.variant.tolist(), shown.codes.tolist(), strict=True
        )
    ]
    return np.array(met, dtype=np.int64)


def repeated(rows: Rows, columns: Sequence[str], most: float = 1.0) -> str:
    """Which rows have the values of another one in some columns, in SQL: "" where none has, "true" where more
    than that share may as well be taken for all.

    Equal values have equal hashes, so distinct hashes are distinct values; a collision only costs time.
    """
    label = f"hash({', '.join(columns)})"
    hashes = np.sort(rows.engine.arrays(sql.of_rows({"label": label}, rows.relation))["label"])
    again = hashes[1:][hashes[1:] == hashes[:-1]]
    if len(again) > most * len(hashes):
        return "true"
    if not len(again):
        return ""
    repeats = f"repeats_in_{rows.relation}"
    rows.engine.load(repeats, {"label": np.unique(again)})
    return sql.among(label, repeats)


Asked = tuple[str, Slot]
"""A column, and how the ledger reads its numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Rows of which numbers are read: a relation with the columns of `Rows`, and which rows it holds."""

    relation: str
    rows: Callable[[], Index]


def amounts(
    rows: Rows, asked: Iterable[Asked], chosen: Chosen | None = None, **more: str
) -> tuple[dict[Asked, Number], dict[str, Any]]:
    """Numbers of rows (all, or those chosen) in minor units, rounded and clipped as the ledger does; some are
    put into `rows`. And what `more` is asked of these rows.

    Raises:
        BadInput: one that is none, naming column and row.
    """
    kinds = rows.columns.frame.schema
    plain: dict[str, set[int]] = {}
    for column, slot in asked:
        if _number(kinds[column]):
            plain.setdefault(column, set()).add(_scale(slot))
    wanted = {"rows": "count(*)", **more}
    for column, scales in plain.items():
        doubles, missing = not _integer(kinds[column]), rows.columns.frame[column].null_count() > 0
        wanted |= sql.figures(rows.raw(column), sorted(scales), doubles=doubles, missing=missing)
    rows.load()
    query = sql.of_rows(wanted, rows.relation if chosen is None else chosen.relation)
    known = {name: value[0] for name, value in rows.engine.values(query).items()}
    found: dict[Asked, Number] = {}
    for column, slot in asked:
        number = None
        if column in plain:
            number = _amount(rows.raw(column), known, slot, integer=_integer(kinds[column]))
        found[column, slot] = _read(rows, column, slot, chosen) if number is None else number
    return found, known


def _read(rows: Rows, column: str, slot: Slot, chosen: Chosen | None) -> Number:
    """Numbers read value by value; 0 outside the rows chosen."""
    if chosen is None:
        values = rows.columns.amounts(column, slot)
    else:
        some = chosen.rows()
        values = np.zeros(len(rows.columns), dtype=np.int64)
        values[some] = rows.columns.take(some).amounts(column, slot)
    return Number(sql=rows.put(values), size=int(np.abs(values).max(initial=0)))


def _scale(slot: Slot) -> int:
    return 1 if slot.value is None else 10**slot.decimals


def _integer(kind: Any) -> bool:
    return isinstance(kind, nw.Boolean) or bool(kind.is_integer())


def _amount(column: str, figures: Mapping[str, Any], slot: Slot, *, integer: bool) -> Number | None:
    """None where only reading value by value can say what is right."""
    if figures.get(f"{column}_count", figures["rows"]) < figures["rows"]:
        return None
    if not figures["rows"]:
        return Number(sql="0", size=0)
    low, high, scale = figures[f"{column}_low"], figures[f"{column}_high"], _scale(slot)
    ends = abs(low) * scale, abs(high) * scale
    if not all(end <= TOTAL_BOUND for end in ends):  # NaN fails the comparison
        return None
    if slot.value is None and (low < 0 or not (integer or figures[f"{column}_off1"] == 0)):
        return None
    if integer or slot.value is None:
        number = Number(sql=sql.whole(column, scale), size=int(max(ends)))
    else:
        cast = sql.half_even if figures[f"{column}_off{scale}"] > _CLEAR else sql.nearest
        number = Number(sql=cast(column, scale), size=int(max(ends)) + 1)
    return number if slot.cap is None else number.clipped(slot.cap)
