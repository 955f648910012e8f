"""Speed of judging: reports from moments, the Upworthy archive, frames of millions of rows, cold imports.

    python -m bench.statistics [--json] [--only moments ...]

Every goal is stated beside what was measured.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from analysis.analyze import analyze_ledger
from bench.statistics_cases import DAYS, METRICS, SEGMENTS, VARIANTS, large_experiment

REPEATS = 7


def milliseconds(call: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median time of a call, after one that warms up."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def moments() -> list[dict[str, Any]]:
    """The report of one large live experiment from its moments."""
    state, held, at = large_experiment()
    return [
        {
            "what": f"report of {METRICS} metrics × {VARIANTS} variants × {SEGMENTS} segments × {DAYS} days",
            "ms": milliseconds(lambda: analyze_ledger(state, held, at=at)),
            "goal": "≤ 100 ms",
        }
    ]


PARTS: dict[str, Callable[[], list[dict[str, Any]]]] = {"moments": moments}


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", nargs="+", choices=sorted(PARTS), default=sorted(PARTS))
    arguments = parser.parse_args()
    found = {name: PARTS[name]() for name in PARTS if name in arguments.only}
    if arguments.json:
        print(json.dumps({"statistics": found}))
        return 0
    print("| what | time | goal |")
    print("|---|---:|---:|")
    for rows in found.values():
        for row in rows:
            print(f"| {row['what']} | {row['ms']:,.1f} ms | {row['goal']} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
