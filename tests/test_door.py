"""The public door: its names are there, documented and light to reach."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import switchpoint
from tests.test_architecture import ROOT, loaded_by
from tests.test_docs import PAGES

OBJECTS = sorted(set(switchpoint.__all__) - {"__version__"})


@pytest.mark.parametrize("name", OBJECTS)
def test_every_name_is_something_of_ours_with_a_docstring(name: str) -> None:
    """A dataclass without one would show its signature."""
    found = getattr(switchpoint, name)
    assert found.__name__ == name
    assert found.__module__.startswith("switchpoint.")
    assert found.__doc__.strip()
    assert not found.__doc__.startswith(f"{name}(")
    assert name in dir(switchpoint)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", switchpoint.__version__)
    with pytest.raises(AttributeError, match="module 'switchpoint' has no attribute 'analyse'"):
        getattr(switchpoint, "analyse")  # noqa: B009 - a type checker would see it


def test_type_checkers_see_what_is_imported() -> None:
    """The same names, each from the module it comes from."""
    tree = ast.parse(Path(switchpoint.__file__).read_text(encoding="utf-8"))
    [block] = [
        each for each in tree.body if isinstance(each, ast.If) and ast.unparse(each.test) == "TYPE_CHECKING"
    ]
    imports = [each for each in block.body if isinstance(each, ast.ImportFrom)]
    seen = {name.name: each.module for each in imports for name in each.names}
    assert seen == {name: f"switchpoint.{room}" for name, room in switchpoint._ROOM_OF.items()}
    assert sorted([*seen, "__version__"]) == sorted(switchpoint.__all__)


def test_the_page_explains_every_name_and_no_other() -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    explained = [
        name
        for row in re.findall(r"^\| (`.*?) \|", page, flags=re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    ]
    assert sorted(explained) == OBJECTS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_enter_by_the_door(page: Path) -> None:
    """What a user copies keeps working when a module moves."""
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL):
        for each in ast.walk(ast.parse(block)):
            if isinstance(each, ast.ImportFrom) and str(each.module).startswith("switchpoint"):
                assert each.module == "switchpoint"
                assert {name.name for name in each.names} <= set(switchpoint.__all__)


def test_the_door_loads_nothing_until_it_is_asked() -> None:
    """Rooms, numerics, web framework and store come with the name that needs them."""
    alone = loaded_by("import switchpoint") - loaded_by("pass")
    assert alone == {"switchpoint"}
    heavy = {"numpy", "flask", "gevent", "redis", "click", "switchpoint.analysis"}
    assert loaded_by("from switchpoint import Client, BadInput, load_spec") & heavy == set()


def test_no_room_imports_the_door() -> None:
    """It would be a circle."""
    inside = [file for room in ("experiment", "analysis", "router") for file in (ROOT / room).rglob("*.py")]
    assert [
        file
        for file in inside
        if re.search(r"^\s*(from|import) switchpoint( |$)", file.read_text(), flags=re.MULTILINE)
    ] == []
