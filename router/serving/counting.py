"""Counting a batch in the ledger, and whether the store is worth asking: shared by recorder and drainer."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import NamedTuple

from experiment.errors import BadInput, Corrupt
from experiment.event import Event, Status
from experiment.fold import LedgerPlan
from experiment.plan import Checked
from experiment.store.ledger import BOUND, BYTES, Ledger

_log = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """What became of one event; of a refused one why, and the word it is counted under."""

    status: Status
    reason: str | None = None
    cause: str | None = None


class StoreGate:
    """Whether the store is worth asking: shut by a failure, opened by the probe that runs each second."""

    def __init__(self) -> None:
        """Open: the first failure shuts it."""
        self.up = True
        self.since = time.monotonic()

    def failed(self, error: Exception) -> None:
        """The store did not answer: go to the spool at once until a probe succeeds."""
        if self.up:
            self.up, self.since = False, time.monotonic()
            _log.warning("the store is away, events go to the spool: %s", error)

    def answered(self) -> None:
        """The store answered the probe."""
        if not self.up:
            self.up, self.since = True, time.monotonic()
            _log.warning("the store is back")


def count(ledger: Ledger, events: Sequence[Event | Checked], plan: LedgerPlan) -> list[Outcome]:
    """Record a batch; where stored bytes make the ledger refuse it as a whole, find the event concerned.

    Raises:
        StoreUnavailable: sending the same events again is safe.
    """
    if not events:
        return []
    try:
        return [_outcome(status) for status in ledger.record(events, plan)]
    except (BadInput, Corrupt) as error:
        if len(events) == 1:
            return [Outcome(Status.REJECTED, str(error), BYTES)]
    middle = len(events) // 2
    return count(ledger, events[:middle], plan) + count(ledger, events[middle:], plan)


def _outcome(status: Status) -> Outcome:
    if status is Status.REJECTED:
        return Outcome(status, "the ledger refused it: it would push a sum beyond its bound", BOUND)
    return Outcome(status)
