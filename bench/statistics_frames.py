"""A frame of millions of units to a finished report, beside bare queries adding up the same figures.

    python -m bench.statistics_frames [--json] [--rows 10000000] [--library polars] [--unit none]

The floors are what one would write for these metrics: rows, sums, squares and products by segment, day and
variant, of amounts in whole cents; as a query of DuckDB, which sums tables here, and in Polars. Where units
are named, the floor in Polars also counts the distinct ones; where they have several rows, both add up the
units' totals first. Floors and report are taken in turns; the best of each counts, in time and in processor
time, of which the ratios are. Memory is what the report needs at its peak beyond the frame.
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
from switchpoint.experiment.store.query import session

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
UNITS = ("none", "number", "text", "repeated")
"""Every row is a unit; or units are named by a number or a text in a shuffled column; or have three rows."""
QUERY = """
    select variant, country, day, count(*), sum(i), sum(i * i), sum(c), sum(c * c), sum(i * c), sum(b),
        sum(r), sum(r * r)
    from ({}) group by all
"""
CENTS = "cast(round(revenue * 100) as bigint)"
ROWS = f"select variant, country, day, impressions as i, clicks as c, bought as b, {CENTS} as r from rows"
VISITS = f"""
    select min(variant) as variant, min(country) as country, min(day) as day,
        cast(sum(impressions) as bigint) as i, cast(sum(clicks) as bigint) as c, max(bought) as b,
        cast(sum({CENTS}) as bigint) as r
    from rows group by "user"
"""
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
    if unit == "repeated":
        user = rng.integers(0, max(rows // 3, 1), rows)
        own = {name: pl.Series(np.array(values)[user % len(values)]) for name, values in names.items()}
        return found.with_columns(user=pl.Series(user), **own)
    ids = pl.Series(rng.permutation(rows) + 100_000_000)
    return found.with_columns(user=ids if unit == "number" else "u" + ids.cast(pl.String))


def floor(table: pl.DataFrame, unit: str) -> pl.DataFrame:
    """The sufficient statistics by Polars alone."""
    c = pl.col
    lazy = table.lazy().with_columns(revenue=(c.revenue * 100).round().cast(pl.Int64))
    if unit == "repeated":
        lazy = lazy.group_by("user").agg(
            c.country.first(), c.day.first(), c.variant.first(), c.impressions.sum(), c.clicks.sum(),
            c.bought.max(), c.revenue.sum(),
        )  # fmt: skip
    elif unit != "none":
        table["user"].n_unique()
    r = c.revenue
    return lazy.group_by("country", "day", "variant").agg(
        pl.len(), c.impressions.sum(), c.clicks.sum(), c.bought.sum(), r.sum(),
        ii=(c.impressions**2).sum(), cc=(c.clicks**2).sum(), ic=(c.impressions * c.clicks).sum(),
        bb=(c.bought**2).sum(), rr=(r**2).sum(),
    ).collect()  # fmt: skip


def queried(table: pl.DataFrame, unit: str) -> object:
    """The sufficient statistics by one query of the engine."""
    with session() as engine:
        engine.load("rows", {name: table[name] for name in table.columns})
        return engine.values(QUERY.format(VISITS if unit == "repeated" else ROWS))


def best(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The shortest time of each call in milliseconds, taken in turns."""
    return {name: wall for name, (wall, _) in timed(calls, rounds).items()}


def timed(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, tuple[float, float]]:
    """The shortest time of each call and its least processor time, in milliseconds, taken in turns."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start, used = time.perf_counter(), time.process_time()
            call()
            times[name].append(((time.perf_counter() - start) * 1e3, (time.process_time() - used) * 1e3))
    return {name: (min(w for w, _ in found), min(c for _, c in found)) for name, found in times.items()}


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
        "floor": lambda: floor(own(), unit),
        "query": lambda: queried(own(), unit),
        "report": lambda: analyze(native, spec),
    }
    found = timed(calls, rounds)
    return {
        "rows": rows, "library": library, "unit": unit, "memory_gb": needed,
        "frame_gb": table.estimated_size() / 2**30,
        **{f"{name}_ms": wall for name, (wall, _) in found.items()},
        **{f"{name}_cpu_ms": used for name, (_, used) in found.items()},
        "ratio": found["report"][1] / found["query"][1],
        "floor_ratio": found["report"][1] / found["floor"][1],
    }  # fmt: skip


def main() -> int:
    """Print one table's figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--library", choices=LIBRARIES, default="polars")
    parser.add_argument("--unit", choices=UNITS, default="none")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    found = measure(arguments.rows, arguments.library, arguments.unit, arguments.rounds)
    if arguments.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:15} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
