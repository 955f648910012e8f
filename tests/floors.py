"""Branches that the tests of a package leave out: `python -m tests.floors [PACKAGE …]` (`make coverage`).

Each package is measured by its own tests (`tests/PACKAGE` without the slow ones) and fails below its floor. Only the
processes of pytest are measured: what runs in a child alone counts as left out.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import coverage
import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".coverage-data"
FLOORS = {"experiment": 94}
"""Per cent of lines and branches, rounded down from 94.76. Lowest: `ledger/exposure.py` and `ledger/sql.py`, which only
clients and tables use (0), `language/template.py` (34), `ledger/columns.py` (80), `store/artifacts.py` (83)."""
_measuring: list[coverage.Coverage] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which package is measured."""
    parser.addoption("--measured")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Start before anything of the product is imported, in the process of every worker."""
    package = early_config.known_args_namespace.measured
    measuring = coverage.Coverage(
        data_file=FOLDER / package / "data",
        data_suffix=True,
        branch=True,
        source=[str(ROOT / package)],
        config_file=False,
    )
    measuring.start()
    _measuring.append(measuring)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Keep what was seen."""
    for measuring in _measuring:
        measuring.stop()
        measuring.save()


def measure(package: str) -> bool:
    """Run the tests of a package and show its files from the least covered on; whether it reaches its floor."""
    folder = FOLDER / package
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    command = [
        "-m",
        "pytest",
        "-q",
        "-p",
        "tests.floors",
        "--measured",
        package,
        "-m",
        "not chaos and not slow",
    ]
    command += ["-n", "2", "--dist", "loadfile", f"tests/{package}"]
    if subprocess.run([sys.executable, *command], cwd=ROOT, check=False).returncode:
        return False
    found = coverage.Coverage(data_file=folder / "data", branch=True, config_file=False)
    found.combine([str(folder)])
    found.config.set_option("report:sort", "cover")
    share = found.report(show_missing=True, skip_covered=True)
    print(f"{package}: {share:.2f} %, floor {FLOORS[package]} %")
    return share >= FLOORS[package]


def main(packages: list[str]) -> int:
    """Measure the packages named, all when none is; 1 when one is below its floor."""
    reached = [measure(package) for package in packages or FLOORS]
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
