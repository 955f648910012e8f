"""The ledger: where events are counted once and kept as a log.

Two implementations pass one conformance suite: `MemoryLedger` folds on demand and is obviously right,
`RedisLedger` keeps the same integers up to date in one atomic step per batch and shard.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from switchpoint.experiment.errors import EventError, StoreUnavailable
from switchpoint.experiment.ledger.event import Event, Status
from switchpoint.experiment.ledger.fold import Arrivals, DimensionValues, LedgerPlan, UnitRecord
from switchpoint.experiment.ledger.moments import Moments
from switchpoint.experiment.ledger.plan import Checked

DEDUPE_DAYS = 7
"""Default days behind the newest event day for which event ids are kept; older events are `late`."""

DEAD_LETTERS = 10_000
"""Refused events kept for inspection."""


BOUND, SPOOL = "bound", "spool"
"""Causes without a field: a sum has no room, a spooled line cannot be read."""

_FIELDS = frozenset({
    "id", "type", "unit", "at", "properties", "experiment", "variant", "segment", "epoch", "revision",
    "propensity", "served", "cause", "dimensions", "covariates",
})  # fmt: skip


def cause_of(error: EventError) -> str:
    """Why an event was refused, in one of a few words: its field, `unknown field`, or `event` (no object)."""
    field = error.field.partition(".")[0]
    return field if field in _FIELDS else "unknown field" if field else "event"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A refused event as it came (cut where it is long), why, and the one word it is counted under."""

    raw: str
    reason: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitHistory:
    """What a ledger has of one unit: its record, None where nothing of it was accepted; the last accepted of
    its events, `newest_first` (the record says how many there are); and whether it waits for a refold."""

    record: UnitRecord | None
    events: tuple[Event, ...]
    pending: bool


class Ledger(Protocol):
    """Counts events once per (unit, id, event day) and keeps the moments of a plan's experiments."""

    def record(
        self, events: Sequence[Event | Checked], plan: LedgerPlan, *, history: bool = False
    ) -> list[Status]:
        """Log and count validated events; one status each, in the order given.

        What this very plan has checked already is not checked again.

        A second event of the same unit, id and day is `duplicate`. One more than the dedupe days behind the
        newest event day is `late`: logged apart and counted as late, never summed. Events ahead of the
        store's own day count and leave the newest day where it is: one wrong clock makes nothing late.
        `history` lifts that limit for imports: the ids of such days are then kept for ever. `rejected` is
        what would push a sum beyond its bound, or lacks a property a metric needs.

        Raises:
            StoreUnavailable: the outcome of this call is unknown or nothing was done; sending the same
                events again is safe.
            Corrupt: stored bytes cannot be read.
        """
        ...

    def moments(self, experiment: str, plan: LedgerPlan) -> Moments:
        """The cells of one experiment as they are counted now. Raises NotFound, StoreUnavailable, Corrupt."""
        ...

    def arrivals(self, plan: LedgerPlan) -> Arrivals:
        """What arrived, whether it counts or not. Raises StoreUnavailable, Corrupt."""
        ...

    def pending(self) -> int:
        """Units whose events came in an order that only a refold settles; their cells lag until then."""
        ...

    def refold(self, plan: LedgerPlan) -> int:
        """Settle pending units from the log; how many were settled. The plan must be the project's newest."""
        ...

    def sweep(self) -> int:
        """Forget the ids of days that live events can no longer hit; how many days went."""
        ...

    def events(self, after: Mapping[str, str] | None = None) -> Iterator[Event]:
        """The log of accepted events, shard by shard in the order of acceptance, after a `position`."""
        ...

    def units(self, plan: LedgerPlan) -> Iterator[tuple[str, UnitRecord | None]]:
        """Every unit's live record; None where its bytes cannot be read."""
        ...

    def unit(self, unit: str, plan: LedgerPlan, *, limit: int = 100) -> UnitHistory:
        """One unit's record and at most `limit` of its events; a long log is not searched to its beginning.

        Raises:
            StoreUnavailable, Corrupt: they cannot be read.
        """
        ...

    def newest(self, limit: int = 100) -> list[Event]:
        """The events accepted last, the last one first. Raises StoreUnavailable, Corrupt."""
        ...

    def dimension_values(self, plan: LedgerPlan) -> DimensionValues:
        """The values each dimension keeps apart, first come first kept; all others are OTHER."""
        ...

    def late(self) -> int:
        """How many late events arrived (one sent twice counts twice: its day's ids are forgotten)."""
        ...

    def position(self) -> dict[str, str]:
        """The last log entry of each shard that has one; shard number as text → opaque position."""
        ...

    def refuse(
        self, letters: Sequence[DeadLetter], *, token: str, uncounted: Mapping[str, int] | None = None
    ) -> None:
        """Count refused events by cause and keep them for people to look at, in one step.

        A call that failed is safe to repeat with its `token`. `uncounted` are further ones by cause of which
        nothing is kept.

        Raises:
            StoreUnavailable: the outcome is unknown or nothing was done.
        """
        ...

    def refusals(self) -> dict[str, int]:
        """How many events were refused, by cause; one sent twice was refused twice."""
        ...

    def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """The newest refused events, newest first."""
        ...


def newest_first(events: Iterable[Event]) -> tuple[Event, ...]:
    """The events in order of time, the latest first."""
    return tuple(sorted(events, key=lambda event: (event.at, event.id), reverse=True))


def settle(ledger: Ledger, plan: LedgerPlan) -> int:
    """Refold what waits; how many units wait still, in a store that answers and takes no writes all of them.

    Raises:
        StoreUnavailable, Corrupt: it cannot be read.
    """
    pending = ledger.pending()
    if pending:
        with suppress(StoreUnavailable):
            ledger.refold(plan)
        pending = ledger.pending()
    return pending
