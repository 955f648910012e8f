"""The bounds of attributes, just met and just missed."""

from __future__ import annotations

from typing import Any

import pytest

from switchpoint.experiment.definition.pattern import MAX_TEXT
from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.ledger.event import (
    ATTRIBUTE_DEPTH,
    ATTRIBUTE_LENGTH,
    ATTRIBUTES,
    VALUE_LENGTH,
    check_attributes,
)

EMPTY_LISTS: list[list[object]] = [[] for _ in range(100_000)]


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("fits", "larger", "field"),
    [
        ({f"a{i}": i for i in range(ATTRIBUTES)}, {f"a{i}": i for i in range(ATTRIBUTES + 1)}, "attributes"),
        ({"n" * VALUE_LENGTH: 1}, {"n" * (VALUE_LENGTH + 1): 1}, "attributes"),
        ({"a": "é" * ATTRIBUTE_LENGTH}, {"a": "é" * (ATTRIBUTE_LENGTH + 1)}, "attributes.a"),
        (
            {"a": [0] * (ATTRIBUTE_LENGTH - 1)},
            {"b": "US", "a": [0] * ATTRIBUTE_LENGTH},
            "attributes.a",
        ),
        ({"a": {"k" * (ATTRIBUTE_LENGTH - 2): 1}}, {"a": {"k" * (ATTRIBUTE_LENGTH - 1): 1}}, "attributes.a"),
        ({"a": [["x" * (ATTRIBUTE_LENGTH - 2)]]}, {"a": [["x" * (ATTRIBUTE_LENGTH - 1)]]}, "attributes.a"),
        ({"a": nested(ATTRIBUTE_DEPTH)}, {"a": nested(ATTRIBUTE_DEPTH + 1)}, "attributes.a"),
        ({"a": []}, {"a": EMPTY_LISTS}, "attributes.a"),
    ],
    ids=["many", "name", "text", "list", "key", "text in lists", "depth", "empty lists"],
)
def test_attributes_up_to_the_bound_are_taken_and_no_larger_ones(
    fits: dict[str, Any], larger: dict[str, Any], field: str
) -> None:
    check_attributes(fits)
    with pytest.raises(BadInput) as refused:
        check_attributes(larger)
    assert refused.value.field == field
    assert refused.value.fix


def test_patterns_search_every_text_that_an_attribute_may_be() -> None:
    assert ATTRIBUTE_LENGTH <= MAX_TEXT
