"""/readyz in words: what a worker lacks to answer for everything that is live, and what its neighbours say."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import disk_usage
from typing import Any, cast

import pytest

from switchpoint.experiment.definition.types import ModelRef
from switchpoint.experiment.errors import AccessDenied, Corrupt, StoreReverted, StoreUnavailable
from switchpoint.experiment.ledger.event import Event, Status
from switchpoint.experiment.registry.audit import Note
from switchpoint.experiment.registry.catalog import Catalog
from switchpoint.experiment.registry.model import Content, Format
from switchpoint.experiment.registry.records import Kind, Put, Records
from switchpoint.experiment.store.journal import export, restore
from switchpoint.experiment.store.known import StoreMemory
from switchpoint.experiment.store.memory import MemoryLedger, MemoryRecords
from switchpoint.experiment.store.redis.connection import ServerFinding, Severity
from switchpoint.experiment.store.spool import Spool
from switchpoint.router.http.metrics import Metrics
from switchpoint.router.recording.clock import Clock
from switchpoint.router.recording.drain import Drainer, payload
from switchpoint.router.recording.gate import StoreGate
from switchpoint.router.recording.recorder import Recorder
from switchpoint.router.serving.background import Background
from switchpoint.router.serving.wsgi import RecordsSource
from switchpoint.router.snapshot import Snapshot, SnapshotHolder
from tests.router import world
from tests.router.models.test_runtime import Rig
from tests.waiting import HUNG, until


class SwappedRecords:
    """Records whose store can be exchanged behind the worker's back, or refuse the worker."""

    def __init__(self) -> None:
        self.inner: Records = MemoryRecords()
        self.denied = False

    def __getattr__(self, name: str) -> object:
        if self.denied:
            raise AccessDenied("Redis refused: the password of SWITCHPOINT_REDIS_URL is missing or wrong")
        return getattr(self.inner, name)


@dataclass
class Worker:
    """The parts of a serving worker that readiness looks at, over records and a ledger in memory."""

    catalog: Catalog
    holder: SnapshotHolder
    background: Background
    gate: StoreGate
    rig: Rig
    findings: list[ServerFinding]
    records: SwappedRecords
    ledger: MemoryLedger
    spool: Spool
    metrics: Metrics
    store_ahead: float = 0.0

    def reasons(self) -> list[str]:
        facts = self.background.readiness()
        assert facts["ready"] is (facts["reasons"] == [])
        found: list[str] = facts["reasons"]
        return found

    def know(self, *refs: str) -> None:
        """Teach the loader these versions; others fail to load."""
        for name in refs:
            model, _, number = name.partition("@")
            self.rig.add(self.catalog.model(ModelRef(model, int(number))).digest, lambda x: x)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    ledger, gate, metrics, rig = MemoryLedger(), StoreGate(), Metrics(), Rig()
    swapped = SwappedRecords()
    records = cast("Records", swapped)
    catalog = world.build(records, tmp_path)
    findings: list[ServerFinding] = []
    source = RecordsSource(records, StoreMemory(tmp_path, "default"))
    holder = SnapshotHolder(source, tmp_path / "snapshot.json")
    with Spool(tmp_path / "spool.sqlite") as spool:

        def renew() -> bool:
            return background.refresh()

        drainer = Drainer(ledger, spool, lambda: holder.current.plan, gate=gate, renew=renew)
        background = Background(
            holder, drainer, spool, gate, metrics, rig.models, inspect=lambda: findings,
            clock=Clock(lambda: time.time() + worker.store_ahead),
        )  # fmt: skip
        worker = Worker(catalog, holder, background, gate, rig, findings, swapped, ledger, spool, metrics)
        yield worker
    rig.executor.shutdown()


def test_before_the_store_was_read_nothing_is_ready(worker: Worker) -> None:
    assert worker.reasons() == ["no snapshot: the store was not reached since this process started"]


def test_a_version_that_loads_or_cannot_be_loaded_is_named_until_it_answers(worker: Worker) -> None:
    loaded = threading.Event()
    worker.know("ranker@1", "ranker@2")
    worker.rig.loader.loading = lambda: loaded.wait(30)
    worker.background.step()
    assert worker.reasons() == ["loading ranker@1", "loading ranker@2"]
    loaded.set()
    until(lambda: worker.reasons() == [])

    third = Content(format=Format.SKOPS, artifact={"m.skops": f"sha256:{'3' * 64}"})
    version = worker.catalog.register_model("ranker", third, at=world.now_ms(), actor="t")
    worker.background.step()
    assert worker.reasons() == []  # registered is not live
    worker.catalog.crown(version.ref, reason="test", at=world.now_ms(), actor="t")
    worker.background.step()
    until(lambda: worker.reasons() != ["loading ranker@3"])
    assert worker.reasons() == [f"ranker@3 cannot be loaded: KeyError('{version.digest}')"]


