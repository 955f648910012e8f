"""A durable queue of event batches in one SQLite file, for when Redis or the service is away.

`put` returns after the batch is on disk (WAL, synchronous=FULL). A batch leaves the file only by `done`, so
a process that dies in between delivers it again, and event ids make that harmless. Several processes,
threads and greenlets may use one file; this module imports nothing that a client library would not want.
A host with an event loop says how to do the work of the file elsewhere (`run`): the disk may take its time.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from switchpoint.experiment.errors import Corrupt, PlatformError, SpoolFull

DEFAULT_MAX_BYTES = 256 * 1024 * 1024

_BUSY_SECONDS = 10.0
_WAL_PAGES = 250  # 1 MiB of write-ahead log, then it is copied to the main file
_WAL_LIMIT_BYTES = 4 * 1024 * 1024
# Deleting needs room too: without a reserve, a spool that filled the disk could never drain again.
_RESERVE_BYTES = 4 * 1024 * 1024

# AUTOINCREMENT: a row id must never come back, or a slow drainer's `done` would delete somebody's new batch.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS batch (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    payload BLOB NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS total (batches INTEGER NOT NULL, bytes INTEGER NOT NULL);
INSERT INTO total SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM total);
CREATE TRIGGER IF NOT EXISTS batch_added AFTER INSERT ON batch BEGIN
    UPDATE total SET batches = batches + 1, bytes = bytes + length(NEW.payload);
END;
CREATE TRIGGER IF NOT EXISTS batch_removed AFTER DELETE ON batch BEGIN
    UPDATE total SET batches = batches - 1, bytes = bytes - length(OLD.payload);
END;
CREATE TRIGGER IF NOT EXISTS batch_cut AFTER UPDATE OF payload ON batch BEGIN
    UPDATE total SET bytes = bytes - length(OLD.payload) + length(NEW.payload);
END;
"""
_WAITING = "SELECT batches, bytes FROM total"
_PUT = "INSERT INTO batch (payload) VALUES (?)"
_OLDEST = "SELECT id, payload, attempts FROM batch WHERE id > ? ORDER BY id LIMIT ?"
_DONE = "DELETE FROM batch WHERE id = ?"
_CUT = "UPDATE batch SET payload = ?, attempts = attempts + 1 WHERE id = ?"
_FAILED = "UPDATE batch SET attempts = attempts + 1 WHERE id = ?"
_NO_CHANGE = "UPDATE total SET batches = batches"
_FREE_PAGES = "PRAGMA freelist_count"
_SETTINGS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA fullfsync = ON",  # macOS: fsync alone stops at the drive's cache
    f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}",
    f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}",
)
_SHRINK = ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)")

_T = TypeVar("_T")


class Run(Protocol):
    """Does a piece of blocking work, maybe in another thread, and returns or raises what came of it."""

    def __call__(self, work: Callable[[], _T], /) -> _T:
        """Do it."""
        ...


def run_here(work: Callable[[], _T]) -> _T:
    """In the caller's own thread."""
    return work()


@dataclass(frozen=True, slots=True, kw_only=True)
class SpooledItem:
    """One batch in the queue; `attempts` counts the deliveries that failed."""

    row_id: int
    payload: bytes
    attempts: int


