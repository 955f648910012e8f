"""Starting and stopping the serving processes: gunicorn as a child of the command line or of a test.

The master dies with whoever started it (Linux: parent-death signal), and its workers with the master, so
that a killed command leaves nothing behind.
"""

from __future__ import annotations

import errno
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from switchpoint.experiment.errors import BadInput, PlatformError
from switchpoint.experiment.store.embedded.process import alive

START_SECONDS = 20.0
STOP_SECONDS = 15.0
MASTER_FILE = "master"  # in `metrics_folder`: the pids of the master and of whoever started it
_ORPHAN_SECONDS = 10.0
_TORN_DOWN_SECONDS = 1.0  # the kernel closes what a killed process had open after its death
_POLL_SECONDS = 0.05
_ATTEND_SECONDS = 0.5
_REST_SECONDS = 30.0

# set between fork and exec by a fresh interpreter: a preexec_fn is not safe in a process with threads.
# 1 is PR_SET_PDEATHSIG, 15 SIGTERM
_BOUND = (
    "import ctypes, os, sys; "
    "ctypes.CDLL(None).prctl(1, 15, 0, 0, 0) if sys.platform == 'linux' else None; "
    "os.getppid() == int(sys.argv[1]) or sys.exit(1); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
)


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port nobody listens on at the moment."""
    with socket.socket() as sock:
        sock.bind((host, 0))
        return int(sock.getsockname()[1])


def require_free(host: str, port: int, *, data: Path | None = None) -> None:
    """Try the address before anything is started for it.

    The last service of the directory `data` may still be ending there, where whoever started it was killed:
    it is waited for.

    Raises:
        BadInput: it cannot be listened on; names the reason.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise BadInput(
            f"no address of this machine: {error.strerror}", field="--host", value=host, fix="name another"
        ) from None
    family, kind, protocol, _, address = found[0]
    begun = until = time.monotonic()
    while True:
        if until == begun or (data and _orphaned(data, port)):
            until = min(time.monotonic() + _TORN_DOWN_SECONDS, begun + _ORPHAN_SECONDS)
        with socket.socket(family, kind, protocol) as sock:
            # as gunicorn does: connections that are still closing do not count
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                return sock.bind(address)
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() > until:
                    raise BadInput(
                        f"cannot listen on {host}:{port}: {error.strerror}",
                        field="--port",
                        value=port,
                        fix="stop what listens there, or choose another --port",
                    ) from None
        time.sleep(_POLL_SECONDS)


def metrics_folder(data: Path, port: int) -> Path:
    """Where the workers of a port count; per port, so that two services of one data directory do not mix."""
    return data / "serving" / f"metrics-{port}"


def _orphaned(data: Path, port: int) -> bool:
    """Whether a master of this directory and port lives on without whoever started it."""
    try:
        text = (metrics_folder(data, port) / MASTER_FILE).read_text(encoding="ascii")
        master, owner = map(int, text.split())
    except (OSError, ValueError):
        return False
    return alive(master) and not alive(owner)


