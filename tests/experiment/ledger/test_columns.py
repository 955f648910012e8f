"""What the values of somebody else's columns mean."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from switchpoint.experiment.definition.source import Shape, Source, Table
from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.ledger.columns import (
    check_columns,
    count_of,
    instant_of,
    label_columns,
    label_of,
    named_columns,
    number_of,
    served_variant,
)

NEW_YEAR = 1_577_836_800_000


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2020-01-01", (NEW_YEAR, 1)),
        ("2020-01-01T01:00:00+01:00", (NEW_YEAR, 1)),
        ("2020-01-01 00:00:00.001999+00:00", (NEW_YEAR + 1, 1)),
        (date(2020, 1, 1), (NEW_YEAR, 1)),
        (datetime(2020, 1, 1), (NEW_YEAR, 1)),  # noqa: DTZ001 - times without a zone are UTC, which is the point
        (datetime(2020, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), (NEW_YEAR, 1)),
        (20200101, (NEW_YEAR, 1)),
        ("20200101", (NEW_YEAR, 1)),
        (NEW_YEAR, (NEW_YEAR, 1)),
        (202001, (NEW_YEAR + 5 * 86_400_000, 7)),  # the first Monday of 2020 is the 6th
        (201500, (int(datetime(2014, 12, 29, tzinfo=UTC).timestamp() * 1000), 7)),
    ],
)
def test_a_time_is_read_in_every_usual_form(value: object, expected: tuple[int, int]) -> None:
    assert instant_of(value) == expected


@pytest.mark.parametrize("value", [None, True, 1.5, "soon", "", 202054, 20201301, 12])
def test_anything_else_is_no_time(value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        instant_of(value)


def test_numbers_are_finite_counts_whole_and_labels_text() -> None:
    assert number_of(Decimal("1.10")) == 1.1
    assert count_of(3.0) == 3
    assert [label_of(v) for v in (1, 1.0, "1", True)] == ["1", "1", "1", "true"]
    for bad in (float("inf"), None, "1"):
        with pytest.raises(ValueError, match=r"number|missing"):
            number_of(bad)
    for bad in (-1, 0.5):
        with pytest.raises(ValueError, match=r"negative|whole"):
            count_of(bad)


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
