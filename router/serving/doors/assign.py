"""POST /v1/assign as a plain WSGI callable: hash, compare, join prepared JSON. Never logs an exposure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import orjson

from switchpoint.experiment.assignment.assign import Assignment
from switchpoint.experiment.errors import SwitchpointError
from switchpoint.experiment.ledger.event import unit_id
from switchpoint.router.http import problem
from switchpoint.router.http.body import BodyReader
from switchpoint.router.http.metrics import Metrics
from switchpoint.router.serving.doors.requests import (
    ASSIGN_KEYS,
    attributes_of,
    experiments_of,
    request_object,
)
from switchpoint.router.snapshot import Snapshot

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

PATH = "/v1/assign"
_MAX_PREPARED = 10_000


def assignment_document(assignment: Assignment) -> dict[str, object]:
    """An assignment as the doors answer it."""
    return {
        "experiment": assignment.experiment,
        "variant": assignment.variant,
        "model": None if assignment.model is None else str(assignment.model),
        "segment": assignment.segment,
        "propensity": assignment.propensity,
        "reason": assignment.reason.value,
        "revision": assignment.revision,
        "epoch": assignment.epoch,
        "enrolled": assignment.enrolled,
    }


class AssignDoor:
    """Answers `{unit, attributes?, experiments?}` with one assignment per experiment."""

    def __init__(self, snapshot: Callable[[], Snapshot], body: BodyReader, metrics: Metrics) -> None:
        """`snapshot` gives the current one; it is read once a request."""
        self._snapshot, self._body, self._metrics = snapshot, body, metrics
        # by identity: assignments are prebuilt per segment and variant, hashing nine fields would cost more.
        # The value holds the assignment, so its identity cannot be given to another one meanwhile.
        self._prepared: dict[int, tuple[Assignment, bytes]] = {}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """One request."""
        try:
            if environ["REQUEST_METHOD"] != "POST":
                raise problem.MethodNotAllowed("only POST", field="method", value=environ["REQUEST_METHOD"])
            answer = self.answer(self._body.json(environ))
        except SwitchpointError as error:
            refusal = self._refuse(error, start_response)
            return () if environ["REQUEST_METHOD"] == "HEAD" else refusal
        self._metrics.assigned()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
        return (answer,)

    def answer(self, body: object) -> bytes:
        """The JSON answer to a parsed body. Raises BadInput, NotFound."""
        asked = request_object(body, ASSIGN_KEYS)
        unit, attributes, keys = unit_id(asked.get("unit")), attributes_of(asked), experiments_of(asked)
        snapshot = self._snapshot()
        snapshot.require()
        entries = snapshot.entries
        if keys is None:
            parts = [self._json(entries[key].assign(unit, attributes)) for key in snapshot.running]
        else:
            parts = [self._json(snapshot.entry(key).assign(unit, attributes)) for key in keys]
        return b'{"assignments":[' + b",".join(parts) + b"]}"

    def _json(self, assignment: Assignment) -> bytes:
        known = self._prepared.get(id(assignment))
        if known is not None and known[0] is assignment:
            return known[1]
        if len(self._prepared) >= _MAX_PREPARED:
            self._prepared.clear()
        text = orjson.dumps(assignment_document(assignment))
        self._prepared[id(assignment)] = (assignment, text)
        return text

    def _refuse(self, error: SwitchpointError, start_response: StartResponse) -> Iterable[bytes]:
        status, text = problem.of_error(error)
        self._metrics.answered("assign", status)
        headers = [("Content-Type", problem.CONTENT_TYPE), ("Content-Length", str(len(text)))]
        headers += [("Allow", "POST")] if status == 405 else []
        headers += [("Retry-After", problem.RETRY_SECONDS)] if status == 503 else []
        start_response(problem.status_line(status), headers)
        return (text,)
