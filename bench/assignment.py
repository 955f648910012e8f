"""What one in-process assignment costs, beside the official GrowthBook Python SDK in the same run.

`python -m bench.assignment [--json]`: one experiment with one condition, two variants, every unit new or
one unit again and again. `Client.assign` is the whole call of the Python client: attributes checked and
converted, dimensions and covariates read for the exposure. Both sides must give every unit the same variant,
else nothing is printed. Where the OpenFeature SDK is installed, its in-memory provider (a constant per flag,
no hashing) is the last line.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from switchpoint.experiment.assignment.growthbook import payload
from switchpoint.experiment.definition.state import ExperimentState
from switchpoint.experiment.language import experiment as parsing
from switchpoint.experiment.registry import lifecycle
from switchpoint.router.client import Client
from switchpoint.router.snapshot import Entry, save_copy

GOAL = 20.0
REPEATS = 5
DEFINITION = """
key: home-ranker
hypothesis: a benchmark
owner: bench
unit: user_id
model: ranker
variants: [{key: control, model: ranker@1}, {key: treatment, model: ranker@2}]
segments:
  - {key: us, when: {country: US}, traffic: 100%, allocation: {control: 0.5, treatment: 0.5}}
metrics:
  - {key: buyers, type: proportion, event: purchase, role: primary}
window: 7d
decision: {design: sequential, alpha: 0.05, power: 0.8, mde: 2%, min_runtime: 14d, max_runtime: 42d}
"""


class Line(NamedTuple):
    """One line of the table; times in microseconds per assignment."""

    what: str
    new_units_us: float
    same_unit_us: float


Attributes = dict[str, Any]


def microseconds(work: Callable[[list[Attributes]], object], units: list[Attributes]) -> float:
    """Best of some repeats, per unit, in CPU time: other work on the machine does not count."""
    best = float("inf")
    for _ in range(REPEATS):
        begin = time.thread_time()
        work(units)
        best = min(best, time.thread_time() - begin)
    return best / len(units) * 1e6


def state() -> ExperimentState:
    """The experiment, running."""
    draft = lifecycle.create(parsing.load(DEFINITION), ordinal=1, at=0, actor="bench")
    return lifecycle.start(draft, digests={"control": "a", "treatment": "b"}, at=0, actor="bench")


def ours(running: ExperimentState, made: int) -> Line:
    """The serving snapshot's assignment, compiled anew for every repeat so that no unit is remembered."""
    attributes = {"country": "US"}

    def new(units: list[Attributes]) -> None:
        assign = Entry(running, lambda _: None).assign
        for unit in units:
            assign(unit["user_id"], attributes)

    return Line("switchpoint assign", microseconds(new, everybody(made)), microseconds(new, somebody(made)))


def whole_call(running: ExperimentState, made: int) -> Line:
    """The client's, on the snapshot that it finds on disk; no service is asked."""
    document = {"revision": 1, "experiments": [lifecycle.to_document(running)], "champions": [], "models": []}
    attributes = {"country": "US"}
    with TemporaryDirectory() as folder:
        save_copy(Path(folder) / "snapshot.json", document)
        client = Client("http://127.0.0.1:1", data=folder, timeout=0.2, refresh_seconds=3600)
        if not client.assign("user-1", attributes, experiment=running.key).enrolled:
            raise SystemExit("the client does not know the experiment: nothing to measure")

        def new(units: list[Attributes]) -> None:
            for unit in units:
                client.assign(unit["user_id"], attributes, experiment=running.key)

        line = Line(
            "switchpoint Client.assign", microseconds(new, everybody(made)), microseconds(new, somebody(made))
        )
        client.close(0.0)
    return line


def everybody(made: int) -> list[Attributes]:
    """Units that are all different."""
    return [{"user_id": f"user-{i}", "country": "US"} for i in range(made)]


def somebody(made: int) -> list[Attributes]:
    """One unit again and again."""
    return [{"user_id": "user-1", "country": "US"}] * made


def growthbook(running: ExperimentState, made: int) -> Line:
    """`eval_feature` on one reused instance; a new unit is `set_attributes`, as its documentation shows."""
    from growthbook import GrowthBook

    sdk = GrowthBook(features=payload([running])["features"])
    assign = Entry(running, lambda _: None).assign
    for unit in everybody(2000):
        sdk.set_attributes(unit)
        theirs = sdk.eval_feature(running.key).value
        if theirs != assign(unit["user_id"], {"country": "US"}).variant:
            raise SystemExit(f"the SDK gives {unit['user_id']} {theirs}: nothing to compare")

    def new(units: list[Attributes]) -> None:
        for unit in units:
            sdk.set_attributes(unit)
            sdk.eval_feature(running.key)

    def same(units: list[Attributes]) -> None:
        sdk.set_attributes(units[0])
        for _ in units:
            sdk.eval_feature(running.key)

    return Line(
        "growthbook eval_feature", microseconds(new, everybody(made)), microseconds(same, somebody(made))
    )


def openfeature(made: int) -> Line | None:
    """The OpenFeature SDK over its in-memory provider; None where it is not installed."""
    try:
        from openfeature import api
        from openfeature.evaluation_context import EvaluationContext
        from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider
    except ModuleNotFoundError:
        return None
    flag = InMemoryFlag("control", {"control": "control", "treatment": "treatment"})
    api.set_provider(InMemoryProvider({"home-ranker": flag}))
    client = api.get_client()

    def new(units: list[Attributes]) -> None:
        for unit in units:
            client.get_string_value("home-ranker", "x", EvaluationContext(unit["user_id"], unit))

    return Line(
        "openfeature in-memory", microseconds(new, everybody(made)), microseconds(new, somebody(made))
    )


def table(lines: list[Line], ratio: float) -> str:
    """Markdown."""
    rows = ["| assignment | new units, µs | same unit, µs |", "|---|---|---|"]
    rows += [f"| {line.what} | {line.new_units_us:.2f} | {line.same_unit_us:.2f} |" for line in lines]
    verdict = "met" if ratio >= GOAL else "missed"
    return "\n".join(
        [*rows, "", f"GrowthBook / Switchpoint, new units: {ratio:.1f}x (goal {GOAL:g}x: {verdict})"]
    )


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="machine-readable")
    parser.add_argument("--units", type=int, default=20_000, help="assignments per repeat")
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    running = state()
    lines = [ours(running, asked.units), growthbook(running, asked.units), whole_call(running, asked.units)]
    third = openfeature(asked.units)
    lines += [third] if third else []
    ratio = lines[1].new_units_us / lines[0].new_units_us
    if asked.json:
        ratios = {"growthbook": ratio, "goal": GOAL, "met": ratio >= GOAL}
        print(json.dumps({"lines": [line._asdict() for line in lines], "ratios": ratios}))
    else:
        print(table(lines, ratio))
    return 0


if __name__ == "__main__":
    sys.exit(main())
