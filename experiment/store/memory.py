"""Records and ledger in memory, for tests, notebooks and simulations; nothing survives the process."""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Lock
from uuid import uuid4

from switchpoint.experiment.definition.types import DAY_MS
from switchpoint.experiment.errors import EventError, NotFound
from switchpoint.experiment.language.document import Document, canonical
from switchpoint.experiment.ledger.event import Event, Status
from switchpoint.experiment.ledger.fold import (
    TYPES,
    VALUES_PER_DIMENSION,
    Arrivals,
    DimensionValues,
    LedgerPlan,
    UnitRecord,
    add,
    arrivals,
    fold_unit,
    narrow,
)
from switchpoint.experiment.ledger.moments import Moments
from switchpoint.experiment.ledger.plan import Checked
from switchpoint.experiment.ledger.protocol import (
    DEAD_LETTERS,
    DEDUPE_DAYS,
    DeadLetter,
    UnitHistory,
    newest_first,
)
from switchpoint.experiment.registry.audit import AuditEntry, Head, Note, chain, decode_entry, encode_entry
from switchpoint.experiment.registry.records import (
    Put,
    document_conflict,
    planned_documents,
    revision_conflict,
)


class MemoryLedger:
    """See `experiment.ledger.protocol.Ledger`. Never forgets an id and has no bounds on sums."""

    def __init__(self, *, dedupe_days: int = DEDUPE_DAYS, clock: Callable[[], float] = time.time) -> None:
        """An empty ledger. `clock` is the store's own, in seconds since 1970."""
        self._dedupe_days, self._clock = dedupe_days, clock
        self._log: list[Event] = []
        self._units: dict[str, list[Event]] = {}
        self._seen: set[tuple[str, str, int]] = set()
        self._values: dict[tuple[str, str], dict[str, None]] = {}
        self._newest = 0
        self._late = 0
        self._dead: deque[DeadLetter] = deque(maxlen=DEAD_LETTERS)
        self._refused: Counter[str] = Counter()
        self._tokens: set[str] = set()

    def record(
        self, events: Sequence[Event | Checked], plan: LedgerPlan, *, history: bool = False
    ) -> list[Status]:
        """Keep each event unless it was seen or is late."""
        oldest, before = 0 if history else self._newest - self._dedupe_days, len(self._log)
        for slot in plan.slots:
            self._keep_type(slot.event)
        statuses = [self._accept(event, plan, oldest) for event in events]
        if not history:
            today = int(self._clock() * 1000) // DAY_MS
            days = (event.at // DAY_MS for event in self._log[before:])
            self._newest = max([self._newest, *(day for day in days if day <= today)])
        return statuses

    def _accept(self, given: Event | Checked, plan: LedgerPlan, oldest: int) -> Status:
        try:
            event = plan.check(given).event
        except EventError:
            return Status.REJECTED
        day = event.at // DAY_MS
        identity = (event.unit, event.id, day)
        if day < oldest:
            self._late += 1
            return Status.LATE
        if identity in self._seen:
            return Status.DUPLICATE
        self._seen.add(identity)
        self._keep_values(event, plan)
        self._log.append(event)
        self._units.setdefault(event.unit, []).append(event)
        return Status.STORED

    def _keep_values(self, event: Event, plan: LedgerPlan) -> None:
        if event.exposure is None:
            self._keep_type(event.type)
            return
        for name in plan.by_key[event.exposure.experiment].dimensions:
            known = self._values.setdefault((event.exposure.experiment, name), {})
            if len(known) < VALUES_PER_DIMENSION:
                known.setdefault(event.exposure.dimensions.get(name, ""))

    def _keep_type(self, kind: str) -> None:
        types = self._values.setdefault(TYPES, {})
        if len(types) < VALUES_PER_DIMENSION:
            types.setdefault(kind)

    def arrivals(self, plan: LedgerPlan) -> Arrivals:
        """Fold everything."""
        return arrivals(self._units, plan, self._values.get(TYPES, {}))

    def moments(self, experiment: str, plan: LedgerPlan) -> Moments:
        """Fold everything and keep the experiment's cells."""
        if experiment not in plan.by_key:
            raise NotFound("not in the plan", field="experiment", value=experiment, fix="start it first")
        moments: Moments = {}
        only = LedgerPlan((plan.by_key[experiment],))
        for found in self._units.values():
            add(moments, narrow(fold_unit(found, only), only, self._values), only)
        return moments

    def pending(self) -> int:
        """None, ever."""
        return 0

    def refold(self, plan: LedgerPlan) -> int:  # noqa: ARG002 - the protocol's signature
        """Nothing to do."""
        return 0

    def sweep(self) -> int:
        """Nothing is forgotten."""
        return 0

    def events(self, after: Mapping[str, str] | None = None) -> Iterator[Event]:
        """The accepted events in order."""
        yield from self._log[int((after or {}).get("0", 0)) :]

    def units(self, plan: LedgerPlan) -> Iterator[tuple[str, UnitRecord | None]]:
        """Fold every unit."""
        types = self._values.get(TYPES, {})
        for unit, found in self._units.items():
            yield unit, narrow(fold_unit(found, plan, types), plan, self._values)

    def unit(self, unit: str, plan: LedgerPlan, *, limit: int = 100) -> UnitHistory:
        """Fold the unit."""
        found = self._units.get(unit, [])
        folded = narrow(fold_unit(found, plan, self._values.get(TYPES, {})), plan, self._values)
        return UnitHistory(
            record=folded if found else None, events=newest_first(found[-limit:]), pending=False
        )

    def newest(self, limit: int = 100) -> list[Event]:
        """The end of the log."""
        return self._log[-limit:][::-1]

    def dimension_values(self, plan: LedgerPlan) -> DimensionValues:
        """The values seen first."""
        return {TYPES: tuple(self._values.get(TYPES, ()))} | {
            (experiment.key, name): tuple(self._values.get((experiment.key, name), ()))
            for experiment in plan.experiments
            for name in experiment.dimensions
        }

    def late(self) -> int:
        """How many late events arrived."""
        return self._late

    def position(self) -> dict[str, str]:
        """The length of the log, as shard 0."""
        return {"0": str(len(self._log))} if self._log else {}

    def refuse(
        self, letters: Sequence[DeadLetter], *, token: str, uncounted: Mapping[str, int] | None = None
    ) -> None:
        """Count and keep refused events."""
        if token not in self._tokens:
            self._tokens.add(token)
            self._refused.update(letter.cause for letter in letters)
            self._refused.update(uncounted or {})
            self._dead.extendleft(letters)

    def refusals(self) -> dict[str, int]:
        """Refused events by cause."""
        return dict(self._refused)

    def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """The newest refused events."""
        return list(self._dead)[:limit]


class MemoryRecords:
    """`Records` behind one lock. Bodies are kept as text, so no caller can change what is stored."""

    def __init__(self) -> None:
        """An empty project."""
        self._lock = Lock()
        self._documents: dict[tuple[str, str], tuple[int, str]] = {}
        self._entries: list[str] = []
        self._head = Head()
        self._identity: str | None = None

    def get(self, kind: str, key: str) -> Document | None:
        """See `Records.get`."""
        stored = self._documents.get((kind, key))
        return None if stored is None else _document(kind, key, stored)

    def list(self, kind: str) -> list[Document]:
        """See `Records.list`."""
        with self._lock:
            found = [(key, stored) for (of, key), stored in self._documents.items() if of == kind]
        return [_document(kind, key, stored) for key, stored in sorted(found)]

    def commit(self, changes: Sequence[Put], note: Note, *, revision: int | None = None) -> int:
        """See `Records.commit`."""
        documents = planned_documents(changes)
        texts = [canonical(put.body) for put in changes]
        with self._lock:
            for put in changes:
                found, _ = self._documents.get((put.kind, put.key), (0, ""))
                if found != put.expected_version:
                    raise document_conflict(put, found)
            if revision is not None and revision != self._head.seq:
                raise revision_conflict(self._head.seq, revision)
            entry = chain(self._head, note, documents)
            self._entries.append(encode_entry(entry))
            self._head = Head(entry.seq, entry.hash)
            self._identity = self._identity or uuid4().hex
            for document, text in zip(documents, texts, strict=True):
                self._documents[document.kind, document.key] = (document.version, text)
            return entry.seq

    def head(self) -> Head:
        """See `Records.head`."""
        return self._head

    def identity(self) -> str | None:
        """See `Records.identity`."""
        return self._identity

    def revision(self) -> int:
        """See `Records.revision`."""
        return self._head.seq

    def audit(self, after: int = 0) -> Iterator[AuditEntry]:
        """See `Records.audit`."""
        yield from map(decode_entry, self._entries[after:])


def _document(kind: str, key: str, stored: tuple[int, str]) -> Document:
    version, text = stored
    return Document(kind=kind, key=key, body=json.loads(text), version=version)
