"""Generated requests at every door: those of the service's own description, those that break it, hostile ones."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode, checks
from schemathesis.specs.openapi import checks as openapi_checks

from switchpoint.experiment.ledger.verify import verify
from switchpoint.router.http import problem
from switchpoint.router.serving.launch import ServingProcess
from switchpoint.router.serving.openapi import document
from tests.chaos.hostile import BROKEN, REQUESTS, WHOLE, Answer, Hostile, send
from tests.e2e.test_chaos import workers_of
from tests.router import world
from tests.router.conftest import Project, shared_project
from tests.router.http import post
from tests.router.openapi import Description
from tests.waiting import HUNG, until

__all__ = ["shared_project"]

MINUTES = 5.0
DESCRIPTION = Description()
ROUTES = set(DESCRIPTION.routes())
NOT_IMPLEMENTED = 501
"""The one status of a server that a sender can cause: a transfer coding that nobody has."""


@pytest.fixture
def service(shared_project: Project) -> Iterator[ServingProcess]:
    with shared_project.serving() as serving:
        until(lambda: all(serving.status("/readyz") == 200 for _ in range(8)))
        yield serving


class Attack:
    """Rounds of requests at every door of a service; `answers` counts them by status."""

    def __init__(self, service: ServingProcess) -> None:
        self._service = service
        self.answers: Counter[int] = Counter()
        self.slowest = 0.0

    def round(self, number: int, examples: int) -> None:
        """Every door, by requests that are the same for the same number."""
        for mode in GenerationMode:
            for operation in operations(self._service, mode):
                if mode is GenerationMode.POSITIVE or operation.method == "post":  # others ask for nothing
                    self.as_described(operation, mode, number, examples)
        self.hostile(number, 4 * examples)

    def ordinary(self) -> None:
        """Small requests that are answered, at every door."""
        for number in range(200):
            event = {"id": f"o{number}", "type": "click", "unit": f"u{number}", "at": world.now_ms()}
            asked = {"unit": f"u{number}", "attributes": {"country": "US", "device": "ios"}}
            for path, body in (
                ("/v1/assign", asked),
                ("/v1/events", [event]),
                ("/v1/predict/ranker", {**asked, "inputs": [1, 2]}),
            ):
                assert post(self._service, path, body)[0] == HTTPStatus.OK

    def full_batches(self, number: int) -> None:
        """Requests of 1 MB each, a thousand events that are good or refused."""
        wide = {"amount": 1} | {f"p{n}": "x" * 30 for n in range(18)}
        for kind in ("purchase", "BAD"):
            events = [
                {
                    "id": f"{kind}{number}-{n}",
                    "type": kind,
                    "unit": f"u{n}",
                    "at": world.now_ms(),
                    "properties": wide,
                }
                for n in range(1_000)
            ]
            assert post(self._service, "/v1/events", events)[0] == HTTPStatus.OK

    def largest(self) -> None:
        """All bodies, up to the largest there may be, to all doors that read one."""
        for body in [*WHOLE, *BROKEN]:
            for path in ("/v1/assign", "/v1/events", "/v1/predict/ranker"):
                answer = send(self._service, Hostile("POST", path, (), body, "exact"))
                assert answer is not None
                assert answer.status < 500
                self.answers[answer.status] += 1

    def as_described(self, operation: Any, mode: GenerationMode, number: int, examples: int) -> None:
        """Generated requests of one route: every answer is as described, and none a fault of the service."""

        @bounded(number, examples)
        @given(operation.as_strategy(generation_mode=mode))
        def answered(case: Any) -> None:
            response = self._timed(lambda: case.call(timeout=HUNG))
            self.answers[response.status_code] += 1
            case.validate_response(response, checks=judges_of(operation.path))

        answered()

    def hostile(self, number: int, examples: int) -> None:
        """Hostile requests: each is answered by what is described for its route, or refused as a problem."""

        @bounded(number, examples)
        @given(REQUESTS)
        def answered(request: Hostile) -> None:
            answer = self._timed(lambda: send(self._service, request))
            assert answer is not None
            self.answers[answer.status] += 1
            assert answer.status < 500 or answer.status == NOT_IMPLEMENTED
            assert all(answer.headers[name.lower()] == value for name, value in problem.SECURITY_HEADERS)
            if request.method != "HEAD":
                judge(request, answer)

        answered()

    def _timed(self, ask: Callable[[], Any]) -> Any:
        begin = time.monotonic()
        answer = ask()
        self.slowest = max(self.slowest, time.monotonic() - begin)
        return answer


def operations(service: ServingProcess, mode: GenerationMode) -> list[Any]:
    """The routes as they are described; requests that are to be good know the names that this service has."""
    described = json.loads(json.dumps(document()))
    if mode is GenerationMode.POSITIVE:
        name_what_is_there(described)
    schema = schemathesis.openapi.from_dict(described)
    schema.config.update(base_url=service.url)
    return [cast("Any", found).ok() for found in schema.get_all_operations()]


def name_what_is_there(described: dict[str, Any]) -> None:
    """Narrow the document, so that requests get far."""
    schemas = described["components"]["schemas"]
    schemas["Attributes"]["properties"] = {
        "country": {"enum": ["US", "CA", "FR"]},
        "device": {"type": "string", "maxLength": 200},
    }
    pair = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
    schemas["PredictRequest"]["properties"]["inputs"] = {"anyOf": [pair, {}]}
    schemas["OutcomeEvent"]["properties"]["type"] = {"enum": ["click", "impression", "purchase"]}
    schemas["ExposureEvent"]["properties"]["experiment"] = {"enum": [world.EXPERIMENT]}
    schemas["ExposureEvent"]["properties"]["variant"] = {"enum": ["control", "treatment"]}
    parameters = described["paths"]["/v1/predict/{model}"]["post"]["parameters"]
    parameters[0]["schema"] = {"enum": ["ranker", "nothing"]}


def judges_of(path: str) -> list[Any]:
    """What every answer of a route is judged by.

    The doors of predictions and events look at more than form (what the model reads; every event by itself),
    so that only assignments are asked whether they take all that is described.
    """
    judges: list[Any] = [
        checks.not_a_server_error,
        openapi_checks.status_code_conformance,
        openapi_checks.content_type_conformance,
        openapi_checks.response_headers_conformance,
        openapi_checks.response_schema_conformance,
    ]
    judges += [] if "events" in path else [openapi_checks.negative_data_rejection]
    return judges + ([openapi_checks.positive_data_acceptance] if "assign" in path else [])


def judge(request: Hostile, answer: Answer) -> None:
    """Raise where a body is not as described."""
    if answer.status >= 400:
        assert answer.headers["content-type"] == problem.CONTENT_TYPE
        DESCRIPTION.schema("Problem").validate(answer.body)
        assert answer.body["status"] == answer.status
    path = request.path.replace("predict/ranker", "predict/{model}").partition("?")[0]
    if (path, request.method) in ROUTES:
        DESCRIPTION.check(path, request.method, answer.status, answer.headers, answer.body, stated=False)


def bounded(number: int, examples: int) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """Hypothesis with so many examples, the same for the same number."""
    options = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    return lambda test: options(seed(number)(test))


def megabytes(pid: int) -> float:
    """What a process has for itself, and its share of what it has with others."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    [found] = [line.split()[1] for line in lines if line.startswith("Pss:")]
    return int(found) / 1024


