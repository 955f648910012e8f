"""The assign door as a WSGI callable, without a server."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace
from typing import Any

import pytest

from switchpoint.experiment.store.memory import MemoryRecords
from switchpoint.router.http.body import BodyReader
from switchpoint.router.http.metrics import Metrics
from switchpoint.router.serving.doors.assign import AssignDoor, assignment_document
from switchpoint.router.serving.wsgi import Application, RecordsSource
from switchpoint.router.snapshot import Snapshot
from tests.router import world


class Door:
    """Posts raw bytes and returns status, headers, parsed body."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.door = AssignDoor(lambda: self.snapshot, BodyReader(), Metrics())

    def post(self, body: object, method: str = "POST", **environ: Any) -> tuple[int, dict[str, str], Any]:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer: list[Any] = []
        asked = {
            "REQUEST_METHOD": method, "PATH_INFO": "/v1/assign", "CONTENT_LENGTH": str(len(raw)),
            "wsgi.input": io.BytesIO(raw),
        } | environ  # fmt: skip
        chunks = self.door(asked, lambda status, headers: answer.extend([status, headers]))  # type: ignore[arg-type]
        text = b"".join(chunks)
        headers = dict(answer[1])
        assert headers["Content-Length"] == str(len(text))
        return int(answer[0][:3]), headers, json.loads(text)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Door:
    records = MemoryRecords()
    world.build(records, tmp_path_factory.mktemp("world"))
    return Door(Snapshot.from_document(RecordsSource(records).document()))


def test_answer_equals_the_pure_assignment(door: Door) -> None:
    """Every field, for units in and out, also on the second (prepared) answer."""
    entry = door.snapshot.entry(world.EXPERIMENT)
    for _ in range(2):
        for i in range(200):
            attributes = {"country": ["US", "CA", "FR"][i % 3]}
            status, _, answer = door.post({"unit": f"u{i}", "attributes": attributes})
            assert status == 200
            assert answer == {"assignments": [assignment_document(entry.assign(f"u{i}", attributes))]}


def test_experiments_can_be_named(door: Door) -> None:
    status, _, answer = door.post({"unit": "u", "experiments": [world.EXPERIMENT, world.EXPERIMENT]})
    assert status == 200
    assert len(answer["assignments"]) == 2
    assert door.post({"unit": "u", "experiments": []})[2] == {"assignments": []}


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (b"", 400, "bad_json", ""),
        (b"{", 400, "bad_json", ""),
        (b'{"unit": NaN}', 400, "bad_json", ""),
        (b'{"unit": "\xff"}', 400, "bad_json", ""),
        (b"[" * 2000, 400, "bad_json", ""),
        (b'{"unit": 1e999}', 400, "bad_json", ""),
        (b"[]", 400, "bad_input", "body"),
        (b"{}", 400, "bad_input", "unit"),
        (b'{"unit": 7}', 400, "bad_input", "unit"),
        (b'{"unit": ""}', 400, "bad_input", "unit"),
        (b'{"unit": "a\\u0000b"}', 400, "bad_input", "unit"),
        (json.dumps({"unit": "u" * 257}).encode(), 400, "bad_input", "unit"),
        (b'{"unit": "u", "attributes": []}', 400, "bad_input", "attributes"),
        (
            json.dumps({"unit": "u", "attributes": {"a": "x" * 4097}}).encode(),
            400,
            "bad_input",
            "attributes.a",
        ),
        (b'{"unit": "u", "attribute": {}}', 400, "bad_input", "body"),
        (b'{"unit": "u", "inputs": []}', 400, "bad_input", "body"),
        (b'{"unit": "u", "experiments": "x"}', 400, "bad_input", "experiments"),
        (b'{"unit": "u", "experiments": ["nope"]}', 404, "not_found", "experiments"),
    ],
)
def test_bad_input_is_a_problem_with_code_field_and_fix(
    door: Door, body: bytes, status: int, code: str, field: str
) -> None:
    found, headers, answer = door.post(body)
    assert (found, answer["code"], answer["status"]) == (status, code, status)
    assert headers["Content-Type"] == "application/problem+json"
    assert answer["detail"]
    assert answer["errors"][0]["field"] == field


def test_a_misspelt_key_is_named_with_what_was_meant(door: Door) -> None:
    """It would be ignored otherwise, and the unit assigned as one without attributes."""
    _, _, answer = door.post({"unit": "u", "attribute": {"country": "US"}})
    assert answer["errors"][0]["message"] == "unknown key 'attribute'; did you mean 'attributes'?"


def test_announced_size_beyond_the_limit_is_refused_unread(door: Door) -> None:
    """413 before a byte is read."""

    class Untouchable(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise AssertionError("the body was read")

    asked: dict[str, Any] = {"CONTENT_LENGTH": "10000000", "wsgi.input": Untouchable()}
    status, _, answer = door.post(b"", **asked)
    assert (status, answer["code"]) == (413, "too_large")


def test_chunked_body_beyond_the_limit_is_refused(door: Door) -> None:
    body = io.BytesIO(b'{"unit": "' + b"u" * 2_000_000 + b'"}')
    asked: dict[str, Any] = {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": body}
    status, _, _ = door.post(b"", **asked)
    assert status == 413


def test_other_methods_and_compression_are_refused(door: Door) -> None:
    status, headers, _ = door.post(b"", method="GET")
    assert (status, headers["Allow"]) == (405, "POST")
    assert door.post(b"x", HTTP_CONTENT_ENCODING="gzip")[0] == 415


def test_an_answer_to_head_has_no_body(door: Door) -> None:
    """gunicorn drops one, with a line in the log for each."""
    started: list[Any] = []
    asked: Any = {"REQUEST_METHOD": "HEAD"}
    assert list(door.door(asked, lambda *head: started.extend(head))) == []  # type: ignore[arg-type]
    assert started[0] == "405 Method Not Allowed"


def test_a_failing_experiment_serves_control(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong inside one experiment, the caller gets control with ERROR."""

    class Broken:
        def assign(self, unit: str, attributes: object) -> object:
            raise RuntimeError("boom")

    entry = door.snapshot.entry(world.EXPERIMENT)
    monkeypatch.setattr(entry, "_compiled", Broken())
    status, _, answer = door.post({"unit": "u", "attributes": {"country": "US"}})
    assert status == 200
    [found] = answer["assignments"]
    assert (found["variant"], found["reason"], found["enrolled"]) == ("control", "ERROR", False)


def test_only_its_own_path_reaches_the_door() -> None:
    calls: list[str] = []

    def other(environ: Any, _start: Any) -> list[bytes]:
        calls.append(environ["PATH_INFO"])
        return [b""]

    background = SimpleNamespace(ready=bool, open=bool)
    application = Application(lambda *_: [b"door"], other, background)  # type: ignore[arg-type]
    assert list(application({"PATH_INFO": "/v1/assign"}, None)) == [b"door"]  # type: ignore[arg-type]
    application({"PATH_INFO": "/v1/assigned"}, None)  # type: ignore[arg-type]
    assert calls == ["/v1/assigned"]
