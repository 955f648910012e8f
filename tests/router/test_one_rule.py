"""One rule for unit ids, dimensions and covariates: every door takes what the others take."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchpoint.experiment.definition.source import RANDOMISED, Shape, Source
from switchpoint.experiment.errors import BadInput, EventError
from switchpoint.experiment.ledger.codec import parse_event
from switchpoint.experiment.ledger.event import (
    NAME_LENGTH,
    NUMBER_BOUND,
    VALUE_LENGTH,
    covariate_values,
    dimension_value,
    dimension_values,
    text_fault,
    unit_id,
)
from switchpoint.experiment.ledger.importing import events as imported
from switchpoint.experiment.store.memory import MemoryRecords
from switchpoint.router.client import arguments
from switchpoint.router.http.body import BodyReader
from switchpoint.router.http.metrics import Metrics
from switchpoint.router.recording.clock import Clock
from switchpoint.router.serving.app import Services, create_app
from switchpoint.router.serving.doors.assign import AssignDoor
from switchpoint.router.serving.wsgi import RecordsSource
from switchpoint.router.snapshot import Snapshot
from tests.experiment.store.ledgers import ADJUSTED, a_definition
from tests.router import world

NOW = 1_770_000_000_000
CONTROLS = {*range(0x20), *range(0x7F, 0xA0)}
SURROGATES = set(range(0xD800, 0xE000))
NONCHARACTERS = {
    *range(0xFDD0, 0xFDF0),
    *(plane << 16 | last for plane in range(17) for last in (0xFFFE, 0xFFFF)),
}
REFUSED = CONTROLS | SURROGATES | NONCHARACTERS
"""The rule once more, from the tables of the Unicode standard (2.4 and 23.7), not from the product."""

anything = st.one_of(
    st.text(st.characters(), max_size=12),
    st.text(st.characters(codec=None, exclude_categories=()), max_size=4),
    st.text(st.sampled_from("a\u00a0\u00ad\u200d\u202e\u2028\ue000\U0001fae8\U0010fffd\x7f\x80\ufdd0\uffff"), max_size=9),
    st.integers(1, NAME_LENGTH + 2).map(lambda n: "\U0001f469" * n),
    st.none() | st.booleans() | st.integers() | st.floats() | st.lists(st.text(max_size=2), max_size=2),
)  # fmt: skip


def takes(door: Callable[[object], object], value: object) -> bool:
    """Whether a door takes a value, or refuses it by field and with a fix; any other error is a fault."""
    try:
        door(value)
    except BadInput as error:
        return not (error.field and error.fix)
    return True


def an_event(**fields: object) -> dict[str, object]:
    return {"id": "e", "type": "click", "unit": "u", "at": NOW} | fields


def an_exposure(**fields: object) -> dict[str, object]:
    facts = {"experiment": "home", "variant": "control", "segment": "us", "epoch": 1, "revision": 1}
    return an_event(type="exposure", propensity=0.5) | facts | fields


SOURCE = Source(
    shape=Shape.UNITS, assignment=RANDOMISED, variant="variant", unit="unit", day="day",
    columns={"buyers": {"value": "bought"}}, dimensions=(),
)  # fmt: skip
IMPORTED = replace(
    a_definition("home"), source=SOURCE, metrics=(a_definition("home").metrics[1],), dimensions=("device",)
)


def an_import(**cells: object) -> object:
    row = {"variant": "control", "unit": "u", "day": "2026-03-01", "bought": 1, "device": "ios"}
    return list(imported(replace(IMPORTED, source=replace(SOURCE, segment=None)), [row | cells]))


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Callable[[object], object]]:
    """Every way a unit's id comes in."""
    records = MemoryRecords()
    world.build(records, tmp_path_factory.mktemp("world"))
    snapshot = Snapshot.from_document(RecordsSource(records).document())
    assign = AssignDoor(lambda: snapshot, BodyReader(), Metrics())
    return {
        "events": lambda unit: parse_event(an_event(unit=unit), now=NOW),
        "exposures": lambda unit: parse_event(an_exposure(unit=unit), now=NOW),
        "assign": lambda unit: assign.answer({"unit": unit}),
        "client": arguments.unit_of,
    }


