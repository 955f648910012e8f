"""init, doctor and restore: a definition to start from, is this machine sound, records from their journal."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import click

from experiment.errors import BadInput, SwitchpointError
from router.cli.context import Context, json_option, pass_context, print_json
from router.cli.events import refused_text
from router.cli.failure import Exit

_LOW_DISK = 1 << 30
_RESTORE = "`switchpoint restore JOURNAL` into an empty store"


@click.command()
@click.argument("file", type=click.Path(path_type=Path), default=Path("experiment.yaml"))
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def init(file: Path, *, force: bool) -> None:
    """Write a commented experiment definition to FILE (default experiment.yaml).

    \b
    Example:
      switchpoint init experiments/home.yaml
    """
    from experiment.template import INIT_YAML

    if file.exists() and not force:
        raise BadInput(
            f"{file} exists already", field="FILE", value=str(file), fix="choose another name, or --force"
        )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(INIT_YAML, encoding="utf-8")
    except OSError as error:
        raise BadInput(
            f"{file} cannot be written: {error.strerror}",
            field="FILE",
            value=str(file),
            fix="choose another path",
        ) from error
    click.echo(f"wrote {file}; next: switchpoint validate {file}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    name: str
    value: str
    severity: str
    fix: str = ""


@click.command()
@json_option
@pass_context
@click.pass_context
def doctor(ctx: click.Context, context: Context, *, as_json: bool) -> None:
    """Check this machine, the server, its persistence and the stored records.

    Exit code 3 when something would break exactly-once counting; warnings do not fail.

    \b
    Example:
      switchpoint doctor
    """
    lines = [*_environment(context), *_server(context)]
    if as_json:
        print_json([{"name": x.name, "value": x.value, "severity": x.severity, "fix": x.fix} for x in lines])
    else:
        from router.cli.render import show_table

        show_table(
            ("check", "", "found", "fix"), [(x.name, x.severity, x.value, x.fix) for x in lines], labels=4
        )
    if any(x.severity == "error" for x in lines):
        ctx.exit(Exit.PLATFORM)


def _environment(context: Context) -> list[_Line]:
    folder = context.data
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    writable = os.access(folder, os.W_OK)
    return [
        _Line(name="python", value=f"{platform.python_version()} on {sys.platform}", severity="ok"),
        _Line(
            name="data directory",
            value=str(context.data),
            severity="ok" if writable else "error",
            fix="" if writable else "choose another with --data",
        ),
        _Line(
            name="disk",
            value=f"{free / (1 << 30):.1f} GiB free",
            severity="ok" if free > _LOW_DISK else "warn",
            fix="" if free > _LOW_DISK else "make room: Redis stops when the disk is full",
        ),
    ]


def _server(context: Context) -> list[_Line]:
    from experiment.store.connection import check_server, configured_url
    from experiment.store.records import check

    origin = "SWITCHPOINT_REDIS_URL" if configured_url() else "embedded"
    try:
        findings = check_server(context.client)
        broken = check(context.records)
        pending, late = context.ledger.pending(), context.ledger.late()
        refused = context.ledger.refusals()
    except SwitchpointError as error:
        return [_Line(name="server", value=str(error), severity="error", fix="see the message")]
    lines = [_Line(name="server", value=origin, severity="ok")]
    lines += [_Line(name=f.name, value=f.value, severity=f.severity.value, fix=f.fix) for f in findings]
    lines += [_Line(name="records", value=text, severity="error", fix=_RESTORE) for text in broken]
    if not broken:
        lines.append(_Line(name="records", value="the audit chain holds", severity="ok"))
    lines.append(
        _Line(
            name="refused events",
            value=refused_text(refused),
            severity="warn" if refused else "ok",
            fix="`switchpoint events --refused` shows the last ones" if refused else "",
        )
    )
    lines.append(_Line(name="ledger", value=f"{pending} units pending, {late} late events", severity="ok"))
    return lines


@click.command()
@click.argument("journal", type=click.Path(path_type=Path))
@json_option
@pass_context
def restore(context: Context, journal: Path, *, as_json: bool) -> None:
    """Rebuild the records of a project (experiments, models, champions, decisions) from an exported JOURNAL.

    The project must be empty; exit code 1 when it is not. A restore that was interrupted is finished by the
    same command. Events are not in the journal: they are kept by the server's own persistence.

    \b
    Example:
      switchpoint restore backup/journal-default.jsonl
    """
    from experiment.store.journal import restore as rebuild

    written = rebuild(journal, context.records)
    revision = context.records.revision()
    if as_json:
        print_json({"project": context.project, "written": written, "revision": revision})
        return
    click.echo(f"{context.project}: {written:,} entries restored from {journal}, revision {revision:,}")
