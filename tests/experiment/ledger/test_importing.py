"""Rows of a table become the events that would have been recorded live."""

from __future__ import annotations

from typing import Any

import pytest

from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.language.experiment import load
from switchpoint.experiment.ledger.codec import parse_event, to_document
from switchpoint.experiment.ledger.event import Event
from switchpoint.experiment.ledger.importing import events

TEXT = """
key: shop
unit: user
variants: [{key: a}, {key: b}]
segments: [{key: us, when: {country: US}, allocation: {a: 0.8, b: 0.2}}, {key: rest, allocation: equal}]
dimensions: [device]
metrics:
  - {key: buyers, type: proportion, event: buy, role: primary}
  - {key: revenue, type: mean, event: buy, value: amount, decimals: 2}
window: 1d
decision: {mde: 20%}
source:
  shape: units
  experiment: {key: shop}
  variant: variant
  day: at
  segment: place
  served: shown
  weights: {a: 0.8, b: 0.2}
  columns: {buyers: bought, revenue: amount}
"""
ROW: dict[str, Any] = {
    "variant": "b", "at": "2020-01-01T10:00:00+00:00", "place": "us", "shown": "b", "bought": 2, "amount": 9.5,
    "device": "phone",
}  # fmt: skip


def convert(*rows: dict[str, Any], text: str = TEXT) -> list[Event]:
    return list(events(load(text), rows, revision=3))


def test_a_row_is_one_exposure_and_its_outcomes_at_the_same_moment() -> None:
    exposure, first, second = convert(ROW)
    assert exposure.exposure is not None
    assert (exposure.exposure.variant, exposure.exposure.segment, exposure.exposure.propensity) == (
        "b",
        "us",
        0.2,
    )
    assert exposure.exposure.dimensions == {"device": "phone"}
    assert exposure.exposure.revision == 3
    assert {e.at for e in (exposure, first, second)} == {1_577_872_800_000}
    assert [e.properties for e in (first, second)] == [{"amount": 9.5}, {"amount": 0}]


def test_events_pass_the_strict_door() -> None:
    for event in convert(ROW, ROW | {"bought": 0, "amount": 0}):
        assert parse_event(to_document(event), now=None) == event


def test_ids_are_deterministic_and_tell_rows_apart() -> None:
    assert convert(ROW, ROW) == convert(ROW, ROW)
    assert len({e.id for e in convert(ROW, ROW)}) == 6
    assert len({e.unit for e in convert(ROW, ROW)}) == 2


def test_a_named_unit_is_kept() -> None:
    text = TEXT.replace("  variant: variant\n", "  variant: variant\n  unit: user\n")
    assert {e.unit for e in convert(ROW | {"user": 7}, text=text)} == {"7"}


def test_what_was_served_is_recorded_without_a_cause() -> None:
    exposure = convert(ROW | {"shown": "a"})[0].exposure
    assert exposure is not None
    assert (exposure.variant, exposure.served, exposure.cause) == ("b", "a", None)


def test_rows_outside_the_condition_are_left_out() -> None:
    text = TEXT + "  eligible: {device: tablet}\n"
    assert convert(ROW, text=text) == []
    later = convert(ROW, ROW | {"device": "tablet"}, text=text)
    assert [event.id.split("-")[0] for event in later] == ["000000002"] * 3


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"variant": "c"}, "row 1, column variant", "no variant 'c'"),
        ({"place": "mars"}, "row 1, column place", "no segment 'mars'"),
        ({"at": None}, "row 1, column at", "missing value"),
        ({"at": "soon"}, "row 1, column at", "is not a time"),
        ({"bought": -1}, "row 1, column bought", "negative"),
        ({"bought": 0.5}, "row 1, column bought", "whole number"),
        ({"amount": float("nan")}, "row 1, column amount", "not a number"),
        ({"bought": 0}, "row 1, column bought", "no buy but an amount"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(change: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        convert(ROW | change)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("shape: units", "shape: counts", "source.shape"),
        ("  day: at\n", "", "source.day"),
        (", revenue: amount}", "}", "source.columns.revenue"),
    ],
)
def test_a_source_that_cannot_be_imported_is_refused(old: str, new: str, field: str) -> None:
    text = TEXT.replace(old, new)
    if new == "shape: counts":
        text = text.replace(
            "columns: {buyers: bought, revenue: amount}", "columns: {buyers: {n: n, sum: s}}"
        ).replace("  served: shown\n", "")
    with pytest.raises(BadInput) as caught:
        convert(ROW, text=text)
    assert caught.value.field == field


