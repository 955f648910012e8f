"""Random faults against a whole service: what may befall it, what it is asked meanwhile, and what is kept of that.

A step draws the condition of the way to the store, of the disk and of the clock, and lets a few blows fall under
it. Everything is drawn from a seed; what the threads make of it is not repeatable, what is asserted is.
"""

from __future__ import annotations

import http.client
import os
import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from switchpoint.experiment.errors import PlatformError
from switchpoint.experiment.language import experiment as parsing
from switchpoint.experiment.store.embedded.server import EmbeddedServer
from switchpoint.experiment.store.embedded.supervisor import Supervisor
from switchpoint.experiment.store.redis.ledger import RedisLedger
from switchpoint.experiment.store.redis.records import RedisRecords
from switchpoint.router.serving.launch import ServingProcess, free_port, require_free
from tests.chaos.proxy import Proxy, always, scripts
from tests.chaos.shim import Shim
from tests.chaos.test_models import runners_of
from tests.chaos.test_store_errors import TEXTS
from tests.e2e.test_chaos import Sender, workers_of
from tests.router import world
from tests.router.http import get, post
from tests.waiting import patient, until

SENDERS = 3
WORKERS = 2
MODEL_KILLS = 2  # the third within ten minutes quarantines, as it should
CLOCKS = (0, 0, 0, 30 * 86_400, -4 * 86_400, 600, -600)
READABLE = ("pass", "delay", "error:scripts")
"""Conditions in which a worker can learn of a pause."""
HOSTILE = (
    b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 99000000000\r\n\r\n" + b" " * 200_000,
    b"POST /v1/assign HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 20_000,
    b"POST /v1/assign HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n" + b"[" * 1000 + b"]" * 1000,
    b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 2_000,
    b"POST /v1/predict/ranker HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 50,
)
POISON: tuple[dict[str, Any], ...] = (
    {"type": "click", "unit": ""}, {"type": "purchase", "unit": "u", "properties": {"amount": "12"}},
    {"type": 7, "unit": "u"}, {"unit": "u"}, {"type": "click", "unit": "u", "colour": "red"},
    {"type": "exposure", "unit": "u", "experiment": world.EXPERIMENT, "variant": "nobody", "segment": "us",
     "epoch": 1, "revision": 2, "propensity": 0.5},
    {"type": "exposure", "unit": "u", "experiment": "unheard-of", "variant": "control", "segment": "us",
     "epoch": 1, "revision": 2, "propensity": 0.5},
)  # fmt: skip


class Witness(threading.Thread):
    """Asks for predictions as one user after the other and holds "ready" against what it gets."""

    def __init__(self, serving: ServingProcess, ended: threading.Event) -> None:
        super().__init__()
        self.serving, self.ended = serving, ended
        self.recorded: set[str] = set()
        """Units whose exposure was acknowledged."""
        self.answers = Counter[str]()
        self.false_ready: list[str] = []
        self.asked = 0

    def run(self) -> None:
        while not self.ended.is_set():
            with suppress(OSError, http.client.HTTPException):
                self._look()
            time.sleep(0.02)

    def _look(self) -> None:
        before = get(self.serving, "/readyz")[0] == 200
        self.asked += 1
        unit = f"w-{self.asked}"
        body = {"unit": unit, "attributes": {"country": "US"}, "inputs": [1, 2]}
        status, _, answer = post(self.serving, "/v1/predict/ranker", body)
        self.answers[f"{status} {answer.get('cause') or answer.get('recorded') or answer.get('detail')}"] += 1
        if status == 200 and answer["enrolled"] and answer["recorded"] in {"stored", "spooled"}:
            self.recorded.add(unit)
        after = get(self.serving, "/readyz")[0] == 200
        unable = status == 503 and not answer["detail"].startswith("crashed")  # killed a moment ago
        unrecorded = status == 200 and answer["recorded"] not in {"stored", "spooled"}
        if before and after and (unable or unrecorded):
            self.false_ready.append(f"{status} {answer}")


