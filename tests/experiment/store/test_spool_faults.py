"""The durable queue when SQLite, the disk or a fork lets it down; SQLite is real, some of its errors are planted."""

from __future__ import annotations

import errno
import gc
import importlib.util
import os
import shutil
import sqlite3
import sys
import threading
import weakref
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from switchpoint.experiment.errors import Corrupt, PlatformError, SpoolFull
from switchpoint.experiment.store import database
from switchpoint.experiment.store.spool import Spool
from tests.waiting import replace_time

RESERVE = 4 * 1024 * 1024


def failure(code: int, kind: type[sqlite3.Error] = sqlite3.OperationalError) -> sqlite3.Error:
    error = kind("planted")
    error.sqlite_errorcode = code
    return error


class Disk:
    """The connections of one test; `before` sees every statement first and may raise."""

    def __init__(self) -> None:
        self.opened: list[sqlite3.Connection] = []
        self.before: Callable[[sqlite3.Connection, str], object] = lambda connection, statement: None

    def refuse(self, statement: str, code: int, *, while_: Path | None = None) -> None:
        """Fail statements that start so, always or as long as a file takes up the room."""

        def before(_: sqlite3.Connection, told: str) -> None:
            if told.startswith(statement) and (while_ is None or while_.exists()):
                raise failure(code)

        self.before = before


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk, connect = Disk(), sqlite3.connect

    class Watched(sqlite3.Connection):
        def execute(self, statement: str, parameters: Any = ()) -> sqlite3.Cursor:
            disk.before(self, statement)
            return super().execute(statement, parameters)

        def executemany(self, statement: str, parameters: Iterable[Any]) -> sqlite3.Cursor:
            disk.before(self, statement)
            return super().executemany(statement, parameters)

    def opened(*arguments: Any, **options: Any) -> sqlite3.Connection:
        disk.opened.append(connect(*arguments, factory=Watched, **options))
        return disk.opened[-1]

    monkeypatch.setattr(sqlite3, "connect", opened)
    return disk


def no_room(spool: Spool) -> str:
    return f"no room on the disk for spool {spool.path}. Fix: free some space"


def waiting(spool: Spool) -> list[bytes]:
    return [item.payload for item in spool.take(100)]


def test_a_commit_is_synced_and_nobody_but_the_spool_waits_or_begins(tmp_path: Path, disk: Disk) -> None:
    """What a loss of power would need to show: the settings that SQLite says are in force."""
    with Spool(tmp_path / "spool"):
        [connection] = disk.opened
        names = (
            "journal_mode", "synchronous", "fullfsync", "wal_autocheckpoint", "journal_size_limit", "busy_timeout",
        )  # fmt: skip
        found = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]
        assert found == ["wal", 2, 1, 250, 4 * 1024 * 1024, 0]
        assert connection.isolation_level is None


def test_a_file_that_may_not_grow_keeps_what_it_has_and_says_full(tmp_path: Path, disk: Disk) -> None:
    with Spool(tmp_path / "spool") as spool:
        disk.opened[0].execute("PRAGMA max_page_count = 20")
        spool.put([b"first"])
        with pytest.raises(SpoolFull) as caught:
            spool.put([bytes(100_000)])
        assert str(caught.value) == no_room(spool)
        assert (waiting(spool), spool.bytes) == ([b"first"], 5)
        disk.opened[0].execute("PRAGMA max_page_count = 2000")
        spool.put([bytes(100_000)])
        assert spool.bytes == 100_005


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        (sqlite3.SQLITE_CORRUPT, Corrupt, "{} is damaged or no spool (planted). Fix: move it away"),
        (sqlite3.SQLITE_CORRUPT_INDEX, Corrupt, "{} is damaged or no spool (planted). Fix: move it away"),
        (sqlite3.SQLITE_FULL, SpoolFull, "no room on the disk for spool {}. Fix: free some space"),
        (sqlite3.SQLITE_IOERR_SHMSIZE, SpoolFull, "no room on the disk for spool {}. Fix: free some space"),
        (sqlite3.SQLITE_IOERR_WRITE, PlatformError, "spool {} cannot be used: planted"),
        (sqlite3.SQLITE_READONLY, PlatformError, "spool {} cannot be used: planted"),
    ],
)
def test_sqlites_errors_are_told_in_the_products_words(
    tmp_path: Path, disk: Disk, code: int, kind: type[PlatformError], said: str
) -> None:
    with Spool(tmp_path / "spool") as spool:
        disk.refuse("INSERT", code)
        with pytest.raises(PlatformError) as caught:
            spool.put([b"x"])
        assert (type(caught.value), str(caught.value)) == (kind, said.format(spool.path))
        disk.refuse("nothing", code)
        assert waiting(spool) == []
        spool.put([b"y"])
        assert waiting(spool) == [b"y"]


