"""What the client takes as it is, what it converts, and the field that it names."""

from __future__ import annotations

import enum
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.ledger.codec import PROPERTIES_LENGTH
from switchpoint.router.client import arguments
from switchpoint.router.client.values import json_value


class Odd(enum.Enum):
    NOTHING = object()
    PAIR = (1, 2)


@pytest.mark.parametrize(
    "value", ["u", 7, None, Decimal(7), object()], ids=["text", "number", "none", "decimal", "object"]
)
def test_what_stands_for_no_text_is_left_to_be_refused(value: object) -> None:
    assert arguments.text_of(value) is value


def test_an_id_that_has_no_text_is_named() -> None:
    with pytest.raises(BadInput) as refused:
        arguments.text_of(Odd.NOTHING)
    assert (refused.value.field, refused.value.value) == ("id", "object")


@pytest.mark.parametrize("value", ["US", True, None, 5, -5, 1.5, -(2**63) + 1], ids=repr)
def test_attributes_that_are_json_are_not_copied(value: object) -> None:
    given = {"a": value}
    assert arguments.attribute_values(given) is given


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (-(2**63), str(-(2**63))),
        (2**63, str(2**63)),
        (float("nan"), None),
        (np.int64(2), 2),
        ((1, 2), [1, 2]),
    ],
    ids=["small", "large", "nan", "numpy", "tuple"],
)
def test_attributes_that_are_not_are_converted(value: object, seen: object) -> None:
    """Also behind one that is."""
    assert arguments.attribute_values({"first": 1, "a": value}) == {"first": 1, "a": seen}
    assert type(arguments.attribute_values({"a": value})["a"]) is type(seen)


def test_names_that_are_no_text_are_converted() -> None:
    assert arguments.attribute_values({1: "a"}) == {"1": "a"}


def test_an_enum_is_read_in_its_field_as_deep_as_its_value() -> None:
    assert json_value(Odd.PAIR, "inputs") == [1, 2]
    with pytest.raises(BadInput) as refused:
        json_value(Odd.NOTHING, "inputs")
    assert refused.value.field == "inputs"
    nested: Any = Odd.PAIR
    for _ in range(19):
        nested = [nested]
    assert json_value(nested, "inputs")
    with pytest.raises(BadInput, match="deep"):
        json_value([nested], "inputs")


def test_a_property_that_the_service_would_refuse_is_named(caplog: pytest.LogCaptureFixture) -> None:
    assert arguments.event_properties({"a": 1, "b": "\ud800"}, set) == {"a": 1}
    [line] = caplog.records
    assert line.getMessage().startswith("a property is left out, the event is kept: properties")


def test_properties_that_just_fit_are_kept() -> None:
    """`{"x": "…"}` has nine characters beside the text."""
    fits, longer = ({"x": "y" * (PROPERTIES_LENGTH - more)} for more in (9, 8))
    assert arguments.event_properties(fits, set) == fits
    assert arguments.event_properties(longer, set) == {}