def test_a_live_version_that_the_registry_lost_is_named(worker: Worker) -> None:
    worker.know("ranker@1", "ranker@2")
    worker.background.step()
    until(lambda: worker.reasons() == [])
    document = dict(worker.holder.current.document)
    worker.holder.current = Snapshot.from_document({**document, "models": document["models"][:1]})
    assert worker.reasons() == ["ranker@2 is live and not in the registry"]


def test_a_model_held_back_by_its_breaker_leaves_the_worker_ready(worker: Worker) -> None:
    """Whoever runs behind it has failed, control answers: other workers would do no better."""
    worker.know("ranker@1", "ranker@2")
    worker.background.step()
    until(lambda: worker.reasons() == [])
    for slot in worker.rig.models._slots.values():
        for _ in range(5):
            slot.breaker.failure()
    assert worker.background.readiness()["models"]["held_back"] == ["ranker@1", "ranker@2"]
    assert worker.reasons() == []


def test_a_server_that_may_lose_counts_is_named_with_its_fix(worker: Worker) -> None:
    worker.know("ranker@1", "ranker@2")
    wrong = ServerFinding(name="role", value="slave", severity=Severity.ERROR, fix="use the primary")
    worker.findings += [wrong, replace(wrong, name="appendfsync", severity=Severity.WARN)]
    worker.background.step()
    until(lambda: worker.reasons() == ["role slave: use the primary"])


def test_an_emptied_store_leaves_the_last_snapshot_and_its_copy_and_events_wait(
    worker: Worker, tmp_path: Path
) -> None:
    """Nothing is read from it nor written to it until it is restored; then everything goes on."""
    worker.know("ranker@1", "ranker@2")
    worker.background.step()
    until(lambda: worker.reasons() == [])
    before, copy = worker.holder.current, (tmp_path / "snapshot.json").read_bytes()
    full = worker.records.inner
    worker.records.inner = MemoryRecords()
    for _ in range(3):
        worker.background.step()
        [reason] = worker.reasons()
        assert reason.startswith("the store is empty, but this data directory has seen it at revision 4")
        assert "switchpoint restore" in reason
    assert worker.holder.current is before
    assert (tmp_path / "snapshot.json").read_bytes() == copy
    assert worker.background.readiness()["store"]["up"] is False

    recorder = Recorder(worker.ledger, worker.spool, lambda: before.plan, gate=worker.gate)
    event = {"id": "e", "type": "click", "unit": "u", "at": world.now_ms()}
    assert [item.outcome.status for item in recorder.submit([event], now=None)] == [Status.SPOOLED]
    worker.background.step()
    assert list(worker.ledger.events()) == []
    assert worker.background.readiness()["spool"] == {"available": True, "batches": 1, "held_back": 0}

    export(full, tmp_path / "journal")
    restore(tmp_path / "journal", worker.records.inner)
    worker.background.step()
    assert worker.reasons() == []
    assert [e.id for e in worker.ledger.events()] == ["e"]


def test_a_worker_that_starts_on_an_emptied_store_serves_the_copy(worker: Worker, tmp_path: Path) -> None:
    worker.background.step()
    empty = RecordsSource(MemoryRecords(), StoreMemory(tmp_path, "default"))
    again = SnapshotHolder(empty, tmp_path / "snapshot.json")
    assert not again.refresh()
    assert again.refusal is not None
    assert again.current.document == worker.holder.current.document
    assert again.current.running == (world.EXPERIMENT,)


def test_to_keep_the_ledgers_settings_believes_no_store(tmp_path: Path) -> None:
    """They are looked at between two looks at the records, when an older store may have come."""
    records, memory = SwappedRecords(), StoreMemory(tmp_path, "default")
    source = RecordsSource(cast("Records", records), memory)
    catalog = world.build(cast("Records", records), tmp_path)
    export(records.inner, tmp_path / "journal")
    catalog.pause(world.EXPERIMENT, at=world.now_ms(), actor="t")
    source.stamp()
    records.inner = MemoryRecords()
    restore(tmp_path / "journal", records.inner)
    source.remember_ledger({"shards": 3})
    with pytest.raises(
        StoreReverted, match="at revision 4, but this data directory has seen it at revision 5"
    ):
        source.stamp()
    known = memory.known()
    assert known is not None
    assert known.ledger == {"shards": 3}


