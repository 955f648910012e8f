"""What a Python host has, as the JSON value it stands for: the client's one door for values.

Numbers of every library become JSON numbers, ids, times and paths become text, sets and arrays become lists,
an Enum its value; what is missing (None, NaN, NaT) becomes null. What stands for no JSON value is refused
with the cure. Other libraries' types are known by the protocols of the standard library (`numbers`, `item`,
`tolist`), so that none of them is imported.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from numbers import Integral, Rational, Real
from pathlib import PurePath
from typing import Any, SupportsIndex, cast
from uuid import UUID

from switchpoint.experiment.errors import BadInput

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]

EXACT_INTEGER = 2**63
"""Integers from here on are written as text: no JSON reader keeps them as numbers."""
_DEEPEST = 20
_TEXTS = (UUID, PurePath, IPv4Address, IPv6Address)
_MISSING = frozenset({"NAType", "NaTType"})
_BYTES = (bytes, bytearray, memoryview)
_CURE = "give a number, text, true or false, a list or a mapping of those"


def json_value(value: object, field: str, depth: int = _DEEPEST) -> JsonValue:
    """The JSON value that `value` stands for; `field` names it in messages.

    Raises:
        BadInput: it stands for none, or is nested deeper than twenty levels.
    """
    if value is None or isinstance(value, bool):
        return value
    if value.__class__ is int or value.__class__ is float:
        return _number(cast("float", value))
    if isinstance(value, Enum):
        return json_value(value.value, field, depth)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Mapping | Sequence | AbstractSet | deque) and not isinstance(value, _BYTES):
        return _container(value, field, depth)
    return _scalar(value, field, depth)


def _scalar(value: object, field: str, depth: int) -> JsonValue:
    if value.__class__.__name__ in _MISSING:
        return None
    if isinstance(value, _TEXTS):
        return str(value)
    if isinstance(value, date | time):
        return _time_text(value)
    if isinstance(value, Decimal | Real):
        return _numeric(value)
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return _array(value, field, depth)
    raise _refusal(value, field)


def _refusal(value: object, field: str) -> BadInput:
    name = value.__class__.__name__
    cure = "decode it: value.decode()" if isinstance(value, _BYTES) else _CURE
    return BadInput(f"type {name} is no JSON value", field=field, value=name, fix=cure)


def _number(value: int | float) -> JsonValue:
    if isinstance(value, int):
        return value if -EXACT_INTEGER < value < EXACT_INTEGER else _digits(value)
    return value if math.isfinite(value) else None


def _digits(value: int) -> str:
    # str() of an int refuses more than 4,300 digits, hex never does
    return str(value) if value.bit_length() < 10_000 else hex(value)


def _numeric(value: Decimal | Real) -> JsonValue:
    """A Decimal or a number of the `numbers` tower: whole ones as integers, others as floats."""
    if isinstance(value, Integral):
        return _number(int(cast("SupportsIndex", value)))
    if isinstance(value, Decimal):
        whole = value.is_finite() and value.adjusted() < 40 and value == value.to_integral_value()
        return _number(int(value) if whole else math.nan if value.is_nan() else float(value))
    if isinstance(value, Rational) and value.denominator == 1:
        return _number(int(value.numerator))
    try:
        return _number(float(value))
    except OverflowError:
        return None


def _time_text(value: date | time) -> str:
    """ISO 8601; moments with a zone in UTC, so that they order as text."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(UTC)
    return value.isoformat()


def _container(value: Any, field: str, depth: int) -> JsonValue:
    if depth == 0:
        raise BadInput(f"nested deeper than {_DEEPEST} levels", field=field, fix="flatten it")
    if isinstance(value, Mapping):
        return {
            _key(key, field): json_value(item, f"{field}.{key}", depth - 1) for key, item in value.items()
        }
    items = [json_value(item, f"{field}[]", depth - 1) for item in value]
    if isinstance(value, AbstractSet):
        # without an order of its own: the same set is the same list in every process
        items.sort(key=lambda item: (item.__class__.__name__, str(item)))
    return items


def _key(key: object, field: str) -> str:
    text = json_value(key, f"a key of {field}", 0)
    return text if isinstance(text, str) else json.dumps(text)


def _array(value: Any, field: str, depth: int) -> JsonValue:
    """A scalar or an array of NumPy, a column of pandas or Polars."""
    if getattr(value.dtype, "kind", "") == "M":  # `tolist` of nanoseconds gives bare integers
        text = value.astype(str).tolist()
        return json_value(None if text == "NaT" else text, field, depth)
    plain = value.tolist()
    if plain.__class__ is value.__class__:
        raise _refusal(value, field)
    return json_value(plain, field, depth)
