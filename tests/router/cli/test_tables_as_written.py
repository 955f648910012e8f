"""Tables as people have them: names that look like numbers, dates without a time, empty cells, spare columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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


RAMP = """day,variant,users,buyers
2026-03-06,control,990000,20000
2026-03-06,treatment,10000,230
2026-03-07,control,500000,5000
2026-03-07,treatment,500000,6000
"""
RAMP_SPEC = (
    "metrics:\n  - {key: buyers, type: proportion, role: primary}\n"
    + RULE
    + "source: {shape: counts, assignment: randomised, variant: variant, control: control, PLACE,\n"
    "  weights: {FIRST: {control: 0.99, treatment: 0.01}, SECOND: {control: 0.5, treatment: 0.5}},\n"
    "  columns: {buyers: {n: users, sum: buyers}}}\n"
)


@pytest.mark.parametrize(
    ("place", "first", "second"),
    [
        ("day: day", "2026-03-06", "2026-03-07"),
        ("day: day", "2026-03-01", "2026-03-07"),  # a day's weights hold until the next one's
        ("day: day", "06.03.2026", "07.03.2026"),
        ("segment: day", "2026-03-06", "2026-03-07"),
        ("day: day, epoch: phase", "early", "late"),
    ],
)
def test_weights_may_differ_by_day_by_segment_and_by_epoch(
    cli: Cli, tmp_path: Path, place: str, first: str, second: str
) -> None:
    """Treatment is better on both days: +0.24 points, though pooled it looks 0.46 worse."""
    rows = (
        RAMP.replace("2026-03-06", "06.03.2026").replace("2026-03-07", "07.03.2026") if "." in first else RAMP
    )
    lines = [f"{row},{'early' if '06' in row[:10] else 'late'}" for row in rows.splitlines()[1:]]
    (tmp_path / "t.csv").write_text("\n".join([rows.splitlines()[0] + ",phase", *lines, ""]))
    spec = RAMP_SPEC.replace("PLACE", place).replace("FIRST", f'"{first}"').replace("SECOND", f'"{second}"')
    (tmp_path / "spec.yaml").write_text(spec)
    report = cli("analyze", str(tmp_path / "t.csv"), "--spec", str(tmp_path / "spec.yaml"), "--json").json()
    (comparison,) = report["matured"]["metrics"][0]["comparisons"]
    assert round(comparison["estimate"]["effect"], 6) == 0.002399
    assert {check["severity"] for check in report["checks"] if check["name"].startswith("sample ratio")} == {
        "ok"
    }


@pytest.mark.parametrize(
    ("place", "first", "said"),
    [
        ("day: day", "2026-03-07", "row 1, column day: a day before the first one that has weights"),
        ("day: day", "soon", "weights are by day, and 'soon' is not a time"),
        ("segment: day", "2026-03-08", "no weights for the segment '2026-03-06'"),
        ("day: day, epoch: variant", "control", "no weights for the epoch 'treatment'"),
        ("control: control, day: day, cumulative: true", "2026-03-06", "cumulative rows hold the units of all weights"),
        ("unit: users", "2026-03-06", "nothing says which weights a row has"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_named(
    cli: Cli, tmp_path: Path, place: str, first: str, said: str
) -> None:
    (tmp_path / "t.csv").write_text(RAMP)
    spec = RAMP_SPEC.replace("PLACE", place).replace("FIRST", f'"{first}"').replace("SECOND", '"2026-03-09"')
    (tmp_path / "spec.yaml").write_text(
        spec.replace("control: control, control: control", "control: control")
    )
    done = cli("analyze", str(tmp_path / "t.csv"), "--spec", str(tmp_path / "spec.yaml"))
    assert (done.code, said in done.err) == (2, True), done.err


def units(folder: Path, cells: list[str], more: str = "") -> tuple[str, ...]:
    """400 units of two variants with what each paid, as written."""
    lines = [f"u{i},{'ab'[i % 2]},{cells[i // 2 % len(cells)]}" for i in range(400)]
    (folder / "t.csv").write_text("\n".join(["user;variant;paid".replace(";", ","), *lines, ""]))
    (folder / "spec.yaml").write_text(
        "metrics:\n  - {key: revenue, type: mean, role: primary, event: buy, value: amount, decimals: 2}\n"
        + RULE
        + "source: {shape: units, assignment: randomised, variant: variant, control: a, unit: user, weights: equal,\n"
        f"  columns: {{revenue: paid}}{more}}}\n"
    )
    return "analyze", str(folder / "t.csv"), "--spec", str(folder / "spec.yaml"), "--json"


def test_an_empty_cell_is_0_where_the_source_says_so_and_the_advice_says_how(
    cli: Cli, tmp_path: Path
) -> None:
    """Leaving the rows out would compare buyers: 30 instead of 3."""
    cells = ["30", *[""] * 9]
    done = cli(*units(tmp_path, cells))
    assert (done.code, "`empty: 0`" in done.err, "eligible" in done.err) == (2, True, False), done.err
    for more in (", empty: 0", ", empty: {revenue: 0}"):
        report = cli(*units(tmp_path, cells, more)).json()
        assert rates(report) == [3, 3]
        assert report["header"]["reading"] == ["paid: an empty cell is 0."]


def test_a_condition_on_what_is_measured_holds_the_verdict(cli: Cli, tmp_path: Path) -> None:
    report = cli(*units(tmp_path, ["30", "28", *[""] * 8], ", eligible: {paid: {$exists: true}}")).json()
    (check,) = [check for check in report["checks"] if check["name"] == "eligibility"]
    assert (check["severity"], "what is left is not what was randomised" in check["message"]) == (
        "gate",
        True,
    )


def test_two_spellings_of_a_variant_are_named_and_may_be_one(cli: Cli, tmp_path: Path) -> None:
    arguments = units(tmp_path, ["3"])
    text = (tmp_path / "t.csv").read_text()
    (tmp_path / "t.csv").write_text(text.replace("u1,b,", "u1,B ,"))
    done = cli(*arguments)
    assert (done.code, "'B ' and 'b' differ in case or white space alone" in done.err) == (2, True), done.err
    spec = (tmp_path / "spec.yaml").read_text()
    (tmp_path / "spec.yaml").write_text(spec.replace("weights: equal", "weights: equal, labels: tidy"))
    assert [v["key"] for v in cli(*arguments).json()["header"]["variants"]] == ["a", "b"]


def test_without_a_spec_the_table_is_understood_and_the_suggestion_can_be_judged(
    cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_text("group,users,buyers\ncontrol,5000,500\ntreatment,5000,560\n")
    file = str(tmp_path / "t.csv")
    said = cli("analyze", file)
    assert (said.code, "Understood as a row per variant with counts" in said.out) == (0, True)
    assert "How units were assigned" in said.out
    assert cli("analyze", file, "--json").json()["variants"] == ["control", "treatment"]
    spec = tmp_path / "spec.yaml"
    assert cli("analyze", file, "--suggest-spec", "--output", str(spec)).code == 0
    assert cli("validate", str(spec)).code == 0
    by_hand = cli("analyze", file, "--spec", str(spec), "--json", "--at", "2026-03-01T00:00:00Z")
    judged = cli("analyze", file, "--judge", "--json", "--at", "2026-03-01T00:00:00Z")
    assert by_hand.json() == judged.json()
    assert judged.json()["verdict"]["kind"] == "continue"
    for flag in ("--judge", "--suggest-spec"):
        done = cli("analyze", file, "--spec", str(spec), flag)
        assert (done.code, "a spec is given" in done.err) == (2, True), done.err


def test_a_single_unit_has_no_variance_and_needs_none(cli: Cli, tmp_path: Path) -> None:
    """A spreadsheet's VAR of one cell is an error or empty."""
    (tmp_path / "t.csv").write_text(
        "day,arm,n,mean,var\n2026-03-02,a,1,3,\n2026-03-02,b,1,4,#DIV/0!\n2026-03-03,a,90,3,2\n2026-03-03,b,95,4,2\n"
    )
    (tmp_path / "spec.yaml").write_text(
        "metrics:\n  - {key: revenue, type: mean, role: primary, event: buy, value: amount, decimals: 2}\n"
        + RULE
        + "source: {shape: moments, assignment: randomised, variant: arm, control: a, day: day, weights: equal,\n"
        "  columns: {revenue: {n: n, mean: mean, variance: var}}}\n"
    )
    done = cli("analyze", str(tmp_path / "t.csv"), "--spec", str(tmp_path / "spec.yaml"), "--json")
    assert [value["value"] for value in done.json()["matured"]["metrics"][0]["values"]] == [3, 4]
    (tmp_path / "t.csv").write_text("day,arm,n,mean,var\n2026-03-02,a,2,3,\n2026-03-02,b,2,4,1\n")
    done = cli("analyze", str(tmp_path / "t.csv"), "--spec", str(tmp_path / "spec.yaml"), "--json")
    assert (done.code, "row 1, column var: a missing value" in done.err) == (2, True), done.err


