"""One Redis or Valkey process on one data directory: its lock, configuration, state file and launch.

The lock is an flock of our own (a second server on the same append-only file starts without complaint and
corrupts it). Its descriptor is inherited by the server, so the directory stays locked exactly as long as
the owner *or* any process of the server is alive, even when one of them was killed with -9.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from switchpoint.experiment.errors import PlatformError

LOCK_FILE = "server.lock"
STATE_FILE = "server.json"
SERVER_FOLDER = "redis"

# A server whose owner was killed needs a moment to close its append-only file, a killed owner one to end.
_PATIENCE_SECONDS = 5.0
_GRACE_SECONDS = 0.3

_SERVICE = "service"  # second word of the lock file
_HOLDER_BYTES = 30

# Runs in a fresh interpreter that replaces itself with the server: PR_SET_PDEATHSIG must be set between
# fork and exec, and a preexec_fn is not safe in a process with threads. 1 is PR_SET_PDEATHSIG, 15 SIGTERM.
# Where the kernel has no such call a forked watcher holds the read end of a pipe from the owner.
_LAUNCHER = """
import os, sys
owner, fate, binary, configuration = int(sys.argv[1]), *sys.argv[2:5]
os.umask(0o077)
if fate == "detached":
    child = os.fork()
    if child:
        print(child, flush=True)
        os._exit(0)
    os.dup2(2, 1)
elif fate == "watched":
    server = os.getpid()
    if os.fork() == 0:
        os.closerange(3, 256)
        os.read(0, 1)
        if os.getppid() == server:
            os.kill(server, 15)
        os._exit(0)
else:
    import ctypes
    ctypes.CDLL(None).prctl(1, 15, 0, 0, 0)
    if os.getppid() != owner:
        os._exit(1)
# by standard input: a path with ? or * in it would be read as a pattern, match nothing, and the server
# would run with its defaults, that is on a TCP port and without persistence
os.dup2(os.open(configuration, os.O_RDONLY), 0)
os.execv(binary, [binary, "-"])
"""


class DirectoryBusy(PlatformError):
    """Another live process owns the data directory: `holder`; `service` if it means to keep it (`serve`)."""

    code = "directory_busy"

    def __init__(self, message: str, *, holder: int, service: bool) -> None:
        self.holder, self.service = holder, service
        super().__init__(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """What `server.json` says: the last server of this directory. `pid` is 0 after a clean stop."""

    pid: int
    socket: str
    engine: str
    version: str
    detached: bool


def read_state(data: Path) -> ServerState | None:
    """The state file of a data directory, or None when there is none that can be read."""
    try:
        return ServerState(**json.loads((data / STATE_FILE).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def write_state(data: Path, state: ServerState) -> None:
    """Replace the state file in one step."""
    draft = data / f"{STATE_FILE}.{os.getpid()}"
    draft.write_text(json.dumps(asdict(state)), encoding="utf-8")
    draft.chmod(0o600)
    draft.replace(data / STATE_FILE)


def alive(pid: int) -> bool:
    """Whether a process runs under this pid (a zombie does not)."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return True
    return status.rpartition(")")[2].split()[0] not in "ZX"


