"""Raw HTTP for tests: status, headers and parsed body, also of errors."""

from __future__ import annotations

import http.client
import json
from typing import Any

from switchpoint.router.serving.launch import ServingProcess


def request(
    serving: ServingProcess,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    *,
    timeout: float = 30.0,
) -> tuple[int, dict[str, str], Any]:
    """One request on its own connection; JSON bodies are parsed, others are bytes."""
    connection = http.client.HTTPConnection(serving.host, serving.port, timeout=timeout)
    try:
        connection.request(method, path, body, headers or {})
        with connection.getresponse() as response:
            raw = response.read()
            found = {name.lower(): value for name, value in response.getheaders()}
            parsed = json.loads(raw) if "json" in found.get("content-type", "") else raw
            return response.status, found, parsed
    finally:
        connection.close()


def post(
    serving: ServingProcess,
    path: str,
    body: object,
    headers: dict[str, str] | None = None,
    *,
    timeout: float = 30.0,
) -> tuple[int, dict[str, str], Any]:
    """POST JSON, or bytes as they are."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return request(serving, "POST", path, raw, headers, timeout=timeout)


def get(
    serving: ServingProcess, path: str, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], Any]:
    """GET."""
    return request(serving, "GET", path, None, headers)
