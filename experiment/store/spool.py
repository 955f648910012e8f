"""A durable queue of event batches in one SQLite file, for when Redis or the service is away.

`put` returns after the batch is on disk. A batch leaves the file only by `done`, so a process that dies in
between delivers it again, and event ids make that harmless. Several processes, threads and greenlets may use
one file. A host with an event loop says how to do the work of the file elsewhere (`run`): the disk may take
its time.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from switchpoint.experiment.errors import SpoolFull
from switchpoint.experiment.store.database import WAL_PAGES, Database, Run, commit, disk_full, run_here

DEFAULT_MAX_BYTES = 256 * 1024 * 1024

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
_SHRINK = ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)")


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
        self._file = Database(self.path, _SCHEMA, what="spool", full=SpoolFull, spare=self._reserve, run=run)
        if eager:
            self._file.work(lambda _: None)

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
            commit(connection, insert)

        if items:
            self._file.work(keep)

    def check(self) -> None:
        """Prove that a batch could be kept now: write and sync without changing anything.

        Raises:
            SpoolFull: no room on the disk.
            Corrupt, PlatformError: the file is damaged or cannot be written.
        """

        def prove(connection: sqlite3.Connection) -> None:
            self._keep_reserve()
            if shutil.disk_usage(self.path.parent).free < _RESERVE_BYTES:
                raise self._file.no_room()
            commit(connection, lambda connection: connection.execute(_NO_CHANGE))

        self._file.work(prove)

    def take(self, limit: int, *, after: int = 0) -> list[SpooledItem]:
        """The oldest `limit` batches, of those behind the row `after`.

        They stay in the queue until `done`; two drainers may get the same.
        """
        rows = self._file.read(_OLDEST, after, limit)
        return [SpooledItem(row_id=row[0], payload=row[1], attempts=row[2]) for row in rows]

    def done(self, ids: Sequence[int]) -> None:
        """Forget delivered batches, ignoring ids already forgotten. An emptied file becomes small again."""
        self._each(_DONE, [(row_id,) for row_id in ids])
        if len(self) == 0 and self._file.read(_FREE_PAGES)[0][0] > WAL_PAGES:
            for statement in _SHRINK:
                self._file.read(statement)

    def failed(self, ids: Sequence[int]) -> None:
        """Count one failed delivery of each of these batches."""
        self._each(_FAILED, [(row_id,) for row_id in ids])

    def cut(self, row_id: int, payload: bytes) -> None:
        """Keep only `payload` of a batch whose rest was delivered, and count one failed delivery."""
        self._each(_CUT, [(payload, row_id)])

    def __len__(self) -> int:
        """How many batches wait."""
        return int(self._file.read(_WAITING)[0][0])

    @property
    def bytes(self) -> int:
        """The bytes of payload that wait."""
        return int(self._file.read(_WAITING)[0][1])

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        self._file.close()

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

        def drain(connection: sqlite3.Connection) -> None:
            try:
                commit(connection, change)
            except sqlite3.Error as error:
                if not disk_full(error):
                    raise
                self._reserve.unlink(missing_ok=True)
                commit(connection, change)

        if parameters:
            self._file.work(drain)

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
