"""Speed of judging: reports from moments, the Upworthy archive, frames of millions of rows, cold imports.

    python -m bench.statistics [--json] [--only moments ...] [--rows 10000000] [--peers PYTHON ...]

Goals stand beside what was measured. `frames` and `peers` have commands of their own with more choices.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import statistics_beside
from bench.statistics_cases import DAYS, METRICS, SEGMENTS, VARIANTS, large_experiment

REPEATS = 7
UPWORTHY = Path("../shared/data/upworthy_exploratory_half_a.parquet")
FRAMES = (
    ("polars", "none"), ("polars", "number"), ("polars", "text"), ("polars", "repeated"), ("arrow", "none"),
    ("pandas", "none"),
)  # fmt: skip
IMPORTS = {"": 20, ".analysis": 500, ".analysis.analyze": 500, ".analysis.frame": 500}  # milliseconds
Row = dict[str, Any]


def milliseconds(call: Callable[[], object], repeats: int = REPEATS) -> float:
    """The shortest time of a call, after one that warms up: others use the machine too."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e3)
    return min(times)


def moments(_: argparse.Namespace) -> list[Row]:
    """The report of one large live experiment from its moments."""
    from switchpoint.analysis.analyze import analyze_ledger

    state, held, at = large_experiment()
    return [
        {
            "what": f"report of {METRICS} metrics × {VARIANTS} variants × {SEGMENTS} segments × {DAYS} days",
            "ms": milliseconds(lambda: analyze_ledger(state, held, at=at)),
            "goal": "≤ 100 ms",
        }
    ]


def upworthy(arguments: argparse.Namespace) -> list[Row]:
    """2,471 experiments in one table, from Arrow to the batch report, on one core."""
    from switchpoint.analysis.frame import analyze
    from switchpoint.experiment.language.experiment import load_spec_file
    from switchpoint.experiment.store import tables as table

    if not arguments.upworthy.is_file():
        return [{"what": f"Upworthy archive: {arguments.upworthy} is not here", "ms": None, "goal": "≤ 5 s"}]
    spec, read = load_spec_file(Path("docs/examples/upworthy.yaml")), table.read(arguments.upworthy)
    took = milliseconds(lambda: analyze(read, spec), repeats=3)
    return [{"what": "Upworthy archive, 2,471 tests", "ms": took, "goal": "≤ 5 s"}]


def imports(_: argparse.Namespace) -> list[Row]:
    """A cold interpreter with the module, less one without it."""

    def started(code: str) -> float:
        return milliseconds(lambda: subprocess.run([sys.executable, "-c", code], check=True))

    empty = started("pass")
    return [
        {"what": f"`{code}`", "ms": started(code) - empty, "goal": f"≤ {goal} ms"}
        for code, goal in ((f"import switchpoint{room}", goal) for room, goal in IMPORTS.items())
    ]


def frames(arguments: argparse.Namespace) -> list[Row]:
    """Frames to reports, each in a process of its own."""
    rows = []
    for library, unit in FRAMES:
        command = [
            sys.executable, "-m", "bench.statistics_frames", "--json", "--rows", str(arguments.rows),
            "--library", library, "--unit", unit,
        ]  # fmt: skip
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout)
        named = {"none": "every row a unit", "repeated": "units with several rows"}
        ids = named.get(unit, f"units named by a {unit}")
        memory = "" if found["memory_gb"] is None else f", {found['memory_gb']:.2f} GB beyond the frame"
        beside = (
            f"{found['ratio']:.2f} × a bare query ({found['query_ms']:.0f} ms), "
            f"{found['floor_ratio']:.2f} × Polars alone ({found['floor_ms']:.0f} ms){memory}"
        )
        rows.append(
            {"what": f"{arguments.rows:,} rows, {library}, {ids}", "ms": found["report_ms"], "beside": beside,
             "goal": "≤ 1.3 ×" if unit == "none" and library != "pandas" else ""} | found
        )  # fmt: skip
    return rows


def peers(arguments: argparse.Namespace) -> list[Row]:
    """The same metrics by tea-tasting, gbstats and spotify-confidence."""
    found = statistics_beside.measure(arguments.peer_rows, arguments.peers)
    return [{"what": "peers", "rows": arguments.peer_rows, "times": found}]


PARTS: dict[str, Callable[[argparse.Namespace], list[Row]]] = {
    "moments": moments, "upworthy": upworthy, "imports": imports, "frames": frames, "peers": peers,
}  # fmt: skip


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", nargs="+", choices=sorted(PARTS), default=sorted(PARTS))
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of the large frames")
    parser.add_argument("--peer-rows", type=int, default=1_000_000, help="rows of the frame beside peers")
    parser.add_argument("--peers", nargs="+", default=[sys.executable], metavar="PYTHON")
    parser.add_argument("--upworthy", type=Path, default=UPWORTHY)
    arguments = parser.parse_args()
    found = {name: part(arguments) for name, part in PARTS.items() if name in arguments.only}
    if arguments.json:
        print(json.dumps({"statistics": found}))
        return 0
    print("| what | time | beside it | goal |")
    print("|---|---:|---|---:|")
    for row in (row for name, rows in found.items() if name != "peers" for row in rows):
        shown = "-" if row["ms"] is None else f"{row['ms']:,.1f} ms"
        print(f"| {row['what']} | {shown} | {row.get('beside', '')} | {row['goal']} |")
    for row in found.get("peers", []):
        print("\n" + "\n".join(statistics_beside.lines(row["times"], row["rows"])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
