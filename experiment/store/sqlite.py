"""Tables and queries of a SQLite database as Arrow; nothing is ever written to it.

    table = read("sqlite:///log.db", table="units")
    table = read("sqlite:////var/log/units.db", sql="select * from units where country = 'US'")

Three slashes come before a path from here, four before one from the root. Columns have the type of their
values, as SQLite does not check the declared one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote, unquote

import pyarrow as pa

from switchpoint.experiment.errors import BadInput, suggest

SCHEME = "sqlite:///"
SUFFIXES = (".db", ".sqlite", ".sqlite3")
BATCH_ROWS = 65_536
"""Rows turned into columns at a time."""
_READING = {
    sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE,
}  # fmt: skip


def is_database(place: str) -> bool:
    """Whether a place is a database rather than a file that holds one table."""
    return "://" in place or place.lower().endswith(SUFFIXES)


def read(place: str, *, table: str | None = None, sql: str | None = None) -> pa.Table:
    """The rows of a table or view, or of one query; the only table there is where neither is named.

    Raises:
        BadInput: no such database or table, a query SQLite refuses or that would change anything, or a column
            that mixes text and numbers.
    """
    if table is not None and sql is not None:
        raise BadInput("a table and a query", field="--sql", value=sql, fix="give either --table or --sql.")
    path = _path(place)
    with _refused_named(place), closing(_opened(path)) as connection:
        statement = sql if sql is not None else _all_of(_table(connection, place, table))
        connection.set_authorizer(_only_reading)
        cursor = connection.execute(statement)
        if cursor.description is None:
            raise BadInput("not a query", field="--sql", value=statement, fix="write a SELECT.")
        names = [column[0] for column in cursor.description]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise BadInput(
                "two columns of one name",
                field="--sql",
                value=twice,
                fix="rename one with AS, or leave it out.",
            )
        return _arrow(names, iter(lambda: cursor.fetchmany(BATCH_ROWS), []))


def _path(place: str) -> Path:
    if place.startswith(SCHEME):
        path = Path(unquote(place.removeprefix(SCHEME)))
    elif "://" in place:
        raise BadInput(
            "only SQLite databases are read directly", field=place, value=place.split("://", maxsplit=1)[0],
            fix="export the query as Parquet, or give its data frame to `switchpoint.analyze`.",
        )  # fmt: skip
    else:
        path = Path(place)
    if not path.is_file():
        raise BadInput(
            "no such database", field=place, value=str(path),
            fix="check the path: sqlite:///log.db from here, sqlite:////var/log.db from the root.",
        )  # fmt: skip
    return path


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)


def _only_reading(action: int, *_: object) -> int:
    return sqlite3.SQLITE_OK if action in _READING else sqlite3.SQLITE_DENY


def _table(connection: sqlite3.Connection, place: str, named: str | None) -> str:
    """The table to read; raises BadInput naming those there are."""
    query = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'"
    known = sorted(name for (name,) in connection.execute(query))
    if named is None and len(known) == 1:
        return str(known[0])
    if named is None:
        raise BadInput(
            "which of its tables?", field=place,
            fix=f"add --table with one of {', '.join(known) or 'none: the database is empty'}; or --sql.",
        )  # fmt: skip
    found = next((name for name in known if name.lower() == named.lower()), None)
    if found is None:
        raise BadInput("no such table", field=f"{place}: --table", value=named, fix=suggest(named, known))
    return str(found)


def _all_of(table: str) -> str:
    quoted = table.replace('"', '""')
    return f'SELECT * FROM "{quoted}"'  # noqa: S608 - one of the names the database lists


def _arrow(names: Sequence[str], batches: Iterator[list[tuple[object, ...]]]) -> pa.Table:
    """Rows as columns; whole numbers beside others become doubles, as in a CSV file."""
    tables, done = [pa.table({name: pa.array([], pa.null()) for name in names})], 0
    for batch in batches:
        columns = dict(zip(names, zip(*batch, strict=True), strict=True))
        tables.append(pa.table({name: _column(name, values, done) for name, values in columns.items()}))
        done += len(batch)
    try:
        return pa.concat_tables(tables, promote_options="permissive").combine_chunks()
    except pa.ArrowException as error:
        first = str(error).splitlines()[0]
        raise BadInput(
            f"a column mixes text and numbers: {first}", field="rows",
            fix="cast it in the query: --sql 'select cast(column as text) ...'.",
        ) from error  # fmt: skip


def _column(name: str, values: Sequence[object], before: int) -> pa.Array:
    odd = {type(value) for value in values} & {str, bytes}
    numbers = any(isinstance(value, int | float) for value in values)
    if bytes in odd or (odd and numbers):
        wrong = bytes if bytes in odd else str
        row = next(place for place, value in enumerate(values) if isinstance(value, wrong))
        raise BadInput(
            "bytes are no value" if wrong is bytes else "text among numbers", value=str(values[row]),
            field=f"row {before + row + 1}, column {name}",
            fix=f"correct the row, or cast the column in the query: --sql 'select cast({name} as text) ...'.",
        )  # fmt: skip
    if any(isinstance(value, float) for value in values):
        doubles = [float(value) if isinstance(value, int | float) else None for value in values]
        return pa.array(doubles, pa.float64())
    return pa.array(values)


@contextmanager
def _refused_named(place: str) -> Iterator[None]:
    """Turn what SQLite says into BadInput naming the database."""
    try:
        yield
    except sqlite3.Error as error:
        said = str(error)
        denied = "not authorized" in said or "prohibited" in said or "readonly" in said
        raise BadInput(
            f"SQLite says: {said}", field=place,
            fix="only SELECT is allowed here; nothing is written." if denied
            else "correct the query or the path; the file has to be a SQLite database.",
        ) from error  # fmt: skip
