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
from switchpoint.experiment.definition.types import DAY_MS, TOTAL_BOUND
from switchpoint.experiment.errors import BadInput, show
from switchpoint.experiment.ledger.columns import (
    TYPED,
    Notation,
    advice,
    label_of,
)
from switchpoint.experiment.ledger.event import Event
from switchpoint.experiment.ledger.numbers import count_of, missing, number_of
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
        found = (label_or_none(value) for value in coded(self.frame[column])[1])
        return tuple(dict.fromkeys(name for name in found if name is not None))

    def among(self, column: str, names: Sequence[str]) -> Index:
        """The place of every row's label among `names`; −1 where it is none of them or cannot be read."""
        codes, values = coded(self.frame[column])
        known = {name: place for place, name in enumerate(names)}
        return np.array([known.get(label_or_none(value) or "", -1) for value in values], dtype=np.int64)[
            codes
        ]

    def counts(self, column: str) -> Index:
        """Whole numbers from 0 to 2^40, as many as the ledger counts in one sum."""
        array = self.frame[column].to_numpy()
        if array.dtype.kind in "iub" and (not array.size or 0 <= array.min() <= array.max() <= TOTAL_BOUND):
            return array.astype(np.int64)

        def count(number: float) -> int:
            if (found := count_of(number)) > TOTAL_BOUND:
                raise ValueError(f"{number} is beyond 2^40")
            return found

        return self._read(column, count, np.int64)

    def numbers(
        self, column: str, power: int = 1, where: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        """Numbers that are 0 or of a size whose products doubles hold; variances have the `power` 2.

        Rows outside `where` are not looked at, and 0.
        """
        cells = self.frame[column].to_list()
        if where is not None:
            cells = [cell if there else 0 for cell, there in zip(cells, where.tolist(), strict=True)]
        least, most = _MEASURED[power]

        def fits(number: float) -> float:
            if not (number == 0 or least <= abs(number) <= most):
                size = f"beyond {most:g}" if abs(number) > most else f"below {least:g} and not 0"
                raise ValueError(f"{number} is {size}: measure the metric in another unit")
            return float(number)

        return self._read(column, fits, np.float64, cells)

    def amounts(self, column: str, slot: Slot) -> Index:
        """Integers in minor units, rounded and clipped exactly as the ledger does with events."""
        if slot.value is None:
            return self.counts(column)
        quick = _minor_units(self.frame[column].to_numpy(), slot)
        if quick is not None:
            return quick

        def amount(number: float) -> int:
            try:
                return _amount(slot, number)
            except BadInput as error:
                raise ValueError(error.message) from error

        return self._read(column, amount, np.int64)

    def sums(self, column: str, decimals: int, power: int = 1) -> Integers:
        """Sums over many units in units of 10^-decimals, rounded half to even; squares have the `power` 2."""

        def whole(number: float) -> int:
            if abs(number) > _MEASURED[power][1]:
                raise ValueError(f"{number} is beyond {_MEASURED[power][1]:g}")
            scaled = Decimal(repr(number)).scaleb(decimals)
            if decimals == 0 and scaled != scaled.to_integral_value():
                raise ValueError(f"{number} is not a whole number")
            return int(scaled.to_integral_value(ROUND_HALF_EVEN))

        return integers(self._read(column, whole, object))

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
            values = self._read(column, float, np.float64, empty=0)
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

    def _read(
        self, column: str, meaning: Callable[[float], object], kind: Any, cells: Sequence[Any] | None = None,
        empty: float | None = None,
    ) -> NDArray[Any]:  # fmt: skip
        """Every row's number (`empty` where there is none) as `meaning` reads it, once per distinct value."""
        codes, values = _distinct(self.frame[column].to_list() if cells is None else cells)

        def read(value: object) -> object:
            number = self.notation.number(column, value)
            if empty is not None and missing(number):
                number = empty
            return meaning(number_of(number))

        every = [self._meaning(column, codes, place, value, read) for place, value in enumerate(values)]
        return np.asarray(np.array(every, dtype=kind)[codes])

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


def label_or_none(value: object) -> str | None:
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
