"""Bodies of requests: read within their limits, and parsed as strict JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import orjson

from switchpoint.router.http.problem import BadBody, Encoding, TooLarge

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


class JsonError(ValueError):
    """The text cannot be used; `str()` says why."""


def parse(text: bytes) -> object:
    """The document. Raises JsonError."""
    try:
        document: object = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise JsonError(str(error)) from None
    try:
        again = orjson.dumps(document)
    except orjson.JSONEncodeError:
        raise JsonError("nested too deep") from None
    # a key that was lost took its colon with it; \u003a is one that is written as itself
    if text.count(b":") != again.count(b":") or b"\\u003" in text:
        json.loads(text, object_pairs_hook=_once)
    return document


def _once(pairs: list[tuple[str, object]]) -> None:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise JsonError(f"the key {key[:60]!r} stands twice in one object")
        seen.add(key)


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
