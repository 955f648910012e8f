"""A unit's totals as expressions of columns: rounded, clipped and multiplied as the ledger's integers are.

Doubles hold whole numbers exactly up to 2^53 and int64 sums up to 2^63, so the largest value of a column and
the number of rows say which arithmetic is exact. Where neither is, factors are split into limbs of 20 bits
and rows are summed in chunks, as the ledger keeps its products in two limbs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import narwhals.stable.v2 as nw
import numpy as np

from switchpoint.analysis.evidence.moments import Integers
from switchpoint.analysis.tables import engine
from switchpoint.analysis.tables.columns import COVARIATE_BOUND, Frame
from switchpoint.experiment.definition.types import TOTAL_BOUND, Metric, MetricType
from switchpoint.experiment.ledger.plan import Slot

CHUNK = 2**22
"""Rows summed at a time where limbs are needed: products of limbs stay below 2^62."""
_LIMB = 2**20
_DOUBLE, _INT64 = 2**53, 2**63
_CLEAR = 0.499
"""Distance from the rounded value above which a scaled amount may be a decimal tie."""
_DIGITS = range(7)
_EXACT = 1e-6
_HEAD = 1_000
Figures = Mapping[str, float | int | bool | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """A whole number per row, between `low` and `high`; `doubles` when it is kept as a double."""

    expression: nw.Expr
    low: int
    high: int
    doubles: bool

    @property
    def size(self) -> int:
        """The largest absolute value."""
        return max(abs(self.low), abs(self.high))

    @property
    def integer(self) -> nw.Expr:
        """As int64."""
        return self.expression.cast(nw.Int64) if self.doubles else self.expression

    def clipped(self, cap: int) -> Amount:
        """Within ±cap."""
        if self.size <= cap:
            return self
        low, high = max(self.low, -cap), min(self.high, cap)
        return replace(self, expression=self.expression.clip(-cap, cap), low=low, high=high)


def wanted(frame: Frame, column: str, decimals: int) -> Iterator[tuple[str, nw.Expr]]:
    """The figures `amount` asks for of a column."""
    kind, values = frame.schema[column], nw.col(column)
    if not isinstance(kind, nw.Boolean):
        yield f"{column}:low", values.min()
        yield f"{column}:high", values.max()
    if kind.is_float():
        scaled = values.cast(nw.Float64) * 10.0**decimals
        yield f"{column}:nan", values.is_nan().any()
        yield f"{column}:off:{decimals}", (scaled - scaled.round(0)).abs().max()


def wanted_before(frame: Frame, column: str) -> Iterator[tuple[str, nw.Expr]]:
    """The figures `covariate` asks for of a column: the fewest decimals of its first rows may do for all."""
    yield f"{column}:size", _known(frame, column).abs().max()
    if frame.schema[column].is_float():
        head = frame.head(_HEAD).select(**{column: _known(frame, column)})[column].to_numpy()
        with np.errstate(invalid="ignore", over="ignore"):
            exact = [bool((np.abs(head * 10.0**d - np.rint(head * 10.0**d)) < _EXACT).all()) for d in _DIGITS]
        yield _off_by(frame, column, exact.index(True) if any(exact) else _DIGITS[-1])


def _off_by(frame: Frame, column: str, digits: int) -> tuple[str, nw.Expr]:
    scaled = _known(frame, column) * 10.0**digits
    return f"{column}:before:{digits}", (scaled - scaled.round(0)).abs().max()


def amount(frame: Frame, column: str, slot: Slot, metric: Metric, figures: Figures) -> Amount | None:
    """A unit's total of one measure from its row; None where only reading value by value can say more."""
    kind, values = frame.schema[column], nw.col(column)
    found: Amount | None
    if isinstance(kind, nw.Boolean):
        found = Amount(expression=values.cast(nw.Int64), low=0, high=1, doubles=False)
    elif kind.is_integer():
        whole = values if isinstance(kind, nw.Int64) else values.cast(nw.Int64)
        low, high = (int(figures[f"{column}:{end}"] or 0) for end in ("low", "high"))
        found = _integers(whole, slot, low, high)
    else:
        found = _doubles(values.cast(nw.Float64), column, slot, figures) if kind.is_float() else None
    if found is None or (slot.value is None and found.low < 0):
        return None
    if metric.type is MetricType.PROPORTION:
        if found.low >= 0 and found.high <= 1:
            return found
        return Amount(expression=(found.expression > 0).cast(nw.Int64), low=0, high=1, doubles=False)
    return (found if slot.cap is None else found.clipped(slot.cap)).clipped(metric.cap)


def _integers(whole: nw.Expr, slot: Slot, low: int, high: int) -> Amount | None:
    scale = 1 if slot.value is None else 10**slot.decimals
    size = max(abs(low), abs(high)) * scale
    if size > TOTAL_BOUND:
        return None
    expression = whole if scale == 1 else whole * scale
    return Amount(expression=expression, low=low * scale, high=high * scale, doubles=False)


