"""A report as text, Markdown, HTML or JSON: on the terminal, or in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from switchpoint.experiment.errors import BadInput

if TYPE_CHECKING:
    from switchpoint.analysis.report.report import BatchReport, Report

_TERMINAL_ROWS = 20


def write_report(found: Report | BatchReport, form: str, output: Path | None) -> None:
    """Print or write a report in one of `FORMATS`; the terminal shows the first of many experiments."""
    if form == "text" and output is None:
        from switchpoint.analysis.report.report import BatchReport
        from switchpoint.analysis.report.section import verdict_tone
        from switchpoint.analysis.report.sections import batch_sections, report_sections
        from switchpoint.router.cli.render import show

        if isinstance(found, BatchReport):
            show(batch_sections(found, rows=_TERMINAL_ROWS, reasons=False))
        else:
            show(report_sections(found), tone=verdict_tone(found.verdict))
        return
    deliver(rendered(found, form), output)


def rendered(found: Report | BatchReport, form: str) -> str:
    """A report as the text of a file."""
    if form == "json":
        import json

        return json.dumps(found.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if form == "html":
        return found.to_html()
    if form == "md":
        return found.to_markdown()
    from switchpoint.analysis.report.report import BatchReport
    from switchpoint.analysis.report.sections import batch_sections, report_sections
    from switchpoint.router.cli.render import as_text

    return as_text(batch_sections(found) if isinstance(found, BatchReport) else report_sections(found))


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
