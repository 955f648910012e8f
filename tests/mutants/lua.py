"""Faults of the ledger's Lua scripts: mutmut knows Python only, so the rules stand here.

Each rule makes one mutant of every match in a line of code. Each mutant runs in a process of its own, forked from
one that has imported everything, with the changed text in place of the script; the first failure ends it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import re
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import Phase, settings

from switchpoint.experiment.store.redis import ledger as redis_ledger
from tests.mutants.groups import GROUPS, LUA, Mutant

ROOT = Path(__file__).resolve().parents[2]
WORKERS = 2
_SURVIVED, _DIED = 0, 1
_OPTIONS = (
    "-q", "-x", "--tb=no", "-p", "no:cacheprovider", "-p", "no:unraisableexception", "-p", "pytest_timeout",
    "-o", "timeout=120", "-W", "ignore::pytest.PytestAssertRewriteWarning",
)  # fmt: skip
_RULES = tuple(
    (re.compile(pattern), now)
    for pattern, now in (
        (r" < ", " <= "), (r" <= ", " < "), (r" > ", " >= "), (r" >= ", " > "),
        # one line with its `end` is dropped as a whole, below
        (r" == (?!.* end$)", " ~= "), (r" ~= (?!.* end$)", " == "), (r"(?<!= )\bnot (?!.* end$)", ""),
        (r" and (?!.* or )", " or "),
        (r" \+ (?=[a-z(][^\]]*$)", " - "), (r" - ", " + "), (r"(?<= )-(?=[a-z(])", ""),
        # by one, but not where a list grows
        (r"([\])]|(?<![#.\w])[.\w]+) \+ 1\b", r"\1"), (r"(?<== )(\d)(?=, p\.)", r"\1 + 1"), (r"% 2\b", "% 3"),
        # the wrong number of a standing, the wrong answer
        (r"\b(e|old|new)\[7\]", r"\1[6]"), (r"\be\[6\]", "e[5]"), (r"\be\[(1[12])\]", r"e[\1 - 1]"),
        (r"return true\b", "return false"), (r"return false\b", "return true"), (r"= true$", "= false"),
        # dropped: a condition with what it guards, a statement, a write
        (r"(?<= )if (?!not raw).*? then .* end$", "do end"), (r"(?<= )for .* do redis\.call.* end$", "do end"),
        (r"^ *(?:redis\.call|settle|tally|set|note_type|write_\w+|new_entry|close_unit|spread|add)\(.*\)$", "do end"),
        # swapped
        (r"old, new, (?=\w+\))", "new, old, "), (r"fields\[i\], bytes", "bytes, fields[i]"), (r"small, limb", "not small, limb"),
        (r"(ARGV\[UNITS \+ \w+\]), bytes", r"bytes, \1"),
    )
)  # fmt: skip
_FIRST, _LAST = "repeats_and_splits", "repeats_and_batches"
"""The tests that see most faults at once, and the longest."""
_WITHOUT_SCRIPTS = (
    r"\[memory|killing_the_server|frozen_store|store_that_is_away|refused_events|65535|project_names|x3"
)


def planted(file: Path) -> Iterator[tuple[Mutant, str]]:
    """Every mutant of a script, with its changed text."""
    lines = file.read_text(encoding="ascii").splitlines()
    function = "main"
    for number, line in enumerate(lines):
        begun = re.match(r"local function (\w+)", line)
        if begun or line == "end":
            function = begun[1] if begun else "main"
            continue
        # not in a comment, nor in what an error says
        code = re.sub(r"error\(.*\)", lambda said: " " * len(said[0]), line.partition("--")[0].rstrip())
        for pattern, replacement in _RULES:
            for match in pattern.finditer(code):
                now = line[: match.start()] + match.expand(replacement) + line[match.end() :]
                text = "\n".join([*lines[:number], now, *lines[number + 1 :], ""])
                yield Mutant(str(file.relative_to(ROOT)), function, line.strip(), now.strip()), text


def survivors(kept: Path) -> tuple[list[Mutant], int]:
    """The mutants that no test notices, and how many were planted.

    Args:
        kept: the file of what is known, so that a run can be resumed. While the scripts stay as they are, one that
            died is not tried again; one that survived is, once a test changed.
    """
    scripts = [file for pattern in GROUPS[LUA].files for file in sorted(ROOT.glob(pattern))]
    mutants = [(mutant, file.name, text) for file in scripts for mutant, text in planted(file)]
    same = _digest(scripts)
    keys = [hashlib.sha256(f"{same}{text}".encode()).hexdigest()[:16] for _, _, text in mutants]
    tests = _digest(sorted((ROOT / GROUPS[LUA].tests[0]).parent.glob("*.py")))
    known: dict[str, Any] = json.loads(kept.read_text()) if kept.is_file() else {"codes": {}, "tests": tests}
    codes: dict[str, int] = {
        key: code for key, code in known["codes"].items() if code == _DIED or known["tests"] == tests
    }
    todo = {key: (name, text) for key, (_, name, text) in zip(keys, mutants, strict=True) if key not in codes}
    _import_tests()
    for key, code in _run({"": ("", "")} | todo):
        if code not in (_SURVIVED, _DIED) or (key == "" and code == _DIED):
            raise SystemExit(f"pytest ends with code {code} whatever a script does")
        if key:
            codes[key] = code
            kept.write_text(json.dumps({"codes": codes, "tests": tests}))
            alive = sum(codes.get(one) == _SURVIVED for one in keys)
            print(
                f"\r{sum(one in codes for one in keys)}/{len(keys)} tried, {alive} survive",
                end="",
                flush=True,
            )
    print()
    return [one for key, (one, _, _) in zip(keys, mutants, strict=True) if codes[key] == _SURVIVED], len(keys)


def _digest(files: list[Path]) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _import_tests() -> None:
    """Import once what every process needs; a failing example is not shrunk, and every run tries the same ones."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    for name in ("pytest_timeout", "tests.conftest"):
        importlib.import_module(name)
    quick = settings(derandomize=True, database=None, phases=(Phase.explicit, Phase.generate))
    settings.register_profile("mutants", quick)
    settings.load_profile("mutants")
    for test in GROUPS[LUA].tests:
        importlib.import_module(test.removesuffix(".py").replace("/", "."))


