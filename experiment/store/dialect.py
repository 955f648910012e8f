"""How a text file of a table is written: its encoding, separator and quotes, read off its beginning."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import pyarrow as pa

from switchpoint.experiment.errors import BadInput

Choose = Callable[[Collection[str]], Collection[str]]
"""From the columns a table has to those that are wanted; raises BadInput for one that is missing."""
_SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
_HEAD_BYTES, _HEAD_ROWS, _CHUNK_BYTES = 1 << 18, 1_000, 1 << 22
"""Beginning of a file in which its form shows, and what is looked through at a time for its encoding."""
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_LATIN = "cp1252"
"""What text that is not UTF-8 is read as: Latin-1 with the signs that Windows adds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How a text file is written: `encoding`, `separator` and `quote`, lines to `skip` before the header, and
    whether cells are `padded` with white space.

    `broken`: cells may hold line breaks, which a reader in blocks has to know. `grouping`: of a column of
    numbers nothing at the beginning of the file tells whether 1.234 is a thousand and some, so that such
    columns are kept as text.
    """

    encoding: str = "utf-8"
    separator: str = ","
    quote: str = '"'
    skip: int = 0
    padded: bool = False
    broken: bool = True
    grouping: bool = False

    def said(self, name: str) -> tuple[str, ...]:
        """What is not as in a plain file of this name, in one sentence; nothing for a plain one."""
        usual, apart = _usual(name), _SEPARATORS.get(self.separator, repr(self.separator))
        parts = (
            (f"cells are separated by {apart}", self.separator != usual.separator),
            (f"the encoding is {self.encoding}", self.encoding not in {"utf-8", "utf-8-sig"}),
            (f"cells are quoted by {self.quote}", self.quote != usual.quote),
            ("white space around cells is left out", self.padded),
        )  # fmt: skip
        said = ", ".join(text for text, there in parts if there)
        return (f"{name}: {said}.",) if said else ()


def _usual(name: str) -> Dialect:
    return Dialect(separator="\t" if name.lower().endswith(".tsv") else ",")


def dialect_of(
    path: Path, *, columns: Choose | None = None, numbers: Collection[str] = (),
    separator: str | None = None, encoding: str | None = None,
) -> Dialect:  # fmt: skip
    """How a text file (also compressed) is written.

    Args:
        path: of the file.
        columns: those that are wanted: the separator with which they are all there is the right one.
        numbers: columns that hold numbers.
        separator, encoding: where they are known.

    Raises:
        BadInput: it is not text in the encoding.
        OSError, pyarrow.ArrowException: the file cannot be opened.
    """
    shown, quotes = _looked_through(path)
    encoding = encoding or shown
    text = _decoded(path, next(_chunks(path, _HEAD_BYTES), b""), encoding)
    skip = 0
    if text[:4].lower() == "sep=" and text[5:6] in {"\n", "\r"}:
        separator, skip = separator or text[4], 1
        text = text.split("\n", 1)[1]
    form = replace(_usual(path.name), encoding=encoding, skip=skip, broken=quotes)
    if separator is not None:
        return _looked_at(replace(form, separator=separator), text, numbers)
    options = dict.fromkeys((form.separator, *_SEPARATORS))
    forms = [_looked_at(replace(form, separator=option), text, numbers) for option in options]
    return max(forms, key=lambda one: _likely(one, text, columns))


def _likely(form: Dialect, text: str, columns: Choose | None) -> tuple[bool, int]:
    """How much speaks for a form: the wanted columns are there, then the cells that every row has."""
    rows = _rows(form, text)
    named = bool(rows)
    if columns is not None and rows:
        try:
            columns([cell.strip() for cell in rows[0]] if form.padded else rows[0])
        except BadInput:
            named = False
    return named, min((len(row) for row in rows), default=0)


def _looked_at(form: Dialect, text: str, numbers: Collection[str]) -> Dialect:
    """The form with what only its cells show."""
    rows = _rows(form, text)
    if rows and all(len(cell) > 1 and cell[0] == cell[-1] == "'" for cell in rows[0]):
        form = replace(form, quote="'", broken=True)
        rows = _rows(form, text)
    form = replace(form, padded=bool(rows) and _padded(rows))
    header = [cell.strip() for cell in rows[0]] if rows else []
    places = [place for place, name in enumerate(header) if name in set(numbers)]
    columns = ([row[place] for row in rows[1:] if len(row) > place] for place in places)
    return replace(form, grouping=any(map(_may_group, columns)))


def _padded(rows: list[list[str]]) -> bool:
    """Whether every cell but the first of a row begins with a space: `a, b, c`."""
    after = [cell for row in rows for cell in row[1:] if cell]
    return bool(after) and all(cell[0] == " " for cell in after)


def _may_group(texts: list[str]) -> bool:
    """Whether numbers such as 1.234 are there, and none that tells whether that is a thousand and some."""
    said = [text.strip().lstrip("+-") for text in texts if text.strip()]
    pointed = [text.split(".") for text in said if not text.isdigit()]
    return bool(pointed) and all(
        len(parts) == 2
        and all(map(str.isdigit, parts))
        and (len(parts[0]) <= 3 and parts[0][0] != "0" and len(parts[1]) == 3)
        for parts in pointed
    )


def _rows(form: Dialect, text: str) -> list[list[str]]:
    """The first rows; the last of them may be cut off, and is left out where there are others."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=form.separator, quotechar=form.quote,
        skipinitialspace=form.padded,
    )  # fmt: skip
    rows = []
    # of a cell longer than this library takes Arrow says what is wrong, if anything is
    with suppress(csv.Error):
        rows = [row for row in islice(reader, _HEAD_ROWS) if row]
    cut = len(text) * 4 >= _HEAD_BYTES and len(rows) > 1
    return rows[:-1] if cut else rows


def _chunks(path: Path, size: int) -> Iterator[bytes]:
    with pa.input_stream(str(path), compression="detect") as stream:
        while chunk := stream.read(size):
            yield chunk


def _looked_through(path: Path) -> tuple[str, bool]:
    """The encoding that the bytes of the whole file show, and whether there are any double quotes."""
    decoder, encoding, quotes = codecs.getincrementaldecoder("utf-8")(), "utf-8", False
    for place, chunk in enumerate(_chunks(path, _CHUNK_BYTES)):
        if place == 0:
            marked = next((name for mark, name in _MARKS if chunk.startswith(mark)), None)
            odd, even = chunk[1::2].count(0), chunk[::2].count(0)
            if marked == "utf-16" or max(odd, even) * 4 > len(chunk):
                return marked or ("utf-16-le" if odd > even else "utf-16-be"), True
            encoding = marked or encoding
        quotes = quotes or b'"' in chunk
        try:
            if encoding != _LATIN and (not chunk.isascii() or decoder.getstate()[0]):
                decoder.decode(chunk)
        except UnicodeDecodeError:
            encoding = _LATIN
    return encoding, quotes


def _decoded(path: Path, head: bytes, encoding: str) -> str:
    try:
        return codecs.getincrementaldecoder(encoding)().decode(head)
    except (UnicodeDecodeError, LookupError) as error:
        raise not_text(path, encoding) from error


def not_text(path: Path, encoding: str, what: str = "it") -> BadInput:
    """The refusal of a file whose bytes are not text in an encoding."""
    return BadInput(
        f"cannot be read as a table: {what} is not text in {encoding}", field=str(path),
        fix="name its `encoding` in the source, or export the file as UTF-8.",
    )  # fmt: skip
