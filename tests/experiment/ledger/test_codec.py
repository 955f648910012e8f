"""Events at the door: what is accepted comes back the same, everything else is refused by field and fix."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchpoint.experiment.errors import EventError
from switchpoint.experiment.ledger.codec import (
    AHEAD_MS,
    EARLIEST,
    LATEST,
    PROPERTIES_LENGTH,
    decode,
    encode,
    parse_event,
)
from switchpoint.experiment.ledger.event import Event, Exposure

NOW = 1_770_000_000_000
CLICK = {"id": "e1", "type": "click", "unit": "u1", "at": NOW}
EXPOSED = CLICK | {
    "type": "exposure", "experiment": "home", "variant": "control", "segment": "us", "epoch": 1, "revision": 4,
    "propensity": 0.5,
}  # fmt: skip

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
names = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=256)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(1 - 2**63, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)
short = st.text("abcdefé漢", min_size=1, max_size=9)
exposures = st.fixed_dictionaries(
    {
        "experiment": short, "variant": short, "segment": short, "epoch": st.integers(1, 1000),
        "revision": st.integers(1, 10**6), "propensity": st.floats(1e-9, 1),
    },
    optional={
        "served": short, "cause": st.none() | short, "dimensions": st.dictionaries(short, short, max_size=3),
        "covariates": st.dictionaries(short, st.floats(-1e9, 1e9), max_size=3),
    },
)  # fmt: skip


@st.composite
def wire_events(draw: st.DrawFn) -> dict[str, Any]:
    """Raw events that are valid."""
    raw = {
        "id": draw(names), "type": "click", "unit": draw(names), "at": draw(st.integers(EARLIEST, LATEST - 1)),
        "properties": draw(st.dictionaries(short, plain, max_size=4)),
    }  # fmt: skip
    return raw | {"type": "exposure"} | draw(exposures) if draw(st.booleans()) else raw


@given(wire_events())
def test_what_is_accepted_survives_the_log(raw: dict[str, Any]) -> None:
    event = parse_event(json.loads(json.dumps(raw)), now=None)
    assert decode(encode(event)) == event
    assert encode(decode(encode(event))) == encode(event)
    assert parse_event(json.loads(encode(event)), now=None) == event


@given(json_values)
def test_any_json_value_is_an_event_or_an_event_error(raw: object) -> None:
    with pytest.raises(EventError):
        parse_event(raw, now=NOW)


@given(st.sampled_from(sorted(EXPOSED)), json_values)
def test_any_value_in_any_field_is_accepted_whole_or_refused_by_that_field(field: str, value: object) -> None:
    try:
        event = parse_event(EXPOSED | {field: value}, now=NOW)
    except EventError as error:
        complaint = error
    else:
        assert decode(encode(event)) == event
        return
    assert complaint.fix
    assert len(str(complaint)) < 1000


def test_an_outcome_keeps_its_properties() -> None:
    event = parse_event(CLICK | {"type": "purchase", "properties": {"amount": 19.99}}, now=NOW)
    assert event == Event(id="e1", type="purchase", unit="u1", at=NOW, properties={"amount": 19.99})


def test_an_exposure_is_served_as_assigned_unless_it_says_otherwise() -> None:
    exposure = parse_event(EXPOSED, now=NOW).exposure
    assert exposure == Exposure(
        experiment="home",
        variant="control",
        segment="us",
        epoch=1,
        revision=4,
        propensity=0.5,
        served="control",
    )
    fallback = parse_event(EXPOSED | {"served": "other", "cause": "timeout"}, now=NOW).exposure
    assert (fallback and fallback.served, fallback and fallback.cause) == ("other", "timeout")


def test_dimension_values_become_text() -> None:
    raw = EXPOSED | {"dimensions": {"returning": True, "age": 30, "device": "ios"}}
    exposure = parse_event(raw, now=NOW).exposure
    assert exposure
    assert exposure.dimensions == {"returning": "true", "age": "30", "device": "ios"}


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-03-01T12:00:00Z", 1_772_366_400_000),
        ("2026-03-01T12:00:00.123456+02:00", 1_772_359_200_123),
        (1_772_366_400_000, 1_772_366_400_000),
    ],
)
def test_times_are_integer_milliseconds_or_iso_8601_with_a_zone(text: object, at: int) -> None:
    assert parse_event(CLICK | {"at": text}, now=None).at == at


@pytest.mark.parametrize(
    "at",
    [None, True, "yesterday", "2026-03-01T12:00:00", "2026-03-01", 1_770_000_000, 1_770_000_000_000_000, 1.77e12,
     "1770000000000", -1, 10**400, "9999-12-31T23:59:59-23:00", "0001-01-01T00:00:00+23:00"],
)  # fmt: skip
def test_other_times_are_refused(at: object) -> None:
    with pytest.raises(EventError) as refused:
        parse_event(CLICK | {"at": at}, now=None)
    assert refused.value.field == "at"


def test_live_events_may_be_five_minutes_ahead_and_history_has_no_clock() -> None:
    assert parse_event(CLICK | {"at": NOW + AHEAD_MS}, now=NOW).at == NOW + AHEAD_MS
    ahead = CLICK | {"at": NOW + AHEAD_MS + 1}
    with pytest.raises(EventError, match="ahead of the server's clock"):
        parse_event(ahead, now=NOW)
    assert parse_event(ahead, now=None).at == NOW + AHEAD_MS + 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"id": ""}, "id"), ({"id": None}, "id"), ({"id": 7}, "id"), ({"id": "x" * 257}, "id"), ({"id": "a\0b"}, "id"),
        ({"unit": "\ud800"}, "unit"), ({"unit": ["u"]}, "unit"),
        ({"type": "Click"}, "type"), ({"type": ""}, "type"), ({"type": "c" * 65}, "type"), ({"type": None}, "type"),
        ({"experiment": "home"}, "experiment"), ({"amount": 5}, "amount"),
        ({"properties": []}, "properties"), ({"properties": {"a": math.nan}}, "properties.a"),
        ({"properties": {"a": [1, math.inf]}}, "properties.a.1"), ({"properties": {"a": 2**63}}, "properties.a"),
        ({"properties": {"a": 10**5000}}, "properties.a"), ({"properties": {"a": "\udfff"}}, "properties.a"),
        ({"properties": {"": 1}}, "properties"), ({"properties": {"a": "x" * PROPERTIES_LENGTH}}, "properties"),
        ({"properties": {"a": {"b": {"c": {"d": {"e": {}}}}}}}, "properties.a.b.c.d.e"),
        ({"properties": {"a": b"bytes"}}, "properties.a"),
    ],
)  # fmt: skip
def test_bad_outcomes_name_the_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(EventError) as refused:
        parse_event(CLICK | change, now=NOW)
    assert (refused.value.field, bool(refused.value.fix)) == (field, True)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"variant": None}, "variant"), ({"segment": ""}, "segment"), ({"epoch": 0}, "epoch"),
        ({"epoch": True}, "epoch"), ({"revision": 1.5}, "revision"), ({"propensity": 0}, "propensity"),
        ({"propensity": 1.01}, "propensity"), ({"propensity": math.nan}, "propensity"), ({"served": 3}, "served"),
        ({"cause": ""}, "cause"), ({"dimensions": {"d": 1.5}}, "dimensions.d"), ({"dimensions": ["d"]}, "dimensions"),
        ({"covariates": {"c": "1"}}, "covariates.c"), ({"covariates": {"c": math.inf}}, "covariates.c"),
    ],
)  # fmt: skip
def test_bad_exposures_name_the_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(EventError) as refused:
        parse_event(EXPOSED | change, now=NOW)
    assert (refused.value.field, bool(refused.value.fix)) == (field, True)
