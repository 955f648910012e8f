"""docs/source.md: every key, shape and role, and examples that are read as they stand."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from switchpoint.analysis.frame import analyze
from switchpoint.analysis.report.report import BatchReport, Report
from switchpoint.experiment.definition.source import COLUMN_ROLES, Source
from switchpoint.experiment.language.experiment import load_spec
from switchpoint.router.tables import read_tables, suggested

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "source.md").read_text(encoding="utf-8")
DECISION = re.findall(r"^decision: .*$", PAGE, re.MULTILINE)[0]
EXAMPLES = re.findall(r"((?:```csv\n.*?```\s+)+)```yaml\n(.*?)```", PAGE, re.DOTALL)


def report(tables: str, spec: str, folder: Path) -> Report | BatchReport:
    names = re.findall(r"table: ([\w.]+)", spec) or ["t.csv"]
    for name, text in zip(names, re.findall(r"```csv\n(.*?)```", tables, re.DOTALL), strict=True):
        (folder / name).write_text(text)
    read = load_spec(spec if "decision:" in spec else f"{spec}{DECISION}\n")
    first, second, said = read_tables(str(folder / names[0]), read)
    return analyze(first, read, outcomes=second, reading=said)


@pytest.mark.parametrize(("tables", "spec"), EXAMPLES)
def test_every_example_is_read_as_it_stands(tables: str, spec: str, tmp_path: Path) -> None:
    found = report(tables, spec, tmp_path)
    if isinstance(found, BatchReport):
        assert found.rows
    else:
        assert found.matured.n > 0


def test_every_key_and_role_stands_on_the_page() -> None:
    keys = {field.name for field in fields(Source)} - {"experiment_key", "weights_by"}
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == keys
    rows = re.findall(r"^\| (counts|moments|units) \| (`.*`) \|$", PAGE, re.MULTILINE)
    written = {(shape, tuple(re.findall(r"`(\w+)`", roles))) for shape, roles in rows}
    assert written == {(shape.value, roles) for shape, sets in COLUMN_ROLES.items() for roles in sets}


def test_every_key_has_an_example() -> None:
    specs = "\n".join(spec for _, spec in EXAMPLES)
    shown = {key for key in (f.name for f in fields(Source)) if re.search(rf"^ +{key}:", specs, re.MULTILINE)}
    left = {field.name for field in fields(Source)} - {"experiment_key", "weights_by"} - shown
    # said by a file of another kind, or shown in docs/cli.md
    assert left == {"separator", "encoding", "date_format", "labels", "dimensions", "epoch"}


def test_the_first_table_is_understood_without_a_spec(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(re.findall(r"```csv\n(.*?)```", PAGE, re.DOTALL)[0])
    found = suggested(str(tmp_path / "t.csv"))
    assert (found.shape, found.variants, found.metrics) == ("counts", ("control", "treatment"), ("buyers",))