def test_a_store_is_known_by_its_identity_until_it_is_another_one(tmp_path: Path) -> None:
    """What the ledger is bound to: nothing before the first look, and nothing while the store is refused."""
    records = SwappedRecords()
    heard: list[str | None] = []
    source = RecordsSource(
        cast("Records", records),
        StoreMemory(tmp_path, "default"),
        exchanged=lambda: heard.append(source.store),
    )
    assert source.store is None
    source.stamp()
    assert source.store == ""  # no records yet
    catalog = world.build(cast("Records", records), tmp_path)
    source.stamp()
    identity = records.inner.identity()
    assert source.store == identity
    records.denied = True
    with pytest.raises(AccessDenied):
        source.stamp()
    assert source.store == identity  # it is away: that says nothing
    records.denied = False
    catalog.pause(world.EXPERIMENT, at=world.now_ms(), actor="t")
    source.stamp()
    full, records.inner = records.inner, MemoryRecords()
    with pytest.raises(StoreReverted):
        source.stamp()
    assert source.store is None
    export(full, tmp_path / "journal")
    restore(tmp_path / "journal", records.inner)
    source.stamp()
    assert source.store == records.inner.identity() != identity
    assert heard == [None, "", None]


def test_a_revision_that_cannot_be_compiled_is_named_and_the_last_one_served(worker: Worker) -> None:
    worker.know("ranker@1", "ranker@2")
    worker.background.step()
    until(lambda: worker.reasons() == [])
    put = Put(kind=Kind.EXPERIMENT, key="broken", body={"nonsense": 1}, expected_version=0)
    worker.records.inner.commit([put], Note(at=1, actor="t", action="write", subject="broken"))
    worker.background.step()
    [reason] = worker.reasons()
    assert reason.startswith("the newest revision cannot be used: ")
    assert worker.holder.current.running == (world.EXPERIMENT,)
    assert worker.gate.up


def test_a_worker_that_is_refused_by_its_store_is_not_ready(worker: Worker) -> None:
    """A wrong password is not an outage that ends by itself."""
    worker.know("ranker@1", "ranker@2")
    worker.background.step()
    worker.records.denied = True
    worker.background.step()
    until(lambda: len(worker.reasons()) == 1)
    assert worker.reasons() == ["Redis refused: the password of SWITCHPOINT_REDIS_URL is missing or wrong"]
    assert not worker.gate.up
    worker.records.denied = False
    worker.background.step()
    assert worker.reasons() == []
    assert worker.gate.up


