"""Reports and tables on the terminal, with rich. No colour where stdout is not a terminal."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Sequence

import click
from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from switchpoint.analysis.report.section import Cell, Section, Table, Tone, narrowed, transposed

_STYLE = {
    Tone.PLAIN: "",
    Tone.GOOD: "bold green",
    Tone.BAD: "bold red",
    Tone.WARN: "yellow",
    Tone.MUTED: "dim",
}
_PIPE_WIDTH = 240  # nothing wraps in a file, so that its lines can be searched
_COLUMN_GAP, _NARROW_GAP = 3, 2
_FEW_ROWS = 4
_SENTENCE_WIDTH = 60  # narrower than this a sentence is hard to read


def console(*, stderr: bool = False) -> Console:
    """The terminal; wide and plain when it is a file or a pipe."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(highlight=False, stderr=stderr, width=None if stream.isatty() else _PIPE_WIDTH)


def show(sections: Iterable[Section], *, tone: Tone = Tone.PLAIN) -> None:
    """Print sections; the first one's title carries `tone` (the verdict)."""
    if not sys.stdout.isatty():
        click.echo(as_text(sections), nl=False)
        return
    out = console()
    for place, section in enumerate(sections):
        out.print(_section(section, out.width, tone if place == 0 else Tone.PLAIN))


def as_text(sections: Iterable[Section]) -> str:
    """Sections as plain text for a file or a pipe."""
    return _plain(_section(section, _PIPE_WIDTH, Tone.PLAIN) for section in sections)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, labels: int = 1) -> None:
    """Print plain rows under column names."""
    cells = tuple(tuple(Cell(text) for text in row) for row in rows)
    table = Table(columns=tuple(columns), rows=cells, labels=labels)
    if not sys.stdout.isatty():
        click.echo(_plain([_table(table, _PIPE_WIDTH)]), nl=False)
        return
    out = console()
    out.print(_table(table, out.width))


def _plain(parts: Iterable[RenderableType]) -> str:
    """Without colour and without trailing blanks."""
    out = Console(highlight=False, width=_PIPE_WIDTH, file=io.StringIO(), force_terminal=False)
    with out.capture() as captured:
        for part in parts:
            out.print(part)
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


def _section(section: Section, width: int, tone: Tone) -> RenderableType:
    parts: list[RenderableType] = [Text(section.title, style=f"bold {_STYLE[tone]}".strip())]
    parts += [Padding(Text(line), (0, 0, 0, 2), expand=False) for line in section.lines]
    if section.table:
        parts.append(Padding(_table(section.table, width - 2), (0, 0, 0, 2), expand=False))
    parts += [Padding(Text(note, style="dim"), (0, 0, 0, 2), expand=False) for note in section.notes]
    return Padding(Group(*parts), (0, 0, 1, 0), expand=False)


def _table(table: Table, width: int) -> RichTable:
    """The table in the width: closer columns, else a few rows turned on their side, else without the spare
    columns."""
    gap = _COLUMN_GAP if _width(table, _COLUMN_GAP) <= width else _NARROW_GAP
    if _width(table, gap) > width:
        turned = transposed(table) if len(table.rows) <= _FEW_ROWS else table
        fits = _width(turned, gap) <= width
        table = turned if fits else narrowed(table, lambda one: _width(one, gap) <= width)
    rich = RichTable(
        box=box.SIMPLE_HEAD if any(table.columns) else None,
        show_header=any(table.columns),
        pad_edge=False,
        show_edge=False,
        header_style="dim",
        padding=(0, 1) if gap == _COLUMN_GAP else (0, 1, 0, 0),
    )
    for place, name in enumerate(table.columns):
        rich.add_column(name, justify="left" if table.is_text(place) else "right", overflow="fold")
    for row in table.rows:
        rich.add_row(*(Text(cell.text, style=_STYLE[cell.tone]) for cell in row))
    return rich


def _width(table: Table, gap: int) -> int:
    columns = zip(table.columns, *([c.text for c in row] for row in table.rows), strict=True)
    widths = [max(map(len, texts)) for texts in columns]
    if table.sentence:  # it wraps
        widths[-1] = min(widths[-1], _SENTENCE_WIDTH)
    return sum(width + gap for width in widths) - gap
