"""Errors of our own routes as RFC 9457 problem+json with a stable `code`; the one table of statuses."""

from __future__ import annotations

import http.client
from collections.abc import Iterable, Mapping

import orjson

from switchpoint.experiment.errors import (
    BadInput,
    Conflict,
    Corrupt,
    LifecycleError,
    NotFound,
    PlatformError,
    Refused,
    SpoolFull,
    StoreUnavailable,
    SwitchpointError,
    shown,
)

CONTENT_TYPE = "application/problem+json"
RETRY_SECONDS = "2"
SECURITY_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
)
"""Of every answer: nothing here is a page."""


class TooLarge(BadInput):
    """The body or the batch exceeds its limit."""

    code = "too_large"


class BadBody(BadInput):
    """The body is no JSON (or not UTF-8, or holds NaN)."""

    code = "bad_json"


class SlowBody(BadInput):
    """The body did not arrive in time."""

    code = "slow_body"


class MethodNotAllowed(BadInput):
    """The route exists, the method does not."""

    code = "method_not_allowed"


class Encoding(BadInput):
    """A Content-Encoding that is not accepted here."""

    code = "bad_encoding"


class LoggedOut(BadInput):
    """Nobody is logged in, or their session ended."""

    code = "logged_out"


class Forbidden(BadInput):
    """The role does not allow this, or the request does not come from our own page."""

    code = "forbidden"


class TooManyAttempts(BadInput):
    """Too many log-ins failed a moment ago."""

    code = "too_many_attempts"


# the first class an error is an instance of decides
STATUSES: Mapping[type[SwitchpointError], int] = {
    LoggedOut: 401,
    Forbidden: 403,
    TooManyAttempts: 429,
    TooLarge: 413,
    SlowBody: 408,
    MethodNotAllowed: 405,
    Encoding: 415,
    NotFound: 404,
    LifecycleError: 409,
    Refused: 409,
    BadInput: 400,
    Conflict: 409,
    SpoolFull: 503,
    StoreUnavailable: 503,
    Corrupt: 500,
    PlatformError: 503,
}


TITLES = {
    400: "That cannot be used",
    401: "You are not logged in",
    403: "You may not do that",
    404: "There is no such thing",
    405: "That cannot be done here",
    409: "Nothing was done",
    413: "That is too large",
    429: "Too many attempts",
    500: "Something failed here",
    503: "The store is away",
}
"""What a page says first."""


def status_of(error: SwitchpointError) -> int:
    """The HTTP status of an error; 500 for a class nobody listed."""
    return next((status for kind, status in STATUSES.items() if isinstance(error, kind)), 500)


def document(
    status: int, code: str, detail: str, errors: Iterable[Mapping[str, object]] = ()
) -> dict[str, object]:
    """The problem document. `message` repeats `detail` for event clients that look for that name."""
    return {
        "type": "about:blank",
        "title": http.client.responses.get(status, "Error"),
        "status": status,
        "detail": detail,
        "code": code,
        "message": detail,
        "errors": list(errors),
    }


def of_error(error: SwitchpointError) -> tuple[int, bytes]:
    """Status and body for an error raised on purpose; names field, value and fix where they are known."""
    status = status_of(error)
    errors: list[dict[str, object]] = []
    if isinstance(error, BadInput):
        errors = [
            {"field": error.field, "value": shown(error.value), "message": error.message, "fix": error.fix}
        ]
    return status, orjson.dumps(document(status, error.code, str(error), errors))


def whole_answer(status: int, code: str, detail: str, headers: Mapping[str, str]) -> bytes:
    """A problem as it goes over the wire, for requests that no application sees; the connection closes."""
    body = orjson.dumps(document(status, code, detail))
    sent = {
        "Connection": "close",
        "Content-Type": CONTENT_TYPE,
        "Content-Length": str(len(body)),
        **dict(SECURITY_HEADERS),
        **headers,
    }
    lines = [
        f"HTTP/1.1 {status_line(status)}",
        *(f"{name}: {value}" for name, value in sent.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def status_line(status: int) -> str:
    """`404 Not Found`."""
    return f"{status} {http.client.responses.get(status, 'Error')}"