def assert_sound(service: ServingProcess, project: Project, workers: list[int]) -> None:
    """The workers are those of the start, ready, and what they recorded is counted rightly."""
    assert workers_of(service.pid) == workers
    until(lambda: service.status("/readyz") == 200)
    assert verify(project.ledger, project.catalog.plan()) == []


def test_generated_requests_in_short(service: ServingProcess, shared_project: Project) -> None:
    workers = workers_of(service.pid)
    Attack(service).round(0, 15)
    assert_sound(service, shared_project, workers)


def test_the_largest_bodies_leave_little_behind(shared_project: Project) -> None:
    """Freed, their memory goes back to the system but for what small objects of later keep from going."""
    with shared_project.serving(workers=1) as service:
        attack, [worker] = Attack(service), workers_of(service.pid)
        attack.ordinary()
        ordinary = megabytes(worker)
        for number in range(5):
            attack.full_batches(number)
        batches = megabytes(worker)
        for _ in range(4):
            attack.largest()
        largest = megabytes(worker)
        assert_sound(service, shared_project, [worker])
    assert batches < ordinary + 10, (ordinary, batches, largest)
    assert largest < ordinary + 24, (ordinary, batches, largest)


@pytest.mark.chaos
@pytest.mark.timeout(1800)
def test_generated_requests_for_minutes(service: ServingProcess, shared_project: Project) -> None:
    """One round after the other until the time is over; then memory is what it was after the largest bodies.

    Those leave room in the process for the next ones: it is taken once, by the first of them.
    """
    attack, workers = Attack(service), workers_of(service.pid)
    for _ in range(4):
        attack.largest()
    before, begin = [megabytes(pid) for pid in workers], time.monotonic()
    for number in count(1):
        attack.round(number, 60)
        if time.monotonic() - begin > 60 * MINUTES:
            break
    attack.largest()
    assert_sound(service, shared_project, workers)
    after = [megabytes(pid) for pid in workers]
    print(f"{attack.answers.total()} answers {dict(attack.answers)}, the slowest {attack.slowest:.2f} s")
    print(f"memory of the workers {before} -> {after} MB")
    assert all(end <= 1.1 * start for start, end in zip(before, after, strict=True)), (before, after)