@pytest.mark.parametrize("file", ["campaigns.csv", "comma.csv", "utf16.csv"])
def test_the_campaigns_of_a_country_with_commas_are_read(cli: Cli, shared: Path, file: str) -> None:
    folder = shared / "cases" / "dialects"
    report = cli("analyze", str(folder / file), "--spec", str(folder / "spec.yaml"), "--json").json()
    assert [v["n"] for v in report["matured"]["variants"]] == [203_742, 140_269]
    assert (report["matured"]["first_day"], report["matured"]["last_day"]) == ("2019-08-01", "2019-08-02")


@pytest.mark.parametrize(
    ("spec", "effect", "said"),
    [
        ("spec.yaml", -0.004563, "give the weights by day"),
        ("by-day-as-segment.yaml", 0.002399, "the intended weights in the source"),
        ("per-day-weights.yaml", 0.002399, "5 more matured days"),
    ],
)
def test_a_ramp_in_a_table_is_no_harm(cli: Cli, shared: Path, spec: str, effect: float, said: str) -> None:
    folder = shared / "cases" / "ramp-in-a-table"
    report = cli("analyze", str(folder / "ramp.csv"), "--spec", str(folder / spec), "--json").json()
    (comparison,) = report["matured"]["metrics"][0]["comparisons"]
    assert round(comparison["estimate"]["effect"], 6) == effect
    assert any(said in text for text in report["verdict"]["what_would_change"])


