"""Fixtures every room uses: the shared real data; and what no test of any room may depend on: time."""

from __future__ import annotations

import functools
import gc
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

ROOT = Path(__file__).resolve().parent.parent
ABSENT = "SHARED DATA ABSENT"

# examples are judged by what they show, never by how long a busy machine takes
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("mutants", settings.get_profile("untimed"), phases=(Phase.explicit, Phase.generate))
# a mutant has only to fail: to look for its smallest failing example takes minutes
settings.register_profile("ci", settings.get_profile("untimed"), derandomize=True)
# the same examples on every run: a change is judged by what it changed; other examples are drawn everywhere else
CI = os.environ.get("CI", "").lower() == "true"
settings.load_profile("mutants" if "MUTANT_UNDER_TEST" in os.environ else "ci" if CI else "untimed")


# workers share the cores: numpy's threads for matrices as small as ours only wait for each other
for library in ("OPENBLAS", "OMP", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")
# each of many collections walks all that five thousand tests have imported and cached
gc.set_threshold(100_000, 20, 20)

# gunicorn renames its processes where setproctitle is installed; their environment is how tests find them
os.environ.setdefault("SPT_NOENV", "1")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The directory with real data and oracle cases; without it tests skip loudly, and fail where CI=true."""
    path = Path(os.environ.get("SWITCHPOINT_SHARED", ROOT.parent / "shared"))
    if not (path / "data").is_dir():
        refuse = pytest.fail if CI else pytest.skip
        refuse(f"{ABSENT}: {path} is not there; set SWITCHPOINT_SHARED to run this test")
    return path


def pytest_sessionstart() -> None:
    """What an earlier session of this process has kept is worked out again: the code may have changed since, as
    it does from mutant to mutant."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "switchpoint":
            for value in vars(module).values():
                if isinstance(value, functools._lru_cache_wrapper):
                    value.cache_clear()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with a slow test come first: one that began last would leave the other workers idle."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what a green run without the shared data has not tested."""
    skipped = [
        report.nodeid
        for report in terminalreporter.stats.get("skipped", [])
        if ABSENT in str(report.longrepr)
    ]
    if skipped:
        terminalreporter.section(ABSENT, sep="=", red=True, bold=True)
        terminalreporter.line(
            f"{len(skipped)} tests were NOT run: nothing was compared with outside oracles or real data. "
            "Set SWITCHPOINT_SHARED. Where CI=true this fails.",
            red=True,
        )
        for nodeid in skipped:
            terminalreporter.line(f"  {nodeid}")
