"""The query engine that sums tables: DuckDB inside this process, started by the first query.

    with session() as engine:
        engine.load("rows", {"variant": column, "amount": numbers})
        engine.values("select variant, sum(amount) as total from rows group by variant")

Columns are read where they lie: a frame's, Arrow's and numpy's are not copied. What does not fit into the
memory limit is written to a folder of this process alone, removed at its end.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import duckdb
import pyarrow as pa

SETTINGS: Mapping[str, Any] = {
    # queries read what is loaded and nothing else: no file, no extension, no Python variable of their name
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
    "enable_external_access": False,
}


class Session:
    """One caller's relations; two sessions do not see each other's."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def load(self, name: str, columns: Mapping[str, Any]) -> None:
        """Make a relation of columns of one length: narwhals series, Arrow or numpy arrays. One of the same
        name is replaced."""
        arrays = {column: _chunks(array) for column, array in columns.items()}
        self._connection.register(name, pa.table(arrays))

    def run(self, sql: str) -> None:
        """A statement without a result."""
        self._connection.execute(sql)

    def values(self, sql: str) -> dict[str, list[Any]]:
        """The columns of a query's few rows as Python values; integers of 128 bits are whole."""
        result = self._connection.execute(sql)
        names, rows = [column[0] for column in result.description], result.fetchall()
        return {name: [row[place] for row in rows] for place, name in enumerate(names)}

    def arrays(self, sql: str) -> dict[str, Any]:
        """The columns of a query's many rows of integers of 64 bits, none missing, as numpy arrays."""
        table = self._connection.sql(sql).to_arrow_table()
        return {
            name: column.to_numpy() for name, column in zip(table.column_names, table.columns, strict=True)
        }


@contextmanager
def session(*, threads: int | None = None, memory_limit: str | None = None) -> Iterator[Session]:
    """A session with an engine of this process; what it created is gone at the end.

    Args:
        threads: as many as processors unless said; one is quickest for small tables.
        memory_limit: such as "4GB"; DuckDB's is four fifths of the machine's memory.
    """
    cursor = _engine(os.getpid(), threads, memory_limit).cursor()
    try:
        yield Session(cursor)
    finally:
        cursor.close()


@cache
def _engine(process: int, threads: int | None, memory_limit: str | None) -> duckdb.DuckDBPyConnection:
    """One per process, as threads of an engine do not come along when a process is forked."""
    folder = tempfile.mkdtemp(prefix=f"switchpoint-query-{process}-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    given = {"threads": threads, "memory_limit": memory_limit}
    settings = {name: value for name, value in given.items() if value is not None}
    return duckdb.connect(":memory:", config={**SETTINGS, **settings, "temp_directory": folder})


def _chunks(array: Any) -> Any:
    return pa.chunked_array(array) if hasattr(array, "__arrow_c_stream__") else pa.array(array)
