"""Tables in files (CSV, Parquet, spreadsheets) as Arrow: read once as a whole, or streamed row by row.

    table = read(path, columns=check)

Only the columns asked for are read. Times without a zone are UTC; text stays text, and columns of labels are
text as the file writes it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.store.dialect import Choose, Dialect, dialect_of, not_text

BATCH_ROWS = 8_192
"""Rows handed out at a time when streaming."""
_CSV = (".csv", ".csv.gz", ".csv.bz2", ".tsv", ".txt")
_PARQUET = (".parquet", ".pq")
_SHEETS = (".xlsx", ".xlsm", ".xls", ".ods")
ENDINGS = (*_CSV, *_PARQUET, *_SHEETS)
"""Of the names of tables that are read."""


def dialect(
    path: str | Path, *, columns: Choose | None = None, numbers: Collection[str] = (),
    separator: str | None = None, encoding: str | None = None,
) -> Dialect | None:  # fmt: skip
    """How a text file is written (see `dialect_of`); None for files that say it themselves.

    Raises:
        BadInput: no such file, not a table, or not text in the encoding.
    """
    found = _existing(path)
    if not found.name.lower().endswith(_CSV):
        return None
    with _readable(found):
        return dialect_of(found, columns=columns, numbers=numbers, separator=separator, encoding=encoding)


def read(
    path: str | Path, *, columns: Choose | None = None, labels: Collection[str] | None = (),
    form: Dialect | None = None, sheet: str | None = None,
) -> pa.Table:  # fmt: skip
    """The whole table.

    Args:
        path: of the file.
        columns: those that are wanted; None for all.
        labels: columns of a text file or spreadsheet that are text, whatever their values look like (None:
            all of them); a blank one is missing.
        form: how a text file is written; None: read off its beginning.
        sheet: of a spreadsheet; None: the first.

    Raises:
        BadInput: no such file, not a table, a wanted column is there twice, or whatever `columns` raises.
    """
    found = _existing(path)
    with _readable(found):
        if _is(found, _PARQUET):
            return parquet.read_table(found, columns=_wanted(columns, parquet.read_schema(found).names))
        if _is(found, _SHEETS):
            return _sheet(found, columns, labels, sheet)
        return _text(found, columns, labels, form or dialect_of(found, columns=columns))


def rows(
    path: str | Path, *, columns: Choose | None = None, labels: Collection[str] = (),
    form: Dialect | None = None,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """The rows in the order of the file, as mappings of column to Python value; see `read`.

    The columns of a text file are held in memory: their last rows may say what type they have.
    """
    found = _existing(path)
    with _readable(found):
        if not _is(found, _PARQUET):
            batches = iter(read(found, columns=columns, labels=labels, form=form).to_batches(BATCH_ROWS))
        else:
            file = parquet.ParquetFile(found)
            wanted = _wanted(columns, file.schema_arrow.names)
            batches = file.iter_batches(batch_size=BATCH_ROWS, columns=wanted)
        for batch in batches:
            yield from batch.to_pylist()


def values(
    path: str | Path, columns: Collection[str], labels: Collection[str] = (), form: Dialect | None = None
) -> dict[str, list[Any]]:
    """The distinct values of the columns that are there and whose type does not say what they mean: texts,
    and whole numbers."""
    found = _existing(path)
    table = read(
        found, columns=lambda names: [n for n in names if n in set(columns)], labels=labels, form=form
    )
    kinds = {field.name: field.type for field in table.schema}
    return {
        name: pc.unique(table[name]).to_pylist()
        for name, kind in kinds.items()
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)
    }


def _text(path: Path, columns: Choose | None, labels: Collection[str] | None, form: Dialect) -> pa.Table:
    reading = csv.ReadOptions(encoding=form.encoding, skip_rows=form.skip)
    parsing = csv.ParseOptions(
        delimiter=form.separator, quote_char=form.quote, newlines_in_values=form.broken
    )
    with csv.open_csv(path, read_options=reading, parse_options=parsing) as stream:
        written = list(stream.schema.names)
    header = [name.strip() for name in written] if form.padded else written
    wanted = _wanted(columns, header)
    _refuse_twins(path, header, header if wanted is None else wanted)
    kept = header if wanted is None else wanted
    if not kept:
        return pa.table({})
    texts = [name for name in (kept if labels is None else labels) if name in kept]
    as_written = {name: written[header.index(name)] for name in kept}
    conversion = csv.ConvertOptions(
        include_columns=[] if wanted is None else [as_written[name] for name in wanted],
        column_types=dict.fromkeys((as_written[name] for name in texts), pa.string()),
    )
    table = csv.read_csv(
        path, read_options=reading, parse_options=parsing, convert_options=conversion
    ).rename_columns(kept)
    _refuse_bytes(path, table.schema, form)
    return _without_blanks(_trimmed(table) if form.padded else table, texts)


def _sheet(path: Path, columns: Choose | None, labels: Collection[str] | None, sheet: str | None) -> pa.Table:
    """A sheet whose first row that is not empty holds the names of the columns."""
    try:
        import python_calamine
    except ModuleNotFoundError as error:
        raise BadInput(
            "spreadsheets need a library that is not installed", field=str(path), value=path.suffix,
            fix="pip install 'switchpoint[xlsx]', or save the sheet as CSV.",
        ) from error  # fmt: skip
    try:
        book = python_calamine.CalamineWorkbook.from_path(path)
    except python_calamine.CalamineError as error:
        raise BadInput(
            f"cannot be read as a spreadsheet: {error}", field=str(path), fix="save it again, or as CSV."
        ) from error
    if sheet is not None and sheet not in book.sheet_names:
        raise BadInput(
            "no such sheet", field="--table", value=sheet, fix=f"known: {', '.join(book.sheet_names)}."
        )
    lines = book.get_sheet_by_name(sheet or book.sheet_names[0]).to_python(skip_empty_area=True)
    header = [str(name).strip() for name in lines[0]] if lines else []
    wanted = _wanted(columns, header) or header
    _refuse_twins(path, header, wanted)
    places = [header.index(name) for name in wanted]
    cells = {name: [row[place] for row in lines[1:]] for name, place in zip(wanted, places, strict=True)}
    return pa.table(
        {name: _column(own, text=labels is not None and name in labels) for name, own in cells.items()}
    )


def _column(cells: list[Any], *, text: bool) -> pa.Array:
    """Cells of a sheet by their own types; as text where it is asked for, or they are of several types."""
    known = [None if isinstance(cell, str) and not cell.strip() else cell for cell in cells]
    # a spreadsheet has no whole numbers of its own: 7 is 7.0
    plain = [int(c) if isinstance(c, float) and c.is_integer() else c for c in known]
    kinds = {type(cell) for cell in plain if cell is not None}
    if text or (len(kinds) > 1 and kinds != {int, float}):
        return pa.array([cell if cell is None else str(cell) for cell in plain], pa.string())
    return pa.array(known if float in kinds else plain)


def _trimmed(table: pa.Table) -> pa.Table:
    """Texts without the white space that was written around them."""
    for place, column in enumerate(table.schema):
        if pa.types.is_string(column.type):
            table = table.set_column(place, column.name, pc.utf8_trim_whitespace(table[column.name]))
    return table


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


def _refuse_bytes(path: Path, schema: pa.Schema, form: Dialect) -> None:
    """Arrow reads text that is not in the encoding as bytes; nobody means that."""
    for column in schema:
        if pa.types.is_binary(column.type):
            raise not_text(path, form.encoding, f"the column {column.name!r}")


def _wanted(columns: Choose | None, available: Collection[str]) -> list[str] | None:
    return None if columns is None else list(columns(available))


def _existing(path: str | Path) -> Path:
    found = Path(path)
    if not found.is_file():
        raise BadInput("no such file", field=str(path), value=str(path), fix="check the path.")
    if not _is(found, ENDINGS):
        raise BadInput(
            "not a table this reads", field=str(path), value=found.suffix,
            fix=f"use one of {', '.join(ENDINGS)}.",
        )  # fmt: skip
    return found


def _is(path: Path, endings: tuple[str, ...]) -> bool:
    return path.name.lower().endswith(endings)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what Arrow says about a broken file into BadInput naming the file."""
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise BadInput(
            f"cannot be read as a table: {str(error).splitlines()[0]}", field=str(path),
            fix="repair the file, or export it again.",
        ) from error  # fmt: skip
