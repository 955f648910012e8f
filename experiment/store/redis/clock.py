"""A newest event day ahead of the store's clock, where versions of before let one sender's put it: mended.

Since the newest day waits for the store's clock (docs/decisions/0011-two-clocks.md) none comes into being.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import redis

from switchpoint.experiment.definition.types import DAY_MS
from switchpoint.experiment.errors import Conflict
from switchpoint.experiment.ledger.event import Event
from switchpoint.experiment.store.redis.batch import Settings
from switchpoint.experiment.store.redis.connection import ServerFinding, Severity, server_time
from switchpoint.experiment.store.redis.errors import store_errors
from switchpoint.experiment.store.redis.ids import Days
from switchpoint.experiment.store.redis.keys import ShardKeys
from switchpoint.experiment.store.redis.log import read_late

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
