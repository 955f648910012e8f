"""Recording: batches, per-item statuses, spool when the store is away, never an acknowledgement from memory."""

from __future__ import annotations

import json
import threading
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from switchpoint.experiment.errors import Conflict, Corrupt, SpoolFull, StoreUnavailable
from switchpoint.experiment.ledger.codec import parse_event
from switchpoint.experiment.ledger.event import Event, Status
from switchpoint.experiment.ledger.fold import LedgerPlan
from switchpoint.experiment.ledger.plan import Checked, Slot
from switchpoint.experiment.store.memory import MemoryLedger, MemoryRecords
from switchpoint.experiment.store.spool import Spool
from switchpoint.router.recording import recorder
from switchpoint.router.recording.drain import Drainer, only_drainer
from switchpoint.router.recording.gate import StoreGate
from switchpoint.router.recording.recorder import Recorder, Work, answer
from tests.router import world
from tests.waiting import HUNG, replace_time, until

NOW = world.now_ms()


class FlakyLedger(MemoryLedger):
    """A memory ledger that can be away, wait for `go_on`, trip over one unit, or have no room for another."""

    def __init__(self) -> None:
        super().__init__()
        self.away, self.poison, self.full = False, "", ""
        self.calls: list[int] = []
        self.sweeps = 0
        self.go_on = threading.Event()
        self.go_on.set()

    def record(
        self, events: Sequence[Event | Checked], plan: LedgerPlan, *, history: bool = False
    ) -> list[Status]:
        self.calls.append(len(events))
        assert self.go_on.wait(HUNG)
        if self.away:
            raise StoreUnavailable("away")
        if self.poison in {plan.check(e).event.unit for e in events}:
            raise Corrupt("unreadable record")
        full = [plan.check(event).event.unit == self.full for event in events]
        kept = [event for event, no_room in zip(events, full, strict=True) if not no_room]
        statuses = iter(super().record(kept, plan, history=history))
        return [Status.REJECTED if no_room else next(statuses) for no_room in full]

    def sweep(self) -> int:
        self.sweeps += 1
        return super().sweep()

    def position(self) -> dict[str, str]:
        if self.away:
            raise StoreUnavailable("away")
        return super().position()


class Rig:
    """A recorder with its drainer over a flaky ledger."""

    def __init__(self, folder: Path, *, spool_bytes: int = 10_000_000, linger: float = 0.002) -> None:
        records = MemoryRecords()
        self.catalog = world.build(records, folder)
        self.plan = self.catalog.plan()
        self.ledger, self.gate = FlakyLedger(), StoreGate()
        self.spool = Spool(folder / "spool.sqlite", spool_bytes)
        self.renewed = 0
        self.recorder = Recorder(
            self.ledger, self.spool, lambda: self.plan, gate=self.gate, renew=self._renew, linger=linger
        )
        self.newer: LedgerPlan | None = None
        self.drainer = Drainer(self.ledger, self.spool, lambda: self.plan, gate=self.gate, renew=self._renew)
        self.recorder.start()

    def _renew(self) -> bool:
        self.renewed += 1
        if not self.ledger.away:
            self.plan = self.newer or self.plan
        return self.gate.up and not self.ledger.away

    def statuses(self, *raws: object) -> list[Status]:
        return [item.outcome.status for item in self.recorder.submit(list(raws), now=NOW)]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.recorder.stop()
    rig.spool.close()


def click(number: int, unit: str = "u1") -> dict[str, object]:
    return {"id": f"c{number}", "type": "click", "unit": unit, "at": NOW}


def exposure(**changes: object) -> dict[str, object]:
    return {
        "id": "x1", "type": "exposure", "unit": "u1", "at": NOW, "experiment": world.EXPERIMENT,
        "variant": "control", "segment": "us", "epoch": 1, "revision": 2, "propensity": 0.5,
    } | changes  # fmt: skip


