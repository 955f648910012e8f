"""The shard logs: streams with one entry per batch, read in pages."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import cast

import redis

from switchpoint.experiment.errors import Corrupt
from switchpoint.experiment.ledger.codec import from_document
from switchpoint.experiment.ledger.event import Event
from switchpoint.experiment.store.redis.errors import store_errors

_PAGE = 100
"""Entries per read: up to 200 events each, some 5 MB."""
_SEARCHED_UNITS = 100


def read_log(
    client: redis.Redis, key: str, *, first: str = "-", units: Collection[str] | None = None
) -> Iterator[Event]:
    """The accepted events from entry `first` on ("(id" starts behind id), in order of acceptance.

    With `units` at least the events of those units; entries in which none of them appears are not parsed.

    Raises:
        StoreUnavailable: Redis went away in between.
        Corrupt: names the entry that cannot be read.
    """
    wanted = _mentions(units)
    for entry, fields in _entries(client, key, first):
        accepted = fields.get(b"e", b"[]")
        if not wanted or wanted.search(accepted):
            yield from _events(accepted, entry, key)


def read_late(client: redis.Redis, key: str, *, first: str = "-") -> Iterator[tuple[str, list[Event]]]:
    """The late events from entry `first` on, with the id of their entry. Raises as `read_log`."""
    for entry, fields in _entries(client, key, first):
        if b"l" in fields:
            yield entry.decode(), _events(fields[b"l"], entry, key)


def _entries(client: redis.Redis, key: str, first: str) -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
    while True:
        with store_errors():
            # redis-py's types allow for text replies and for entries of claims; XRANGE with bytes has neither
            page = cast("list[tuple[bytes, dict[bytes, bytes]]]", client.xrange(key, min=first, count=_PAGE))
        yield from page
        if len(page) < _PAGE:
            return
        first = "(" + page[-1][0].decode()


def _events(text: bytes, entry: bytes, key: str) -> list[Event]:
    try:
        return [from_document(document) for document in json.loads(text)]
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(f"log entry {entry.decode()} of {key} cannot be read: {error}") from error


def _mentions(units: Collection[str] | None) -> re.Pattern[bytes] | None:
    """Finds the units in canonical JSON; None where there are so many that parsing costs less."""
    if units is None or len(units) > _SEARCHED_UNITS:
        return None
    names = (re.escape(json.dumps(unit, ensure_ascii=False).encode()) for unit in units)
    return re.compile(b'"unit":(?:' + b"|".join(names) + b")")
