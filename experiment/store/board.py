"""The board: what the worker found out, for the pages of the console, and reports kept for ever.

One SQLite file that several processes read and write. A document is replaced by the next one of its kind and
key; a report stays at the address that its content gives it. Bodies are compressed JSON.
"""

from __future__ import annotations

import json
import re
import sqlite3
import zlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from switchpoint.experiment.errors import BadInput, Corrupt, NotFound
from switchpoint.experiment.language.document import digest_of
from switchpoint.experiment.store.database import Database

SUMMARY, PAGE, REPORT = "summary", "page", "report"
"""Kinds of documents with an experiment's key: for the home page, for its own page, and all numbers."""
MODELS, ALL = "models", "all"
"""Kind and key of the document of all models."""
WORKER, HEARTBEAT = "worker", "heartbeat"
"""Kind and key of what the worker says of itself."""

ReportKind = Literal["day", "decision", "file"]
"""What a report was kept for: an exposure day that ended, a decision, or a file that somebody brought."""

# the counter is kept by the file itself: nobody can write and forget to count
_SCHEMA = """
CREATE TABLE IF NOT EXISTS document (
    kind TEXT NOT NULL, key TEXT NOT NULL, at INTEGER NOT NULL, body BLOB NOT NULL, UNIQUE (kind, key)
);
CREATE TABLE IF NOT EXISTS part (digest TEXT NOT NULL UNIQUE, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS content (digest TEXT NOT NULL UNIQUE, parts BLOB NOT NULL, document BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS report (
    experiment TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, at INTEGER NOT NULL,
    digest TEXT NOT NULL, UNIQUE (experiment, kind, name)
);
CREATE TABLE IF NOT EXISTS counter (changed INTEGER NOT NULL);
INSERT INTO counter SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM counter);
CREATE TRIGGER IF NOT EXISTS document_added AFTER INSERT ON document BEGIN
    UPDATE counter SET changed = changed + 1;
END;
CREATE TRIGGER IF NOT EXISTS document_changed AFTER UPDATE OF body ON document WHEN OLD.body <> NEW.body BEGIN
    UPDATE counter SET changed = changed + 1;
END;
CREATE TRIGGER IF NOT EXISTS document_removed AFTER DELETE ON document BEGIN
    UPDATE counter SET changed = changed + 1;
END;
CREATE TRIGGER IF NOT EXISTS report_added AFTER INSERT ON report BEGIN
    UPDATE counter SET changed = changed + 1;
END;
CREATE TRIGGER IF NOT EXISTS report_changed AFTER UPDATE OF digest ON report
WHEN OLD.digest <> NEW.digest BEGIN
    UPDATE counter SET changed = changed + 1;
END;
"""
_PUT = """
INSERT INTO document (kind, key, at, body) VALUES (?, ?, ?, ?)
ON CONFLICT (kind, key) DO UPDATE SET at = excluded.at, body = excluded.body
"""
_GET = "SELECT kind, key, at, body FROM document WHERE kind = ? AND key = ?"
_ALL = "SELECT kind, key, at, body FROM document WHERE kind = ? ORDER BY key"
_KEYS = "SELECT key FROM document WHERE kind = ?"
_REMOVE = "DELETE FROM document WHERE kind = ? AND key = ?"
_CONFIRM = "UPDATE document SET at = ? WHERE kind = ? AND key = ? AND at < ?"
_CHANGED = "SELECT changed FROM counter"
_KEEP_PART = "INSERT OR IGNORE INTO part (digest, body) VALUES (?, ?)"
_KEEP_CONTENT = "INSERT OR IGNORE INTO content (digest, parts, document) VALUES (?, ?, ?)"
_KEEP_REPORT = """
INSERT INTO report (experiment, kind, name, at, digest) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (experiment, kind, name) DO UPDATE SET at = excluded.at, digest = excluded.digest
"""
_REPORTS = "SELECT digest, kind, name, at FROM report WHERE experiment = ? ORDER BY at, kind, name"
_CONTENT = "SELECT parts, document FROM content WHERE digest = ?"
_PART = "SELECT body FROM part WHERE digest = ?"

# scripts and styles are the same in every report, and most of its size: each is kept once
_PARTS = re.compile(r"(?=<(?:script|style)\b)|(?<=</script>)|(?<=</style>)")


def console_folder(data: Path, project: str) -> Path:
    """Where a project's console and its worker keep their files."""
    return data / "console" / project


