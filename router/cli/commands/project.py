"""init, serve, doctor, restore: a project from its first definition to its repair."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import click

from switchpoint.experiment.errors import BadInput, StoreReverted, SwitchpointError
from switchpoint.router.cli.commands.ledger import refused_text
from switchpoint.router.cli.context import Context, json_option, pass_context, print_json
from switchpoint.router.cli.failure import Exit

_LOW_DISK = 1 << 30
_PROBE_BYTES = 1 << 16
_RESTORE = "`switchpoint restore JOURNAL` into an empty store"
_REGISTER = "`switchpoint model register NAME FILE` with the same file"


@click.command()
@click.argument("file", type=click.Path(path_type=Path), default=Path("experiment.yaml"))
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def init(file: Path, *, force: bool) -> None:
    """Write a commented experiment definition to FILE (default experiment.yaml).

    \b
    Example:
      switchpoint init experiments/home.yaml
    """
    from switchpoint.experiment.language.template import INIT_YAML

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
    severity: str = "ok"
    fix: str = ""


@click.command()
@json_option
@pass_context
@click.pass_context
def doctor(ctx: click.Context, context: Context, *, as_json: bool) -> None:
    """Check this machine, the server, its persistence, the stored records and the model files.

    Exit code 1 when a check fails: something that would lose or falsify counts; warnings do not fail.
    Exit code 3 when the server cannot be asked.

    \b
    Example:
      switchpoint doctor
    """
    lines, code = _environment(context), Exit.DONE
    try:
        lines += _server(context)
        lines += _stored(context)
    except SwitchpointError as error:
        reverted = isinstance(error, StoreReverted)
        code = Exit.RULE_SAYS_NO if reverted else Exit.PLATFORM
        name = "store" if reverted else "server"
        lines.append(_Line(name=name, value=str(error), severity="error", fix="see the message"))
    if as_json:
        print_json([{"name": x.name, "value": x.value, "severity": x.severity, "fix": x.fix} for x in lines])
    else:
        from switchpoint.router.cli.render import show_table

        show_table(
            ("check", "", "found", "fix"), [(x.name, x.severity, x.value, x.fix) for x in lines], labels=4
        )
    if any(x.severity == "error" for x in lines):
        ctx.exit(code or Exit.RULE_SAYS_NO)


def _environment(context: Context) -> list[_Line]:
    folder = context.data
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    fault = _write_fault(folder)
    return [
        _Line(name="python", value=f"{platform.python_version()} on {sys.platform}"),
        _Line(
            name="data directory",
            value=f"{context.data}: {fault}" if fault else str(context.data),
            severity="error" if fault else "ok",
            fix="make room, or choose another with --data" if fault else "",
        ),
        _Line(
            name="disk",
            value=f"{free / (1 << 30):.1f} GiB free",
            severity="ok" if free > _LOW_DISK else "warn",
            fix="" if free > _LOW_DISK else "make room: Redis stops when the disk is full",
        ),
    ]


def _write_fault(folder: Path) -> str | None:
    """Why a small file cannot be written and synced there; None when it can."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.strerror or str(error)
    return None


def _server(context: Context) -> list[_Line]:
    from switchpoint.experiment.store.redis.connection import (
        check_server,
        clock_finding,
        configured_url,
        server_time,
    )
    from switchpoint.router.recording.clock import Clock

    origin = "SWITCHPOINT_REDIS_URL" if configured_url() else "embedded"
    clock = Clock(lambda: server_time(context.client))
    clock.look()
    findings = [*check_server(context.client), clock_finding(clock.drift or 0.0)]
    return [
        _Line(name="server", value=origin),
        *(_Line(name=f.name, value=f.value, severity=f.severity.value, fix=f.fix) for f in findings),
    ]


