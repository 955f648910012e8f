"""The durable queue: nothing acknowledged is ever lost, whoever is killed, and the cap holds."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experiment.errors import Corrupt, PlatformError, SpoolFull
from experiment.store.spool import Spool
from tests.waiting import HUNG


def payloads(spool: Spool, limit: int = 10_000) -> list[bytes]:
    return [item.payload for item in spool.take(limit)]


def python(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)


def test_batches_come_out_oldest_first_and_stay_until_done(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool") as spool:
        spool.put([b"one", b"two"])
        spool.put([b"three"])
        first = spool.take(2)
        assert [item.payload for item in first] == [b"one", b"two"]
        assert payloads(spool) == [b"one", b"two", b"three"]
        spool.done([item.row_id for item in first])
        spool.done([item.row_id for item in first])
        assert payloads(spool) == [b"three"]
        assert (len(spool), spool.bytes) == (1, 5)


def test_failed_deliveries_are_counted(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool") as spool:
        spool.put([b"a", b"b"])
        one, two = spool.take(2)
        spool.failed([one.row_id])
        spool.failed([one.row_id, two.row_id, 999])
        assert [item.attempts for item in spool.take(2)] == [2, 1]


def test_nothing_in_nothing_out(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool") as spool:
        spool.put([])
        spool.done([])
        spool.failed([])
        assert (payloads(spool), len(spool), spool.bytes) == ([], 0, 0)


def test_the_queue_survives_closing_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "spool"
    with Spool(path) as spool:
        spool.put([b"kept"])
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(spool) == 1  # opens again by itself
    spool.close()
    with Spool(path) as again:
        assert payloads(again) == [b"kept"]


def test_the_cap_refuses_the_whole_batch_and_room_returns_when_it_drains(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool", max_bytes=100) as spool:
        spool.put([b"x" * 60])
        with pytest.raises(SpoolFull, match="60 bytes and 41 more exceed its cap 100"):
            spool.put([b"y" * 40, b"z"])
        assert len(spool) == 1
        spool.put([b"y" * 40])
        spool.done([spool.take(1)[0].row_id])
        assert spool.bytes == 40
        spool.put([b"z" * 60])


def test_a_row_id_never_comes_back(tmp_path: Path) -> None:
    """A slow drainer's `done` must not delete a batch that was put later."""
    with Spool(tmp_path / "spool") as slow, Spool(tmp_path / "spool") as quick:
        slow.put([b"old"])
        taken = slow.take(1)
        quick.done([item.row_id for item in quick.take(1)])
        quick.put([b"new"])
        slow.done([item.row_id for item in taken])
        assert payloads(slow) == [b"new"]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            st.lists(st.binary(max_size=12), max_size=4),
            st.integers(min_value=0, max_value=5),
        ),
        max_size=12,
    )
)
def test_count_and_bytes_always_agree_with_a_plain_list(
    steps: list[list[bytes] | int], tmp_path: Path
) -> None:
    """Steps: a list is put, a number drains that many; a cap of 60 bytes refuses what a list would refuse."""
    (tmp_path / "spool").unlink(missing_ok=True)
    model: list[bytes] = []
    with Spool(tmp_path / "spool", max_bytes=60) as spool:
        for step in steps:
            if isinstance(step, int):
                spool.done([item.row_id for item in spool.take(step)])
                del model[:step]
            elif sum(map(len, model + step)) > 60 and step:
                with pytest.raises(SpoolFull):
                    spool.put(step)
            else:
                spool.put(step)
                model += step
            assert (payloads(spool), len(spool), spool.bytes) == (model, len(model), sum(map(len, model)))


WRITER = """
    import sys
    from pathlib import Path
    from experiment.store.spool import Spool
    spool = Spool(Path({path!r}))
    for number in range({count}):
        spool.put([f"{name}:{{number}}".encode()])
        print(number, flush=True)
"""


def test_kill_9_of_writers_loses_nothing_they_acknowledged(tmp_path: Path) -> None:
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
    from experiment.store.spool import Spool
    spool = Spool(Path({path!r}))
    while not Path({stop!r}).exists() or len(spool):
        items = spool.take(20)
        for item in items:
            print(item.payload.decode(), flush=True)
        time.sleep(0.001)
        spool.done([item.row_id for item in items])
"""


def test_two_drainers_one_of_them_killed_deliver_everything_at_least_once(tmp_path: Path) -> None:
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


def test_threads_share_one_spool(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool") as spool:
        threads = [
            threading.Thread(target=lambda n=n: [spool.put([f"{n}:{i}".encode()]) for i in range(50)])
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(payloads(spool))) == len(spool) == 400


def test_greenlets_and_another_process_share_one_spool(tmp_path: Path) -> None:
    """While another process holds the file, waiting greenlets let the others run."""
    code = f"""
        from gevent import monkey; monkey.patch_all()
        import gevent, sqlite3, time
        from experiment.store.spool import Spool
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
        from experiment.errors import SpoolFull
        from experiment.store.spool import Spool
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


def test_a_check_writes_and_leaves_everything_as_it_was(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool") as spool:
        spool.put([b"one", b"two"])
        before = (len(spool), spool.bytes, spool.take(9))
        spool.check()
        assert (len(spool), spool.bytes, spool.take(9)) == before
        with sqlite3.connect(spool.path) as other:
            other.execute("CREATE TRIGGER no BEFORE UPDATE ON total BEGIN SELECT RAISE(ABORT, 'no'); END")
        other.close()
        with pytest.raises(PlatformError, match="cannot be used: no"):  # it really wrote
            spool.check()


def test_a_spool_opened_by_its_first_call_lets_a_process_start_where_it_cannot_be_opened(
    tmp_path: Path,
) -> None:
    (tmp_path / "folder").write_text("in the way")
    path = tmp_path / "folder" / "spool"
    with pytest.raises(PlatformError, match="cannot be used"):
        Spool(path)
    with Spool(path, eager=False) as spool:
        for call in (spool.check, spool.__len__, lambda: spool.take(1), lambda: spool.put([b"x"])):
            with pytest.raises(PlatformError, match="cannot be used"):
                call()
        (tmp_path / "folder").unlink()
        spool.check()
        spool.put([b"x"])
        assert len(spool) == 1


def test_a_drained_spool_gives_its_room_back(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool") as spool:
        for _ in range(20):
            spool.put([bytes(100_000)] * 5)
        assert sum(file.stat().st_size for file in tmp_path.glob("spool*")) > 10_000_000
        while items := spool.take(30):
            spool.done([item.row_id for item in items])
        assert (tmp_path / "spool").stat().st_size + (tmp_path / "spool-wal").stat().st_size < 200_000


def test_a_file_that_is_no_spool_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    path.write_bytes(b"something else, certainly not a database" * 100)
    with pytest.raises(Corrupt, match="move it away"):
        Spool(path)
    assert path.read_bytes().startswith(b"something else")


def test_a_path_that_cannot_be_opened_is_a_platform_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PlatformError, match="cannot be used"):
        Spool(tmp_path / "file" / "spool")


def test_the_spool_needs_no_redis() -> None:
    code = "import sys, experiment.store.spool; sys.exit('redis' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
