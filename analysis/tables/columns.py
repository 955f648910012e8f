"""Columns of a data frame (pandas, Polars, Arrow) as checked arrays.

Every reader names the column and the first row that cannot be read. Rows are counted from 1 in the table as
it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Decimal
from functools import partial
from typing import Any, TypeVar

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.evidence.moments import Integers, integers
from switchpoint.experiment.definition.condition import attribute_names, compile_condition
from switchpoint.experiment.definition.source import TIDY, Source
from switchpoint.experiment.definition.types import DAY_MS, TOTAL_BOUND
from switchpoint.experiment.errors import BadInput, plainly, show
from switchpoint.experiment.ledger.columns import (
    TYPED,
    Notation,
    advice,
    label_of,
    notation_of,
    number_columns,
    time_columns,
)
from switchpoint.experiment.ledger.event import Event
from switchpoint.experiment.ledger.numbers import count_of, number_of
from switchpoint.experiment.ledger.plan import Slot
from switchpoint.experiment.ledger.times import PERIODS

T = TypeVar("T")
_TIE = 1e-3
"""Distance from one half within which a scaled amount of at most 2^40 may be a decimal tie."""
COVARIATE_BOUND = 2.0**31
"""Covariates keep as many digits as squares and their sums leave room for."""
_MEASURED = {1: (1e-30, 1e20), 2: (1e-60, 1e40)}
"""Ends of what a measured mean (and its square, a variance) may be, unless 0: doubles hold their products."""
_FEW = 2000
"""Rows up to which a dictionary codes a column of texts sooner than its library starts to."""
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
    """The eligible rows of a frame; `places` are their places in the table as it was given, None for all.

    `table` names it in errors, where there is a second one; `notation` is how its texts write numbers and
    times.
    """

    frame: Frame
    places: Index | None = None
    table: str = ""
    notation: Notation = TYPED

    def __len__(self) -> int:
        return len(self.frame)

    def row(self, place: int) -> int:
        """The 1-based row of the table as it was given."""
        return (place if self.places is None else int(self.places[place])) + 1

    def meets(self, condition: Mapping[str, Any]) -> NDArray[np.bool_]:
        """Rows that meet a condition; one on a single column is asked once per distinct value."""
        holds, asked = compile_condition(condition), sorted(attribute_names(condition))
        if len(asked) == 1:
            codes, values = coded(self.frame[asked[0]])
            said = [self.notation.compared({asked[0]: value}) for value in values]
            return np.array([bool(holds(row)) for row in said], dtype=bool)[codes]
        rows = map(self.notation.compared, self.frame.select(*asked).iter_rows(named=True))
        return np.fromiter((bool(holds(row)) for row in rows), dtype=bool, count=len(self))

    def take(self, places: Index) -> Columns:
        """Some of the rows, still counted as in the table as it was given."""
        kept = places if self.places is None else self.places[places]
        return replace(self, frame=self.frame[places.tolist()], places=kept)

    def codes(self, column: str) -> Index:
        """A number per distinct value of a column, whatever it holds."""
        return coded(self.frame[column])[0]

    def ids(self, column: str) -> Index:
        """A number per distinct label; the labels are not read where the type keeps them apart."""
        series = self.frame[column]
        plain = series.dtype.is_integer() or isinstance(series.dtype, nw.String)
        return coded(series)[0] if plain and not series.null_count() else self.labels(column).codes

    def labels(self, column: str) -> Labels:
        """A text column; numbers become text."""
        codes, values = coded(self.frame[column])
        read = [self._meaning(column, codes, place, value, label_of) for place, value in enumerate(values)]
        merged, names = _distinct(read)
        return Labels(names=tuple(names), codes=merged[codes])

    def texts(self, column: str) -> tuple[str, ...]:
        """The labels of a text column that can be read, in order of appearance."""
        found = (_label(value) for value in coded(self.frame[column])[1])
        return tuple(dict.fromkeys(name for name in found if name is not None))

    def among(self, column: str, names: Sequence[str]) -> Index:
        """The place of every row's label among `names`; −1 where it is none of them or cannot be read."""
        codes, values = coded(self.frame[column])
        known = {name: place for place, name in enumerate(names)}
        return np.array([known.get(_label(value) or "", -1) for value in values], dtype=np.int64)[codes]

    def counts(self, column: str) -> Index:
        """Whole numbers from 0 to 2^40, as many as the ledger counts in one sum."""
        array = self.frame[column].to_numpy()
        if array.dtype.kind in "iub" and (not array.size or 0 <= array.min() <= array.max() <= TOTAL_BOUND):
            return array.astype(np.int64)
        codes, values = _distinct(self.frame[column].to_list())

        def count(value: object) -> int:
            found = count_of(self.notation.number(column, value))
            if found > TOTAL_BOUND:
                raise ValueError(f"{value} is beyond 2^40")
            return found

        read = [self._meaning(column, codes, place, value, count) for place, value in enumerate(values)]
        return np.array(read, dtype=np.int64)[codes]

    def numbers(
        self, column: str, power: int = 1, where: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        """Numbers that are 0 or of a size whose products doubles hold; variances have the `power` 2.

        Rows outside `where` are not looked at, and 0.
        """
        cells = self.frame[column].to_list()
        if where is not None:
            cells = [cell if there else 0 for cell, there in zip(cells, where.tolist(), strict=True)]
        codes, values = _distinct(cells)
        least, most = _MEASURED[power]

        def number(value: object) -> float:
            found = number_of(self.notation.number(column, value))
            if not (found == 0 or least <= abs(found) <= most):
                size = f"beyond {most:g}" if abs(found) > most else f"below {least:g} and not 0"
                raise ValueError(f"{value} is {size}: measure the metric in another unit")
            return float(found)

        read = [self._meaning(column, codes, place, value, number) for place, value in enumerate(values)]
        return np.array(read, dtype=np.float64)[codes]

    def amounts(self, column: str, slot: Slot) -> Index:
        """Integers in minor units, rounded and clipped exactly as the ledger does with events."""
        if slot.value is None:
            return self.counts(column)
        quick = _minor_units(self.frame[column].to_numpy(), slot)
        if quick is not None:
            return quick
        codes, values = _distinct(self.frame[column].to_list())

        def amount(value: object) -> int:
            properties = {str(slot.value): number_of(self.notation.number(column, value))}
            try:
                return slot.amount(Event(id="", type=slot.event, unit="", at=0, properties=properties))
            except BadInput as error:
                raise ValueError(error.message) from error

        read = [self._meaning(column, codes, place, value, amount) for place, value in enumerate(values)]
        return np.array(read, dtype=np.int64)[codes]

    def sums(self, column: str, decimals: int, power: int = 1) -> Integers:
        """Sums over many units in units of 10^-decimals, rounded half to even; squares have the `power` 2."""
        codes, values = _distinct(self.frame[column].to_list())

        def whole(value: object) -> int:
            found = number_of(self.notation.number(column, value))
            if abs(found) > _MEASURED[power][1]:
                raise ValueError(f"{value} is beyond {_MEASURED[power][1]:g}")
            number = Decimal(repr(found)).scaleb(decimals)
            if decimals == 0 and number != number.to_integral_value():
                raise ValueError(f"{value} is not a whole number")
            return int(number.to_integral_value(ROUND_HALF_EVEN))

        read = [self._meaning(column, codes, place, value, whole) for place, value in enumerate(values)]
        return integers(np.array(read, dtype=object)[codes])

    def covariate(self, column: str, decimals: int | None = None) -> tuple[Index, int]:
        """Integers in units of 10^-k and 10^k, k the fewest decimals (at most 6) that say the column exactly.

        With `decimals` they are what the ledger makes of these numbers in exposures. A missing value is 0.
        Rounding finer digits away costs precision, never validity: any function of what was known before
        exposure may serve as a covariate.
        """
        series = self.frame[column]
        if series.dtype.is_numeric() or isinstance(series.dtype, nw.Boolean):
            array = series.cast(nw.Float64).fill_null(0.0).to_numpy()
            values = np.where(np.isnan(array), 0.0, array)
        else:
            # NaN is the one value that does not equal itself
            known = [0 if value is None or value != value else value for value in series.to_list()]  # noqa: PLR0124
            codes, said = _distinct(known)

            def before(value: object) -> int | float:
                number = self.notation.number(column, value)
                return 0 if number is None else number_of(number)

            read = [self._meaning(column, codes, place, value, before) for place, value in enumerate(said)]
            values = np.array(read, dtype=np.float64)[codes]
        beyond = ~(np.abs(values) * 10.0 ** (decimals or 0) <= TOTAL_BOUND)
        self.refuse(column, beyond, "a covariate beyond 2^40", "correct the row, or use a larger unit.")
        amounts = None if decimals is None else _minor_units(values, Slot("", column, decimals))
        if amounts is not None and decimals is not None:
            return amounts, 10**decimals
        largest = float(np.abs(values).max()) if len(values) else 0.0
        for digits in range(7):
            scaled = values * 10.0**digits
            fits = largest * 10.0 ** (digits + 1) < COVARIATE_BOUND
            if not fits or digits == 6 or (np.abs(scaled - np.rint(scaled)) < 1e-6).all():
                return np.rint(scaled).astype(np.int64), 10**digits
        raise AssertionError("unreachable: the last round returns")

    def instants(self, column: str) -> Instants:
        """Times; all rows have to stand for the same number of days."""
        series = self.frame[column]
        if isinstance(series.dtype, nw.Datetime) and not series.null_count():
            ms = series.dt.timestamp("ms").to_numpy().astype(np.int64)
            return Instants(ms=ms, days=ms // DAY_MS, width=1)
        if isinstance(series.dtype, nw.Date) and not series.null_count():
            ms = series.cast(nw.Datetime("ms")).dt.timestamp("ms").to_numpy().astype(np.int64)
            return Instants(ms=ms, days=ms // DAY_MS, width=1)
        codes, values = coded(series)
        reader = partial(self.notation.instant, column)
        read = [self._meaning(column, codes, place, value, reader) for place, value in enumerate(values)]
        widths = {width for _, width in read}
        if len(widths) > 1:
            mixed = " and ".join(PERIODS[width] for width in sorted(widths))
            raise BadInput(
                f"{mixed} are mixed", field=f"column {column}", fix="write all of them the same way."
            )
        ms = np.array([when for when, _ in read], dtype=np.int64)[codes]
        return Instants(ms=ms, days=ms // DAY_MS, width=widths.pop() if widths else 1)

    def refuse(self, column: str, wrong: NDArray[np.bool_], message: str, fix: str) -> None:
        """Raise BadInput naming the first row of `wrong`, if there is one."""
        if wrong.any():
            row = self.row(int(np.flatnonzero(wrong)[0]))
            raise BadInput(message, field=self._field(row, column), fix=fix)

    def _field(self, row: int, column: str) -> str:
        return f"{self.table}{': ' if self.table else ''}row {row}, column {column}"

    def _meaning(
        self, column: str, codes: Index, place: int, value: object, meaning: Callable[[object], T]
    ) -> T:
        try:
            return meaning(value)
        except ValueError as error:
            row = self.row(int(np.flatnonzero(codes == place)[0]))
            raise BadInput(
                str(error), field=self._field(row, column), value=show(value),
                fix=advice(value, amount=column in self.notation.amounts),
            ) from error  # fmt: skip


def _minor_units(array: NDArray[Any], slot: Slot) -> Index | None:
    """Whole columns as `Slot.amount` reads single values; None where only that can say what is right.

    Rounding a binary product can only differ from rounding the decimal digits next to a tie.
    """
    scale = 10**slot.decimals
    if not array.size:
        return np.zeros(0, dtype=np.int64)
    if array.dtype.kind in "iub":
        amounts: Index = array.astype(np.int64)
        if max(abs(int(array.max())), abs(int(array.min()))) * scale > TOTAL_BOUND:
            return None
        amounts = amounts * scale
    elif array.dtype.kind == "f" and array.dtype.itemsize == 8:
        scaled = array * scale
        if not (np.abs(scaled) <= TOTAL_BOUND).all():
            return None
        amounts = np.rint(scaled).astype(np.int64)
        if scale > 1 and (close := np.abs(scaled - np.floor(scaled) - 0.5) < _TIE).any():
            values, where = np.unique(array[close], return_inverse=True)
            plain = replace(slot, cap=None)
            amounts[close] = np.array([_amount(plain, float(v)) for v in values], dtype=np.int64)[where]
    else:
        return None
    return amounts if slot.cap is None else np.clip(amounts, -slot.cap, slot.cap)


def _amount(slot: Slot, number: float) -> int:
    return slot.amount(Event(id="", type=slot.event, unit="", at=0, properties={str(slot.value): number}))


def coded(series: nw.Series[Any]) -> tuple[Index, list[Any]]:
    """Codes by first appearance and the distinct values of a column, by its own library where it can."""
    array = series.to_numpy() if series.dtype.is_integer() and not series.null_count() else None
    if array is not None and array.dtype.kind in "iu":
        values, first, codes = np.unique(array, return_index=True, return_inverse=True)
        order = np.argsort(first, kind="stable")
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        return rank[codes], values[order].tolist()
    if isinstance(series.dtype, nw.String) and len(series) > _FEW and not series.null_count():
        names = series.unique(maintain_order=True).to_list()
        places = series.replace_strict(names, list(range(len(names))), return_dtype=nw.Int64)
        return places.to_numpy().astype(np.int64), names
    return _distinct(series.to_list())


def _label(value: object) -> str | None:
    """A label, None for a value that is none."""
    try:
        return label_of(value)
    except ValueError:
        return None


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


def eligible_columns(native: Any, source: Source, names: Sequence[str]) -> tuple[Columns, Columns]:
    """The rows of a frame that meet the source's condition, with only the columns named, and the others.

    Raises:
        BadInput: the object is no data frame.
    """
    every = written(as_frame(native).select(*names), source)
    if not source.eligible:
        return every, every.take(np.zeros(0, dtype=np.int64))
    keep = np.ones(len(every), dtype=bool)
    for part in _parts(source.eligible):
        keep &= every.meets(part)
    if keep.all():
        return every, every.take(np.zeros(0, dtype=np.int64))
    return every.take(np.flatnonzero(keep)), every.take(np.flatnonzero(~keep))


def written(frame: Frame, source: Source, table: str = "") -> Columns:
    """A frame's columns with how they are written; the texts of a column are looked at all together.

    Raises:
        BadInput: a column that can be read in two ways, and the source does not say in which.
    """
    there = (number_columns(source) | time_columns(source)) & set(frame.columns)
    values = {name: coded(frame[name])[1] for name in sorted(there) if not _typed(frame.schema[name])}
    whole = {
        name: frame[name].unique().to_list()
        for name in sorted(time_columns(source) & set(frame.columns))
        if frame.schema[name].is_integer()
    }
    if source.labels == TIDY:
        named = (source.variant, source.segment, source.served, source.experiment, source.epoch)
        frame = frame.with_columns(_tidied(frame[name]) for name in named if name in frame.columns)
    return Columns(frame=frame, table=table, notation=notation_of(source, values | whole))


def _tidied(series: nw.Series[Any]) -> nw.Series[Any]:
    """Names that differ in case or white space alone as the one of them that most rows have."""
    codes, values = coded(series)
    names = {place: label for place, value in enumerate(values) if (label := _label(value)) is not None}
    size = np.bincount(codes, minlength=len(values))
    spelled: dict[str, str] = {}
    for place in sorted(names, key=lambda place: -size[place]):
        spelled.setdefault(plainly(names[place]), " ".join(names[place].split()))
    tidy = [spelled[plainly(names[place])] if place in names else None for place in range(len(values))]
    return nw.new_series(
        series.name, [tidy[code] for code in codes.tolist()], nw.String, backend=series.implementation
    )


def _typed(kind: nw.dtypes.DType) -> bool:
    """Whether a column's type says what its values are."""
    return kind.is_numeric() or kind.is_temporal() or isinstance(kind, nw.Boolean)


def _parts(condition: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Conditions of which all have to hold; one per attribute where that is how it was written."""
    return [{name: wanted} for name, wanted in condition.items()]


def as_frame(native: Any) -> Frame:
    """Any eager data frame narwhals knows. Raises BadInput for anything else."""
    try:
        return nw.from_native(native, eager_only=True)
    except TypeError as error:
        raise BadInput(
            f"{type(native).__name__} is not a data frame", field="frame",
            fix="give a pandas or Polars data frame, or a pyarrow table.",
        ) from error  # fmt: skip