def board_path(data: Path, project: str) -> Path:
    """Where a project's board lies in the data directory."""
    return console_folder(data, project) / "board.sqlite"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A document: `body` (a JSON value) under (`kind`, `key`), as it was at the instant `at` (ms UTC)."""

    kind: str
    key: str
    at: int
    body: Any


class KeptReport(NamedTuple):
    """The address of a report of one experiment, what it was kept for, and its instant (ms UTC)."""

    digest: str
    kind: ReportKind
    name: str
    at: int


class Board:
    """The board in the SQLite file `path`, opened by the first call.

    Every call may raise PlatformError (the file cannot be used, or the disk is full: nothing was written) and
    Corrupt (it is damaged).
    """

    def __init__(self, path: Path) -> None:
        """Nothing is read or written yet."""
        self.path = path
        self._file = Database(path, _SCHEMA, what="board")

    def put(self, kind: str, key: str, body: Any, *, at: int) -> None:
        """Write one document over the one that is there; raises BadInput for what is no JSON value."""
        self.put_many([Kept(kind=kind, key=key, at=at, body=body)])

    def put_many(self, documents: Iterable[Kept]) -> None:
        """Write all documents or none, in one transaction; raises BadInput for what is no JSON value."""
        rows = [(kept.kind, kept.key, kept.at, _packed(_text(kept.body))) for kept in documents]
        self._file.commit(lambda connection: connection.executemany(_PUT, rows))

    def get(self, kind: str, key: str) -> Kept | None:
        """One document, None where there is none."""
        return next(iter(self._documents(_GET, kind, key)), None)

    def all(self, kind: str) -> list[Kept]:
        """All documents of a kind, by key."""
        return self._documents(_ALL, kind)

    def keep_only(self, kind: str, keys: Collection[str]) -> None:
        """Remove the documents of a kind that are under none of these keys."""

        def remove(connection: sqlite3.Connection) -> None:
            gone = {key for (key,) in connection.execute(_KEYS, (kind,))}.difference(keys)
            connection.executemany(_REMOVE, [(kind, key) for key in gone])

        self._file.commit(remove)

    def confirm(self, documents: Iterable[tuple[str, str]], *, at: int) -> None:
        """Say that documents, by kind and key, hold at the instant `at` too; changes nothing else."""
        rows = [(at, kind, key, at) for kind, key in documents]
        if rows:
            self._file.commit(lambda connection: connection.executemany(_CONFIRM, rows))

    def changed(self) -> int:
        """How often something changed: a document or a report is new, different or gone.

        A document written as it was (but for `at`) does not count.
        """
        return int(self._file.read(_CHANGED)[0][0])

    def keep_report(
        self, experiment: str, kind: ReportKind, name: str, *, at: int, html: str, document: dict[str, Any]
    ) -> str:
        """Keep a report for ever; returns its digest, by which `report` finds it.

        Args:
            experiment: its key; of a file something that is none.
            kind: what it is kept for.
            name: the ISO day, the decision's number, or the instant. A later report under the same
                name takes its place in `reports`; the earlier one stays at its address.
            at: the instant of the look (ms UTC).
            html: the report as one page.
            document: the report as JSON.

        Raises:
            BadInput: the document is no JSON value.
        """
        text = _text(document)
        digest = _digest(html, text)
        parts = [(digest_of(part), _packed(part)) for part in _PARTS.split(html)]
        content = (digest, _packed(_text([name for name, _ in parts])), _packed(text))

        def keep(connection: sqlite3.Connection) -> None:
            connection.executemany(_KEEP_PART, parts)
            connection.execute(_KEEP_CONTENT, content)
            connection.execute(_KEEP_REPORT, (experiment, kind, name, at, digest))

        self._file.commit(keep)
        return digest

    def reports(self, experiment: str) -> list[KeptReport]:
        """The reports kept of an experiment, oldest first; of each day and decision the last one."""
        return [KeptReport(*row) for row in self._file.read(_REPORTS, experiment)]

    def report(self, digest: str) -> tuple[str, dict[str, Any]]:
        """A report as one page and as JSON, as it was kept.

        Raises:
            NotFound: none was kept under this digest.
            Corrupt: what is kept is not what the digest says.
        """
        rows = self._file.read(_CONTENT, digest)
        if not rows:
            raise NotFound(
                "no such report", field="report", value=digest, fix="choose one of an experiment's reports"
            )
        what = f"report {digest}"
        parts, text = (self._unpacked(blob, what) for blob in rows[0])
        bodies = [blob for part in json.loads(parts) for (blob,) in self._file.read(_PART, part)]
        html = "".join(self._unpacked(blob, what) for blob in bodies)
        if _digest(html, text) != digest:
            raise self._damaged(what)
        return html, json.loads(text)

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        self._file.close()

    def _documents(self, query: str, *parameters: str) -> list[Kept]:
        return [
            Kept(kind=kind, key=key, at=at, body=json.loads(self._unpacked(body, f"{kind} {key}")))
            for kind, key, at, body in self._file.read(query, *parameters)
        ]

    def _unpacked(self, blob: bytes, what: str) -> str:
        try:
            return zlib.decompress(blob).decode()  # what was damaged later fails its checksum
        except (zlib.error, ValueError) as error:
            raise self._damaged(what) from error

    def _damaged(self, what: str) -> Corrupt:
        return Corrupt(
            f"{what} is damaged in {self.path}. Fix: put a copy of the file in its place, or move it away: "
            "the worker fills a new one, without the reports of earlier days"
        )


def _text(body: object) -> str:
    """JSON in the order of its keys, which pages may show."""
    try:
        return json.dumps(body, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadInput(f"not a JSON value: {error}", fix="use finite numbers, text and lists") from error


def _packed(text: str) -> bytes:
    return zlib.compress(text.encode())


def _digest(html: str, document: str) -> str:
    return digest_of([html, document])
