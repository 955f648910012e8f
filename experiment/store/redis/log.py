"""The shard logs, streams with an entry per batch read in pages; and the events that were refused."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import cast

import redis

from switchpoint.experiment.errors import Corrupt
from switchpoint.experiment.ledger.codec import from_document
from switchpoint.experiment.ledger.event import Event
from switchpoint.experiment.ledger.protocol import DEAD_LETTERS, DeadLetter
from switchpoint.experiment.store.redis.errors import store_errors
from switchpoint.experiment.store.redis.keys import ProjectKeys
from switchpoint.experiment.store.redis.meant import SAME_STORE, MeantStore

_PAGE = 100
"""Entries per read: up to 200 events each, some 5 MB."""
_SEARCHED_UNITS = 100
_SEARCHED_ENTRIES = 5_000
"""Entries that are searched for the events of one unit: about a second's work."""
_LAST_ENTRIES = 10
"""Entries per read of the newest events: a few of them have enough."""


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


def search_back(client: redis.Redis, key: str, unit: str, *, since: int, limit: int) -> list[Event]:
    """The last `limit` events of a unit, the last accepted first, if they lie in the last entries.

    Args:
        since: the second before which there are none. Raises as `read_log`.
    """
    wanted, events = _mentions({unit}), list[Event]()
    pages = _entries_back(client, key, page=_PAGE, until=str(since * 1000))
    for entry, fields in islice(pages, _SEARCHED_ENTRIES):
        accepted = fields.get(b"e", b"[]")
        if wanted and wanted.search(accepted):
            events += (event for event in reversed(_events(accepted, entry, key)) if event.unit == unit)
        if len(events) >= limit:
            break
    return events[:limit]


def read_back(client: redis.Redis, key: str) -> Iterator[tuple[tuple[int, int], Event]]:
    """The accepted events, the last one first, each with the place of its entry. Raises as `read_log`."""
    for entry, fields in _entries_back(client, key, page=_LAST_ENTRIES, until="-"):
        at, _, number = entry.decode().partition("-")
        for event in reversed(_events(fields.get(b"e", b"[]"), entry, key)):
            yield (int(at), int(number)), event


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


def _entries_back(
    client: redis.Redis, key: str, *, page: int, until: str
) -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
    last = "+"
    while True:
        with store_errors():
            found = cast(
                "list[tuple[bytes, dict[bytes, bytes]]]",
                client.xrevrange(key, max=last, min=until, count=page),
            )
        yield from found
        if len(found) < page:
            return
        last = "(" + found[-1][0].decode()


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


# KEYS 1 letters, 2 counts, 3 token; ARGV 2 letters kept, 3 how many causes, then cause, count, ...,
# then raw, reason, cause of each letter. A token that is there was counted before its answer was lost.
_REFUSE = f"""{SAME_STORE}
if not redis.call('SET', KEYS[3], '', 'NX', 'EX', 86400) then return 0 end
local letters = 4 + 2 * ARGV[3]
for i = 4, letters - 1, 2 do redis.call('HINCRBY', KEYS[2], ARGV[i], ARGV[i + 1]) end
for i = letters, #ARGV, 3 do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*',
    'raw', ARGV[i], 'reason', ARGV[i + 1], 'cause', ARGV[i + 2])
end
return 1
"""


class Letters:
    """The refused events of one project."""

    def __init__(self, client: redis.Redis, keys: ProjectKeys, store: MeantStore) -> None:
        """Nothing is read yet."""
        self._client, self._keys, self._store = client, keys, store

    def refuse(
        self, letters: Sequence[DeadLetter], *, token: str, uncounted: Mapping[str, int] | None = None
    ) -> None:
        """See `Ledger.refuse`. Raises StoreUnavailable."""
        counts = Counter(uncounted or {})
        counts.update(letter.cause for letter in letters)
        flat: list[str | int | bytes] = [item for pair in counts.items() for item in pair]
        flat += [part.encode(errors="replace") for x in letters for part in (x.raw, x.reason, x.cause)]
        keys = (
            self._keys.dead_letters(), self._keys.refusals(), self._keys.refusal_token(token),
            self._keys.identity(),
        )  # fmt: skip
        with store_errors():
            self._client.eval(
                _REFUSE, len(keys), *keys, self._store.argument(), DEAD_LETTERS, len(counts), *flat
            )

    def refusals(self) -> dict[str, int]:
        """How many were refused, by cause. Raises StoreUnavailable."""
        with store_errors():
            stored = cast("dict[bytes, bytes]", self._client.hgetall(self._keys.refusals()))
        return {cause.decode(): int(count) for cause, count in stored.items()}

    def newest(self, limit: int) -> list[DeadLetter]:
        """The newest letters first. Raises StoreUnavailable."""
        with store_errors():
            entries = self._client.xrevrange(self._keys.dead_letters(), count=limit)
        found = (fields for _, fields in cast("list[tuple[bytes, dict[bytes, bytes]]]", entries))
        return [
            DeadLetter(raw=f[b"raw"].decode(), reason=f[b"reason"].decode(), cause=f[b"cause"].decode())
            for f in found
        ]
