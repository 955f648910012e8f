"""Reading a request body: bounded in size before anything is parsed, then strict JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchpoint.router.http.problem import BadBody, Encoding, TooLarge
from switchpoint.router.http.strict_json import JsonError, parse

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

MAX_BODY_BYTES = 1_000_000
MAX_CONTAINERS = 20_000
"""Lists and objects of a body: each costs up to fifty times its bytes, in time and in memory."""


class BodyReader:
    """Reads JSON bodies of at most `limit` bytes; their time is the server's to bound."""

    __slots__ = ("_limit",)

    def __init__(self, *, limit: int = MAX_BODY_BYTES) -> None:
        self._limit = limit

    def json(self, environ: WSGIEnvironment) -> object:
        """The parsed body. Content types are not looked at: many clients send none or a wrong one.

        Raises:
            TooLarge: announced or real size, or its lists and objects, beyond the limit; nothing was parsed.
            SlowBody: it did not arrive in time; raised by the server that reads it.
            Encoding: it is compressed.
            BadBody: not JSON: malformed, not UTF-8, NaN, too deep, a key twice, a number beyond a double.
        """
        body = self._bytes(environ)
        containers = body.count(b"[") + body.count(b"{")  # in texts too, which have as good as none
        if containers > MAX_CONTAINERS:
            raise TooLarge(
                f"the body has more than {MAX_CONTAINERS} lists and objects",
                field="body",
                value=containers,
                fix="send smaller batches",
            )
        try:
            return parse(body)
        except JsonError as error:
            raise BadBody(
                f"the body is not JSON: {error}",
                fix="send UTF-8 JSON, each key once, no NaN, no infinity",
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
        elif not (environ.get("wsgi.input_terminated") or "HTTP_TRANSFER_ENCODING" in environ):
            return b""
        # one byte beyond the limit shows a body without a length to be too large, and any other to end
        body: bytes = environ["wsgi.input"].read(self._limit + 1)
        if len(body) > self._limit:
            raise self._too_large(len(body))
        return body

    def _too_large(self, size: int) -> TooLarge:
        return TooLarge(
            f"the body exceeds {self._limit} bytes", field="body", value=size, fix="send smaller batches"
        )
