"""What every page is made of: the templates, the style sheets and scripts, and who looks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from flask import Request, Response, g
from jinja2 import Environment

from switchpoint.analysis.report.html import asset, chart_library, environment
from switchpoint.analysis.results import format as fmt
from switchpoint.router.console.access import CSRF_FIELD, Role

BRIEF = 120
"""Characters of an event's properties that a table shows."""
_HERE = Path(__file__).parent
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that a page refers to; `etag` changes with its content."""

    content: Callable[[], str]
    content_type: str
    etag: str


@cache
def assets() -> Mapping[str, Asset]:
    """All of them, by name. The report's own style sheet and chart script are the console's too."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted((_HERE / "static").iterdir())}
    texts |= {name: asset(name) for name in ("page.css", "charts.js")} | {"vega.js": chart_library()}
    return {name: _asset(name, text) for name, text in texts.items()}


def page(template: str, asked: Request, content: Mapping[str, object], *, status: int = 200) -> Response:
    """A page for who asked; a program that looks for changes gets the same."""
    session = g.get("session")
    role = Role(session.role) if session else None
    text = (
        templates()
        .get_template(template)
        .render(
            **content,
            here=asked.path,
            session=session,
            may=lambda needed: role is not None and role.allows(Role(needed)),
            csrf_field=CSRF_FIELD,
        )
    )
    return Response(text, status=status, content_type="text/html; charset=utf-8")


@cache
def templates() -> Environment:
    """The console's templates, and those of the reports."""
    made = environment(_HERE / "templates")
    made.globals["static"] = _address
    made.filters |= {"amount": fmt.amount, "instant": instant, "second": second, "ago": ago, "brief": brief}
    return made


def _address(name: str) -> str:
    """Where a browser gets a file, and keeps it until it changes."""
    return f"/static/{name}?v={assets()[name].etag.strip(chr(34))[:12]}"


def _asset(name: str, text: str) -> Asset:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Asset(lambda: text, _TYPES[Path(name).suffix], f'"{digest[:32]}"')


def instant(ms: int | None) -> str:
    """`2026-11-27 17:53 UTC`."""
    return "–" if ms is None else datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def second(ms: int) -> str:
    """An instant to the second, for what comes many times a minute."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def brief(value: object) -> str:
    """A JSON value on one line, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= BRIEF else f"{text[:BRIEF]} …"


def ago(ms: float) -> str:
    """A stretch of time in one unit: `12 s`, `3 min`, `2 h`, `5 days`."""
    seconds = max(ms, 0) / 1000
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or (unit != "days" and seconds >= size):
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"
