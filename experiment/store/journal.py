"""The exported journal: the audit log as a file of its own, from which the records can be rebuilt.

One line of canonical JSON per commit, each with the documents it wrote, hash-chained. A line is synced to
disk before `export` returns; a line that a crash cut short is dropped by the next export, which writes it
again from the records.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from switchpoint.experiment.errors import Corrupt, NotFound, Refused
from switchpoint.experiment.registry.audit import AuditEntry, Head, check_chain, decode_entry, encode_entry
from switchpoint.experiment.registry.records import Put, Records


def journal_path(data: Path, project: str) -> Path:
    """Where a project's journal lies in the data directory."""
    return data / f"journal-{project}.jsonl"


_TAIL_BYTES = 65536


def export(records: Records, path: Path) -> int:
    """Append the entries that the file does not have yet; returns how many. Several processes may export.

    Raises:
        Corrupt: the file's last entry is not in the records (they were lost, replaced or altered), or the
            new entries do not continue its chain. The file is left as it is.
    """
    with _locked(path) as file:
        head, whole = _head(file, path)
        file.truncate(whole)
        file.seek(0, os.SEEK_END)
        if head.seq:
            last = next(records.audit(head.seq - 1), None)
            if last is None or last.hash != head.hash:
                raise Corrupt(
                    f"{path} ends with entry {head.seq}, which the records do not have. "
                    "Fix: restore the journal into an empty store, or move the file away to start a new one"
                )
        entries = list(records.audit(head.seq))
        broken = check_chain(entries, head)
        if broken is not None:
            raise Corrupt(f"audit entry {broken} does not continue the chain; nothing was exported to {path}")
        if entries:
            file.write("".join(encode_entry(entry) + "\n" for entry in entries).encode("ascii"))
            file.flush()
            os.fsync(file.fileno())
        return len(entries)


def restore(path: Path, records: Records, *, prepare: Callable[[], object] = lambda: None) -> int:
    """Rebuild records from a journal by committing its entries again; returns how many were written.

    The store must be empty, or hold the journal's own beginning (a restore that was interrupted). `prepare`
    is called before the first commit: services write to the store as soon as they see its records.

    Raises:
        Corrupt: an entry of the file is altered, missing or cut short.
        NotFound: there is no such file.
        Refused: the store holds something else.
    """
    entries = read_journal(path)
    head = records.head()
    if head.seq and (head.seq > len(entries) or entries[head.seq - 1].hash != head.hash):
        raise Refused(
            f"the store is not empty, and what it holds is not the beginning of {path}",
            field="journal",
            value=str(path),
            fix="restore into an empty store or another project",
        )
    prepare()
    for entry in entries[head.seq :]:
        puts = [
            Put(kind=d.kind, key=d.key, body=dict(d.body), expected_version=d.version - 1)
            for d in entry.changes
        ]
        records.commit(puts, entry.note, revision=entry.seq - 1)
    last = Head(entries[-1].seq, entries[-1].hash) if entries else Head()
    if records.head() != last:
        raise Corrupt(f"restored from {path}, but the store's last entry differs from the journal's")
    return len(entries) - head.seq


def journal_head(path: Path) -> Head:
    """The last whole entry's number and hash; nothing is locked or changed.

    Raises:
        OSError: there is no such file, or it cannot be read.
        Corrupt: its last line is not an audit entry.
    """
    with path.open("rb") as file:
        return _head(file, path)[0]


def read_journal(path: Path) -> list[AuditEntry]:
    """All entries of a journal, verified.

    Raises:
        Corrupt: names the first entry that is altered, missing or cut short.
        NotFound: there is no such file.
    """
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFound(
            f"{path} is not a file", field="journal", value=str(path), fix="give an exported journal"
        ) from error
    if lines and not lines[-1].endswith(b"\n"):
        raise Corrupt(f"{path}: line {len(lines)} is cut short. Fix: delete that line")
    entries = [decode_entry(line) for line in lines]
    broken = check_chain(entries)
    if broken is not None:
        raise Corrupt(f"{path}: entry {broken} was altered, removed or inserted")
    return entries


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """The journal, open for reading and appending, for one exporter at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        yield file


def _head(file: BinaryIO, path: Path) -> tuple[Head, int]:
    """The last whole line's number and hash, and where that line ends."""
    size = file.seek(0, os.SEEK_END)
    length = _TAIL_BYTES
    while True:
        start = max(0, size - length)
        file.seek(start)
        tail = file.read(size - start)
        end = tail.rfind(b"\n")
        begin = tail.rfind(b"\n", 0, max(end, 0))
        if start == 0 or begin >= 0:
            break
        length *= 4
    whole = start + end + 1
    if end < 0:
        return Head(), whole
    try:
        entry = decode_entry(tail[begin + 1 : end])
    except Corrupt as error:
        raise Corrupt(f"{path}: the last line is not an audit entry: {error}") from error
    return Head(entry.seq, entry.hash), whole
