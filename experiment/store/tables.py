"""Tables in files (CSV, Parquet) as Arrow: read once as a whole, or streamed row by row.

    table = read(path, columns=check)

Only the columns asked for are read. Times without a zone are UTC; text stays text, and columns of labels are
text as the file writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from switchpoint.experiment.errors import BadInput

BATCH_ROWS = 8_192
"""Rows handed out at a time when streaming."""

Choose = Callable[[Collection[str]], Collection[str]]
"""From the columns a table has to those that are wanted; raises BadInput for one that is missing."""

_CSV = (".csv", ".csv.gz", ".csv.bz2", ".tsv", ".txt")
_PARQUET = (".parquet", ".pq")


def read(path: str | Path, *, columns: Choose | None = None, labels: Collection[str] = ()) -> pa.Table:
    """The whole table.

    Args:
        path: of the file.
        columns: those that are wanted; None for all.
        labels: columns of a CSV file that are text, whatever their values look like; a blank one is missing.

    Raises:
        BadInput: no such file, not a table, a wanted column is there twice, or whatever `columns` raises.
    """
    found = _existing(path)
    with _readable(found):
        if _is_parquet(found):
            return parquet.read_table(found, columns=_wanted(columns, parquet.read_schema(found).names))
        header = _header(found)
        wanted = _wanted(columns, header)
        _refuse_twins(found, header, header if wanted is None else wanted)
        texts = [name for name in labels if name in (header if wanted is None else wanted)]
        conversion = csv.ConvertOptions(
            include_columns=wanted or [], column_types=dict.fromkeys(texts, pa.string())
        )
        table = csv.read_csv(found, parse_options=_dialect(found), convert_options=conversion)
        _refuse_bytes(found, table.schema)
        return _without_blanks(table, texts)


def rows(
    path: str | Path, *, columns: Choose | None = None, labels: Collection[str] = ()
) -> Iterator[dict[str, Any]]:
    """The rows in the order of the file, as mappings of column to Python value; see `read`.

    The columns of a CSV file are held in memory: their last rows may say what type they have.
    """
    found = _existing(path)
    with _readable(found):
        for batch in _batches(found, columns, labels):
            yield from batch.to_pylist()


def _batches(path: Path, columns: Choose | None, labels: Collection[str]) -> Iterator[pa.RecordBatch]:
    if _is_parquet(path):
        with parquet.ParquetFile(path) as file:
            wanted = _wanted(columns, file.schema_arrow.names)
            yield from file.iter_batches(batch_size=BATCH_ROWS, columns=wanted)
        return
    yield from read(path, columns=columns, labels=labels).to_batches(BATCH_ROWS)


def _refuse_twins(path: Path, header: list[str], wanted: Collection[str]) -> None:
    for name in wanted:
        if header.count(name) > 1:
            raise BadInput(
                f"{header.count(name)} columns are called {name!r}", field=str(path), value=name,
                fix="give each a name of its own.",
            )  # fmt: skip


def _without_blanks(table: pa.Table, labels: Collection[str]) -> pa.Table:
    """Cells of columns of labels that are empty, or hold white space alone, are missing values."""
    for name in labels:
        place, column = table.column_names.index(name), table[name]
        blank = pc.equal(pc.utf8_trim_whitespace(column), "")
        if pc.any(blank).as_py():
            table = table.set_column(place, name, pc.if_else(blank, pa.scalar(None, pa.string()), column))
    return table


def _refuse_bytes(path: Path, schema: pa.Schema) -> None:
    """Arrow reads text that is not UTF-8 as bytes; nobody means that."""
    for column in schema:
        if pa.types.is_binary(column.type):
            raise BadInput(
                f"cannot be read as a table: the column {column.name!r} is not UTF-8 text", field=str(path),
                fix="export the file as UTF-8.",
            )  # fmt: skip


def _wanted(columns: Choose | None, available: Collection[str]) -> list[str] | None:
    return None if columns is None else list(columns(available))


def _existing(path: str | Path) -> Path:
    found = Path(path)
    if not found.is_file():
        raise BadInput("no such file", field=str(path), value=str(path), fix="check the path.")
    if not found.name.lower().endswith((*_CSV, *_PARQUET)):
        raise BadInput(
            "not a table this reads", field=str(path), value=found.suffix,
            fix=f"use one of {', '.join((*_CSV, *_PARQUET))}.",
        )  # fmt: skip
    return found


def _is_parquet(path: Path) -> bool:
    return path.name.lower().endswith(_PARQUET)


def _dialect(path: Path) -> csv.ParseOptions:
    return csv.ParseOptions(delimiter="\t" if path.name.lower().endswith(".tsv") else ",")


def _header(path: Path) -> list[str]:
    with csv.open_csv(path, parse_options=_dialect(path)) as reader:
        return list(reader.schema.names)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what Arrow says about a broken file into BadInput naming the file."""
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0]
        raise BadInput(
            f"cannot be read as a table: {first}",
            field=str(path),
            fix="export the file as UTF-8." if "UTF8" in first else "repair the file, or export it again.",
        ) from error
