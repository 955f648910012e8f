"""Serving as it runs: gunicorn with gevent workers over a real embedded server."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from switchpoint.router.http.metrics import Metrics
from switchpoint.router.serving.launch import ServingProcess
from tests.router import world
from tests.router.conftest import Project
from tests.router.http import get, post, request
from tests.waiting import HUNG, until

US = {"country": "US", "device": "ios"}


@pytest.fixture(scope="module")
def service(shared_project: Project) -> Iterator[ServingProcess]:
    with shared_project.serving() as serving:
        yield serving


def click(name: str, unit: str = "u1", at: int | None = None) -> dict[str, object]:
    return {"id": name, "type": "click", "unit": unit, "at": at or world.now_ms()}


def statuses(answer: dict[str, list[dict[str, str]]]) -> list[str]:
    return [item["status"] for item in answer["items"]]


def test_assign_predict_and_events_end_to_end(service: ServingProcess, shared_project: Project) -> None:
    """One unit's whole way: assigned, predicted, exposed once, its purchase counted in its variant."""
    _, _, assigned = post(service, "/v1/assign", {"unit": "e2e", "attributes": US})
    [assignment] = assigned["assignments"]
    for _ in range(4):  # several workers answer
        status, _, answer = post(
            service, "/v1/predict/ranker", {"unit": "e2e", "attributes": US, "inputs": [[1, 2]]}
        )
        assert status == 200
        assert (answer["variant"], answer["model"]) == (assignment["variant"], assignment["model"])
        assert (answer["recorded"], len(answer["prediction"])) == ("stored", 1)
    event = {
        "id": "p",
        "type": "purchase",
        "unit": "e2e",
        "at": world.now_ms(),
        "properties": {"amount": 12.345},
    }
    assert statuses(post(service, "/v1/events", {"events": [event, event]})[2]) == ["stored", "duplicate"]
    events = [e for e in shared_project.ledger.events() if e.unit == "e2e"]
    assert len([e for e in events if e.exposure]) == 1
    moments = shared_project.ledger.moments(world.EXPERIMENT, shared_project.catalog.plan())
    [cell] = [
        c for k, c in moments.items() if (k.variant, k.dimension) == (assignment["variant"], "") and c.n == 1
    ]
    assert cell.metrics[2].x == 1234  # half to even


@pytest.mark.parametrize("path", ["/v1/assign", "/v1/events", "/v1/predict/ranker"])
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "bad_json"),
        (b"{", 400, "bad_json"),
        (b"\xff\xfe", 400, "bad_json"),
        (b'{"unit": "\xc3"}', 400, "bad_json"),
        (b'{"events": [{"at": NaN}]}', 400, "bad_json"),
        (b'{"events": [{"x": 1e999}]}', 400, "bad_json"),
        (b"[" * 5000 + b"]" * 5000, 400, "bad_json"),
        (b'{"unit": ' + b"[" * 1000 + b"]" * 1000 + b"}", 400, "bad_json"),
        (b'{"events": [{"id": ' + b'{"a":' * 1000 + b"1" + b"}" * 1003, 400, "bad_json"),
        (b'{"unit": "u", "inputs": ' + b"[" * 300 + b"]" * 300 + b"}", 400, "bad_json"),
        (b'{"unit": "u", "events": [], "unit": "v"}', 400, "bad_json"),
        (b"7", 400, "bad_input"),
        (b'"text"', 400, "bad_input"),
        (b"null", 400, "bad_input"),
        (b" " * 10_000_000, 413, "too_large"),
        (b"x" * 1_000_001, 413, "too_large"),
    ],
    ids=lambda v: f"{len(v)} bytes" if isinstance(v, bytes) else v,
)
def test_bodies_that_cannot_be_used(
    service: ServingProcess, path: str, body: bytes, status: int, code: str
) -> None:
    """Every door: the right status, problem+json, a stable code, and the connection survives."""
    found, headers, answer = post(service, path, body)
    assert (found, answer["code"], answer["status"]) == (status, code, status)
    assert headers["content-type"] == "application/problem+json"
    assert {"type", "title", "detail", "message", "errors"} <= answer.keys()
    assert "Traceback" not in json.dumps(answer)


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/v1/assign", {"unit": "u", "attribute": {}}, "unknown key 'attribute'; did you mean 'attributes'?"),
        (
            "/v1/predict/ranker",
            {"unit": "u", "inputs": [0.5, 0.5], "attribute": {}},
            "unknown key 'attribute'; did you mean 'attributes'?",
        ),
        ("/v1/events", {"events": [], "event": []}, "unknown key 'event'; did you mean 'events'?"),
        ("/v1/events", {"events": [], "now": 1}, "unknown key 'now'; known: events"),
    ],
)
def test_a_key_that_would_be_ignored_is_refused(
    service: ServingProcess, path: str, body: dict[str, object], message: str
) -> None:
    status, _, answer = post(service, path, body)
    assert (status, answer["code"], answer["errors"][0]["message"]) == (400, "bad_input", message)


