"""The document of /openapi.json: the routes that are there, what they take and all that they answer."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

from switchpoint.router.http import problem
from switchpoint.router.http.body import MAX_BODY_BYTES, MAX_CONTAINERS
from switchpoint.router.recording.clock import CLOCK_HEADER
from switchpoint.router.recording.recorder import MAX_EVENTS
from switchpoint.router.serving.doors import assign
from switchpoint.router.serving.openapi_schemas import TEXT, ref, schemas

PATH = "/openapi.json"

Object = dict[str, Any]

_INTRODUCTION = f"""
Every answer that is no success is `application/problem+json` (RFC 9457) with a stable `code`. Bodies are
strict JSON of at most {MAX_BODY_BYTES} bytes and {MAX_CONTAINERS} lists and objects: UTF-8, each key once,
no NaN, no infinity, not compressed; a key that is not described is refused. Content types of requests are not
looked at. GET routes answer HEAD too.
""".strip()

_HEADERS = {
    "Allow": "The method that there is.",
    "ETag": "For If-None-Match.",
    "Retry-After": "Seconds.",
    CLOCK_HEADER: "The service's time, ms since 1970, or `simulated`; not of /v1/assign.",
    "X-Switchpoint-Unrecorded": "1 where the events of a prediction could not be kept.",
}
_PROBLEMS = {
    400: "The body is no JSON, or not what is asked for: `errors` names the field.",
    404: "No such model, experiment or route; `errors` names it.",
    405: "Another method.",
    408: "The body did not arrive in time.",
    413: f"More than {MAX_BODY_BYTES} bytes, {MAX_CONTAINERS} lists and objects, or {MAX_EVENTS} events.",
    415: "The body is compressed.",
    500: "A fault of the service; its log has it.",
    503: "Nobody can answer or nothing be kept: no snapshot, no model, a full spool, too many connections.",
}
_OF_HEADERS = {405: ["Allow"], 503: ["Retry-After"]}


def document() -> Object:
    """The document, OpenAPI 3.1."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Switchpoint",
            "version": version("switchpoint"),
            "summary": "Routes units to model variants and counts exactly once.",
            "description": _INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [],
        "paths": {**_doors(), **_facts()},
        "components": {"schemas": schemas(), "headers": _headers()},
    }


def _doors() -> dict[str, Object]:
    model = {"name": "model", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    clock = {
        "name": CLOCK_HEADER,
        "in": "header",
        "schema": {"type": "string", "pattern": "^[0-9]{1,15}$"},
        "description": "The time, ms since 1970; read only where the service has a simulated clock.",
    }
    return {
        assign.PATH: _post(
            "assign",
            "Which variant a unit gets in each experiment; records nothing.",
            _answer("One assignment per experiment.", _json("Assignments")),
            _json("AssignRequest"),
        ),
        "/v1/predict/{model}": _post(
            "predict",
            "What the unit's version of a model answers; control or the champion where that cannot. Records "
            "the unit's exposure and the prediction.",
            _answer("The answer, and whose it is.", _json("Prediction"), "X-Switchpoint-Unrecorded"),
            _json("PredictRequest"),
            parameters=[model, clock],
        ),
        "/v1/events": _post(
            "events",
            "Record events. Each has a status of its own; `stored` and `spooled` are on disk.",
            _answer("What became of each event, in their order.", _json("EventsAnswer")),
            _json("EventsRequest"),
            parameters=[clock],
        ),
    }


def _facts() -> dict[str, Object]:
    tag = {"name": "If-None-Match", "in": "header", "schema": TEXT}
    metrics = {kind: {"schema": TEXT} for kind in ("text/plain", "application/openmetrics-text")}
    return {
        "/v1/snapshot": _get(
            "snapshot",
            "All that local evaluation needs.",
            {
                200: _answer("The newest revision.", _json("Snapshot"), "ETag"),
                304: _answer("It is the one of If-None-Match.", None, "ETag"),
            },
            parameters=[tag],
        ),
        "/healthz": _get(
            "healthz", "Whether the process lives.", {200: _answer("It does.", _json("Health"))}
        ),
        "/readyz": _get(
            "readyz",
            "Whether every worker can answer for everything that is live, and if not, why.",
            {
                200: _answer("Ready.", _json("Readiness")),
                503: _answer("Not ready.", {**_json("Readiness"), **_problem_content()}),
            },
        ),
        "/metrics": _get(
            "metrics",
            "Prometheus metrics of all workers.",
            {200: _answer("Text, or OpenMetrics where that is accepted.", metrics)},
        ),
        PATH: _get(
            "openapi",
            "This document.",
            {200: _answer("OpenAPI 3.1.", {"application/json": {"schema": {"type": "object"}}})},
        ),
    }


def _post(name: str, summary: str, success: Object, body: Object, **more: object) -> Object:
    answers = {200: success, **_problems((400, 404, 408, 413, 415))}
    return {
        "post": _operation(name, summary, answers, requestBody={"required": True, "content": body}, **more)
    }


def _get(name: str, summary: str, answers: dict[int, Object], **more: object) -> Object:
    return {"get": _operation(name, summary, answers, **more)}


def _operation(name: str, summary: str, answers: dict[int, Object], **more: object) -> Object:
    every = {**_problems((405, 500, 503)), **answers}
    responses = {str(status): every[status] for status in sorted(every)}
    text = "The head cannot be read: 400, 414, 417, 431, 501; the address asks too often: 429."
    responses["default"] = _answer(text, _problem_content())
    return {"operationId": name, "summary": summary, **more, "responses": responses}


def _problems(statuses: Iterable[int]) -> dict[int, Object]:
    return {
        status: _answer(_PROBLEMS[status], _problem_content(), *_OF_HEADERS.get(status, ()))
        for status in statuses
    }


def _answer(description: str, content: Object | None, *headers: str) -> Object:
    names = [*dict(problem.SECURITY_HEADERS), CLOCK_HEADER, *headers]
    return {
        "description": description,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
        **({} if content is None else {"content": content}),
    }


def _json(name: str) -> Object:
    return {"application/json": {"schema": ref(name)}}


def _problem_content() -> Object:
    return {problem.CONTENT_TYPE: {"schema": ref("Problem")}}


def _headers() -> dict[str, Object]:
    return {
        **{name: {"required": True, "schema": {"const": value}} for name, value in problem.SECURITY_HEADERS},
        **{name: {"description": text, "schema": TEXT} for name, text in _HEADERS.items()},
    }
