"""What a counted event costs, against raw commands of the same server in the same run.

`python -m bench.ledger [--json] [--events N]` starts an embedded server of its own with its shipped settings
(every write on disk before it is acknowledged) and prints, per batch size, events per second and server CPU
per event (INFO cpu): for the ledger with 1 and with 5 experiments (four metrics, two dimensions each), and
for pipelined SET, HINCRBY and XADD. Then bytes per unit, per event id and per event on the log.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import redis

from switchpoint.experiment.definition.types import DAY_MS, MetricType
from switchpoint.experiment.ledger.codec import encode
from switchpoint.experiment.ledger.event import Event, Exposure
from switchpoint.experiment.ledger.fold import ExperimentPlan, LedgerPlan, MetricPlan, Slot
from switchpoint.experiment.store.embedded.server import EmbeddedServer, connect
from switchpoint.experiment.store.redis.ledger import RedisLedger

BATCHES = (1, 100, 200, 500)
EXPERIMENTS = (1, 5)
START = 20_500 * DAY_MS
PURCHASE = Slot("purchase", "amount", 2)
SLOTS = (
    Slot("click"),
    Slot("impression"),
    Slot("purchase"),
    PURCHASE,
    Slot("prediction", "ms", 0, 2000),
    Slot("prediction"),
)
METRICS = (
    MetricPlan(type=MetricType.RATIO, x=0, y=1, cap=1000),
    MetricPlan(type=MetricType.PROPORTION, x=2, y=None, cap=1),
    MetricPlan(type=MetricType.MEAN, x=3, y=None, cap=50_000),
    MetricPlan(type=MetricType.RATIO, x=4, y=5, cap=2_000_000),
)


class Measurement(NamedTuple):
    """One line of the table."""

    what: str
    batch: int
    per_second: float
    server_us: float


def a_plan(experiments: int) -> LedgerPlan:
    """Experiments of four metrics and two dimensions over the same events."""
    return LedgerPlan(
        tuple(
            ExperimentPlan(
                key=f"e{ordinal}", ordinal=ordinal, epochs=1, variants=("control", "treatment"),
                segments=("us", "ca", "rest"), dimensions=("device", "returning"), window_ms=7 * DAY_MS,
                slots=SLOTS, metrics=METRICS,
            )
            for ordinal in range(1, experiments + 1)
        )
    )  # fmt: skip


def traffic(experiments: int, count: int) -> list[Event]:
    """`count` events in order of time from some 400 units at once, so that a batch rarely meets one twice."""
    events = list(islice(_visits(experiments), count))
    return sorted(events, key=lambda event: (event.at, event.exposure is None))


def _visits(experiments: int) -> Iterator[Event]:
    """Endless visits: the unit's exposures, then what it sees, clicks and buys during four seconds."""
    rng = random.Random(experiments)
    at, number = START, 0
    while True:
        unit = f"user-{number:08d}"
        for ordinal in range(1, experiments + 1):
            yield _exposure(rng, f"e{ordinal}", unit, at)
        outcomes = [
            "prediction",
            "impression",
            "impression",
            "impression",
            "impression",
            "click",
            "impression",
            "purchase",
        ]
        for step, kind in enumerate(outcomes):
            properties: dict[str, Any] = {"ms": rng.randrange(5, 80)} if kind == "prediction" else {}
            if kind == "purchase":
                properties = {"amount": rng.randrange(100, 20_000) / 100}
            yield Event(
                id=f"{number:08x}-{step}", type=kind, unit=unit, at=at + 500 * step, properties=properties
            )
        at += rng.randrange(1, 20)
        number += 1


def _exposure(rng: random.Random, key: str, unit: str, at: int) -> Event:
    variant = rng.choice(("control", "treatment"))
    facts = Exposure(
        experiment=key, variant=variant, segment=rng.choice(("us", "ca", "rest")), epoch=1, revision=3,
        propensity=0.5, served=variant,
        dimensions={"device": rng.choice(("ios", "android", "web")), "returning": rng.choice(("yes", "no"))},
    )  # fmt: skip
    return Event(id=f"x:{key}:1", type="exposure", unit=unit, at=at, exposure=facts)


def measure(
    client: redis.Redis, what: str, batch: int, count: int, run: Callable[[int], None]
) -> Measurement:
    """Run `run(first)` for each batch of `count` operations."""
    before, started = _cpu(client), time.perf_counter()
    for first in range(0, count, batch):
        run(first)
    seconds = time.perf_counter() - started
    return Measurement(what, batch, count / seconds, (_cpu(client) - before) / count * 1e6)


