"""The forms a value may have: how each is read, what JSON Schema says of it, and how it is written.

`record` builds mappings with named fields out of these. Schemas are draft-07; their patterns are ECMA 262's,
and mean the same in Python's `re` but for `$`, which there also stands before a last line break.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Generic, TypeVar

from switchpoint.experiment.definition.condition import ConditionError, compile_condition
from switchpoint.experiment.definition.types import (
    ATTRIBUTE_PATTERN,
    BUCKETS,
    DAY_MS,
    EVENT_PATTERN,
    EXPOSURE,
    KEY_PATTERN,
    TOTAL_BOUND,
    ModelRef,
    Size,
)
from switchpoint.experiment.errors import show, suggest
from switchpoint.experiment.language.node import Node, unique

T = TypeVar("T")

Schema = dict[str, Any]

_LONGEST = 2_000
_LARGEST = 10**18
_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": DAY_MS, "w": 7 * DAY_MS}
_DURATION = "(?!0+[a-z])([0-9]{1,9})(ms|s|m|h|d|w)"
_REST_OF_PERCENT = r"(\.[0-9]{1,9})?\s?%"
_PERCENT = r"[-+]?[0-9]{1,9}" + _REST_OF_PERCENT


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """One form of value. `options` is set for the choices that other fields of a record depend on."""

    read: Callable[[Node], T]
    schema: Schema
    write: Callable[[Any], Any] = lambda value: value
    options: type[StrEnum] | None = None


# -- text ----------------------------------------------------------------------------------------------------


def _text(node: Node) -> str:
    value = node.value
    if not isinstance(value, str):
        node.fail(f"{show(value)} is not text", f'quote it: "{value}".')
    if not value.strip() or len(value) > _LONGEST:
        node.fail(f"text must have 1 to {_LONGEST} characters", "shorten or fill it.")
    return value


def _pattern(regex: str, noun: str, fix: str) -> Kind[str]:
    compiled = re.compile(regex)

    def read(node: Node) -> str:
        value = _text(node)
        if not compiled.fullmatch(value):
            node.fail(f"{show(value)} is not {noun}", fix)
        return value

    return Kind(read, {"type": "string", "pattern": f"^{regex}$"})


def _event(node: Node) -> str:
    if node.value == EXPOSURE:
        fix = "units are counted by exposures anyway: name an outcome event."
        node.fail(f"{EXPOSURE!r} cannot be an outcome", fix)
    return _event_type.read(node)


def _model(node: Node) -> ModelRef:
    name, _, version = _model_version.read(node).rpartition("@")
    return ModelRef(name, int(version))


def choice(options: type[StrEnum]) -> Kind[StrEnum]:
    """One member of an enumeration."""
    values = [option.value for option in options]

    def read(node: Node) -> StrEnum:
        if node.value not in values:
            node.fail(f"{show(node.value)} is not accepted", suggest(str(node.value), values))
        return options(node.value)

    return Kind(read, {"enum": values}, lambda option: option.value, options)


def one_of(values: tuple[str, ...], noun: str) -> Kind[str]:
    """One of a few texts."""
    options = " or ".join(map(repr, values))

    def read(node: Node) -> str:
        if not isinstance(node.value, str) or node.value not in values:
            node.fail(f"{show(node.value)} is not {noun}", f"write {options}.")
        return node.value

    return Kind(read, {"enum": list(values)})


TEXT = Kind(_text, {"type": "string", "pattern": r"\S", "maxLength": _LONGEST})
KEY = _pattern(KEY_PATTERN, "a key", "use letters, digits, '.', '_', '-', at most 64, no leading sign.")
ATTRIBUTE = _pattern(ATTRIBUTE_PATTERN, "an attribute name", "use letters, digits, '_', '-'; no dots.")
CURRENCY = _pattern("[A-Z]{3}", "a currency", "write its ISO 4217 code: EUR.")
_event_type = _pattern(
    f"(?!{EXPOSURE}$){EVENT_PATTERN}",
    "an event type",
    "start lower case; a-z, 0-9, '_', '.', '-'; at most 64.",
)
EVENT = Kind(_event, _event_type.schema)
_model_version = _pattern(f"{KEY_PATTERN}@(?!0+$)[0-9]{{1,9}}", "a model version", "write it as ranker@2.")
MODEL = Kind(_model, _model_version.schema, str)


# -- numbers -------------------------------------------------------------------------------------------------


def _number(node: Node) -> Decimal:
    """A finite number, exactly as written."""
    value = node.value
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        node.fail(f"{show(value)} is not a number", "write a number.")
    exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not exact.is_finite() or abs(exact) > _LARGEST:
        node.fail(f"{show(value)} is not a finite number", "write a number below 1e18.")
    return exact


def _percent(value: object) -> Decimal | None:
    match = re.fullmatch(_PERCENT, value) if isinstance(value, str) else None
    return Decimal(value.rstrip("%").rstrip()) / 100 if match and isinstance(value, str) else None


def _fraction(node: Node) -> Decimal:
    """A number, or a percentage as a fraction (`5%` → 0.05)."""
    percent = _percent(node.value)
    return _number(node) if percent is None else percent


def _fraction_schema(number: Schema, *conditions: str) -> Schema:
    percent = f"^{''.join(conditions)}{_PERCENT}$"
    return {"anyOf": [{"type": "number", **number}, {"type": "string", "pattern": percent}]}


def _below(percent: int) -> str:
    """A pattern of the whole numbers below one digit and zeros: 50, 100, 1000."""
    first, zeros = int(str(percent)[0]), len(str(percent)) - 1
    lead = f"[0-{first - 1}]?" if first > 1 else ""
    return f"0*{lead}[0-9]{{1,{zeros}}}"


def between(low: str, high: str) -> Kind[float]:
    """A number or percentage above `low` and below `high`, whose percentages are 0 or one digit and zeros."""
    least, most = float(low), float(high)

    def read(node: Node) -> float:
        value = float(_fraction(node))
        if not least < value < most:
            node.fail(f"{show(node.value)} is out of range", f"between {low} and {high}.")
        return value

    rest, start, end = _REST_OF_PERCENT, round(100 * least), round(100 * most)
    conditions = [rf"(?=-|\+?{_below(end)}{rest}$)"]
    if start < 0:
        conditions.append(f"(?!-(?!{_below(-start)}{rest}$))")
    else:
        conditions.append("(?!-)(?=.*[1-9])")
    if start > 0:
        conditions.append(rf"(?!\+?({_below(start)}{rest}|0*{start}(\.0+)?\s?%)$)")
    return Kind(read, _fraction_schema({"exclusiveMinimum": least, "exclusiveMaximum": most}, *conditions))


def _share(node: Node) -> int:
    """A share in ten-thousandths, exact: `100%`, `0.3333`, `33.33%`."""
    exact = _fraction(node)
    if not 0 <= exact <= 1:
        bare = _percent(node.value) is None  # 20 was meant as 20%; 120% was not meant as 1.2%
        hint = (
            f"write {exact}% or {exact / 100}."
            if bare and 1 < exact <= 100
            else "write 0% to 100%, or 0 to 1."
        )
        node.fail(f"{show(node.value)} is not a share", hint)
    scaled = exact * BUCKETS
    if scaled != scaled.to_integral_value():
        node.fail(f"{show(node.value)} is finer than 0.01 %", "round to four decimals.")
    return int(scaled)


def _size(node: Node) -> Size:
    value = float(_fraction(node))
    if value <= 0:
        node.fail(f"{show(node.value)} is not positive", "write 2% (relative) or 0.01 (absolute).")
    return Size(value=value, relative=isinstance(node.value, str))


def _write_size(size: Size) -> str | float:
    return f"{(Decimal(repr(size.value)) * 100).normalize():f}%" if size.relative else size.value


def whole(least: int, most: int, noun: str, fix: str) -> Kind[int]:
    """A whole number of `noun` from `least` to `most`."""

    def read(node: Node) -> int:
        exact = _number(node)
        if exact != exact.to_integral_value():
            node.fail(f"{show(node.value)} is not a whole number", "drop the fraction.")
        if not least <= exact <= most:
            node.fail(f"{int(exact)} {noun}", fix)
        return int(exact)

    return Kind(read, {"type": "integer", "minimum": least, "maximum": most})


def _flag(node: Node) -> bool:
    if not isinstance(node.value, bool):
        node.fail(f"{show(node.value)} is neither true nor false", "write `true` or `false`.")
    return node.value


def _label(node: Node) -> str:
    if isinstance(node.value, bool) or not isinstance(node.value, str | int):
        node.fail(f"{show(node.value)} is not a value", "write text or a whole number.")
    return str(node.value)


SHARE = Kind(
    _share,
    # a percentage is at most 100 and has at most two decimals that say something
    _fraction_schema(
        {"minimum": 0, "maximum": 1},
        rf"(?!-.*[1-9])(?=-|\+?({_below(100)}{_REST_OF_PERCENT}|0*100(\.0+)?\s?%)$)",
        r"(?!.*\.[0-9]{2}0*[1-9])",
    ),
    lambda buckets: buckets / BUCKETS,
)
SIZE = Kind(
    _size, _fraction_schema({"exclusiveMinimum": 0, "maximum": _LARGEST}, "(?!-)(?=.*[1-9])"), _write_size
)
AMOUNT = Kind(_number, {"type": "number", "exclusiveMinimum": 0, "maximum": TOTAL_BOUND})
"""An amount in major units; the record it stands in knows its decimals, and checks it."""
FLAG = Kind(_flag, {"type": "boolean"})
LABEL = Kind(_label, {"type": ["string", "integer"]})
"""A value of a column, as text: `control`, `1`."""


# -- time ----------------------------------------------------------------------------------------------------


def _milliseconds(node: Node) -> int:
    match = re.fullmatch(_DURATION, node.value) if isinstance(node.value, str) else None
    if not match:
        node.fail(f"{show(node.value)} is not a duration", "write a number and a unit: 7d, 12h, 30m, 8w.")
    return int(match[1]) * _MS[match[2]]


def _write_duration(ms: int) -> str:
    """The exact text of a duration in its largest unit up to days."""
    unit = next(unit for unit in ("d", "h", "m", "s", "ms") if ms % _MS[unit] == 0)
    return f"{ms // _MS[unit]}{unit}"


def _write_days(days: int) -> str:
    return f"{days}d"


def duration(days: int, *, whole: bool = False) -> Kind[int]:
    """A positive duration of at most so many days, in milliseconds or in `whole` days: `7d`, `12h`, `8w`."""

    def read(node: Node) -> int:
        ms = _milliseconds(node)
        if whole and ms % DAY_MS:
            node.fail(f"{show(node.value)} is not a number of whole days", "write 14d or 8w.")
        if ms > days * DAY_MS:
            node.fail(f"{show(node.value)} is too long", f"at most {days}d.")
        return ms // DAY_MS if whole else ms

    write = _write_days if whole else _write_duration
    return Kind(read, {"type": "string", "pattern": f"^{_DURATION}$"}, write)


# -- lists, mappings, conditions -----------------------------------------------------------------------------


def list_of(
    item: Kind[T],
    noun: str,
    *,
    least: int = 0,
    most: int | None = None,
    distinct: bool = False,
    check: Callable[[Node, tuple[T, ...]], None] = lambda *_: None,
) -> Kind[tuple[T, ...]]:
    """A list of `least` to `most` items, checked as a whole; `distinct` ones are texts that differ."""

    def read(node: Node) -> tuple[T, ...]:
        if not isinstance(node.value, list):
            node.fail(f"{show(node.value)} is not a list", "write a list: one item per line after `- `.")
        items = tuple(node.each(range(len(node.value)), item.read))
        if len(items) < least or (most is not None and len(items) > most):
            node.fail(
                f"{len(items)} {noun}s", f"give {least} to {most}." if least else f"give at most {most}."
            )
        if distinct:
            unique(node, node.value, noun)
        check(node, items)
        return items

    schema: Schema = {"type": "array", "items": item.schema}
    schema |= {"minItems": least} if least else {}
    schema |= {"maxItems": most} if most is not None else {}
    schema |= {"uniqueItems": True} if distinct else {}
    return Kind(read, schema, lambda items: [item.write(each) for each in items])


def map_of(value: Kind[T]) -> Kind[dict[str, T]]:
    """A mapping with any keys, at least one, whose values are all of one kind."""

    def read(node: Node) -> dict[str, T]:
        if not isinstance(node.value, dict) or not node.value:
            node.fail(f"{show(node.value)} is not a mapping", "write `name: value` pairs.")
        return dict(zip(node.value, node.each(node.value, given), strict=True))

    def given(node: Node) -> T:
        if node.value is None:
            node.fail("nothing is said", "write a value, or remove the key.")
        return value.read(node)

    schema = {"type": "object", "minProperties": 1, "additionalProperties": value.schema}
    return Kind(read, schema, lambda values: {key: value.write(each) for key, each in values.items()})


def text_or(text: Kind[Any], other: Kind[Any]) -> Kind[Any]:
    """Text of one kind, and everything that is no text of another."""

    def read(node: Node) -> Any:
        return (text if isinstance(node.value, str) else other).read(node)

    return Kind(read, {"anyOf": [text.schema, other.schema]})


def _shares_of_one(node: Node) -> dict[str, int]:
    shares = _shares.read(node)
    if sum(shares.values()) != BUCKETS:
        node.fail(
            f"the shares sum to {Decimal(sum(shares.values())) / BUCKETS}, not 1",
            "change one of them, or write `equal`.",
        )
    return shares


def _weights(node: Node) -> Mapping[str, int] | str:
    return "equal" if node.value == "equal" else WEIGHTS.read(node)


def _condition(node: Node) -> dict[str, Any] | None:
    """A condition that compiles, with numbers as JSON has them; None for the empty one."""
    raw = _plain(node.value)
    try:
        compile_condition(raw)
    except ConditionError as error:
        raise node.error(error.message, error.fix, *error.path) from None
    return raw or None


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, Mapping):
        return {part: _plain(item) for part, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


_shares = map_of(SHARE)
WEIGHTS = Kind(_shares_of_one, _shares.schema, _shares.write)
"""Shares by variant that sum to one."""
EQUAL_OR_WEIGHTS = Kind(
    _weights,
    {"anyOf": [{"const": "equal"}, WEIGHTS.schema]},
    lambda weights: weights if isinstance(weights, str) else WEIGHTS.write(weights),
)
CONDITION = Kind(_condition, {"type": "object"})