def test_body_without_length_is_measured_as_it_comes(service: ServingProcess) -> None:
    """Chunked: small is read, 2 MB is refused."""
    for size, expected in ((10, 200), (2_000_000, 413)):
        with socket.create_connection((service.host, service.port), timeout=HUNG) as sock:
            body = json.dumps({"unit": "u", "attributes": {"x": "y" * size}}).encode()
            head = b"POST /v1/assign HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            sock.sendall(head + f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n")
            assert sock.recv(100).startswith(f"HTTP/1.1 {expected}".encode())


def test_batch_limits(service: ServingProcess) -> None:
    assert post(service, "/v1/events", [click(f"n{i}", f"v{i}") for i in range(1000)])[0] == 200
    status, _, answer = post(service, "/v1/events", {"events": [{}] * 1001})
    assert (status, answer["errors"][0]["field"]) == (413, "events")
    assert post(service, "/v1/events", {"events": []})[2] == {"items": [], "refused": {}}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"id": None}, "id"),
        ({"id": ""}, "id"),
        ({"id": "i" * 257}, "id"),
        ({"unit": 7}, "unit"),
        ({"type": "Click"}, "type"),
        ({"at": "2026-01-01"}, "at"),
        ({"at": 1_700_000_000}, "at"),
        ({"at": 2**62}, "at"),
        ({"at": -1}, "at"),
        ({"at": True}, "at"),
        ({"unknown": 1}, "unknown"),
        ({"type": "purchase"}, "properties.amount"),
        ({"type": "purchase", "properties": {"amount": "12"}}, "properties.amount"),
        ({"type": "purchase", "properties": {"amount": 1e16}}, "properties.amount"),
        ({"properties": {"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}}}, "properties"),
        ({"type": "exposure"}, "experiment"),
        ({"type": "exposure", "experiment": "nope", "variant": "control", "segment": "us", "epoch": 1,
          "revision": 1, "propensity": 0.5}, "experiment"),
    ],
    ids=str,
)  # fmt: skip
def test_bad_event_is_rejected_alone(service: ServingProcess, change: dict[str, object], named: str) -> None:
    """Its neighbours are stored; the reason names the field."""
    key = os.urandom(6).hex()
    bad = click("bad") | change
    status, _, answer = post(service, "/v1/events", [click(f"a{key}"), bad, click(f"b{key}")])
    assert status == 200
    assert statuses(answer) == ["stored", "rejected", "stored"]
    assert named in answer["items"][1]["reason"]
    assert "Fix:" in answer["items"][1]["reason"]


def test_content_types_do_not_matter(service: ServingProcess) -> None:
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "nonsense",
    ):
        headers = {"Content-Type": kind}
        assert post(service, "/v1/assign", {"unit": "u"}, headers)[0] == 200
        assert post(service, "/v1/events", [click(f"ct-{kind}")], headers)[0] == 200
    assert post(service, "/v1/events", b"x", {"Content-Encoding": "gzip"})[0] == 415


