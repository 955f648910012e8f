"""The call pool under gevent, where a future's callbacks run in the event loop."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import ROOT

SCRIPT = """
from gevent import monkey
monkey.patch_all()
import gevent
import gevent.threadpool
from switchpoint.router.models.pool import CallPool

pool = CallPool(gevent.threadpool.ThreadPoolExecutor(4), 4)
answered = []

def run():
    for _ in range(60):
        answered.append(pool.call("model", lambda: sum(range(5_000)), 5.0))

gevent.joinall([gevent.spawn(run) for _ in range(12)], timeout=60, raise_error=True)
print(len(answered))
"""


def test_contended_slots_are_never_lost() -> None:
    """A semaphore with a lock of its own lost slots here: its release may not wait in the event loop."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], check=False, cwd=ROOT, capture_output=True, text=True, timeout=90
    )
    assert (done.stdout.strip(), done.stderr) == ("720", "")
