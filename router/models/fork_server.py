"""Starting the process that forks model runners (`router.models.runner`), and asking it for one.

The serving master starts one for all its workers and tells them its socket; a process that was told of none,
or whose one is gone, starts its own. Light to import: the master keeps what it imported over reloads.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

INHERITED = "SWITCHPOINT_FORK_SERVER"
"""The environment variable by which the master names the descriptor that its workers inherit."""
RUNNER = "switchpoint.router.models.runner"
_ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
# What an interpreter needs to start and to read files. The rest stays behind: the service's environment has
# the store's password in it, and a model has no use for one.
_PASSED_ON = (
    "PATH", "LD_LIBRARY_PATH", "HOME", "TMPDIR", "TZ", "LANG", "LC_ALL", "LC_CTYPE",
    "VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH", "PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE",
    "SWITCHPOINT_DATA",  # tells whoever looks at the processes of a machine which service it belongs to
)  # fmt: skip


def start() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """A new fork server: its control socket, and its process, which ends when nobody has that any more."""
    control, far = socket.socketpair()
    with far:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", RUNNER, str(far.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # a model may print; standard error stays for its last words
            pass_fds=(far.fileno(),),
            env={name: os.environ[name] for name in _PASSED_ON if name in os.environ} | _ONE_THREAD,
        )
    return control, process


class ForkServer:
    """The fork server of this process: the one inherited while that is there, else its own."""

    def __init__(self, inherited: int | None = None) -> None:
        """`inherited` is a descriptor of a control socket."""
        self._lock = threading.Lock()
        self._control = None if inherited is None else socket.socket(fileno=os.dup(inherited))
        self._process: subprocess.Popen[bytes] | None = None

    def runner(self) -> socket.socket:
        """The near end of a new runner's socket.

        Raises:
            OSError: no process can be started.
        """
        near, far = socket.socketpair()
        with far, self._lock:
            if self._control is None or not _send(self._control, far):
                self._replace()
                _send(self._control, far)
        return near

    def _replace(self) -> None:
        self.close()
        self._control, self._process = start()

    def close(self) -> None:
        """Let go of it; what it forked goes on."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.wait()
            self._process = None


def _send(control: socket.socket | None, far: socket.socket) -> bool:
    if control is None:
        return False
    try:
        socket.send_fds(control, [b"+"], [far.fileno()])
    except OSError:
        return False
    return True