def test_a_spool_that_cannot_keep_events_is_named_until_it_can(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.know("ranker@1", "ranker@2")
    worker.background.step()
    until(lambda: worker.reasons() == [])
    full = type(disk_usage("/"))(total=1, used=1, free=0)
    with monkeypatch.context() as patched:
        patched.setattr("switchpoint.experiment.store.spool.shutil.disk_usage", lambda _: full)
        again(worker)
        assert worker.reasons() == [
            f"no room on the disk for spool {worker.spool.path}. Fix: free some space"
        ]
        assert worker.background.readiness()["spool"] == {"available": False, "batches": 0, "held_back": 0}
    again(worker)
    assert worker.reasons() == []
    worker.spool.max_bytes = 1000
    again(worker)
    assert worker.reasons() == []  # the store takes the events
    worker.gate.answering = False
    worker.background._probed_at = float("-inf")
    worker.background._probe_spool()
    assert worker.reasons() == ["the store is away and the spool is full: events are refused"]


def test_a_spool_of_no_bytes_is_missed_only_while_the_store_is_away(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was to be kept there, so its disk does not matter either."""
    full = type(disk_usage("/"))(total=1, used=1, free=0)
    monkeypatch.setattr("switchpoint.experiment.store.spool.shutil.disk_usage", lambda _: full)
    worker.know("ranker@1", "ranker@2")
    worker.spool.max_bytes = 0
    worker.background.step()
    until(lambda: worker.reasons() == [])
    worker.gate.answering = False
    worker.background._probed_at = float("-inf")
    worker.background._probe_spool()
    assert worker.reasons() == ["the store is away and the spool is full: events are refused"]


def again(worker: Worker) -> None:
    """One round that looks at the spool, whenever it was looked at last."""
    worker.background._probed_at = float("-inf")
    worker.background.step()


def test_neighbours_hear_what_a_caller_heard(worker: Worker) -> None:
    """Between two rounds too: else a service that said "ready" is not, by an older word of the same worker."""
    loaded = threading.Event()
    worker.know("ranker@1", "ranker@2")
    worker.rig.loader.loading = lambda: loaded.wait(30)
    worker.background.step()

    def told() -> bool:
        return b"\nswitchpoint_ready 1.0" in worker.metrics.exposition("")[0]

    assert told()  # it takes no requests yet
    worker.background.open()
    assert not told()
    loaded.set()
    until(lambda: worker.reasons() == [])
    assert told()


NEIGHBOUR = """
import sys
from switchpoint.router.http.metrics import Metrics
metrics = Metrics()
print("starts", flush=True)
for line in sys.stdin:
    metrics.ready.set(int(line))
    print("said", flush=True)
"""


def test_a_neighbour_that_is_not_ready_makes_the_service_not_ready(tmp_path: Path) -> None:
    """Requests reach any worker of the port. One that starts takes none yet; a dead one says nothing."""
    environ = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[3])}
    asker = "from switchpoint.router.http.metrics import Metrics; m = Metrics(); m.ready.set(0); print(m.others_ready())"

    def others_ready() -> str:
        command = [sys.executable, "-c", asker]
        said = subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout.strip()
        for path in tmp_path.glob("*.db"):  # what gunicorn's child_exit does with a dead worker's gauges
            if not path.stem.endswith(f"_{neighbour.pid}"):
                path.unlink()
        return said

    neighbour = subprocess.Popen(
        [sys.executable, "-c", NEIGHBOUR],
        env=environ,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with neighbour:
        assert neighbour.stdin is not None
        assert neighbour.stdout is not None
        neighbour.stdout.readline()
        assert others_ready() == "True"
        for value, expected in (("0", "False"), ("1", "True")):
            neighbour.stdin.write(f"{value}\n")
            neighbour.stdin.flush()
            neighbour.stdout.readline()
            assert others_ready() == expected
        neighbour.stdin.close()


def test_a_clock_that_differs_from_the_stores_is_a_warning_and_no_reason(worker: Worker) -> None:
    worker.know("ranker@1", "ranker@2")
    worker.store_ahead = -600
    worker.background.step()
    until(lambda: worker.reasons() == [])
    store = worker.background.readiness()["store"]
    assert store["warnings"] == [
        "clock 600.0 s behind this machine's: synchronise this machine and the server (NTP)"
    ]
    assert store["clock_drift_seconds"] == pytest.approx(600, abs=5)
    worker.store_ahead = 0
    worker.background.step()
    assert worker.background.readiness()["store"]["warnings"] == []


def test_a_look_out_of_turn_begins_after_it_was_asked_for_and_is_shared(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many who ask while a look is under way wait for one more, together; looks are 0.2 s apart."""
    looks: list[float] = []
    look_on = threading.Event()

    def refresh() -> bool:
        looks.append(time.monotonic())
        assert look_on.wait(HUNG)
        return True

    monkeypatch.setattr(worker.background, "refresh", refresh)
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(worker.background.renew)
        until(lambda: looks)
        others = [pool.submit(worker.background.renew) for _ in range(8)]
        until(lambda: all(other.running() for other in others))
        time.sleep(0.05)  # for those that run and have not asked yet; one more look would do no harm
        look_on.set()
        assert [one.result() for one in (first, *others)] == [True] * 9
    assert 2 <= len(looks) <= 3
    assert looks[1] - looks[0] >= 0.2


def test_no_look_out_of_turn_while_the_store_is_away(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.background, "refresh", lambda: pytest.fail("it looked"))
    worker.gate.failed(StoreUnavailable("away"))
    assert worker.background.renew() is False


def test_what_cannot_be_read_is_not_called_current(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.background, "refresh", lambda: False)
    assert worker.background.renew() is False


def test_a_batch_that_is_held_back_is_counted(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    worker.spool.put([payload([Event(id="e", type="click", unit="u", at=world.now_ms())])])

    def damaged(*_: Any, **__: Any) -> list[Status]:
        raise Corrupt("unreadable record")

    with monkeypatch.context() as patched:
        patched.setattr(worker.ledger, "record", damaged)
        worker.background.step()
    facts = worker.background.readiness()
    assert facts["spool"] == {"available": True, "batches": 1, "held_back": 1}
    assert facts["store"]["up"]
