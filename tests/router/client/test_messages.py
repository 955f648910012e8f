"""Every line that the client writes about what a host passed, word for word: field, fault and cure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from switchpoint.experiment.errors import BadInput
from switchpoint.router.client import Choice, Client, arguments
from switchpoint.router.client.values import json_value
from tests.router import world
from tests.router.client.service import Service, serving, snapshot

US = {"country": "US"}
GIVE = "Fix: give a number, text, true or false, a list or a mapping of those"
DECODE = "Fix: decode it: value.decode()"
UTC_LEFT_OUT = dt.datetime(2026, 3, 1)  # noqa: DTZ001
TIME = "Fix: use milliseconds since 1970 as an integer, or ISO 8601 with a zone (2026-03-01T12:00:00Z)"


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serving() as running:
        running.document = snapshot(running=True)
        yield running


@pytest.fixture(scope="module")
def client(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("client")
    with Client(service.url, data=folder, refresh_seconds=3600, timeout=5.0) as made:
        yield made


def enrolled(client: Client) -> Choice:
    return client.assign("u1", US, experiment=world.EXPERIMENT)


def assign(unit: Any, attributes: Any = US, experiment: Any = world.EXPERIMENT) -> Callable[[Client], object]:
    return lambda client: client.assign(unit, attributes, experiment=experiment)


def track(properties: Any = None, *, unit: Any = "u", **options: Any) -> Callable[[Client], object]:
    return lambda client: client.track("purchase", unit, properties, **options)


def expose(covariates: Any) -> Callable[[Client], object]:
    return lambda client: client.expose(enrolled(client), covariates=covariates)


LEFT_OUT, KEPT = "covariates are left out: ", "a property is left out, the event is kept: "
CONTROL, REFUSED = "control is served: ", "an event was refused: "


@pytest.mark.parametrize(
    ("call", "level", "line"),
    [
        (expose({"past_spend": b"x"}), "ERROR", f"{LEFT_OUT}covariates.past_spend: type bytes is no JSON value. {DECODE}"),
        (
            expose({"past_spend": float("nan")}), "ERROR",
            f"{LEFT_OUT}covariates.past_spend: not a finite number of at most 1e15: None. Fix: send a number",
        ),
        (expose([1]), "ERROR", f"{LEFT_OUT}covariates: not an object of at most 100 entries: list. Fix: send {{...}}"),
        (assign("u", ["x"]), "WARNING", CONTROL + 'attributes: is a mapping, not list. Fix: give {"country": "US"}'),
        (assign("u", {"a": b"US"}), "WARNING", f"{CONTROL}attributes.a: type bytes is no JSON value. {DECODE}"),
        (
            assign("u", {"a": {"b": [object()]}}), "WARNING",
            f"{CONTROL}attributes.a.b[]: type object is no JSON value. {GIVE}",
        ),
        (
            assign(""), "WARNING",
            f"{CONTROL}unit: not a text of 1 to 256 characters: ''. Fix: send the unit's id as a string",
        ),
        (
            assign("u", experiment=["x"]), "WARNING",
            f"{CONTROL}experiment: not a text of 1 to 256 characters: list. Fix: give it as a string",
        ),
        (
            assign("u", experiment="nope"), "WARNING",
            f"{CONTROL}experiments: no experiment 'nope'. Fix: see `switchpoint list`",
        ),
        (track({"amount": 1, "x": object()}), "ERROR", f"{KEPT}properties.x: type object is no JSON value. {GIVE}"),
        (track({"amount": 1, "x": b"x"}), "ERROR", f"{KEPT}properties.x: type bytes is no JSON value. {DECODE}"),
        (track({"amount": 1, "x": "x" * 8200}), "ERROR", f"{KEPT}properties.x is too long"),
        (
            track({"amount": float("nan")}), "ERROR",
            f"{REFUSED}properties.amount: nan is no number. Fix: a metric reads it: give a finite number",
        ),
        (track({"amount": object()}), "ERROR", f"{REFUSED}properties.amount: type object is no JSON value. {GIVE}"),
        (
            track(at=UTC_LEFT_OUT), "ERROR",
            f"{REFUSED}at: a datetime without a zone. Fix: give it one: at.replace(tzinfo=UTC), or leave `at` out for now",
        ),
        (track(at=b"1"), "ERROR", f"{REFUSED}at: type bytes is no JSON value. {DECODE}"),
        (track(at=1772323200.5), "ERROR", f"{REFUSED}at: not a time: 1772323200.5. {TIME}"),
        (track(at="yesterday"), "ERROR", f"{REFUSED}at: not a time: 'yesterday'. {TIME}"),
        (
            track(unit=7), "ERROR",
            f"{REFUSED}unit: not a text of 1 to 256 characters: 7. Fix: send the unit's id as a string",
        ),
    ],
)  # fmt: skip
def test_a_call_writes_one_line(
    client: Client, call: Callable[[Client], object], level: str, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    call(client)
    [record] = caplog.records
    assert (record.name, record.levelname, record.getMessage()) == ("switchpoint.client", level, line)
    assert record.exc_info is None


@pytest.mark.parametrize(
    ("inputs", "options", "error"),
    [
        (object(), {}, f"inputs: type object is no JSON value. {GIVE}"),
        ([1], {"covariates": {"a": b"x"}}, f"covariates.a: type bytes is no JSON value. {DECODE}"),
        ([1], {"attributes": [1]}, 'attributes: is a mapping, not list. Fix: give {"country": "US"}'),
        ([1], {}, "predict: no such model. Fix: see the detail"),
    ],
)
def test_the_default_answer_says_why(
    client: Client, service: Service, inputs: Any, options: Any, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    service.on_predict = (400, {}, b'{"detail": "no such model"}')
    answer = client.predict("ranker", "u", inputs, default=0.5, **options)
    assert answer == {"prediction": 0.5, "reason": "ERROR", "recorded": None, "error": error}
    [record] = caplog.records
    assert (record.levelname, record.getMessage()) == ("WARNING", f"the default is served: {error}")


def test_a_default_that_is_no_version(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    client.assign("u", US, experiment="nope", default="c")
    assert caplog.records[-1].getMessage() == (
        "there is no default: default: not a model version. Fix: write it as ranker@2"
    )


def test_a_version_of_another_model(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        Client("http://127.0.0.1:1", data=tmp_path, default={"ranker": "other@1"})
    assert str(caught.value) == "default.ranker: is no version of ranker. Fix: write ranker@1"
    assert caught.value.value == "other@1"


ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize(
    ("refused", "field", "value"),
    [
        (lambda: arguments.attribute_values(["x"]), "attributes", ["x"]),
        (lambda: arguments.event_time(UTC_LEFT_OUT), "at", UTC_LEFT_OUT),
        (lambda: arguments.require_text("", "experiment"), "experiment", ""),
        (lambda: json_value({"b": b"x"}, "a"), "a.b", "bytes"),
        (lambda: json_value([1j], "a"), "a[]", "complex"),
        (lambda: json_value(ENDLESS, "a"), "a" + "[]" * 20, None),
        (
            lambda: arguments.event_properties({"amount": float("inf")}, lambda: {"amount"}),
            "properties.amount", float("inf"),
        ),
    ],
)  # fmt: skip
def test_an_error_carries_field_and_value(refused: Callable[[], object], field: str, value: object) -> None:
    with pytest.raises(BadInput) as caught:
        refused()
    assert (caught.value.field, caught.value.value) == (field, value)


def test_nesting_is_taken_up_to_twenty_levels() -> None:
    deep: Any = 1
    for _ in range(20):
        deep = [deep]
    assert json_value(deep, "a") == deep
    with pytest.raises(BadInput) as caught:
        json_value([deep], "a")
    assert str(caught.value) == f"a{'[]' * 20}: nested deeper than 20 levels. Fix: flatten it"


def test_mappings_are_taken_up_to_twenty_levels() -> None:
    deep: Any = 1
    for _ in range(20):
        deep = {"b": deep}
    assert json_value(deep, "a") == deep
    with pytest.raises(BadInput, match="nested deeper"):
        json_value({"b": deep}, "a")


def test_all_running_experiments_are_those_of_the_calls_one_by_one(client: Client) -> None:
    for unit, attributes in (("u1", US), ("u2", {"country": "CA"}), ("u3", None)):
        one = client.assign(unit, attributes, experiment=world.EXPERIMENT)
        assert client.assign_all(unit, attributes) == {world.EXPERIMENT: one}
        assert one.unit == unit
