"""SQLite databases: what is read, what is refused, and that nothing is written."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest

from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.store import sqlite as database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "log.db"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE units (name TEXT, n INTEGER, amount, mixed, odd, raw)")
        rows = [
            ("a", 1, 2, 1, "x", None),
            ("b", None, 0.1, "two", "y", None),
            ("NA", 3, None, 3.5, None, b"\0"),
        ]
        connection.executemany("INSERT INTO units VALUES (?, ?, ?, ?, ?, ?)", rows)
        connection.execute('CREATE TABLE "we ird""name" (x)')
    return file


def test_a_table_becomes_columns_of_the_type_of_their_values(path: Path) -> None:
    found = database.read(f"sqlite:///{path}", sql="SELECT name, n, amount FROM units ORDER BY n")
    assert found.to_pydict() == {"name": ["b", "a", "NA"], "n": [None, 1, 3], "amount": [0.1, 2.0, None]}
    assert found.schema.types == [pa.string(), pa.int64(), pa.float64()]


def test_types_agree_over_batches(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BATCH_ROWS", 1)
    found = database.read(str(path), sql="SELECT name, n, amount FROM units")
    assert found.to_pydict() == {"name": ["a", "b", "NA"], "n": [1, None, 3], "amount": [2.0, 0.1, None]}
    with pytest.raises(BadInput, match="mixes text and numbers"):
        database.read(str(path), sql="SELECT mixed FROM units")


def test_a_table_without_rows_keeps_its_columns(path: Path) -> None:
    assert database.read(str(path), table='we ird"name').column_names == ["x"]


WRONG: list[tuple[dict[str, str], str, str]] = [
    ({}, "which of its tables", "units"),
    ({"table": "unit"}, "no such table", "did you mean 'units'"),
    ({"table": "units"}, "text among numbers", "cast(mixed as text)"),
    ({"sql": "SELECT raw FROM units"}, "bytes are no value", "cast(raw as text)"),
    ({"sql": "SELECT absent FROM units"}, "no such column", "correct the query"),
    ({"sql": "SELECT n, n FROM units"}, "two columns of one name", "AS"),
    ({"sql": "DELETE FROM units"}, "not authorized", "only SELECT"),
    ({"sql": "ATTACH 'other.db' AS other"}, "not authorized", "only SELECT"),
    ({"sql": "PRAGMA journal_mode = DELETE"}, "not authorized", "only SELECT"),
    ({"sql": "SELECT 1; SELECT 2"}, "one statement", "correct the query"),
    ({"sql": "SELECT 1", "table": "units"}, "a table and a query", "either"),
]


@pytest.mark.parametrize(("named", "message", "fix"), WRONG)
def test_what_cannot_be_read_is_named_with_its_fix(
    path: Path, named: dict[str, str], message: str, fix: str
) -> None:
    before = path.read_bytes()
    with pytest.raises(BadInput, match=message) as caught:
        database.read(str(path), **named)
    assert fix in caught.value.fix
    assert path.read_bytes() == before
    assert not (path.parent / "other.db").exists()


def test_a_place_that_is_no_database_is_named(tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_text("this is no database, whatever its name says" * 50)
    with pytest.raises(BadInput, match="not a database"):
        database.read(str(text))
    with pytest.raises(BadInput, match="no such database"):
        database.read(f"sqlite:///{tmp_path}/missing.db")
    assert not (tmp_path / "missing.db").exists()
    with pytest.raises(BadInput, match="only SQLite") as caught:
        database.read("postgresql://host/log")
    assert "Parquet" in caught.value.fix