class Machine:
    """A store that is kept alive, a service behind a way that can be disturbed, and those who use it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.chance = folder, random.Random(seed)
        self.events = Counter[str]()
        """What happened how often."""
        self.pauses: list[float] = []
        """Seconds until no worker enrolled anybody."""
        self.acknowledged: set[str] = set()
        """Ids of good events that came with bad ones."""
        self.wrongly_refused: list[object] = []
        self.refused = self.doubted = 0
        """Bad events: refused at the door, and taken to be judged when the plan can be read."""
        self._mode, self._models_killed = "pass", 0
        self._ended = threading.Event()
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.shim = Shim(self.folder)
            self.supervisor = stack.enter_context(Supervisor(self.folder))
            server = self.supervisor._server
            assert server is not None
            self.store = patient(server.url)
            stack.callback(self.store.close)
            self.catalog = world.build(RedisRecords(self.store), self.folder)
            self.ledger = RedisLedger(self.store)
            self.empty = stack.enter_context(EmbeddedServer.start(self.folder / "empty"))
            self.socket = server.socket
            self.proxy = stack.enter_context(Proxy(self.socket))
            self.port = free_port()
            self._start_service()
            stack.callback(self._stop_service)
            self.senders = [Sender(self.serving, f"s{n}", self._ended) for n in range(SENDERS)]
            self.witness = Witness(self.serving, self._ended)
            for thread in (*self.senders, self.witness):
                thread.start()
            stack.callback(self.end_traffic)
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def end_traffic(self) -> None:
        """Nobody asks any more; what the senders had to say was delivered."""
        self._ended.set()
        for thread in (*self.senders, self.witness):
            thread.join()

    def heal(self) -> None:
        """Everything is as it should be, and what was acknowledged is counted."""
        self.proxy.target = self.socket
        self.shim.set()
        until(lambda: self.supervisor.status().pid)
        self._with_store(lambda: self.store.config_set("maxmemory", 0))
        self._way("pass")
        until(self._settled, every=0.1)

    def _settled(self) -> bool:
        with suppress(OSError, http.client.HTTPException):
            status, _, ready = get(self.serving, "/readyz")
            return status == 200 and bool(ready["store"]["up"]) and ready["spool"]["batches"] == 0
        return False

    def empty_store(self) -> list[bytes]:
        """What was written to a store that was not the known one."""
        with patient(self.empty.url) as client:
            return list(client.keys("*"))

    def step(self) -> None:
        """One draw of conditions, and blows under them."""
        self._draw_conditions()
        for _ in range(self.chance.randint(1, 3)):
            blow = self.chance.choices(list(BLOWS), [weight for _, weight in BLOWS.values()])[0]
            self.events[blow] += 1
            BLOWS[blow][0](self)
            time.sleep(self.chance.uniform(0.1, 1.5))

    def _draw_conditions(self) -> None:
        self.proxy.target = self.socket
        with self._patience():
            self.store.config_set("maxmemory", 0)
        mode = self.chance.choice(
            (
                "pass",
                "pass",
                "hole",
                "delay",
                "drop",
                "garble",
                "error:scripts",
                "error:all",
                "empty",
                "memory",
            )
        )
        self.events[mode] += 1
        if mode == "empty":
            self.proxy.target = self.empty.socket
            self._way("pass")
        elif mode == "memory":
            with self._patience():
                self.store.config_set("maxmemory", 1)
            self._way("pass")
        elif mode == "delay":
            self._way("delay:0.05")
        elif mode.startswith("error:"):
            which = scripts if mode.endswith("scripts") else always
            self._way(f"error:{self.chance.choice(TEXTS)}", which)
        else:
            self._way(mode)
        self._mode = mode
        slow, ahead = self.chance.choice((0, 0, 200)), self.chance.choice(CLOCKS)
        self.events.update({"slow disk": bool(slow), "wrong clock": bool(ahead)})
        self.shim.set(sync_ms=slow, ahead_seconds=ahead)

    def _way(self, mode: str, disturbed: Callable[[bytes], bool] = always) -> None:
        self.proxy.set(mode, disturbed)

    @contextmanager
    def _patience(self) -> Iterator[None]:
        """The server may have been killed a moment ago."""
        until(lambda: self.supervisor.status().pid)
        with suppress(redis.RedisError):
            yield

    def _with_store(self, work: Callable[[], object]) -> None:
        """By a way of its own, again until the server is there."""

        def done() -> bool:
            with suppress(PlatformError, redis.RedisError):
                work()
                return True
            return False

        until(done, every=0.1)

    def _start_service(self) -> None:
        require_free("127.0.0.1", self.port, data=self.folder)
        self.serving = ServingProcess(
            redis_url=self.proxy.url, data=self.folder, port=self.port, workers=WORKERS,
            environ={"SWITCHPOINT_DEADLINE_MS": "30000", **self.shim.environ},
        )  # fmt: skip
        self.serving.start()

    def _stop_service(self) -> None:
        self.serving.stop()

    def kill_worker(self) -> None:
        """kill -9."""
        workers = workers_of(self.serving.pid)
        if workers:
            with suppress(ProcessLookupError):
                os.kill(self.chance.choice(workers), signal.SIGKILL)

    def kill_store(self) -> None:
        """kill -9 of the server; its supervisor starts it again."""
        pid = self.supervisor.status().pid
        if pid:
            os.kill(pid, signal.SIGKILL)

    def kill_master(self) -> None:
        """kill -9 of gunicorn's master, and a new start at once."""
        os.kill(self.serving.pid, signal.SIGKILL)
        self.serving._process.wait()  # type: ignore[union-attr]
        self._start_service()

    def kill_model(self) -> None:
        """kill -9 of the processes of the models."""
        self._models_killed += 1
        if self._models_killed <= MODEL_KILLS:
            with suppress(OSError, ValueError):  # there are none yet
                for pid in runners_of(self.serving):
                    os.kill(pid, signal.SIGKILL)

    def reload(self) -> None:
        """New workers."""
        self.serving.reload()

    def cut(self) -> None:
        """Every connection to the store ends."""
        self.proxy.cut()

    def forget_scripts(self) -> None:
        """SCRIPT FLUSH."""
        self._with_store(self.store.script_flush)

    def allocate(self) -> None:
        """A new allocation opens an epoch."""
        control = self.chance.choice((0.3, 0.4, 0.5, 0.6, 0.7))
        self._apply(
            "country: US}, traffic: 100%, allocation: {control: 0.5, treatment: 0.5}",
            f"country: US}}, traffic: 100%, allocation: {{control: {control}, treatment: {1 - control:.1f}}}",
        )

    def ramp(self) -> None:
        """More or less traffic for the rest."""
        self._apply("key: rest, traffic: 20%", f"key: rest, traffic: {self.chance.choice((10, 20, 40))}%")

    def _apply(self, old: str, new: str) -> None:
        assert old in world.DEFINITION
        definition = parsing.load(world.DEFINITION.replace(old, new))
        self._with_store(lambda: self.catalog.apply(definition, at=world.now_ms(), actor="chaos"))

    def pause(self) -> None:
        """A pause and its end; timed where workers are there and can read it."""
        timed = self._mode in READABLE and self._all_answer()
        self._with_store(lambda: self._change("pause"))
        begin = time.monotonic()
        if timed:
            until(lambda: not self._enrolls())
            self.pauses.append(time.monotonic() - begin)
        self._with_store(lambda: self._change("resume"))

    def _change(self, verb: str) -> None:
        status = self.catalog.experiment(world.EXPERIMENT).status
        if (verb == "pause") == (status == "running"):
            getattr(self.catalog, verb)(world.EXPERIMENT, at=world.now_ms(), actor="chaos", reason="drill")

    def _all_answer(self) -> bool:
        """Whether both workers are up and see the store."""
        try:
            looks = [get(self.serving, "/readyz")[2] for _ in range(6)]
        except (OSError, http.client.HTTPException):
            return False
        return len(workers_of(self.serving.pid)) == WORKERS and not any(
            look["snapshot"]["stale"] or not look["snapshot"]["loaded"] for look in looks
        )

    def _enrolls(self) -> bool:
        """Whether any worker still enrols one of twelve."""
        for number in range(12):
            body = {"unit": f"z{number}", "attributes": {"country": "US"}}
            with suppress(OSError, http.client.HTTPException):
                assignments = post(self.serving, "/v1/assign", body)[2]["assignments"]
                if any(assignment["enrolled"] for assignment in assignments):
                    return True
        return False

    def poison(self) -> None:
        """Events that must be refused, among good ones, which must not."""
        batch: list[dict[str, Any]] = []
        for number, bad in enumerate(self.chance.sample(POISON, 4)):
            name = f"p{self.events['poison']}-{number}"
            batch.append({"id": f"bad-{name}", "at": world.now_ms(), **bad})
            batch.append({"id": name, "at": world.now_ms(), "type": "click", "unit": f"p{number}"})
        with suppress(OSError, http.client.HTTPException):
            status, _, answer = post(self.serving, "/v1/events", batch)
            if status == 200:
                for item in answer["items"]:
                    taken = item["status"] in {"stored", "spooled", "duplicate"}
                    if item["id"].startswith("bad-"):
                        self.refused += not taken
                        self.doubted += taken
                    elif taken:
                        self.acknowledged.add(item["id"])
                    else:
                        self.wrongly_refused.append(item)

    def hostile(self) -> None:
        """A body, or what should have been one, from somebody who does not read the answer."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as sock:
            sock.sendall(self.chance.choice(HOSTILE))


BLOWS: dict[str, tuple[Callable[[Machine], None], float]] = {
    "kill worker": (Machine.kill_worker, 3),
    "kill store": (Machine.kill_store, 2),
    "kill master": (Machine.kill_master, 1),
    "kill models": (Machine.kill_model, 1),
    "reload": (Machine.reload, 1),
    "cut": (Machine.cut, 2),
    "forget scripts": (Machine.forget_scripts, 1),
    "allocate": (Machine.allocate, 2),
    "ramp": (Machine.ramp, 1),
    "pause": (Machine.pause, 4),
    "poison": (Machine.poison, 3),
    "hostile": (Machine.hostile, 3),
}
"""What can fall, and how often it does."""
