"""Is the demo's verdict right? Runs it without HTTP on many seeds and prints a table.

    python -m bench.demo_seeds            # five seeds of the demo, twenty of its A/A variant

Exits with 1 when a verdict contradicts the truth of its world. A verdict that says neither (too few units, no
verdict reached) is UNDECIDED, which is no error.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from switchpoint.analysis.report.section import primary
from switchpoint.experiment.registry.catalog import Catalog
from switchpoint.experiment.store.artifacts import Artifacts
from switchpoint.experiment.store.memory import MemoryLedger, MemoryRecords
from switchpoint.router.demo.plan import SHOPPERS, DemoPlan
from tests.router.demo.offline import Offline, run_offline


def run(plan: DemoPlan) -> Offline:
    """One run in memory."""
    with tempfile.TemporaryDirectory() as folder:
        return run_offline(plan, Catalog(MemoryRecords()), MemoryLedger(), Artifacts(Path(folder)))


def line(plan: DemoPlan, found: Offline, seconds: float) -> str:
    """One row of the table."""
    report = found.look.report
    metric = primary(report.matured)
    estimate = metric.comparisons[0].estimate if metric else None
    truth = found.judgement.rows[0]
    lift = "–" if estimate is None or estimate.lift is None else f"{estimate.lift:+7.1%}"
    p = "–" if estimate is None or estimate.anytime_p is None else f"{estimate.anytime_p:8.2g}"
    verdict = f"{report.verdict.kind.value} {report.verdict.variant or ''}"
    kind, true_lift = "A/A" if plan.aa else "A/B", truth.treatment / truth.control - 1
    return (
        f"{kind} {plan.seed:5} {report.matured.n:7,} {true_lift:+10.1%} "
        f"{lift:>9} {p:>9}  {'yes' if truth.covered else 'no ':7} {verdict:18} "
        f"{_WORD[found.judgement.right]:9} {seconds:5.1f} s"
    )


_WORD = {True: "right", False: "WRONG", None: "UNDECIDED"}


def main() -> int:
    """Run the seeds; 0 when no verdict is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--aa-seeds", type=int, default=20)
    parser.add_argument("--shoppers", type=int, default=SHOPPERS)
    chosen = parser.parse_args()
    plans = [DemoPlan(seed=s, shoppers=chosen.shoppers) for s in range(1, chosen.seeds + 1)]
    plans += [DemoPlan(seed=s, aa=True, shoppers=chosen.shoppers) for s in range(1, chosen.aa_seeds + 1)]
    print("      seed   units  true lift  estimate anytime p  covered verdict            judged")
    judged: Counter[bool | None] = Counter()
    for plan in plans:
        begin = time.perf_counter()
        found = run(plan)
        print(line(plan, found, time.perf_counter() - begin), flush=True)
        judged[found.judgement.right] += 1
    print(", ".join(f"{judged[is_right]} {word}" for is_right, word in _WORD.items()))
    return 1 if judged[False] else 0


if __name__ == "__main__":
    sys.exit(main())
