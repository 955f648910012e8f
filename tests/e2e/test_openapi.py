"""/openapi.json says what is there: it is compared with the routing table and with real answers."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from openapi_spec_validator import validate

from switchpoint.experiment.ledger.codec import ENTRIES
from switchpoint.experiment.ledger.event import ATTRIBUTES, NAME_LENGTH, VALUE_LENGTH
from switchpoint.router.http import problem
from switchpoint.router.http.body import MAX_BODY_BYTES, MAX_CONTAINERS
from switchpoint.router.recording.recorder import MAX_EVENTS
from switchpoint.router.serving.app import create_app
from switchpoint.router.serving.doors import assign
from switchpoint.router.serving.launch import ServingProcess, free_port
from tests.router import world
from tests.router.conftest import Project
from tests.router.http import get, post, request
from tests.router.openapi import METHODS, Description
from tests.waiting import HUNG, until

DESCRIPTION = Description()
ROUTES = sorted(DESCRIPTION.routes())
PREDICT = "/v1/predict/{model}"
UNIT = {"unit": "u", "attributes": {"country": "US"}}
INPUTS = {**UNIT, "inputs": [1, 2]}


@pytest.fixture(scope="module")
def service(shared_project: Project) -> Iterator[ServingProcess]:
    # one worker: a second one that a busy machine starts late may make /readyz say 503 once more
    with shared_project.serving(workers=1) as serving:
        until(lambda: serving.status("/readyz") == 200)
        yield serving


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingProcess]:
    """A service that has never seen its store."""
    data = tmp_path_factory.mktemp("bare")
    with ServingProcess(redis_url="unix:///nowhere.sock", data=data, port=free_port(), workers=1) as serving:
        until(lambda: serving.status("/healthz") == 200)
        yield serving


def test_the_document_is_openapi_and_what_is_served(service: ServingProcess) -> None:
    status, headers, answer = get(service, "/openapi.json")
    assert (status, headers["content-type"]) == (200, "application/json")
    validate(answer)
    served = Description()
    served.document = answer
    assert sorted(served.routes()) == ROUTES


def test_every_route_is_described_and_nothing_else() -> None:
    """HEAD comes with every GET."""
    rules = create_app(cast("Any", None)).url_map.iter_rules()
    table = {
        (str(rule).replace("<", "{").replace(">", "}"), method)
        for rule in rules
        for method in rule.methods or ()
    }
    table = {(path, method) for path, method in table if method != "HEAD"} | {(assign.PATH, "POST")}
    assert sorted(table) == ROUTES


def test_limits_are_those_of_the_code() -> None:
    schemas = DESCRIPTION.document["components"]["schemas"]
    assert schemas["Unit"]["maxLength"] == NAME_LENGTH
    assert schemas["Events"]["maxItems"] == MAX_EVENTS
    assert str(MAX_BODY_BYTES) in DESCRIPTION.document["info"]["description"]
    assert str(MAX_CONTAINERS) in DESCRIPTION.document["info"]["description"]


@pytest.mark.parametrize(
    ("path", "method", "body", "headers", "status"),
    [
        (assign.PATH, "POST", UNIT, {}, 200),
        (assign.PATH, "POST", {"unit": "far", "attributes": {"country": "FR"}, "experiments": None}, {}, 200),
        (assign.PATH, "POST", {"unit": 7}, {}, 400),
        (assign.PATH, "POST", b"{", {}, 400),
        (assign.PATH, "POST", {"unit": "u", "experiments": ["nope"]}, {}, 404),
        (assign.PATH, "POST", b" " * (MAX_BODY_BYTES + 1), {}, 413),
        (assign.PATH, "POST", UNIT, {"Content-Encoding": "gzip"}, 415),
        (assign.PATH, "POST", {**UNIT, "attributes": {"a": [[]] * MAX_CONTAINERS}}, {}, 413),
        (PREDICT, "POST", INPUTS, {}, 200),
        (PREDICT, "POST", {**INPUTS, "covariates": {"past_spend": 1.5}}, {}, 200),
        (PREDICT, "POST", {**INPUTS, "inputs": "x"}, {}, 400),
        (PREDICT, "POST", UNIT, {}, 400),
        (PREDICT, "POST", b" " * (MAX_BODY_BYTES + 1), {}, 413),
        (PREDICT, "POST", INPUTS, {"Content-Encoding": "br"}, 415),
        ("/v1/events", "POST", {"events": [{"id": "o", "type": "click", "unit": "u", "at": 1}, {}, 7]}, {}, 200),
        ("/v1/events", "POST", [], {}, 200),
        ("/v1/events", "POST", {}, {}, 400),
        ("/v1/events", "POST", [{}] * (MAX_EVENTS + 1), {}, 413),
        ("/v1/events", "POST", [], {"Content-Encoding": "gzip"}, 415),
        ("/v1/snapshot", "GET", None, {}, 200),
        ("/healthz", "GET", None, {}, 200),
        ("/readyz", "GET", None, {}, 200),
        ("/metrics", "GET", None, {}, 200),
        ("/metrics", "GET", None, {"Accept": "application/openmetrics-text"}, 200),
        ("/openapi.json", "GET", None, {}, 200),
    ],
    ids=lambda value: value if isinstance(value, str | int) else "",
)  # fmt: skip
def test_answers_are_as_described(
    service: ServingProcess, path: str, method: str, body: object, headers: dict[str, str], status: int
) -> None:
    raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    found, sent, answer = request(service, method, path.format(model="ranker"), raw, headers)
    assert found == status, answer
    DESCRIPTION.check(path, method, found, sent, answer)


def test_other_answers_are_as_described_too(
    service: ServingProcess, bare: ServingProcess, tmp_path: Path
) -> None:
    """A model that is not there, a snapshot that is known, an event that is stored; and no store, no snapshot."""
    DESCRIPTION.check(PREDICT, "POST", *post(service, "/v1/predict/nope", INPUTS))
    tag = get(service, "/v1/snapshot")[1]["etag"]
    found = get(service, "/v1/snapshot", {"If-None-Match": tag})
    assert found[0] == 304
    DESCRIPTION.check("/v1/snapshot", "GET", *found)
    event = {"id": "described", "type": "click", "unit": "u", "at": world.now_ms()}
    DESCRIPTION.check("/v1/events", "POST", *post(service, "/v1/events", [event, event]))
    for path, method, body in (
        (assign.PATH, "POST", UNIT),
        (PREDICT, "POST", INPUTS),
        ("/v1/snapshot", "GET", None),
        ("/readyz", "GET", None),
    ):
        raw = None if body is None else json.dumps(body).encode()
        status, headers, answer = request(bare, method, path.format(model="ranker"), raw)
        assert status == 503
        DESCRIPTION.check(path, method, status, headers, answer)


@pytest.mark.parametrize(
    ("path", "right"), [*ROUTES, ("/nothing", ""), ("/v1/assign/", ""), ("/v1//events", "")]
)
def test_every_answer_has_the_headers_and_every_refusal_is_a_problem(
    service: ServingProcess, path: str, right: str
) -> None:
    """By every method, on one connection, so that an answer which says too much would garble the next."""
    connection = http.client.HTTPConnection(service.host, service.port, timeout=HUNG)
    for method in METHODS:
        connection.request(method, path.format(model="ranker"), b"", {"Content-Length": "0"})
        with connection.getresponse() as response:
            text = response.read()
            sent = [(name.lower(), value) for name, value in response.getheaders()]
            for name, value in problem.SECURITY_HEADERS:
                assert sent.count((name.lower(), value)) == 1, (method, sent)
            if method == right or (method == "HEAD" and right == "GET"):
                assert response.status in {200, 400}
            else:
                assert response.status == (405 if right else 404), method
                assert right in dict(sent).get("allow", "").split(", ")
            if response.status >= 400:
                assert dict(sent)["content-type"] == problem.CONTENT_TYPE
                assert method == "HEAD" or json.loads(text)["status"] == response.status
    connection.close()


@pytest.mark.parametrize("name", ["SCRIPT_NAME", "PATH_INFO", "Script_Name"])
def test_no_header_says_which_route_is_asked(service: ServingProcess, name: str) -> None:
    """gunicorn believes these of a proxy on the same host: one was a 500 with a traceback in the log."""
    for value in ("/v1", "/metrics"):
        assert get(service, "/healthz", {name: value})[2] == {"status": "ok"}


@pytest.mark.parametrize(
    ("schema", "fits", "larger"),
    [
        ("Unit", "é" * NAME_LENGTH, "é" * (NAME_LENGTH + 1)),
        ("Unit", "no-break\u00a0space", "a\u0085b"),
        ("Unit", "\U0001f600", "\U0001ffff"),
        ("Attributes", {f"a{i}": i for i in range(ATTRIBUTES)}, {f"a{i}": i for i in range(ATTRIBUTES + 1)}),
        ("Attributes", {"n" * VALUE_LENGTH: 1}, {"n" * (VALUE_LENGTH + 1): 1}),
        ("Covariates", {f"c{i}": i for i in range(ENTRIES)}, {f"c{i}": i for i in range(ENTRIES + 1)}),
    ],
    ids=["unit", "control", "no character", "attributes", "name", "covariates"],
)
def test_the_described_limits_are_the_doors(
    service: ServingProcess, schema: str, fits: object, larger: object
) -> None:
    """What just fits is taken and what just does not is refused, by the description and by the service."""
    field = schema.lower()
    for value, status in ((fits, 200), (larger, 400)):
        assert DESCRIPTION.schema(schema).is_valid(value) == (status == 200)
        assert post(service, "/v1/predict/ranker", {**INPUTS, field: value})[0] == status


def test_an_event_is_described_as_it_is_judged(service: ServingProcess) -> None:
    good = {"id": "e", "type": "click", "unit": "u", "at": world.now_ms()}
    changes: list[dict[str, Any]] = [
        {}, {"id": ""}, {"id": "i" * (NAME_LENGTH + 1)}, {"type": "Click"}, {"type": "c" * 65}, {"at": 1}, {"at": 2**43},
        {"properties": None}, {"properties": {"k" * (VALUE_LENGTH + 1): 1}}, {"more": 1}, {"type": "exposure"},
    ]  # fmt: skip
    events = [{**good, "id": f"described-{i}", **change} for i, change in enumerate(changes)]
    items = post(service, "/v1/events", events)[2]["items"]
    valid = [DESCRIPTION.schema("Events").is_valid([event]) for event in events]
    assert valid == [item["status"] != "rejected" for item in items]
    assert len(set(valid)) == 2
