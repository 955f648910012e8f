"""Ten minutes of random faults: nothing acknowledged is lost or counted twice, and nobody says what is not so."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import pytest

from switchpoint.experiment.ledger.verify import verify
from tests.chaos.machine import Machine

SECONDS = float(os.environ.get("CHAOS_SECONDS", "600"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))


@pytest.mark.chaos
@pytest.mark.timeout(int(SECONDS) + 900)
def test_random_faults(tmp_path: Path) -> None:
    with Machine(tmp_path, SEED) as machine:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            machine.step()
        machine.heal()
        machine.end_traffic()
        machine.heal()
        log = list(machine.ledger.events())
        ids = Counter((event.unit, event.id) for event in log)
        names = {name for _, name in ids}
        exposed = {event.unit for event in log if event.exposure}
        acknowledged = machine.acknowledged.union(*(sender.acknowledged for sender in machine.senders))
        sent = set[str]().union(*(sender.sent for sender in machine.senders))
        print(f"seed {SEED}: {len(log)} on the log, {len(acknowledged)} acknowledged, {dict(machine.events)}")
        print(f"predictions {dict(machine.witness.answers)}, refusals {machine.ledger.refusals()}")
        print(f"bad events: {machine.refused} refused at the door, {machine.doubted} later")
        print(f"pauses {[round(seconds, 2) for seconds in sorted(machine.pauses)]}")
        assert set(ids.values()) == {1}
        assert acknowledged - names == set()
        assert machine.wrongly_refused == []
        assert sum(machine.ledger.refusals().values()) <= machine.refused + machine.doubted
        assert sum(machine.ledger.refusals().values()) >= machine.doubted
        assert machine.witness.recorded - exposed == set()
        assert {name for name in names if name.startswith("s") and "-" in name} <= sent
        assert not [name for name in names if name.startswith("bad-")]
        assert machine.witness.false_ready == []
        assert max(machine.pauses) <= 2.0
        assert verify(machine.ledger, machine.catalog.plan()) == []
        assert machine.empty_store() == []
