"""Users of a shared console and their sessions: an admin and `switchpoint user` change them alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from switchpoint.experiment.errors import NotFound
from switchpoint.experiment.registry.audit import Note
from switchpoint.experiment.registry.records import Records
from switchpoint.experiment.store.accounts import Accounts, User
from switchpoint.router.console.access import IDLE_MS, LIFE_MS, Role, known_role, new_user
from switchpoint.router.console.operation import Call, Field, Form, Object, Operation
from switchpoint.router.console.project import Project


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """The users of one console, changed by `actor` at the instant `at` (ms).

    While the store is away nothing is changed, as it could not be audited: StoreUnavailable.
    """

    accounts: Accounts
    records: Records
    actor: str
    at: int

    def put(self, name: str, role: str, password: str = "") -> User:
        """Add somebody or change their role or password, an empty one of a known user stays; sessions end.

        Raises:
            BadInput: no name, an unknown role, or a password that is too short.
        """
        known = self.accounts.user(name)
        if known is not None and not password:
            made = replace(known, role=known_role(role))
        else:
            made = new_user(name, role, password, at=self.at if known is None else known.created_at)
        self._require_audit()
        self.accounts.put_user(made)
        self._audit("add user" if known is None else "change user", f"{name} ({made.role})")
        return made

    def remove(self, name: str) -> None:
        """Remove somebody and end their sessions; raises NotFound."""
        self._require_audit()
        self.accounts.remove_user(name)
        self._audit("remove user", name)

    def end_sessions(self, name: str) -> int:
        """End all sessions of somebody at once; how many there were."""
        self._require_audit()
        ended = self.accounts.end_sessions(name)
        self._audit("end sessions", name)
        return ended

    def end_session(self, session: str) -> None:
        """End one session; raises NotFound."""
        name = next((one.name for one in self.accounts.sessions() if one.id == session), None)
        if name is None:
            raise NotFound("no such session", field="session", value=session, fix="see /users")
        self._require_audit()
        self.accounts.end_session(session)
        self._audit("end session", f"{name} ({session[:6]})")

    def _require_audit(self) -> None:
        self.records.head()

    def _audit(self, action: str, subject: str) -> None:
        self.records.commit([], Note(at=self.at, actor=self.actor, action=action, subject=subject))


def listed(project: Project) -> Object:
    """Everybody with their role, and who is logged in."""
    at, accounts = project.wall_clock(), project.accounts
    open_now = [one for one in accounts.sessions() if one.is_open(at=at, idle_ms=IDLE_MS, life_ms=LIFE_MS)]
    names = [one.name for one in open_now]
    return {
        "users": [
            {
                "name": user.name,
                "role": user.role,
                "created_at": user.created_at,
                "sessions": names.count(user.name),
            }
            for user in accounts.users()
        ],
        "sessions": [
            {
                "id": one.id,
                "name": one.name,
                "role": one.role,
                "created_at": one.created_at,
                "seen_at": one.seen_at,
            }
            for one in open_now
        ],
    }


def page(project: Project, _path: Mapping[str, str], query: Mapping[str, str]) -> dict[str, Any]:
    """Who may use the console, who does now, and the forms that change it."""
    return {**listed(project), "roles": list(Role), "done": project.entry(query.get("done"))}


def _put(call: Call) -> Object:
    made = _users(call).put(call.text("name"), call.text("role"), str(call.given.get("password", "")))
    return {"name": made.name, "role": made.role}


def _remove(call: Call) -> Object:
    _users(call).remove(call.text("name"))
    return {"removed": call.text("name")}


def _end_sessions(call: Call) -> Object:
    return {"ended": _users(call).end_sessions(call.text("name"))}


def _end_session(call: Call) -> Object:
    _users(call).end_session(call.text("session"))
    return {"ended": 1}


def _users(call: Call) -> Users:
    project = call.project
    return Users(
        accounts=project.accounts, records=project.records, actor=call.actor, at=project.wall_clock()
    )


_NAME = Field("name", Form.TEXT, "The user's name.", required=True)


def _operation(name: str, path: str, says: str, run: Any, *fields: Field, method: str = "POST") -> Operation:
    return Operation(
        name=name, method=method, path=path, role=Role.ADMIN, says=says, run=run, fields=fields, back="/users"
    )


OPERATIONS = (
    _operation(
        "users",
        "/users",
        "Users with their roles, and who is logged in.",
        lambda call: listed(call.project),
        method="GET",
    ),
    _operation(
        "put_user",
        "/users",
        "Add a user, or change role or password; their sessions end.",
        _put,
        _NAME,
        Field("role", Form.TEXT, f"One of {', '.join(Role)}.", required=True),
        Field("password", Form.TEXT, "12 characters or more; of a known user left out: the one they have."),
    ),
    _operation("remove_user", "/users/remove", "Remove a user; their sessions end.", _remove, _NAME),
    _operation("end_sessions", "/users/log-out", "End all sessions of somebody.", _end_sessions, _NAME),
    _operation(
        "end_session",
        "/sessions/end",
        "End one session.",
        _end_session,
        Field("session", Form.TEXT, "The session's id, as the list of users has it.", required=True),
    ),
)
