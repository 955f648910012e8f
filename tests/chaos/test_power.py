"""The power fails: what was synced is there, in whole batches, and everything that was acknowledged is."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from switchpoint.experiment.errors import StoreUnavailable
from switchpoint.experiment.ledger.event import Event
from switchpoint.experiment.ledger.verify import verify
from switchpoint.experiment.store.embedded.binary import ServerBinary
from switchpoint.experiment.store.embedded.server import EmbeddedServer
from switchpoint.experiment.store.redis.ledger import RedisLedger
from tests.chaos.shim import Shim
from tests.experiment.store.conftest import ENGINES
from tests.experiment.store.ledgers import ONE, START, exposure, outcome
from tests.waiting import patient, until

CUTS = 8
WRITERS = 3


class Writer(threading.Thread):
    """Records batches of 20 until it is told to end; keeps what was acknowledged."""

    def __init__(self, ledger: RedisLedger, name: str, ended: threading.Event) -> None:
        super().__init__()
        self.ledger, self.prefix, self.ended = ledger, name, ended
        self.acknowledged: set[str] = set()

    def run(self) -> None:
        number = 0
        while not self.ended.is_set():
            batch = [self._event(number + i) for i in range(20)]
            number += 20
            while not self._recorded(batch):
                time.sleep(0.005)
            self.acknowledged |= {event.id for event in batch}

    def _event(self, number: int) -> Event:
        unit = f"{self.prefix}-{number // 4}"
        make = exposure if number % 4 == 0 else outcome
        return make(f"{self.prefix}-{number}", unit, START + number)

    def _recorded(self, batch: list[Event]) -> bool:
        try:
            self.ledger.record(batch, ONE)
        except StoreUnavailable:
            return self.ended.is_set()
        return True


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> ServerBinary:
    return ENGINES[request.param]


Cut = Callable[[EmbeddedServer], int]


@pytest.fixture
def power(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cut:
    """Kills a server, takes away what it had not synced, and starts it again; the bytes that took."""
    shim = Shim(tmp_path)
    for name, value in shim.environ.items():
        monkeypatch.setenv(name, value)

    def cut(server: EmbeddedServer) -> int:
        os.kill(server.pid, signal.SIGKILL)
        until(lambda: not server.alive())
        file = newest_log(server.data)
        size, kept = file.stat().st_size, shim.synced(file)
        os.truncate(file, kept)
        server.relaunch()
        return size - kept

    return cut


def newest_log(data: Path) -> Path:
    return max((data / "redis" / "appendonlydir").glob("*.incr.aof"), key=lambda path: path.stat().st_mtime)


def test_a_power_cut_takes_nothing_that_was_acknowledged(
    engine: ServerBinary, power: Cut, tmp_path: Path
) -> None:
    chance, taken = random.Random(1), 0
    with ExitStack() as stack:
        server = stack.enter_context(EmbeddedServer.start(tmp_path / "data", binary=engine))
        client = stack.enter_context(patient(server.url))
        ledger, ended = RedisLedger(client, unit_buckets=64, id_buckets=16), threading.Event()
        writers = [Writer(ledger, f"w{number}", ended) for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        try:
            for _ in range(CUTS):
                enough = sum(len(writer.acknowledged) for writer in writers) + 400
                until(lambda count: sum(len(w.acknowledged) for w in writers) >= count, enough)
                time.sleep(chance.uniform(0, 0.02))
                taken += power(server)
        finally:
            ended.set()
            for writer in writers:
                writer.join()
        log = [event.id for event in ledger.events()]
        assert len(log) == len(set(log))
        assert set[str]().union(*(writer.acknowledged for writer in writers)) <= set(log)
        assert verify(ledger, ONE) == []
    print(f"{CUTS} cuts took {taken} bytes that nobody had been told of")  # shown with -s


def test_a_torn_log_comes_back_on_a_whole_batch(engine: ServerBinary, tmp_path: Path) -> None:
    """The file ends anywhere: what is read of it is a beginning, and every sum belongs to it."""
    chance = random.Random(2)
    with EmbeddedServer.start(tmp_path, binary=engine) as server, patient(server.url) as client:
        ledger = RedisLedger(client, unit_buckets=64, id_buckets=16)
        for number in range(0, 400, 20):
            ledger.record([exposure(f"e{i}", f"u{i}", START + i) for i in range(number, number + 20)], ONE)
        for _ in range(8):
            os.kill(server.pid, signal.SIGKILL)
            until(lambda: not server.alive())
            file = newest_log(tmp_path)
            os.truncate(file, file.stat().st_size - chance.randrange(1, 3000))
            server.relaunch()
            log = [event.id for event in ledger.events()]
            assert set(log) == {f"e{i}" for i in range(len(log))}
            assert len(log) % 20 == 0
            assert verify(ledger, ONE) == []
