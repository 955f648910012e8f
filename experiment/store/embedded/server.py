"""The embedded server: start Redis or Valkey on a data directory, attach to it, stop it.

Nothing listens on a TCP port and nothing is looked for on one: the server answers on a private Unix socket,
and commands find it through the data directory.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from redis.exceptions import BusyLoadingError, RedisError

from switchpoint.experiment.errors import PlatformError
from switchpoint.experiment.store.embedded.binary import ServerBinary, find_server
from switchpoint.experiment.store.embedded.process import (
    SERVER_FOLDER,
    DirectoryBusy,
    DirectoryLock,
    ServerState,
    alive,
    launch,
    launch_detached,
    log_tail,
    read_state,
    write_configuration,
    write_state,
)
from switchpoint.experiment.store.embedded.tail import mend_tail
from switchpoint.experiment.store.redis.connection import check_server, configured_url, connect

# `connect`, `check_server` and `find_server` belong to what a user of the embedded server asks for
__all__ = [
    "DirectoryBusy",
    "EmbeddedServer",
    "ServerBinary",
    "attach",
    "attach_detached",
    "check_server",
    "connect",
    "data_directory",
    "ensure",
    "find_server",
    "stop_detached",
]

_SOCKET_LIMIT = 103  # bytes of sun_path without its NUL: 107 on Linux, 103 on macOS
_SOCKET_FOLDER_PREFIX = "switchpoint-"
_FIRST_ANSWER_SECONDS = 20.0
_STOP_SECONDS = 20.0
_JOIN_SECONDS = 30.0

_log = logging.getLogger(__name__)


def data_directory(explicit: str | os.PathLike[str] | None = None) -> Path:
    """Where everything local is kept: the argument, else SWITCHPOINT_DATA, else the user's data directory."""
    chosen = explicit or os.environ.get("SWITCHPOINT_DATA")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "switchpoint"
    shared = os.environ.get("XDG_DATA_HOME", "")
    # the XDG specification says to ignore a relative path
    home = Path(shared) if Path(shared).is_absolute() else Path.home() / ".local" / "share"
    return home / "switchpoint"


def half_the_memory() -> int:
    """Default `maxmemory` in bytes: half of the machine, or of the container where that has a limit."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return total // 2


class EmbeddedServer:
    """A server process that this process owns; made by `EmbeddedServer.start`.

    Every acknowledged write is on disk (`appendfsync always`), nothing is ever evicted. Unless detached it
    dies with the process, and on Linux with the *thread*, that started it.
    """

    def __init__(
        self, data: Path, binary: ServerBinary, lock: DirectoryLock, *, maxmemory: int, detach: bool
    ) -> None:
        """Take over a locked directory; use `start`."""
        self.data, self.binary, self.detached = data, binary, detach
        self._lock, self._maxmemory = lock, maxmemory
        self._owner = os.getpid()
        self._folder = data / SERVER_FOLDER
        self._process: subprocess.Popen[bytes] | None = None
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._folder.chmod(0o700)
        self.pid = 0
        self.socket = _socket_path(data)

    @classmethod
    def start(
        cls,
        data: Path,
        *,
        maxmemory: int | None = None,
        detach: bool = False,
        service: bool = False,
        binary: ServerBinary | None = None,
    ) -> EmbeddedServer:
        """Lock `data`, start a server there and wait until it has loaded its file and answers.

        Args:
            data: the data directory, created with mode 0700 when missing.
            maxmemory: bytes; writes beyond it are refused, reads go on. Default: half the memory.
            detach: let the server survive this process; `stop_detached` ends it.
            service: the owner keeps the directory until somebody ends it; others are told so.
            binary: the server to run; default `find_server`.

        Raises:
            DirectoryBusy: another process serves this directory; names its pid.
            PlatformError: no server binary, or it did not start; carries the end of its log.
        """
        data = data.absolute()
        try:
            data.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = DirectoryLock(data, service=service)
            try:
                last = read_state(data)
                found = binary or find_server((last.engine, last.version) if last else None)
                server = cls(data, found, lock, maxmemory=maxmemory or half_the_memory(), detach=detach)
                server.relaunch()
            except BaseException:
                lock.release()
                raise
        except OSError as error:
            raise PlatformError(f"data directory {data}: {error}. Fix: choose another with --data") from error
        if detach:
            lock.release()
        return server

    @property
    def url(self) -> str:
        """The `unix://` URL for redis-py; it stays the same over restarts."""
        return _url(self.socket)

    def alive(self) -> bool:
        """Whether the server process runs."""
        return alive(self.pid) if self._process is None else self._process.poll() is None

    def relaunch(self, *, abandon: Callable[[], bool] = lambda: False) -> None:
        """Start the process, again after it died, under the lock already held, and wait until it answers.

        Raises:
            PlatformError: it ended before it answered, or `abandon` said to give up.
        """
        self._reap()
        Path(self.socket).unlink(missing_ok=True)
        configuration = write_configuration(self._folder, Path(self.socket), maxmemory=self._maxmemory)
        mend_tail(self._folder)
        if self.detached:
            self.pid = launch_detached(self.binary.path, configuration, self._lock)
            self._lock.name_holder(self.pid)
        else:
            self._process = launch(self.binary.path, configuration, self._lock)
            self.pid = self._process.pid
        try:
            self._await_answer(abandon)
            self._record(self.pid)
        except BaseException:
            self._end(signal.SIGKILL)
            raise
        chosen = self.binary
        _log.info(
            "%s %s (%s) on %s, pid %d", chosen.engine, chosen.version, chosen.origin, self.data, self.pid
        )

    def stop(self) -> None:
        """Shut the server down cleanly and release the directory. Does nothing in a forked child."""
        if os.getpid() != self._owner or self.pid == 0:
            return
        self._end(signal.SIGTERM)
        self.pid = 0
        with suppress(OSError):  # a full disk; a dead pid in the state file says the same
            self._record(0)
        _remove_socket_folder(self.socket)
        self._lock.release()

    def __enter__(self) -> Self:
        """The server itself, stopped on exit."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def _await_answer(self, abandon: Callable[[], bool]) -> None:
        give_up = time.monotonic() + _FIRST_ANSWER_SECONDS
        with connect(self.url) as client:
            while True:
                try:
                    client.ping()
                except BusyLoadingError:  # a large file takes its time: 53 MB about 2 s
                    give_up = time.monotonic() + _FIRST_ANSWER_SECONDS
                except RedisError:
                    pass
                else:
                    return
                if not self.alive():
                    raise PlatformError(f"{self.binary.path} ended while starting: {log_tail(self._folder)}")
                if abandon() or time.monotonic() > give_up:
                    raise PlatformError(f"{self.binary.path} did not answer: {log_tail(self._folder)}")
                time.sleep(0.004)

    def _end(self, first: signal.Signals) -> None:
        for chosen in (first, signal.SIGKILL):
            if self.alive():
                with suppress(ProcessLookupError):
                    os.kill(self.pid, chosen)
            give_up = time.monotonic() + _STOP_SECONDS
            while self.alive() and time.monotonic() < give_up:
                time.sleep(0.004)
        self._reap()

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait()
            if self._process.stdin:
                self._process.stdin.close()

    def _record(self, pid: int) -> None:
        state = ServerState(
            pid=pid,
            socket=self.socket,
            engine=self.binary.engine,
            version=self.binary.version,
            detached=self.detached,
        )
        write_state(self.data, state)


