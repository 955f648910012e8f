"""The client's thread step by step: a clock of the test's own, the real queue, and a service that is told what to say."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from switchpoint.experiment.errors import PlatformError, StoreUnavailable
from switchpoint.experiment.ledger.codec import AHEAD_MS, decode, encode
from switchpoint.experiment.ledger.event import Event
from switchpoint.experiment.store.spool import Spool
from switchpoint.router.client import background as module
from switchpoint.router.client.background import Background
from switchpoint.router.client.remote import RefusedBatch, Remote
from switchpoint.router.recording.clock import Clock as ServiceClock
from switchpoint.router.snapshot import SnapshotHolder
from tests.waiting import replace_time


@dataclass
class Wake:
    """In place of the event that the thread sleeps on: notes how long it would sleep, and lets the clock go on."""

    passes: Sequence[float | None]
    """How much of each sleep passes; None for all of it. The thread ends after the last."""
    clock: Clock
    end: Callable[[], None]
    slept: list[float] = field(default_factory=list)

    def wait(self, seconds: float) -> None:
        passes = self.passes[len(self.slept)]
        self.slept.append(round(seconds, 9))
        self.clock.now += seconds if passes is None else passes
        if len(self.slept) == len(self.passes):
            self.end()

    def clear(self) -> None:
        pass

    def set(self) -> None:
        pass


@dataclass
class Clock:
    now: float = 100.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class Service:
    """What the thread asks: notes what was sent, and answers by `say`."""

    say: Callable[[list[bytes]], list[dict[str, Any]]] = lambda _: []
    sent: list[list[bytes]] = field(default_factory=list)
    looks: int = 0
    clock: ServiceClock = field(default_factory=ServiceClock)

    def send(self, payloads: list[bytes]) -> list[dict[str, Any]]:
        self.sent.append(payloads)
        return self.say(payloads)

    def refresh(self) -> None:
        self.looks += 1


def background(service: Service, spool: Spool | None, *, refresh_seconds: float = 2.0) -> Background:
    return Background(
        cast("Remote", service), cast("Spool", spool), cast("SnapshotHolder", service),
        refresh_seconds=refresh_seconds, looked_at=100.0,
    )  # fmt: skip


@dataclass
class Run:
    slept: list[float]
    looks: int
    tries: int


def run(
    monkeypatch: pytest.MonkeyPatch, passes: Sequence[float | None], *, refresh_seconds: float = 2.0,
    away: bool = False, urgent: int | None = None,
) -> Run:  # fmt: skip
    """The thread's loop until it has slept as often as said; `away` is the service, `urgent` a sleep that a
    flush ends."""
    service, clock, tries = Service(), Clock(), itertools.count()
    thread = background(service, None, refresh_seconds=refresh_seconds)

    def end() -> None:
        thread._stopped = True

    wake = Wake(passes, clock, end)

    def deliver() -> bool:
        next(tries)
        return not away

    def uniform(low: float, high: float) -> float:
        assert (low, high) == (0.5, 1.0)
        return 0.75

    replace_time(monkeypatch, module, monotonic=clock.monotonic)
    monkeypatch.setattr(thread, "_wake", wake)
    monkeypatch.setattr(thread, "_deliver", deliver)
    monkeypatch.setattr(thread._random, "uniform", uniform)
    if urgent is not None:
        waits = wake.wait

        def flushed(seconds: float) -> None:
            waits(seconds)
            if len(wake.slept) == urgent:
                thread.wake(urgent=True)

        monkeypatch.setattr(wake, "wait", flushed)
    thread._run()
    return Run(wake.slept, service.looks, next(tries))


def test_it_looks_and_delivers_once_an_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, [None] * 3) == Run(slept=[2.0, 2.0, 2.0], looks=2, tries=3)


def test_an_event_in_the_same_instant_is_delivered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, [0.0, 0.5, None]) == Run(slept=[2.0, 2.0, 1.5], looks=0, tries=3)


def test_it_backs_off_from_a_fifth_of_a_second_by_a_part_drawn_at_random(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three quarters of 0.2, 0.4, 0.8 and 1.6 s."""
    assert run(monkeypatch, [None] * 4, refresh_seconds=3600, away=True) == Run([0.15, 0.3, 0.6, 1.2], 0, 4)


def test_an_event_during_a_back_off_waits_for_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = run(monkeypatch, [0.1, None, None], refresh_seconds=3600, away=True)
    assert ran == Run(slept=[0.15, 0.05, 0.3], looks=0, tries=2)


def test_only_a_flush_is_urgent() -> None:
    thread = background(Service(), None)
    thread.wake()
    assert not thread._urgent
    thread.wake(urgent=True)
    assert thread._urgent


