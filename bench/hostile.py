"""Good requests beside attacks, and what a worker's memory becomes.

`python -m bench.hostile [--json] [--seconds S] [--only ATTACK ...]` starts an embedded server, a project with
two models, and a service of one worker. Callers that keep their connections assign, predict and send events,
some two hundred requests a second, while one attack after another comes and goes: each stretch of it follows
one without, so that a drift of the machine is in both. The worker has one core for itself; the callers, the
server, the models and the attacker share the other, the attacker at nice 19: else its own appetite would be
measured. Linux only.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
import skops.io
from sklearn.linear_model import LinearRegression

from bench.attacks import ATTACKS
from switchpoint.experiment.language import experiment as parsing
from switchpoint.experiment.registry.catalog import Catalog
from switchpoint.experiment.registry.model import Content, Format
from switchpoint.experiment.store.artifacts import Artifacts
from switchpoint.experiment.store.embedded.server import EmbeddedServer, connect
from switchpoint.experiment.store.redis.records import RedisRecords
from switchpoint.router.serving.launch import ServingProcess, free_port

GOAL = 1.5
MEMORY_GOAL = 1.1
STRETCH_SECONDS = 3.0
PAUSE_SECONDS = 0.02
WARM_REQUESTS = 500
_AFTERMATH_SECONDS = 0.5
_OF_A_KIND = 2
DEFINITION = """
key: home-ranker
hypothesis: a benchmark
owner: bench
unit: user_id
model: ranker
variants: [{key: control, model: ranker@1}, {key: treatment, model: ranker@2}]
segments:
  - key: staff
    when: {email: {$regex: "[a-z0-9.]+@example[.]com$"}}
    traffic: 0%
    allocation: {control: 0.5, treatment: 0.5}
  - {key: us, when: {country: US}, traffic: 100%, allocation: {control: 0.5, treatment: 0.5}}
metrics:
  - {key: buyers, type: proportion, event: purchase, role: primary}
window: 7d
decision: {design: sequential, alpha: 0.05, power: 0.8, mde: 2%, min_runtime: 14d, max_runtime: 42d}
"""


@dataclass
class Stretches:
    """Seconds that good requests took, and how many were not answered as they should be."""

    seconds: list[float] = field(default_factory=list)
    failed: int = 0

    def percentile(self, share: float) -> float:
        """In milliseconds."""
        ranked = sorted(self.seconds)
        return 1_000 * ranked[min(len(ranked) - 1, int(share * len(ranked)))]


@dataclass(frozen=True)
class Line:
    """One line of the table; times in milliseconds."""

    attack: str
    requests: int
    failed: int
    p50_without: float
    p50_with: float
    p99_without: float
    p99_with: float
    made: int  # requests of the attacker, a second

    @property
    def ratio(self) -> float:
        """Of the p99."""
        return self.p99_with / self.p99_without


class Callers:
    """Good traffic, until the end; what it meets goes to `record`."""

    def __init__(self, serving: ServingProcess) -> None:
        """For one service."""
        self._serving, self._number = serving, count()
        self.record = Stretches()

    def start(self) -> None:
        """Call in the background."""
        for kind in (self.assign, self.predict, self.track) * _OF_A_KIND:
            threading.Thread(target=self._call, args=(kind,), daemon=True).start()

    def during(self, seconds: float, record: Stretches) -> None:
        """Record for so long."""
        self.record = record
        time.sleep(seconds)
        self.record = Stretches()

    def _call(self, kind: Callable[[int], tuple[str, object]]) -> None:
        connection = http.client.HTTPConnection(self._serving.host, self._serving.port, timeout=30)
        while True:
            time.sleep(PAUSE_SECONDS)
            record, begin = self.record, time.monotonic()
            good = ask(connection, *kind(next(self._number)))
            record.seconds.append(time.monotonic() - begin)
            record.failed += not good

    def assign(self, number: int) -> tuple[str, object]:
        """A call of the first door."""
        return "/v1/assign", {"unit": f"u{number % 5_000}", "attributes": {"country": "US"}}

    def predict(self, number: int) -> tuple[str, object]:
        """A call of the second."""
        asked = {"unit": f"u{number % 5_000}", "attributes": {"country": "US"}, "inputs": [1, 2]}
        return "/v1/predict/ranker", asked

    def track(self, number: int) -> tuple[str, object]:
        """A call of the third."""
        unit, now = f"u{number % 5_000}", time.time_ns() // 1_000_000
        return "/v1/events", [{"id": f"g{number}", "type": "purchase", "unit": unit, "at": now}]


def ask(connection: http.client.HTTPConnection, path: str, body: object) -> bool:
    """Whether the answer is the one that is hoped for: of the chosen model, with every event counted."""
    try:
        connection.request("POST", path, json.dumps(body))
        response = connection.getresponse()
        answer = json.loads(response.read())
    except (OSError, http.client.HTTPException):
        connection.close()
        return False
    items = answer.get("items", [])
    return response.status == 200 and not answer.get("cause") and all(i["status"] == "stored" for i in items)


def prepare(server: EmbeddedServer, data: Path, upstream: int) -> None:
    """Two versions of a model in an experiment, and one behind an upstream."""
    rows = np.random.default_rng(0).normal(size=(50, 2))
    artifacts = Artifacts(data / "models")
    with connect(server.url) as client:
        catalog = Catalog(RedisRecords(client))
        for version in (1, 2):
            model = skops.io.dumps(LinearRegression().fit(rows, rows[:, 0] * 30 * version))
            made = Content(format=Format.SKOPS, artifact={"model.skops": artifacts.put_bytes(model)})
            catalog.register_model("ranker", made, at=version, actor="bench")
        called = Content(format=Format.HTTP, upstream=f"http://127.0.0.1:{upstream}/")
        catalog.crown(
            catalog.register_model("remote", called, at=3, actor="bench").ref,
            reason="bench",
            at=4,
            actor="bench",
        )
        catalog.apply(parsing.load(DEFINITION), at=5, actor="bench")
        catalog.start("home-ranker", at=6, actor="bench")


@contextmanager
def attacked(name: str, serving: ServingProcess, upstream: int, made: dict[str, int]) -> Iterator[None]:
    """While one attack goes on; adds to `made` what it sent."""
    command = [sys.executable, "-m", "bench.attacks", name, str(serving.port), str(upstream)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as attacker:
        assert attacker.stdin is not None
        assert attacker.stdout is not None
        attacker.stdout.readline()
        yield
        attacker.stdin.close()
        made[name] += int(attacker.stdout.readline())
    time.sleep(_AFTERMATH_SECONDS)


def worker_of(serving: ServingProcess) -> int:
    """The one worker's pid."""
    [worker] = Path(f"/proc/{serving.pid}/task/{serving.pid}/children").read_text().split()[-1:]
    return int(worker)