def test_routes_and_methods_that_do_not_exist(service: ServingProcess) -> None:
    status, headers, answer = get(service, "/v1/nothing")
    assert (status, answer["code"]) == (404, "unknown_route")
    assert headers["content-type"] == "application/problem+json"
    for path, method in (("/v1/assign", "GET"), ("/v1/events", "GET"), ("/healthz", "DELETE")):
        status, headers, answer = request(service, method, path)
        assert (status, answer["code"]) == (405, "method_not_allowed")
        assert headers["allow"]
    assert get(service, "/v1/predict/%00%ff")[0] in (404, 405)


@pytest.mark.parametrize(
    ("model", "change", "status", "code", "field"),
    [
        ("nope", {}, 404, "not_found", "model"),
        ("ranker", {"unit": None}, 400, "bad_input", "unit"),
        ("ranker", {"attributes": "US"}, 400, "bad_input", "attributes"),
        ("ranker", {"attributes": {"a": "x" * 4097}}, 400, "bad_input", "attributes.a"),
        ("ranker", {"inputs": [1]}, 400, "bad_inputs", "inputs"),
        ("ranker", {"inputs": "abc"}, 400, "bad_inputs", "inputs"),
        ("ranker", {"inputs": {"a": 1}}, 400, "bad_inputs", "inputs"),
    ],
)
def test_bad_predictions(
    service: ServingProcess, model: str, change: dict[str, object], status: int, code: str, field: str
) -> None:
    body = {"unit": "u", "attributes": US, "inputs": [1, 2]} | change
    found, _, answer = post(service, f"/v1/predict/{model}", body)
    assert (found, answer["code"], answer["errors"][0]["field"]) == (status, code, field)
    body.pop("inputs")
    assert post(service, "/v1/predict/ranker", body)[0] == 400


def test_snapshot_for_clients_has_a_tag_and_no_models(service: ServingProcess) -> None:
    status, headers, answer = get(service, "/v1/snapshot")
    assert status == 200
    assert [body["definition"]["key"] for body in answer["experiments"]] == [world.EXPERIMENT]
    assert answer["models"] == []
    assert get(service, "/v1/snapshot", {"If-None-Match": headers["etag"]})[0] == 304


def test_readiness_names_its_parts_and_metrics_add_up_over_workers(service: ServingProcess) -> None:
    facts: list[dict[str, Any]] = []

    def answers_ready() -> bool:  # a second worker that starts late is not ready for a while
        facts.append(get(service, "/readyz")[2])
        return bool(facts[-1]["ready"])

    until(answers_ready)
    ready = facts[-1]
    assert ready["store"]["up"]
    assert ready["store"]["durability"] == "always"
    assert ready["snapshot"]["stale"] is False
    assert ready["spool"] == {"available": True, "batches": 0, "held_back": 0}
    assert ready["models"] == {
        "loaded": ["ranker@1", "ranker@2"], "not_loaded": [], "quarantined": [], "held_back": [],
    }  # fmt: skip
    assert ready["simulated_clock"] is False
    before = _metric(service, 'switchpoint_requests_total{door="assign",status="200"}')
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: post(service, "/v1/assign", {"unit": f"m{i}"}), range(40)))
    assert _metric(service, 'switchpoint_requests_total{door="assign",status="200"}') == before + 40
    assert _metric(service, "switchpoint_store_up") == 1


@pytest.mark.parametrize(
    "accept", ["text/plain;version=x", "application/openmetrics-text;version=abc", ";;=,"]
)
def test_metrics_answer_whatever_accept_asks_for(accept: str) -> None:
    """The package that writes them fails on versions that are no numbers."""
    assert b"switchpoint_ready" in Metrics().exposition(accept)[0]


def _metric(serving: ServingProcess, name: str) -> float:
    text = get(serving, "/metrics")[2].decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


