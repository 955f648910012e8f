"""Who gets in, and what each role may do: the matrix of every route and every role."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask import Flask

from switchpoint.experiment.errors import BadInput
from switchpoint.router.console.access import (
    ADDRESS_ATTEMPTS,
    ATTEMPTS_MS,
    IDLE_MS,
    LIFE_MS,
    PUBLIC,
    Gate,
    Role,
    new_user,
)
from switchpoint.router.console.api import OPERATIONS
from switchpoint.router.console.wsgi import create
from tests.router.conftest import Project
from tests.router.console.conftest import PASSWORD, Browser, Clock

LogIn = Callable[[Role], Browser]


def paths(app: Flask) -> list[tuple[str, str, str]]:
    """Every route with its method and the role it needs, what the path names filled in."""
    routes = []
    for rule in app.url_map.iter_rules():
        role = getattr(app.view_functions[rule.endpoint], "role", None)
        path = re.sub(r"<[^>]+>", "x", rule.rule)
        routes += [
            (method, path, str(role))
            for method in sorted(rule.methods or ())
            if method not in {"HEAD", "OPTIONS"}
        ]
    return routes


def test_every_route_has_a_role(app: Flask) -> None:
    assert {role for _, _, role in paths(app)} <= {PUBLIC, *Role}
    assert {role for method, _, role in paths(app) if method != "GET"} >= {"analyst", "operator"}


@pytest.mark.parametrize("role", [None, *Role])
def test_exactly_the_routes_of_a_role_are_open_to_it(app: Flask, log_in: LogIn, role: Role | None) -> None:
    """From the table of routes: whatever else is wrong with the request, 401 and 403 tell who may ask."""
    client = app.test_client() if role is None else log_in(role).client
    word = {} if role is None else {"X-CSRF-Token": Browser(client, app.extensions["gate"]).csrf}
    for method, path, needed in paths(app):
        if path in {"/logout", "/live"}:
            continue  # the one ends the session, the other never ends
        answer = client.open(path, method=method, headers=word, follow_redirects=False)
        closed = answer.status_code in {401, 403} or answer.headers.get("Location") == "/login"
        allowed = needed == PUBLIC or (role is not None and role.allows(Role(needed)))
        # a wrong password and a link that is none are refused too, to everybody
        assert closed is not allowed or path.startswith("/login"), (method, path, needed, answer.status_code)


def test_operations_say_who_may_use_them_as_the_routes_do(app: Flask) -> None:
    document = app.test_client().get("/api/v1/openapi.json").get_json(force=True)
    described = {
        (method.upper(), re.sub(r"{[^}]+}", "x", path)): operation["x-role"]
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    routed = {(method, path): role for method, path, role in paths(app) if path.startswith("/api/v1/")}
    routed.pop(("GET", "/api/v1/openapi.json"))
    assert described == routed
    assert len(described) == len(OPERATIONS)


def test_a_change_without_the_sessions_word_or_from_another_site_is_refused(log_in: LogIn) -> None:
    browser = log_in(Role.ADMIN)
    path = "/api/v1/experiments/home-ranker/pause"
    for headers in (
        {},
        {"X-CSRF-Token": "wrong"},
        {"X-CSRF-Token": browser.csrf, "Origin": "http://evil.example"},
        {"X-CSRF-Token": browser.csrf, "Origin": "null"},
        {"X-CSRF-Token": browser.csrf, "Sec-Fetch-Site": "cross-site"},
    ):
        answer = browser.client.post(path, json={}, headers=headers)
        assert answer.status_code == 403, headers
        assert answer.get_json(force=True)["code"] == "forbidden"
    state = browser.json("/experiments/home-ranker")
    assert isinstance(state, dict)
    assert state["status"] == "running"


def test_nobody_is_framed_and_nothing_inline_runs(log_in: LogIn) -> None:
    answer = log_in(Role.VIEWER).client.get("/")
    policy = answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Frame-Options"] == "DENY"
    text = answer.get_data(as_text=True)
    assert not re.search(r"<script(?![^>]* src=)[^>]*>|\sstyle=|\son[a-z]+=|<style", text)


def test_the_cookie_is_for_this_site_alone(app: Flask, gate: Gate) -> None:
    gate.accounts.put_user(new_user("anna", "viewer", PASSWORD, at=0))
    answer = app.test_client().post("/login", data={"name": "anna", "password": PASSWORD})
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert Gate(gate.accounts, gate.clock, secure=True).cookie == "__Host-switchpoint"


def test_a_session_is_new_with_every_log_in(app: Flask, gate: Gate) -> None:
    """Who plants a cookie in somebody's browser gets nothing by it: OWASP session fixation."""
    gate.accounts.put_user(new_user("anna", "viewer", PASSWORD, at=0))
    client = app.test_client()
    client.set_cookie(gate.cookie, "planted")
    client.post("/login", data={"name": "anna", "password": PASSWORD})
    first = client.get_cookie(gate.cookie)
    client.post("/login", data={"name": "anna", "password": PASSWORD})
    second = client.get_cookie(gate.cookie)
    assert first is not None
    assert second is not None
    assert len({"planted", first.value, second.value}) == 3
    stale = app.test_client()
    stale.set_cookie(gate.cookie, first.value)
    assert stale.get("/api/v1/experiments").status_code == 401


