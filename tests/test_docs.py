"""What the documents say is there: links, commands, environment variables; and every example is true."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from switchpoint.router.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
        *(ROOT / "docs").rglob("*.md"),
    ]
)
WITH_PYTHON = [
    page
    for page in PAGES
    # the README's needs a service: tests/router/client/test_client.py runs it there
    if page.name != "README.md" and "```python\n" in page.read_text(encoding="utf-8")
]
PACKAGES = ("experiment", "analysis", "router")
WITH_EXAMPLES = sorted(
    ".".join(("switchpoint", *file.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for package in PACKAGES
    for file in (ROOT / package).rglob("*.py")
    if ">>> " in file.read_text(encoding="utf-8")
)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_docstring_examples_hold(module: str) -> None:
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name)
def test_python_blocks_run_as_printed(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the root of a checkout, each after those before it."""
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL):
        exec(block, names)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_local_links_lead_somewhere(page: Path) -> None:
    """A renamed page or picture is noticed."""
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_named_in_a_shell_block_exists(page: Path) -> None:
    """`switchpoint X` in a document is a command of the command line, with the options it has."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"```(?:sh|console|text)\n(.*?)```", text, flags=re.DOTALL):
        for line in re.findall(r"^(?:\$ )?(?:SWITCHPOINT_\S+ )*switchpoint (.+)$", block, flags=re.MULTILINE):
            words = line.split("#")[0].split()
            options = {"--data", "--project", "--debug", "--version", "--help"}
            while words and words[0] in {"--data", "--project"}:
                words = words[2:]
            if not words or words[0] in options or not re.fullmatch(r"[a-z-]+", words[0]):
                continue
            assert words[0] in COMMANDS, f"{name(page)}: {line}"


def test_a_notebook_shows_the_report_of_the_printed_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the tables of the Markdown document."""
    monkeypatch.chdir(ROOT)
    text = (ROOT / "docs" / "getting-started.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(lines, names)
    report = names["report"]
    assert report.verdict.headline == "Promote model_2."
    assert report._repr_markdown_().startswith("# Experiment")
    assert report.to_html().startswith("<!doctype html>")


def test_the_glossary_has_the_words_of_documents_and_code() -> None:
    """And the README explains some of them in the same words."""
    rows = r"^\| ([^|`]+?) \| (.+?) \|"
    page, readme = (
        re.findall(rows, (ROOT / at).read_text(encoding="utf-8"), re.MULTILINE)
        for at in ("docs/glossary.md", "README.md")
    )
    words = [word for row, _ in page if row != "word" for word in row.split(", ")]
    assert len(words) == len(set(words))
    elsewhere = "\n".join(
        file.read_text(encoding="utf-8")
        for file in [*PAGES, *(f for package in PACKAGES for f in (ROOT / package).rglob("*.py"))]
        if file.name != "glossary.md"
    )
    assert [word for word in words if not re.search(rf"\b{word}\b", elsewhere)] == []
    explained = [row for row in readme if row[0] in set(dict(page))]
    assert len(explained) > 10
    assert set(explained) <= set(page)


def test_every_environment_variable_is_documented() -> None:
    """And none is documented that the code does not read."""
    read: set[str] = set()
    for package in PACKAGES:
        for module in (ROOT / "switchpoint" / package).rglob("*.py"):
            read |= set(re.findall(r"SWITCHPOINT_[A-Z_]+[A-Z]", module.read_text(encoding="utf-8")))
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert set(re.findall(r"SWITCHPOINT_[A-Z_]+[A-Z]", page)) == read


def test_every_runtime_dependency_has_a_reason() -> None:
    """docs/dependencies.md names each requirement of pyproject.toml."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    names = [re.split(r"[<>=;\[ ]", requirement)[0] for requirement in project["dependencies"]]
    assert [each for each in names if each not in page] == []
