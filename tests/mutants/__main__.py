"""Mutate a group of files, run its tests against every mutant, and hold the survivors against the committed list.

A copy of the tree is mutated (`.mutants/GROUP`), so the checkout stays as it is, and a run that was interrupted
goes on where it stopped. The group of the Lua scripts has mutants of our own (`lua.py`). Exit code 1 when fewer than 90 % of a group's mutants die, when one survives that
`survivors.json` does not list with its reason, or when a listed one is gone. With `--coverage` the tests of the
group are run once and the branches they leave out are shown instead; exit code 1 when there are any.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

from tests.mutants import lua
from tests.mutants.groups import GROUPS, LUA, Group, Mutant

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".mutants"
PACKAGE = "switchpoint/"
LISTED = Path(__file__).with_name("survivors.json")
LEAST = 0.90
_KILLED = {1, 3, 36, 24, -24, 152, 255}  # a failed test, or one that never ends
_UNCHECKED = {None, 2}
# Mutants are judged in forks of a process that has collected the tests and run none: threads of Polars, which a
# first table starts, are not there in a fork, where the next table waits for them for ever.
# One that hangs ends with its test's own timeout; one of a busy machine must not look as if it hung.
_CONFIG = """
[tool.mutmut]
source_paths = ["switchpoint"]
also_copy = ["bench", "docs", "README.md", "CHANGELOG.md"]
only_mutate = {files}
pytest_add_cli_args_test_selection = {tests}
pytest_add_cli_args = ["-p", "no:cacheprovider", "-p", "no:xdist", "-o", "timeout=20"]
timeout_multiplier = 100.0
process_isolation = "forkserver"
track_dependencies = false
use_git_change_detection = false
"""


def copied(name: str, group: Group) -> Path:
    """The tree as git knows it, with the tool's configuration; files that did not change keep their times.

    The package holds folders there, as in a wheel: the tool names a module by the path of its file.
    """
    work = WORK / name
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name_of in filter(None, names):
        source, target = ROOT / name_of, work / packed(name_of)
        if not source.is_file():
            continue
        text = source.read_bytes()
        if name_of == "pyproject.toml":
            text += _CONFIG.format(
                files=json.dumps([packed(file) for file in group.files]), tests=json.dumps(group.tests)
            ).encode()
        if not target.is_file() or target.read_bytes() != text:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text)
    _linked(work / "mutants")
    return work


def packed(file: str) -> str:
    """Where the package has a file of the checkout."""
    return PACKAGE + file if (ROOT / PACKAGE / Path(file).parts[0]).is_symlink() else file


def _linked(mutants: Path) -> None:
    """The shared data lie beside the project: there too."""
    shared = ROOT.parent / "shared"
    link = mutants.parent / "shared"
    if shared.is_dir() and not link.exists():
        mutants.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(shared)


def tool(work: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run mutmut in the copy; `run` shows its own progress."""
    shown = None if arguments[0] == "run" else subprocess.PIPE
    return subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments], cwd=work, check=False, stdout=shown, text=True
    )


def results(work: Path, group: Group) -> dict[str, int | None]:
    """Exit codes by the tool's name of the mutant."""
    codes: dict[str, int | None] = {}
    for meta in sorted((work / "mutants" / PACKAGE).rglob("*.py.meta")):
        file = str(meta.relative_to(work / "mutants" / PACKAGE)).removesuffix(".meta")
        if any(fnmatch(file, pattern) for pattern in group.files):
            mutated = meta.with_suffix("").read_text(encoding="utf-8")
            known = json.loads(meta.read_text())["exit_code_by_key"]
            # the tool remembers mutants of functions that are shorter now
            codes |= {one: code for one, code in known.items() if f"def {one.rpartition('.')[2]}(" in mutated}
    return codes


def described(work: Path, name: str) -> Mutant:
    """What a mutant changes, read from its diff."""
    diff = tool(work, "show", name).stdout.splitlines()
    file = next(line[4:].removeprefix(PACKAGE) for line in diff if line.startswith("--- "))
    was = [line[1:].strip() for line in diff if re.match(r"-(?!-- )", line)]
    now = [line[1:].strip() for line in diff if re.match(r"\+(?!\+\+ )", line)]
    function = name.rpartition(".")[2].rpartition("__mutmut_")[0].removeprefix("x_").removeprefix("xǁ")
    return Mutant(file, function.replace("ǁ", "."), " ".join(was), " ".join(now))


def listed(group: Group) -> Counter[Mutant]:
    """The survivors of the group that are known, each with its reason."""
    entries = json.loads(LISTED.read_text(encoding="utf-8"))
    for entry in entries:
        if not entry["reason"].strip():
            raise SystemExit(f"{LISTED.name}: no reason for {entry}")
    known = (Mutant(e["file"], e["function"], e["was"], e["now"]) for e in entries)
    return Counter(m for m in known if any(fnmatch(m.file, pattern) for pattern in group.files))


def survivors(name: str, group: Group) -> tuple[list[Mutant], int]:
    """The mutants that no test notices, and how many were planted; 0 when not all were run."""
    work = copied(name, group)
    tool(work, "run")
    codes = results(work, group)
    open_ = [one for one, code in codes.items() if code in _UNCHECKED]
    if open_:
        print(f"{name}: {len(open_)} of {len(codes)} mutants were not run")
        return [], 0
    return [described(work, one) for one, code in codes.items() if code not in _KILLED], len(codes)


def run(name: str) -> bool:
    """Run one group and say what came of it; whether it is as good as it has to be."""
    group = GROUPS[name]
    WORK.mkdir(exist_ok=True)
    found, count = lua.survivors(WORK / "lua.json") if name == LUA else survivors(name, group)
    if not count:
        return False
    alive, known = Counter(found), listed(group)
    share = 1 - alive.total() / count
    print(f"{name}: {count - alive.total()} of {count} mutants die ({share:.1%})")
    for title, which in (("survives, not listed", alive - known), ("listed, but dies", known - alive)):
        for one in sorted(which.elements()):
            print(f"  {title}: {one.file} {one.function}\n    - {one.was}\n    + {one.now}")
    return share >= LEAST and alive == known


def covered(name: str) -> bool:
    """Run the tests of one group and show the lines and branches that they leave out; whether there is none."""
    if name == LUA:
        print(f"{name}: the tool measures Python only; its mutants drop and turn the conditions")
        return True
    group, data = GROUPS[name], str(WORK / f"{name}.coverage")
    WORK.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "coverage"]
    # coverage knows fewer patterns than mutmut
    matched = sorted(str(file.relative_to(ROOT)) for pattern in group.files for file in ROOT.glob(pattern))
    files = f"--include={','.join(matched)}"
    arguments = ["run", "--branch", f"--data-file={data}", files, "-m", "pytest", "-q", *group.tests]
    if subprocess.run([*command, *arguments], cwd=ROOT, check=False).returncode:
        return False
    shown = ["report", f"--data-file={data}", "--show-missing", "--skip-covered", "--fail-under=100"]
    return subprocess.run([*command, *shown], cwd=ROOT, check=False).returncode == 0


def main(arguments: list[str]) -> int:
    """Run the groups named, all of them when none is."""
    names = [one for one in arguments if one != "--coverage"]
    check = covered if "--coverage" in arguments else run
    unknown = set(names) - GROUPS.keys()
    if unknown:
        print(f"no such group: {', '.join(sorted(unknown))}. Known: {', '.join(GROUPS)}")
        return 2
    if shutil.which("git") is None:
        print("git is needed to know which files belong to the project")
        return 3
    good = [check(name) for name in names or GROUPS]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
