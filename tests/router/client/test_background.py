"""The client's thread: it follows the service, delivers, backs off, and outlives whatever is answered."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from switchpoint.experiment.errors import BadInput, PlatformError, StoreUnavailable
from switchpoint.experiment.store.spool import Spool
from switchpoint.router.client import Client, background, remote
from switchpoint.router.client.background import Background, next_delay
from switchpoint.router.recording.drain import only_drainer
from tests.router import world
from tests.router.client.service import EMPTY, Answer, Service, serving, snapshot, stored
from tests.waiting import HUNG, replace_time, until

US = {"country": "US"}
DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as running:
        yield running


def client_of(service: Service, folder: Path, **options: Any) -> Client:
    return Client(service.url, data=folder, **({"refresh_seconds": 0.05, "timeout": 5.0} | options))


def enrolled(client: Client) -> bool:
    return client.assign("u1", US, experiment=world.EXPERIMENT).enrolled


def test_a_pause_and_a_new_experiment_are_followed(service: Service, tmp_path: Path) -> None:
    with client_of(service, tmp_path) as client:
        assert client.assign_all("u1", US) == {}
        service.document = snapshot(running=True)
        until(lambda: enrolled(client))
        service.document = snapshot(running=False, revision=2)
        until(lambda: not enrolled(client))


def test_the_service_is_asked_once_an_interval_and_not_for_every_event(
    service: Service, tmp_path: Path
) -> None:
    with client_of(service, tmp_path, refresh_seconds=3600) as client:
        for i in range(50):
            client.track("click", "u", id=f"c{i}")
        assert client.flush(20)
        assert service.looks == 1


def test_an_outage_with_events_waiting_does_not_delay_the_next_look(service: Service, tmp_path: Path) -> None:
    """The back-off of deliveries is not one of refreshes."""
    service.on_events = lambda _: (503, {}, b"")
    with client_of(service, tmp_path) as client:
        client.track("click", "u")
        until(lambda: len(service.batches) > 2)
        tries, looks = len(service.batches), service.looks
        until(lambda: service.looks > looks + 20)
        assert len(service.batches) - tries < 10
        service.on_events = Service().on_events
        assert client.flush(20)


def test_back_off_doubles_up_to_half_a_minute() -> None:
    delays = [0.0]
    for _ in range(10):
        delays.append(next_delay(delays[-1]))
    assert delays == [0.0, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]


def test_a_failed_delivery_is_tried_again_without_another_event(service: Service, tmp_path: Path) -> None:
    answers: list[tuple[int, dict[str, str], bytes]] = [
        (503, {}, b""),
        (500, {}, b""),
        (200, {}, b'{"items": []}'),
    ]
    usual = service.on_events
    service.on_events = lambda events: answers.pop(0) if answers else usual(events)
    with client_of(service, tmp_path, refresh_seconds=3600) as client:
        client.track("click", "u", id="c")
        until(lambda: client.waiting() == 0)
    # the answer with too few items was 200, so the stub counted it; the client did not
    assert [event["id"] for event in service.events] == ["c", "c"]


def test_requests_are_bounded_in_events_and_bytes(service: Service, tmp_path: Path) -> None:
    large = {"text": "x" * 8_000}
    service.on_events = lambda _: (503, {}, b"")
    with client_of(service, tmp_path) as client:
        for i in range(250):
            client.track("click", "u", large if i < 120 else None, id=f"c{i}")
        service.on_events = Service().on_events
        service.batches.clear()
        assert client.flush(20)
    assert len(service.events) == 250
    assert max(size for _, size in service.batches) < 810_000
    assert max(count for count, _ in service.batches) <= 200
    assert len(service.batches) < 10


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_a_batch_refused_as_a_whole_loses_only_the_event_concerned(
    service: Service, tmp_path: Path, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """It is halved until the event is found, which is given up with a line in the log."""

    def picky(events: list[dict[str, Any]]) -> Answer:
        return (status, {}, b"no") if any(event["id"] == "c13" for event in events) else stored(events)

    service.on_events = lambda _: (503, {}, b"")
    with client_of(service, tmp_path) as client:
        for i in range(20):
            client.track("click", "u", id=f"c{i}")
        service.on_events = picky
        service.batches.clear()
        assert client.flush(20)
    assert [event["id"] for event in service.events] == [f"c{i}" for i in range(20) if i != 13]
    assert caplog.text.count("an event is given up") == 1
    assert service.batches[0][0] > 1
    assert len(service.batches) < 20


BROKEN: dict[str, tuple[int, dict[str, str], bytes]] = {
    "deep": (200, {}, DEEP),
    "deep object": (200, {}, b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    "no json": (200, {}, b"<html>"),
    "empty": (200, {}, b""),
    "not utf-8": (200, {}, b"\xff\xfe\xfa"),
    "list": (200, {}, b"[]"),
    "text": (200, {}, b'"x"'),
    "number": (200, {}, b"1"),
    "null": (200, {}, b"null"),
    "other keys": (200, {}, b"{}"),
    "other types": (200, {}, b'{"revision": {}, "experiments": 1, "champions": "x", "models": null}'),
    "bodies": (200, {}, json.dumps(EMPTY | {"experiments": [1, None]}).encode()),
    "deep body": (200, {}, json.dumps(EMPTY).encode().replace(b"[]", b"[" * 900 + b"]" * 900, 1)),
    "cut off": (200, {"Content-Length": "900000"}, json.dumps(EMPTY).encode()),
    "not changed, unasked": (304, {}, b""),
    "redirect": (302, {"Location": "/"}, b""),
    "forbidden": (403, {}, b"no"),
    "error": (500, {}, b"no"),
    "long number": (200, {}, b"1" * 5000),
    "bad length": (200, {"Content-Length": "x"}, b"{}"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_thread_outlives_a_broken_snapshot(
    service: Service, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Made during it or before it, the client serves what it knows and follows once the answer is sound."""
    service.document = snapshot(running=True)
    with client_of(service, tmp_path / "before", timeout=1.0) as before:
        assert enrolled(before)
        service.raw = BROKEN[name]
        looks = service.looks
        with client_of(service, tmp_path / "during", timeout=1.0) as during:
            assert not enrolled(during)
            until(lambda: service.looks > looks + 4)
            assert enrolled(before)
            assert len([line for line in caplog.records if line.exc_info]) <= 2, "one line a client"
            service.raw, service.document = None, snapshot(running=False, revision=2)
            until(lambda: not enrolled(before))
            service.document = snapshot(running=True, revision=3)
            until(lambda: enrolled(during))