class Child:
    """A Python process that ends with this one. Start it from a thread that outlives it."""

    def __init__(self, arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> None:
        """`arguments` of the interpreter; `environ` adds variables to those of this process."""
        self._arguments, self._environ = arguments, {**os.environ, **(environ or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its pid."""
        if self._process is None:
            raise PlatformError(f"{self._arguments[1]} was not started")
        return self._process.pid

    def start(self, *, ready: bool = True) -> None:  # noqa: ARG002 - what answers has something to wait for
        """Start it."""
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
            [sys.executable, "-I", "-S", "-c", _BOUND, str(os.getpid()), *self._arguments],
            env=self._environ,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal reaches the owner, who stops us in order
        )

    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL for it and all that it started, as a machine without memory does it."""
        os.killpg(self.pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def stop(self) -> None:
        """SIGTERM: what is under way is finished; SIGKILL after 15 s."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class WebProcess(Child):
    """One that answers at an address."""

    def __init__(
        self, arguments: Sequence[str], *, host: str, port: int, environ: Mapping[str, str] | None = None
    ) -> None:
        """As `Child`."""
        super().__init__(arguments, {**(environ or {}), "SWITCHPOINT_BIND": f"{host}:{port}"})
        self.host, self.port = host, port

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://{self.host}:{self.port}"

    def start(self, *, ready: bool = True) -> None:
        """Start, and with `ready` wait until /healthz answers.

        Raises:
            PlatformError: it ended or did not answer; its log on standard error says why.
        """
        super().start(ready=ready)
        if ready:
            try:
                self.await_answer()
            except BaseException:
                self.stop()
                raise

    def await_answer(self, path: str = "/healthz", *, seconds: float = START_SECONDS) -> None:
        """Wait until GET `path` answers 200. Raises PlatformError."""
        end = time.monotonic() + seconds
        while self.status(path) != http.client.OK:
            if not self.alive():
                raise PlatformError(f"what serves {self.url} ended while starting; its log says why")
            if time.monotonic() > end:
                raise PlatformError(f"{self.url} did not answer {path} within {seconds:g} s")
            time.sleep(_POLL_SECONDS)

    def status(self, path: str) -> int | None:
        """The status of GET `path`, None when nobody answers."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=2.0)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def __enter__(self) -> Self:
        """Started and answering."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()


class ServingProcess(WebProcess):
    """gunicorn with our workers, owned by this process. Start it from a thread that outlives it."""

    def __init__(
        self,
        *,
        redis_url: str,
        data: Path,
        host: str = "127.0.0.1",
        port: int = 8000,
        workers: int = 2,
        environ: Mapping[str, str] | None = None,
        application: str = "switchpoint.router.serving.wsgi:create()",
    ) -> None:
        """`environ` adds further SWITCHPOINT_ variables (settings.py names them)."""
        super().__init__(
            (
                "-m",
                "switchpoint.router.serving.master",
                "-c",
                "python:switchpoint.router.serving.gunicorn_conf",
                application,
            ),
            host=host,
            port=port,
            environ={
                **(environ or {}),
                "SWITCHPOINT_REDIS_URL": redis_url,
                "SWITCHPOINT_DATA": str(data),
                "SWITCHPOINT_WORKERS": str(workers),
                # set before any process imports prometheus_client, which looks once
                "PROMETHEUS_MULTIPROC_DIR": str(metrics_folder(data, port)),
            },
        )

    def ready_facts(self) -> dict[str, object]:
        """The body of /readyz. Raises PlatformError when nobody answers."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=2.0)
        try:
            connection.request("GET", "/readyz")
            return dict(json.loads(connection.getresponse().read()))
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise PlatformError(f"serving on {self.url} does not answer: {error}") from error
        finally:
            connection.close()

    def reload(self) -> None:
        """SIGHUP: new workers, from what is installed now; the old ones serve until these are ready."""
        if self.alive():
            os.kill(self.pid, signal.SIGHUP)


_OBEYED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


class _Rest:
    """How long a child that ended is left alone: one that cannot start must not take a core from others."""

    def __init__(self, child: Child) -> None:
        self._child, self._seconds, self._next = child, 0.0, 0.0

    def start_again(self) -> None:
        """Start it where it has ended, unless its rest is not over."""
        now = time.monotonic()
        if self._child.alive():
            if now > self._next + _REST_SECONDS:
                self._seconds = 0.0  # it has lived: the next end is another fault
        elif now >= self._next:
            self._child.start(ready=False)
            self._seconds = min(max(1.0, 2 * self._seconds), _REST_SECONDS)
            self._next = now + self._seconds


def attend(main: WebProcess, others: Sequence[Child] = ()) -> int:
    """Run until SIGTERM, SIGINT or the main process's own end; returns the exit code. For the main thread.

    Others that end are started again; those that end at once, after longer and longer. SIGHUP reloads a
    service without an interruption; that of a closed terminal ends everything.

    Raises:
        PlatformError: it did not start.
    """
    stopping = threading.Event()
    terminal, rests = _has_terminal(), [_Rest(other) for other in others]

    def obey(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP and _has_terminal() is terminal and isinstance(main, ServingProcess):
            main.reload()
        else:
            stopping.set()

    before = {number: signal.signal(number, obey) for number in _OBEYED}
    try:
        main.start()
        while not stopping.is_set():
            if not main.alive():
                return 3
            for rest in rests:
                rest.start_again()
            stopping.wait(_ATTEND_SECONDS)
        return 0
    finally:
        for child in (*others, main):
            child.stop()
        for number, handler in before.items():
            signal.signal(number, handler)
