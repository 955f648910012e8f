"""What calls make of a host's own types, of an outage at the start and of a full disk."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from switchpoint.experiment.errors import BadInput, PlatformError
from switchpoint.experiment.store.spool import Spool
from switchpoint.router.client import Client
from switchpoint.router.client import client as module
from tests.router import world
from tests.router.client.service import Service, serving, snapshot
from tests.waiting import until

NOBODY = "http://127.0.0.1:1"
US = {"country": "US", "device": "ios"}
SHOP = uuid.UUID("12345678-1234-5678-1234-567812345678")


class Country(enum.StrEnum):
    US = "US"


class Awkward(enum.Enum):
    """A value that raises where it is read or shown."""

    IT = 1

    @property
    def value(self) -> Any:
        raise RuntimeError


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as running:
        running.document = snapshot(running=True)
        yield running


@pytest.fixture
def client(service: Service, tmp_path: Path) -> Iterator[Client]:
    with Client(service.url, data=tmp_path, refresh_seconds=0.05, timeout=5.0) as made:
        yield made


def delivered(client: Client, service: Service) -> list[dict[str, Any]]:
    assert client.flush(20)
    return service.events


@pytest.mark.parametrize(
    ("properties", "sent"),
    [
        ({"amount": decimal.Decimal("12.50")}, {"amount": 12.5}),
        ({"amount": np.int64(12)}, {"amount": 12}),
        ({"amount": np.float64(12.5)}, {"amount": 12.5}),
        ({"amount": 12.5, "cart": SHOP}, {"amount": 12.5, "cart": str(SHOP)}),
        ({"amount": 12.5, "shipped": dt.datetime(2026, 3, 1)}, {"amount": 12.5, "shipped": "2026-03-01T00:00:00"}),  # noqa: DTZ001
        ({"amount": 12.5, "order": 123456789012345678}, {"amount": 12.5, "order": 123456789012345678}),
        ({"amount": 12.5, "order": 2**64}, {"amount": 12.5, "order": str(2**64)}),
        ({"amount": 12.5, "order": 1e300}, {"amount": 12.5, "order": 1e300}),
        ({"amount": 12.5, "tags": {"b", "a"}}, {"amount": 12.5, "tags": ["a", "b"]}),
        ({"amount": 12.5, "rate": float("nan")}, {"amount": 12.5, "rate": None}),
        ({"amount": 12.5, SHOP: Country.US}, {"amount": 12.5, str(SHOP): "US"}),
        # left out, each with a line in the log
        ({"amount": 12.5, "x": object()}, {"amount": 12.5}),
        ({"amount": 12.5, "x": b"x"}, {"amount": 12.5}),
        ({"amount": 12.5, "x": "\ud800"}, {"amount": 12.5}),
        ({"amount": 12.5, "x" * 129: 1}, {"amount": 12.5}),
        ({"amount": 12.5, "": 1}, {"amount": 12.5}),
        ({"amount": 12.5, "x": [[[[[[1]]]]]]}, {"amount": 12.5}),
        ({"amount": 12.5, "x": "x" * 8_200}, {"amount": 12.5}),
        ({"amount": 12.5, "x": "x" * 5_000, "y": "y" * 5_001, "z": 1}, {"amount": 12.5, "x": "x" * 5_000, "z": 1}),
    ],

)  # fmt: skip
def test_what_no_metric_reads_cannot_cost_the_event(
    client: Client, service: Service, properties: Any, sent: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert client.track("purchase", "u1", properties)
    [event] = delivered(client, service)
    assert event["properties"] == sent
    lines = [line.getMessage() for line in caplog.records if "left out, the event is kept" in line.message]
    assert len(lines) == len(properties) - len(sent)


def test_a_property_too_long_that_a_metric_reads_stays_and_is_refused(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    assert not client.track("purchase", "u1", {"amount": "1" * 8_200, "item": "i"})
    assert [line.getMessage()[:47] for line in caplog.records][
        -1
    ] == "an event was refused: properties: more than 819"


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), decimal.Decimal("NaN"), object(), b"12", 1j])
def test_what_a_metric_reads_is_refused_with_the_cure(
    client: Client, service: Service, amount: object, caplog: pytest.LogCaptureFixture
) -> None:
    assert not client.track("purchase", "u1", {"amount": amount, "item": "i"})
    [line] = caplog.records
    assert "properties.amount" in line.getMessage()
    assert "Fix: " in line.getMessage()
    assert client.track("click", "u1", {"amount": amount}), "nothing reads it from a click"
    assert [event["type"] for event in delivered(client, service)] == ["click"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"type": "Click!"}, "type"), ({"unit": ""}, "unit"), ({"unit": 7}, "unit"), ({"unit": np.int64(7)}, "unit"),
        ({"at": "yesterday"}, "at"), ({"at": 1772323200.5}, "use milliseconds"), ({"at": b"1"}, "at"),
        ({"at": dt.datetime(2026, 3, 1)}, "without a zone"), ({"properties": ["x"]}, "properties"),  # noqa: DTZ001
        ({"id": "x" * 300}, "id"), ({"type": None}, "type"), ({"unit": Awkward.IT}, "refused"),
    ],
)  # fmt: skip
def test_a_bad_event_is_refused_in_one_line(
    client: Client, call: dict[str, Any], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert not client.track(**{"type": "click", "unit": "u", **call})
    [line] = caplog.records
    assert message in line.getMessage()
    assert client.waiting() == 0


def test_ids_and_times_of_a_hosts_own_types(client: Client, service: Service) -> None:
    moment = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    assert client.track("click", SHOP, at=moment, id=SHOP)  # type: ignore[arg-type]
    assert client.track("click", np.str_("u"), at=np.int64(1_772_323_200_000))  # type: ignore[arg-type]
    first, second = delivered(client, service)
    assert (first["unit"], first["id"], first["at"]) == (str(SHOP), str(SHOP), 1_772_323_200_000)
    assert (second["unit"], second["at"]) == ("u", 1_772_323_200_000)


def test_assignments_of_a_hosts_own_types(client: Client, service: Service) -> None:
    """Segment, dimensions and covariates as for the JSON values."""
    given = {"country": Country.US, "device": np.str_("ios"), "past_spend": decimal.Decimal("7.5")}
    choice = client.assign(SHOP, given, experiment=world.EXPERIMENT)  # type: ignore[arg-type]
    plain = client.assign(str(SHOP), US | {"past_spend": 7.5}, experiment=world.EXPERIMENT)
    assert choice == plain
    assert choice.assignment.segment == "us"
    assert client.expose(choice, covariates={"past_spend": np.float32(2.5)})
    [exposure] = delivered(client, service)
    assert exposure["covariates"] == {"past_spend": 2.5}
    assert exposure["dimensions"] == {"device": "ios"}


@pytest.mark.parametrize("value", [b"US", object(), 1j, Awkward.IT], ids=lambda value: type(value).__name__)
def test_an_attribute_that_is_no_json_is_an_error_with_a_line(
    client: Client, value: object, caplog: pytest.LogCaptureFixture
) -> None:
    choice = client.assign("u", {"country": value}, experiment=world.EXPERIMENT)
    assert (choice.variant, choice.assignment.reason, choice.enrolled) == ("control", "ERROR", False)
    [line] = caplog.records
    assert "control is served" in line.getMessage()


def test_predict_sends_json_of_a_hosts_own_types(client: Client, service: Service) -> None:
    service.on_predict = (200, {}, b'{"prediction": 1}')
    rows, known = np.array([[0.5, np.nan]]), {"past_spend": decimal.Decimal(3)}
    answer = client.predict("ranker", SHOP, rows, {"age": np.int64(3)}, covariates=known)  # type: ignore[arg-type]
    assert answer == {"prediction": 1}
    assert service.predictions == [
        {
            "unit": str(SHOP),
            "attributes": {"age": 3},
            "inputs": [[0.5, None]],
            "covariates": {"past_spend": 3},
        }
    ]


@pytest.mark.parametrize(
    "answer",
    [
        (200, {}, b"[" * 100_000), (200, {}, b"[1]"), (200, {}, b'{"reason": "SPLIT"}'),
        (400, {}, b'{"detail": "no such model"}'), (400, {}, b"1"), (503, {}, b"{}"),
    ],
    ids=lambda answer: f"{answer[0]} {answer[2][:20]!r}",
)  # fmt: skip
def test_predict_gives_the_default_whatever_is_answered(
    client: Client, service: Service, answer: tuple[int, dict[str, str], bytes]
) -> None:
    service.on_predict = answer
    found = client.predict("ranker", "u", [1.0], default=0.5)
    assert (found["prediction"], found["reason"]) == (0.5, "ERROR")
    assert client.predict("ranker", "u", object(), default=0.5)["prediction"] == 0.5


def test_the_first_outage_serves_the_version_the_host_names(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is known: control with FALLBACK, the default's model, no exposure, one line."""
    client = Client(NOBODY, data=tmp_path, timeout=0.2, default={"ranker": "ranker@1"})
    for default in (None, "ranker", "ranker@1"):
        choice = client.assign("u", US, experiment=world.EXPERIMENT, default=default)
        assert (choice.model, choice.variant, choice.assignment.reason) == ("ranker@1", "control", "FALLBACK")
        assert not choice.enrolled
        assert not client.expose(choice)
    assert client.assign("u", US, experiment="home", default="other@3").model == "other@3"
    assert caplog.text.count("cannot be reached") == 1
    assert client.waiting() == 0
    client.close(0.1)