@settings(max_examples=500, deadline=None)
@given(value=anything)
def test_a_unit_is_taken_by_every_door_or_by_none(
    doors: dict[str, Callable[[object], object]], value: object
) -> None:
    fits = isinstance(value, str) and 0 < len(value) <= NAME_LENGTH and not REFUSED & set(map(ord, value))
    assert {name: takes(door, value) for name, door in doors.items()} == dict.fromkeys(doors, fits)
    if isinstance(value, str):
        assert takes(lambda unit: an_import(unit=unit), value) == fits


def test_every_code_point_is_decided_by_its_number() -> None:
    taken = {point for point in range(sys.maxunicode + 1) if text_fault(chr(point), 1) is None}
    assert set(range(sys.maxunicode + 1)) - taken == REFUSED


@pytest.mark.parametrize(
    "unit", ["Jean\u00a0D", "\U0001f469\u200d\U0001f467", "\U0001fae8", "\u202eab", "a b"]
)
def test_spaces_joined_and_young_emoji_are_ids_at_every_door(
    doors: dict[str, Callable[[object], object]], unit: str
) -> None:
    assert all(takes(door, unit) for door in doors.values())


@pytest.mark.parametrize(
    ("unit", "said"),
    [
        ("ab\x07c", "U+0007, character 3 of 'ab\\x07c', is a control character"),
        ("\x9f", "U+009F, character 1 of"),
        ("a\ud83d", "U+D83D, character 2 of 'a\\ud83d', is half a character"),
        ("\U0001ffff", "U+1FFFF, character 1 of"),
        ("", "not a text of 1 to 256 characters: ''"),
        (7, "not a text of 1 to 256 characters: 7"),
    ],
)
def test_the_sign_that_is_refused_is_named(unit: object, said: str) -> None:
    with pytest.raises(BadInput) as refused:
        unit_id(unit)
    assert said in refused.value.message
    assert refused.value.message.isascii()


labels = anything | st.integers(-(10**16), 10**16) | st.just(10**5000) | st.text("x\u00a0", min_size=120)


@settings(max_examples=500, deadline=None)
@given(value=labels)
def test_a_dimension_of_an_event_and_of_an_attribute_are_read_alike(value: object) -> None:
    """What the events door refuses is left out where the exposure is made from attributes."""
    found = dimension_values(["device"], {"device": value})
    try:
        event = parse_event(an_exposure(dimensions={"device": value}), now=NOW)
    except EventError as error:
        refused = error.field
    else:
        refused = ""
    if refused:
        assert (refused, found) == ("dimensions.device", {})
        return
    assert event.exposure is not None
    assert event.exposure.dimensions == found == {"device": dimension_value("device", value)}
    if isinstance(value, str):
        assert len(value) <= VALUE_LENGTH
        assert not REFUSED & set(map(ord, value))
        assert takes(lambda label: an_import(device=label), value)


@settings(max_examples=500, deadline=None)
@given(value=anything | st.floats(-2e15, 2e15) | st.sampled_from([NUMBER_BOUND, -NUMBER_BOUND - 1, 10**5000]))
def test_a_covariate_of_an_event_and_of_an_attribute_are_read_alike(value: Any) -> None:
    definition = replace(a_definition("home"), metrics=(ADJUSTED[1],))
    found = covariate_values(definition, {"score": value})
    fits = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= NUMBER_BOUND
    assert found == ({"score": float(value)} if fits else {})
    assert takes(lambda z: parse_event(an_exposure(covariates={"score": z}), now=NOW), value) == fits
    assert not fits or not math.isnan(value)


def test_the_predict_door_reads_the_unit_by_the_rule(tmp_path_factory: pytest.TempPathFactory) -> None:
    asked: list[str] = []

    class Predictor:
        def predict(self, _model: str, unit: str, *_: object, **__: object) -> object:
            asked.append(unit)
            raise BadInput("stop here", field="model", fix="none")

    services = cast("Any", Services)(
        holder=None, predictor=Predictor(), recorder=None, metrics=Metrics(), readiness=dict, body=BodyReader(),
        clock=Clock(),
    )  # fmt: skip
    client = create_app(services).test_client()
    for unit in ("Jean\u00a0D", "\U0001fae8", "a\x7f", "", "x" * 257):
        client.post("/v1/predict/ranker", data=orjson.dumps({"unit": unit, "inputs": []}))
    assert asked == ["Jean\u00a0D", "\U0001fae8"]
