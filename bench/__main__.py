"""Run every benchmark in turn: `python -m bench [--json]`."""

from __future__ import annotations

import argparse
import subprocess
import sys

BENCHMARKS = ("assignment", "console", "ledger", "report", "serving", "statistics")


def main() -> int:
    """Run each benchmark as its own process, so that one cannot warm or starve another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="machine-readable output of each benchmark")
    flags = ["--json"] if parser.parse_args().json else []
    return max(
        subprocess.run([sys.executable, "-m", f"bench.{name}", *flags], check=False).returncode
        for name in BENCHMARKS
    )


if __name__ == "__main__":
    sys.exit(main())
