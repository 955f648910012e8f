"""Canonical text and strict reading of dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchpoint.experiment.definition.types import ModelRef
from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.language.document import canonical, digest_of, from_body, parse_ref, to_body


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    n: int
    share: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    name: str
    colour: Colour
    leaves: tuple[Leaf, ...] = ()
    best: Leaf | None = None
    by_name: Mapping[str, Leaf] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict)
    model: ModelRef | None = None
    live: bool = False


_LEAVES = st.builds(Leaf, n=st.integers(), share=st.floats(allow_nan=False, allow_infinity=False))


@given(
    tree=st.builds(
        Tree,
        name=st.text(),
        colour=st.sampled_from(Colour),
        leaves=st.lists(_LEAVES, max_size=3).map(tuple),
        best=st.none() | _LEAVES,
        by_name=st.dictionaries(st.text(), _LEAVES, max_size=2),
        raw=st.dictionaries(st.text(), st.lists(st.integers(), max_size=2), max_size=2),
        model=st.none() | st.builds(ModelRef, st.just("ranker"), st.integers(1, 99)),
        live=st.booleans(),
    )
)
def test_a_dataclass_is_read_back_as_it_was(tree: Tree) -> None:
    body = to_body(tree)
    assert from_body(Tree, body) == tree
    assert digest_of(body) == digest_of(to_body(from_body(Tree, body)))


def test_defaults_may_be_left_out_and_order_does_not_matter() -> None:
    assert from_body(Tree, {"colour": "red", "name": "x"}) == Tree(name="x", colour=Colour.RED)
    assert canonical({"b": 1, "a": [1.5, None]}) == '{"a":[1.5,null],"b":1}'


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"name": 1}, "tree.name"),
        ({"colour": "green"}, "tree.colour"),
        ({"leaves": [{"n": 1}, {"n": True}]}, r"tree.leaves\[1\].n"),
        ({"leaves": "abc"}, "tree.leaves"),
        ({"best": {"n": 1.0}}, "tree.best.n"),
        ({"best": {}}, "tree.best.n"),
        ({"by_name": {"a": {"n": 1, "share": "x"}}}, "tree.by_name.a.share"),
        ({"by_name": []}, "tree.by_name"),
        ({"model": "ranker"}, "tree.model"),
        ({"live": 1}, "tree.live"),
        ({"extra": 1}, "tree.extra"),
    ],
)
def test_a_wrong_value_is_refused_under_its_path(change: dict[str, Any], path: str) -> None:
    with pytest.raises(BadInput, match=rf"^{path}: .* Fix: "):
        from_body(Tree, {"name": "x", "colour": "red", **change}, "tree")


@pytest.mark.parametrize("raw", [None, [], "text", 1])
def test_what_is_not_a_map_is_refused(raw: object) -> None:
    with pytest.raises(BadInput, match="give a map"):
        from_body(Tree, raw)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"bytes", [object()]])
def test_what_json_cannot_say_has_no_canonical_text(value: object) -> None:
    with pytest.raises(BadInput, match="JSON"):
        canonical(value)


@pytest.mark.parametrize(
    "text", ["ranker", "@1", "ranker@", "ranker@x", "ranker@-1", "ranker@¹", "", None, 3]
)
def test_only_name_at_number_is_a_model_reference(text: object) -> None:
    with pytest.raises(BadInput, match="ranker@2"):
        parse_ref(text)
    assert parse_ref("ranker@12") == ModelRef("ranker", 12)
