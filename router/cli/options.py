"""Options that several commands have: the instant of a look, the form of a report, pairs to compare."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import click

from switchpoint.experiment.errors import BadInput
from switchpoint.router.cli.context import json_option, now_ms

FORMATS = ("text", "md", "html", "json")
F = TypeVar("F", bound=Callable[..., object])


def at_option(command: F) -> F:
    """`--at`: the instant of the look; now when left out."""
    return click.option(
        "--at",
        "at_text",
        metavar="INSTANT",
        help="Look as of this instant (ISO 8601 with zone). Default: now.",
    )(command)


def format_options(command: F) -> F:
    """`--format`, `--json` and `--output` of a report."""
    command = click.option(
        "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file."
    )(command)
    command = json_option(command)
    return click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)(
        command
    )


def compare_option(command: F) -> F:
    """`--compare`: pairs of variants that are compared with each other."""
    return click.option(
        "--compare", nargs=2, multiple=True, metavar="FIRST SECOND",
        help="Compare SECOND with FIRST too, whichever is control; repeatable (Holm over the pairs).",
    )(command)  # fmt: skip


def instant(text: str | None) -> int:
    """`--at` in ms; the wall clock without it."""
    if text is None:
        return now_ms()
    when: datetime | None = None
    with suppress(ValueError):
        when = datetime.fromisoformat(text)
    if when is None or when.tzinfo is None:
        raise BadInput("is not an instant", field="--at", value=text, fix="write 2026-06-15T00:00:00Z")
    return int(when.astimezone(UTC).timestamp() * 1000)
