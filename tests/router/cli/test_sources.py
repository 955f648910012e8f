"""The same data from a file and from a database give the same report, digit for digit."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from tests.router.cli.conftest import Cli

DECISION = "decision: {design: fixed, mde: 20%, min_runtime: 1d, max_runtime: 60d}\n"
UNITS = (
    DECISION
    + """
metrics:
  - {key: revenue, type: mean, event: buy, value: amount, decimals: 2, role: primary}
  - {key: ctr, type: ratio, numerator: click, denominator: view}
source:
  shape: units
  assignment: randomised
  variant: variant
  unit: user
  day: day
  weights: equal
  columns: {revenue: amount, ctr: {numerator: clicks, denominator: views}}
"""
)
EVENTS = (
    DECISION
    + """
metrics: [{key: revenue, type: mean, event: buy, value: amount, decimals: 2, role: primary}]
source:
  shape: events
  assignment: randomised
  variant: variant
  unit: user
  weights: equal
  exposures: {table: EXPOSURES, id: id, at: at}
  outcomes: {table: OUTCOMES, id: id, type: kind, at: at, value: amount}
"""
)
T0 = 1_600_000_000_000


def units() -> dict[str, list[Any]]:
    size = range(400)
    return {
        "user": [f"u{n}" for n in size], "variant": ["ab"[n % 2] for n in size],
        "day": [f"2026-03-0{1 + n % 8}" for n in size], "amount": [(n * 37 % 211) / 8 - 2 for n in size],
        "clicks": [n % 3 for n in size], "views": [n % 5 + 1 for n in size],
    }  # fmt: skip


def stored(folder: Path, tables: Mapping[str, Mapping[str, Sequence[Any]]]) -> Path:
    """The tables as CSV, Parquet and in one SQLite database."""
    with closing(sqlite3.connect(folder / "log.db")) as connection, connection:
        for name, columns in tables.items():
            table = pa.table(columns)
            csv.write_csv(table, folder / f"{name}.csv")
            parquet.write_table(table, folder / f"{name}.parquet")
            connection.execute(f"CREATE TABLE {name} ({', '.join(columns)})")
            marks = ", ".join("?" * len(columns))
            connection.executemany(
                f"INSERT INTO {name} VALUES ({marks})", zip(*columns.values(), strict=True)
            )
    return folder


def report(cli: Cli, *arguments: str) -> dict[str, Any]:
    done = cli("analyze", *arguments, "--at", "2026-04-01T00:00:00Z", "--json")
    assert done.code in {0, 1}, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_units_from_a_database_give_the_report_of_the_files(cli: Cli, tmp_path: Path) -> None:
    folder, spec = stored(tmp_path, {"units": units(), "other": {"x": [1]}}), tmp_path / "spec.yaml"
    spec.write_text(UNITS)
    tail = ("--spec", str(spec))
    expected = report(cli, str(folder / "units.parquet"), *tail)
    assert report(cli, str(folder / "units.csv"), *tail) == expected
    assert report(cli, f"sqlite:///{folder}/log.db", "--table", "units", *tail) == expected
    assert report(cli, str(folder / "log.db"), "--sql", "SELECT * FROM units", *tail) == expected


def test_events_find_their_second_table_beside_the_first(cli: Cli, tmp_path: Path) -> None:
    size = range(300)
    exposures: dict[str, list[Any]] = {
        "id": [f"x{n}" for n in size], "user": [f"u{n}" for n in size], "at": [T0 + n for n in size],
        "variant": ["ab"[n % 2] for n in size],
    }  # fmt: skip
    outcomes: dict[str, list[Any]] = {
        "id": [f"o{n}" for n in size], "user": [f"u{n}" for n in size], "at": [T0 + 1000 + n for n in size],
        "kind": ["buy"] * 300, "amount": [(n % 17) / 8 for n in size],
    }  # fmt: skip
    folder, spec = stored(tmp_path, {"exposures": exposures, "outcomes": outcomes}), tmp_path / "spec.yaml"
    spec.write_text(EVENTS.replace("EXPOSURES", "exposures.csv").replace("OUTCOMES", "outcomes.csv"))
    expected = report(cli, str(folder / "exposures.csv"), "--spec", str(spec))
    spec.write_text(EVENTS.replace("EXPOSURES", "exposures").replace("OUTCOMES", "outcomes"))
    assert report(cli, f"sqlite:///{folder}/log.db", "--spec", str(spec)) == expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("units.csv", "--table", "units"), "only a database has tables"),
        (("log.db", "--table", "unit"), "did you mean 'units'"),
        (("log.db", "--sql", "DROP TABLE units"), "only SELECT is allowed"),
        (("mysql://host/log", "--table", "units"), "only SQLite databases are read directly"),
    ],
)
def test_a_source_that_cannot_be_read_is_bad_input(
    cli: Cli, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    stored(tmp_path, {"units": units()})
    spec = tmp_path / "spec.yaml"
    spec.write_text(UNITS)
    place = arguments[0] if "://" in arguments[0] else str(tmp_path / arguments[0])
    done = cli("analyze", place, *arguments[1:], "--spec", str(spec))
    assert done.code == 2
    assert said in done.err
