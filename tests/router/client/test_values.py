"""What a Python host has, as JSON: the same decision and the same event as the value it stands for."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import ipaddress
import json
import math
import pathlib
import time
import uuid
from typing import Any

import numpy as np
import pandas as pd
import pytest

from switchpoint.experiment.definition.condition import compile_condition
from switchpoint.experiment.errors import BadInput
from switchpoint.router.client import arguments
from switchpoint.router.client.values import json_value

SHOP = "12345678-1234-5678-1234-567812345678"


class Tier(enum.Enum):
    GOLD = "gold"


class Level(enum.IntEnum):
    HIGH = 3


class Name(str):
    """A subclass that prints otherwise, as marked-up text does."""

    __slots__ = ()

    def __str__(self) -> str:
        return "<b>"


@dataclasses.dataclass
class Person:
    age: int


@pytest.mark.parametrize(
    ("when", "value"),
    [
        ({"a": {"$gte": 18}}, 20),
        ({"a": {"$gte": 18}}, np.int64(20)),
        ({"a": {"$gte": 18}}, np.uint8(20)),
        ({"a": {"$gte": 18}}, np.float32(20)),
        ({"a": {"$gte": 18}}, np.float64(20)),
        ({"a": {"$gte": 18}}, np.float16(20)),
        ({"a": {"$gte": 18}}, np.array(20)),
        ({"a": {"$gte": 18}}, fractions.Fraction(41, 2)),
        ({"a": {"$gt": 10}}, decimal.Decimal("12.50")),
        ({"a": 12}, decimal.Decimal("12.00")),
        ({"a": True}, np.bool_(True)),
        ({"a": True}, np.array([True])[0]),
        ({"a": {"$in": ["beta"]}}, {"beta"}),
        ({"a": {"$in": ["beta"]}}, frozenset({"beta", "x"})),
        ({"a": {"$in": ["beta"]}}, ("beta",)),
        ({"a": {"$in": ["beta"]}}, {"beta": 1}.keys()),
        ({"a": {"$in": ["beta"]}}, collections.deque(["beta"])),
        ({"a": {"$in": ["beta"]}}, np.array(["alpha", "beta"])),
        ({"a": {"$in": ["beta"]}}, pd.Series(["alpha", "beta"])),
        ({"a": {"$all": [1, 2]}}, {1, 2}),
        ({"a": SHOP}, uuid.UUID(SHOP)),
        ({"a": {"$gt": "2026-01-01"}}, dt.date(2026, 2, 1)),
        ({"a": {"$gt": "2026-01-01"}}, dt.datetime(2026, 2, 1, 12)),  # noqa: DTZ001
        ({"a": {"$gt": "2026-01-01"}}, pd.Timestamp("2026-02-01")),
        ({"a": {"$gt": "2026-01-01"}}, np.datetime64("2026-02-01")),
        ({"a": {"$gt": "2026-01-01"}}, np.datetime64("2026-02-01", "ns")),
        ({"a": {"$lt": "12"}}, dt.time(11, 59)),
        ({"a": "gold"}, Tier.GOLD),
        ({"a": {"$gte": 3}}, Level.HIGH),
        ({"a": "x"}, np.str_("x")),
        ({"a": "x"}, Name("x")),
        ({"a": "10.0.0.1"}, ipaddress.ip_address("10.0.0.1")),
        ({"a": {"$regex": "^/srv"}}, pathlib.PurePosixPath("/srv/x")),
        ({"a.b": {"$gte": 1}}, {"b": np.int32(1)}),
        ({"a.b": 1}, collections.OrderedDict(b=1)),
        ({"a.gold": 1}, {Tier.GOLD: 1}),
        ({"a": {"$exists": False}}, math.nan),
        ({"a": {"$exists": False}}, math.inf),
        ({"a": {"$exists": False}}, np.float64("nan")),
        ({"a": {"$exists": False}}, decimal.Decimal("NaN")),
        ({"a": {"$exists": False}}, decimal.Decimal("Infinity")),
        ({"a": {"$exists": False}}, pd.NaT),
        ({"a": {"$exists": False}}, pd.NA),
        ({"a": {"$exists": False}}, np.datetime64("NaT")),
        ({"a": {"$type": "string"}}, 2**63),
        ({"a": {"$type": "number"}}, 2**63 - 1),
        ({"a": {"$exists": False}}, fractions.Fraction(10**400, 3)),
    ],
)  # fmt: skip
def test_a_hosts_value_decides_as_the_json_value_it_stands_for(when: dict[str, Any], value: object) -> None:
    found = arguments.attribute_values({"a": value})
    assert compile_condition(when)(found)
    assert compile_condition(when)(json.loads(json.dumps(found, allow_nan=False)))


@pytest.mark.parametrize(
    ("value", "field", "cure"),
    [
        (b"x", "attributes.a", r"decode it: value.decode\(\)"),
        (bytearray(b"x"), "attributes.a", "decode"),
        (memoryview(b"x"), "attributes.a", "decode"),
        (1j, "attributes.a", "give a number"),
        (np.complex128(1j), "attributes.a", "give a number"),
        (np.clongdouble(1j), "attributes.a", "give a number"),
        (object(), "attributes.a", "give a number"),
        (Person(3), "attributes.a", "give a number"),
        (dt.timedelta(1), "attributes.a", "give a number"),
        ((x for x in "ab"), "attributes.a", "give a number"),
        ({"b": [b"x"]}, "attributes.a.b", "decode"),
        ({(1, 2): 3}, "a key of attributes.a", "flatten"),
    ],
)
def test_what_stands_for_no_json_value_is_refused_by_name(value: object, field: str, cure: str) -> None:
    with pytest.raises(BadInput, match=cure) as caught:
        arguments.attribute_values({"a": value})
    assert caught.value.field.startswith(field)


def test_a_list_inside_itself_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(BadInput, match="nested deeper"):
        json_value(endless, "a")


class Column:
    """An array of a library whose types have no `kind`."""

    dtype = object()

    def __init__(self, items: object) -> None:
        self.items = items

    def tolist(self) -> object:
        return self if self.items is None else self.items


def nested(value: object, levels: int) -> object:
    for _ in range(levels):
        value = [value]
    return value


def test_an_array_is_one_level_as_the_list_it_stands_for() -> None:
    assert json_value(nested(np.array([1]), 19), "a") == nested(1, 20)
    assert json_value(Column([1, "b"]), "a") == [1, "b"]


@pytest.mark.parametrize("array", [np.array([1]), np.array(["2026-03-01"], dtype="M8[ms]"), Column([])])
def test_an_array_below_twenty_levels_is_refused(array: object) -> None:
    with pytest.raises(BadInput, match="nested deeper") as caught:
        json_value(nested(array, 20), "a")
    assert caught.value.field == "a" + "[]" * 20


def test_an_array_inside_itself_is_refused() -> None:
    endless = np.empty(1, dtype=object)
    endless[0] = endless
    with pytest.raises(BadInput, match="nested deeper"):
        json_value(endless, "a")


def test_an_array_that_stands_for_no_list_is_refused_by_its_type() -> None:
    with pytest.raises(BadInput, match="type Column is no JSON value") as caught:
        json_value(Column(None), "a")
    assert (caught.value.field, caught.value.value) == ("a", "Column")


def test_moments_with_a_zone_order_as_text() -> None:
    """01:00 in Berlin is before 00:30 UTC."""
    berlin = dt.timezone(dt.timedelta(hours=1))
    earlier = json_value(dt.datetime(2026, 3, 1, 1, tzinfo=berlin), "a")
    later = json_value(dt.datetime(2026, 3, 1, 0, 30, tzinfo=dt.UTC), "a")
    assert isinstance(earlier, str)
    assert isinstance(later, str)
    assert earlier < later


def test_keys_are_the_text_that_json_makes_of_them() -> None:
    given: dict[object, int] = {1: 1, None: 2, Tier.GOLD: 4, uuid.UUID(SHOP): 5, np.int64(7): 6}
    assert json_value(given, "a") == {"1": 1, "null": 2, "gold": 4, SHOP: 5, "7": 6}
    assert json_value({False: 1, 1.5: 2}, "a") == {"false": 1, "1.5": 2}


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (decimal.Decimal("12.00"), 12),
        (decimal.Decimal("12.5"), 12.5),
        (decimal.Decimal(123456789012345678), 123456789012345678),
        (decimal.Decimal("sNaN"), None),
        (decimal.Decimal("-Infinity"), None),
        (decimal.Decimal("9" * 39), "9" * 39),
        (decimal.Decimal("1e39"), "1" + "0" * 39),
        (decimal.Decimal("1e40"), 1e40),
        (fractions.Fraction(2**62 + 1), 2**62 + 1),
        (fractions.Fraction(1, 2), 0.5),
        (np.int64(2**62 + 1), 2**62 + 1),
    ],
    ids=repr,
)
def test_numbers_of_other_libraries_keep_their_value_and_kind(value: object, number: object) -> None:
    seen = json_value(value, "a")
    assert (seen, type(seen)) == (number, type(number))


def test_a_moment_with_a_zone_is_text_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the host is."""
    berlin = dt.timezone(dt.timedelta(hours=1))
    try:
        with monkeypatch.context() as elsewhere:
            elsewhere.setenv("TZ", "JST-9")
            time.tzset()
            assert json_value(dt.datetime(2026, 3, 1, 1, tzinfo=berlin), "a") == "2026-03-01T00:00:00+00:00"
    finally:
        time.tzset()


