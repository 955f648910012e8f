"""A serving process as its Python client sees it: over HTTP, with the standard library only."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import quote, urlsplit

from switchpoint.experiment.errors import BadInput, StoreUnavailable
from switchpoint.experiment.ledger.event import Status
from switchpoint.router.recording.clock import CLOCK_HEADER, Clock
from switchpoint.router.snapshot import Document

MAX_BYTES = 64 * 1024 * 1024
"""Largest answer that is read."""
_BYTES_AT_A_TIME = 65_536
_FINAL_REFUSALS = frozenset({400, 413, 415, 422})
_STATUSES = frozenset(Status)


class RefusedBatch(Exception):
    """The service will never take these events as they are."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, headers (lower case) and body of an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Remote:
    """One base URL. A new connection per call: calls are rare and come from one background thread."""

    def __init__(self, base_url: str, *, timeout: float) -> None:
        """Raises BadInput for a URL that is not http or https."""
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadInput(
                "is not an HTTP address", field="base_url", value=base_url, fix="give http://host:port"
            )
        self._kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self.address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._host, self._port, self._prefix = parts.hostname, parts.port, parts.path.rstrip("/")
        self.timeout = timeout
        self.clock = Clock()
        """The service's time, as far as its answers say it."""
        self._etag: str | None = None
        self._document: Document | None = None

    def stamp(self) -> str:
        """The entity tag of the service's snapshot; fetches the snapshot when it changed."""
        headers = {} if self._etag is None else {"If-None-Match": self._etag}
        reply = self._call("GET", "/v1/snapshot", headers=headers)
        if reply.status == 304 and self._etag is not None:
            return self._etag
        if reply.status != 200:
            raise StoreUnavailable(f"/v1/snapshot answered {reply.status}")
        self._document = _parsed(reply, "/v1/snapshot")
        # a proxy may drop the tag; the body then says what changed
        self._etag = reply.headers.get("etag") or sha256(reply.body).hexdigest()
        return self._etag

    def document(self) -> Document:
        """The snapshot as last fetched."""
        if self._document is None:
            raise StoreUnavailable("no snapshot was fetched yet")
        return self._document

    def send(self, events: Sequence[bytes]) -> list[Mapping[str, Any]]:
        """Send events (JSON objects); one item each, in order, every one final.

        Raises:
            StoreUnavailable: the service is away or cannot keep them now; send them again later.
            RefusedBatch: it will never take this request.
        """
        reply = self._call("POST", "/v1/events", body=b'{"events":[' + b",".join(events) + b"]}")
        if reply.status in _FINAL_REFUSALS:
            raise RefusedBatch(f"/v1/events answered {reply.status}: {reply.body[:300]!r}")
        answer = _parsed(reply, "/v1/events") if reply.status == 200 else None
        items = answer.get("items") if isinstance(answer, dict) else None
        if not isinstance(items, list) or len(items) != len(events) or not all(map(_is_final, items)):
            raise StoreUnavailable(f"/v1/events answered {reply.status} without a status for each event")
        return items

    def predict(self, model: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Ask for a prediction. Raises StoreUnavailable, BadInput for a refused request."""
        reply = self._call("POST", f"/v1/predict/{quote(model, safe='')}", body=json.dumps(body).encode())
        answer = _parsed(reply, "/v1/predict")
        if not isinstance(answer, dict):
            raise StoreUnavailable(f"/v1/predict answered {reply.status} without an object")
        if reply.status == 200 and "prediction" in answer:
            return answer
        detail = str(answer.get("detail", ""))
        if 400 <= reply.status < 500:
            raise BadInput(detail, field="predict", fix="see the detail")
        raise StoreUnavailable(f"/v1/predict answered {reply.status} without a prediction: {detail}")

    def _call(
        self, method: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        began = time.monotonic()
        deadline = began + self.timeout
        connection = self._kind(self._host, self._port, timeout=self.timeout)
        try:
            sent = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, self._prefix + path, body, {**sent, **(headers or {})})
            with connection.getresponse() as answer:
                found = {name.lower(): value for name, value in answer.getheaders()}
                said = found.get(CLOCK_HEADER.lower(), "")
                if re.fullmatch("[0-9]{1,15}", said):
                    self.clock.hear(int(said) / 1000, seconds=time.monotonic() - began)
                return Reply(answer.status, found, _body(answer, deadline))
        except (OSError, http.client.HTTPException) as error:
            raise StoreUnavailable(f"{path}: {error!r}") from error
        finally:
            connection.close()


def _body(answer: http.client.HTTPResponse, deadline: float) -> bytes:
    """The whole body, of a bounded size and by the deadline: an answer may trickle or never end."""
    chunks: list[bytes] = []
    size = 0
    while chunk := answer.read1(_BYTES_AT_A_TIME):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_BYTES:
            raise StoreUnavailable(f"an answer of more than {MAX_BYTES} bytes")
        if time.monotonic() > deadline:
            raise StoreUnavailable("an answer did not end in time")
    if answer.length:
        raise StoreUnavailable(f"an answer ended {answer.length} bytes early")
    return b"".join(chunks)


def _parsed(reply: Reply, path: str) -> Any:
    """The body as JSON. Raises StoreUnavailable."""
    try:
        return json.loads(reply.body)
    except (ValueError, RecursionError) as error:
        raise StoreUnavailable(f"{path} answered {reply.status} without JSON: {error}") from error


def _is_final(item: object) -> bool:
    return isinstance(item, dict) and item.get("status") in _STATUSES