def test_one_bad_event_never_fails_its_batch(rig: Rig) -> None:
    """Good events around bad ones are stored, the bad ones are told why, a duplicate is called one."""
    items = rig.recorder.submit(
        [click(1), {"type": "click"}, click(1), 7, exposure(variant="nope"), exposure(),
         {"id": "p", "type": "purchase", "unit": "u1", "at": NOW, "properties": {"amount": "12"}}],
        now=NOW,
    )  # fmt: skip
    assert [i.outcome.status.value for i in items] == [
        "stored", "rejected", "duplicate", "rejected", "rejected", "stored", "rejected",
    ]  # fmt: skip
    assert "unknown variant 'nope'" in str(items[4].outcome.reason)
    assert "properties.amount" in str(items[6].outcome.reason)
    assert items[6].id == "p"


class Raw(dict[str, object]):
    """What can be watched."""


def test_refused_events_are_gone_with_their_request(rig: Rig) -> None:
    """An error refers to the frames it passed; kept in one of them it would hold a request of 1 MB."""
    raws = [Raw(click(1, "")), Raw(exposure(variant="nope")), Raw(click(2))]
    watched = [weakref.ref(raw) for raw in raws]
    assert rig.statuses(*raws) == [Status.REJECTED, Status.REJECTED, Status.STORED]
    del raws
    assert [ref() for ref in watched] == [None, None, None]


def test_refused_events_are_counted_by_cause_and_kept_as_they_came(rig: Rig) -> None:
    bad_amount = {"id": "p", "type": "purchase", "unit": "u1", "at": NOW, "properties": {"amount": "12"}}
    items = rig.recorder.submit(
        [click(1), click(2, ""), 7, click(3) | {"at": NOW + 10**7}, click(4, "a\x07"), click(5) | {"amount": 1},
         exposure(variant="nope"), bad_amount],
        now=NOW,
    )  # fmt: skip
    expected = {"unit": 2, "event": 1, "at": 1, "unknown field": 1, "variant": 1, "properties": 1}
    assert answer(items)["refused"] == expected
    rig.recorder.stop()
    assert rig.ledger.refusals() == expected
    letters = rig.ledger.dead_letters()
    assert [letter.cause for letter in letters][-2:] == ["event", "unit"]
    assert letters[-1].raw == json.dumps(click(2, ""))
    assert letters[-1].reason.startswith("unit:")


def test_the_answer_names_each_event_with_its_status_and_why_it_was_refused(rig: Rig) -> None:
    """An id is shown as it came; one that is no id is shown short, and where there is none nothing is."""
    long = "l" * 256
    items = rig.recorder.submit(
        [click(1), click(1), click(2, "") | {"id": long}, click(3, "") | {"id": long + "l"},
         click(4) | {"id": 7}, {"type": "click"}, [1]],
        now=NOW,
    )  # fmt: skip
    shown = answer(items)
    assert list(shown) == ["items", "refused"]
    assert shown["refused"] == {"unit": 1, "id": 3, "event": 1}
    assert [item.id for item in items] == ["c1", "c1", long, "'" + "l" * 119 + "…", "7", None, None]
    reasons = [item.outcome.reason for item in items]
    assert shown["items"] == [
        {"id": "c1", "status": "stored"},
        {"id": "c1", "status": "duplicate"},
        *(
            {"id": item.id, "status": "rejected", "reason": reason}
            for item, reason in zip(items[2:], reasons[2:], strict=True)
        ),
    ]


