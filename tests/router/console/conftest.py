"""A console over a real store, asked in this process; the board as a worker would have filled it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from flask import Flask
from flask.testing import FlaskClient

from switchpoint.router.console.access import Gate, Role, new_user
from switchpoint.router.console.app import Console, create_app
from switchpoint.router.console.project import Project as Behind
from tests.router.conftest import Project

PASSWORD = "correct horse battery"


class Clock:
    """The wall clock of the gate, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000_000_000_000

    def __call__(self) -> int:
        return self.now


@dataclass
class Browser:
    """Somebody who is logged in: asks pages, and sends what their forms carry."""

    client: FlaskClient
    gate: Gate

    @property
    def csrf(self) -> str:
        cookie = self.client.get_cookie(self.gate.cookie)
        assert cookie is not None
        session = self.gate.accounts.session(
            cookie.value, at=self.gate.clock(), idle_ms=10**15, life_ms=10**15
        )
        assert session is not None
        return session.csrf

    def get(self, path: str, status: int = 200) -> str:
        answer = self.client.get(path)
        assert answer.status_code == status, answer.text
        return str(answer.text)

    def json(self, path: str, status: int = 200) -> object:
        answer = self.client.get(f"/api/v1{path}")
        assert answer.status_code == status, answer.text
        return answer.get_json(force=True)

    def call(self, path: str, body: object = None, status: int = 200) -> object:
        answer = self.client.post(f"/api/v1{path}", json=body or {}, headers={"X-CSRF-Token": self.csrf})
        assert answer.status_code == status, answer.text
        return answer.get_json(force=True)

    def send(self, path: str, form: dict[str, object], status: int = 303) -> str:
        """A page's form; the text of the page that follows."""
        data = {"csrf": self.csrf, **form}
        answer = self.client.post(path, data=data, headers={"Origin": "http://localhost"})
        assert answer.status_code == status, answer.text
        return self.get(answer.headers["Location"]) if status == 303 else str(answer.text)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def behind(project: Project) -> Behind:
    return Behind(redis_url=project.server.url, data=project.data, name="default")


@pytest.fixture
def gate(behind: Behind, clock: Clock) -> Gate:
    return Gate(behind.accounts, clock)


@pytest.fixture
def app(behind: Behind, gate: Gate) -> Flask:
    return create_app(Console(behind, gate))


@pytest.fixture
def log_in(app: Flask, gate: Gate) -> Callable[[Role], Browser]:
    """Somebody of a role, logged in."""

    def made(role: Role) -> Browser:
        gate.accounts.put_user(new_user(role.value, role.value, PASSWORD, at=0))
        client = app.test_client()
        answer = client.post("/login", data={"name": role.value, "password": PASSWORD})
        assert answer.status_code == 303, answer.text
        return Browser(client, gate)

    return made
