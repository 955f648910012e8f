"""Users, sessions, links and failed log-ins."""

from __future__ import annotations

import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from switchpoint.experiment.errors import BadInput, Corrupt, NotFound
from switchpoint.experiment.store.accounts import Accounts, User

USER = User(name="anna", role="analyst", password="hash", created_at=1)
HOUR = 3_600_000


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    return Accounts(tmp_path / "console" / "accounts.sqlite")


def session_of(accounts: Accounts, token: str, at: int) -> object:
    return accounts.session(token, at=at, idle_ms=HOUR, life_ms=3 * HOUR)


def test_the_file_is_its_owners_alone_and_holds_no_token(accounts: Accounts, tmp_path: Path) -> None:
    accounts.put_user(USER)
    token = accounts.open_session("anna", "analyst", at=0)
    link = accounts.make_link("anna", "analyst", until=HOUR)
    accounts.close()
    path = tmp_path / "console" / "accounts.sqlite"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    stored = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert token.encode() not in stored
    assert link.encode() not in stored


def test_a_session_ends_by_time_by_id_with_its_user_and_when_the_user_changes(accounts: Accounts) -> None:
    accounts.put_user(USER)
    used = accounts.open_session("anna", "analyst", at=0)
    assert session_of(accounts, used, HOUR) is not None
    assert session_of(accounts, used, 2 * HOUR) is not None  # idle time counts from the last visit
    assert session_of(accounts, used, 3 * HOUR + 1) is None  # its life from the log-in
    assert session_of(accounts, used + "x", 0) is None
    idle = accounts.open_session("anna", "analyst", at=0)
    assert session_of(accounts, idle, HOUR + 1) is None
    by_id, other = (accounts.open_session("anna", "analyst", at=5 * HOUR) for _ in range(2))
    [session] = [one for one in accounts.sessions() if one == session_of(accounts, by_id, 5 * HOUR)]
    accounts.end_session(session.id)
    assert session_of(accounts, by_id, 5 * HOUR) is None
    assert session_of(accounts, other, 5 * HOUR) is not None
    accounts.put_user(replace(USER, role="viewer"))
    assert session_of(accounts, other, 5 * HOUR) is None
    last = accounts.open_session("anna", "viewer", at=5 * HOUR)
    accounts.remove_user("anna")
    assert session_of(accounts, last, 5 * HOUR) is None
    assert accounts.users() == []


def test_a_link_logs_in_once_also_when_two_come_at_once(accounts: Accounts) -> None:
    token = accounts.make_link("anna", "admin", until=10)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: accounts.use_link(token, at=10), range(8)))
    assert sorted(answers, key=str) == [("anna", "admin"), *[None] * 7]
    late = accounts.make_link("anna", "admin", until=10)
    assert accounts.use_link(late, at=11) is None
    assert accounts.use_link(late, at=9) is None  # used up by the attempt


def test_failures_are_counted_by_name_and_by_address_since_an_instant(accounts: Accounts) -> None:
    for at, name, address in [(1, "anna", "a"), (5, "anna", "b"), (6, "ben", "b"), (7, "ben", "c")]:
        accounts.failed(name, address, at=at)
    assert accounts.failures("anna", "b", since=0) == (2, 2)
    assert accounts.failures("anna", "b", since=5) == (1, 2)
    accounts.forget_before(7)
    assert accounts.failures("ben", "b", since=0) == (1, 0)


@pytest.mark.parametrize("name", ["", " anna", "an\nna", "x" * 65])
def test_a_name_that_is_none_is_refused(accounts: Accounts, name: str) -> None:
    with pytest.raises(BadInput, match="is not a name"):
        accounts.put_user(replace(USER, name=name))


def test_removing_nobody_is_an_error_and_ends_no_session(accounts: Accounts) -> None:
    token = accounts.open_session("anna", "admin", at=0)
    with pytest.raises(NotFound, match="unknown user"):
        accounts.remove_user("anna")
    assert session_of(accounts, token, 0) is not None
    assert accounts.end_sessions("anna") == 1


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "accounts.sqlite"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(Corrupt, match="damaged or no accounts"):
        Accounts(path).users()


def test_two_processes_may_share_the_file(accounts: Accounts, tmp_path: Path) -> None:
    accounts.put_user(USER)
    with sqlite3.connect(tmp_path / "console" / "accounts.sqlite") as other:
        other.execute("UPDATE user SET role = 'admin'")
    user = accounts.user("anna")
    assert user is not None
    assert user.role == "admin"
