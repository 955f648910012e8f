"""kill -9 of workers, of Redis and of clients while traffic runs: every acknowledged event counts once."""

from __future__ import annotations

import http.client
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from experiment.store.redis_ledger import RedisLedger
from experiment.store.redis_records import RedisRecords
from experiment.store.server import connect
from experiment.store.supervisor import Supervisor
from experiment.verify import verify
from router.client import Client
from router.serving.launch import ServingProcess, free_port
from tests.router import world
from tests.router.http import get, post

SECONDS = 14.0
SENDERS = 3
COUNTED = {"stored", "spooled", "duplicate"}

CLIENT = """
import sys
from router.client import Client
url, folder, name = sys.argv[1:]
client = Client(url, data=folder)
for i in range(1_000_000):
    unit = f"{name}-{i % 40}"
    choice = client.assign(unit, {"country": "US"}, experiment="home-ranker")
    client.expose(choice)
    if client.track("click", unit, id=f"{name}-{i}"):
        print(f"{name}-{i}", flush=True)
"""


class Sender(threading.Thread):
    """Posts shuffled batches, again and again until they are answered, a tenth of them twice on purpose."""

    def __init__(self, serving: ServingProcess, name: str, end: float) -> None:
        super().__init__()
        self.serving, self.prefix, self.end = serving, name, end
        self.random = random.Random(name)
        self.sent: set[str] = set()
        self.acknowledged: set[str] = set()
        self.failures = 0

    def run(self) -> None:
        number = 0
        while time.monotonic() < self.end:
            batch = [self._event(number + i) for i in range(20)]
            number += 20
            self.sent |= {str(event["id"]) for event in batch}
            while not self._deliver(batch) and time.monotonic() < self.end + 10:
                time.sleep(0.05)
            if self.random.random() < 0.1:
                self._deliver(self.random.sample(batch, len(batch)))

    def _event(self, number: int) -> dict[str, object]:
        unit, at = f"{self.prefix}-u{number % 60}", world.now_ms()
        event: dict[str, object] = {"id": f"{self.prefix}-{number}", "unit": unit, "at": at}
        if number % 20 < 3:
            event |= {"type": "purchase", "properties": {"amount": self.random.randrange(1, 9000) / 100}}
        elif number % 20 < 8:
            event |= {
                "type": "exposure", "experiment": world.EXPERIMENT, "segment": "us", "epoch": 1, "revision": 2,
                "variant": ("control", "treatment")[number // 20 % 2], "propensity": 0.5,
            }  # fmt: skip
        else:
            event["type"] = ("impression", "click")[number % 2]
        return event

    def _deliver(self, batch: list[dict[str, object]]) -> bool:
        try:
            status, _, answer = post(self.serving, "/v1/events", {"events": batch})
        except (OSError, http.client.HTTPException):
            self.failures += 1
            return False
        if status != 200:
            self.failures += 1
            return False
        kinds = {item["status"] for item in answer["items"]}
        assert kinds <= COUNTED, answer
        self.acknowledged |= {item["id"] for item in answer["items"]}
        return True


def workers_of(master: int) -> list[int]:
    text = Path(f"/proc/{master}/task/{master}/children").read_text()
    return [int(pid) for pid in text.split()]


def wreak(serving: ServingProcess, supervisor: Supervisor, end: float) -> Counter[str]:
    """A worker dies every 0.8 s, Redis every 3 s."""
    chance, killed, next_redis = random.Random(1), Counter[str](), time.monotonic() + 2.0
    while time.monotonic() < end:
        time.sleep(0.8)
        victims = workers_of(serving.pid)
        if victims:
            os.kill(chance.choice(victims), signal.SIGKILL)
            killed["worker"] += 1
        pid = supervisor.status().pid
        if time.monotonic() > next_redis and pid:
            os.kill(pid, signal.SIGKILL)
            killed["redis"] += 1
            next_redis = time.monotonic() + 3.0
    return killed


def run_clients(serving: ServingProcess, folder: Path, end: float) -> set[str]:
    """One client process after the other on one folder, each killed; the ids they had on disk."""
    acknowledged: set[str] = set()
    for life in range(3):
        command = [sys.executable, "-c", CLIENT, serving.url, str(folder), f"client{life}"]
        host = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert host.stdout is not None
        until = min(end, time.monotonic() + 3.0)
        while time.monotonic() < until:
            acknowledged.add(host.stdout.readline().strip())
            time.sleep(0.002)
        host.send_signal(signal.SIGKILL)
        acknowledged |= {line.strip() for line in host.stdout if line.endswith("\n")}
        host.stdout.close()
        host.wait()
    return acknowledged - {""}


@pytest.mark.chaos
def test_every_acknowledged_event_is_counted_exactly_once(tmp_path: Path) -> None:
    """Workers, Redis and client hosts are killed; afterwards log and moments hold each acked event once."""
    with Supervisor(tmp_path) as supervisor:
        url = supervisor._server.url  # type: ignore[union-attr]  # the running server's
        store = connect(url)
        catalog = world.build(RedisRecords(store), tmp_path)
        ledger = RedisLedger(store)
        with ServingProcess(redis_url=url, data=tmp_path, port=free_port()) as serving:
            end = time.monotonic() + SECONDS
            senders = [Sender(serving, f"s{n}", end) for n in range(SENDERS)]
            for sender in senders:
                sender.start()
            from_clients: set[str] = set()
            clients = threading.Thread(
                target=lambda: from_clients.update(run_clients(serving, tmp_path / "client", end))
            )
            clients.start()
            killed = wreak(serving, supervisor, end)
            for thread in [*senders, clients]:
                thread.join()
            with Client(serving.url, data=tmp_path / "client") as rest:
                assert rest.flush(20)
            await_settled(serving)
        ids = Counter((event.unit, event.id) for event in ledger.events())
        names = {name for _, name in ids}
        acknowledged = set[str]().union(*(sender.acknowledged for sender in senders)) | from_clients
        sent = set[str]().union(*(sender.sent for sender in senders))
        print(  # shown with -s: how hard the test was
            f"killed {dict(killed)}, {len(acknowledged)} acknowledged, {sum(s.failures for s in senders)} retries"
        )
        assert killed["worker"] >= 10
        assert killed["redis"] >= 3
        assert len(acknowledged) > 1000
        assert set(ids.values()) == {1}
        assert acknowledged <= names
        assert {name for name in names if name.startswith("s")} <= sent
        assert verify(ledger, catalog.plan()) == []
        moments = ledger.moments(world.EXPERIMENT, catalog.plan())
        units = sum(cell.n for key, cell in moments.items() if key.dimension == "")
        assert units == len({event.unit for event in ledger.events() if event.exposure})
        store.close()


def await_settled(serving: ServingProcess) -> None:
    """Workers up, store up, spool empty."""
    end = time.monotonic() + 20
    while True:
        try:
            ready = get(serving, "/readyz")[2]
            if ready["store"]["up"] and ready["spool"]["batches"] == 0:
                return
        except (OSError, http.client.HTTPException):
            ready = None
        assert time.monotonic() < end, ready
        time.sleep(0.1)