def test_an_error_that_sqlite_itself_does_not_number_is_a_platform_error(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool") as spool:
        with pytest.raises(PlatformError, match=f"^spool {spool.path} cannot be used: .*not supported"):
            spool.put([[1]])  # type: ignore[list-item]
        assert len(spool) == 0


def test_a_transaction_that_sqlite_has_rolled_back_itself_is_not_rolled_back_again(
    tmp_path: Path, disk: Disk
) -> None:
    def before(connection: sqlite3.Connection, statement: str) -> None:
        if statement == "COMMIT" and connection.in_transaction:
            connection.execute("ROLLBACK")
            raise failure(sqlite3.SQLITE_IOERR_WRITE)

    with Spool(tmp_path / "spool") as spool:
        disk.before = before
        with pytest.raises(PlatformError, match="cannot be used: planted"):
            spool.put([b"x"])
        disk.refuse("nothing", 0)
        assert waiting(spool) == []


@pytest.mark.parametrize("statement", ["DELETE", "UPDATE"])
def test_draining_a_full_disk_gives_up_the_reserve(tmp_path: Path, disk: Disk, statement: str) -> None:
    reserve = tmp_path / "spool-reserve"
    with Spool(tmp_path / "spool") as spool:
        spool.put([b"x", b"y"])
        drain = spool.done if statement == "DELETE" else spool.failed
        ids = [item.row_id for item in spool.take(9)]
        disk.refuse(statement, sqlite3.SQLITE_FULL, while_=reserve)
        drain(ids[:1])
        assert not reserve.exists()
        assert [item.attempts for item in spool.take(9)] == ([0] if statement == "DELETE" else [1, 0])
        disk.refuse(statement, sqlite3.SQLITE_FULL)  # full although the reserve is gone
        with pytest.raises(SpoolFull):
            drain(ids[1:])


def test_another_error_than_a_full_disk_leaves_the_reserve_alone(tmp_path: Path) -> None:
    with Spool(tmp_path / "events.sqlite") as spool:
        spool.put([b"one"])
        with sqlite3.connect(spool.path) as other:
            other.execute("DROP TABLE batch")
        with pytest.raises(PlatformError, match="no such table: batch"):
            spool.done([1])
        assert (tmp_path / "events.sqlite-reserve").exists()


def test_opening_on_a_full_disk_gives_up_the_reserve(tmp_path: Path, disk: Disk) -> None:
    reserve = tmp_path / "spool-reserve"
    with Spool(tmp_path / "spool") as spool:
        spool.put([b"x"])
        for code, kept in ((sqlite3.SQLITE_CANTOPEN, True), (sqlite3.SQLITE_IOERR_SHMSIZE, False)):
            spool.close()
            disk.refuse("PRAGMA journal_mode", code, while_=reserve)
            if kept:
                with pytest.raises(PlatformError, match="cannot be used: planted"):
                    spool.take(1)
            else:
                assert waiting(spool) == [b"x"]
            assert reserve.exists() is kept
        spool.close()
        disk.refuse("PRAGMA journal_mode", sqlite3.SQLITE_FULL)  # full although the reserve is gone
        with pytest.raises(SpoolFull):
            spool.take(1)


def test_a_check_wants_room_for_another_reserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Spool(tmp_path / "spool") as spool:
        asked: list[Path] = []

        def usage(path: Path, free: int) -> SimpleNamespace:
            asked.append(path)
            return SimpleNamespace(free=free)

        for free, full in ((RESERVE - 1, True), (RESERVE, False)):
            monkeypatch.setattr(shutil, "disk_usage", partial(usage, free=free))
            if full:
                with pytest.raises(SpoolFull) as caught:
                    spool.check()
                assert str(caught.value) == no_room(spool)
            else:
                spool.check()
        assert asked == [tmp_path, tmp_path]


def test_the_reserve_is_filled_when_short_and_left_alone_when_not(tmp_path: Path) -> None:
    reserve = tmp_path / "spool-reserve"
    with Spool(tmp_path / "spool") as spool:
        spool.put([b"x"])
        assert reserve.read_bytes() == bytes(RESERVE)
        os.utime(reserve, ns=(0, 0))
        spool.put([b"y"])
        assert reserve.stat().st_mtime_ns == 0
        os.truncate(reserve, RESERVE - 1)
        spool.check()
        assert reserve.stat().st_size == RESERVE


@pytest.mark.parametrize("removed", [False, True])
def test_a_reserve_that_the_disk_has_no_room_for_is_not_left_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removed: bool
) -> None:
    """`removed`: by another process, which found no room either."""
    reserve, open_ = tmp_path / "spool-reserve", os.open

    def opened(path: Path, *arguments: Any) -> int:
        descriptor = open_(path, *arguments)
        if path == reserve and removed:
            reserve.unlink()
        return descriptor

    with Spool(tmp_path / "spool") as spool:
        reserve.symlink_to("/dev/full")
        monkeypatch.setattr(os, "open", opened)
        with pytest.raises(SpoolFull) as caught:
            spool.put([b"x"])
        assert str(caught.value) == no_room(spool)
        assert not reserve.is_symlink()
        monkeypatch.undo()
        spool.put([b"y"])
        assert (waiting(spool), reserve.stat().st_size) == ([b"y"], RESERVE)


