"""Emptying a spool: what both the serving process (into the ledger) and the client (over HTTP) do."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from switchpoint.experiment.errors import EventError, PlatformError, StoreUnavailable, SwitchpointError
from switchpoint.experiment.ledger.codec import decode, encode, refuse_ahead
from switchpoint.experiment.ledger.event import Event, Status
from switchpoint.experiment.ledger.fold import LedgerPlan
from switchpoint.experiment.ledger.plan import Checked
from switchpoint.experiment.ledger.protocol import SPOOL, DeadLetter, Ledger, cause_of
from switchpoint.experiment.store.spool import Spool, SpooledItem
from switchpoint.router.recording.gate import Outcome, StoreGate, count

_ROWS_AT_A_TIME = 20
_EVENTS_AT_A_TIME = 200
_FIRST_DELAY_SECONDS = 1.0
_LONGEST_DELAY_SECONDS = 300.0
_SWEEP_SECONDS = 3600.0

_log = logging.getLogger(__name__)


@contextmanager
def only_drainer(spool: Spool) -> Iterator[bool]:
    """True for the one process that may empty this spool now; two would only send everything twice."""
    with _lock_file(spool.path.with_name(f"{spool.path.name}.drain")) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            try:
                yield True
            finally:
                # closing would not do: a child forked meanwhile has the same open file
                fcntl.flock(descriptor, fcntl.LOCK_UN)


@contextmanager
def _lock_file(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    _open_locks.add(descriptor)
    try:
        yield descriptor
    finally:
        _open_locks.discard(descriptor)
        os.close(descriptor)


_open_locks: set[int] = set()


def _leave_locks_to_the_parent() -> None:
    """A child that kept its parent's lock file open would hold the lock after the parent was killed."""
    while _open_locks:
        os.close(_open_locks.pop())


os.register_at_fork(after_in_child=_leave_locks_to_the_parent)


def payload(events: Iterable[Event]) -> bytes:
    """A batch as it lies in a spool: one canonical event a line."""
    return b"\n".join(encode(event).encode() for event in events)


@dataclass(slots=True)
class _Row:
    """A row of the spool on its way: what of it can be counted, what is refused, and what has to wait."""

    item: SpooledItem
    events: list[Checked] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    waiting: list[Event] = field(default_factory=list)

    def check(self, plan: LedgerPlan, now: int | None) -> None:
        """Sort the events by whether the plan can count them, and whether their time has come.

        The door lets every time in while it does not know its own (`router.recording.clock`).
        """
        self.events, self.letters = [], []
        for line in self.item.payload.split(b"\n"):
            try:
                event = decode(line.decode())
                refuse_ahead(event.at, now, sent=event.at)
                self.events.append(plan.check(event))
            except EventError as error:
                self._refuse(line.decode(), str(error), cause_of(error))
            except (ValueError, KeyError, TypeError) as error:
                self._refuse(line.decode(errors="replace"), f"unreadable in the spool: {error!r}", SPOOL)

    def settle(self, outcomes: Iterable[Outcome | None]) -> None:
        """Note what became of the events."""
        for checked, outcome in zip(self.events, outcomes, strict=True):
            if outcome is None:
                self.waiting.append(checked.event)
            elif outcome.status is Status.REJECTED:
                self._refuse(encode(checked.event), outcome.reason or "", outcome.cause or "")

    @property
    def token(self) -> str:
        """The row comes again where a call fails, and its refused events must not be counted again."""
        return blake2b(self.item.payload, digest_size=16, key=b"%d" % self.item.row_id).hexdigest()

    def _refuse(self, raw: str, reason: str, cause: str) -> None:
        self.letters.append(DeadLetter(raw=raw, reason=reason, cause=cause))


class _Delay(NamedTuple):
    """A row that is not tried before `until` on the monotonic clock, `seconds` after it failed."""

    seconds: float
    until: float


