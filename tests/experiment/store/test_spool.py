"""The durable queue: what is put comes out until it is done, and the cap holds."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from switchpoint.experiment.errors import Corrupt, PlatformError, SpoolFull
from switchpoint.experiment.store.spool import Spool


def payloads(spool: Spool, limit: int = 10_000) -> list[bytes]:
    return [item.payload for item in spool.take(limit)]


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


def test_a_drainer_may_look_behind_a_batch_and_keep_a_part_of_one(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool", max_bytes=20) as spool:
        spool.put([b"one", b"two and more", b"three"])
        one, two, three = spool.take(9)
        assert spool.take(9, after=one.row_id) == [two, three]
        assert spool.take(1, after=one.row_id) == [two]
        assert spool.take(9, after=three.row_id) == []
        spool.cut(two.row_id, b"two")
        assert (payloads(spool), len(spool), spool.bytes) == ([b"one", b"two", b"three"], 3, 11)
        assert [item.attempts for item in spool.take(9)] == [0, 1, 0]
        spool.done([two.row_id])
        spool.cut(two.row_id, b"never again")
        assert (payloads(spool), spool.bytes) == ([b"one", b"three"], 8)


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
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(spool) == 1  # opens again by itself
    spool.close()
    with Spool(path) as again:
        assert payloads(again) == [b"kept"]


def test_the_cap_refuses_the_whole_batch_and_room_returns_when_it_drains(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool", max_bytes=100) as spool:
        spool.put([b"x" * 60])
        with pytest.raises(SpoolFull) as caught:
            spool.put([b"y" * 40, b"z"])
        assert str(caught.value) == (
            f"spool {spool.path} holds 60 bytes and 41 more exceed its cap 100. "
            "Fix: bring Redis back so that it drains, or raise the cap"
        )
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


def test_threads_share_one_spool(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool") as spool:

        def put(thread: int) -> None:
            for i in range(50):
                spool.put([f"{thread}:{i}".encode()])

        threads = [threading.Thread(target=put, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(payloads(spool))) == len(spool) == 400


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
        spool.done([item.row_id for item in spool.take(50)])
        assert (tmp_path / "spool").stat().st_size > 9_000_000  # what waits is not copied for it
        while items := spool.take(30):
            spool.done([item.row_id for item in items])
        assert (tmp_path / "spool").stat().st_size + (tmp_path / "spool-wal").stat().st_size < 200_000


def test_a_file_that_is_no_spool_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    path.write_bytes(b"something else, certainly not a database" * 100)
    with pytest.raises(Corrupt) as caught:
        Spool(path)
    assert str(caught.value) == (f"{path} is damaged or no spool (file is not a database). Fix: move it away")
    assert path.read_bytes().startswith(b"something else")


def test_a_path_that_cannot_be_opened_is_a_platform_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "spool"
    with pytest.raises(PlatformError, match=f"^spool {path} cannot be used: .*{tmp_path / 'file'}'$"):
        Spool(path)


def test_a_spool_that_was_never_opened_is_closed_as_well(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool", eager=False) as spool:
        pass
    spool.close()
    assert not list(tmp_path.iterdir())


def test_the_spool_needs_no_redis() -> None:
    code = "import sys, switchpoint.experiment.store.spool; sys.exit('redis' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