def test_an_error_of_the_system_is_not_called_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_: Path) -> None:
        raise PermissionError(errno.EACCES, "denied")

    with Spool(tmp_path / "spool") as spool:
        monkeypatch.setattr(shutil, "disk_usage", denied)
        with pytest.raises(PlatformError) as caught:
            spool.check()
        assert not isinstance(caught.value, SpoolFull)
        assert str(caught.value) == f"spool {spool.path} cannot be used: [Errno 13] denied"


class Holder:
    """Another process's transaction, and a clock that only sleeping moves."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch, *, lets_go_after: float) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("BEGIN IMMEDIATE")
        self.now, self.lets_go_after = 0.0, lets_go_after
        replace_time(monkeypatch, database, monotonic=lambda: self.now, sleep=self.slept)

    def slept(self, seconds: float) -> None:
        self.now += seconds
        if self.now >= self.lets_go_after and self.connection.in_transaction:
            self.connection.execute("COMMIT")


def test_a_write_waits_ten_seconds_in_small_naps_while_another_process_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Spool(tmp_path / "spool") as spool:
        spool.put([b"before"])
        with monkeypatch.context() as patch:
            holder = Holder(spool.path, patch, lets_go_after=9.99)
            spool.put([b"x"])
            assert holder.now == pytest.approx(9.99, abs=0.0015)
        assert waiting(spool) == [b"before", b"x"]
        with monkeypatch.context() as patch:
            stubborn = Holder(spool.path, patch, lets_go_after=99)
            with pytest.raises(PlatformError, match="cannot be used: database is locked"):
                spool.put([b"y"])
            assert stubborn.now == pytest.approx(10, abs=0.0015)
        stubborn.connection.close()
        holder.connection.close()
        assert waiting(spool) == [b"before", b"x"]


def test_an_error_that_waiting_does_not_help_is_told_at_once(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Spool(tmp_path / "spool") as spool:
        holder = Holder(tmp_path / "other", monkeypatch, lets_go_after=99)
        for code, naps in ((sqlite3.SQLITE_IOERR_READ, False), (sqlite3.SQLITE_BUSY_SNAPSHOT, True)):
            disk.refuse("SELECT", code)
            with pytest.raises(PlatformError, match="planted"):
                spool.take(1)
            assert (holder.now > 0) is naps
        disk.refuse("nothing", 0)
        holder.connection.close()


Hooks = dict[str, Callable[[], None]]


@pytest.fixture
def forking(monkeypatch: pytest.MonkeyPatch) -> tuple[type[Spool], Hooks]:
    """A fresh copy of the class, and what its files want called at a fork."""
    hooks: Hooks = {}
    with monkeypatch.context() as patch:
        patch.setattr(os, "register_at_fork", hooks.update)
        for name in ("database", "spool"):
            spec = importlib.util.find_spec(f"switchpoint.experiment.store.{name}")
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            patch.setitem(sys.modules, module.__name__, module)
            spec.loader.exec_module(module)
    return module.Spool, hooks


@pytest.mark.parametrize("side", ["after_in_parent", "after_in_child"])
def test_connections_are_closed_before_a_fork_and_both_sides_open_their_own(
    tmp_path: Path, forking: tuple[type[Spool], Hooks], disk: Disk, side: str
) -> None:
    kind, hooks = forking
    with kind(tmp_path / "one") as one, kind(tmp_path / "two", eager=False) as two:
        one.put([b"x"])
        hooks["before"]()
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            disk.opened[0].execute("SELECT 1")
        other = threading.Thread(target=one.put, args=([b"y"],))
        other.start()  # of the parent's: it waits for the fork to be over
        assert len(disk.opened) == 1
        hooks[side]()
        other.join()
        assert waiting(one) == [b"x", b"y"]
        two.put([b"z"])
        assert len(disk.opened) == 3
        hooks["before"]()
        hooks[side]()
        assert waiting(two) == [b"z"]


def test_a_child_forked_without_hooks_leaves_what_it_inherits_alone(
    tmp_path: Path, forking: tuple[type[Spool], Hooks], disk: Disk
) -> None:
    """As uWSGI does it: a thread that is not there in the child holds the lock, for good."""
    kind, hooks = forking
    reached, over = threading.Event(), threading.Event()
    with kind(tmp_path / "spool") as spool:
        inherited = weakref.ref(disk.opened.pop())

        def before(connection: sqlite3.Connection, statement: str) -> None:
            if connection is inherited() and statement.startswith("SELECT"):
                reached.set()
                over.wait()

        disk.before = before
        thread = threading.Thread(target=spool.take, args=(1,), daemon=True)
        thread.start()
        reached.wait()
        try:
            hooks["after_in_child"]()
            spool.put([b"child"])
            assert waiting(spool) == [b"child"]
            assert len(disk.opened) == 1
        finally:
            over.set()
        thread.join()
        disk.before = lambda connection, statement: None
        del before
        gc.collect()
        kept = inherited()
        assert kept is not None
        assert kept.execute("SELECT batches FROM total").fetchone() == (1,)  # nobody closed it
