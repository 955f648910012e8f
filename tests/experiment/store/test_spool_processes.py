"""The durable queue among processes: nothing acknowledged is lost, whoever is killed, forked or out of room."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from switchpoint.experiment.store.spool import Spool
from tests.waiting import HUNG


def payloads(spool: Spool, limit: int = 10_000) -> list[bytes]:
    return [item.payload for item in spool.take(limit)]


Start = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def python() -> Iterator[Start]:
    """Starts processes, none of which outlives the test, whatever becomes of it."""
    with ExitStack() as stack:

        def start(code: str) -> subprocess.Popen[str]:
            command = [sys.executable, "-c", textwrap.dedent(code)]
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            return process

        yield start


WRITER = """
    import sys
    from pathlib import Path
    from switchpoint.experiment.store.spool import Spool
    spool = Spool(Path({path!r}))
    for number in range({count}):
        spool.put([f"{name}:{{number}}".encode()])
        print(number, flush=True)
"""


def test_kill_9_of_writers_loses_nothing_they_acknowledged(tmp_path: Path, python: Start) -> None:
    path = tmp_path / "spool"
    acknowledged: set[bytes] = set()
    rng = random.Random(7)
    for wave in range(3):
        names = [f"w{wave}{number}" for number in range(3)]
        writers = {name: python(WRITER.format(path=str(path), name=name, count=100_000)) for name in names}
        printed = dict.fromkeys(names, "")
        for name, writer in writers.items():
            assert writer.stdout is not None
            for _ in range(rng.randint(10, 60)):
                printed[name] += writer.stdout.readline()
        for name, writer in writers.items():
            writer.kill()
            assert writer.stdout is not None
            printed[name] += writer.stdout.read()
            writer.communicate()
            # the line that the kill cut in half was acknowledged to nobody
            complete = printed[name][: printed[name].rfind("\n") + 1].split()
            acknowledged |= {f"{name}:{number}".encode() for number in complete}
    with Spool(path) as spool:
        found = payloads(spool, 1_000_000)
    assert len(found) == len(set(found))
    assert len(acknowledged) >= 90
    assert acknowledged <= set(found)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


DRAINER = """
    import random, sys, time
    from pathlib import Path
    from switchpoint.experiment.store.spool import Spool
    spool = Spool(Path({path!r}))
    while not Path({stop!r}).exists() or len(spool):
        items = spool.take(20)
        for item in items:
            print(item.payload.decode(), flush=True)
        time.sleep(0.001)
        spool.done([item.row_id for item in items])
"""


def test_two_drainers_one_of_them_killed_deliver_everything_at_least_once(
    tmp_path: Path, python: Start
) -> None:
    path, stop = str(tmp_path / "spool"), tmp_path / "stop"
    writers = [python(WRITER.format(path=path, name=f"w{n}", count=300)) for n in range(2)]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.readline()
    drainers = [python(DRAINER.format(path=path, stop=str(stop))) for _ in range(2)]
    assert drainers[0].stdout is not None
    first = drainers[0].stdout.readline().strip()
    drainers[0].kill()
    for writer in writers:
        writer.communicate(timeout=HUNG)
    stop.touch()
    delivered = {
        first,
        *drainers[0].communicate()[0].split(),
        *drainers[1].communicate(timeout=HUNG)[0].split(),
    }
    with Spool(path) as spool:
        assert (len(spool), spool.bytes) == (0, 0)
    everything = {f"w{n}:{number}" for n in range(2) for number in range(300)}
    assert everything <= delivered


def test_greenlets_and_another_process_share_one_spool(tmp_path: Path) -> None:
    """While another process holds the file, waiting greenlets let the others run."""
    code = f"""
        from gevent import monkey; monkey.patch_all()
        import gevent, sqlite3, time
        from switchpoint.experiment.store.spool import Spool
        path = {str(tmp_path / "spool")!r}
        spool = Spool(path)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        writers = [gevent.spawn(spool.put, [f"{{n}}".encode()]) for n in range(50)]
        ticks = 0
        for _ in range(20):
            gevent.sleep(0.005)
            ticks += 1
        assert not any(writer.dead for writer in writers)
        other.execute("COMMIT")
        gevent.joinall(writers, raise_error=True)
        assert ticks == 20 and len(spool) == 50
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=HUNG)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_parent_and_forked_child_both_go_on(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool") as spool:
        spool.put([b"before"])
        child = os.fork()
        if child == 0:
            try:
                spool.put([b"child"])
                os._exit(0 if len(spool) >= 2 else 1)
            finally:
                os._exit(2)
        spool.put([b"parent"])
        assert os.waitpid(child, 0)[1] == 0
        spool.put([b"after"])
        found = payloads(spool)
    assert sorted(found) == [b"after", b"before", b"child", b"parent"]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_fork_while_threads_write_deadlocks_nobody(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool") as spool:
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                spool.put([b"x"])

        threads = [threading.Thread(target=write) for _ in range(2)]
        for thread in threads:
            thread.start()
        ends = []
        for _ in range(10):
            child = os.fork()
            if child == 0:
                try:
                    signal.alarm(10)
                    spool.put([b"child"])
                    os._exit(0)
                finally:
                    os._exit(2)
            ends.append(os.waitpid(child, 0)[1])
        stop.set()
        for thread in threads:
            thread.join()
        assert ends == [0] * 10
        assert payloads(spool, 1_000_000).count(b"child") == 10


def test_a_full_disk_is_spool_full_and_the_spool_can_still_drain(tmp_path: Path) -> None:
    """On a file system of seven megabytes in a private mount namespace; deleting needs room too."""
    code = f"""
        import subprocess, sys
        from pathlib import Path
        from switchpoint.experiment.errors import SpoolFull
        from switchpoint.experiment.store.spool import Spool
        folder = Path({str(tmp_path)!r})
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=7m", "none", folder], capture_output=True)
        if mount.returncode:
            sys.exit(77)
        spool, kept = Spool(folder / "spool"), []
        try:
            while True:
                batch = f"{{len(kept):06}}".encode() * 200
                spool.put([batch])
                kept.append(batch)
        except SpoolFull as full:
            assert "no room on the disk" in str(full)
        assert len(kept) > 100
        try:
            spool.check()
        except SpoolFull as full:
            assert "no room on the disk" in str(full)
        else:
            raise AssertionError("a full disk passed the check")
        spool.close()
        (folder / "rest").write_bytes(b"")
        try:
            with (folder / "rest").open("wb", buffering=0) as rest:
                while rest.write(bytes(1000)) == 1000: pass
        except OSError:
            pass
        spool, drained = Spool(folder / "spool"), []
        while items := spool.take(7):
            drained += [item.payload for item in items]
            spool.failed([item.row_id for item in items])
            spool.done([item.row_id for item in items])
        assert drained == kept
        spool.put([b"room again"])
        (folder / "rest").unlink()
        assert [item.payload for item in spool.take(9)] == [b"room again"]
    """
    command = ["unshare", "-rm", sys.executable, "-c", textwrap.dedent(code)]
    try:
        ended = subprocess.run(command, check=False, timeout=HUNG, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    if ended.returncode == 77 or "unshare" in ended.stderr:
        pytest.skip("this machine does not let a test mount a file system")
    assert ended.returncode == 0, ended.stderr
