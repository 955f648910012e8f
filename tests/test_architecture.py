"""The house keeps its shape: our packages are the ones imported, and each room stays light."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
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
        (
            "import switchpoint.router.serving.app",
            {"switchpoint.analysis", "numpy", "scipy", "sklearn", "duckdb"},
        ),
        ("import switchpoint.router.cli.main", {"flask", "numpy", "scipy", "sklearn", "redis", "pyarrow"}),
        (
            "import switchpoint.analysis.frame, switchpoint.analysis.analyze, switchpoint.router.cli.output",
            {"jinja2", "vl_convert", "redis", "flask"},
        ),
        (  # scipy.stats takes over a second
            (
                "from switchpoint.analysis.inference import contrast, multiplicity, proportion, sequential;"
                "from switchpoint.analysis.methods import exact_tests;"
                "import switchpoint.analysis.planning.sufficiency, switchpoint.analysis.validity.sample_ratio"
            ),
            {"scipy.stats", "scipy.optimize", "statsmodels", "pandas"},
        ),
        ("import switchpoint, switchpoint.analysis.frame", {"duckdb", "pyarrow", "redis", "flask"}),
        (
            "import switchpoint.analysis.judgement.verdict",
            {"redis", "flask", "pyarrow", "statsmodels", "sklearn"},
        ),
    ],
)
def test_a_room_loads_only_what_it_needs(statement: str, forbidden: set[str]) -> None:
    """Import budgets: the SDK brings no web framework, the hot path no numerics."""
    assert loaded_by(statement) & forbidden == set()


def rooms(container: str, layers: list[str]) -> list[tuple[str, str]]:
    """The rooms of a contract from above, each with what it says of itself; those to come are in brackets."""
    folder = ROOT / container.removeprefix("switchpoint.").replace(".", "/")
    names = [name for layer in layers for name in re.split(r" [|:] ", layer) if not name.startswith("(")]
    files = [
        folder / name / "__init__.py" if (folder / name).is_dir() else folder / f"{name}.py" for name in names
    ]
    said = [ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "" for file in files]
    return [(name, text.split("\n\n")[0].replace("\n", " ")) for name, text in zip(names, said, strict=True)]


def test_the_house_as_drawn_is_the_house_as_enforced() -> None:
    """CONTRIBUTING.md has every contract's rooms, in their order, with their own words."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layered = [c for c in project["tool"]["importlinter"]["contracts"] if "containers" in c]
    assert all(contract["exhaustive"] for contract in layered)
    expected = {
        container.removeprefix("switchpoint."): rooms(container, contract["layers"])
        for contract in layered
        for container in contract["containers"]
    }
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    parts = re.split(r"^##+ ", text, flags=re.MULTILINE)
    drawn = {
        part.split("\n")[0]: re.findall(r"^\| `(\w+)` \| (.+) \|$", part, re.MULTILINE) for part in parts
    }
    assert {name: found for name, found in drawn.items() if found} == expected


def test_no_module_is_longer_than_one_can_keep_in_mind() -> None:
    """Four hundred lines; and the middle one has more than a hundred and fifty."""
    sizes = {
        str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines())
        for package in PACKAGES
        for file in (ROOT / package).rglob("*.py")
        if file.name != "__init__.py"
    }
    assert {name: lines for name, lines in sizes.items() if lines > 400} == {}
    assert sorted(sizes.values())[len(sizes) // 2] > 150
