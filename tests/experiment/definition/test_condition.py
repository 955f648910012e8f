"""Conditions: the official conformance rows, what is refused, and what never raises."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from growthbook.core import evalCondition
from hypothesis import given, settings
from hypothesis import strategies as st

from switchpoint.experiment.definition.condition import (
    OPERATORS,
    ConditionError,
    attribute_names,
    compile_condition,
)

CONTESTED = {
    # official SDKs differ here: JavaScript coerces, Python 4.0.0 and ours find no order between types
    "missing attribute with comparison operators",
    "comparing numbers and strings",
    "comparing numbers and strings - v2",
}

REFUSED = {
    # SDKs let these match nothing; a definition with them is a mistake, so compiling refuses
    "$in - not array",
    "$nin - not array",
    "$ini - not array",
    "$nini - not array",
    "unknown operator - pass",
    "$regex invalid - pass",
    "$regex invalid - fail",
}


def test_eval_condition_rows(shared: Path) -> None:
    rows = json.loads((shared / "data" / "growthbook_cases.json").read_text())["evalCondition"]
    assert len(rows) == 248
    differing, refused = set(), set()
    for name, condition, attributes, expected, *groups in rows:
        try:
            found = compile_condition(condition, groups[0] if groups else None)(attributes)
        except ConditionError:
            assert expected is False, name
            refused.add(name)
            continue
        if found != expected:
            differing.add(name)
    assert differing == CONTESTED
    assert refused == REFUSED


def test_contested_rows_agree_with_the_official_python_sdk(shared: Path) -> None:
    rows = json.loads((shared / "data" / "growthbook_cases.json").read_text())["evalCondition"]
    for name, condition, attributes, *_ in rows:
        if name in CONTESTED:
            assert compile_condition(condition)(attributes) == evalCondition(attributes, condition), name


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.5, 1.0])
    | st.sampled_from(["a", "B", "b", "1", ""])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=5,
)
ordered = st.integers(-3, 3) | st.sampled_from(["a", "B", "é", "1"])
versions = st.sampled_from(["1.2.3", "v1.10.0", "1.2.3-rc.1", "2", "", "1+2\n3", "v+1+2", "v"])
tests = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne"]), values),
    st.tuples(st.sampled_from(["$lt", "$lte", "$gt", "$gte"]), ordered),
    st.tuples(
        st.sampled_from(["$in", "$nin", "$ini", "$nini", "$all", "$alli"]), st.lists(scalars, max_size=3)
    ),
    st.tuples(st.sampled_from(["$veq", "$vne", "$vlt", "$vlte", "$vgt", "$vgte"]), versions),
    st.tuples(st.just("$exists"), st.booleans()),
    st.tuples(st.just("$size"), st.integers(0, 3)),
    st.tuples(st.just("$type"), st.sampled_from(["string", "number", "boolean", "array", "object", "null"])),
    st.tuples(
        st.sampled_from(["$regex", "$regexi", "$notRegex", "$notRegexi"]),
        st.sampled_from(["^a", "b$", "[0-9]"]),
    ),
)
operators = st.lists(tests, min_size=1, max_size=2).map(dict)
nested = operators | operators.map(lambda o: {"$not": o}) | operators.map(lambda o: {"$elemMatch": o})
leaves = st.dictionaries(
    st.sampled_from(["a", "b", "a.b", "a.0"]), values.filter(lambda v: v != {}) | nested, max_size=2
)
conditions = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3).flatmap(
            lambda parts: st.sampled_from(["$and", "$or", "$nor"]).map(lambda key: {key: parts})
        )
        | inner.map(lambda part: {"$not": part})
    ),
    max_leaves=4,
)
attributes = st.dictionaries(st.sampled_from(["a", "b", "c"]), values, max_size=3)


@pytest.mark.timeout(30)
def test_no_text_stalls_a_comparison_of_versions() -> None:
    """Every plus sign was tried to the end of the line."""
    found = compile_condition({"a": {"$vgt": "1"}})({"a": "2" + "+" * 500_000 + "\n"})
    assert found


@settings(max_examples=400, deadline=None)
@given(conditions, attributes)
def test_any_condition_matches_what_the_official_python_sdk_matches(
    condition: dict[str, Any], found: dict[str, Any]
) -> None:
    assert compile_condition(condition)(found) == evalCondition(found, condition)


@pytest.mark.parametrize(
    ("condition", "field", "fix"),
    [
        ({"country": {"$inn": ["US"]}}, "country.$inn", "did you mean '$in'"),
        ({"$an": []}, "$an", "did you mean '$and'"),
        ({"$in": ["US"]}, "$in", "name the attribute first"),
        ({"country": {"$in": "US"}}, "country.$in", "write a list"),
        ({"a": {"$gt": 1, "b": 2}}, "a", "use one kind"),
        ({"$or": [{"a": 1}, {"b": {"$x": 1}}]}, "$or[1].b.$x", "known"),
        ({"a": {"$regex": "("}}, "a.$regex", "write the missing )"),
        ({"a": {"$regex": "x" * 501}}, "a.$regex", "500"),
        ({"a": {"$type": "text"}}, "a.$type", "known"),
        ({"a": {"$gt": None}}, "a.$gt", "number or text"),
        ({"a": {"$gt": math.nan}}, "a.$gt", "number or text"),
        ({"a": {"$vgt": [1]}}, "a.$vgt", "1.2.3"),
        ({"a": {"$inGroup": "g"}}, "a.$inGroup", "$in"),
        ({"$not": 3}, "$not", "attribute: value"),
        ({"a": {"$elemMatch": 3}}, "a.$elemMatch", "pairs"),
    ],
)
def test_mistakes_are_refused_with_their_place(condition: dict[str, Any], field: str, fix: str) -> None:
    with pytest.raises(ConditionError) as caught:
        compile_condition(condition)
    assert caught.value.field == field
    assert fix in caught.value.fix


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(OPERATORS)), values | st.just(math.nan) | st.just(object()) | st.just({1, 2}))
def test_no_value_makes_a_condition_raise(name: str, value: Any) -> None:
    operands = {"$in": ["a"], "$gt": 1, "$veq": "1", "$regex": "a", "$type": "string", "$inGroup": "g"}
    for operand in [*operands.values(), {"$gt": 1}]:
        try:
            matches = compile_condition({"a": {name: operand}}, {"g": ["a"]})
        except ConditionError:
            continue
        assert matches({"a": value}) in {True, False}


def test_text_orders_by_utf16_code_units() -> None:
    """U+1F600 is a surrogate pair in JavaScript and sorts below U+FF5E."""
    assert compile_condition({"a": {"$lt": "\uff5e"}})({"a": "\U0001f600"})


def test_true_is_not_one() -> None:
    assert not compile_condition({"a": 1})({"a": True})
    assert not compile_condition({"a": {"$in": [0]}})({"a": False})
    assert compile_condition({"a": 1})({"a": 1.0})


def test_no_condition_matches_all() -> None:
    assert compile_condition(None)({})
    assert compile_condition({})({"a": 1})


def test_attributes_a_condition_reads() -> None:
    condition = {"$or": [{"a.b": 1}, {"$not": {"c": {"$gt": 1}}}], "d": 1}
    assert attribute_names(condition) == {"a", "c", "d"}
    assert attribute_names(None) == frozenset()