def test_integers_that_no_reader_keeps_are_text() -> None:
    assert json_value(-(2**63), "a") == "-9223372036854775808"
    assert json_value(2**9_999 - 1, "a") == str(2**9_999 - 1)
    assert json_value(2**9_999, "a") == hex(2**9_999)


def test_a_set_is_the_same_list_in_every_process() -> None:
    assert json_value({"b", "a", 3, None, 1}, "a") == [None, 1, 3, "a", "b"]


def test_times_of_events() -> None:
    moment = dt.datetime(2026, 3, 1, 12, 0, 0, 999_999, tzinfo=dt.UTC)
    assert arguments.event_time(moment) == 1_772_366_400_999
    assert arguments.event_time(pd.Timestamp(moment)) == 1_772_366_400_999
    assert arguments.event_time(np.int64(1_772_366_400_000)) == 1_772_366_400_000
    assert arguments.event_time("2026-03-01T12:00:00Z") == "2026-03-01T12:00:00Z"
    assert arguments.event_time(1772323200.5) == 1772323200.5
    assert math.isnan(arguments.event_time(math.nan)), "no time at all would be now"  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"give it one: at.replace\(tzinfo=UTC\)"):
        arguments.event_time(dt.datetime(2026, 3, 1))  # noqa: DTZ001
