"""The lowest versions that pyproject.toml allows, and the tests with them: `python -m tests.lowest` (`make lowest`).

Every `>=` of the product, its extras and what its tests import is written as `==`; a virtual environment beside the
checkout (`.lowest`) gets exactly these. It is made anew when a pin changes. Tools that no test imports (type stubs,
style, types, mutants) stay out: the newest of them is what counts.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".lowest"
TOOLS = re.compile(r"ruff|mypy|mutmut|coverage|import-linter|schemathesis|types-.*|.*-stubs")
# where the libraries are met: files, frames, arrays, models, stores, doors and the command line
TESTS = [
    "tests/experiment", "tests/analysis/inference", "tests/analysis/methods", "tests/analysis/planning",
    "tests/analysis/tables", "tests/analysis/report", "tests/analysis/test_frame.py", "tests/router/models",
    "tests/router/serving", "tests/router/client", "tests/router/cli", "tests/router/test_judging.py",
    "tests/test_docs.py", "tests/test_door.py",
]  # fmt: skip


def lowest(pyproject: str) -> list[str]:
    """The lowest version of each requirement, `name==version; marker`."""
    project = tomllib.loads(pyproject)["project"]
    extras = project["optional-dependencies"]
    asked = {*project["dependencies"], *(one for extra in extras.values() for one in extra)}
    named = {one: re.split(r">=", one)[0] for one in asked}
    return sorted(one.replace(">=", "==") for one, name in named.items() if not TOOLS.fullmatch(name))


def install(pins: list[str]) -> None:
    """Make the environment anew, unless it has these pins already."""
    written = FOLDER / "pins.txt"
    text = "\n".join(pins) + "\n"
    if written.is_file() and written.read_text(encoding="utf-8") == text:
        return
    venv.create(FOLDER, clear=True, with_pip=True)
    pip = [str(FOLDER / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--only-binary", ":all:", *pins], check=True)
    subprocess.run([*pip, "--no-deps", "--editable", str(ROOT)], check=True)
    written.write_text(text, encoding="utf-8")


def main() -> int:
    """Install and test; the exit code of pytest."""
    pins = lowest((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    install(pins)
    print(*pins, sep="\n")
    command = ["-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "-m", "not chaos and not slow"]
    return subprocess.run(
        [str(FOLDER / "bin" / "python"), *command, *TESTS], cwd=ROOT, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
