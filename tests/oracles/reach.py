"""Which definitions of the product a command, a door or the client can reach, by the names the code uses.

A definition is a function or class at the top of a module (a class with all its methods). It is reached
when its name is used by a definition that is reached, in its own module or in one that imports it. Names are
not resolved further, so a definition may count as reached because its namesake is: never the other way round.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import grimp

BODY = ""
"""What a module does when it is imported, as if it were a definition."""
Definition = tuple[str, str]


@cache
def reached() -> frozenset[Definition]:
    """Every definition reached from what the package `switchpoint.router` holds."""
    graph = grimp.build_graph("switchpoint")
    uses = {module: _uses(module) for module in graph.modules}
    found: set[Definition] = set()
    waiting = [
        (module, name)
        for module in uses
        if f"{module}.".startswith("switchpoint.router.")
        for name in uses[module]
    ]
    while waiting:
        one = waiting.pop()
        if one in found:
            continue
        found.add(one)
        module, name = one
        imported = graph.find_modules_directly_imported_by(module)
        waiting += [(other, BODY) for other in imported]
        waiting += [
            (other, used)
            for other in {module, *imported}
            for used in uses[module].get(name, frozenset()) & uses[other].keys()
        ]
    return frozenset(found)


def _uses(module: str) -> dict[str, frozenset[str]]:
    """The names each definition of a module uses."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    uses: dict[str, set[str]] = {BODY: set()}
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    imports = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    renamed = {name.asname: name.name for node in imports for name in node.names if name.asname}
    for statement in tree.body:
        name = statement.name if isinstance(statement, ast.FunctionDef | ast.ClassDef) else BODY
        names = {renamed.get(name, name) for name in _names(statement)}
        uses.setdefault(name, set()).update(names)
    return {name: frozenset(names) for name, names in uses.items()}


def _names(statement: ast.stmt) -> Iterator[str]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr


def called(work: Callable[[], Any]) -> tuple[Any, frozenset[Definition]]:
    """What `work` returns, and the product's definitions that the oracles' adapters called directly."""
    found: set[Definition] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        module = frame.f_globals.get("__name__", "")
        caller = frame.f_back.f_globals.get("__name__", "") if frame.f_back else ""
        if (
            event == "call"
            and module.startswith("switchpoint.analysis.")
            and caller.startswith("tests.oracles")
        ):
            found.add((module, frame.f_code.co_qualname.partition(".")[0]))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        answer = work()
    finally:
        sys.setprofile(before)
    return answer, frozenset(found)