def test_idle_and_half_sent_requests_shut_nobody_out(service: ServingProcess) -> None:
    """150 idle, 150 half a head, 150 half a body: ten probes are answered all the same."""
    heads = [
        b"",
        b"POST /v1/assign HTTP/1.1\r\nHo",
        b"POST /v1/assign HTTP/1.1\r\nContent-Length: 50\r\n\r\n{",
    ]
    open_sockets = []
    try:
        for i in range(450):
            sock = socket.create_connection((service.host, service.port), timeout=HUNG)
            sock.sendall(heads[i % 3])
            open_sockets.append(sock)
        for i in range(10):
            assert post(service, "/v1/assign", {"unit": f"u{i}"})[0] == 200
    finally:
        for sock in open_sockets:
            sock.close()


def test_ramp_reaches_the_workers(service: ServingProcess, shared_project: Project) -> None:
    """A new revision is served by every worker without a restart; nobody already enrolled moves."""
    units = [f"ramp{i}" for i in range(60)]

    def enrolled() -> dict[str, str]:
        found = [post(service, "/v1/assign", {"unit": u, "attributes": {"country": "FR"}})[2] for u in units]
        flat = {u: answer["assignments"][0] for u, answer in zip(units, found, strict=True)}
        return {u: a["variant"] for u, a in flat.items() if a["enrolled"]}

    before = enrolled()
    shared_project.catalog.ramp(world.EXPERIMENT, {"rest": 10_000}, at=world.now_ms(), actor="t")
    assert len(before) < len(units)
    until(lambda: all(len(enrolled()) == len(units) for _ in range(3)))
    assert before.items() <= enrolled().items()


class Scorer(BaseHTTPRequestHandler):
    """An upstream model that answers half the sum of its inputs."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps({"prediction": sum(asked["inputs"]) / 2}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_upstream_model_needs_the_operators_word_for_a_private_address(project: Project) -> None:
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), Scorer)
    thread = threading.Thread(target=upstream.serve_forever)
    thread.start()
    world.add_upstream(project.catalog, "remote", f"http://127.0.0.1:{upstream.server_port}/score")
    body = {"unit": "u", "inputs": [1, 2]}
    try:
        with project.serving(workers=1) as serving:
            status, _, answer = post(serving, "/v1/predict/remote", body)
            assert (status, answer["code"]) == (503, "model_failed")
            assert "SWITCHPOINT_UPSTREAM_PRIVATE" in answer["detail"]
        with project.serving(workers=1, environ={"SWITCHPOINT_UPSTREAM_PRIVATE": "1"}) as serving:
            status, _, answer = post(serving, "/v1/predict/remote", body)
            assert (status, answer["prediction"], answer["model"]) == (200, 1.5, "remote@1")
    finally:
        upstream.shutdown()
        thread.join()
        upstream.server_close()


def test_simulated_clock_is_an_explicit_switch(project: Project, service: ServingProcess) -> None:
    """On: event times are trusted and the header is now. Off: the header means nothing."""
    later = world.now_ms() + 20 * 86_400_000
    assert statuses(
        post(service, "/v1/events", [click("l", at=later)], {"X-Switchpoint-Clock": str(later)})[2]
    ) == ["rejected"]
    with project.serving(workers=1, environ={"SWITCHPOINT_SIMULATED_CLOCK": "1"}) as serving:
        _, headers, answer = post(serving, "/v1/events", [click("l", at=later)])
        assert (statuses(answer), headers["x-switchpoint-clock"]) == (["stored"], "simulated")
        body = {"unit": "clock", "attributes": US, "inputs": [1, 2]}
        post(serving, "/v1/predict/ranker", body, {"X-Switchpoint-Clock": str(later)})
        assert {e.at for e in project.ledger.events() if e.unit == "clock"} == {later}
        refused = post(
            serving, "/v1/events", [click("m", at=later + 600_000)], {"X-Switchpoint-Clock": str(later)}
        )
        assert statuses(refused[2]) == ["rejected"]
        assert post(serving, "/v1/events", [], {"X-Switchpoint-Clock": "soon"})[0] == 400
        assert get(serving, "/readyz")[2]["simulated_clock"] is True
