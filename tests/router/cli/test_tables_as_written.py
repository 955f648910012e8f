"""Tables as people have them: names that look like numbers, dates without a time, empty cells, spare columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.router.cli.conftest import Cli

RULE = (
    "decision: {design: fixed, alpha: 0.05, power: 0.8, mde: 50%, min_runtime: 7d, max_runtime: 42d, "
    "evidence: randomised}\n"
)
COUNTS = (
    "metrics:\n  - {key: buyers, type: proportion, role: primary}\n"
    + RULE
    + "source: {shape: counts, assignment: randomised, variant: model, control: '1.9', weights: equal,\n"
    "  columns: {buyers: {n: users, sum: buyers}}}\n"
)
EVENTS = (
    "metrics:\n  - {key: buyers, type: proportion, role: primary, event: buy}\n"
    + RULE
    + "window: 7d\n"
    + "source: {shape: events, assignment: randomised, variant: variant, control: a, unit: user, weights: equal,\n"
    "  exposures: {table: exposures.csv, at: at}, outcomes: {table: orders.csv, type: what, at: at}}\n"
)


def events(
    folder: Path, *, unit: str = "{:04}", bought: str = "{:04}", kind: str = "buy", at: str = "2026-03-{:02}"
) -> tuple[str, ...]:
    """800 units over two weeks, of whom each tenth bought on the day on which it was exposed, at any variant."""
    seen = [f"{unit.format(i)},{'ab'[i % 2]},2026-03-{1 + i % 14:02}T10:30:00Z" for i in range(800)]
    orders = [f"{bought.format(i)},{kind},{at.format(1 + i % 14)}" for i in range(800) if i // 2 % 10 == 0]
    (folder / "exposures.csv").write_text("\n".join(["user,variant,at", *seen, ""]))
    (folder / "orders.csv").write_text("\n".join(["user,what,at", *orders, ""]))
    (folder / "spec.yaml").write_text(EVENTS)
    return "analyze", str(folder / "exposures.csv"), "--spec", str(folder / "spec.yaml"), "--json"


def rates(report: dict[str, object]) -> list[float]:
    """The rate of every variant, control first."""
    matured = report["matured"]
    assert isinstance(matured, dict)
    return [value["value"] for value in matured["metrics"][0]["values"]]


def test_a_version_is_no_number(cli: Cli, tmp_path: Path) -> None:
    """1.10 is another version than 1.1."""
    (tmp_path / "t.csv").write_text("model,users,buyers\n1.9,6000,600\n1.1,3000,300\n1.10,3000,480\n")
    (tmp_path / "spec.yaml").write_text(COUNTS)
    done = cli("analyze", str(tmp_path / "t.csv"), "--spec", str(tmp_path / "spec.yaml"), "--json")
    assert [variant["key"] for variant in done.json()["header"]["variants"]] == ["1.9", "1.1", "1.10"]
    assert done.json()["verdict"]["kind"] == "invalid"  # three variants of equal weight are not 6, 3, 3


@pytest.mark.parametrize(
    ("unit", "bought"),
    [("{:04}", "{:04}"), ("9999999999999999{:04}", "9999999999999999{:04}"), ("1e{}", "1e{}")],
)
def test_ids_are_text_in_both_tables(cli: Cli, tmp_path: Path, unit: str, bought: str) -> None:
    assert rates(cli(*events(tmp_path, unit=unit, bought=bought)).json()) == [0.1, 0.1]


@pytest.mark.parametrize(
    "at", ["2026-03-{:02}", "2026-03-{:02}T00:00:00Z", "2026-03-{:02} 00:00:00", "202603{:02}"]
)
def test_an_outcome_that_has_a_day_alone_counts_from_its_day(cli: Cli, tmp_path: Path, at: str) -> None:
    assert rates(cli(*events(tmp_path, at=at)).json()) == [0.1, 0.1]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"kind": "Buy"}, "no outcome has the type 'buy', 80 have 'Buy'"),
        ({"unit": "u{:04}", "bought": "U{:04}"}, "none of 80 outcomes is of a unit that was exposed"),
        ({"unit": "{:04}", "bought": "{}"}, "write units alike in both tables: exposures have '0000'"),
    ],
)
def test_what_joins_in_another_spelling_alone_is_named(
    cli: Cli, tmp_path: Path, changed: dict[str, str], said: str
) -> None:
    done = cli(*events(tmp_path, **changed))
    assert (done.code, said in done.err) == (2, True), done.err


def test_an_empty_name_is_a_missing_value_and_may_be_left_out(cli: Cli, tmp_path: Path) -> None:
    table, spec = tmp_path / "t.csv", tmp_path / "spec.yaml"
    table.write_text("model,users,buyers\n1.9,3000,300\n1.1,3000,300\n ,7,1\n")
    spec.write_text(COUNTS)
    done = cli("analyze", str(table), "--spec", str(spec), "--json")
    assert (done.code, "row 3, column model: a missing value" in done.err) == (2, True), done.err
    spec.write_text(COUNTS.replace("shape: counts,", "shape: counts, eligible: {model: {$exists: true}},"))
    done = cli("analyze", str(table), "--spec", str(spec), "--json")
    assert [variant["key"] for variant in done.json()["header"]["variants"]] == ["1.9", "1.1"]


def test_columns_that_nobody_names_may_be_there_twice(cli: Cli, tmp_path: Path) -> None:
    table, spec = tmp_path / "t.csv", tmp_path / "spec.yaml"
    table.write_text("model,users,buyers,,\n1.9,3000,300,,\n1.1,3000,300,,\n")
    spec.write_text(COUNTS)
    assert cli("analyze", str(table), "--spec", str(spec), "--json").code in {0, 1}
    table.write_text("model,users,buyers,users\n1.9,3000,300,1\n1.1,3000,300,1\n")
    done = cli("analyze", str(table), "--spec", str(spec), "--json")
    assert (done.code, "2 columns are called 'users'" in done.err) == (2, True), done.err
