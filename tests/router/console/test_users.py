"""Users and sessions: what an admin may do to them, what it does at once, and that the audit log has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from switchpoint.router.console.access import IDLE_MS, Gate, Role
from switchpoint.router.console.project import Project as Behind
from tests.router.conftest import Project
from tests.router.console.conftest import PASSWORD, Browser, Clock

LogIn = Callable[[Role], Browser]
EVIL = "<script>alert(1)</script>"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The page and the gate have one clock."""
    made = Clock()
    monkeypatch.setattr("switchpoint.router.console.project.Project.wall_clock", staticmethod(made))
    return made


@pytest.fixture
def admin(log_in: LogIn) -> Browser:
    return log_in(Role.ADMIN)


def listed(admin: Browser) -> dict[str, Any]:
    answer = admin.json("/users")
    assert isinstance(answer, dict)
    return answer


def audited(behind: Behind) -> list[tuple[str, str, str]]:
    """The entries about users: who, what, whom."""
    entries = list(behind.records.audit())
    return [(e.actor, e.action, e.subject) for e in entries if "user" in e.action or "session" in e.action]


def test_a_user_is_added_changed_and_removed_and_the_audit_log_has_it(
    admin: Browser, gate: Gate, behind: Behind
) -> None:
    body = {"name": "anna", "role": "viewer", "password": PASSWORD}
    assert admin.call("/users", body) == {"name": "anna", "role": "viewer"}
    before = gate.accounts.user("anna")
    page = admin.send("/api/v1/users", {"name": "anna", "role": "analyst", "password": ""})
    assert "Done: change user anna (analyst)" in page
    after = gate.accounts.user("anna")
    assert before is not None
    assert after is not None
    assert (after.role, after.password, after.created_at) == ("analyst", before.password, before.created_at)
    admin.call("/users", body | {"password": "another long password"})
    changed = gate.accounts.user("anna")
    assert changed is not None
    assert changed.password != before.password
    admin.call("/users/remove", {"name": "anna"})
    assert gate.accounts.user("anna") is None
    assert audited(behind) == [
        ("admin", "add user", "anna (viewer)"),
        ("admin", "change user", "anna (analyst)"),
        ("admin", "change user", "anna (viewer)"),
        ("admin", "remove user", "anna"),
    ]
    assert PASSWORD not in (behind.data / "journal-default.jsonl").read_text()


def test_who_is_changed_or_ended_is_out_at_once(admin: Browser, log_in: LogIn, behind: Behind) -> None:
    named = {"name": "viewer"}
    for path, body in (
        ("/users/log-out", named),
        ("/users", {**named, "role": "viewer"}),
        ("/users/remove", named),
    ):
        viewer = log_in(Role.VIEWER)
        viewer.json("/models")
        admin.call(path, body)
        viewer.json("/models", 401)
    assert audited(behind)[0] == ("admin", "end sessions", "viewer")


def test_one_session_is_ended_and_the_others_go_on(admin: Browser, log_in: LogIn, behind: Behind) -> None:
    viewer, other = log_in(Role.VIEWER), log_in(Role.OPERATOR)
    sessions = listed(admin)["sessions"]
    assert {one["name"] for one in sessions} == {"admin", "viewer", "operator"}
    assert all(one.keys() == {"id", "name", "role", "created_at", "seen_at"} for one in sessions)
    [wanted] = [one["id"] for one in sessions if one["name"] == "viewer"]
    page = admin.send("/api/v1/sessions/end", {"session": wanted})
    assert "Done: end session viewer" in page
    viewer.json("/models", 401)
    other.json("/models")
    assert audited(behind) == [("admin", "end session", f"viewer ({wanted[:6]})")]
    admin.call("/sessions/end", {"session": wanted}, 404)


def test_who_ends_the_own_session_is_told_before_and_logged_out(admin: Browser) -> None:
    page = admin.get("/users")
    assert "This is your own session: you are logged out." in page
    [own] = listed(admin)["sessions"]
    answer = admin.client.post("/api/v1/sessions/end", data={"csrf": admin.csrf, "session": own["id"]})
    assert answer.status_code == 303
    assert admin.client.get("/users").headers["Location"] == "/login"


def test_expired_sessions_are_not_listed(log_in: LogIn, clock: Clock) -> None:
    log_in(Role.VIEWER)
    clock.now += IDLE_MS + 1
    assert [one["name"] for one in listed(log_in(Role.ADMIN))["sessions"]] == ["admin"]


@pytest.mark.parametrize(
    ("path", "body", "field", "status"),
    [
        ("/users", {"name": "", "role": "viewer", "password": PASSWORD}, "name", 400),
        ("/users", {"name": "a\nb", "role": "viewer", "password": PASSWORD}, "name", 400),
        ("/users", {"name": "n" * 65, "role": "viewer", "password": PASSWORD}, "name", 400),
        ("/users", {"name": "anna", "role": "boss", "password": PASSWORD}, "role", 400),
        ("/users", {"name": "anna", "role": "viewer", "password": "short"}, "password", 400),
        ("/users", {"name": "anna", "role": "viewer"}, "password", 400),
        ("/users/remove", {"name": "nobody"}, "name", 404),
        ("/sessions/end", {"session": "nothing"}, "session", 404),
    ],
)
def test_bad_input_names_field_and_fix_and_changes_nothing(
    admin: Browser, behind: Behind, path: str, body: dict[str, object], field: str, status: int
) -> None:
    answer = admin.call(path, body, status)
    assert isinstance(answer, dict)
    [error] = answer["errors"]
    assert error["field"] == field
    assert error["fix"]
    assert [user["name"] for user in listed(admin)["users"]] == ["admin"]
    assert audited(behind) == []


def test_names_are_shown_and_never_run(admin: Browser) -> None:
    page = admin.send("/api/v1/users", {"name": EVIL, "role": "viewer", "password": PASSWORD})
    assert EVIL not in page
    assert page.count("&lt;script&gt;") >= 4


def test_nothing_is_changed_that_cannot_be_audited(admin: Browser, gate: Gate, project: Project) -> None:
    project.server.stop()
    for path, body in (
        ("/users", {"name": "anna", "role": "viewer", "password": PASSWORD}),
        ("/users/remove", {"name": "admin"}),
        ("/users/log-out", {"name": "admin"}),
    ):
        admin.call(path, body, 503)
    assert [user.name for user in gate.accounts.users()] == ["admin"]
    assert "admin" in admin.get("/users")


def test_only_admins_have_the_page_in_their_menu(log_in: LogIn) -> None:
    assert 'href="/users"' in log_in(Role.ADMIN).get("/")
    assert 'href="/users"' not in log_in(Role.OPERATOR).get("/")
