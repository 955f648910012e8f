"""A slow disk under the spool of a gevent worker: everything that needs no disk goes on."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

from switchpoint.experiment.store.database import run_here
from switchpoint.router.serving.wsgi import _beside_the_loop
from tests.waiting import HUNG

GEVENT = """
from gevent import monkey; monkey.patch_all()
import ctypes, os, sqlite3, subprocess, sys, threading, time
import gevent
from switchpoint.experiment.errors import SpoolFull
from switchpoint.experiment.store.spool import Spool
from switchpoint.router.serving.wsgi import _beside_the_loop

class Slow(sqlite3.Connection):
    \"\"\"Commits stop the thread of the system that they run in, as a sync does.\"\"\"
    seconds = 0.0
    def execute(self, statement, *parameters):
        if statement == "COMMIT":
            ctypes.CDLL(None).usleep(int(1e6 * Slow.seconds))
        return super().execute(statement, *parameters)

connect = sqlite3.connect
sqlite3.connect = lambda *arguments, **options: connect(*arguments, factory=Slow, **options)
spool = Spool(sys.argv[1], max_bytes=200, eager=False, run=_beside_the_loop())
"""


def under_gevent(path: Path, code: str) -> None:
    command = [sys.executable, "-c", GEVENT + textwrap.dedent(code), str(path)]
    subprocess.run(command, check=True, timeout=HUNG)


def test_the_event_loop_goes_on_while_the_spool_waits_for_the_disk(tmp_path: Path) -> None:
    under_gevent(tmp_path / "spool", """
        spool.put([b"first"])
        Slow.seconds = 1.0
        ticks = 0
        def tick():
            global ticks
            while True:
                gevent.sleep(0.01)
                ticks += 1
        gevent.spawn(tick)
        for work in (lambda: spool.put([b"x"]), spool.check, lambda: spool.done([1])):
            before = ticks
            work()
            assert ticks - before >= 5, ticks - before
        Slow.seconds = 0.01
        writers = [gevent.spawn(spool.put, [b"%d" % n]) for n in range(30)]
        gevent.joinall(writers, raise_error=True)
        assert len(spool) == 31
    """)  # fmt: skip


def test_the_event_loop_goes_on_while_the_disk_takes_the_snapshot_and_what_is_known_of_the_store(
    tmp_path: Path,
) -> None:
    under_gevent(tmp_path / "spool", """
        from pathlib import Path
        from switchpoint.experiment.store.known import StoreMemory
        from switchpoint.experiment.store.memory import MemoryRecords
        from switchpoint.router.snapshot import SnapshotHolder
        from switchpoint.router.serving.wsgi import RecordsSource
        from tests.router import world
        folder, run, syncs, ticks = Path(sys.argv[1]).parent, _beside_the_loop(), [], 0
        records = MemoryRecords()
        world.build(records, folder)
        memory = StoreMemory(folder, "default", run=run)
        holder = SnapshotHolder(RecordsSource(records, memory), folder / "snapshot.json", run=run)
        def slow(_):
            before = ticks
            ctypes.CDLL(None).usleep(1_000_000)
            syncs.append(ticks - before)
        os.fsync = slow
        def tick():
            global ticks
            while True:
                gevent.sleep(0.01)
                ticks += 1
        gevent.spawn(tick)
        assert holder.refresh()
        assert len(syncs) == 2 and min(syncs) >= 5, syncs
        assert (folder / "snapshot.json").exists() and memory.known().revision == holder.current.revision
    """)  # fmt: skip


def test_errors_arrive_and_a_fork_leaves_the_spool_usable(tmp_path: Path) -> None:
    under_gevent(tmp_path / "spool", """
        spool.put([b"first"])
        try:
            spool.put([bytes(300)])
        except SpoolFull as error:
            assert "exceed its cap" in str(error)
        else:
            raise AssertionError("it took more than its cap")
        Slow.seconds = 0.2
        writer = gevent.spawn(spool.put, [b"second"])
        gevent.sleep(0.05)
        subprocess.run(["true"], check=True)  # gevent forks: the hook waits for the commit under way
        writer.get()
        spool.put([b"third"])
        assert [item.payload for item in spool.take(9)] == [b"first", b"second", b"third"]
        spool.close()
        assert len(spool) == 3
    """)  # fmt: skip


def test_other_hosts_do_it_in_their_own_thread() -> None:
    assert _beside_the_loop() is run_here
