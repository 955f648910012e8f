"""JSON from outside: only what can be written again, and no key twice in one object.

orjson reads deeper than it writes, and of two equal keys every reader takes another.
"""

from __future__ import annotations

import json

import orjson


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
