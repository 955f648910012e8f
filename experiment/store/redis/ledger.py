"""The ledger in Redis: the incremental twin of the reference fold, one Lua call per batch and shard."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import islice
from operator import itemgetter
from pathlib import Path

import redis

from switchpoint.experiment.errors import BadInput, Conflict, Corrupt, NotFound, StoreUnavailable
from switchpoint.experiment.ledger.event import Event, Status
from switchpoint.experiment.ledger.fold import Arrivals, DimensionValues, LedgerPlan, UnitRecord
from switchpoint.experiment.ledger.moments import Moments
from switchpoint.experiment.ledger.plan import Checked
from switchpoint.experiment.ledger.protocol import DEDUPE_DAYS, DeadLetter, UnitHistory, newest_first
from switchpoint.experiment.store.redis.batch import (
    LAYOUT,
    Row,
    Settings,
    check_events,
    record_call,
    sort_events,
)
from switchpoint.experiment.store.redis.days import Days, NewestDay, ShardClock
from switchpoint.experiment.store.redis.dimensions import DimensionNumbers
from switchpoint.experiment.store.redis.errors import store_errors
from switchpoint.experiment.store.redis.keys import ProjectKeys, ShardKeys, bucket_of, shard_of, unit_digest
from switchpoint.experiment.store.redis.layout import (
    TYPE_PLACE,
    Reader,
    ScriptPlan,
    record_since,
    script_plan,
)
from switchpoint.experiment.store.redis.log import Letters, read_back, read_log, search_back
from switchpoint.experiment.store.redis.meant import SAME_STORE, MeantStore
from switchpoint.experiment.store.redis.refold import Refold, halved

DEFAULT_BATCH = 200
LARGEST_BATCH = 1000
"""Events per call: 1,000 hold the server for some 10 ms, and keep sums of products exact (docs/redis.md)."""

_BUCKETS_PER_READ = 500
_OTHER_STORE = b"?"
_LETTERS = {"s": Status.STORED, "d": Status.DUPLICATE, "l": Status.LATE, "": Status.REJECTED}


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="ascii")


_SHARED = _text("ledger.lua") + _text("ledger_units.lua")
_RECORD = _SHARED + _text("ledger_record.lua")
_REFOLD = _SHARED + _text("ledger_refold.lua")

# KEYS 1 settings; ARGV from 2: name, value, ... of a new project. Reply: the settings in force.
_CREATE = f"""{SAME_STORE}
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('HSET', KEYS[1], unpack(ARGV, 2)) end
return redis.call('HGETALL', KEYS[1])
"""


class RedisLedger:
    """See `experiment.ledger.protocol.Ledger`; docs/redis.md for keys, bounds and sizes.

    One object may be shared by threads and greenlets if its client may. Sums are bounded: an event whose
    unit total leaves ±(2^53 - 1), or that would push a cell's sums beyond what two limbs hold, is rejected.
    """

    def __init__(
        self,
        client: redis.Redis,
        project: str = "default",
        shards: int | None = None,
        *,
        unit_buckets: int = Settings().unit_buckets,
        id_buckets: int = Settings().id_buckets,
        dedupe_days: int = DEDUPE_DAYS,
        batch: int = DEFAULT_BATCH,
        store: Callable[[], str | None] | None = None,
    ) -> None:
        """A ledger of `project`; nothing is read or written before the first call.

        Args:
            client: replies must be bytes (`experiment.store.redis.connection.connect`).
            shards: None takes what the project has, 1 for a new one.
            unit_buckets, id_buckets, dedupe_days: of a new project; an existing one keeps its own.
            batch: events per script call, at most LARGEST_BATCH.
            store: the identity of the store that events may be written to ("" for one without records), None
                while that is not known: nothing is. Left out, the store that answers is the right one.
        """
        if not 1 <= batch <= LARGEST_BATCH:
            raise BadInput("out of range", field="batch", value=batch, fix=f"use 1 to {LARGEST_BATCH}")
        if client.get_encoder().decode_responses:
            raise BadInput("replies must be bytes", field="client", fix="connect with decode_responses=False")
        self._client, self._project, self._batch, self._shards = client, project, batch, shards
        self._wanted = Settings(
            shards=shards or 1, unit_buckets=unit_buckets, id_buckets=id_buckets, dedupe_days=dedupe_days
        )
        self._keys = ProjectKeys(project)
        self._store = MeantStore(client, self._keys, store)
        self._letters = Letters(client, self._keys, self._store)
        self._record_script = client.register_script(_RECORD)
        self.forget()

    def forget(self) -> None:
        """Drop what was read of the store: it was away, and may be another one now."""
        self._numbers = DimensionNumbers(self._client, self._keys, self._store)
        self._settings: Settings | None = None
        self._days: dict[int, Days] = {}
        self._compiled: ScriptPlan | None = None
        self._newest = 0

    def record(
        self, events: Sequence[Event | Checked], plan: LedgerPlan, *, history: bool = False
    ) -> list[Status]:
        """Count events, `batch` at a time and shard by shard; see `Ledger.record`."""
        store = self._store.identity()
        settings = self._open(create=True)
        checked = check_events(events, plan)
        self._numbers.learn(checked, plan)
        found = sort_events(checked, self._numbers.known, settings.shards)
        compiled = self._compile(plan)
        for shard, rows in found.rows.items():
            if history:
                self._days_of(shard, settings).claim(row.day for row in rows)
            for start in range(0, len(rows), self._batch):
                part = sorted(rows[start : start + self._batch], key=Row.order)
                call = partial(
                    self._call, shard=shard, plan=compiled, settings=settings, history=history, store=store
                )
                for row, letter in halved(part, call):
                    found.statuses[row.index] = _LETTERS[letter]
        return found.result(len(events))

    def _call(
        self,
        rows: Sequence[Row],
        *,
        shard: int,
        plan: ScriptPlan,
        settings: Settings,
        history: bool,
        store: str | None,
    ) -> str:
        keys, arguments = record_call(
            rows, plan, self._shard(shard), settings, newest=self._newest, history=history, store=store
        )
        with store_errors():
            letters, detail = self._record_script(keys=keys, args=arguments)
            if letters == _OTHER_STORE:
                self._store.take(self._shard(shard), str(store), before=detail)
                letters, detail = self._record_script(keys=keys, args=arguments)
        if letters == _OTHER_STORE:
            raise StoreUnavailable("the store was exchanged a moment ago")
        if letters:
            # not less than the one sent, unless that was ahead of the store's clock
            self._newest = int(detail)
        return bytes(letters).decode()

    def settings(self) -> dict[str, int]:
        """What is fixed by the first event; {} before it."""
        self._open()
        return asdict(self._settings) if self._settings else {}

    def begin(self, settings: Mapping[str, int]) -> None:
        """Fix the settings of a ledger that was lost as they were, before its first event; {} for none."""
        if settings:
            self._wanted = replace(self._wanted, **{**settings, "layout": LAYOUT})
            self._open(create=True)

    def adopt(self, store: str) -> None:
        """Let all shards belong to the store `store`, whose records were restored beside them."""
        self._store.adopt(self._all_shards(), store)

    def moments(self, experiment: str, plan: LedgerPlan) -> Moments:
        """Add up the experiment's cells over shards; cost depends on cells, not units."""
        if experiment not in plan.by_key:
            raise NotFound("not in the plan", field="experiment", value=experiment, fix="start it first")
        only = LedgerPlan((plan.by_key[experiment],))
        with store_errors():
            pipeline = self._client.pipeline(transaction=False)
            for keys in self._all_shards():
                pipeline.hgetall(keys.cells(only.experiments[0].ordinal))
            stored = pipeline.execute()
        # a value is numbered before its first cell is written: numbers read after cells name them all
        reader = Reader(only, self._numbers.load(only))
        moments: Moments = {}
        for shard in stored:
            for key, cell in reader.cells(only.experiments[0], shard).items():
                moments[key] = moments[key] + cell if key in moments else cell
        return moments

    def arrivals(self, plan: LedgerPlan) -> Arrivals:
        """Add up the counts of all shards."""
        with store_errors():
            pipeline = self._client.pipeline(transaction=False)
            for keys in self._all_shards():
                pipeline.hgetall(keys.arrivals())
            stored = pipeline.execute()
        reader = Reader(plan, self._numbers.load(plan))
        total: Counter[tuple[str, ...]] = Counter()
        for shard in stored:
            total.update(reader.arrivals(shard))
        return {key: count for key, count in total.items() if count}

    def pending(self) -> int:
        """Dirty units over all shards."""
        with store_errors():
            return sum(int(self._client.scard(keys.dirty())) for keys in self._all_shards())

    def refold(self, plan: LedgerPlan) -> int:
        """Fold dirty units from the log; a unit that got events meanwhile waits for the next call."""
        if not self.pending():
            return 0
        settled = 0
        self._numbers.learn((), plan)
        for keys in self._all_shards():
            # a value is numbered before the first event that carries it: numbers must be newer than the log
            refold = Refold(self._client, _REFOLD, keys, self._open(), self._numbers.load)
            settled += refold.run(self._compile(plan))
        return settled

    def sweep(self) -> int:
        """Forget ids behind the dedupe days, except on days an import claimed."""
        settings = self._open()
        return sum(self._days_of(shard, settings).sweep() for shard in range(settings.shards))

    def days_ahead(self) -> int:
        """By how many days a newest day is ahead of the last one that the store's clock has reached."""
        return max(newest - right for newest, right in (day.days() for day in self._newest_days()))

    def clocks(self) -> list[ShardClock]:
        """What wrong clocks did to each shard; reads the log."""
        return [day.look() for day in self._newest_days()]

    def repair_clock(self, plan: LedgerPlan) -> int:
        """Put newest days right and count the events that were late for them alone; how many those were.

        What was interrupted is finished by the next call. Days of such events are kept as an import's are.

        Raises:
            Conflict: services of a version of before move the newest day meanwhile.
        """
        counted = 0
        for day in self._newest_days():
            day.take_back()
            for entry, events in day.wrongly_late():
                statuses = self.record(events, plan, history=True)
                known = sum(status is not Status.REJECTED for status in statuses)
                day.settle(entry, known)
                counted += known
        self.refold(plan)
        return counted

    def _newest_days(self) -> list[NewestDay]:
        settings = self._open()
        return [
            NewestDay(self._client, self._shard(shard), settings, self._days_of(shard, settings))
            for shard in range(settings.shards)
        ]

    def events(self, after: Mapping[str, str] | None = None) -> Iterator[Event]:
        """The log, shard by shard."""
        for shard in range(self._open().shards):
            last = (after or {}).get(str(shard))
            yield from read_log(self._client, self._shard(shard).log(), first=f"({last}" if last else "-")

    def units(self, plan: LedgerPlan) -> Iterator[tuple[str, UnitRecord | None]]:
        """Every unit's record, bucket by bucket; None where its bytes cannot be read."""
        buckets = range(self._open().unit_buckets)
        for keys in self._all_shards():
            for start in range(0, len(buckets), _BUCKETS_PER_READ):
                with store_errors():
                    pipeline = self._client.pipeline(transaction=False)
                    for bucket in buckets[start : start + _BUCKETS_PER_READ]:
                        pipeline.hgetall(keys.units(bucket))
                    stored = {unit: raw for found in pipeline.execute() for unit, raw in found.items()}
                reader = Reader(plan, self._numbers.load(plan)) if stored else None
                for unit, raw in stored.items():
                    yield unit.decode(), _readable(reader, raw)

    def unit(self, unit: str, plan: LedgerPlan, *, limit: int = 100) -> UnitHistory:
        """Its record, and its events from the end of its shard's log."""
        settings, digest = self._open(), unit_digest(unit)
        keys = self._shard(shard_of(digest, settings.shards))
        with store_errors():
            pipeline = self._client.pipeline(transaction=False)
            pipeline.hget(keys.units(bucket_of(digest, settings.unit_buckets)), unit)
            pipeline.sismember(keys.dirty(), unit)
            raw, dirty = pipeline.execute()
        if raw is None:
            return UnitHistory(record=None, events=(), pending=bool(dirty))
        record = Reader(plan, self._numbers.load(plan)).record(raw)
        events = search_back(
            self._client, keys.log(), unit, since=record_since(raw), limit=min(limit, record.events)
        )
        return UnitHistory(record=record, events=newest_first(events), pending=bool(dirty))

    def newest(self, limit: int = 100) -> list[Event]:
        """The ends of the shards' logs, merged by the store's clock."""
        logs = (read_back(self._client, keys.log()) for keys in self._all_shards())
        merged = heapq.merge(*logs, key=itemgetter(0), reverse=True)
        return [event for _, event in islice(merged, limit)]

    def dimension_values(self, plan: LedgerPlan) -> DimensionValues:
        """Fresh from the store."""
        return self._numbers.values(plan)

    def late(self) -> int:
        """Late events over all shards."""
        with store_errors():
            return sum(int(self._client.hget(keys.facts(), "late") or 0) for keys in self._all_shards())

    def position(self) -> dict[str, str]:
        """The id of each shard's last log entry."""
        with store_errors():
            pipeline = self._client.pipeline(transaction=False)
            for keys in self._all_shards():
                pipeline.xrevrange(keys.log(), count=1)
            newest = pipeline.execute()
        return {str(shard): entries[0][0].decode() for shard, entries in enumerate(newest) if entries}

    def refuse(
        self, letters: Sequence[DeadLetter], *, token: str, uncounted: Mapping[str, int] | None = None
    ) -> None:
        """Count in a hash and append to a stream of about DEAD_LETTERS entries."""
        self._letters.refuse(letters, token=token, uncounted=uncounted)

    def refusals(self) -> dict[str, int]:
        """Refused events by cause."""
        return self._letters.refusals()

    def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """The newest ones."""
        return self._letters.newest(limit)

    def _open(self, *, create: bool = False) -> Settings:
        """The project's settings; those of a new project are only written by the first event."""
        if self._settings is not None:
            return self._settings
        wanted = [item for pair in asdict(self._wanted).items() for item in pair]
        with store_errors():
            if create:
                keys = self._keys.settings(), self._keys.identity()
                pairs = iter(self._client.eval(_CREATE, len(keys), *keys, self._store.argument(), *wanted))
                stored = dict(zip(pairs, pairs, strict=True))
            else:
                stored = self._client.hgetall(self._keys.settings())
        if not stored:
            return self._wanted
        settings = replace(self._wanted, **{name.decode(): int(value) for name, value in stored.items()})
        if b"layout" not in stored or settings.layout != LAYOUT:
            raise Conflict(
                f"the events of project {self._project} were counted in another form than this version's. "
                "Fix: use the version that wrote them, or another project"
            )
        if self._shards not in (None, settings.shards):
            raise Conflict(
                f"project {self._project} was created with {settings.shards} shards, not {self._shards}: "
                f"units would be looked for where they are not. Fix: use shards={settings.shards}"
            )
        self._settings = settings
        return settings

    def _compile(self, plan: LedgerPlan) -> ScriptPlan:
        if self._compiled is None or self._compiled.plan is not plan:
            self._compiled = script_plan(plan, self._numbers.known.get(TYPE_PLACE, {}))
        return self._compiled

    def _shard(self, shard: int) -> ShardKeys:
        return ShardKeys(self._project, shard)

    def _all_shards(self) -> list[ShardKeys]:
        return [self._shard(shard) for shard in range(self._open().shards)]

    def _days_of(self, shard: int, settings: Settings) -> Days:
        if shard not in self._days:
            self._days[shard] = Days(self._client, self._shard(shard), settings)
        return self._days[shard]


def _readable(reader: Reader | None, raw: bytes) -> UnitRecord | None:
    try:
        return reader.record(raw) if reader else None
    except Corrupt:
        return None
