"""The store of a long-running command: configured, detached on the data directory, or supervised by us."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from switchpoint.experiment.errors import BadInput

if TYPE_CHECKING:  # imported when a store is wanted: `--help` must not wait for it
    from switchpoint.experiment.store.embedded.process import DirectoryBusy
    from switchpoint.experiment.store.embedded.supervisor import Supervisor

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_PATIENCE_SECONDS = 60.0


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM and SIGHUP end a command as Ctrl-C does, also where a shell made it ignore SIGINT."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def own_store(data: Path, *, host: str = "127.0.0.1", join: bool = False) -> Iterator[str]:
    """A Redis URL for as long as the command runs; an embedded server is restarted when it dies.

    A server that another process started is not joined (but with `join`): it ends with its starter. A short
    command is waited for, another service is not.

    Raises:
        BadInput: `host` is reachable from outside and no server is configured, or another service runs on
            the data directory.
        AccessDenied, PlatformError: the configured server refuses us or would lose acknowledged events; the
            embedded server could not be started.
    """
    from switchpoint.experiment.store.embedded.server import attach, attach_detached
    from switchpoint.experiment.store.redis.connection import configured_url, connect, require_fit

    configured = configured_url()
    if configured:
        with connect(configured) as client:
            require_fit(client)
        yield configured
        return
    if host not in LOOPBACK:
        raise BadInput(
            "embedded mode listens on loopback only",
            field="--host",
            value=host,
            fix="set SWITCHPOINT_REDIS_URL to a server of your own",
        )
    running = attach(data) if join else attach_detached(data)
    if running:
        yield running
        return
    supervisor, url = _supervise(data)
    try:
        yield url
    finally:
        supervisor.stop()


def _supervise(data: Path) -> tuple[Supervisor, str]:
    """A started supervisor and its URL, after the short commands that hold the directory have ended."""
    from switchpoint.experiment.store.embedded.process import DirectoryBusy
    from switchpoint.experiment.store.embedded.supervisor import Supervisor

    give_up, told = time.monotonic() + _PATIENCE_SECONDS, False
    while True:
        supervisor = Supervisor(data)
        try:
            return supervisor, supervisor.start()
        except DirectoryBusy as busy:
            if busy.service:
                raise _occupied(data, busy) from None
            if time.monotonic() > give_up:
                raise
            if not told:
                click.echo(f"waiting for pid {busy.holder}, which uses {data}, to end", err=True)
                told = True
            time.sleep(0.1)


def _occupied(data: Path, busy: DirectoryBusy) -> BadInput:
    return BadInput(
        f"another service (pid {busy.holder}) runs on {data}",
        field="--data",
        value=str(data),
        fix=f"stop pid {busy.holder}, give this one another --data, or set SWITCHPOINT_REDIS_URL for both",
    )
