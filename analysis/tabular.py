"""Columns of a data frame (pandas, Polars, Arrow) as checked arrays.

Every reader names the column and the first row that cannot be read. Rows are counted from 1 in the table as
it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray

from experiment.columns import count_of, instant_of, label_of, number_of
from experiment.condition import attribute_names, compile_condition
from experiment.definition import DAY_MS
from experiment.errors import BadInput
from experiment.event import Event
from experiment.plan import Slot
from experiment.source import Source
from experiment.wording import show

T = TypeVar("T")
Index = NDArray[np.int64]
Frame = nw.DataFrame[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """A text column: `names` in order of appearance, `codes` the place of every row's name."""

    names: tuple[str, ...]
    codes: Index


@dataclass(frozen=True, slots=True, kw_only=True)
class Instants:
    """A time column: milliseconds, UTC day numbers, and how many days a value stands for."""

    ms: Index
    days: Index
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The eligible rows of a frame; `rows` are their 1-based places in the table as it was given."""

    frame: Frame
    rows: Index

    def __len__(self) -> int:
        return len(self.rows)

    def labels(self, column: str) -> Labels:
        """A text column; numbers become text."""
        codes, values = _distinct(self.frame[column].to_list())
        read = [self._meaning(column, codes, place, value, label_of) for place, value in enumerate(values)]
        merged, names = _distinct(read)
        return Labels(names=tuple(names), codes=merged[codes])

    def counts(self, column: str) -> Index:
        """Whole numbers of at least 0."""
        array = self.frame[column].to_numpy()
        if array.dtype.kind in "iub" and (not array.size or array.min() >= 0):
            return array.astype(np.int64)
        codes, values = _distinct(self.frame[column].to_list())
        read = [self._meaning(column, codes, place, value, count_of) for place, value in enumerate(values)]
        return np.array(read, dtype=np.int64)[codes]

    def numbers(self, column: str) -> NDArray[np.float64]:
        """Finite numbers."""
        array = self.frame[column].to_numpy()
        if array.dtype.kind in "iubf" and np.isfinite(array).all():
            return array.astype(np.float64)
        codes, values = _distinct(self.frame[column].to_list())
        read = [self._meaning(column, codes, place, value, number_of) for place, value in enumerate(values)]
        return np.array(read, dtype=np.float64)[codes]

    def amounts(self, column: str, slot: Slot) -> Index:
        """Integers in minor units, rounded and clipped exactly as the ledger does with events."""
        if slot.value is None:
            return self.counts(column)
        codes, values = _distinct(self.frame[column].to_list())

        def amount(value: object) -> int:
            properties = {str(slot.value): number_of(value)}
            try:
                return slot.amount(Event(id="", type=slot.event, unit="", at=0, properties=properties))
            except BadInput as error:
                raise ValueError(error.message) from error

        read = [self._meaning(column, codes, place, value, amount) for place, value in enumerate(values)]
        return np.array(read, dtype=np.int64)[codes]

    def instants(self, column: str) -> Instants:
        """Times; all rows have to stand for the same number of days."""
        series = self.frame[column]
        if isinstance(series.dtype, nw.Datetime) and not series.null_count():
            ms = series.dt.timestamp("ms").to_numpy().astype(np.int64)
            return Instants(ms=ms, days=ms // DAY_MS, width=1)
        codes, values = _distinct(series.to_list())
        read = [self._meaning(column, codes, place, value, instant_of) for place, value in enumerate(values)]
        widths = {width for _, width in read}
        if len(widths) > 1:
            raise BadInput(
                "days and weeks are mixed", field=f"column {column}", fix="write all of them the same way."
            )
        ms = np.array([when for when, _ in read], dtype=np.int64)[codes]
        return Instants(ms=ms, days=ms // DAY_MS, width=widths.pop() if widths else 1)

    def refuse(self, column: str, wrong: NDArray[np.bool_], message: str, fix: str) -> None:
        """Raise BadInput naming the first row of `wrong`, if there is one."""
        if wrong.any():
            row = int(self.rows[np.flatnonzero(wrong)[0]])
            raise BadInput(message, field=f"row {row}, column {column}", fix=fix)

    def _meaning(
        self, column: str, codes: Index, place: int, value: object, meaning: Callable[[object], T]
    ) -> T:
        try:
            return meaning(value)
        except ValueError as error:
            row = int(self.rows[np.flatnonzero(codes == place)[0]])
            raise BadInput(
                str(error), field=f"row {row}, column {column}", value=show(value),
                fix="correct the row, or leave it out with `eligible`.",
            ) from error  # fmt: skip


def _distinct(values: Sequence[Any]) -> tuple[Index, list[Any]]:
    """Codes by first appearance, and the distinct values (NaN counts as one value)."""
    seen: dict[Any, int] = {}
    codes = np.fromiter(
        (seen.setdefault((type(v), v if v == v else None), len(seen)) for v in values),  # noqa: PLR0124 - NaN ≠ NaN
        dtype=np.int64,
        count=len(values),
    )
    first = np.full(len(seen), len(values))
    np.minimum.at(first, codes, np.arange(len(values)))
    return codes, [values[place] for place in first]


def eligible_columns(native: Any, source: Source, names: Sequence[str]) -> Columns:
    """The rows of a frame that meet the source's condition, with only the columns named.

    Raises:
        BadInput: the object is no data frame.
    """
    frame = as_frame(native).select(*names)
    rows = np.arange(1, len(frame) + 1)
    if source.eligible:
        holds = compile_condition(source.eligible)
        asked = sorted(attribute_names(source.eligible))
        keep = [bool(holds(row)) for row in frame.select(*asked).iter_rows(named=True)]
        frame, rows = frame.filter(keep), rows[np.array(keep, dtype=bool)]
    return Columns(frame=frame, rows=rows)


def as_frame(native: Any) -> Frame:
    """Any eager data frame narwhals knows. Raises BadInput for anything else."""
    try:
        return nw.from_native(native, eager_only=True)
    except TypeError as error:
        raise BadInput(
            f"{type(native).__name__} is not a data frame", field="frame",
            fix="give a pandas or Polars data frame, or a pyarrow table.",
        ) from error  # fmt: skip