def test_without_a_default_that_applies_nothing_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Client(NOBODY, data=tmp_path, timeout=0.2, default={"a": "a@1", "b": "b@2"}) as client:
        assert client.assign("u", US, experiment="home").model is None
        assert client.assign("u", US, experiment="home").assignment.reason == "ERROR"
        assert client.assign("u", US, experiment="home", default="b").model == "b@2"
        assert client.assign("u", US, experiment="home", default="c").model is None
        assert "default: not a model version" in caplog.text


def test_a_known_experiment_has_no_use_for_a_default(client: Client, service: Service) -> None:
    """Neither for a unit of its own nor for bad input, and it is asked as soon as it is known."""
    with_default = client.assign("u", US, experiment=world.EXPERIMENT, default="ranker@9")
    assert with_default == client.assign("u", US, experiment=world.EXPERIMENT)
    refused = client.assign("", US, experiment=world.EXPERIMENT, default="ranker@9")
    assert (refused.model, refused.assignment.reason) == ("ranker@1", "ERROR")
    assert client.assign("u", US, experiment=world.EXPERIMENT, default="no version") == with_default
    unknown = client.assign("u", US, experiment="no-such", default="ranker@9")
    assert (unknown.model, unknown.assignment.reason, unknown.enrolled) == ("ranker@9", "FALLBACK", False)