def pin(pid: int, core: int) -> None:
    """All threads of a process to one core."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def megabytes(pid: int) -> float:
    """What a process has in memory."""
    [found] = [
        row.split()[1] for row in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in row
    ]
    return int(found) / 1024


def measure(seconds: float, names: list[str]) -> tuple[list[Line], list[float]]:
    """The table, and the worker's memory at the beginning, in the middle and at the end."""
    core, other = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, {other})
    quiet: dict[str, Stretches] = defaultdict(Stretches)
    loud: dict[str, Stretches] = defaultdict(Stretches)
    made: dict[str, int] = dict.fromkeys(names, 0)
    upstream = free_port()
    with tempfile.TemporaryDirectory() as temporary, EmbeddedServer.start(Path(temporary) / "data") as server:
        data = Path(temporary) / "data"
        prepare(server, data, upstream)
        environ = {"SWITCHPOINT_UPSTREAM_PRIVATE": "1"}
        with ServingProcess(
            redis_url=server.url, data=data, port=free_port(), workers=1, environ=environ
        ) as serving:
            serving.await_answer("/readyz")
            worker = worker_of(serving)
            pin(worker, core)
            callers = Callers(serving)
            callers.start()
            callers.during(WARM_REQUESTS * PAUSE_SECONDS, Stretches())
            memory, begin = [megabytes(worker)], time.monotonic()
            while not made_round(memory, begin, seconds):
                for number, name in enumerate(names, 1):
                    say(f"{time.monotonic() - begin:.0f} s of {seconds:g}, attack {number}: {name}")
                    callers.during(STRETCH_SECONDS, quiet[name])
                    with attacked(name, serving, upstream, made):
                        callers.during(STRETCH_SECONDS, loud[name])
                memory.append(megabytes(worker))
            if worker_of(serving) != worker:
                raise SystemExit("the worker was replaced: see its log above")
    rounds = len(memory) - 1
    lines = [
        Line(name, len(loud[name].seconds), loud[name].failed,
             quiet[name].percentile(0.5), loud[name].percentile(0.5),
             quiet[name].percentile(0.99), loud[name].percentile(0.99),
             round(made[name] / rounds / STRETCH_SECONDS))
        for name in names
    ]  # fmt: skip
    return lines, [memory[0], memory[len(memory) // 2], memory[-1]]


def made_round(memory: list[float], begin: float, seconds: float) -> bool:
    """Whether the time is over, and one round at least was made."""
    return len(memory) > 1 and time.monotonic() - begin >= seconds


def say(text: str) -> None:
    """One line of progress, where somebody looks at it."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="machine-readable")
    parser.add_argument("--seconds", type=float, default=100.0, help="rounds go on until then; one takes 100")
    parser.add_argument("--only", nargs="+", choices=ATTACKS, default=list(ATTACKS), metavar="ATTACK")
    asked = parser.parse_args()
    lines, memory = measure(asked.seconds, asked.only)
    say("")
    if asked.json:
        shown = [asdict(line) | {"ratio": line.ratio, "met": line.ratio <= GOAL} for line in lines]
        print(json.dumps({"lines": shown, "goal": GOAL, "memory": memory, "load": os.getloadavg()[0]}))
        return 0
    print(
        "| attack | its requests/s | p50 without | with | p99 without | with | ratio | failed |\n"
        + "|---" * 8
        + "|"
    )
    for line in lines:
        print(
            f"| {line.attack} | {line.made:,} | {line.p50_without:.1f} ms | {line.p50_with:.1f} ms "
            f"| {line.p99_without:.1f} ms | {line.p99_with:.1f} ms | {line.ratio:.2f} "
            f"| {line.failed} of {line.requests} |"
        )
    start, middle, end = memory
    verdict = "met" if end <= MEMORY_GOAL * start else "missed"
    print(
        f"\nmemory of the worker: {start:.1f} MB at the start, {middle:.1f} in the middle, {end:.1f} at the "
        f"end (goal +10 %: {verdict}); goal for the ratio of p99: {GOAL:g}; load {os.getloadavg()[0]:.1f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
