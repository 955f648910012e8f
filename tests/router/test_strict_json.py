"""What is taken as JSON from outside."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchpoint.router.http.body import JsonError, parse

TEXTS = st.text(st.sampled_from('":\\, \n{}ab'), max_size=6)
VALUES = st.recursive(
    TEXTS | st.integers(-5, 5) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)


@given(VALUES, st.sampled_from([(",", ":"), (",\n", "\t:\r\n")]))
def test_every_document_without_a_double_key_is_itself(value: object, separators: tuple[str, str]) -> None:
    """Texts full of quotes and colons too."""
    assert parse(json.dumps(value, separators=separators).encode()) == value


@given(VALUES, TEXTS, VALUES, VALUES)
def test_a_key_twice_is_refused_wherever_it_stands(
    around: object, key: str, one: object, two: object
) -> None:
    name, before = json.dumps(key), json.dumps(around)
    for text in (
        f"[{before}, {{{name}: {json.dumps(one)}, {name} :{json.dumps(two)}}}]",
        f'{{"around": {before}, "inside": {{{name}:1, "other": ":", {name}:2}}}}',
    ):
        with pytest.raises(JsonError, match="twice"):
            parse(text.encode())


def test_the_same_key_spelled_with_escapes_is_the_same() -> None:
    for text in (b'{"unit": 1, "\\u0075nit": 2}', b'{"unit": "\\u003A", "unit": "\\u003a:"}'):
        with pytest.raises(JsonError, match="'unit' stands twice"):
            parse(text)
    assert parse(b'{"a": "\\u003a", "\\u003a": 1}') == {"a": ":", ":": 1}


@pytest.mark.parametrize(("begin", "end"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_depth_has_a_bound(begin: bytes, end: bytes) -> None:
    assert parse(begin * 200 + b"1" + end * 200)
    for depth in (300, 1000, 100_000):
        with pytest.raises(JsonError):
            parse(begin * depth + b"1" + end * depth)


@pytest.mark.parametrize("text", [b"", b"{", b"NaN", b"1e999", b'"\xff"', b'"\\ud800"', b"{'a': 1}"])
def test_what_is_no_json(text: bytes) -> None:
    with pytest.raises(JsonError):
        parse(text)