def test_the_default_ends_when_the_service_comes(service: Service, tmp_path: Path) -> None:
    document, service.raw = service.document, (503, {}, b"")
    with Client(service.url, data=tmp_path, refresh_seconds=0.05, default={"ranker": "ranker@9"}) as client:
        assert client.assign("u", US, experiment=world.EXPERIMENT).model == "ranker@9"
        service.document, service.raw = document, None
        until(lambda: client.assign("u", US, experiment=world.EXPERIMENT).enrolled)


@pytest.mark.parametrize("default", [{"ranker": "ranker"}, {"ranker": "other@1"}, {"ranker": 1}])
def test_a_default_that_is_no_version_of_its_model_is_refused(tmp_path: Path, default: Any) -> None:
    with pytest.raises(BadInput, match=r"default\.ranker"):
        Client(NOBODY, data=tmp_path, default=default)


def test_a_full_disk_is_said_and_costs_only_the_event(
    service: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The queue's own bound stands for the disk's: `track` says False, assignments go on."""
    service.on_events = lambda _: (503, {}, b"")
    with Client(service.url, data=tmp_path, refresh_seconds=0.05) as client:
        client._spool.max_bytes = 300
        kept = [client.track("click", "u", id=f"c{i}") for i in range(10)]
        assert kept[0]
        assert not kept[-1]
        assert caplog.text.count("an event is lost") == kept.count(False)
        choice = client.assign("u", US, experiment=world.EXPERIMENT)
        assert choice.enrolled
        assert not client.expose(choice)
        assert client.waiting() == kept.count(True)
        service.on_events = Service().on_events
        assert client.flush(20)
        assert client.expose(choice), "said again once there is room"
        assert client.flush(20)
    assert [event["type"] for event in service.events].count("exposure") == 1


def test_a_disk_that_is_full_is_reported_in_words(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_room(self: Spool, *_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Spool, "_keep_reserve", no_room)
    assert not client.track("click", "u")
    assert "no room on the disk" in caplog.text


def test_remembered_exposures_are_bounded(
    client: Client, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest is forgotten; told again it is the same event, which counts once."""
    monkeypatch.setattr(module, "_REMEMBERED_EXPOSURES", 5)
    choices = [client.assign(f"u{i}", US, experiment=world.EXPERIMENT) for i in range(9)]
    for choice in choices:
        assert client.expose(choice)
        assert client.expose(choice)
    assert len(client._exposed) == 5
    assert client.expose(choices[-1])
    assert len(delivered(client, service)) == 9
    assert client.expose(choices[0])
    events = delivered(client, service)
    assert len(events) == 10
    assert json.dumps(events).count(events[0]["id"]) == 2


def test_a_choice_about_nothing_known_says_of_whom_and_what(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Client(NOBODY, data=tmp_path, timeout=0.2) as client:
        choice = client.assign("u1", US, experiment="new")
        client.assign("u1", US, experiment="new")
    assert (choice.unit, choice.dimensions, choice.covariates) == ("u1", {}, {})
    known = choice.assignment
    assert (known.experiment, known.variant, known.revision, known.epoch) == ("new", "control", 0, 0)
    [line] = [line for line in caplog.records if line.name == "switchpoint.client"]
    assert line.getMessage() == (
        f"control is served: the service at {NOBODY} cannot be reached or has no snapshot yet, "
        "and none was kept from before"
    )


def test_a_hosts_value_that_raises_is_served_control_and_loses_its_event_alone(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    client.assign(cast("str", Awkward.IT), US, experiment=world.EXPERIMENT)
    assert not client.track("click", cast("str", Awkward.IT))
    assert [line.getMessage() for line in caplog.records] == ["control is served", "an event was refused"]


def test_an_event_that_no_disk_takes_is_said(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_: Spool, __: object) -> None:
        raise PlatformError("disk full")

    monkeypatch.setattr(Spool, "put", full)
    assert not client.track("click", "u")
    assert [line.getMessage() for line in caplog.records] == ["an event is lost: disk full"]


def test_events_and_exposures_are_of_now(client: Client, service: Service) -> None:
    """Within ten minutes: whatever the machine does meanwhile."""
    client.expose(client.assign("u1", US, experiment=world.EXPERIMENT))
    client.track("click", "u1")
    times = [event["at"] for event in delivered(client, service)]
    assert len(times) == 2
    assert all(abs(at - time.time() * 1000) < 600_000 for at in times)


@pytest.mark.parametrize("ahead", [-600, 9 * 86_400], ids=["host ahead", "host behind"])
def test_a_host_whose_clock_is_wrong_dates_by_the_services(
    service: Service, tmp_path: Path, ahead: float
) -> None:
    service.ahead, service.on_events = ahead, service.judged
    with Client(service.url, data=tmp_path, timeout=5.0) as client:
        client.expose(client.assign("u1", US, experiment=world.EXPERIMENT))
        client.track("click", "u1")
        times = [event["at"] for event in delivered(client, service)]
    assert len(times) == 2
    assert all(abs(at - service.now()) < 120_000 for at in times)


def test_what_a_wrong_clock_dated_before_the_service_was_seen_comes_again(
    service: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service.raw, service.on_events = (503, {}, b""), lambda _: (503, {}, b"")
    with Client(service.url, data=tmp_path, timeout=5.0, refresh_seconds=0.05) as client:
        assert client.track("click", "u1", id="early")
        begun = service.now() - 600_000
        service.ahead, service.on_events, service.raw = -600, service.judged, None
        (event,) = delivered(client, service)
    assert event["id"] == "early"
    assert begun - 120_000 < event["at"] <= service.now()
    assert "event early comes again, dated by the service's clock" in caplog.text


def test_no_time_is_judged_before_the_service_has_said_its_own(service: Service, tmp_path: Path) -> None:
    service.raw = (503, {}, b"")
    with Client(service.url, data=tmp_path, timeout=5.0) as client:
        assert client.track("click", "u1", at=service.now() + 600_000)


def test_a_time_ahead_of_the_service_is_refused_at_once(service: Service, tmp_path: Path) -> None:
    service.ahead = 0
    with Client(service.url, data=tmp_path, timeout=5.0) as client:
        assert not client.track("click", "u1", at=service.now() + 600_000)
        assert client.track("click", "u1", at=service.now() + 60_000)
        assert client.track("click", "u1", at=service.now() - 40 * 86_400_000)
        assert len(delivered(client, service)) == 2


def test_a_flush_that_did_not_end_says_so(client: Client, service: Service) -> None:
    service.on_events = lambda _: (503, {}, b"")
    client.track("click", "u1")
    assert client.flush(0.0) is False
    service.on_events = Service().on_events
    assert client.flush(20) is True


def test_the_last_snapshot_is_kept_beside_the_queue(service: Service, tmp_path: Path) -> None:
    with Client(service.url, data=tmp_path, timeout=5.0) as first:
        assert first.assign("u1", US, experiment=world.EXPERIMENT).enrolled
    assert {path.name for path in tmp_path.iterdir()} >= {"snapshot.json", "events.sqlite"}
    with Client(NOBODY, data=tmp_path, timeout=0.2) as second:
        assert second.assign("u1", US, experiment=world.EXPERIMENT).enrolled