class Drainer:
    """Probes an absent store each second and, while it answers, empties the spool into it, oldest first.

    Once an hour it has the ledger forget the event ids that it may; several processes may do so at once.
    """

    def __init__(
        self,
        ledger: Ledger,
        spool: Spool,
        plan: Callable[[], LedgerPlan],
        *,
        gate: StoreGate,
        renew: Callable[[], bool],
        returned: Callable[[], object] = lambda: None,
        now: Callable[[], int | None] = lambda: None,
    ) -> None:
        """`renew` brings `plan` up to date from the store, False where it cannot; `returned` hears of a store
        that answers again before anything is sent to it; `now` is the time in ms, None trusts event times."""
        self._ledger, self._spool, self._plan, self._gate = ledger, spool, plan, gate
        self._renew, self._returned, self._now = renew, returned, now
        self._after = 0  # every row up to here was delivered, or is among those held back
        self._held_back: dict[int, _Delay] = {}
        self._swept_at = float("-inf")

    @property
    def held_back(self) -> int:
        """Rows that failed while the store answered: each is tried again, ever later."""
        return len(self._held_back)

    def step(self) -> int:
        """Probe if the store is away, then drain; returns the rows delivered. Never raises for a fault."""
        if not self._gate.answering:
            self._probe()
        if not self._gate.up:
            return 0
        self._sweep()
        try:
            if not len(self._spool):
                return 0
        except PlatformError:
            return 0  # a spool that cannot be read makes the process not ready
        with only_drainer(self._spool) as mine:
            # what was spooled was accepted by the plan of before: only the one in force may refuse it
            return self._drain() if mine and self._renew() else 0

    def _sweep(self) -> None:
        if time.monotonic() - self._swept_at > _SWEEP_SECONDS:
            self._swept_at = time.monotonic()
            try:
                self._ledger.sweep()
            except SwitchpointError as error:
                _log.warning("event ids are forgotten in an hour, not now: %s", error)

    def _probe(self) -> None:
        with suppress(StoreUnavailable):
            self._ledger.position()
            self._returned()
            self._gate.answered()

    def _drain(self) -> int:
        delivered = 0
        for rows in self._rows():
            for group in _groups(rows):
                try:
                    delivered += self._deliver([_Row(item) for item in group])
                except StoreUnavailable as error:
                    self._spool.failed([item.row_id for item in group])
                    self._gate.failed(error)
                    return delivered
        return delivered

    def _rows(self) -> Iterator[list[SpooledItem]]:
        """What came, oldest first, then what was held back and is due."""
        if len(self._spool) > len(self._held_back) and not self._spool.take(1, after=self._after):
            self._after = 0  # the file is another one, or another process put back what it took
        while self._gate.up and (rows := self._spool.take(_ROWS_AT_A_TIME, after=self._after)):
            yield [row for row in rows if row.row_id not in self._held_back]
            self._after = rows[-1].row_id
        for row_id in [
            row_id for row_id, delay in self._held_back.items() if delay.until <= time.monotonic()
        ]:
            row = next(iter(self._spool.take(1, after=row_id - 1)), None)
            if row is None or row.row_id != row_id:
                del self._held_back[row_id]  # another process delivered it
            elif self._gate.up:
                yield [row]

    def _deliver(self, rows: Sequence[_Row]) -> int:
        """Let go of the rows that can be, each by itself where they cannot together; how many they were.

        Raises StoreUnavailable.
        """
        try:
            self._count(rows)
        except StoreUnavailable:
            raise
        except Exception:  # noqa: BLE001 - no row may stop those behind it
            if len(rows) > 1:
                return sum(self._deliver([_Row(row.item)]) for row in rows)
            _log.exception("row %d of the spool is held back", rows[0].item.row_id)
            self._spool.failed([rows[0].item.row_id])
            self._hold_back(rows[0].item.row_id)
            return 0
        gone = [row.item.row_id for row in rows if not row.waiting]
        self._spool.done(gone)
        for row_id in gone:
            self._held_back.pop(row_id, None)
        for row in rows:
            if row.waiting:
                self._spool.cut(row.item.row_id, payload(row.waiting))
                self._hold_back(row.item.row_id)
        return len(gone)

    def _count(self, rows: Sequence[_Row]) -> None:
        """Count the rows' events in one call, and the refused ones."""
        plan = self._check(rows)
        outcomes = iter(count(self._ledger, [event for row in rows for event in row.events], plan))
        for row in rows:
            row.settle([next(outcomes) for _ in row.events])
            if row.letters:
                self._ledger.refuse(row.letters, token=row.token)

    def _hold_back(self, row_id: int) -> None:
        before = self._held_back.get(row_id)
        seconds = min(2 * before.seconds, _LONGEST_DELAY_SECONDS) if before else _FIRST_DELAY_SECONDS
        self._held_back[row_id] = _Delay(seconds, time.monotonic() + seconds)

    def _check(self, rows: Sequence[_Row]) -> LedgerPlan:
        """Sort the events of the rows by the plan in force, which is read again before it refuses any."""
        plan, now = self._plan(), self._now()
        for row in rows:
            row.check(plan, now)
        if any(row.letters for row in rows):
            if not self._renew():
                raise StoreUnavailable("the plan in force cannot be read")
            if self._plan() is not plan:
                plan = self._plan()
                for row in rows:
                    row.check(plan, now)
        return plan


def _groups(rows: Iterable[SpooledItem]) -> Iterator[list[SpooledItem]]:
    """Rows of some events together, as many as one call takes."""
    group: list[SpooledItem] = []
    size = 0
    for row in rows:
        events = row.payload.count(b"\n") + 1
        if group and size + events > _EVENTS_AT_A_TIME:
            yield group
            group, size = [], 0
        group.append(row)
        size += events
    if group:
        yield group
