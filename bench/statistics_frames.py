"""A frame of millions of units to a finished report, beside Polars alone adding up the same figures.

    python -m bench.statistics_frames [--json] [--rows 10000000] [--library polars] [--unit none]

The floor is what one would write in Polars for these metrics: rows, sums, squares and products by segment,
day and variant. Amounts have two decimals; the exact floor adds them as whole cents, as the ledger does, the
plain one as doubles. Where units are named, both floors also count the distinct ones. Frame and report are
taken in turns; the best of each counts. Memory is what the report needs at its peak beyond the frame.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from switchpoint.analysis.frame import analyze
from switchpoint.experiment.language.experiment import load_spec

RULE = """
metrics:
  - {key: ctr, type: ratio, numerator: click, denominator: impression, role: primary}
  - {key: buyers, type: proportion, event: purchase}
  - {key: revenue, type: mean, event: purchase, value: amount, decimals: 2}
decision: {design: sequential, mde: 2%, min_runtime: 14d, max_runtime: 42d}
"""
SPEC = (
    RULE
    + """
source:
  shape: units
  assignment: randomised
  variant: variant
  segment: country
  day: day
  weights: equal
  columns: {ctr: {numerator: clicks, denominator: impressions}, buyers: bought, revenue: revenue}
"""
)
UNITS = ("none", "number", "text")
"""Every row is a unit; or the units are named by a number or a text in a shuffled column."""
LIBRARIES = ("polars", "arrow", "pandas")


def frame(rows: int, unit: str) -> pl.DataFrame:
    """Two variants, three countries, fourteen days; 8 % of the units pay."""
    rng = np.random.default_rng(20_261_121)
    shown = rng.poisson(6, rows) + 1
    bought = rng.random(rows) < 0.08
    names = {"variant": ["control", "treatment"], "country": ["us", "ca", "mx"]}
    chosen = {
        "variant": rng.integers(0, 2, rows), "country": rng.choice(3, rows, p=[0.6, 0.25, 0.15]),
    }  # fmt: skip
    days = np.datetime64("2026-06-01") + rng.integers(0, 14, rows).astype("timedelta64[D]")
    columns = {name: pl.Series(np.array(names[name])[places]) for name, places in chosen.items()}
    found = pl.DataFrame(columns).with_columns(
        day=pl.Series(days).cast(pl.Date),
        impressions=pl.Series(shown), clicks=pl.Series(rng.binomial(shown, 0.1)),
        bought=pl.Series(bought.astype(np.int64)),
        revenue=pl.Series(np.where(bought, np.round(rng.lognormal(3.5, 0.8, rows), 2), 0.0)),
    )  # fmt: skip
    if unit == "none":
        return found
    ids = pl.Series(rng.permutation(rows) + 100_000_000)
    return found.with_columns(user=ids if unit == "number" else "u" + ids.cast(pl.String))


def floor(table: pl.DataFrame, unit: str, *, exact: bool) -> pl.DataFrame:
    """The sufficient statistics by Polars alone."""
    c = pl.col
    r = (c.revenue * 100).round().cast(pl.Int64) if exact else c.revenue
    lazy = table.lazy().group_by("country", "day", "variant").agg(
        pl.len(), c.impressions.sum(), c.clicks.sum(), c.bought.sum(), r.sum(),
        ii=(c.impressions**2).sum(), cc=(c.clicks**2).sum(), ic=(c.impressions * c.clicks).sum(),
        bb=(c.bought**2).sum(), rr=(r**2).sum(),
    )  # fmt: skip
    if unit != "none":
        table["user"].n_unique()
    return lazy.collect()


def best(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The shortest time of each call in milliseconds, taken in turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append((time.perf_counter() - start) * 1e3)
    return {name: min(found) for name, found in times.items()}


def memory(call: Callable[[], object]) -> float | None:
    """GB a call needs at its peak beyond what is there before it; None where the system does not say."""
    status = Path("/proc/self/status")
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    except OSError:
        return None
    before = _resident(status, "VmRSS")
    call()
    return (_resident(status, "VmHWM") - before) / 2**20


def _resident(status: Path, name: str) -> int:
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(name))


def measure(rows: int, library: str, unit: str, rounds: int = 9) -> dict[str, Any]:
    """Floors and report on one table."""
    table = frame(rows, unit)
    made: dict[str, Callable[[], Any]] = {
        "polars": lambda: table, "arrow": table.to_arrow, "pandas": table.to_pandas
    }  # fmt: skip
    native = made[library]()
    spec = load_spec(SPEC + ("" if unit == "none" else "  unit: user\n"))
    needed = memory(lambda: analyze(native, spec))

    def own() -> pl.DataFrame:
        return table if library == "polars" else pl.DataFrame(native)

    calls: dict[str, Callable[[], object]] = {
        "floor_ms": lambda: floor(own(), unit, exact=False),
        "exact_floor_ms": lambda: floor(own(), unit, exact=True),
        "report_ms": lambda: analyze(native, spec),
    }
    found = best(calls, rounds)
    return {
        "rows": rows, "library": library, "unit": unit, **found, "memory_gb": needed,
        "frame_gb": table.estimated_size() / 2**30, "ratio": found["report_ms"] / found["floor_ms"],
        "exact_ratio": found["report_ms"] / found["exact_floor_ms"],
    }  # fmt: skip


def main() -> int:
    """Print one table's figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--library", choices=LIBRARIES, default="polars")
    parser.add_argument("--unit", choices=UNITS, default="none")
    arguments = parser.parse_args()
    found = measure(arguments.rows, arguments.library, arguments.unit)
    if arguments.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:15} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
