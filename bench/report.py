"""Report latency as an experiment grows: it depends on cells, not on units.

`python -m bench.report [--json] [--units 1000 100000 1000000]` fills an embedded server with two simulated
weeks of exposures, impressions and clicks for each number of units, then times the store read (all cells of
the experiment) and the report made of them, from the same ledger in the same run.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from switchpoint.analysis.analyze import analyze_ledger
from switchpoint.experiment.assignment import assign as assignment
from switchpoint.experiment.definition.state import ExperimentState
from switchpoint.experiment.definition.types import DAY_MS
from switchpoint.experiment.language import experiment as parsing
from switchpoint.experiment.language import template
from switchpoint.experiment.ledger.event import Event, Exposure
from switchpoint.experiment.ledger.fold import ledger_plan
from switchpoint.experiment.registry import lifecycle
from switchpoint.experiment.store.embedded.server import EmbeddedServer, connect
from switchpoint.experiment.store.redis.ledger import RedisLedger

START = 20_500 * DAY_MS
DAYS = 14
REPEATS = 15
BATCH = 200


def running() -> ExperimentState:
    """The experiment `switchpoint init` writes, started."""
    definition = parsing.load(template.INIT_YAML)
    draft = lifecycle.create(definition, ordinal=1, at=START, actor="bench")
    digests = {variant.key: f"sha256:{variant.key}" for variant in definition.variants}
    return lifecycle.start(draft, digests=digests, at=START, actor="bench")


def traffic(state: ExperimentState, units: int) -> Iterator[Event]:
    """One exposure, an impression and sometimes a click for every enrolled unit."""
    rng, assign = random.Random(units), assignment.compile(state).assign
    for number in range(units):
        unit, at = f"u{number}", START + number * DAYS * DAY_MS // units
        attributes = {"country": rng.choice(("US", "CA", "MX")), "device": rng.choice(("phone", "desk"))}
        found = assign(unit, attributes)
        if not found.enrolled or found.segment is None or found.propensity is None:
            continue
        exposure = Exposure(
            experiment=state.key, variant=found.variant, segment=found.segment, epoch=found.epoch,
            revision=found.revision, propensity=found.propensity, served=found.variant,
            dimensions={name: attributes.get(name, "") for name in state.definition.dimensions},
        )  # fmt: skip
        yield Event(id=f"x{number}", type="exposure", unit=unit, at=at, exposure=exposure)
        yield Event(id=f"i{number}", type="impression", unit=unit, at=at + 1000)
        if rng.random() < 0.1:
            yield Event(id=f"c{number}", type="click", unit=unit, at=at + 2000)


def milliseconds(call: Callable[[], object]) -> float:
    """Median time of a call."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def measure(units: int) -> dict[str, Any]:
    """Fill a fresh server with `units` units and time the read and the report."""
    state = running()
    plan, at = ledger_plan([state]), START + (DAYS + 8) * DAY_MS
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer.start(Path(folder)) as server:
        ledger = RedisLedger(connect(server.url, timeout=10))
        events = traffic(state, units)
        while batch := list(islice(events, BATCH)):
            ledger.record(batch, plan)
        moments = ledger.moments(state.key, plan)
        return {
            "units": units,
            "counted": sum(cell.n for key, cell in moments.items() if not key.dimension),
            "cells": len(moments),
            "read_ms": milliseconds(lambda: ledger.moments(state.key, plan)),
            "report_ms": milliseconds(lambda: analyze_ledger(state, moments, at=at)),
        }


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--units", type=int, nargs="+", default=[1_000, 100_000])
    arguments = parser.parse_args()
    rows = [measure(units) for units in arguments.units]
    if arguments.json:
        print(json.dumps({"report": rows}))
        return 0
    print("| units | enrolled | cells | store read | report |")
    print("|---:|---:|---:|---:|---:|")
    for row in rows:
        print(
            f"| {row['units']:,} | {row['counted']:,} | {row['cells']} "
            f"| {row['read_ms']:.1f} ms | {row['report_ms']:.1f} ms |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
