"""Who is asking, and whether they may: roles, log-in, sessions, and where a change must come from.

Every route has a role; one without is refused to everybody. A change needs the session's own word (`csrf`) in
the form or the header X-CSRF-Token, which no other site can read. OWASP: session management and CSRF cheat
sheets.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar
from urllib.parse import urlsplit

from flask import Flask, Request, g, request
from werkzeug.security import check_password_hash, generate_password_hash
from werkzeug.wrappers import Response

from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.store.accounts import Accounts, Session, User
from switchpoint.router.http.problem import Forbidden, LoggedOut, TooManyAttempts

IDLE_MS = 8 * 3600 * 1000
LIFE_MS = 24 * 3600 * 1000
LINK_MS = 10 * 60 * 1000
ATTEMPTS_MS = 15 * 60 * 1000
NAME_ATTEMPTS, ADDRESS_ATTEMPTS = 5, 20
LEAST_PASSWORD = 12
CSRF_FIELD, CSRF_HEADER = "csrf", "X-CSRF-Token"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

F = TypeVar("F", bound=Callable[..., object])


class Role(StrEnum):
    """What somebody may do; each may do what those before it may."""

    VIEWER = "viewer"  # look
    ANALYST = "analyst"  # decide, plan, bring tables
    OPERATOR = "operator"  # change what runs and who is champion
    ADMIN = "admin"  # users and sessions

    def allows(self, needed: Role) -> bool:
        """Whether this role may do what `needed` may."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


PUBLIC = "public"
"""The role of routes that nobody needs to be logged in for."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Decides about every request; `secure`: the console is reached by https alone."""

    accounts: Accounts
    clock: Callable[[], int]
    secure: bool = False

    @property
    def cookie(self) -> str:
        """The session cookie's name; browsers take one called __Host- by https alone, for this host alone."""
        return "__Host-switchpoint" if self.secure else "switchpoint"

    def install(self, app: Flask) -> None:
        """Put the gate before every route of the application."""

        @app.before_request
        def check() -> None:
            self.check(app, request)

    def check(self, app: Flask, asked: Request) -> None:
        """Let a request pass, with `g.session` set where somebody is logged in.

        Raises:
            LoggedOut: nobody is logged in.
            Forbidden: the role does not allow it, the word is missing, or another site asks.
        """
        g.session = self._session(asked)
        if asked.endpoint is None:
            return  # there is no such route: the answer is 404 for everybody
        needed = getattr(app.view_functions[asked.endpoint], "role", None)
        if asked.method not in _SAFE:
            _require_own_site(asked)
        if needed == PUBLIC:
            return
        if g.session is None:
            raise LoggedOut("log in first", fix="open /login, or ask who runs the console for a link")
        role = Role(g.session.role)
        if needed is None or not role.allows(Role(needed)):
            raise Forbidden(
                f"this needs the role {needed}", field="role", value=role.value, fix="ask an admin for it"
            )
        if asked.method not in _SAFE:
            _require_word(asked, g.session)

    def log_in(self, name: str, password: str, address: str) -> str:
        """The token of a new session.

        Raises:
            TooManyAttempts: too many failed in the last 15 minutes, by this name or from this address.
            Forbidden: name or password are wrong; which, is not said.
        """
        at = self.clock()
        by_name, by_address = self.accounts.failures(name, address, since=at - ATTEMPTS_MS)
        if by_name >= NAME_ATTEMPTS or by_address >= ADDRESS_ATTEMPTS:
            raise TooManyAttempts(
                "too many log-ins failed", field="name", fix="wait 15 minutes, or ask an admin"
            )
        user = self.accounts.user(name)
        # hashed for an unknown name too: the time must not tell who exists
        right = check_password_hash(user.password if user else _NOBODY, password)
        if user is None or not right:
            self.accounts.failed(name, address, at=at)
            raise Forbidden("name or password is wrong", field="password", fix="try again, or ask an admin")
        return self._open(user.name, user.role, at)

    def follow_link(self, token: str) -> str:
        """The token of a new session, for the token of a one-time link.

        Raises:
            Forbidden: it was used, has expired or never was.
        """
        who = self.accounts.use_link(token, at=self.clock())
        if who is None:
            raise Forbidden(
                "this link was used or has expired", fix="start the console again, or ask for a new one"
            )
        return self._open(*who, self.clock())

    def _open(self, name: str, role: str, at: int) -> str:
        self.accounts.forget_before(at - LIFE_MS)
        return self.accounts.open_session(name, role, at=at)

    def remember(self, response: Response, token: str) -> Response:
        """Give the browser its session; whatever it had before opens nothing any more."""
        if g.session is not None:
            self.accounts.end_session(g.session.id)
        response.set_cookie(
            self.cookie,
            token,
            max_age=LIFE_MS // 1000,
            httponly=True,
            samesite="Lax",
            secure=self.secure,
            path="/",
        )
        return response

    def log_out(self, response: Response) -> Response:
        """End the session here and in the browser."""
        self.accounts.end_session(g.session.id)
        response.delete_cookie(self.cookie, httponly=True, samesite="Lax", secure=self.secure, path="/")
        return response

    def _session(self, asked: Request) -> Session | None:
        token = asked.cookies.get(self.cookie, "")
        if not token:
            return None
        return self.accounts.session(token, at=self.clock(), idle_ms=IDLE_MS, life_ms=LIFE_MS)


def needs(role: Role | str) -> Callable[[F], F]:
    """Mark a view with the role it needs."""

    def mark(view: F) -> F:
        view.role = str(role)  # type: ignore[attr-defined]  # what the gate reads
        return view

    return mark


def actor() -> str:
    """Who is logged in, for the audit log."""
    return str(g.session.name)


def known_role(name: str) -> Role:
    """The role of this name; raises BadInput."""
    if name not in list(Role):
        raise BadInput("unknown role", field="role", value=name, fix=f"one of {', '.join(Role)}")
    return Role(name)


def new_user(name: str, role: str, password: str, *, at: int) -> User:
    """A user with a hashed password (scrypt, by Werkzeug).

    Raises:
        BadInput: an unknown role, or a password that is too short.
    """
    role = known_role(role)
    if len(password) < LEAST_PASSWORD:
        raise BadInput("is too short", field="password", fix=f"use {LEAST_PASSWORD} characters or more")
    return User(name=name, role=role, password=generate_password_hash(password), created_at=at)


_NOBODY = generate_password_hash(secrets.token_urlsafe(16))


def _require_own_site(asked: Request) -> None:
    """Browsers say where a change comes from: another site's form or script is refused."""
    origin, site = asked.headers.get("Origin"), asked.headers.get("Sec-Fetch-Site", "same-origin")
    foreign = origin is not None and urlsplit(origin).netloc != asked.host
    if foreign or site not in {"same-origin", "none"}:
        raise Forbidden(
            "this change comes from another site", field="Origin", value=origin, fix="use our own pages"
        )


def _require_word(asked: Request, session: Session) -> None:
    word = asked.headers.get(CSRF_HEADER) or asked.form.get(CSRF_FIELD, "")
    if not secrets.compare_digest(word.encode(), session.csrf.encode()):
        raise Forbidden(
            "the form has expired, or did not come from our pages",
            field=CSRF_FIELD,
            fix="load the page again",
        )