def _socket_path(data: Path) -> str:
    """A socket below `data`, or in a private temporary folder where that path would be too long."""
    last = read_state(data)
    if last:
        _remove_socket_folder(last.socket)
    near = str(data / SERVER_FOLDER / "redis.sock")
    if len(os.fsencode(near)) <= _SOCKET_LIMIT:
        return near
    roots = [tempfile.gettempdir(), "/tmp"]  # noqa: S108 - mkdtemp makes a folder of mode 0700 there
    root = next(root for root in roots if len(os.fsencode(root)) < 60)
    return str(Path(tempfile.mkdtemp(prefix=_SOCKET_FOLDER_PREFIX, dir=root)) / "redis.sock")


def _remove_socket_folder(socket: str) -> None:
    """Remove what `_socket_path` made, and nothing else; a folder with other files in it stays."""
    path = Path(socket)
    if path.parent.name.startswith(_SOCKET_FOLDER_PREFIX) and path.name == "redis.sock":
        with suppress(OSError):
            path.unlink(missing_ok=True)
            path.parent.rmdir()


def _url(socket: str) -> str:
    return f"unix://{quote(socket)}"


def attach(data: Path) -> str | None:
    """The URL of the embedded server that runs on `data`, or None when none is alive and answers."""
    state = read_state(data.absolute())
    if state is None or not alive(state.pid):
        return None
    with connect(_url(state.socket)) as client:
        try:
            client.ping()
        except RedisError:
            return None
    return _url(state.socket)


def attach_detached(data: Path) -> str | None:
    """As `attach`, and only to a server that no process owns: it lives until `stop_detached`."""
    state = read_state(data.absolute())
    return attach(data) if state is not None and state.detached else None


@contextmanager
def ensure(data: Path, *, url: str | None = None) -> Iterator[str]:
    """A server for the duration of one command, as its URL.

    In this order: `url` or SWITCHPOINT_REDIS_URL, the server already running on `data`, one started here and
    stopped at the end, after other commands that attached to it meanwhile have finished.

    Raises:
        PlatformError: as `EmbeddedServer.start`.
    """
    configured = configured_url(url)
    if configured:
        yield configured
        return
    data = data.absolute()
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    caller = os.getpid()
    with (data / "server.users").open("ab") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        server = _join_or_start(data)
        try:
            yield server if isinstance(server, str) else server.url
        finally:
            if isinstance(server, EmbeddedServer) and os.getpid() == caller:
                try:
                    fcntl.flock(users, fcntl.LOCK_EX)
                finally:
                    server.stop()


def _join_or_start(data: Path) -> str | EmbeddedServer:
    give_up = time.monotonic() + _JOIN_SECONDS
    while True:
        running = attach(data)
        if running:
            return running
        try:
            return EmbeddedServer.start(data)
        except DirectoryBusy:  # another command is starting one, or it loads its file
            if time.monotonic() > give_up:
                raise
            time.sleep(0.05)


def stop_detached(data: Path) -> bool:
    """Stop the detached server of `data` cleanly and wait; False when none runs."""
    data = data.absolute()
    state = read_state(data)
    if state is None or not state.detached or attach(data) is None:
        return False
    os.kill(state.pid, signal.SIGTERM)
    give_up = time.monotonic() + _STOP_SECONDS
    while alive(state.pid):
        if time.monotonic() > give_up:
            raise PlatformError(f"server pid {state.pid} on {data} does not stop. Fix: kill -9 {state.pid}")
        time.sleep(0.004)
    write_state(data, replace(state, pid=0))
    _remove_socket_folder(state.socket)
    return True
