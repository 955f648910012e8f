"""The Flask part of serving: predictions, events, snapshot, health, metrics. Errors are problem+json."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from flask import Flask, Request, Response, request
from werkzeug.exceptions import HTTPException

from switchpoint.experiment.errors import BadInput, SwitchpointError
from switchpoint.experiment.ledger.codec import parse_covariates
from switchpoint.experiment.ledger.event import unit_id
from switchpoint.router.http import problem
from switchpoint.router.http.body import BodyReader
from switchpoint.router.http.metrics import Metrics
from switchpoint.router.recording.clock import CLOCK_HEADER, Clock
from switchpoint.router.recording.recorder import MAX_EVENTS, Recorder, answer
from switchpoint.router.serving import openapi
from switchpoint.router.serving.doors.predict import Prediction, Predictor
from switchpoint.router.serving.doors.requests import EVENTS_KEYS, PREDICT_KEYS, attributes_of, request_object
from switchpoint.router.snapshot import SnapshotHolder

_log = logging.getLogger(__name__)

Facts = Callable[[], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Services:
    """What the routes use, made by the composition root.

    `readiness` returns the facts of /readyz with a boolean `ready`. `clock` says what time it is; where it is
    `simulated`, the door trusts event times and takes its own from the request's X-Switchpoint-Clock.
    """

    holder: SnapshotHolder
    predictor: Predictor
    recorder: Recorder
    metrics: Metrics
    readiness: Facts
    body: BodyReader
    clock: Clock
    simulated: bool = False


def create_app(services: Services) -> Flask:
    """The Flask application; `/v1/assign` is mounted before it (`router.serving.wsgi.Application`).

    `router.serving.openapi` describes every route.
    """
    app = Flask("switchpoint", static_folder=None)
    # what is not described is 404 or 405, not a redirect nor an answer of Flask's own
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.strict_slashes = app.url_map.merge_slashes = False
    _errors(app)
    _service_routes(app, services)
    _health_routes(app, services)
    _description(app)

    @app.after_request
    def finish(response: Response) -> Response:
        if services.simulated:
            response.headers[CLOCK_HEADER] = "simulated"
        elif services.clock.settled:
            response.headers[CLOCK_HEADER] = str(services.clock.now())
        services.metrics.answered(request.endpoint or "unknown", response.status_code)
        return response

    return app


def _service_routes(app: Flask, services: Services) -> None:
    @app.post("/v1/predict/<model>")
    def predict(model: str) -> Response:
        with services.metrics.timed("predict"):
            body = request_object(services.body.json(request.environ), PREDICT_KEYS)
            if "inputs" not in body:
                raise BadInput("is missing", field="inputs", fix="send what the model reads")
            now = _now(services, request)
            found = services.predictor.predict(
                model,
                unit_id(body.get("unit")),
                attributes_of(body),
                body["inputs"],
                at=services.clock.now() if now is None else now,
                covariates=parse_covariates(body),
            )
            return _json(_prediction_document(found), headers=_recorded_header(found))

    @app.post("/v1/events")
    def events() -> Response:
        with services.metrics.timed("events"):
            raws = _events_of(services.body.json(request.environ))
            items = services.recorder.submit(raws, now=_now(services, request))
            services.metrics.events(item.outcome for item in items)
            return _json(answer(items))

    @app.get("/v1/snapshot")
    def snapshot() -> Response:
        current = services.holder.current
        current.require()
        headers = {"ETag": current.etag, "Cache-Control": "no-cache"}
        if current.etag in (request.headers.get("If-None-Match") or ""):
            return Response(status=304, headers=headers)
        # models stay here: clients evaluate locally, they do not call upstreams
        return _json({**current.document, "models": []}, headers=headers)


def _health_routes(app: Flask, services: Services) -> None:
    @app.get("/healthz")
    def healthz() -> Response:
        return _json({"status": "ok"})

    @app.get("/readyz")
    def readyz() -> Response:
        facts = {**services.readiness(), "simulated_clock": services.simulated}
        return _json(facts, status=200 if facts["ready"] else 503)

    @app.get("/metrics")
    def metrics() -> Response:
        body, content_type = services.metrics.exposition(request.headers.get("Accept", ""))
        return Response(body, content_type=content_type)


def _description(app: Flask) -> None:
    text = orjson.dumps(openapi.document())

    @app.get(openapi.PATH)
    def description() -> Response:
        return Response(text, content_type="application/json")


def _errors(app: Flask) -> None:
    @app.errorhandler(SwitchpointError)
    def expected(error: SwitchpointError) -> Response:
        status, body = problem.of_error(error)
        retry = {"Retry-After": problem.RETRY_SECONDS} if status == 503 else {}
        return Response(body, status=status, content_type=problem.CONTENT_TYPE, headers=retry)

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        status = error.code or 500
        headers = {k: v for k, v in error.get_headers() if k.lower() == "allow"}
        code = {404: "unknown_route", 405: "method_not_allowed"}.get(status, "http_error")
        body = orjson.dumps(problem.document(status, code, error.description or error.name))
        return Response(body, status=status, content_type=problem.CONTENT_TYPE, headers=headers)

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        _log.error("unexpected error", exc_info=error)
        body = orjson.dumps(problem.document(500, "internal", "an unexpected error; the log has it"))
        return Response(body, status=500, content_type=problem.CONTENT_TYPE)


def _events_of(body: object) -> list[object]:
    raws = request_object(body, EVENTS_KEYS).get("events") if isinstance(body, dict) else body
    if not isinstance(raws, list):
        raise BadInput(
            "is a list of events", field="events", value=raws, fix='send {"events": [...]} or a list'
        )
    if len(raws) > MAX_EVENTS:
        raise problem.TooLarge(
            f"more than {MAX_EVENTS} events", field="events", value=len(raws), fix="send smaller batches"
        )
    return raws


def _now(services: Services, asked: Request) -> int | None:
    """The door's clock in ms; None (simulated without a header, or not known yet) trusts event times."""
    if not services.simulated:
        return services.clock.now() if services.clock.settled else None
    text = asked.headers.get(CLOCK_HEADER)
    if text is None:
        return None
    if not text.isdecimal() or len(text) > 15:
        raise BadInput(
            "is not a time in ms", field=CLOCK_HEADER, value=text, fix="send milliseconds since 1970"
        )
    return int(text)


def _prediction_document(found: Prediction) -> dict[str, object]:
    assignment = found.assignment
    document: dict[str, object] = {
        "prediction": found.prediction,
        "model": str(found.model),
        "experiment": assignment.experiment if assignment else None,
        "variant": assignment.variant if assignment else None,
        "enrolled": assignment.enrolled if assignment else False,
        "served": found.served,
        "reason": found.reason.value,
        "recorded": found.recorded,
    }
    if found.cause is not None:
        document["cause"] = found.cause
    if found.exposure_id is not None:
        document["exposure_id"] = found.exposure_id
    return document


def _recorded_header(found: Prediction) -> dict[str, str]:
    return {} if found.recorded is not None else {"X-Switchpoint-Unrecorded": "1"}


def _json(value: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(value), status=status, content_type="application/json", headers=headers)