def test_a_flush_during_a_back_off_is_delivered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the next event waits again."""
    ran = run(monkeypatch, [0.1, 0.1, None], refresh_seconds=3600, away=True, urgent=1)
    assert ran == Run(slept=[0.15, 0.3, 0.2], looks=0, tries=2)


def test_a_look_due_during_a_back_off_ends_the_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = run(monkeypatch, [None] * 3, refresh_seconds=0.25, away=True)
    assert ran == Run(slept=[0.15, 0.1, 0.2], looks=1, tries=2)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "events.sqlite")


def texts(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(line.levelname, line.getMessage()) for line in caplog.records]


def refuse(fault: Exception) -> Callable[[list[bytes]], list[dict[str, Any]]]:
    def say(_: list[bytes]) -> list[dict[str, Any]]:
        raise fault

    return say


def test_what_is_delivered_leaves_the_queue(spool: Spool) -> None:
    spool.put([b"a", b"b"])
    service = Service()
    assert background(service, spool)._deliver() is True
    assert (service.sent, len(spool)) == ([[b"a", b"b"]], 0)


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        (StoreUnavailable("gone"), ("INFO", "events wait, the service is away: gone")),
        (PlatformError("disk"), ("ERROR", "the event queue cannot be used: disk")),
        (RuntimeError("bug"), ("ERROR", "sending events failed")),
    ],
    ids=["away", "queue", "bug"],
)
def test_what_is_not_delivered_stays_and_is_said(
    spool: Spool, fault: Exception, line: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    spool.put([b"a"])
    assert background(Service(refuse(fault)), spool)._deliver() is False
    assert texts(caplog) == [line]
    assert len(spool) == 1


@pytest.mark.parametrize(
    ("sizes", "counts"),
    [((399_999, 399_999), [2]), ((400_000, 399_999), [1, 1]), ((900_000, 1), [1, 1])],
    ids=["just fit", "one byte too many", "large alone"],
)
def test_a_request_is_bounded_with_a_byte_between_events(
    spool: Spool, sizes: Sequence[int], counts: Sequence[int]
) -> None:
    spool.put([b"x" * size for size in sizes])
    service = Service()
    assert background(service, spool)._deliver()
    assert [len(batch) for batch in service.sent] == list(counts)


def test_a_refused_batch_is_halved_until_the_event_is_known(
    spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    def say(payloads: list[bytes]) -> list[dict[str, Any]]:
        if b"b" in payloads:
            raise RefusedBatch("400 no")
        return []

    spool.put([b"a", b"b", b"c"])
    service = Service(say)
    assert background(service, spool)._deliver()
    assert service.sent == [[b"a", b"b", b"c"], [b"a"], [b"b", b"c"], [b"b"], [b"c"]]
    assert texts(caplog) == [("ERROR", "an event is given up, the service refuses it: 400 no")]
    assert len(spool) == 0


def test_a_rejected_event_is_said(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    spool.put([b"a", b"b"])
    items = [{"id": "a", "status": "stored"}, {"id": "b", "status": "rejected", "reason": "late"}]
    assert background(Service(lambda _: items), spool)._deliver()
    assert texts(caplog) == [("WARNING", "event b was rejected: late")]


@pytest.mark.parametrize(
    ("drift", "ahead", "dated"),
    [
        (600, AHEAD_MS + 1, AHEAD_MS + 1 - 600_000),
        (600, 2 * 86_400_000, 0),
        (-600, AHEAD_MS + 1, 0),
        (600, AHEAD_MS, None),
        (None, AHEAD_MS + 1, None),
    ],
    ids=[
        "the drift is taken off",
        "not in the future",
        "not moved back further",
        "not ahead",
        "no time known",
    ],
)
def test_what_is_refused_for_the_hosts_clock_comes_again_by_the_services(
    spool: Spool, caplog: pytest.LogCaptureFixture, drift: float | None, ahead: int, dated: int | None
) -> None:
    """`ahead` and `dated` are relative to the service's clock, which says second 1000."""
    service = Service(lambda _: [{"id": "e", "status": "rejected", "reason": "at"}])
    service.clock = ServiceClock(wall=lambda: 1000 + (drift or 0), steady=lambda: 7.0)
    if drift is not None:
        service.clock.hear(1000.0, seconds=0.0)
    event = Event(id="e", type="click", unit="u", at=1_000_000 + ahead)
    spool.put([encode(event).encode()])
    batch = spool.take(9)
    background(service, spool)._send(batch)
    left = [decode(item.payload.decode()) for item in spool.take(9)]
    assert left == ([] if dated is None else [replace(event, at=1_000_000 + dated)])
    said = [("WARNING", "event e was rejected: at")]
    if dated is not None:
        said.append(("WARNING", "event e comes again, dated by the service's clock"))
    assert texts(caplog) == said
