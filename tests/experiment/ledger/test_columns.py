"""What the values of somebody else's columns mean."""

from __future__ import annotations

import pytest

from switchpoint.experiment.definition.source import Shape, Source, Table
from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.ledger.columns import (
    advice,
    check_columns,
    label_columns,
    label_of,
    named_columns,
    notation_of,
    served_variant,
)


def test_labels_are_text() -> None:
    assert [label_of(v) for v in (1, 1.0, "1", True)] == ["1", "1", "1", "true"]


def test_a_notation_is_of_the_columns_that_hold_numbers_and_times() -> None:
    source = Source(
        shape=Shape.UNITS, variant="v", day="d", columns={"revenue": {"value": "r"}, "buyers": {"value": "b"}},
        empty=("revenue",),
    )  # fmt: skip
    notation = notation_of(source, {"r": ["1,5", ""], "b": ["ja", "nein"], "d": ["31.12.2026"], "v": ["1,5"]})
    assert [notation.number("r", v) for v in ("1,5", "", None, 2.5)] == [1.5, 0, 0, 2.5]
    assert [notation.number("b", v) for v in ("ja", "nein", "", None)] == [1, 0, None, None]
    assert notation.number("v", "1,5") == "1,5"
    assert notation.instant("d", "01.02.2026")[0] == 1_769_904_000_000
    assert notation.said() == (
        "b: words for yes and no as 1 and 0.", "r: decimal comma.",
        "d: dates with the day first (08.03. is in March).", "r: an empty cell is 0.",
    )  # fmt: skip


def test_the_advice_never_changes_what_is_measured() -> None:
    assert "`eligible`" in advice("x", amount=False)
    source = Source(shape=Shape.UNITS, columns={"revenue": {"value": "paid"}}, eligible={"paid": {"$gt": 0}})
    assert notation_of(source, {}).amounts == {"paid"}  # also where a condition compares it
    for value in (None, float("nan"), "", "n/a", "x"):
        assert "eligible" not in advice(value, amount=True)
    assert "`empty: 0`" in advice("", amount=True)


def test_every_named_column_is_checked_and_the_nearest_is_offered() -> None:
    source = Source(
        shape=Shape.UNITS, variant="group", day="date", columns={"ctr": {"value": "clicks"}},
        eligible={"country": "US"}, assignment="how",
    )  # fmt: skip
    assert set(named_columns(source).values()) == {"group", "date", "clicks", "country", "how"}
    with pytest.raises(BadInput, match="no column 'clicks'") as caught:
        check_columns(source, ["group", "date", "click", "country", "how"])
    assert caught.value.field == "source.columns.ctr.value"
    assert "'click'" in caught.value.fix


def test_what_was_shown_is_translated_to_the_variant_it_belongs_to() -> None:
    source = Source(shape=Shape.UNITS, served="page", served_map={"a": "old", "b": "new"})
    assert [served_variant(source, "a", shown) for shown in ("old", "new", "other")] == ["a", "b", "other"]


def test_names_are_labels_unless_eligible_compares_them_with_numbers() -> None:
    source = Source(
        shape=Shape.EVENTS, variant="v", unit="u", day="d", segment="s", dimensions=("x", "y"),
        columns={"ctr": {"value": "n"}}, exposures=Table(table="e", id="i", at="t"),
        outcomes=Table(table="o", id="j", type="k", at="t", value="n"),
        eligible={"v": {"$exists": True}, "s": {"$in": ["a", None]}, "$or": [{"x": {"$not": {"$gt": 3}}}, {"d": 1}]},
    )  # fmt: skip
    assert label_columns(source) == {"v", "u", "s", "y", "i", "j", "k"}
