"""A batch of events as the record script takes it: to which shard, under which keys, as what numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from switchpoint.experiment.definition.types import DAY_MS
from switchpoint.experiment.errors import EventError
from switchpoint.experiment.ledger.codec import encode
from switchpoint.experiment.ledger.event import DAMAGES, Event, Status, damage_of
from switchpoint.experiment.ledger.plan import Checked, LedgerPlan
from switchpoint.experiment.store.redis.keys import ShardKeys, bucket_of, event_hash, shard_of, unit_digest
from switchpoint.experiment.store.redis.layout import Numbers, ScriptPlan, event_numbers

LAYOUT = 2
"""The form of records and counts; what another form wrote is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is fixed when a project's ledger is created; sizing is explained in docs/redis.md."""

    shards: int = 1
    unit_buckets: int = 16_384
    id_buckets: int = 1_024
    dedupe_days: int = 7
    layout: int = LAYOUT


@dataclass(frozen=True, slots=True)
class Row:
    """One event on its way to its shard; `index` is its place in the call."""

    index: int
    event: Event
    digest: bytes
    hash: int
    numbers: list[int]

    @property
    def day(self) -> int:
        """The event's UTC day."""
        return self.event.at // DAY_MS

    def order(self) -> tuple[str, int, bool, str]:
        """Unit by unit, in time, exposures before outcomes of the same millisecond."""
        return self.event.unit, self.event.at, self.event.exposure is None, self.event.id


@dataclass(slots=True)
class Sorted:
    """The events of one call by shard; `twins` maps a repeated event to its first appearance."""

    rows: dict[int, list[Row]] = field(default_factory=dict)
    twins: dict[int, int] = field(default_factory=dict)
    statuses: dict[int, Status] = field(default_factory=dict)

    def result(self, count: int) -> list[Status]:
        """The status of every event, once all rows have theirs."""
        for index, first in self.twins.items():
            status = self.statuses[first]
            self.statuses[index] = Status.DUPLICATE if status is Status.STORED else status
        return [self.statuses[index] for index in range(count)]


def check_events(events: Sequence[Event | Checked], plan: LedgerPlan) -> list[Checked | None]:
    """Every event with its amounts, None in the place of one that cannot be counted."""
    checked: list[Checked | None] = []
    for event in events:
        try:
            checked.append(plan.check(event))
        except EventError:
            checked.append(None)
    return checked


def sort_events(checked: Sequence[Checked | None], numbers: Numbers, shards: int) -> Sorted:
    """Place every event; those that cannot be counted get REJECTED, repeated ones become twins."""
    found = Sorted()
    digests: dict[str, bytes] = {}
    seen: dict[tuple[str, str, int], int] = {}
    for index, one in enumerate(checked):
        if one is None:
            found.statuses[index] = Status.REJECTED
            continue
        event = one.event
        first = seen.setdefault((event.unit, event.id, event.at // DAY_MS), index)
        if first != index:
            found.twins[index] = first
            continue
        digest = digests.get(event.unit) or digests.setdefault(event.unit, unit_digest(event.unit))
        row = Row(index, event, digest, event_hash(digest, event.id), event_numbers(one, numbers))
        found.rows.setdefault(shard_of(digest, shards), []).append(row)
    return found


def record_call(
    rows: Sequence[Row],
    plan: ScriptPlan,
    keys: ShardKeys,
    settings: Settings,
    *,
    newest: int,
    history: bool,
    store: str | None,
) -> tuple[list[str], list[str]]:
    """KEYS and ARGV of ledger_record.lua for rows already in `Row.order`; `store` None: for any."""
    units: dict[str, bytes] = {}
    numbers: list[int] = []
    damaged: list[int] = []
    position = 0
    for row in rows:
        if row.event.unit not in units:
            units[row.event.unit] = row.digest
            position += 1
            damage = damage_of(row.event.unit)
            if damage is not None:
                damaged += (position, DAMAGES.index(damage) + 1)
        numbers += (position, row.event.at)
        numbers += row.numbers
    head = {
        "P": len(plan.ordinals),
        "U": len(units),
        "N": len(rows),
        "h": int(history),
        "newest": newest,
        "keep": settings.dedupe_days,
        "o": plan.ordinals,
        "g": damaged,
    } | ({} if store is None else {"s": store})
    return (
        [
            keys.facts(),
            keys.log(),
            keys.dirty(),
            keys.days(),
            keys.arrivals(),
            *map(keys.cells, plan.ordinals),
            *(keys.units(bucket_of(digest, settings.unit_buckets)) for digest in units.values()),
            *(keys.ids(row.day, row.hash % settings.id_buckets) for row in rows),
        ],
        [
            json.dumps(head),
            *plan.texts,
            *units,
            *(str(row.hash) for row in rows),
            *(encode(row.event) for row in rows),
            json.dumps(numbers, separators=(",", ":")),
        ],
    )
