"""The house keeps its shape: our packages are the ones imported, and each room stays light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def loaded_by(statement: str) -> set[str]:
    """Top-level modules a fresh interpreter has loaded after `statement`."""
    code = f"import sys\n{statement}\nprint(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(out.stdout.split())


@pytest.mark.parametrize("package", ["experiment", "analysis", "router"])
def test_the_generic_package_names_are_ours(package: str) -> None:
    """Another distribution with the same name would be imported silently otherwise."""
    module = __import__(package)
    assert Path(module.__file__ or "").parent == ROOT / package


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import router.client", {"flask", "gunicorn", "gevent", "numpy", "scipy", "redis", "analysis"}),
        ("import experiment.assignment", {"numpy", "redis", "sqlite3", "ruamel", "flask"}),
        ("import router.serving.app", {"analysis", "numpy", "scipy", "sklearn"}),
        ("import router.cli.main", {"flask", "numpy", "scipy", "sklearn", "redis", "pyarrow"}),
        ("import analysis.verdict", {"redis", "flask", "pyarrow", "statsmodels", "sklearn"}),
    ],
)
def test_a_room_loads_only_what_it_needs(statement: str, forbidden: set[str]) -> None:
    """Import budgets: the SDK brings no web framework, the hot path no numerics."""
    assert loaded_by(statement) & forbidden == set()
