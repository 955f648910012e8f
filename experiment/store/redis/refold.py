"""Settles dirty units: folds their events from the log and lets the refold script replace their records."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar, cast

import redis

from switchpoint.experiment.ledger.event import Event
from switchpoint.experiment.ledger.fold import LedgerPlan, UnitRecord, fold_unit
from switchpoint.experiment.store.redis.batch import Settings
from switchpoint.experiment.store.redis.connection import SmallScript
from switchpoint.experiment.store.redis.errors import store_errors
from switchpoint.experiment.store.redis.keys import ShardKeys, bucket_of, unit_digest
from switchpoint.experiment.store.redis.layout import (
    TYPE_PLACE,
    Numbers,
    ScriptPlan,
    record_numbers,
    record_since,
)
from switchpoint.experiment.store.redis.log import read_log

UNITS_PER_CALL = 200
_UNITS_PER_PASS = 50_000
"""Units whose events are held in memory at once; each pass reads the log again from its oldest unit on."""

_Item = TypeVar("_Item")


def halved(items: list[_Item], call: Callable[[list[_Item]], str]) -> Iterator[tuple[_Item, str]]:
    """Each item with its letter from `call`, halving a list that `call` answers with "".

    A script refuses a whole call when one item has no room in its cell; halving finds that item, which then
    has "" as its letter.
    """
    letters = call(items)
    if letters:
        yield from zip(items, letters, strict=True)
    elif len(items) == 1:
        yield items[0], ""
    else:
        middle = len(items) // 2
        yield from halved(items[:middle], call)
        yield from halved(items[middle:], call)


class Refold:
    """Refolds the dirty units of one shard."""

    def __init__(
        self,
        client: redis.Redis,
        text: str,
        keys: ShardKeys,
        settings: Settings,
        load_numbers: Callable[[LedgerPlan], Numbers],
    ) -> None:
        """`text` is the refold script; `load_numbers` reads the numbers of dimension values."""
        self._client, self._keys, self._settings, self._load = client, keys, settings, load_numbers
        self._script = SmallScript(client, text)

    def run(self, plan: ScriptPlan) -> int:
        """Settle what can be settled; how many units were. Raises StoreUnavailable, Corrupt."""
        with store_errors():
            members = cast("set[bytes]", self._client.smembers(self._keys.dirty()))
        dirty = sorted(unit.decode() for unit in members)
        settled = 0
        for start in range(0, len(dirty), _UNITS_PER_PASS):
            records = list(self._fold(dirty[start : start + _UNITS_PER_PASS], plan.plan).items())
            # read after the log: a value is numbered before the first event that carries it is logged
            replace = partial(self._replace, plan=plan, numbers=self._load(plan.plan))
            for first in range(0, len(records), UNITS_PER_CALL):
                letters = (letter for _, letter in halved(records[first : first + UNITS_PER_CALL], replace))
                settled += sum(letter == "s" for letter in letters)
        return settled

    def _fold(self, units: Sequence[str], plan: LedgerPlan) -> dict[str, UnitRecord]:
        with store_errors():
            pipeline = self._client.pipeline(transaction=False)
            for unit in units:
                pipeline.hget(self._bucket(unit), unit)
            stored = [raw for raw in pipeline.execute() if raw]
        if not stored:
            return {}
        types = self._load(plan)[TYPE_PLACE]
        found: dict[str, list[Event]] = {unit: [] for unit in units}
        since = min(map(record_since, stored))
        for event in read_log(self._client, self._keys.log(), first=str(since * 1000), units=units):
            if event.unit in found:
                found[event.unit].append(event)
        return {unit: fold_unit(events, plan, types) for unit, events in found.items()}

    def _replace(
        self, records: Sequence[tuple[str, UnitRecord]], *, plan: ScriptPlan, numbers: Numbers
    ) -> str:
        units = [unit for unit, _ in records]
        flat: list[int] = []
        for _, record in records:
            flat += record_numbers(record, plan.plan, numbers)
        head = {"P": len(plan.ordinals), "U": len(units), "o": plan.ordinals}
        with store_errors():
            reply = self._script(
                keys=[
                    self._keys.dirty(),
                    self._keys.arrivals(),
                    *map(self._keys.cells, plan.ordinals),
                    *map(self._bucket, units),
                ],
                args=[json.dumps(head), *plan.texts, *units, json.dumps(flat)],
            )
        return bytes(reply[0]).decode()

    def _bucket(self, unit: str) -> str:
        return self._keys.units(bucket_of(unit_digest(unit), self._settings.unit_buckets))
