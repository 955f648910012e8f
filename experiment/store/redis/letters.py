"""Events that were refused: counted in a hash, the newest kept in a stream of about DEAD_LETTERS entries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import cast

import redis

from switchpoint.experiment.ledger.protocol import DEAD_LETTERS, DeadLetter
from switchpoint.experiment.store.redis.errors import store_errors
from switchpoint.experiment.store.redis.keys import ProjectKeys
from switchpoint.experiment.store.redis.meant import SAME_STORE, MeantStore

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
