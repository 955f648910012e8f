"""How long event ids are kept: a few days behind the newest event, and for ever where history was imported.

A live event of a day that was swept is late, so forgetting its ids is safe. An import must not count again
what is already counted, so it first claims its days: a claimed day is never swept, and the ids of one swept
before are read back from the log.
"""

from __future__ import annotations

from collections.abc import Iterable

import redis

from switchpoint.experiment.definition.types import DAY_MS
from switchpoint.experiment.store.redis.batch import Settings
from switchpoint.experiment.store.redis.errors import store_errors
from switchpoint.experiment.store.redis.keys import ShardKeys, event_hash, unit_digest
from switchpoint.experiment.store.redis.log import read_log

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
