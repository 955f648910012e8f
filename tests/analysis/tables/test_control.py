"""Which variant of a table is control: said, or known by its name, or asked for; never left to the order of rows."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from switchpoint.analysis.frame import analyze
from switchpoint.analysis.report.report import BatchReport, Report
from switchpoint.analysis.report.sections import report_sections
from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.language.experiment import load_spec
from switchpoint.experiment.store.tables import read

SPEC = """
metrics: [{key: buy, type: proportion, role: primary}]
decision: {design: fixed, mde: 50%, evidence: randomised}
source: {shape: counts, assignment: randomised, variant: group, weights: equal, columns: {buy: {n: users, sum: buys}}}
"""


def table(*names: str, buys: tuple[int, ...] = (200, 100, 150, 160), users: int = 1000) -> pl.DataFrame:
    return pl.DataFrame({"group": names, "users": [users] * len(names), "buys": buys[: len(names)]})


def report(frame: object, text: str = SPEC) -> Report:
    found = analyze(frame, load_spec(text))
    assert isinstance(found, Report)
    return found


def told(found: Report) -> list[str]:
    """What the header says of the choice."""
    section = next(s for s in report_sections(found) if s.key == "experiment")
    assert section.table is not None
    return [row[1].text for row in section.table.rows if row[0].text == "control"]


def test_the_first_row_is_not_control_because_it_comes_first(shared: Path) -> None:
    folder = shared / "cases" / "control-left-out"
    found = report(read(folder / "order.csv"), (folder / "order.yaml").read_text())
    assert (found.verdict.kind.value, found.verdict.variant) == ("promote", "treatment")
    assert told(found) == ["control, taken by its name: the source does not say which variant is control"]


@pytest.mark.parametrize(
    "name", ["control", "Control", "baseline", "Baseline", "champion", "holdout", "A", "a"]
)
def test_a_usual_name_of_control_is_taken_and_said(name: str) -> None:
    for names in (("new", name), (name, "new"), ("new", "other", name)):
        found = report(table(*names))
        assert found.matured.metrics[0].comparisons[0].control == name.strip()
        assert [v.key for v in found.header.variants if v.control] == [name.strip()]
        assert found.header.control_named
        assert told(found)[0].startswith(name.strip())


def test_a_variant_called_control_goes_before_the_other_names() -> None:
    assert report(table("A", "baseline", "control")).matured.metrics[0].comparisons[0].control == "control"


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (("new", "old"), "no variant is called control: new, old"),
        (("B", "C"), "no variant is called control: B, C"),
        (("controlled", "new"), "no variant is called control"),
        (("A", "baseline", "C"), "several of its variants may be control: A, baseline, C"),
        (("control", "Control"), "several of its variants may be control"),
        (("1", "0"), "no variant is called control: 1, 0"),
    ],
)
def test_control_is_asked_for_where_no_name_says_it(names: tuple[str, ...], why: str) -> None:
    with pytest.raises(BadInput) as caught:
        report(table(*names))
    assert caught.value.field == "source.control"
    assert why in caught.value.message
    assert "write `control: " in str(caught.value.fix)
    assert "`first`" in str(caught.value.fix)


def test_rows_that_are_variants_have_no_names_so_control_is_asked_for() -> None:
    text = SPEC.replace("variant: group, ", "")
    with pytest.raises(BadInput, match="no variant is called control: 1, 2"):
        report(table("x", "y"), text)
    assert report(table("x", "y"), text.replace("weights", "control: first, weights")).verdict.variant == "1"


def test_what_the_source_says_is_taken_without_a_word() -> None:
    for said, control in (("first", "new"), ("largest", "new"), ("control", "control"), ("new", "new")):
        found = report(table("new", "control"), SPEC.replace("weights", f"control: {said}, weights"))
        assert found.matured.metrics[0].comparisons[0].control == control
        assert not found.header.control_named
        assert told(found) == []


def test_many_variants_are_not_all_listed() -> None:
    names = [f"variant {number}" for number in range(20)]
    with pytest.raises(BadInput, match="variant 7 and 12 more"):
        report(pl.DataFrame({"group": names, "users": [10] * 20, "buys": [1] * 20}))


def test_one_variant_alone_is_not_asked_about() -> None:
    assert report(table("new")).verdict.kind.value == "invalid"


def test_every_experiment_of_a_table_has_a_control_of_its_own_name() -> None:
    frame = pl.DataFrame(
        {
            "test": ["p", "p", "q", "q"],
            "group": ["b", "A", "baseline", "x"],
            "users": [1000] * 4,
            "buys": [200, 100, 100, 200],
        }
    )
    text = SPEC.replace("source: {", "source: {experiment: test, ")
    found = analyze(frame, load_spec(text))
    assert isinstance(found, BatchReport)
    assert [(row.experiment, row.promoted) for row in found.rows] == [("p", "b"), ("q", "x")]
    found = analyze(frame.with_columns(group=pl.Series(["b", "A", "y", "x"])), load_spec(text))
    assert isinstance(found, BatchReport)
    rows = {row.experiment: row for row in found.rows}
    assert (rows["p"].promoted, rows["q"].verdict.value) == ("b", "invalid")
    assert "which variant of 'q' is control" in rows["q"].reason