def test_nothing_bought_is_no_reason_to_leave_a_user_out(cli: Cli, shared: Path, tmp_path: Path) -> None:
    """3.10 a user, not 31 a buyer."""
    folder = shared / "cases" / "empty-value"
    done = cli("analyze", str(folder / "units.csv"), "--spec", str(folder / "spec.yaml"))
    assert (done.code, "`empty: 0`" in done.err) == (2, True), done.err
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        (folder / "spec.yaml").read_text().replace("weights: equal", "weights: equal\n  empty: 0")
    )
    assert rates(cli("analyze", str(folder / "units.csv"), "--spec", str(spec), "--json").json()) == [
        3.1,
        2.0995,
    ]
    report = cli(
        "analyze", str(folder / "units.csv"), "--spec", str(folder / "eligible.yaml"), "--json"
    ).json()
    assert report["verdict"]["kind"] == "continue"


def balanced(folder: Path) -> None:
    """The 800 units with both variants on every day."""
    seen = [f"{i:04},{'ab'[i % 2]},2026-03-{1 + i // 2 % 14:02}T10:30:00Z" for i in range(800)]
    (folder / "exposures.csv").write_text("\n".join(["user,variant,at", *seen, ""]))


def outcomes_check(report: dict[str, Any], name: str = "outcomes") -> tuple[str, str]:
    (check,) = [check for check in report["checks"] if check["name"] == name]
    return check["severity"], check["message"]


def test_what_is_not_counted_is_told(cli: Cli, tmp_path: Path) -> None:
    arguments = events(tmp_path, at="2026-03-{:02}T12:00:00Z")
    orders = tmp_path / "orders.csv"
    lines = orders.read_text().splitlines()
    late = ["0000,buy,2026-04-20T00:00:00Z"] * 3
    orders.write_text(
        "\n".join(
            [*lines, *["stranger,buy,2026-03-05T12:00:00Z"] * 7, *late, "0001,look,2026-03-05T12:00:00Z", ""]
        )
    )
    level, said = outcomes_check(cli(*arguments).json())
    assert level == "ok"
    assert said == (
        "7 of 90 outcomes (7.8%) are of units never exposed. 3 lie before their exposure or after its window and do "
        "not count. No metric reads: look 1."
    )
    orders.write_text("\n".join([lines[0], *[f"{i:04},buy,2026-05-01T12:00:00Z" for i in range(200)], ""]))
    balanced(tmp_path)
    report = cli(*arguments).json()
    assert outcomes_check(report)[0] == "gate"
    assert any(
        "no outcome counts" in text for text in [report["verdict"]["headline"], *report["verdict"]["reasons"]]
    )


def test_tables_whose_clocks_are_hours_apart_are_named(cli: Cli, tmp_path: Path) -> None:
    """Without it all purchases lie before their exposure, and both rates are 0."""
    arguments = events(tmp_path, at="2026-03-{:02}T05:40:00Z")
    (tmp_path / "orders.csv").write_text(
        "\n".join(
            [
                "user,what,at",
                *[
                    f"{i:04},buy,2026-03-{1 + i // 2 % 14:02}T05:40:00Z"
                    for i in range(800)
                    if i // 2 % 4 == 0
                ],
                "",
            ]
        )
    )
    balanced(tmp_path)
    report = cli(*arguments).json()
    level, said = outcomes_check(report, "early outcomes")
    assert (level, "5 hours behind the exposures" in said) == ("gate", True)
    assert report["verdict"]["kind"] == "continue"