def test_what_the_ledger_refuses_is_kept_under_its_cause(rig: Rig) -> None:
    """As it came, or as the event that this process made of it."""
    rig.ledger.full = "full"
    assert rig.statuses(click(1, "full")) == [Status.REJECTED]
    made = parse_event(click(2, "full"), now=NOW)
    assert rig.recorder.record([made])[0].status is Status.REJECTED
    rig.recorder.stop()
    second, first = rig.ledger.dead_letters()
    assert json.loads(first.raw) == click(1, "full")
    assert parse_event(json.loads(second.raw), now=NOW) == made
    assert {first.cause, second.cause} == {"bound"}
    assert "beyond its bound" in first.reason


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ({"unit": "Zoë", "at": {1}}, '{"unit": "Zoë", "at": "{1}"}'),
        (b"bytes", "\"b'bytes'\""),
        ("y" * 20_000, '"' + "y" * 16_383),
    ],
)
def test_a_refused_event_is_kept_readable_whatever_it_is(rig: Rig, raw: object, kept: str) -> None:
    rig.statuses(raw)
    rig.recorder.stop()
    assert [letter.raw for letter in rig.ledger.dead_letters()] == [kept]


def test_the_room_for_refused_events_of_a_cause_is_used_up_and_then_free_again(rig: Rig) -> None:
    """Six of 16,384 characters and one of 1,696 are 100,000: the next one is only counted."""
    frame = len(json.dumps({"id": ""}))
    last = {"id": "y" * (100_000 - 6 * 16_384 - frame)}
    for posted in (1, 2):
        rig.recorder.stop()
        rig.statuses(*({"id": "y" * 20_000} for _ in range(6)), last, {"id": "no room"}, 7)
        rig.recorder.start()
        rig.recorder.stop()
        kept = rig.ledger.dead_letters(1_000)
        assert len(kept) == 8 * posted
        assert not any("no room" in letter.raw for letter in kept)
        assert rig.ledger.refusals() == {"type": 8 * posted, "event": posted}


def test_stop_does_not_wait_for_ever_for_a_store_that_hangs(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float | None] = []
    join = threading.Thread.join

    def joined(thread: threading.Thread, timeout: float | None = None) -> None:
        waited.append(timeout)
        join(thread, timeout)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "join", joined)
        rig.recorder.stop()
    assert waited == [5.0, 5.0]


def test_refused_events_are_counted_without_waiting_for_another(rig: Rig) -> None:
    rig.statuses(7)
    until(lambda: rig.ledger.refusals() == {"event": 1})


def test_without_a_writer_the_caller_writes(rig: Rig) -> None:
    rig.recorder.stop()
    assert rig.statuses(click(1), click(1)) == [Status.STORED, Status.DUPLICATE]


def test_a_recorder_that_never_started_writes_and_ends_all_the_same(rig: Rig) -> None:
    idle = Recorder(rig.ledger, rig.spool, lambda: rig.plan, gate=rig.gate, renew=rig._renew)
    idle.stop()
    assert [item.outcome.status for item in idle.submit([click(1)], now=NOW)] == [Status.STORED]


