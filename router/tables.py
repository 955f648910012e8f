"""Tables in files and databases, read as a spec says or as they seem to be meant, and judged; no server.

The command line and the console read tables through here. Bad input names the table, and what in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from switchpoint.experiment.errors import BadInput, Refused

if TYPE_CHECKING:
    from switchpoint.analysis.report.report import BatchReport, Report
    from switchpoint.analysis.tables.suggest import Suggestion
    from switchpoint.experiment.definition.source import Source
    from switchpoint.experiment.definition.types import Experiment, Spec
    from switchpoint.experiment.store.dialect import Choose, Dialect

_SHEETS = (".xlsx", ".xlsm", ".xls", ".ods")


def suggested(file: str, table: str | None = None, sql: str | None = None) -> Suggestion:
    """How a file or database is understood.

    Raises:
        BadInput: names the table, and what in it is not understood.
    """
    from switchpoint.analysis.tables.suggest import suggest
    from switchpoint.experiment.store import sqlite as database
    from switchpoint.experiment.store.tables import read

    with named(file):
        if database.is_database(file):
            return suggest(database.read(file, table=table, sql=sql))
        _refuse_table_of_file(file, table, sql)
        return suggest(read(file, columns=_named_once, labels=None, sheet=table))


def _named_once(names: Collection[str]) -> list[str]:
    """The columns that have a name of their own."""
    count = Counter(names)
    return [name for name in names if name.strip() and count[name] == 1]


def judged(
    file: str, spec: Spec | Experiment, *, at: int, table: str | None = None, sql: str | None = None,
    compare: Sequence[tuple[str, str]] = (),
) -> Report | BatchReport:  # fmt: skip
    """The report of a file or database under a spec, at the instant `at` (ms).

    Raises:
        BadInput: names the table, and what in it does not fit.
    """
    from switchpoint.analysis.frame import analyze as judge

    with named(file, spec.source.outcomes.table if spec.source and spec.source.outcomes else ""):
        first, second, said = read_tables(file, spec, table, sql)
        when = datetime.fromtimestamp(at / 1000, UTC)
        return judge(first, spec, outcomes=second, at=when, compare=compare, reading=said)


def read_tables(
    file: str, spec: Spec | Experiment, table: str | None = None, sql: str | None = None
) -> tuple[Any, Any, tuple[str, ...]]:
    """The table to judge, of events the outcomes, and what is to be said of how they are written."""
    from switchpoint.experiment.ledger.columns import check_columns, check_outcome_columns
    from switchpoint.experiment.store import sqlite as database

    source = spec.source
    exposures, outcomes = (None, None) if source is None else (source.exposures, source.outcomes)
    second = None if outcomes is None else outcomes.table
    if database.is_database(file):
        named = table or (None if sql is not None or exposures is None else exposures.table)
        found = database.read(file, table=named, sql=sql)
        return found, None if second is None else database.read(file, table=second), ()
    _refuse_table_of_file(file, table, sql)
    if source is None:
        raise BadInput("the definition has no source", field="source", fix="add a `source` block.")
    found, said = _file(file, source, partial(check_columns, source), table)
    if second is None:
        return found, None, said
    outcomes_found, more = _file(_beside(Path(file), second), source, partial(check_outcome_columns, source))
    return found, outcomes_found, (*said, *more)


def _refuse_table_of_file(file: str, table: str | None, sql: str | None) -> None:
    """Only a database has queries, only it and a spreadsheet have tables."""
    if sql is not None or (table is not None and not file.lower().endswith(_SHEETS)):
        raise BadInput(
            "only a database has tables and queries", field="--sql" if table is None else "--table",
            value=file, fix="leave it out, or name a database: sqlite:///log.db.",
        )  # fmt: skip


def _file(
    path: str | Path, source: Source, choose: Choose, sheet: str | None = None
) -> tuple[Any, tuple[str, ...]]:
    """A file as a table, and what is to be said of how it is written."""
    from switchpoint.experiment.ledger.columns import text_columns
    from switchpoint.experiment.store.tables import read

    form = dialect_of(path, source, choose)
    texts = text_columns(source, numbers=form is not None and form.grouping)
    return read(path, columns=choose, labels=texts, form=form, sheet=sheet), (
        () if form is None else form.said(Path(path).name)
    )


def dialect_of(path: str | Path, source: Source, choose: Choose) -> Dialect | None:
    """How a file is written, by what the source says of it."""
    from switchpoint.experiment.ledger.columns import number_columns
    from switchpoint.experiment.store.tables import dialect

    return dialect(
        path, columns=choose, numbers=number_columns(source), separator=source.separator,
        encoding=source.encoding,
    )  # fmt: skip


def _beside(file: Path, named: str) -> Path:
    """The file of the outcomes, in the folder of the exposures."""
    path = file.parent / named
    if not path.is_file():
        raise BadInput(
            "no such file", field="source.outcomes.table", value=named,
            fix=f"put {named} beside {file.name}, or write its path.",
        )  # fmt: skip
    return path


@contextmanager
def named(file: str | Path, second: str = "") -> Iterator[None]:
    """Bad input found while a table is read names the table too; the `second` one is named already."""
    try:
        yield
    except Refused:
        raise
    except BadInput as error:
        if str(file) in str(error) or (second and error.field.startswith(f"{second}: ")):
            raise
        place = f"{file}: {error.field}" if error.field else str(file)
        raise BadInput(error.message, field=place, value=error.value, fix=error.fix) from error
