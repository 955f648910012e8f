"""Which store is meant: a ledger counts in the one whose records were seen, and in no other.

A failover, a flush or another volume may come between two looks at the records, on a connection that stays.
So every script that writes compares the store's identity in the same step; the shards, which a cluster keeps
elsewhere than the identity, know the store that they belong to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

import redis
from redis.exceptions import ResponseError

from switchpoint.experiment.errors import StoreUnavailable
from switchpoint.experiment.store.redis.errors import store_errors, unavailable
from switchpoint.experiment.store.redis.keys import ProjectKeys, ShardKeys

# A script's beginning. KEYS last: the identity of the store that answers; ARGV 1 the one meant, '*' for any.
SAME_STORE = """
if ARGV[1] ~= '*' and ARGV[1] ~= (redis.call('GET', KEYS[#KEYS]) or '') then
  return redis.error_reply('OTHERSTORE')
end
"""


class MeantStore:
    """The store that a ledger writes to, by the identity of its records."""

    def __init__(self, client: redis.Redis, keys: ProjectKeys, seen: Callable[[], str | None] | None) -> None:
        """`seen` as the argument `store` of `RedisLedger`."""
        self._client, self._keys, self._seen = client, keys, seen

    def identity(self) -> str | None:
        """The identity of the store that is meant, None for any. Raises StoreUnavailable while unknown."""
        if self._seen is None:
            return None
        store = self._seen()
        if store is None:
            raise StoreUnavailable("nothing is written to a store before its records were seen")
        return store

    def argument(self) -> str:
        """The first argument of a script that begins with SAME_STORE. Raises as `identity`."""
        store = self.identity()
        return "*" if store is None else store

    def take(self, shard: ShardKeys, store: str, *, before: bytes) -> None:
        """Let a shard that belongs to no store yet (`before` is empty) belong to `store`, if that answers.

        Raises StoreUnavailable where another one does.
        """
        with store_errors():
            answering = cast("bytes", self._client.get(self._keys.identity()) or b"")
            if before or answering.decode() != store:
                raise unavailable(ResponseError("OTHERSTORE"))
            self._client.hsetnx(shard.facts(), "store", store)

    def adopt(self, shards: Iterable[ShardKeys], store: str) -> None:
        """Let the shards that belong to a store belong to `store`. Raises StoreUnavailable."""
        with store_errors():
            for shard in shards:
                if self._client.hexists(shard.facts(), "store"):
                    self._client.hset(shard.facts(), "store", store)