def _cpu(client: redis.Redis) -> float:
    info: dict[str, Any] = dict(client.info("cpu"))
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


def bench_ledger(client: redis.Redis, experiments: int, batch: int, count: int) -> Measurement:
    """The whole step, with Python's share in the events per second."""
    client.flushall()
    plan, events = a_plan(experiments), traffic(experiments, count)
    ledger = RedisLedger(client, batch=batch)
    ledger.record([], plan)
    return measure(
        client, f"ledger, {experiments} experiment{'s' * (experiments > 1)}", batch, count,
        lambda first: _expect_stored(ledger.record(events[first : first + batch], plan)),
    )  # fmt: skip


def _expect_stored(statuses: Sequence[str]) -> None:
    if set(statuses) != {"stored"}:
        raise SystemExit(f"not every event was stored: {set(statuses)}")


def bench_raw(client: redis.Redis, command: str, batch: int, count: int) -> Measurement:
    """The same number of plain commands, pipelined."""
    client.flushall()
    texts = [encode(event) for event in traffic(1, count)]

    def run(first: int) -> None:
        pipeline = client.pipeline(transaction=False)
        for index in range(first, min(first + batch, count)):
            if command == "SET":
                pipeline.set(f"key:{index}", texts[index])
            elif command == "HINCRBY":
                pipeline.hincrby("hash", f"field{index % 100}", 1)
            else:
                pipeline.xadd("stream", {"e": texts[index]})
        pipeline.execute()

    return measure(client, f"raw {command}", batch, count, run)


def bench_memory(client: redis.Redis, experiments: int, units: int) -> dict[str, float]:
    """Bytes per item by MEMORY USAGE over all keys of a kind."""
    client.flushall()
    plan, ledger = a_plan(experiments), RedisLedger(client, unit_buckets=units // 64 or 1, id_buckets=1024)
    count = units * (8 + experiments)
    events = traffic(experiments, count)
    empty = int(dict(client.info("memory"))["used_memory"])
    for first in range(0, count, 500):
        ledger.record(events[first : first + 500], plan)
    total = int(dict(client.info("memory"))["used_memory"]) - empty
    kinds = {"un": units, "dd": count, "ev": count, "ce": 1}
    sizes = dict.fromkeys(kinds, 0)
    for key in client.scan_iter(count=1000):
        kind = bytes(key)[:2].decode()
        if kind in sizes:
            sizes[kind] += int(client.memory_usage(key, samples=0) or 0)
    cells = sum(int(client.hlen(f"ce:{{default:0}}:{ordinal}")) for ordinal in range(1, experiments + 1))
    return {
        "experiments": experiments,
        "unit_record_bytes": sizes["un"] / units,
        "event_id_bytes": sizes["dd"] / count,
        "log_bytes_per_event": sizes["ev"] / count,
        "cell_bytes": sizes["ce"] / cells,
        "all_bytes_per_event": total / count,
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    parser.add_argument("--events", type=int, default=20_000, help="events per measurement")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer.start(Path(folder)) as server:
        with connect(server.url, timeout=30) as client:
            lines = [
                bench_ledger(client, experiments, batch, options.events // (10 if batch == 1 else 1))
                for experiments in EXPERIMENTS
                for batch in BATCHES
            ]
            lines += [
                bench_raw(client, command, batch, options.events // (10 if batch == 1 else 1))
                for command in ("SET", "HINCRBY", "XADD")
                for batch in BATCHES
            ]
            memory = [bench_memory(client, experiments, 20_000) for experiments in EXPERIMENTS]
        name = f"{server.binary.engine} {server.binary.version}"
    if options.json:
        print(json.dumps({"server": name, "speed": [line._asdict() for line in lines], "memory": memory}))
    else:
        _print_tables(name, lines, memory)
    return 0


def _print_tables(name: str, lines: Sequence[Measurement], memory: Sequence[dict[str, float]]) -> None:
    print(f"Ledger on {name}, appendfsync always, one client\n")
    print("| what | batch | per second | server µs each |\n|---|---:|---:|---:|")
    for line in lines:
        print(f"| {line.what} | {line.batch} | {line.per_second:,.0f} | {line.server_us:.1f} |")
    print("\n| bytes | " + " | ".join(f"{size['experiments']:.0f} experiment(s)" for size in memory) + " |")
    print("|---|" + "---:|" * len(memory))
    for key in list(memory[0])[1:]:
        print(f"| {key.replace('_', ' ')} | " + " | ".join(f"{size[key]:,.1f}" for size in memory) + " |")


if __name__ == "__main__":
    sys.exit(main())
