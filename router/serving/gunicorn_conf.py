"""gunicorn settings of the serving process (`router.serving.master -c python:….gunicorn_conf`).

gevent workers (`router.serving.worker`): with sync or threaded ones 300 idle connections shut everybody else
out, measured. gunicorn patches the standard library in each worker before it loads the application.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from switchpoint.router.models import fork_server
from switchpoint.router.serving.launch import MASTER_FILE

_METRICS = "PROMETHEUS_MULTIPROC_DIR"
_PR_SET_PDEATHSIG = 1
_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 128 * 1024
_kept: list[subprocess.Popen[bytes]] = []

bind = os.environ.get("SWITCHPOINT_BIND", "127.0.0.1:8000")
workers = int(os.environ.get("SWITCHPOINT_WORKERS", "2"))
worker_class = "switchpoint.router.serving.worker.Worker"
backlog = 4096  # as many as the kernel allows: who finds it full is not refused, but waits for seconds
keepalive = 5  # also the deadline for a request's head
graceful_timeout = 8
timeout = 30  # a worker whose loop stood still that long is replaced
limit_request_line = 4094
limit_request_field_size = 8190
forwarded_allow_ips = "127.0.0.1,::1"
forwarder_headers = ""  # the routes have no prefix, and nobody else says which of them is asked
errorlog = "-"
loglevel = os.environ.get("SWITCHPOINT_LOG_LEVEL", "warning")
control_socket_disable = True

logging.basicConfig(level=loglevel.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def on_starting(_server: Any) -> None:
    """Count from zero: files of workers that died with an earlier master would be summed for ever."""
    folder = os.environ.get(_METRICS)
    if folder is None:
        folder = os.environ[_METRICS] = tempfile.mkdtemp(prefix="switchpoint-metrics-")
    else:
        shutil.rmtree(folder, ignore_errors=True)
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    Path(folder, MASTER_FILE).write_text(f"{os.getpid()} {os.getppid()}", encoding="ascii")


def when_ready(_server: Any) -> None:
    """One for all workers, which lives over reloads: new workers have their models in a moment."""
    control, process = fork_server.start()
    _kept.append(process)
    os.environ[fork_server.INHERITED] = str(control.detach())


def pre_fork(server: Any, worker: Any) -> None:
    """Where others serve, or are about to, a worker takes requests once it can answer them."""
    worker.patience = server.patience()


def post_fork(_server: Any, worker: Any) -> None:
    """A worker is gone in the moment in which its master is: what was acknowledged is on disk, and an orphan
    that finished its requests, or hung, would keep the port from the next service."""
    # until the worker's own is set the master's would swallow it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != worker.ppid:
            os._exit(1)
        if hasattr(libc, "mallopt"):  # musl has none, and no need of it
            # glibc keeps freed blocks for itself up to the size of the largest one so far: here, of a body
            libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def on_exit(_server: Any) -> None:
    """The counters die with the master, unless the next master of the port, started while this one was
    stopping, has taken their folder already."""
    folder = Path(os.environ[_METRICS])
    with contextlib.suppress(OSError):
        if (folder / MASTER_FILE).read_text(encoding="ascii").split()[0] == str(os.getpid()):
            shutil.rmtree(folder, ignore_errors=True)


def child_exit(_server: Any, worker: Any) -> None:
    """A dead worker's live gauges end with it."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]  # not annotated
