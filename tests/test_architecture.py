"""The house keeps its shape: our packages are the ones imported, and each room stays light."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("experiment", "analysis", "router")
EVERYTHING = """
import importlib, pkgutil
import bench, switchpoint
for package in (switchpoint, bench):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
"""


def loaded_by(statement: str) -> set[str]:
    """The packages a fresh interpreter has loaded after `statement`: `redis`, `switchpoint.router`."""
    code = f"import sys\n{statement}\nprint(*sorted({{'.'.join(m.split('.')[:n]) for m in sys.modules for n in (1, 2)}}))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(out.stdout.split())


@pytest.mark.parametrize("package", PACKAGES)
def test_the_folders_at_the_top_are_what_the_package_holds(package: str) -> None:
    """And not a copy of them, nor another distribution's."""
    module = importlib.import_module(f"switchpoint.{package}")
    assert Path(module.__file__ or "").resolve().parent == ROOT / package


def test_nothing_is_imported_by_a_name_without_the_package() -> None:
    """The root of a checkout is on sys.path here, where the three folders could be imported twice."""
    loaded = loaded_by(EVERYTHING)
    assert loaded >= {f"switchpoint.{package}" for package in PACKAGES}
    assert loaded & set(PACKAGES) == set()
    assert sys.modules.keys() & set(PACKAGES) == set()  # nor by any test that this process has collected


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        (
            "import switchpoint.router.client",
            {"flask", "gunicorn", "gevent", "numpy", "scipy", "redis", "switchpoint.analysis"},
        ),
        ("import switchpoint.experiment.assignment.assign", {"numpy", "redis", "sqlite3", "ruamel", "flask"}),
        ("import switchpoint.router.serving.app", {"switchpoint.analysis", "numpy", "scipy", "sklearn"}),
        ("import switchpoint.router.cli.main", {"flask", "numpy", "scipy", "sklearn", "redis", "pyarrow"}),
        (
            "import switchpoint.analysis.judgement.verdict",
            {"redis", "flask", "pyarrow", "statsmodels", "sklearn"},
        ),
    ],
)
def test_a_room_loads_only_what_it_needs(statement: str, forbidden: set[str]) -> None:
    """Import budgets: the SDK brings no web framework, the hot path no numerics."""
    assert loaded_by(statement) & forbidden == set()
