"""A service of the test's own: HTTP over a real socket, with the answers that the test wants."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from switchpoint.experiment.assignment import assign as assignment
from switchpoint.experiment.language import experiment as parsing
from switchpoint.experiment.ledger.codec import AHEAD_MS
from switchpoint.experiment.registry import lifecycle
from switchpoint.router.recording.clock import CLOCK_HEADER
from tests.router import world

Answer = tuple[int, dict[str, str], bytes]

EMPTY: dict[str, Any] = {"revision": 7, "experiments": [], "champions": [], "models": []}


def snapshot(*, running: bool, revision: int = 1) -> dict[str, Any]:
    """The test world's snapshot document, with its experiment running or paused."""
    definition = parsing.load(world.DEFINITION)
    digests = {variant.key: f"sha256:{variant.key}" for variant in definition.variants}
    state = lifecycle.create(definition, ordinal=1, at=1, actor="test")
    state = lifecycle.start(state, digests=digests, at=2, actor="test")
    if not running:
        state = lifecycle.pause(state, at=3, actor="test")
    assert assignment.compile(state)
    return EMPTY | {"revision": revision, "experiments": [lifecycle.to_document(state)]}


def stored(events: list[dict[str, Any]]) -> Answer:
    """The answer of a service that takes everything."""
    items = [{"id": event["id"], "status": "stored"} for event in events]
    return 200, {}, json.dumps({"items": items}).encode()


@dataclass
class Service:
    """What it answers and what it was asked. `events` holds those it took."""

    url: str = ""
    document: dict[str, Any] = field(default_factory=lambda: dict(EMPTY))
    raw: Answer | None = None
    """The answer to /v1/snapshot as it is, in place of the document."""
    on_events: Callable[[list[dict[str, Any]]], Answer] = stored
    on_predict: Answer = (200, {}, b"{}")
    events: list[dict[str, Any]] = field(default_factory=list)
    batches: list[tuple[int, int]] = field(default_factory=list)
    """Events and bytes of each request to /v1/events."""
    looks: int = 0
    predictions: list[dict[str, Any]] = field(default_factory=list)
    ahead: float | None = None
    """Seconds by which its clock is ahead of this machine's; None for a service that says no time."""

    def now(self) -> int:
        """Its time in ms."""
        return round((time.time() + (self.ahead or 0)) * 1000)

    def judged(self, events: list[dict[str, Any]]) -> Answer:
        """The answer of a service that refuses what is more than five minutes ahead of its clock, and keeps none."""
        bad = [event["at"] > self.now() + AHEAD_MS for event in events]
        items = [
            {"id": event["id"], "status": "rejected" if wrong else "stored"}
            for event, wrong in zip(events, bad, strict=True)
        ]
        events[:] = [event for event, wrong in zip(events, bad, strict=True) if not wrong]
        return 200, {}, json.dumps({"items": items}).encode()

    def get(self, headers: Any) -> Answer:
        """Answer /v1/snapshot."""
        self.looks += 1
        if self.raw is not None:
            return self.raw
        tag = f'"{json.dumps(self.document, sort_keys=True).__hash__()}"'
        if headers.get("If-None-Match") == tag:
            return 304, {"ETag": tag}, b""
        return 200, {"ETag": tag}, json.dumps(self.document).encode()

    def post(self, path: str, body: bytes) -> Answer:
        """Answer /v1/events and /v1/predict."""
        if path.startswith("/v1/predict"):
            self.predictions.append(json.loads(body))
            return self.on_predict
        events = json.loads(body)["events"]
        self.batches.append((len(events), len(body)))
        answer = self.on_events(events)
        if answer[0] == 200:
            self.events += events
        return answer


@contextmanager
def serving() -> Iterator[Service]:
    """A running service."""
    service = Service()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(service.get(self.headers))

        def do_POST(self) -> None:
            self.reply(service.post(self.path, self.rfile.read(int(self.headers["Content-Length"]))))

        def reply(self, answer: Answer) -> None:
            status, headers, body = answer
            self.send_response(status)
            clock = {} if service.ahead is None else {CLOCK_HEADER: str(service.now())}
            for name, value in ({"Content-Length": str(len(body))} | clock | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
