"""A report as text, Markdown, HTML or JSON: on the terminal, or in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from switchpoint.experiment.errors import BadInput

if TYPE_CHECKING:
    from switchpoint.analysis.report.report import Report


def write_report(found: Report, form: str, output: Path | None) -> None:
    """Print or write a report in one of `FORMATS`."""
    if form == "text" and output is None:
        from switchpoint.analysis.report.section import verdict_tone
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
