"""console and user: the pages for people, and who may see them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from switchpoint.experiment.errors import BadInput
from switchpoint.router.cli.context import Context, json_option, now_ms, pass_context, print_json

if TYPE_CHECKING:
    from switchpoint.experiment.store.accounts import Accounts
    from switchpoint.router.console.views.users import Users
    from switchpoint.router.serving.launch import Child, WebProcess

_APPLICATION = "switchpoint.router.console.wsgi:create()"


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=8001, show_default=True)
@click.option("--https", is_flag=True, help="It is reached by https alone, through a proxy of yours.")
@click.option(
    "--worker/--no-worker", default=True, help="Run the worker too (default), or leave it to another."
)
@pass_context
@click.pass_context
def console(ctx: click.Context, context: Context, host: str, port: int, *, https: bool, worker: bool) -> None:
    """Open the pages: what to do now, why it can be trusted, and the buttons that do it.

    On the loopback address it prints a link that logs you in once. Elsewhere users log in with a name and a
    password (`switchpoint user add`), and a proxy of yours has to speak https.

    \b
    Examples:
      switchpoint console
      switchpoint console --host 0.0.0.0 --https
    """
    from switchpoint.router.cli.own_store import LOOPBACK, own_store
    from switchpoint.router.serving.launch import attend, require_free

    local = host in LOOPBACK
    if not (local or https):
        raise BadInput(
            "passwords would cross the network in the open",
            field="--host",
            value=host,
            fix="put a proxy with https before it and add --https, or listen on 127.0.0.1",
        )
    require_free(host, port)
    with own_store(context.data, host=host) as url:
        process, attendant = console_and_worker(context, url, host=host, port=port, https=https)
        if local:
            click.echo(f"console: {login_link(context, process)}", err=True)
            click.echo("the link works once, within 10 minutes; Ctrl-C stops", err=True)
        else:
            click.echo(f"console on {process.url}; users log in; Ctrl-C stops", err=True)
        code = attend(process, [attendant] if worker else [])
    ctx.exit(code)


def console_and_worker(
    context: Context,
    redis_url: str,
    *,
    host: str = "127.0.0.1",
    port: int,
    https: bool = False,
    simulated: bool = False,
) -> tuple[WebProcess, Child]:
    """The processes of a console, not started yet; `simulated`: the time is that of the newest event."""
    environ = {
        "SWITCHPOINT_REDIS_URL": redis_url,
        "SWITCHPOINT_DATA": str(context.data),
        "SWITCHPOINT_PROJECT": context.project,
        "SWITCHPOINT_CONSOLE_HTTPS": str(int(https)),
        "SWITCHPOINT_SIMULATED_CLOCK": str(int(simulated)),
    }
    return console_process(environ, host=host, port=port), worker_process(environ)


def login_link(context: Context, process: WebProcess) -> str:
    """An address that logs whoever runs this command in, once, as admin."""
    from switchpoint.router.console.access import LINK_MS, Role

    token = _accounts(context).make_link(context.actor, Role.ADMIN, until=now_ms() + LINK_MS)
    return f"{process.url}/login/{token}"


def console_process(environ: Mapping[str, str], *, host: str, port: int) -> WebProcess:
    """The console of the project that these variables name."""
    from switchpoint.router.serving.launch import WebProcess

    arguments = ("-m", "gunicorn", "-c", "python:switchpoint.router.console.gunicorn_conf", _APPLICATION)
    return WebProcess(arguments, host=host, port=port, environ=environ)


def worker_process(environ: Mapping[str, str]) -> Child:
    """The worker of the project that these variables name."""
    from switchpoint.router.serving.launch import Child

    return Child(("-c", "from switchpoint.router.cli.main import main; main()", "worker", "--quiet"), environ)


@click.group()
def user() -> None:
    """Users of a shared console: viewer, analyst, operator, admin."""


_name = click.argument("name")


@user.command()
@_name
@click.option("--role", required=True, help="viewer, analyst, operator or admin.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input, for scripts.")
@pass_context
def add(context: Context, name: str, role: str, *, password_stdin: bool) -> None:
    """Add NAME, or give it another role or password; its sessions end.

    \b
    Example:
      switchpoint user add anna --role analyst
    """
    if password_stdin:
        password = sys.stdin.readline().rstrip("\n")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    made = _users(context).put(name, role, password)
    click.echo(f"{name} is {made.role}")


@user.command("list")
@json_option
@pass_context
def list_(context: Context, *, as_json: bool) -> None:
    """List users with their roles and how many sessions they have.

    \b
    Example:
      switchpoint user list
    """
    accounts = _accounts(context)
    sessions = [session.name for session in accounts.sessions()]
    rows = [(one.name, one.role, sessions.count(one.name)) for one in accounts.users()]
    if as_json:
        print_json([{"name": name, "role": role, "sessions": number} for name, role, number in rows])
        return
    from switchpoint.router.cli.render import show_table

    if not rows:
        click.echo("no users yet; `switchpoint user add NAME --role analyst` adds one")
        return
    show_table(
        ("user", "role", "sessions"), [(name, role, str(number)) for name, role, number in rows], labels=2
    )


@user.command()
@_name
@pass_context
def remove(context: Context, name: str) -> None:
    """Remove NAME and end its sessions.

    \b
    Example:
      switchpoint user remove anna
    """
    _users(context).remove(name)
    click.echo(f"{name} is removed")


@user.command("log-out")
@_name
@pass_context
def log_out(context: Context, name: str) -> None:
    """End all sessions of NAME at once.

    \b
    Example:
      switchpoint user log-out anna
    """
    number = _users(context).end_sessions(name)
    click.echo(f"{number} sessions of {name} ended")


def _accounts(context: Context) -> Accounts:
    from switchpoint.experiment.store.accounts import Accounts, accounts_path

    return Accounts(accounts_path(context.data, context.project))


def _users(context: Context) -> Users:
    from switchpoint.router.console.views.users import Users

    return Users(accounts=_accounts(context), records=context.records, actor=context.actor, at=now_ms())