class Spool:
    """A queue in the SQLite file `path`, holding at most `max_bytes` of payload over all processes."""

    def __init__(
        self, path: Path | str, max_bytes: int = DEFAULT_MAX_BYTES, *, eager: bool = True, run: Run = run_here
    ) -> None:
        """Open or create the file (mode 0600); not `eager`, the first call does, and may raise the same.

        Args:
            path: the file, made with its folder.
            max_bytes: of payload.
            eager: open the file now.
            run: does whatever touches the file; called by one thread or greenlet at a time.

        Raises:
            SpoolFull: no room on the disk to create it.
            Corrupt: the file is not a spool.
            PlatformError: it cannot be opened.
        """
        self.path = Path(path).absolute()
        self.max_bytes = max_bytes
        self._reserve = self.path.with_name(f"{self.path.name}-reserve")
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._run = run
        if eager:
            with self._lock, self._faults():
                self._run(self._connected)
        _OPEN.add(self)

    def put(self, items: Sequence[bytes]) -> None:
        """Append batches in one commit; all are on disk when this returns, or none.

        Raises:
            SpoolFull: beyond `max_bytes` or the disk; nothing was kept.
        """
        size = sum(map(len, items))

        def insert(connection: sqlite3.Connection) -> None:
            used = connection.execute(_WAITING).fetchone()[1]
            if used + size > self.max_bytes:
                raise SpoolFull(
                    f"spool {self.path} holds {used} bytes and {size} more exceed its cap {self.max_bytes}. "
                    "Fix: bring Redis back so that it drains, or raise the cap"
                )
            connection.executemany(_PUT, [(item,) for item in items])

        def keep(connection: sqlite3.Connection) -> None:
            self._keep_reserve()
            _commit(connection, insert)

        if items:
            self._with_file(keep)

    def check(self) -> None:
        """Prove that a batch could be kept now: write and sync without changing anything.

        Raises:
            SpoolFull: no room on the disk.
            Corrupt, PlatformError: the file is damaged or cannot be written.
        """

        def prove(connection: sqlite3.Connection) -> None:
            self._keep_reserve()
            if shutil.disk_usage(self.path.parent).free < _RESERVE_BYTES:
                raise self._no_room()
            _commit(connection, lambda connection: connection.execute(_NO_CHANGE))

        self._with_file(prove)

    def take(self, limit: int, *, after: int = 0) -> list[SpooledItem]:
        """The oldest `limit` batches, of those behind the row `after`.

        They stay in the queue until `done`; two drainers may get the same.
        """
        rows = self._read(_OLDEST, after, limit)
        return [SpooledItem(row_id=row[0], payload=row[1], attempts=row[2]) for row in rows]

    def done(self, ids: Sequence[int]) -> None:
        """Forget delivered batches, ignoring ids already forgotten. An emptied file becomes small again."""
        self._each(_DONE, [(row_id,) for row_id in ids])
        if len(self) == 0 and self._read(_FREE_PAGES)[0][0] > _WAL_PAGES:
            for statement in _SHRINK:
                self._read(statement)

    def failed(self, ids: Sequence[int]) -> None:
        """Count one failed delivery of each of these batches."""
        self._each(_FAILED, [(row_id,) for row_id in ids])

    def cut(self, row_id: int, payload: bytes) -> None:
        """Keep only `payload` of a batch whose rest was delivered, and count one failed delivery."""
        self._each(_CUT, [(payload, row_id)])

    def __len__(self) -> int:
        """How many batches wait."""
        return int(self._read(_WAITING)[0][0])

    @property
    def bytes(self) -> int:
        """The bytes of payload that wait."""
        return int(self._read(_WAITING)[0][1])

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        with self._lock:
            self._run(self._disconnect)

    def __enter__(self) -> Self:
        """The spool itself, closed on exit."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _each(self, statement: str, parameters: Sequence[tuple[object, ...]]) -> None:
        def change(connection: sqlite3.Connection) -> None:
            connection.executemany(statement, parameters)

        def commit(connection: sqlite3.Connection) -> None:
            try:
                _commit(connection, change)
            except sqlite3.Error as error:
                if not _disk_full(error):
                    raise
                self._reserve.unlink(missing_ok=True)
                _commit(connection, change)

        if parameters:
            self._with_file(commit)

    def _read(self, query: str, *parameters: int) -> list[tuple[Any, ...]]:
        return self._with_file(
            lambda connection: _patiently(lambda: connection.execute(query, parameters).fetchall())
        )

    def _with_file(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Do one piece of work with the open file; SQLite's errors become the product's."""
        with self._lock, self._faults():
            return self._run(lambda: work(self._connected()))

    def _keep_reserve(self) -> None:
        """Fill the reserve file where it is short; fails when the disk has no room for it."""
        try:
            if self._reserve.stat().st_size >= _RESERVE_BYTES:
                return
        except FileNotFoundError:
            pass
        # two processes may do this at once: both write the same zeros
        descriptor = os.open(self._reserve, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(bytes(_RESERVE_BYTES))
        except OSError:
            self._reserve.unlink(missing_ok=True)
            raise

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                self._connection = _open(self.path)
            except sqlite3.OperationalError as error:
                if not _disk_full(error):
                    raise
                self._reserve.unlink(missing_ok=True)
                self._connection = _open(self.path)
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _no_room(self) -> SpoolFull:
        return SpoolFull(f"no room on the disk for spool {self.path}. Fix: free some space")

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Translate SQLite's errors."""
        try:
            yield
        except sqlite3.Error as error:
            if _disk_full(error):
                raise self._no_room() from error
            if _code(error) & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
                raise Corrupt(f"{self.path} is damaged or no spool ({error}). Fix: move it away") from error
            raise PlatformError(f"spool {self.path} cannot be used: {error}") from error
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise self._no_room() from error
            raise PlatformError(f"spool {self.path} cannot be used: {error}") from error


def _open(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        # two processes that create the file at once are told "locked" without SQLite waiting by itself
        for setting in _SETTINGS:
            _patiently(partial(connection.execute, setting))
        _patiently(lambda: connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;"))
    except BaseException:
        connection.close()
        raise
    return connection


def _commit(connection: sqlite3.Connection, change: Callable[[sqlite3.Connection], object]) -> None:
    _patiently(lambda: connection.execute("BEGIN IMMEDIATE"))
    try:
        change(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _code(error: sqlite3.Error) -> int:
    """SQLite's extended code; errors that Python's module raises by itself have none."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)


def _disk_full(error: sqlite3.Error) -> bool:
    """No room; for the shared-memory file SQLite calls it an I/O error of its own."""
    return _code(error) & 0xFF == sqlite3.SQLITE_FULL or _code(error) == sqlite3.SQLITE_IOERR_SHMSIZE


def _patiently(call: Callable[[], _T]) -> _T:
    """Repeat while another process holds the file. The sleep is Python's, so that greenlets go on."""
    give_up = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            return call()
        except sqlite3.OperationalError as error:
            busy = _code(error) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
            if not busy or time.monotonic() > give_up:
                raise
        time.sleep(0.001)


# SQLite connections must not cross a fork: they are closed before it and opened again at the next call.
_OPEN: weakref.WeakSet[Spool] = weakref.WeakSet()
_paused: list[Spool] = []


def _before_fork() -> None:
    for spool in list(_OPEN):
        spool._lock.acquire()  # noqa: SLF001 - this module's own class
        _paused.append(spool)
        spool._run(spool._disconnect)  # noqa: SLF001


def _after_fork() -> None:
    while _paused:
        _paused.pop()._lock.release()  # noqa: SLF001


def _after_fork_in_child() -> None:
    """Hosts that fork in C (uWSGI) run this hook without the one before: what they inherit is left alone."""
    for spool in [] if _paused else list(_OPEN):
        _abandoned.append(spool._connection)  # noqa: SLF001 - closing it would touch the parent's file
        spool._connection, spool._lock = None, threading.RLock()  # noqa: SLF001
    _after_fork()


_abandoned: list[sqlite3.Connection | None] = []
os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