@pytest.mark.parametrize("name", ["deep", "no json", "long number", "cut off", "forbidden"])
def test_what_is_no_answer_at_all_counts_as_an_absent_service(service: Service, name: str) -> None:
    """The reader of answers says so itself, without a traceback in the log."""
    service.raw = BROKEN[name]
    with pytest.raises(StoreUnavailable, match=r"/v1/snapshot|answer"):
        remote.Remote(service.url, timeout=1.0).stamp()


def test_a_fault_that_comes_back_is_logged_again(
    service: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def lines() -> int:
        return caplog.text.count("cannot be compiled")

    with client_of(service, tmp_path):
        for times in (1, 2):
            service.raw = BROKEN["list"]
            until(lambda count: lines() == count, times)
            service.raw = None
            looks = service.looks
            until(lambda before: service.looks > before + 2, looks)
    assert lines() == 2


def test_an_answer_without_a_tag_is_followed(service: Service, tmp_path: Path) -> None:
    """A proxy dropped the ETag."""
    service.raw = (200, {}, json.dumps(snapshot(running=True)).encode())
    with client_of(service, tmp_path) as client:
        assert enrolled(client)
        service.raw = (200, {}, json.dumps(snapshot(running=False, revision=2)).encode())
        until(lambda: not enrolled(client))


def test_an_endless_answer_is_cut_off(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "MAX_BYTES", 100_000)
    service.raw = (200, {}, b" " * 200_000 + b"{}")
    with client_of(service, tmp_path) as client:
        assert client.assign_all("u") == {}


def test_a_trickling_answer_ends_at_the_deadline(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every chunk comes within the socket's timeout, the whole never would."""
    monkeypatch.setattr(remote, "_BYTES_AT_A_TIME", 1)
    ticks = iter(range(10**9))
    replace_time(monkeypatch, remote, monotonic=lambda: float(next(ticks)))
    service.document = snapshot(running=True)
    asked = remote.Remote(service.url, timeout=5.0)
    with pytest.raises(PlatformError, match="did not end in time"):
        asked.stamp()


@pytest.mark.parametrize(
    "answer",
    [
        (200, {}, DEEP), (200, {}, b"[]"), (200, {}, b"{}"), (200, {}, b'{"items": [1]}'), (200, {}, b"null"),
        (200, {}, b'{"items": [{}]}'), (200, {}, b'{"items": [{"status": "what"}]}'),
        (200, {}, b'{"items": [{"status": ["stored"]}]}'), (200, {}, b'{"items": {"0": 1}}'), (204, {}, b""), (404, {}, b""),
    ],
    ids=lambda answer: f"{answer[0]} {answer[2][:30]!r}",
)  # fmt: skip
def test_an_event_leaves_the_queue_only_for_a_status_of_its_own(
    service: Service, tmp_path: Path, answer: tuple[int, dict[str, str], bytes]
) -> None:
    """Whatever a proxy answers in the service's place, nothing is lost and the thread goes on."""
    usual = service.on_events
    service.on_events = lambda _: answer
    with client_of(service, tmp_path) as client:
        client.track("click", "u", id="c")
        until(lambda: len(service.batches) > 1)
        assert client.waiting() == 1
        service.on_events = usual
        assert client.flush(20)
    assert service.events[-1]["id"] == "c"


def test_what_the_service_rejects_is_said(
    service: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    body = {"items": [{"id": "c", "status": "rejected", "reason": "properties.amount: missing"}]}
    service.on_events = lambda _: (200, {}, json.dumps(body).encode())
    with client_of(service, tmp_path) as client:
        client.track("purchase", "u", id="c")
        assert client.flush(20)
    assert "event c was rejected: properties.amount: missing" in caplog.text


def test_a_queue_that_cannot_be_read_does_not_end_the_thread(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    faults: list[Exception] = [PlatformError("disk"), RuntimeError("bug")]
    take = Spool.take

    def broken(self: Spool, limit: int) -> Any:
        if faults:
            raise faults.pop(0)
        return take(self, limit)

    monkeypatch.setattr(Spool, "take", broken)
    with client_of(service, tmp_path) as client:
        client.track("click", "u", id="c")
        assert client.flush(20)
    assert "the event queue cannot be used: disk" in caplog.text
    assert "sending events failed" in caplog.text
    assert [event["id"] for event in service.events] == ["c"]


def test_who_waits_for_delivery_does_not_wait_for_the_back_off(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "FIRST_DELAY_SECONDS", 10 * HUNG)
    monkeypatch.setattr(background, "LONGEST_DELAY_SECONDS", 10 * HUNG)
    service.on_events = lambda _: (503, {}, b"")
    with client_of(service, tmp_path) as client:
        client.track("click", "u")
        until(lambda: service.batches)
        service.on_events = stored
        assert client.flush(20)


@contextmanager
def draining(spool: Spool) -> Iterator[None]:
    """Be the one that drains, as soon as the client, which looks many times a second, is not."""
    with ExitStack() as stack:
        until(lambda: stack.enter_context(only_drainer(spool)))
        yield


def test_another_process_on_the_folder_delivers_meanwhile(service: Service, tmp_path: Path) -> None:
    with client_of(service, tmp_path, refresh_seconds=0.02) as client:
        looks = service.looks
        with draining(Spool(tmp_path / "events.sqlite")):
            client.track("click", "u")
            until(lambda: service.looks > looks + 3)
            assert service.events == []
        assert client.flush(20)


def test_a_host_without_a_thread_left_is_served_and_follows(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    service.document = snapshot(running=True)
    with monkeypatch.context() as patch:
        patch.setattr(Background, "_run", lambda _: None)
        patch.setattr(threading.Thread, "start", refuse)
        client = client_of(service, tmp_path, refresh_seconds=0.0)
        assert client.assign("u1", US, experiment=world.EXPERIMENT)
    said = {line.getMessage() for line in caplog.records if line.levelname == "ERROR"}
    assert said == {"nothing is delivered for now: can't start new thread"}
    until(lambda: enrolled(client))
    assert client.close(20)


def test_the_hosts_random_numbers_stay_its_own(service: Service, tmp_path: Path) -> None:
    import random

    random.seed(1)
    state = random.getstate()
    service.on_events = lambda _: (503, {}, b"")
    client = client_of(service, tmp_path)
    client.track("click", "u")
    until(lambda: len(service.batches) > 2)
    client.close(0.01)
    assert random.getstate() == state


def test_an_outage_is_logged_quietly(
    service: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    service.on_events = lambda _: (503, {}, b"")
    client = client_of(service, tmp_path)
    client.track("click", "u")
    until(lambda: "events wait, the service is away" in caplog.text)
    client.close(0.01)
    assert not [line for line in caplog.records if line.levelno > logging.WARNING]


def test_threads_of_a_forked_child_share_one_successor(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process id is what a child sees; whichever thread comes first, one background runs."""
    service.document = snapshot(running=True)
    with client_of(service, tmp_path) as client:
        made = client._background
        monkeypatch.setattr("switchpoint.router.client.background.os.getpid", lambda: made.pid + 1)
        looks = service.looks
        made.looked_at -= 3600
        first = made.successor()
        assert made.successor() is first
        assert not first.started
        assert client.assign("u1", US, experiment=world.EXPERIMENT).enrolled
        assert client._background is first
        assert first.started
        assert service.looks > looks, "the last look was an hour ago"
        made.stop(5.0)
        client.track("click", "u", id="c1")
        assert client.flush(20), "what the child keeps is delivered to the same service"
        monkeypatch.undo()
        first.stop(5.0)
        monkeypatch.setattr("switchpoint.router.client.background.os.getpid", lambda: made.pid + 2)
        closed = made.successor()
        closed.start()
        assert not closed.started
        monkeypatch.undo()


@pytest.mark.parametrize("url", ["ftp://host", "host:8000", "http://"])
def test_an_address_that_is_not_http_is_refused(url: str) -> None:
    with pytest.raises(BadInput, match=r"base_url: is not an HTTP address.*give http://host:port"):
        remote.Remote(url, timeout=1.0)
