"""Draining: by the plan in force, around what has to wait, and not into a store that is not the known one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from switchpoint.experiment.errors import Corrupt, StoreUnavailable
from switchpoint.experiment.ledger.event import Status
from switchpoint.experiment.ledger.fold import LedgerPlan
from switchpoint.router.recording import drain
from tests.router.recording.test_recorder import NOW, Rig, click, exposure
from tests.waiting import replace_time


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.recorder.stop()
    rig.spool.close()


def spooled(rig: Rig, *raws: object) -> None:
    """Events that came while the store was away; it is there again."""
    rig.ledger.away = True
    rig.gate.failed(StoreUnavailable("away"))
    assert set(rig.statuses(*raws)) == {Status.SPOOLED}
    rig.ledger.away = False


def test_an_exposure_is_drained_by_the_plan_in_force(rig: Rig) -> None:
    """It was spooled by a worker whose plan does not know the experiment, which was started in the outage."""
    newest, rig.plan = rig.plan, LedgerPlan(())
    spooled(rig, exposure())
    rig.newer = newest
    assert rig.drainer.step() == 1
    assert [event.id for event in rig.ledger.events()] == ["x1"]
    assert rig.ledger.dead_letters() == []


def test_the_plan_is_read_again_where_it_changed_while_draining(rig: Rig) -> None:
    newest, rig.plan = rig.plan, LedgerPlan(())
    spooled(rig, exposure())
    looks = iter([True])

    def renew() -> bool:
        if not next(looks, False):  # the first look came before the commit
            rig.plan = newest
        return True

    rig.drainer._renew = renew
    assert rig.drainer.step() == 1
    assert (len(list(rig.ledger.events())), rig.ledger.dead_letters()) == (1, [])


def test_a_time_that_nobody_could_judge_is_judged_when_the_clock_is_known(rig: Rig) -> None:
    ahead = [click(number) | {"at": NOW + minutes * 60_000} for number, minutes in enumerate((0, 5, 6))]
    rig.ledger.away = True
    rig.gate.failed(StoreUnavailable("away"))
    items = rig.recorder.submit(ahead, now=None)
    assert {item.outcome.status for item in items} == {Status.SPOOLED}
    rig.ledger.away = False
    rig.drainer._now = lambda: NOW
    assert rig.drainer.step() == 1
    assert [event.id for event in rig.ledger.events()] == ["c0", "c1"]
    [letter] = rig.ledger.dead_letters()
    assert "360 s ahead of the server's clock" in letter.reason
    assert rig.ledger.refusals() == {"at": 1}


def test_nothing_is_refused_while_the_plan_in_force_cannot_be_read(rig: Rig) -> None:
    spooled(rig, exposure(epoch=2))
    looks = iter([True, False])
    rig.drainer._renew = lambda: next(looks)
    assert rig.drainer.step() == 0
    assert (len(rig.spool), rig.ledger.refusals(), rig.gate.up) == (1, {}, False)
    rig.drainer._renew = lambda: True
    assert rig.drainer.step() == 1
    assert (len(rig.spool), rig.ledger.refusals()) == (0, {"epoch": 1})


def test_nothing_is_sent_while_the_store_cannot_be_looked_at(rig: Rig) -> None:
    """It answers the probe, but may be another store: its records decide, and they were not read."""
    spooled(rig, click(1))
    rig.drainer._renew = lambda: False
    assert rig.drainer.step() == 0
    assert (len(rig.spool), list(rig.ledger.events())) == (1, [])


def test_what_is_kept_of_a_store_is_forgotten_before_anything_is_sent_to_it_again(rig: Rig) -> None:
    told: list[bool] = []
    rig.drainer._returned = lambda: told.append(rig.gate.up)
    spooled(rig, click(1))
    rig.drainer.step()
    rig.drainer.step()
    assert told == [False]


class Time:
    """The monotonic clock of the drainer, moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        replace_time(monkeypatch, drain, monotonic=lambda: self.now)


