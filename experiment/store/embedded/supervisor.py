"""Keeps the embedded server of a long-running process alive."""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from switchpoint.experiment.errors import PlatformError
from switchpoint.experiment.store.embedded.server import EmbeddedServer

_FIRST_DELAY_SECONDS = 0.1
_LONGEST_DELAY_SECONDS = 10.0
_POLL_SECONDS = 0.05

_log = logging.getLogger(__name__)


class ServerCondition(StrEnum):
    """What the supervisor sees."""

    RUNNING = "running"
    RESTARTING = "restarting"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorStatus:
    """The supervised server now. `last_error` is why the newest restart failed, or empty."""

    condition: ServerCondition
    engine: str
    version: str
    pid: int
    restarts: int
    last_error: str


class Supervisor:
    """Runs an embedded server and restarts it when it dies, with back-off from .1 s doubling to 10 s.

    One thread starts, watches and stops the server (its life is tied to the thread that started it). The
    directory lock is kept over restarts and the URL does not change. A full disk ends the server by itself
    (`appendfsync always` exits): it is tried again until there is room.
    """

    def __init__(self, data: Path, *, maxmemory: int | None = None) -> None:
        """Prepare; `start` starts."""
        self._data, self._maxmemory = data, maxmemory
        self._owner = os.getpid()
        self._stopping = threading.Event()
        self._first_attempt = threading.Event()
        self._thread = threading.Thread(target=self._run, name="switchpoint-server", daemon=True)
        self._server: EmbeddedServer | None = None
        self._refusal: BaseException | None = None
        self._restarts = 0
        self._last_error = ""

    def start(self) -> str:
        """Start the server and the watch; returns the server's URL.

        Raises:
            PlatformError: as `EmbeddedServer.start`; nothing is left running.
        """
        self._thread.start()
        self._first_attempt.wait()
        if self._server is None:
            self._thread.join()
            raise self._refusal or PlatformError(f"no server was started on {self._data}")
        return self._server.url

    def stop(self) -> None:
        """Stop watching, then the server, cleanly. Does nothing in a forked child."""
        if os.getpid() == self._owner and self._thread.is_alive():
            self._stopping.set()
            self._thread.join()

    def status(self) -> SupervisorStatus:
        """What the supervisor sees now."""
        server = self._server
        if server is None or not self._thread.is_alive():
            condition = ServerCondition.STOPPED
        else:
            condition = ServerCondition.RUNNING if server.alive() else ServerCondition.RESTARTING
        return SupervisorStatus(
            condition=condition,
            engine=server.binary.engine if server else "",
            version=server.binary.version if server else "",
            pid=server.pid if server and condition is ServerCondition.RUNNING else 0,
            restarts=self._restarts,
            last_error=self._last_error,
        )

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def _run(self) -> None:
        try:
            server = EmbeddedServer.start(self._data, maxmemory=self._maxmemory, service=True)
        except BaseException as error:  # noqa: BLE001 - raised again by `start`, in the caller's thread
            self._refusal = error
            return
        else:
            self._server = server
        finally:
            self._first_attempt.set()
        try:
            self._watch(server)
        finally:
            server.stop()

    def _watch(self, server: EmbeddedServer) -> None:
        delay, since = _FIRST_DELAY_SECONDS, time.monotonic()
        while not self._stopping.wait(_POLL_SECONDS):
            if server.alive():
                continue
            if time.monotonic() - since > _LONGEST_DELAY_SECONDS:
                delay = _FIRST_DELAY_SECONDS
            _log.warning("the server on %s ended; starting it again in %.1f s", self._data, delay)
            if self._stopping.wait(delay):
                return
            delay = min(2 * delay, _LONGEST_DELAY_SECONDS)
            try:
                server.relaunch(abandon=self._stopping.is_set)
            except (PlatformError, OSError) as error:
                self._last_error = str(error)
                _log.warning("the server on %s did not start: %s", self._data, error)
            else:
                self._restarts += 1
                self._last_error = ""
            since = time.monotonic()
