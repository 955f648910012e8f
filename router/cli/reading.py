"""status and report: what the ledger says about an experiment."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from switchpoint.experiment.errors import BadInput
from switchpoint.router.cli.context import Context, json_option, now_ms, pass_context, print_json
from switchpoint.router.cli.events import refused_text

if TYPE_CHECKING:
    from switchpoint.analysis.report.model import Report

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


@click.command()
@click.argument("experiment")
@at_option
@json_option
@pass_context
def status(context: Context, experiment: str, at_text: str | None, *, as_json: bool) -> None:
    """Verdict, units, sufficiency and sample ratio of EXPERIMENT in short.

    \b
    Example:
      switchpoint status home-ranker
    """
    from switchpoint.analysis.report.sections import status_sections
    from switchpoint.router.look import look

    found = look(context.catalog, context.ledger, experiment, at=instant(at_text)).report
    refused = context.ledger.refusals()
    if as_json:
        print_json({**short_document(found), "refused": refused})
        return
    from switchpoint.analysis.report.layout import verdict_tone
    from switchpoint.router.cli.render import show

    show(status_sections(found), tone=verdict_tone(found.verdict))
    if refused:
        click.echo(
            f"Refused events of the project: {refused_text(refused)}; see `switchpoint events --refused`"
        )


def short_document(report: Report) -> dict[str, object]:
    """The parts of a report that `status` shows."""
    document = report.to_dict()
    return {
        "header": document["header"],
        "verdict": document["verdict"],
        "matured": _short_reading(document["matured"]),
        "live": _short_reading(document["live"]),
        "matures": document["matures"],
        "warnings": document["warnings"],
        "history": document["history"],
    }


def _short_reading(reading: dict[str, Any]) -> dict[str, object]:
    """A reading with its primary metric only."""
    kept = ("first_day", "last_day", "days", "n", "variants", "sample_ratio")
    primary = next((m for m in reading["metrics"] if m["role"] == "primary"), None)
    return {**{key: reading[key] for key in kept}, "primary": primary}


@click.command()
@click.argument("experiment")
@compare_option
@at_option
@format_options
@pass_context
def report(
    context: Context, experiment: str, compare: tuple[tuple[str, str], ...], at_text: str | None, form: str,
    output: Path | None, *, as_json: bool,
) -> None:  # fmt: skip
    """The full report of EXPERIMENT as text, Markdown, self-contained HTML or JSON.

    \b
    Examples:
      switchpoint report home-ranker
      switchpoint report home-ranker --format html --output home.html
      switchpoint report home-ranker --compare treatment third
    """
    from switchpoint.router.look import look

    found = look(context.catalog, context.ledger, experiment, at=instant(at_text), compare=compare).report
    write_report(found, "json" if as_json else form, output)


def write_report(found: Report, form: str, output: Path | None) -> None:
    """Print or write a report in one of `FORMATS`."""
    if form == "text" and output is None:
        from switchpoint.analysis.report.layout import verdict_tone
        from switchpoint.analysis.report.sections import report_sections
        from switchpoint.router.cli.render import show

        show(report_sections(found), tone=verdict_tone(found.verdict))
        return
    deliver(rendered(found, form), output)


def rendered(found: Report, form: str) -> str:
    """A report as the text of a file."""
    if form == "json":
        import json

        return json.dumps(found.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if form == "html":
        from switchpoint.analysis.report.html import html

        return html(found)
    if form == "text":
        from switchpoint.analysis.report.sections import report_sections
        from switchpoint.router.cli.render import as_text

        return as_text(report_sections(found))
    from switchpoint.analysis.report.markdown import markdown

    return markdown(found)


def deliver(text: str, output: Path | None) -> None:
    """Print a text, or write it to a file and say so on stderr."""
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(
            f"cannot be written: {error.strerror}",
            field="--output",
            value=str(output),
            fix="choose another path",
        ) from error
    click.echo(f"wrote {output}", err=True)