def test_a_column_that_is_not_there_is_named_with_the_nearest_one() -> None:
    row = {("amnt" if name == "amount" else name): value for name, value in ROW.items()}
    with pytest.raises(BadInput, match=r"the table has no column 'amount'.*amnt") as caught:
        convert(row)
    assert caught.value.field == "amount"


@pytest.mark.parametrize(
    ("change", "field"),
    [({"user": "a\u0000b"}, "row 1, column user"), ({"device": "a\u0000b"}, "row 1, column device")],
)
def test_units_and_dimensions_follow_the_rule_of_every_door(change: dict[str, Any], field: str) -> None:
    text = TEXT.replace("  variant: variant\n", "  variant: variant\n  unit: user\n")
    with pytest.raises(BadInput) as caught:
        convert(ROW | {"user": "u1"} | change, text=text)
    assert caught.value.field == field


COVARIATE = TEXT.replace("decimals: 2}", "decimals: 2, covariate: spend}").replace(
    "  columns:", "  covariate: {revenue: before}\n  columns:"
)


def test_covariates_travel_with_the_exposure_and_a_missing_one_is_left_out() -> None:
    rows = [ROW | {"before": 12.5}, ROW | {"before": None}, ROW | {"before": float("nan")}]
    exposures = [event.exposure for event in convert(*rows, text=COVARIATE) if event.exposure is not None]
    assert [exposure.covariates for exposure in exposures] == [{"spend": 12.5}, {}, {}]
    with pytest.raises(BadInput) as caught:
        convert(ROW | {"before": "much"}, text=COVARIATE)
    assert caught.value.field == "row 1, column before"


def test_rows_and_their_outcomes_are_numbered_so_that_ids_tell_them_apart() -> None:
    """The place in the file comes first: of rows at one instant the first counts, in the fold too."""
    events = convert(ROW, ROW | {"variant": "a"})
    assert [event.id.split("-")[0] for event in events] == ["000000001"] * 3 + ["000000002"] * 3
    assert [event.id.split("-", 2)[2] for event in events] == ["x", "buy-0", "buy-1"] * 2
    assert [event.type for event in events] == ["exposure", "buy", "buy"] * 2


def test_epoch_and_revision_are_those_of_the_experiment_that_collects() -> None:
    found = next(iter(events(load(TEXT), [ROW], revision=3, epoch=2))).exposure
    assert found is not None
    assert (found.epoch, found.revision, found.experiment) == (2, 3, "shop")


def test_a_source_without_segments_uses_the_first_and_a_count_without_amount_counts() -> None:
    text = TEXT.replace("  segment: place\n", "").replace(
        "segments: [{key: us, when: {country: US}, allocation: {a: 0.8, b: 0.2}}, {key: rest, allocation: equal}]\n",
        "",
    )
    found = convert(ROW | {"bought": 1, "amount": 0}, text=text)
    assert found[0].exposure is not None
    assert found[0].exposure.segment == "all"
    assert [event.properties for event in found[1:]] == [{"amount": 0}]


def test_two_columns_for_one_measure_are_refused() -> None:
    text = TEXT.replace(
        "  - {key: revenue", "  - {key: again, type: proportion, event: buy}\n  - {key: revenue"
    ).replace("{buyers: bought,", "{buyers: bought, again: other,")
    with pytest.raises(BadInput, match="read from 'bought' and from 'other'"):
        convert(ROW, text=text)