def _doubles(values: nw.Expr, column: str, slot: Slot, figures: Figures) -> Amount | None:
    scale = 1 if slot.value is None else 10**slot.decimals
    low, high = (float(figures[f"{column}:{end}"] or 0) * scale for end in ("low", "high"))
    if figures[f"{column}:nan"] or not max(abs(low), abs(high)) <= TOTAL_BOUND:
        return None
    decimals = 0 if slot.value is None else slot.decimals
    off = float(figures[f"{column}:off:{decimals}"] or 0)
    if slot.value is None and off:
        return None
    expression = _decimal(values, scale) if off > _CLEAR else (values * scale).round(0)
    # a rounded value is at most one from where the ends of the column are
    spare = 1 if off else 0
    least, most = int(low) - spare if low < 0 else 0, int(high) + spare
    return Amount(expression=expression, low=least, high=most, doubles=True)


def _decimal(values: nw.Expr, scale: int) -> nw.Expr:
    """Rounded half to even on the shortest decimal digits, as `Decimal(repr(x))` is.

    The digits are a tie exactly when the double is the one nearest to the tie; both parts of that quotient
    are exact, so the division finds it.
    """
    floor = (values * scale).floor()
    # a column below: Polars divides by a constant by multiplying with its rounded inverse
    tie = (floor * 2 + 1) / (floor * 0 + 2.0 * scale)
    odd = (floor / 2).floor() * 2 != floor
    return floor + ((values > tie) | ((values == tie) & odd)).cast(nw.Float64)


def covariate(frame: Frame, column: str, figures: Figures) -> tuple[Amount, int] | None:
    """A covariate in minor units and how many those are, as `Columns.covariate` reads it."""
    largest = float(figures[f"{column}:size"] or 0)
    if not largest <= TOTAL_BOUND:
        return None
    asked = [digits for digits in _DIGITS if f"{column}:before:{digits}" in figures]
    for digits in _DIGITS:
        fits = largest * 10.0 ** (digits + 1) < COVARIATE_BOUND
        if fits and asked and digits < asked[0]:
            continue  # the first rows say that these are too few
        off = 0.0
        if asked:
            name, expression = _off_by(frame, column, digits)
            known = figures if name in figures else engine.looked_up(frame, {name: expression})
            off = float(known[name] or 0)
        if not fits or digits == _DIGITS[-1] or off < _EXACT:
            scaled = _known(frame, column) * 10.0**digits
            size = int(largest * 10.0**digits) + 1
            whole = scaled.round(0) if off < _EXACT else _even(scaled)
            return Amount(expression=whole, low=-size, high=size, doubles=True), 10**digits
    raise AssertionError("unreachable: the last round returns")


def _even(scaled: nw.Expr) -> nw.Expr:
    """Rounded half to even in binary, by every library the same way."""
    floor = scaled.floor()
    rest, odd = scaled - floor, (floor / 2).floor() * 2 != floor
    return floor + ((rest > 0.5) | ((rest == 0.5) & odd)).cast(nw.Float64)


def _known(frame: Frame, column: str) -> nw.Expr:
    """A covariate as doubles, 0 where it is missing."""
    values = nw.col(column).cast(nw.Float64)
    return values.fill_nan(None).fill_null(0.0) if frame.schema[column].is_float() else values.fill_null(0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A sum as parts: Σ weight × the sum of its expression."""

    weights: tuple[int, ...]
    expressions: tuple[nw.Expr, ...]

    def together(self, sums: list[np.ndarray]) -> Integers:
        """The exact sum per group from the sums of the parts."""
        if self.weights == (1,):
            return (
                np.rint(sums[0]).astype(np.int64) if sums[0].dtype.kind == "f" else sums[0].astype(np.int64)
            )
        parts = [weight * part.astype(object) for weight, part in zip(self.weights, sums, strict=True)]
        return np.asarray(sum(parts[1:], start=parts[0]))


def product(a: Amount, b: Amount | None, rows: int) -> Parts:
    """Σ a·b over at most `rows` rows (Σ a without `b`); wide where limbs are needed."""
    largest = a.size * (1 if b is None else b.size) * rows
    if largest < _DOUBLE or (largest < _INT64 and not a.doubles and (b is None or not b.doubles)):
        return Parts(weights=(1,), expressions=(a.expression if b is None else a.expression * b.expression,))
    if largest < _INT64 or b is None:
        return Parts(weights=(1,), expressions=(a.integer if b is None else a.integer * b.integer,))
    (high, low), (above, below) = _limbs(a.integer), _limbs(b.integer)
    return Parts(
        weights=(_LIMB * _LIMB, _LIMB, _LIMB, 1),
        expressions=(high * above, high * below, low * above, low * below),
    )


def fits(a: Amount, b: Amount | None, rows: int) -> bool:
    """Whether int64 holds the sum over so many rows."""
    return a.size * (1 if b is None else b.size) * rows < _INT64


def in_doubles(a: Amount, rows: int) -> bool:
    """Whether doubles hold the sum of its squares over so many rows."""
    return a.size * a.size * rows < _DOUBLE


def _limbs(values: nw.Expr) -> tuple[nw.Expr, nw.Expr]:
    high = values // _LIMB
    return high, values - high * _LIMB
