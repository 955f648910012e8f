"""The pieces of a self-contained HTML page: the frame with its policy, sections, tables, escaped text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from html import escape

from switchpoint.analysis.report.page import STYLE
from switchpoint.analysis.report.section import Section, Table, Tone, transposed

# In front of a number, not inside a date, a name or an option.
_MINUS = re.compile(r"(?<![\w.-])-(?=[\d∞.])")
# More columns than this do not fit the page; a table of a few such rows is turned on its side.
_WIDEST = 10


def page(
    title: str,
    body: Sequence[str],
    footer: str,
    *,
    scripts: Sequence[str] = (),
    data: Mapping[str, object] | None = None,
    style: str = "",
) -> str:
    """A page that needs nothing from outside and runs nothing but `scripts`, which read `data`."""
    payload = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c") if data else ""
    holder = f'<script type="application/json" id="charts">{payload}</script>' if data else ""
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src {' '.join(map(_hash, scripts)) or chr(39) + 'none' + chr(39)}"
    )
    return "\n".join([
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>\n<style>{STYLE}{style}</style>\n</head>",
        '<body>\n<div class="wrap">',
        *body,
        f"<footer>{escape(footer)} · Switchpoint</footer>\n</div>",
        holder,
        *(f"<script>{code}</script>" for code in scripts),
        "</body>\n</html>\n",
    ])  # fmt: skip


def plain_section(section: Section, figure: str = "") -> str:
    """A section as a card; `figure` stands before its table."""
    lines = "".join(f"<li>{text(line)}</li>" for line in section.lines)
    notes = "".join(f'<p class="note">{text(note)}</p>' for note in section.notes)
    return (
        f"<section><h2>{text(section.title)}</h2>"
        + (f"<ul>{lines}</ul>" if lines else "")
        + figure
        + (table(section.table) if section.table else "")
        + f"{notes}</section>"
    )


def table(cells: Table) -> str:
    """A table; a few rows that are too wide are turned on their side."""
    kind_of = ""
    if len(cells.columns) > _WIDEST and len(cells.rows) <= 3:
        cells, kind_of = transposed(cells), ' class="facts"'

    def kind(place: int, tone: Tone = Tone.PLAIN) -> str:
        names = [
            *([] if cells.is_text(place) else ["num"]),
            *([tone.value] if tone is not Tone.PLAIN else []),
        ]
        return f' class="{" ".join(names)}"' if names else ""

    head = "".join(f'<th scope="col"{kind(i)}>{text(c)}</th>' for i, c in enumerate(cells.columns))
    rows = "".join(
        "<tr>" + "".join(f"<td{kind(i, c.tone)}>{text(c.text)}</td>" for i, c in enumerate(row)) + "</tr>"
        for row in cells.rows
    )
    # a table of facts has no column names; screen readers would announce empty headers
    header = f"<thead><tr>{head}</tr></thead>" if any(cells.columns) else ""
    return f'<div class="scroll"><table{kind_of}>{header}<tbody>{rows}</tbody></table></div>'


def text(plain: str) -> str:
    """Escaped text with a typographic minus in front of numbers; `--per-day` stays what is typed."""
    return _MINUS.sub("−", escape(plain))


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
