"""One SQLite file of our own (mode 0600) that several processes, threads and greenlets read and write.

A commit is on disk when it returns (WAL, synchronous=FULL). A connection never crosses a fork: it is closed
before and opened again by the next call. This module imports nothing that a client library would not want.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from switchpoint.experiment.errors import Corrupt, PlatformError

WAL_PAGES = 250
"""Of the write-ahead log, 1 MiB; then it is copied to the main file."""

_BUSY_SECONDS = 10.0
_WAL_LIMIT_BYTES = 4 * 1024 * 1024
_SETTINGS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA fullfsync = ON",  # macOS: fsync alone stops at the drive's cache
    f"PRAGMA wal_autocheckpoint = {WAL_PAGES}",
    f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}",
)

_T = TypeVar("_T")


class Run(Protocol):
    """Does a piece of blocking work, maybe in another thread, and returns or raises what came of it."""

    def __call__(self, work: Callable[[], _T], /) -> _T:
        """Do it."""
        ...


def run_here(work: Callable[[], _T]) -> _T:
    """In the caller's own thread."""
    return work()


class Database:
    """The SQLite file `path`, opened by the first piece of work that needs it."""

    def __init__(
        self,
        path: Path,
        schema: str,
        *,
        what: str,
        full: type[PlatformError] = PlatformError,
        spare: Path | None = None,
        run: Run = run_here,
    ) -> None:
        """Nothing is opened yet.

        Args:
            path: the file, made with its folder.
            schema: statements that make the tables where they are not there yet.
            what: the file holds, for messages: `spool`.
            full: the error of a disk without room.
            spare: a file that is given up where the disk has no room left to open this one.
            run: does whatever touches the file; called by one thread or greenlet at a time.
        """
        self.path = path
        self._schema, self._what, self._full, self._spare, self._run = schema, what, full, spare, run
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        _OPEN.add(self)

    def work(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Do one piece of work with the open file.

        Raises:
            PlatformError: the file cannot be opened, read or written; `full` where the disk has no room.
            Corrupt: it is damaged, or something else.
        """
        with self._lock, self._faults():
            return self._run(lambda: work(self._connected()))

    def read(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """The rows of a query; raises what `work` raises."""
        return self.work(
            lambda connection: _patiently(lambda: connection.execute(query, parameters).fetchall())
        )

    def commit(self, change: Callable[[sqlite3.Connection], _T]) -> _T:
        """Make a change in one transaction: all of it is on disk when this returns, or nothing was done."""
        return self.work(lambda connection: commit(connection, change))

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        with self._lock:
            self._run(self._disconnect)

    def no_room(self) -> PlatformError:
        """The error of a disk without room."""
        return self._full(f"no room on the disk for {self._what} {self.path}. Fix: free some space")

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                self._connection = _open(self.path, self._schema)
            except sqlite3.OperationalError as error:
                if self._spare is None or not disk_full(error):
                    raise
                self._spare.unlink(missing_ok=True)
                self._connection = _open(self.path, self._schema)
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """SQLite's and the system's errors become the product's."""
        try:
            yield
        except sqlite3.Error as error:
            if disk_full(error):
                raise self.no_room() from error
            if _code(error) & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
                raise Corrupt(
                    f"{self.path} is damaged or no {self._what} ({error}). Fix: move it away"
                ) from error
            raise PlatformError(f"{self._what} {self.path} cannot be used: {error}") from error
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise self.no_room() from error
            raise PlatformError(f"{self._what} {self.path} cannot be used: {error}") from error


def commit(connection: sqlite3.Connection, change: Callable[[sqlite3.Connection], _T]) -> _T:
    """Make a change in one transaction of a connection."""
    _patiently(lambda: connection.execute("BEGIN IMMEDIATE"))
    try:
        answer = change(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return answer


def disk_full(error: sqlite3.Error) -> bool:
    """Whether there is no room; for the shared-memory file SQLite calls it an I/O error of its own."""
    return _code(error) & 0xFF == sqlite3.SQLITE_FULL or _code(error) == sqlite3.SQLITE_IOERR_SHMSIZE


def _open(path: Path, schema: str) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        # two processes that create the file at once are told "locked" without SQLite waiting by itself
        for setting in _SETTINGS:
            _patiently(partial(connection.execute, setting))
        _patiently(lambda: connection.executescript(f"BEGIN IMMEDIATE; {schema} COMMIT;"))
    except BaseException:
        connection.close()
        raise
    return connection


def _code(error: sqlite3.Error) -> int:
    """SQLite's extended code; errors that Python's module raises by itself have none."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)


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


_OPEN: weakref.WeakSet[Database] = weakref.WeakSet()
_paused: list[Database] = []


def _before_fork() -> None:
    for database in list(_OPEN):
        database._lock.acquire()  # noqa: SLF001 - this module's own class
        _paused.append(database)
        database._run(database._disconnect)  # noqa: SLF001


def _after_fork() -> None:
    while _paused:
        _paused.pop()._lock.release()  # noqa: SLF001


def _after_fork_in_child() -> None:
    """Hosts that fork in C (uWSGI) run this hook without the one before: what they inherit is left alone."""
    for database in [] if _paused else list(_OPEN):
        _abandoned.append(database._connection)  # noqa: SLF001 - closing it would touch the parent's file
        database._connection, database._lock = None, threading.RLock()  # noqa: SLF001
    _after_fork()


_abandoned: list[sqlite3.Connection | None] = []
os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
