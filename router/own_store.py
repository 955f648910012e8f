"""The store of a long-running command: configured, already running on the data directory, or supervised."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from experiment.errors import BadInput

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@contextmanager
def own_store(data: Path, *, host: str = "127.0.0.1") -> Iterator[str]:
    """A Redis URL for as long as the command runs; an embedded server is restarted when it dies.

    Raises:
        BadInput: `host` is reachable from outside and no server is configured.
        PlatformError: the embedded server could not be started.
    """
    from experiment.store.connection import configured_url
    from experiment.store.server import attach
    from experiment.store.supervisor import Supervisor

    configured = configured_url()
    if configured:
        yield configured
        return
    if host not in _LOOPBACK:
        raise BadInput(
            "embedded mode listens on loopback only",
            field="--host",
            value=host,
            fix="set SWITCHPOINT_REDIS_URL to a server of your own",
        )
    running = attach(data)
    if running:
        yield running
        return
    supervisor = Supervisor(data)
    url = supervisor.start()
    try:
        yield url
    finally:
        supervisor.stop()