def test_event_ids_are_forgotten_every_hour_while_the_store_is_there(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, swept = Time(monkeypatch), []
    for hours, away in ((0, False), (0.9, False), (1.1, True), (1.2, False), (2.3, False), (2.4, False)):
        clock.now = 5.0 + 3600 * hours
        rig.ledger.away = away
        rig.gate.answering = not away
        rig.drainer.step()
        swept.append(rig.ledger.sweeps)
    assert swept == [1, 1, 1, 2, 3, 3]


def test_a_sweep_that_fails_stops_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def failed() -> int:
        raise StoreUnavailable("away")

    monkeypatch.setattr(rig.ledger, "sweep", failed)
    spooled(rig, click(1))
    rig.drainer.step()
    assert (rig.drainer.step(), len(rig.spool)) == (0, 0)


def test_a_row_that_cannot_be_counted_waits_and_holds_up_nobody(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store's bytes of one unit cannot be read: all else is counted, the row shrinks to what waits."""
    rig.ledger.poison = "bad"
    spooled(rig, click(1), click(2, "bad"), exposure(variant="nope"))
    spooled(rig, click(3))
    clock = Time(monkeypatch)
    assert rig.drainer.step() == 1
    assert sorted(event.id for event in rig.ledger.events()) == ["c1", "c3"]
    assert rig.ledger.refusals() == {"variant": 1}
    [row] = rig.spool.take(9)
    assert (row.payload.count(b"\n"), b"c2" in row.payload, row.attempts) == (0, True, 1)
    assert (rig.drainer.held_back, rig.gate.up) == (1, True)
    calls = len(rig.ledger.calls)
    for _ in range(3):
        assert rig.drainer.step() == 0
    assert len(rig.ledger.calls) == calls  # it is not due
    rig.ledger.poison = ""
    clock.now += 1
    assert rig.drainer.step() == 1
    assert sorted(event.id for event in rig.ledger.events()) == ["c1", "c2", "c3"]
    assert (len(rig.spool), rig.drainer.held_back, rig.ledger.refusals()) == (0, 0, {"variant": 1})


def test_a_row_that_keeps_failing_is_tried_ever_later_and_at_least_every_five_minutes(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    spooled(rig, click(1, "bad"))
    rig.ledger.poison = "bad"
    clock = Time(monkeypatch)
    begin, tried = clock.now, []
    for _ in range(1_500):
        calls = len(rig.ledger.calls)
        rig.drainer.step()
        if len(rig.ledger.calls) > calls:
            tried.append(clock.now - begin)
        clock.now += 1
    assert tried == [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 811, 1_111, 1_411]
    assert rig.spool.take(1)[0].attempts == len(tried)


def test_an_unknown_error_of_one_row_holds_back_that_row_alone(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Here of counting its refused event; the rows around it are delivered, later ones too."""
    for number in range(3):
        spooled(rig, click(number), *([exposure(variant="nope")] if number == 1 else []))
    clock, refuse = Time(monkeypatch), rig.ledger.refuse

    def failing(*_: Any, **__: Any) -> None:
        raise Corrupt("a key of another type")

    monkeypatch.setattr(rig.ledger, "refuse", failing)
    assert rig.drainer.step() == 2
    assert (len(rig.spool), rig.drainer.held_back, rig.gate.up) == (1, 1, True)
    assert "row 2 of the spool is held back" in caplog.text
    spooled(rig, click(9))
    assert rig.drainer.step() == 1
    monkeypatch.setattr(rig.ledger, "refuse", refuse)
    clock.now += 1
    assert rig.drainer.step() == 1
    assert (len(rig.spool), rig.ledger.refusals()) == (0, {"variant": 1})
    assert len(list(rig.ledger.events())) == 4


def test_an_outage_while_rows_are_held_back_changes_nothing_for_them(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    spooled(rig, click(1, "bad"))
    rig.ledger.poison = "bad"
    clock = Time(monkeypatch)
    rig.drainer.step()
    spooled(rig, click(2))
    rig.ledger.away = True
    assert rig.drainer.step() == 0
    clock.now += 5
    rig.gate.answered()
    assert rig.drainer.step() == 0  # away again before the row that is due has its turn
    rig.ledger.away, rig.ledger.poison = False, ""
    assert rig.drainer.step() == 2
    assert (len(rig.spool), rig.drainer.held_back) == (0, 0)


def test_a_row_that_another_process_delivered_is_forgotten_and_one_it_left_is_taken(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.ledger.poison = "bad"
    for number in range(3):
        spooled(rig, click(number, "bad"))
    clock = Time(monkeypatch)
    rig.drainer.step()
    assert rig.drainer.held_back == 3
    first, second, _ = rig.spool.take(3)
    rig.spool.done([second.row_id])
    del rig.drainer._held_back[first.row_id]  # as after the file was another one for a while
    rig.ledger.poison = ""
    assert rig.drainer.step() == 0
    clock.now += 1
    assert rig.drainer.step() == 1
    assert rig.drainer.step() == 1
    assert (len(rig.spool), rig.drainer.held_back) == (0, 0)
