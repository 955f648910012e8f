"""status and report: what the ledger says about an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from switchpoint.router.cli.commands.ledger import refused_text
from switchpoint.router.cli.context import Context, json_option, pass_context, print_json
from switchpoint.router.cli.options import at_option, compare_option, format_options, instant
from switchpoint.router.cli.output import write_report

if TYPE_CHECKING:
    from switchpoint.analysis.report.report import Report


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
    from switchpoint.router.judging import look

    found = look(context.catalog, context.ledger, experiment, at=instant(at_text)).report
    refused = context.ledger.refusals()
    if as_json:
        print_json({**short_document(found), "refused": refused})
        return
    from switchpoint.analysis.report.section import verdict_tone
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
    from switchpoint.router.judging import look

    found = look(context.catalog, context.ledger, experiment, at=instant(at_text), compare=compare).report
    write_report(found, "json" if as_json else form, output)
