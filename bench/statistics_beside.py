"""The same three metrics by Switchpoint and by its peers, from one frame and from sums.

    python -m bench.statistics_beside [--json] [--rows 1000000] [--peers PYTHON ...]

From a frame, Switchpoint's time is that of a whole report: validity checks, sequential and fixed tests,
sufficiency and verdict. From sums it is that of the estimates alone, as with the peers: effect and lift with
interval and p-value. Peers need not be installed; an interpreter that has some is named with --peers.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bench.statistics_frames import RULE, best, frame
from bench.statistics_peers import COLUMNS, PRODUCTS
from switchpoint.analysis.evidence.moments import Covariates, Exact
from switchpoint.analysis.evidence.pairs import pairs
from switchpoint.analysis.frame import analyze
from switchpoint.analysis.inference import contrast
from switchpoint.experiment.language.experiment import load_spec

SPEC = (
    RULE
    + """
source:
  shape: units
  assignment: randomised
  variant: variant
  weights: equal
  covariate: {revenue: before}
  columns: {ctr: {numerator: clicks, denominator: impressions}, buyers: bought, revenue: revenue}
"""
)
TESTS = 1_000
PEERS = {"tea_tasting": "tea-tasting", "gbstats": "gbstats", "spotify_confidence": "spotify-confidence"}
Sums = dict[str, float]


def table(rows: int) -> pl.DataFrame:
    """The units of `bench.statistics_frames` with what they bought before."""
    rng = np.random.default_rng(7)
    past = np.round(rng.gamma(2.0, 9.0, rows), 2)
    return frame(rows, "none").select(
        "variant", "clicks", "impressions", "bought",
        revenue=(pl.col("revenue") + 0.3 * pl.Series(past)).round(2), before=pl.Series(past),
    )  # fmt: skip


def sums(units: pl.DataFrame, tests: int) -> list[tuple[Sums, Sums]]:
    """Sums of control and treatment of so many experiments: consecutive rows of the units."""
    c = pl.col
    products = [(a, a) for a in COLUMNS] + list(PRODUCTS)
    found = (
        units.with_row_index("row")
        .group_by(test=c.row * tests // len(units), variant="variant")
        .agg(
            pl.len().alias("n"), *(c(a).sum() for a in COLUMNS),
            *((c(a) * c(b)).sum().alias(f"{a}*{b}") for a, b in products),
        )
        .sort("test", "variant")
        .drop("test", "variant")
        .to_dicts()
    )  # fmt: skip
    return list(zip(found[::2], found[1::2], strict=True))


def estimated(tests: list[tuple[Sums, Sums]]) -> list[Any]:
    """Effect and lift of every metric of every experiment, in one call per metric."""
    metrics = load_spec(SPEC).metrics
    names = ("n", *COLUMNS, *(f"{a}*{a}" for a in COLUMNS), *(f"{a}*{b}" for a, b in PRODUCTS))
    cents = {"revenue": 100, "before": 100}

    def unit(name: str) -> int:
        parts = name.split("*")
        return int(np.prod([cents.get(part, 1) for part in parts]))

    raw = {name: np.array([[one[name] for one in test] for test in tests]) for name in names}
    read = {name: np.rint(part * unit(name)).astype(np.int64)[:, None] for name, part in raw.items()}
    n, zero = read["n"], np.zeros_like(read["n"])
    x, y, b, r, z = (read[name] for name in COLUMNS)
    before = Covariates(z=(z,), zz=(read["before*before"],), xz=(read["revenue*before"],), units=(100,))
    held = (
        Exact(
            metric=metrics[0], n=n, x=x, xx=read["clicks*clicks"], y=y, yy=read["impressions*impressions"],
            xy=read["clicks*impressions"],
        ),
        Exact(metric=metrics[1], n=n, x=b, xx=b, y=zero, yy=zero, xy=zero),
        Exact(
            metric=metrics[2], n=n, x=r, xx=read["revenue*revenue"], y=zero, yy=zero, xy=zero,
            covariates=before,
        ),
    )  # fmt: skip
    compared = [pairs(metric, totals).contrast for metric, totals in zip(metrics, held, strict=True)]
    return [(contrast.effect(one, alpha=0.05), contrast.lift(one, alpha=0.05)) for one in compared]


def measure(rows: int, peers: list[str]) -> dict[str, dict[str, float]]:
    """Times in milliseconds: ours, and those of the peers that some interpreter has."""
    units = table(rows)
    tests, spec = sums(units, TESTS), load_spec(SPEC)
    calls: dict[str, Callable[[], object]] = {
        "frame": lambda: analyze(units, spec),
        "one": lambda: estimated(tests[:1]),
        "many": lambda: estimated(tests),
    }
    found: dict[str, dict[str, float]] = {"switchpoint": best(calls, 5)}
    script = Path(__file__).with_name("statistics_peers.py")
    with tempfile.TemporaryDirectory() as folder:
        path, known = Path(folder, "frame.parquet"), Path(folder, "sums.json")
        units.write_parquet(path)
        known.write_text(json.dumps(tests))
        for python in peers:
            done = subprocess.run([python, script, path, known], check=True, capture_output=True, text=True)
            found |= json.loads(done.stdout.splitlines()[-1])
    return found


def lines(found: dict[str, dict[str, float]], rows: int) -> list[str]:
    """The table, with how to install what was not there."""
    head = f"| | frame of {rows:,} units | sums, one experiment | sums, {TESTS:,} experiments |"
    text = [head, "|---|---:|---:|---:|"]
    for name, times in found.items():
        shown = " | ".join(f"{times[case]:,.2f} ms" for case in ("frame", "one", "many"))
        text.append(f"| {PEERS.get(name, name)} | {shown} |")
    missing = [package for name, package in PEERS.items() if name not in found]
    if missing:
        wanted = " ".join(missing)
        text.append(
            f"\nnot installed: {', '.join(missing)}; in an environment of its own: pip install {wanted}"
        )
    return text


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--peers", nargs="+", default=[sys.executable], metavar="PYTHON")
    arguments = parser.parse_args()
    found = measure(arguments.rows, arguments.peers)
    print(json.dumps(found) if arguments.json else "\n".join(lines(found, arguments.rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
