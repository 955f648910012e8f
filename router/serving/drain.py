"""Emptying a spool: what both the serving process (into the ledger) and the client (over HTTP) do."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path

from experiment.codec import decode, encode
from experiment.errors import EventError, PlatformError, StoreUnavailable
from experiment.event import Event, Status
from experiment.fold import LedgerPlan
from experiment.plan import Checked
from experiment.store.ledger import SPOOL, DeadLetter, Ledger, cause_of
from experiment.store.spool import Spool, SpooledItem
from router.serving.counting import StoreGate, count

_BATCHES_AT_A_TIME = 5


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


class Drainer:
    """Probes an absent store each second and, while it answers, empties the spool into it, oldest first."""

    def __init__(
        self, ledger: Ledger, spool: Spool, plan: Callable[[], LedgerPlan], *, gate: StoreGate
    ) -> None:
        """`plan` is asked per batch, after the caller's snapshot was refreshed."""
        self._ledger, self._spool, self._plan, self._gate = ledger, spool, plan, gate

    def step(self) -> int:
        """Probe if the store is away, then drain; returns the batches delivered. Never raises for a fault."""
        if not self._gate.answering:
            self._probe()
        if not self._gate.up:
            return 0
        try:
            if not len(self._spool):
                return 0
        except PlatformError:
            return 0  # a spool that cannot be read makes the process not ready
        with only_drainer(self._spool) as mine:
            return self._drain(self._spool) if mine else 0

    def _probe(self) -> None:
        with suppress(StoreUnavailable):
            self._ledger.position()
            self._gate.answered()

    def _drain(self, spool: Spool) -> int:
        delivered = 0
        while batches := spool.take(_BATCHES_AT_A_TIME):
            for batch in batches:
                try:
                    self._deliver(batch)
                except StoreUnavailable as error:
                    spool.failed([batch.row_id])
                    self._gate.failed(error)
                    return delivered
                spool.done([batch.row_id])
                delivered += 1
        return delivered

    def _deliver(self, batch: SpooledItem) -> None:
        """Count a batch; what cannot be counted is refused in one call, so nothing leaves unseen."""
        plan = self._plan()
        events: list[Checked] = []
        letters: list[DeadLetter] = []
        for line in batch.payload.split(b"\n"):
            try:
                events.append(plan.check(decode(line.decode())))
            except EventError as error:
                letters.append(DeadLetter(raw=line.decode(), reason=str(error), cause=cause_of(error)))
            except (ValueError, KeyError, TypeError) as error:
                reason = f"unreadable in the spool: {error!r}"
                letters.append(DeadLetter(raw=line.decode(errors="replace"), reason=reason, cause=SPOOL))
        for event, outcome in zip(events, count(self._ledger, events, plan), strict=True):
            if outcome.status is Status.REJECTED:
                reason, cause = outcome.reason or "", outcome.cause or ""
                letters.append(DeadLetter(raw=encode(event.event), reason=reason, cause=cause))
        if letters:
            # the batch comes again where this call fails, and must not be counted again
            token = blake2b(batch.payload, digest_size=16, key=b"%d" % batch.row_id).hexdigest()
            self._ledger.refuse(letters, token=token)