def test_refused_events_whose_count_failed_are_logged_and_counted_without_others(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    refuse = rig.ledger.refuse

    def failing(*args: Any, **options: Any) -> None:
        raise StoreUnavailable("no answer")

    rig.ledger.refuse = failing  # type: ignore[method-assign]
    rig.statuses(7)
    until(lambda: "refused events wait to be counted: no answer" in [r.getMessage() for r in caplog.records])
    rig.ledger.refuse = refuse  # type: ignore[method-assign]
    rig.recorder.stop()
    assert rig.ledger.refusals() == {"event": 1}


def test_refused_events_wait_for_the_store_and_are_counted_once(rig: Rig) -> None:
    """In an outage, and when the answer of the store is lost after it counted."""
    rig.ledger.away = True
    rig.statuses(click(1), click(2, ""))
    refuse, lost = rig.ledger.refuse, iter([True, True])

    def answer_lost(*args: Any, **options: Any) -> None:
        refuse(*args, **options)
        if next(lost, False):
            raise StoreUnavailable("no answer")

    rig.ledger.refuse = answer_lost  # type: ignore[method-assign]
    assert rig.ledger.refusals() == {}
    rig.ledger.away = False
    rig.gate.answered()
    for number in range(3, 6):
        rig.statuses(click(number), click(number, ""))
    rig.recorder.stop()
    assert rig.ledger.refusals() == {"unit": 4}
    assert len(rig.ledger.dead_letters()) == 4


def test_a_flood_of_refused_events_is_counted_in_full_and_kept_in_part(rig: Rig) -> None:
    """A hundred of each cause: the flood hides no other cause, and what is only counted is not even written out."""
    rig.recorder.stop()  # nobody takes what waits
    for _ in range(3):
        rig.statuses(*(click(i, "") for i in range(1_000)))
    rig.statuses(*(click(i, "") | {"at": Unwritable()} for i in range(10)), 7)
    rig.recorder.start()
    rig.recorder.stop()
    assert rig.ledger.refusals() == {"unit": 3_010, "event": 1}
    kept = rig.ledger.dead_letters(10_000)
    assert sorted({letter.raw for letter in kept}) == sorted(
        [json.dumps(click(i, "")) for i in range(100)] + ["7"]
    )
    assert len(kept) == 101


class Unwritable:
    def __repr__(self) -> str:
        raise AssertionError("written out for nothing")


def test_refused_events_are_counted_in_one_call_a_second_and_good_ones_do_not_wait_for_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    asked, answer_it = threading.Event(), threading.Event()
    refuse = rig.ledger.refuse

    def hanging(letters: Sequence[Any], **options: Any) -> None:
        calls.append(len(letters))
        asked.set()
        assert answer_it.wait(HUNG)
        refuse(letters, **options)

    rig.ledger.refuse = hanging  # type: ignore[method-assign]
    rig.statuses(7)
    assert asked.wait(HUNG)
    for number in range(20):
        assert rig.statuses(click(number), 8, 9) == [Status.STORED, Status.REJECTED, Status.REJECTED]
    assert calls == [1]
    answer_it.set()
    rig.recorder.stop()
    assert calls == [1, 40]
    assert rig.ledger.refusals() == {"event": 41}


def test_what_a_failed_call_left_is_sent_again_before_what_came_since(rig: Rig) -> None:
    """Under its own token: its answer was lost after it counted."""
    calls: list[tuple[int, str]] = []
    refuse, lost = rig.ledger.refuse, iter([True, True])

    def answer_lost(letters: Sequence[Any], *, token: str, **options: Any) -> None:
        calls.append((len(letters), token))
        refuse(letters, token=token, **options)
        if next(lost, False):
            raise ZeroDivisionError("no answer, and nobody has listed why")

    rig.ledger.refuse = answer_lost  # type: ignore[method-assign]
    rig.statuses(7)
    until(lambda: calls)
    rig.statuses(8, 9)
    until(lambda: len(calls) == 2)
    rig.recorder.stop()
    assert rig.ledger.refusals() == {"event": 3}
    assert [size for size, _ in calls] == [1, 1, 1, 2]
    assert len({token for _, token in calls}) == 2


def test_events_take_turns_with_others(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a thousand are read and checked the event loop is let go every 32."""
    naps: list[float] = []
    with monkeypatch.context() as patched:
        replace_time(patched, recorder, sleep=naps.append)
        rig.statuses(*(click(i, "") for i in range(64)))
        assert naps == [0.001] * 2
        rig.statuses(*(click(i, "") for i in range(31)))
        assert naps == [0.001] * 2


def test_long_refused_events_do_not_fill_the_memory(rig: Rig) -> None:
    rig.recorder.stop()
    rig.statuses(*({"id": "y" * 50_000} for _ in range(500)))
    rig.recorder.start()
    rig.recorder.stop()
    kept = rig.ledger.dead_letters(10_000)
    assert [len(letter.raw) for letter in kept] == [16_384] * 7
    assert rig.ledger.refusals() == {"type": 500}


def test_a_spooled_event_that_is_refused_is_counted_once_however_often_it_is_drained(rig: Rig) -> None:
    rig.ledger.away = True
    rig.statuses(*(click(i) for i in range(200)))
    rig.statuses(exposure(experiment="brand-new"))
    rig.ledger.away = False
    refuse, failed = rig.ledger.refuse, iter([True])

    def answer_lost(*args: Any, **options: Any) -> None:
        refuse(*args, **options)
        if next(failed, False):
            raise StoreUnavailable("no answer")

    rig.ledger.refuse = answer_lost  # type: ignore[method-assign]
    rig.drainer.step()
    assert len(rig.spool) == 1
    rig.drainer.step()
    assert len(rig.spool) == 0
    assert rig.ledger.refusals() == {"experiment": 1}


def test_concurrent_requests_share_a_ledger_call(tmp_path: Path) -> None:
    """What arrives while a batch is being written goes out together with the next one."""
    rig = Rig(tmp_path)
    rig.ledger.go_on.clear()
    with ThreadPoolExecutor(40) as pool:
        found = [pool.submit(rig.statuses, click(i, f"u{i}")) for i in range(40)]
        until(lambda: rig.ledger.calls and sum(rig.ledger.calls) + rig.recorder._queue.qsize() == 40)
        rig.ledger.go_on.set()
        assert [one.result() for one in found] == [[Status.STORED]] * 40
    rig.recorder.stop()
    assert len(rig.ledger.calls) <= 2


def test_a_small_batch_waits_for_company_until_it_is_full(tmp_path: Path) -> None:
    rig = Rig(tmp_path, linger=HUNG)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(rig.statuses, *(click(i, f"u{i}") for i in range(100)))
        until(lambda: rig.recorder._writer and first.running() and rig.recorder._queue.empty())
        second = pool.submit(rig.statuses, *(click(i, f"u{i}") for i in range(100, 200)))
        assert first.result() + second.result() == [Status.STORED] * 200
    rig.recorder.stop()
    assert rig.ledger.calls == [200]


def test_an_outage_is_logged_with_its_cause(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.ledger.away = True
    rig.statuses(click(1))
    assert "the store is away, events go to the spool: away" in caplog.text


def test_what_does_not_fit_a_batch_waits_for_the_next_one(rig: Rig) -> None:
    rig.recorder.stop()
    waiting: list[Work] = []
    for size in (150, 100, 50):
        events = [parse_event(click(i, f"u{size}-{i}"), now=NOW) for i in range(size)]
        waiting.append((events, Future()))
        rig.recorder._queue.put(waiting[-1])
    rig.recorder.start()
    rig.recorder.stop()
    assert rig.ledger.calls == [150, 150]
    assert {outcome.status for _, future in waiting for outcome in future.result()} == {Status.STORED}


def test_large_submission_is_cut_into_batches(rig: Rig) -> None:
    statuses = rig.statuses(*(click(i, f"u{i}") for i in range(950)))
    assert set(statuses) == {Status.STORED}
    assert max(rig.ledger.calls) <= 200


def test_outage_spools_and_drains_once(rig: Rig) -> None:
    """Away: spooled at once after the first failure. Back: everything counted, also what was sent twice."""
    rig.ledger.away = True
    assert rig.statuses(exposure(), click(1)) == [Status.SPOOLED, Status.SPOOLED]
    calls = len(rig.ledger.calls)
    assert rig.statuses(click(2)) == [Status.SPOOLED]
    assert len(rig.ledger.calls) == calls  # the gate is shut: nobody waits for the store again
    assert rig.drainer.step() == 0
    rig.ledger.away = False
    assert rig.drainer.step() == 2
    assert len(rig.spool) == 0
    assert rig.statuses(click(2), click(3)) == [Status.DUPLICATE, Status.STORED]
    assert sorted(e.id for e in rig.ledger.events()) == ["c1", "c2", "c3", "x1"]


def test_outage_in_the_middle_of_a_drain_keeps_the_rest(rig: Rig) -> None:
    rig.ledger.away = True
    for i in range(8):
        rig.statuses(*(click(120 * i + j) for j in range(120)))  # two rows are more than one call takes
    rig.ledger.away = False
    rig.gate.answered()
    failing = iter([False, False, True])
    record = rig.ledger.record

    def sometimes(
        events: Sequence[Event | Checked], plan: LedgerPlan, *, history: bool = False
    ) -> list[Status]:
        if next(failing, False):
            raise StoreUnavailable("away again")
        return record(events, plan, history=history)

    rig.ledger.record = sometimes  # type: ignore[method-assign]
    assert rig.drainer.step() == 2
    assert len(rig.spool) == 6
    assert rig.spool.take(1)[0].attempts == 1
    assert rig.drainer.step() == 6
    assert len(list(rig.ledger.events())) == 8 * 120


def test_nothing_durable_left_refuses_the_call(tmp_path: Path) -> None:
    """Store away and spool full: an error for the caller, no status, nothing remembered."""
    rig = Rig(tmp_path, spool_bytes=300)
    rig.ledger.away = True
    with pytest.raises(SpoolFull):
        rig.statuses(*(click(i) for i in range(50)))
    rig.ledger.away = False
    rig.drainer.step()
    assert rig.statuses(click(1)) == [Status.STORED]
    rig.recorder.stop()


def test_a_unit_with_unreadable_bytes_waits_and_does_not_stop_the_others(rig: Rig) -> None:
    """What the store has of it is no fault of the event: it is counted when it can be read again."""
    rig.ledger.poison = "bad"
    statuses = rig.statuses(click(1), click(2, "bad"), click(3), click(4))
    assert statuses == [Status.STORED, Status.SPOOLED, Status.STORED, Status.STORED]
    assert rig.gate.up
    rig.ledger.poison = ""
    assert rig.drainer.step() == 1
    assert sorted(event.id for event in rig.ledger.events()) == ["c1", "c2", "c3", "c4"]
    assert rig.ledger.refusals() == {}


@pytest.mark.parametrize(
    "error", [Conflict("another form"), ZeroDivisionError("a bug")], ids=["known", "unknown"]
)
def test_an_error_that_says_nothing_of_the_event_refuses_none(
    rig: Rig, error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(*_: Any, **__: Any) -> list[Status]:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(rig.ledger, "record", failing)
        assert rig.statuses(click(1), click(2)) == [Status.SPOOLED] * 2
        assert repr(error) in caplog.text
    assert rig.drainer.step() == 1
    assert len(list(rig.ledger.events())) == 2


def test_a_plan_that_cannot_be_read_again_refuses_nothing(rig: Rig) -> None:
    """The store answers (the gate is up), and its records do not: who knows what they say by now."""
    rig.recorder._renew = lambda: False
    assert rig.statuses(exposure(experiment="brand-new"), click(1), 7) == [
        Status.SPOOLED, Status.STORED, Status.REJECTED,
    ]  # fmt: skip
    assert rig.drainer.step() == 1
    assert rig.ledger.refusals() == {"experiment": 1}


def test_what_the_plan_stopped_knowing_on_its_way_is_left_to_the_drainer(rig: Rig) -> None:
    """Between the door's look at the plan and the writer's."""
    known, plans = rig.plan, iter([rig.plan, LedgerPlan(())])
    rig.recorder._plan = lambda: next(plans)
    assert rig.statuses(exposure(), click(1)) == [Status.SPOOLED, Status.STORED]
    assert rig.plan is known
    assert rig.drainer.step() == 1
    assert (len(list(rig.ledger.events())), rig.ledger.refusals()) == (2, {})


def test_the_plan_is_read_once_for_all_that_it_does_not_know(rig: Rig) -> None:
    assert rig.statuses(*(exposure(experiment=f"new-{i}") for i in range(50))) == [Status.REJECTED] * 50
    assert rig.renewed == 1
    assert rig.statuses(click(1), 7) == [Status.STORED, Status.REJECTED]
    assert rig.renewed == 1


def test_what_this_process_made_is_judged_by_its_own_snapshot(rig: Rig) -> None:
    bad = parse_event(exposure(experiment="brand-new"), now=NOW)
    assert [outcome.cause for outcome in rig.recorder.record([bad])] == ["experiment"]
    assert rig.renewed == 0


def test_plan_is_renewed_before_an_exposure_is_refused(rig: Rig) -> None:
    """A worker whose plan is a second old must not refuse the exposure of an experiment just started."""
    newest = rig.plan
    rig.plan = LedgerPlan(())
    rig.newer = newest
    assert rig.statuses(exposure()) == [Status.STORED]


def test_what_the_renewed_plan_checked_is_not_checked_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once by the plan that does not know it, once by the one that does; the ledger takes it as checked."""
    newest, checked = rig.plan, []
    check = LedgerPlan.check

    def counting(plan: LedgerPlan, event: Event | Checked) -> Checked:
        if isinstance(event, Event):
            checked.append(plan)
        return check(plan, event)

    monkeypatch.setattr(LedgerPlan, "check", counting)
    rig.plan = LedgerPlan(())
    rig.newer = newest
    assert rig.statuses(exposure()) == [Status.STORED]
    assert checked == [LedgerPlan(()), newest]


def test_unknown_experiment_in_an_outage_is_spooled_and_judged_later(rig: Rig) -> None:
    """Cut off from the store nobody can say that the experiment does not exist."""
    rig.ledger.away = True
    rig.statuses(click(1))
    assert rig.statuses(exposure(experiment="brand-new")) == [Status.SPOOLED]
    rig.ledger.away = False
    rig.drainer.step()
    assert len(rig.spool) == 0
    assert "brand-new" in rig.ledger.dead_letters()[0].raw


def test_unreadable_batch_in_the_spool_goes_to_the_dead_letters(rig: Rig) -> None:
    rig.spool.put([b"\xff not json"])
    rig.statuses(click(1))
    assert rig.drainer.step() == 1
    assert rig.ledger.dead_letters()[0].reason.startswith("unreadable")


def test_one_drainer_at_a_time(rig: Rig) -> None:
    with only_drainer(rig.spool) as first, only_drainer(rig.spool) as second:
        assert (first, second) == (True, False)
    with only_drainer(rig.spool) as again:
        assert again


def test_future_times_are_refused_at_live_doors_only(rig: Rig) -> None:
    ahead = click(1) | {"at": NOW + 3_600_000}
    assert rig.statuses(ahead) == [Status.REJECTED]
    assert rig.recorder.submit([ahead], now=None)[0].outcome.status is Status.STORED


def test_stop_writes_what_is_queued(rig: Rig) -> None:
    """Also what came while an earlier event was being written."""
    rig.ledger.go_on.clear()
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(rig.statuses, click(1))
        until(lambda: rig.ledger.calls)
        second = pool.submit(rig.statuses, click(2))
        until(lambda: rig.recorder._queue.qsize() == 1)
        stopped = pool.submit(rig.recorder.stop)
        until(lambda: rig.recorder._queue.qsize() == 2)
        rig.ledger.go_on.set()
        stopped.result()
        assert first.result() + second.result() == [Status.STORED] * 2
    assert [e.id for e in rig.ledger.events()] == ["c1", "c2"]


def test_the_door_computes_each_amount_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the door checked is handed on; only a plan that changed meanwhile checks again."""
    computed: list[str] = []
    amount = Slot.amount

    def counting(slot: Slot, event: Event) -> int:
        computed.append(event.id)
        return amount(slot, event)

    monkeypatch.setattr(Slot, "amount", counting)
    rig.statuses(exposure(), click(1), click(2))
    assert computed
    assert len(computed) == len(set(computed))
