"""Draining: by the plan in force, around what has to wait, and not into a store that is not the known one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from experiment.errors import StoreUnavailable
from experiment.event import Status
from experiment.fold import LedgerPlan
from tests.router.serving.test_recorder import Rig, click, exposure


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
