"""Many experiments as one self-contained page: verdicts over time, then a table to search, sort and filter.

The table is plain HTML and complete without scripts; the script only hides, orders and reveals its rows.
"""

from __future__ import annotations

from html import escape

from switchpoint.analysis.report.batch import batch_title, row_table, summary_table, table_notes
from switchpoint.analysis.report.batch_charts import verdicts_by_group
from switchpoint.analysis.report.batch_page import ENHANCED, SCRIPT, STYLE
from switchpoint.analysis.report.drawing import STYLE as PICTURES
from switchpoint.analysis.report.drawing import figure
from switchpoint.analysis.report.markup import page, table, text
from switchpoint.analysis.report.section import VERDICT_TONE, Cell, Table, Tone
from switchpoint.analysis.results import format as fmt
from switchpoint.analysis.results.batch import BatchResult, BatchRow
from switchpoint.experiment.registry.decision import VerdictKind

SHOWN = 100
"""Rows a browser lays out before it is asked for more."""

_CAPTION = (
    "Experiments by verdict and quarter of their first day. A quarter full of invalid ones had a broken "
    "assignment; grey ones ended before their data could decide."
)


def batch_html(result: BatchResult) -> str:
    """Many experiments as one HTML page."""
    body = [_head(result), _tiles(result), _summary(result), _experiments(result)]
    title = batch_title(result)
    at = f"looked at {result.header.at}" if result.header.at else "a closed table"
    return page(title, body, at, scripts=(ENHANCED, SCRIPT), style=PICTURES + STYLE)


def _head(result: BatchResult) -> str:
    head = result.header
    mde = fmt.share(head.mde) if head.mde_relative else fmt.amount(head.mde)
    rule = (
        f"One rule judged every experiment: {fmt.design(head.design)} design, alpha {head.alpha:g}, power "
        f"{head.power:g}, MDE {mde}, evidence {head.evidence_required}."
    )
    return (
        f'<header class="verdict tone-plain"><h1>{text(batch_title(result))}</h1>'
        f'<p class="headline">{text(rule)}</p></header>'
    )


def _tiles(result: BatchResult) -> str:
    """How many of each verdict; a click filters the table."""
    whole = result.summaries[0]
    tiles = []
    for kind in VerdictKind:
        number = whole.verdicts.get(kind.value, 0)
        if not number:
            continue
        share = fmt.share(number / whole.experiments)
        tiles.append(
            f'<button type="button" class="tile tone-{VERDICT_TONE[kind].value}" data-verdict="{kind.value}">'
            f'<span class="name">{kind.value}</span><span class="figure">{fmt.count(number)}</span>'
            f'<span class="detail">{share}</span></button>'
        )
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _summary(result: BatchResult) -> str:
    drawn = verdicts_by_group(result)
    picture = "" if drawn is None else figure(drawn, _CAPTION)
    inner = table(summary_table(result))
    if picture:
        inner = f"<details><summary>The same as a table</summary>{inner}</details>"
    title = "Verdicts over time" if picture else "Verdicts"
    return f"<section><h2>{title}</h2>{picture}{inner}</section>"


def _experiments(result: BatchResult) -> str:
    cells = row_table(result, result.rows, reasons=True)
    columns = cells.columns[:-1]
    head = "".join(
        f'<th scope="col"{_kind(cells, place)}><button type="button">{text(name)}</button></th>'
        for place, name in enumerate(columns)
    )
    rows = "".join(
        _row(row, line, cells, hidden=place >= SHOWN)
        for place, (row, line) in enumerate(zip(result.rows, cells.rows, strict=True))
    )
    told = (*table_notes(result), "Click a row for its reason, a column name to sort.")
    notes = "".join(f'<p class="note">{text(note)}</p>' for note in told)
    return (
        f"<section><h2>Experiments</h2>{_controls(result)}{notes}"
        f'<div class="scroll many"><table id="experiments"><thead><tr>{head}</tr></thead>{rows}</table></div>'
        '<p class="more"><button type="button" id="more">Show more</button></p></section>'
    )


def _controls(result: BatchResult) -> str:
    verdicts = [kind.value for kind in VerdictKind if any(row.verdict is kind for row in result.rows)]
    flags = sorted({flag.name for row in result.rows for flag in row.flags})
    return (
        '<form class="controls" role="search">'
        '<input type="search" id="find" placeholder="Search name, flag or reason" aria-label="Search">'
        + _choice("verdict", "any verdict", verdicts)
        + _choice("flag", "any check", flags)
        + '<label><input type="checkbox" id="reasons"> reasons</label>'
        '<output id="count" aria-live="polite"></output></form>'
    )


def _choice(key: str, every: str, values: list[str]) -> str:
    options = "".join(f"<option>{escape(value)}</option>" for value in values)
    return f'<select id="{key}" aria-label="{key}"><option value="">{every}</option>{options}</select>'


def _row(row: BatchRow, line: tuple[Cell, ...], cells: Table, *, hidden: bool) -> str:
    """Two lines of one experiment: its numbers, and the reason below them."""
    *numbers, reason = line
    shown = "".join(f"<td{_kind(cells, i, cell.tone)}>{text(cell.text)}" for i, cell in enumerate(numbers))
    flags = "|".join(flag.name for flag in row.flags)
    state = ' class="off"' if hidden else ""
    return (
        f'<tbody{state} data-verdict="{row.verdict.value}" data-flags="{escape(flags)}"><tr>{shown}'
        f'<tr class="why"><td colspan="{len(numbers)}">{text(reason.text)}'
    )


def _kind(cells: Table, place: int, tone: Tone = Tone.PLAIN) -> str:
    """Classes of a cell; numbers are the usual case in this table and need none."""
    names = [*(["word"] if cells.is_text(place) or cells.columns[place] == "flags" else [])]
    names += [tone.value] if tone is not Tone.PLAIN else []
    return f' class="{" ".join(names)}"' if names else ""
