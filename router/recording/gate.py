"""Counting a batch in the ledger, and whether the store is worth asking: shared by recorder and drainer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from switchpoint.experiment.errors import Conflict, StoreUnavailable
from switchpoint.experiment.ledger.event import Status
from switchpoint.experiment.ledger.fold import LedgerPlan
from switchpoint.experiment.ledger.plan import Checked
from switchpoint.experiment.ledger.protocol import BOUND, Ledger

_log = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """What became of one event; of a refused one why, and the word it is counted under."""

    status: Status
    reason: str | None = None
    cause: str | None = None


class StoreGate:
    """Whether events may go to the store: shut by a failure until a probe succeeds, and while refused."""

    def __init__(self) -> None:
        """Open: the first failure shuts it."""
        self.answering = True
        self.refused = False  # the store answers, and is not the one whose events these are

    @property
    def up(self) -> bool:
        """Whether to ask the store; otherwise events wait in the spool."""
        return self.answering and not self.refused

    def failed(self, error: Exception) -> None:
        """The store did not answer: go to the spool at once until a probe succeeds."""
        if self.answering:
            self.answering = False
            _log.warning("the store is away, events go to the spool: %s", error)

    def answered(self) -> None:
        """The store answered the probe."""
        if not self.answering:
            self.answering = True
            _log.warning("the store is back")


def count(ledger: Ledger, events: Sequence[Checked], plan: LedgerPlan) -> list[Outcome | None]:
    """Record a batch. None for an event that has to wait: what the store has of its unit cannot be read, or
    the call failed for a reason nobody has listed; neither is a fault of the event.

    Raises:
        StoreUnavailable: sending the same events again is safe.
    """
    if not events:
        return []
    try:
        return [_outcome(status) for status in ledger.record(events, plan)]
    except StoreUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the events are kept
        if len(events) == 1 or isinstance(error, Conflict):
            _log.error("%d event(s) wait, first %s of unit %s: %r",
                       len(events), events[0].event.id, events[0].event.unit, error)  # fmt: skip
            return [None] * len(events)
    middle = len(events) // 2
    return count(ledger, events[:middle], plan) + count(ledger, events[middle:], plan)


def _outcome(status: Status) -> Outcome:
    if status is Status.REJECTED:
        return Outcome(status, "the ledger refused it: it would push a sum beyond its bound", BOUND)
    return Outcome(status)
