"""Event days: how long event ids are kept, and a newest day ahead of the clock, mended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

import redis

from switchpoint.experiment.definition.types import DAY_MS
from switchpoint.experiment.errors import Conflict
from switchpoint.experiment.ledger.event import Event
from switchpoint.experiment.store.redis.batch import Settings
from switchpoint.experiment.store.redis.connection import ServerFinding, Severity, server_time
from switchpoint.experiment.store.redis.errors import store_errors
from switchpoint.experiment.store.redis.keys import ShardKeys, event_hash, unit_digest
from switchpoint.experiment.store.redis.log import read_late, read_log

_CHUNK = 1000

# KEYS 1 history days, 2 swept days, 3 days, then every id bucket of the day; ARGV 1 the day. Reply 1: swept.
_SWEEP = """
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 1 then return 0 end
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('SREM', KEYS[3], ARGV[1])
for i = 4, #KEYS do redis.call('UNLINK', KEYS[i]) end
return 1
"""


class Days:
    """The id buckets of one shard by day."""

    def __init__(self, client: redis.Redis, keys: ShardKeys, settings: Settings) -> None:
        """Nothing is read yet."""
        self._client, self._keys, self._settings = client, keys, settings
        self._sweep = client.register_script(_SWEEP)
        self._claimed: set[int] = set()

    def sweep(self) -> int:
        """Remove the ids of days that only late events can hit; how many days. Raises StoreUnavailable."""
        keys, buckets = self._keys, range(self._settings.id_buckets)
        with store_errors():
            # a newest day ahead of the store's clock (docs/redis.md) would take the ids of today with it
            today = self._client.time()[0] * 1000 // DAY_MS
            newest = min(int(self._client.hget(keys.facts(), "newest") or 0), today)
            days = {int(day) for day in self._client.sdiff([keys.days(), keys.history_days()])}
            gone = 0
            for day in sorted(day for day in days if day < newest - self._settings.dedupe_days):
                sets = [keys.history_days(), keys.swept_days(), keys.days()]
                gone += int(self._sweep(keys=[*sets, *(keys.ids(day, b) for b in buckets)], args=[day]))
        return gone

    def claim(self, days: Iterable[int]) -> None:
        """Keep the ids of `days` for ever, bringing back those already swept. Raises StoreUnavailable."""
        new = sorted(set(days) - self._claimed)
        if not new:
            return
        with store_errors():
            # claimed first: a sweep that runs now either came before (and is seen here) or leaves the day
            self._client.sadd(self._keys.history_days(), *new)
            swept = self._client.smismember(self._keys.swept_days(), new)
        self._restore({day for day, gone in zip(new, swept, strict=True) if gone})
        self._claimed.update(new)

    def _restore(self, days: set[int]) -> None:
        if not days:
            return
        chunk: list[tuple[str, int]] = []
        for event in read_log(self._client, self._keys.log()):
            day = event.at // DAY_MS
            if day in days:
                identity = event_hash(unit_digest(event.unit), event.id)
                chunk.append((self._keys.ids(day, identity % self._settings.id_buckets), identity))
            if len(chunk) == _CHUNK:
                self._add(chunk)
                chunk = []
        self._add(chunk)
        with store_errors():
            # only now: whoever finds a day still swept restores it again, which adds nothing twice
            self._client.srem(self._keys.swept_days(), *days)

    def _add(self, ids: list[tuple[str, int]]) -> None:
        with store_errors():
            pipeline = self._client.pipeline(transaction=False)
            for key, identity in ids:
                pipeline.sadd(key, identity)
            pipeline.execute()


# KEYS 1 facts; ARGV 1 newest day as it was read, 2 as it should be. Reply 1: done.
_TAKE_BACK = """
if redis.call('HGET', KEYS[1], 'newest') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'newest', ARGV[2])
return 1
"""

# KEYS 1 facts; ARGV 1 last log entry settled before ('' for none), 2 the one settled now, 3 its events.
# Reply 1: done.
_SETTLE = """
if (redis.call('HGET', KEYS[1], 'settled') or '') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'settled', ARGV[2])
redis.call('HINCRBY', KEYS[1], 'late', -ARGV[3])
return 1
"""
_MOVED = (
    "somebody else mends the ledger, or moves its newest day. "
    "Fix: end services of older versions, then repeat"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardClock:
    """What a wrong clock did to one shard.

    `newest` is its newest event day and `right` what it should be (days since 1970), the same where nothing
    is wrong. `late` are events that were late only because it was wrong, and were not counted since.
    """

    newest: int
    right: int
    late: int


class NewestDay:
    """The newest event day of one shard."""

    def __init__(self, client: redis.Redis, keys: ShardKeys, settings: Settings, days: Days) -> None:
        """Nothing is read yet."""
        self._client, self._keys, self._keep, self._days = client, keys, settings.dedupe_days, days
        self._settled = ""  # the log entry up to which wrongly late events are counted

    def look(self) -> ShardClock:
        """What is wrong; reads the whole log. Raises StoreUnavailable, Corrupt."""
        newest, right = self.days()
        late = sum(len(events) for _, events in self.wrongly_late())
        return ShardClock(newest=newest, right=right, late=late)

    def days(self) -> tuple[int, int]:
        """The newest day as it is and as it should be: the last day of a live event the store has reached."""
        keys, today = self._keys, int(server_time(self._client) * 1000) // DAY_MS
        with store_errors():
            newest = int(self._client.hget(keys.facts(), "newest") or 0)
            if newest <= today:
                return newest, newest
            live = {int(day) for day in self._client.sunion([keys.days(), keys.swept_days()])}
        return newest, max((day for day in live if day <= today), default=today)

    def take_back(self) -> None:
        """Put the newest day right. Raises Conflict where somebody moves it meanwhile."""
        newest, right = self.days()
        if newest == right:
            return
        with store_errors():
            swept = {int(day) for day in self._client.smembers(self._keys.swept_days())}
        # first the ids that a sweep took for days of late events: without them an event could count twice
        self._days.claim(day for day in swept if day >= right - self._keep)
        with store_errors():
            done = self._client.eval(_TAKE_BACK, 1, self._keys.facts(), newest, right)
        if not done:
            raise Conflict(_MOVED)

    def wrongly_late(self) -> Iterator[tuple[str, list[Event]]]:
        """Per log entry behind the settled ones the events that were not late by the store's clock then."""
        with store_errors():
            self._settled = cast("bytes", self._client.hget(self._keys.facts(), "settled") or b"").decode()
        first = f"({self._settled}" if self._settled else "-"
        for entry, events in read_late(self._client, self._keys.log(), first=first):
            oldest = int(entry.partition("-")[0]) // DAY_MS - self._keep
            wrong = [event for event in events if event.at // DAY_MS >= oldest]
            if wrong:
                yield entry, wrong

    def settle(self, entry: str, events: int) -> None:
        """Note that late `events` of an `entry` of `wrongly_late` are counted. Raises Conflict."""
        with store_errors():
            done = self._client.eval(_SETTLE, 1, self._keys.facts(), self._settled, entry, events)
        if not done:
            raise Conflict(_MOVED)
        self._settled = entry


def newest_finding(days: int) -> ServerFinding:
    """What it means that the newest event day is `days` ahead."""
    return ServerFinding(
        name="newest day",
        value=f"{days} days ahead" if days else "not ahead of the server's clock",
        severity=Severity.WARN if days else Severity.OK,
        fix="events of today may be late: see `switchpoint repair clock`" if days else "",
    )
