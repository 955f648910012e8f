"""kill -9 of workers, of Redis and of clients while traffic runs: every acknowledged event counts once."""

from __future__ import annotations

import http.client
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from switchpoint.experiment.ledger.verify import verify
from switchpoint.experiment.store.embedded.supervisor import Supervisor
from switchpoint.experiment.store.redis.ledger import RedisLedger
from switchpoint.experiment.store.redis.records import RedisRecords
from switchpoint.router.client import Client
from switchpoint.router.serving.launch import ServingProcess, free_port
from tests.router import world
from tests.router.http import get, post
from tests.waiting import HUNG, patient, until

SENDERS = 3
KILLS = 12
BETWEEN_KILLS = 90  # acknowledged events
LIVES = 3
TRACKED = 300  # events of a client's host before it is killed
COUNTED = {"stored", "spooled", "duplicate"}

CLIENT = """
import sys
from switchpoint.router.client import Client
url, folder, name = sys.argv[1:]
client = Client(url, data=folder)
for i in range(2_000):
    unit = f"{name}-{i % 40}"
    choice = client.assign(unit, {"country": "US"}, experiment="home-ranker")
    client.expose(choice)
    if client.track("click", unit, id=f"{name}-{i}"):
        print(f"{name}-{i}", flush=True)
sys.stdin.read()
"""


class Sender(threading.Thread):
    """Posts shuffled batches, again and again until they are answered, a tenth of them twice on purpose."""

    def __init__(self, serving: ServingProcess, name: str, ended: threading.Event) -> None:
        super().__init__()
        self.serving, self.prefix, self.ended = serving, name, ended
        self.random = random.Random(name)
        self.sent: set[str] = set()
        self.acknowledged: set[str] = set()
        self.failures = 0

    def run(self) -> None:
        number = 0
        while not self.ended.is_set():
            batch = [self._event(number + i) for i in range(20)]
            number += 20
            self.sent |= {str(event["id"]) for event in batch}
            until(self._deliver, batch, every=0.05)
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
    """The workers of a gunicorn master, without the fork server of the models beside them."""
    workers = []
    for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split():
        with suppress(OSError):  # it has just ended
            if "gunicorn" in Path(f"/proc/{pid}/cmdline").read_text():
                workers.append(int(pid))
    return workers


def wreak(serving: ServingProcess, supervisor: Supervisor, acknowledged: Callable[[], int]) -> Counter[str]:
    """A worker dies after every few acknowledged events, Redis with every third of them."""
    chance, killed = random.Random(1), Counter[str]()
    for number in range(KILLS):
        enough = acknowledged() + BETWEEN_KILLS
        until(lambda count: acknowledged() >= count and workers_of(serving.pid), enough)
        os.kill(chance.choice(workers_of(serving.pid)), signal.SIGKILL)
        killed["worker"] += 1
        if number % 3 == 2:
            until(lambda: supervisor.status().pid)
            os.kill(supervisor.status().pid, signal.SIGKILL)
            killed["redis"] += 1
    return killed


def run_clients(serving: ServingProcess, folder: Path) -> set[str]:
    """One client process after the other on one folder, each killed; the ids they had on disk."""
    acknowledged: set[str] = set()
    for life in range(LIVES):
        command = [sys.executable, "-c", CLIENT, serving.url, str(folder), f"client{life}"]
        host = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert host.stdin is not None
        assert host.stdout is not None
        acknowledged |= {host.stdout.readline().strip() for _ in range(TRACKED)}
        host.send_signal(signal.SIGKILL)
        acknowledged |= {line.strip() for line in host.stdout if line.endswith("\n")}
        host.stdin.close()
        host.stdout.close()
        host.wait()
    return acknowledged - {""}


@pytest.mark.slow
def test_every_acknowledged_event_is_counted_exactly_once(tmp_path: Path) -> None:
    """Workers, Redis and client hosts are killed; afterwards log and moments hold each acked event once."""
    with Supervisor(tmp_path) as supervisor:
        url = supervisor._server.url  # type: ignore[union-attr]  # the running server's
        store = patient(url)
        catalog = world.build(RedisRecords(store), tmp_path)
        ledger = RedisLedger(store)
        with ServingProcess(redis_url=url, data=tmp_path, port=free_port()) as serving:
            ended = threading.Event()
            senders = [Sender(serving, f"s{n}", ended) for n in range(SENDERS)]
            for sender in senders:
                sender.start()
            from_clients: set[str] = set()
            clients = threading.Thread(
                target=lambda: from_clients.update(run_clients(serving, tmp_path / "client"))
            )
            clients.start()
            try:
                killed = wreak(
                    serving, supervisor, lambda: sum(len(sender.acknowledged) for sender in senders)
                )
            finally:
                ended.set()
            for thread in [*senders, clients]:
                thread.join()
            with Client(serving.url, data=tmp_path / "client") as rest:
                assert rest.flush(HUNG)
            await_settled(serving)
        ids = Counter((event.unit, event.id) for event in ledger.events())
        names = {name for _, name in ids}
        acknowledged = set[str]().union(*(sender.acknowledged for sender in senders)) | from_clients
        sent = set[str]().union(*(sender.sent for sender in senders))
        print(  # shown with -s: how hard the test was
            f"killed {dict(killed)}, {len(acknowledged)} acknowledged, {sum(s.failures for s in senders)} retries"
        )
        assert killed == {"worker": KILLS, "redis": KILLS // 3}
        assert len(from_clients) >= LIVES * TRACKED
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

    def settled() -> bool:
        try:
            ready = get(serving, "/readyz")[2]
        except (OSError, http.client.HTTPException):
            return False
        return bool(ready["store"]["up"] and ready["spool"]["batches"] == 0)

    until(settled, every=0.1)
