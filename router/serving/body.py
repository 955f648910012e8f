"""Reading a request body: bounded in size and time before anything is parsed, then strict JSON."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import orjson

from router.serving.problem import BadBody, Encoding, SlowBody, TooLarge

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

MAX_BODY_BYTES = 1_000_000
BODY_SECONDS = 10.0

Timer = Callable[[float, Exception], AbstractContextManager[object]]
"""Makes a context that raises the exception inside it after so many seconds (`gevent.Timeout` fits)."""


def no_timer(_seconds: float, _error: Exception) -> AbstractContextManager[object]:
    """For servers that bound a request's time themselves."""
    return nullcontext()


class BodyReader:
    """Reads JSON bodies of at most `limit` bytes that arrive within `seconds`."""

    __slots__ = ("_limit", "_seconds", "_timer")

    def __init__(
        self, *, limit: int = MAX_BODY_BYTES, seconds: float = BODY_SECONDS, timer: Timer = no_timer
    ) -> None:
        """`timer` is injected, so that this module needs no event loop."""
        self._limit, self._seconds, self._timer = limit, seconds, timer

    def json(self, environ: WSGIEnvironment) -> object:
        """The parsed body. Content types are not looked at: many clients send none or a wrong one.

        Raises:
            TooLarge: announced or real size beyond the limit; nothing was parsed.
            SlowBody: it did not arrive in time.
            Encoding: it is compressed.
            BadBody: not JSON: malformed, not UTF-8, NaN, too deep, a number beyond a double.
        """
        body = self._bytes(environ)
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise BadBody(
                f"the body is not JSON: {error}", fix="send UTF-8 JSON; NaN and infinities are not JSON"
            ) from None

    def _bytes(self, environ: WSGIEnvironment) -> bytes:
        if environ.get("HTTP_CONTENT_ENCODING", "identity").lower() not in {"", "identity"}:
            raise Encoding(
                "compressed bodies are not accepted", field="Content-Encoding", fix="send it plain"
            )
        announced = environ.get("CONTENT_LENGTH") or ""
        if announced.isdecimal():
            size = int(announced)
            if size > self._limit:
                raise self._too_large(size)
        elif environ.get("wsgi.input_terminated") or "HTTP_TRANSFER_ENCODING" in environ:
            size = self._limit + 1  # chunked: read one byte beyond the limit to know
        else:
            return b""
        with self._timer(self._seconds, SlowBody(f"the body did not arrive within {self._seconds:g} s")):
            body: bytes = environ["wsgi.input"].read(size)
        if len(body) > self._limit:
            raise self._too_large(len(body))
        return body

    def _too_large(self, size: int) -> TooLarge:
        return TooLarge(
            f"the body exceeds {self._limit} bytes", field="body", value=size, fix="send smaller batches"
        )