class DirectoryLock:
    """Exclusive ownership of a data directory. The file names the process whose life the lock follows."""

    def __init__(self, data: Path, *, service: bool = False) -> None:
        """Take the lock; `service` tells those who are refused that it is kept until somebody ends it.

        Raises:
            DirectoryBusy: another process holds it; the message names its pid.
        """
        self.descriptor = os.open(data / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        begun = time.monotonic()
        while not _try_lock(self.descriptor):
            holder, kind = _read_holder(self.descriptor)
            patience = _GRACE_SECONDS if alive(holder) else _PATIENCE_SECONDS
            if time.monotonic() - begun > patience:
                os.close(self.descriptor)
                raise DirectoryBusy(
                    _busy_message(data, holder), holder=holder, service=kind == _SERVICE and alive(holder)
                )
            time.sleep(0.02)
        self.name_holder(os.getpid(), service=service)
        _HELD.add(self)

    def name_holder(self, pid: int, *, service: bool = False) -> None:
        """Write what the next process to be refused will read."""
        kind = _SERVICE if service else ""
        os.pwrite(self.descriptor, f"{pid} {kind}".ljust(_HOLDER_BYTES).encode("ascii"), 0)

    @contextmanager
    def shared(self) -> Iterator[int]:
        """A second descriptor of the same lock, for a server to inherit."""
        # the first is closed in every forked child, and under gevent Popen forks
        descriptor = os.dup(self.descriptor)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def release(self) -> None:
        """Let go of this process's share; a server that inherited the lock keeps it."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


_HELD: weakref.WeakSet[DirectoryLock] = weakref.WeakSet()


def _release_in_child() -> None:
    """A forked worker must not keep the directory locked after its parent died."""
    for lock in list(_HELD):
        lock.release()


os.register_at_fork(after_in_child=_release_in_child)


def _read_holder(descriptor: int) -> tuple[int, str]:
    """The pid the lock file names (0: none yet) and what it is."""
    pid, _, kind = os.pread(descriptor, _HOLDER_BYTES, 0).decode("ascii").partition(" ")
    return int(pid or "0"), kind.strip()


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _busy_message(data: Path, holder: int) -> str:
    state = read_state(data)
    server = f" (server pid {state.pid}, {state.engine} {state.version})" if state and state.pid else ""
    return (
        f"data directory {data} is in use by pid {holder}{server}. "
        "Fix: stop that process, let this command attach to it, or choose another directory with --data"
    )


def write_configuration(folder: Path, socket: Path, *, maxmemory: int) -> Path:
    """Write the server's 0600 configuration file: private socket only, every acknowledged write on disk."""
    lines = [
        "port 0",
        f"unixsocket {_quoted(socket)}",
        "unixsocketperm 700",
        f"dir {_quoted(folder)}",
        f"logfile {_quoted(folder / 'server.log')}",
        "daemonize no",
        "appendonly yes",
        "appendfsync always",
        'save ""',
        f"maxmemory {maxmemory}",
        "maxmemory-policy noeviction",
        # records of units have up to 100 bytes or so; the name that Redis before 7 knows too
        "hash-max-ziplist-value 128",
        # SIGTERM is noticed by the periodic task: 20 ms instead of 100 ms to stop
        "hz 50",
    ]
    path = folder / "server.conf"
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write("\n".join([*lines, ""]).encode("utf-8", "surrogateescape"))
    return path


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(f"\\x{ord(c):02x}" if ord(c) < 32 else c for c in text) + '"'


def launch(binary: Path, configuration: Path, lock: DirectoryLock) -> subprocess.Popen[bytes]:
    """Start a server that receives SIGTERM when this process dies.

    On Linux the signal comes when the *thread* that called this ends: call it from one that lives as long
    as the server should.
    """
    fate = "bound" if sys.platform == "linux" else "watched"
    with _log(configuration) as log, lock.shared() as descriptor:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and a binary the operator or wheel named
            _command(fate, binary, configuration),
            stdin=subprocess.PIPE if fate == "watched" else subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(descriptor,),
            start_new_session=True,
        )


def launch_detached(binary: Path, configuration: Path, lock: DirectoryLock) -> int:
    """Start a server that outlives this process; returns its pid."""
    with _log(configuration) as log, lock.shared() as descriptor:
        launcher = subprocess.run(  # noqa: S603 - as in `launch`
            _command("detached", binary, configuration),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            pass_fds=(descriptor,),
            start_new_session=True,
            check=True,
        )
    return int(launcher.stdout)


def _command(fate: str, binary: Path, configuration: Path) -> list[str]:
    return [
        sys.executable,
        "-I",
        "-S",
        "-c",
        _LAUNCHER,
        str(os.getpid()),
        fate,
        str(binary),
        str(configuration),
    ]


def _log(configuration: Path) -> BinaryIO:
    return os.fdopen(
        os.open(configuration.with_name("server.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab"
    )


def log_tail(folder: Path, lines: int = 5) -> str:
    """The last lines the server wrote, for error messages."""
    try:
        text = (folder / "server.log").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "no log"
    return " | ".join(text.splitlines()[-lines:])