def _stored(context: Context) -> list[_Line]:
    """The records, the ledger and the model files; raises StoreReverted for a store that went back."""
    from switchpoint.experiment.registry.records import check
    from switchpoint.experiment.store.artifacts import check_files
    from switchpoint.experiment.store.redis.days import newest_finding

    catalog, identity = context.catalog, context.records.identity()
    name = f"{identity}, revision {catalog.revision()}" if identity else "new, nothing was committed yet"
    broken = check(context.records)
    versions = catalog.models()
    files = check_files(context.artifacts, versions)
    pending, late = context.ledger.pending(), context.ledger.late()
    refused = context.ledger.refusals()
    ahead = newest_finding(context.ledger.days_ahead())
    return [
        _Line(name="store", value=name),
        *(_Line(name="records", value=text, severity="error", fix=_RESTORE) for text in broken),
        *([] if broken else [_Line(name="records", value="the audit chain holds")]),
        *(_Line(name="model file", value=text, severity="error", fix=_REGISTER) for text in files),
        *([] if files else [_Line(name="model files", value=f"{len(versions)} versions, as registered")]),
        _Line(
            name="refused events",
            value=refused_text(refused),
            severity="warn" if refused else "ok",
            fix="`switchpoint events --refused` shows the last ones" if refused else "",
        ),
        _Line(name=ahead.name, value=ahead.value, severity=ahead.severity.value, fix=ahead.fix),
        _Line(name="ledger", value=f"{pending} units pending, {late} late events"),
    ]


@click.command()
@click.argument("journal", type=click.Path(path_type=Path))
@json_option
@pass_context
def restore(context: Context, journal: Path, *, as_json: bool) -> None:
    """Rebuild the records of a project (experiments, models, champions, decisions) from an exported JOURNAL.

    The project must be empty; exit code 1 when it is not. A restore that was interrupted is finished by the
    same command. Events are not in the journal: they are kept by the server's own persistence. Where they are
    lost too, they are counted anew in as many shards as the data directory has seen.

    \b
    Example:
      switchpoint restore backup/journal-default.jsonl
    """
    from switchpoint.experiment.store.journal import restore as rebuild

    known = context.memory.known()
    ledger, settings = context.ledger, known.ledger if known else {}
    written = rebuild(journal, context.records, prepare=lambda: ledger.begin(settings))
    context.memory.remember(context.records)
    ledger.adopt(context.records.identity() or "")
    revision = context.records.revision()
    if as_json:
        print_json({"project": context.project, "written": written, "revision": revision})
        return
    click.echo(f"{context.project}: {written:,} entries restored from {journal}, revision {revision:,}")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option(
    "--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Serving processes."
)
@click.option("--console", is_flag=True, help="Open the console too, on this machine alone.")
@click.option("--console-port", type=click.IntRange(1, 65535), default=8001, show_default=True)
@pass_context
@click.pass_context
def serve(
    ctx: click.Context,
    context: Context,
    host: str,
    port: int,
    workers: int,
    *,
    console: bool,
    console_port: int,
) -> None:
    """Serve /v1/assign, /v1/predict, /v1/events and health until Ctrl-C.

    Without SWITCHPOINT_REDIS_URL an embedded server is started on the data directory and supervised; it
    binds no TCP port, and serving then listens on loopback only.

    \b
    Examples:
      switchpoint serve
      SWITCHPOINT_REDIS_URL=redis://db:6379/0 switchpoint serve --host 0.0.0.0 --workers 8
    """
    from switchpoint.router.cli.commands.console import console_and_worker, login_link
    from switchpoint.router.cli.own_store import own_store
    from switchpoint.router.serving.launch import ServingProcess, attend, require_free

    require_free(host, port, data=context.data)
    if console:
        require_free("127.0.0.1", console_port)
    with own_store(context.data, host=host) as url:
        click.echo(f"serving on http://{host}:{port} (data {context.data}); Ctrl-C stops", err=True)
        environ = {"SWITCHPOINT_PROJECT": context.project}
        others = console_and_worker(context, url, port=console_port) if console else ()
        if others:
            click.echo(f"console: {login_link(context, others[0])} (once, within 10 minutes)", err=True)
        serving = ServingProcess(
            redis_url=url, data=context.data, host=host, port=port, workers=workers, environ=environ
        )
        code = attend(serving, others)
    ctx.exit(code)
