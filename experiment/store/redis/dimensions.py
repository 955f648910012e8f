"""Numbers for dimension values and event types: the first VALUES_PER_DIMENSION get one, the rest are OTHER.

A value is numbered before the first exposure that carries it is counted, and keeps its number for ever, so
the same exposure counts under the same value whenever and wherever it is folded.
"""

from __future__ import annotations

from collections.abc import Iterable

import redis

from switchpoint.experiment.ledger.fold import TYPES, VALUES_PER_DIMENSION, DimensionValues, LedgerPlan
from switchpoint.experiment.ledger.plan import Checked
from switchpoint.experiment.store.redis.connection import SmallScript
from switchpoint.experiment.store.redis.errors import store_errors
from switchpoint.experiment.store.redis.keys import ProjectKeys
from switchpoint.experiment.store.redis.layout import TYPE_PLACE, Numbers
from switchpoint.experiment.store.redis.meant import SAME_STORE, MeantStore

# KEYS 1 the dimension; ARGV 2 how many values it may have, then values. Reply: all values with their numbers.
_NUMBER = f"""{SAME_STORE}
local used = redis.call('HLEN', KEYS[1])
for i = 3, #ARGV do
  if used >= tonumber(ARGV[2]) then break end
  used = used + redis.call('HSETNX', KEYS[1], ARGV[i], used + 1)
end
return redis.call('HGETALL', KEYS[1])
"""


class DimensionNumbers:
    """The numbers of one project, cached: they never change."""

    def __init__(self, client: redis.Redis, keys: ProjectKeys, store: MeantStore) -> None:
        """Nothing is read before it is needed."""
        self._client, self._keys, self._store = client, keys, store
        self._script = SmallScript(client, _NUMBER)
        self._known: dict[tuple[int, int], dict[str, int]] = {}

    @property
    def known(self) -> Numbers:
        """(ordinal, dimension position) → value → number, as far as this process has met them."""
        return self._known

    def learn(self, checked: Iterable[Checked | None], plan: LedgerPlan) -> None:
        """Number the values and types that appear for the first time. Raises StoreUnavailable."""
        missing: dict[tuple[int, int], dict[str, None]] = {}
        types = self._known.get(TYPE_PLACE, {})
        new = {slot.event: None for slot in plan.slots if slot.event not in types}
        for one in checked:
            if one is None:
                continue
            exposure = one.event.exposure
            if exposure is None:
                if one.event.type not in types:
                    new[one.event.type] = None
                continue
            experiment = one.plan.by_key[exposure.experiment]
            for position, name in enumerate(experiment.dimensions, 1):
                place = (experiment.ordinal, position)
                value = exposure.dimensions.get(name, "")
                known = self._known.get(place, {})
                if value not in known and len(known) < VALUES_PER_DIMENSION:
                    missing.setdefault(place, {})[value] = None
        if new and len(types) < VALUES_PER_DIMENSION:
            missing[TYPE_PLACE] = new
        for place, values in missing.items():
            with store_errors():
                reply = self._script(
                    keys=[self._keys.dimension(*place), self._keys.identity()],
                    args=[self._store.argument(), VALUES_PER_DIMENSION, *values],
                )
            pairs = iter(reply)
            self._known[place] = {
                value.decode(): int(number) for value, number in zip(pairs, pairs, strict=True)
            }

    def load(self, plan: LedgerPlan) -> Numbers:
        """All numbers of the plan's experiments, fresh from the store. Raises StoreUnavailable."""
        places = [TYPE_PLACE]
        places += ((e.ordinal, at) for e in plan.experiments for at in range(1, len(e.dimensions) + 1))
        with store_errors():
            pipeline = self._client.pipeline(transaction=False)
            for place in places:
                pipeline.hgetall(self._keys.dimension(*place))
            replies = pipeline.execute()
        for place, reply in zip(places, replies, strict=True):
            self._known[place] = {value.decode(): int(number) for value, number in reply.items()}
        return {place: self._known[place] for place in places}

    def values(self, plan: LedgerPlan) -> DimensionValues:
        """The numbered values by (experiment, dimension), fresh from the store. Raises StoreUnavailable."""
        numbers = self.load(plan)
        return {TYPES: tuple(numbers[TYPE_PLACE])} | {
            (experiment.key, name): tuple(numbers[(experiment.ordinal, position)])
            for experiment in plan.experiments
            for position, name in enumerate(experiment.dimensions, 1)
        }
