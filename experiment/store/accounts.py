"""Who may use the console: users, their sessions, one-time links and failed log-ins, in one SQLite file.

Secrets are never stored: a password comes here hashed, and of a session's or a link's token only its SHA-256
is kept, so that a copy of the file opens nothing. Times are arguments, in ms UTC.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from switchpoint.experiment.errors import BadInput, NotFound
from switchpoint.experiment.store.board import console_folder
from switchpoint.experiment.store.database import Database

_SCHEMA = """
CREATE TABLE IF NOT EXISTS user (
    name TEXT PRIMARY KEY, role TEXT NOT NULL, password TEXT NOT NULL, created_at INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS session (
    token TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, csrf TEXT NOT NULL,
    created_at INTEGER NOT NULL, seen_at INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS link (
    token TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, until INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS failure (name TEXT NOT NULL, address TEXT NOT NULL, at INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS failure_at ON failure (at);
"""
_SEEN_MS = 60_000  # the last visit is written once a minute: pages must not wait for a disk
_NAME_LENGTH = 64


def accounts_path(data: Path, project: str) -> Path:
    """Where a project's accounts lie in the data directory."""
    return console_folder(data, project) / "accounts.sqlite"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody with a password; `password` is its hash."""

    name: str
    role: str
    password: str
    created_at: int


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is logged in; `csrf` is the word that every change of theirs must carry, `id` names the
    session to people without opening it."""

    id: str
    name: str
    role: str
    csrf: str
    created_at: int
    seen_at: int

    def is_open(self, *, at: int, idle_ms: int, life_ms: int) -> bool:
        """Whether it still opens anything: it was used within `idle_ms`, and is not `life_ms` old."""
        return at - self.seen_at <= idle_ms and at - self.created_at <= life_ms


class Accounts:
    """The accounts in the SQLite file `path`, opened by the first call; threads and processes may share it.

    Every call may raise PlatformError (the file cannot be used, or the disk is full) and Corrupt.
    """

    def __init__(self, path: Path) -> None:
        """Nothing is read or written yet."""
        self._file = Database(path, _SCHEMA, what="accounts")

    def put_user(self, user: User) -> None:
        """Add somebody or change their role or password; their sessions end: the change holds at once.

        Raises:
            BadInput: a name that is empty, too long or not printable.
        """
        name = user.name
        if not (name.isprintable() and name.strip() == name and 0 < len(name) <= _NAME_LENGTH):
            fix = f"use 1 to {_NAME_LENGTH} printable characters without spaces around them"
            raise BadInput("is not a name", field="name", value=name, fix=fix)

        def change(connection: sqlite3.Connection) -> None:
            connection.execute(_PUT_USER, (name, user.role, user.password, user.created_at))
            connection.execute(_END_ALL, (name,))

        self._file.commit(change)

    def remove_user(self, name: str) -> None:
        """Remove somebody and end their sessions; raises NotFound."""

        def change(connection: sqlite3.Connection) -> None:
            if not connection.execute("DELETE FROM user WHERE name = ?", (name,)).rowcount:
                raise NotFound("unknown user", field="name", value=name, fix="see `switchpoint user list`")
            connection.execute(_END_ALL, (name,))

        self._file.commit(change)

    def user(self, name: str) -> User | None:
        """Somebody by name."""
        return next((user for user in self.users() if user.name == name), None)

    def users(self) -> list[User]:
        """Everybody, by name."""
        rows = self._file.read("SELECT name, role, password, created_at FROM user ORDER BY name")
        return [User(name=row[0], role=row[1], password=row[2], created_at=row[3]) for row in rows]

    def open_session(self, name: str, role: str, *, at: int) -> str:
        """Log somebody in; returns the token, which is told once and never stored."""
        token = secrets.token_urlsafe(32)
        row = (_hashed(token), name, role, secrets.token_urlsafe(32), at, at)
        self._execute("INSERT INTO session VALUES (?, ?, ?, ?, ?, ?)", *row)
        return token

    def session(self, token: str, *, at: int, idle_ms: int, life_ms: int) -> Session | None:
        """Whose session a token opens; None when it ended, was not used for `idle_ms`, is `life_ms` old."""
        rows = self._file.read(f"{_SESSIONS} WHERE token = ?", _hashed(token))
        session = next((Session(*row) for row in rows), None)
        if session is None or not session.is_open(at=at, idle_ms=idle_ms, life_ms=life_ms):
            return None
        if at - session.seen_at > _SEEN_MS:
            self._execute("UPDATE session SET seen_at = ? WHERE token = ?", at, _hashed(token))
        return session

    def sessions(self) -> list[Session]:
        """All sessions that were not ended, the last used first; expired ones among them."""
        return [Session(*row) for row in self._file.read(f"{_SESSIONS} ORDER BY seen_at DESC")]

    def end_session(self, session: str) -> None:
        """End one session by its id; one that is gone is no error."""
        self._execute("DELETE FROM session WHERE substr(token, 1, 16) = ?", session)

    def end_sessions(self, name: str) -> int:
        """End all sessions of somebody; returns how many there were."""
        return self._execute(_END_ALL, name)

    def forget_before(self, at: int) -> None:
        """Drop sessions last used before, links that ended before and failures from before an instant."""
        for query in _FORGET:
            self._execute(query, at)

    def make_link(self, name: str, role: str, *, until: int) -> str:
        """A token that logs somebody in once, until an instant."""
        token = secrets.token_urlsafe(32)
        self._execute("INSERT INTO link VALUES (?, ?, ?, ?)", _hashed(token), name, role, until)
        return token

    def use_link(self, token: str, *, at: int) -> tuple[str, str] | None:
        """Name and role of a one-time link, which is used up by this; None when it is none any more."""

        def use(connection: sqlite3.Connection) -> list[tuple[str, str, int]]:
            # one statement: of two who come at once, one gets the row
            query = "DELETE FROM link WHERE token = ? RETURNING name, role, until"
            return connection.execute(query, (_hashed(token),)).fetchall()

        return next(((name, role) for name, role, until in self._file.commit(use) if until >= at), None)

    def failed(self, name: str, address: str, *, at: int) -> None:
        """Remember a log-in that failed."""
        self._execute("INSERT INTO failure VALUES (?, ?, ?)", name, address, at)

    def failures(self, name: str, address: str, *, since: int) -> tuple[int, int]:
        """How many log-ins failed since an instant: with this name, and from this address."""
        [row] = self._file.read(_FAILURES, name, address, since)
        return row[0], row[1]

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        self._file.close()

    def _execute(self, query: str, *values: object) -> int:
        return self._file.commit(lambda connection: connection.execute(query, values).rowcount)


_PUT_USER = "INSERT OR REPLACE INTO user (name, role, password, created_at) VALUES (?, ?, ?, ?)"
_END_ALL = "DELETE FROM session WHERE name = ?"
_SESSIONS = "SELECT substr(token, 1, 16), name, role, csrf, created_at, seen_at FROM session"
_FAILURES = "SELECT coalesce(sum(name = ?), 0), coalesce(sum(address = ?), 0) FROM failure WHERE at >= ?"
_FORGET = (
    "DELETE FROM session WHERE seen_at < ?",
    "DELETE FROM link WHERE until < ?",
    "DELETE FROM failure WHERE at < ?",
)


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