def _run(todo: dict[str, tuple[str, str]]) -> Iterator[tuple[str, int]]:
    """The exit code of pytest for every script and text; the first one alone, then WORKERS at once."""
    context, waiting, at_once = get_context("fork"), list(todo.items())[::-1], 1
    running: dict[int, tuple[str, ForkProcess]] = {}
    while waiting or running:
        while waiting and len(running) < at_once:
            key, change = waiting.pop()
            process = context.Process(target=_test, args=change)
            process.start()
            running[process.sentinel] = key, process
        for sentinel in wait(list(running)):
            key, process = running.pop(cast("int", sentinel))
            process.join()
            yield key, process.exitcode or 0
        at_once = WORKERS


def _test(name: str, text: str) -> None:
    """Run the tests with `text` in place of the script `name`."""

    def read(one: str) -> str:
        return text if one == name else redis_ledger._text(one)

    shared = read("ledger.lua") + read("ledger_units.lua")
    redis_ledger._RECORD = shared + read("ledger_record.lua")
    redis_ledger._REFOLD = shared + read("ledger_refold.lua")
    code = 3
    try:
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            code = pytest.main([*_OPTIONS, *(str(ROOT / test) for test in GROUPS[LUA].tests)], [_Order()])
    finally:
        os._exit(int(code))


class _Order:
    """A plugin: the tests that see most first, and none that runs no script."""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if not re.search(_WITHOUT_SCRIPTS, item.name)]
        items.sort(key=lambda item: (_FIRST not in item.name, _LAST in item.name))