def test_sessions_end_by_time_by_log_out_and_by_an_admin(log_in: LogIn, gate: Gate, clock: Clock) -> None:
    browser = log_in(Role.VIEWER)
    browser.get("/")
    clock.now += IDLE_MS + 1
    assert browser.client.get("/").headers["Location"] == "/login"
    browser = log_in(Role.VIEWER)
    assert "Log in" in browser.send("/logout", {})
    assert browser.client.get("/api/v1/models").status_code == 401
    browser = log_in(Role.VIEWER)
    gate.accounts.end_sessions("viewer")
    assert browser.client.get("/api/v1/models").status_code == 401


def test_log_ins_are_limited_by_name_and_by_address(app: Flask, gate: Gate, clock: Clock) -> None:
    gate.accounts.put_user(new_user("anna", "viewer", PASSWORD, at=0))
    client = app.test_client()

    def status(name: str, password: str) -> int:
        return client.post("/login", data={"name": name, "password": password}).status_code

    assert [status("anna", "wrong") for _ in range(6)] == [403] * 5 + [429]
    assert status("anna", PASSWORD) == 429  # the right one neither, or guessing would go on
    clock.now += ATTEMPTS_MS + 1
    assert status("anna", PASSWORD) == 303
    assert [status(f"u{i}", "wrong") for i in range(ADDRESS_ATTEMPTS)] == [403] * ADDRESS_ATTEMPTS
    assert status("anna", PASSWORD) == 429


def test_a_wrong_name_and_a_wrong_password_are_told_alike(app: Flask, gate: Gate) -> None:
    gate.accounts.put_user(new_user("anna", "viewer", PASSWORD, at=0))
    client = app.test_client()
    answers = [
        client.post("/login", data={"name": name, "password": "x" * 12})
        .get_data(as_text=True)
        .replace(name, "")
        for name in ("anna", "nobody")
    ]
    assert answers[0] == answers[1]


def test_a_link_logs_in_once(app: Flask, gate: Gate) -> None:
    token = gate.accounts.make_link("me", Role.ADMIN, until=gate.clock() + 10)
    client = app.test_client()
    assert client.get(f"/login/{token}").headers["Location"] == "/"
    assert "me" in client.get("/").get_data(as_text=True)
    again = app.test_client().get(f"/login/{token}")
    assert again.status_code == 403
    assert "this link was used or has expired" in again.get_data(as_text=True)


@pytest.mark.parametrize(("role", "password"), [("boss", PASSWORD), ("viewer", "short")])
def test_a_user_needs_a_role_and_a_long_password(role: str, password: str) -> None:
    with pytest.raises(BadInput):
        new_user("anna", role, password, at=0)


def test_behind_a_proxy_the_address_is_the_callers_and_the_host_the_one_he_typed(project: Project) -> None:
    environ = {"SWITCHPOINT_REDIS_URL": project.server.url, "SWITCHPOINT_DATA": str(project.data)}
    for https, address in (("1", "203.0.113.7"), ("0", "127.0.0.1")):
        app = create({**environ, "SWITCHPOINT_CONSOLE_HTTPS": https})
        client, gate = app.test_client(), app.extensions["gate"]
        headers = {
            "X-Forwarded-For": "203.0.113.7",
            "X-Forwarded-Host": "console.example",
            "X-Forwarded-Proto": "https",
            "Origin": "https://console.example" if https == "1" else "http://localhost",
        }
        answer = client.post("/login", data={"name": "nobody", "password": "x"}, headers=headers)
        assert "name or password is wrong" in answer.get_data(as_text=True)
        assert gate.accounts.failures("", address, since=0)[1] == 1


def test_a_log_in_forgets_what_nobody_can_use_any_more(gate: Gate, clock: Clock) -> None:
    gate.accounts.put_user(new_user("anna", "viewer", PASSWORD, at=0))
    gate.log_in("anna", PASSWORD, "a")
    clock.now += LIFE_MS + 1
    gate.log_in("anna", PASSWORD, "a")
    assert len(gate.accounts.sessions()) == 1
