"""Measure the product's error, coverage and power: `python -m tests.calibration [PAGE]`.

Writes docs/calibration.md (or PAGE) and exits 1 when a cell exceeds what it claims beyond Monte Carlo error.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from tests.calibration import coverage, errors
from tests.calibration.page import render

SEED = 20_261
PAGE = Path(__file__).resolve().parents[2] / "docs" / "calibration.md"


def main() -> int:
    """Entry point."""
    page = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    started = time.monotonic()
    sources = np.random.SeedSequence(SEED).spawn(4)
    pool, grid, cover, power = (np.random.default_rng(source) for source in sources)
    cells = []
    for row in errors.rows(pool):
        for split in range(len(errors.SPLITS)):
            cells += errors.measure(row, split, grid)
            print(
                f"{time.monotonic() - started:6.0f} s  {row.metric}, {errors.SPLITS[split]:.0%}", flush=True
            )
    covered = coverage.coverages(cover)
    found = coverage.powers(power)
    wrong = [cell for cell in cells if not cell.holds], [one for one in covered if not one.holds]
    page.write_text(render(cells, covered, found, seed=SEED, peeking=errors.peeking(power)), encoding="utf-8")
    print(f"{time.monotonic() - started:6.0f} s  wrote {page}")
    for part in wrong:
        for one in part:
            print(f"EXCEEDED: {one}")
    return 1 if wrong[0] or wrong[1] else 0


if __name__ == "__main__":
    raise SystemExit(main())
