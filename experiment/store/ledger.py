"""The ledger: where events are counted once and kept as a log.

Two implementations pass one conformance suite: `MemoryLedger` folds on demand and is obviously right,
`RedisLedger` keeps the same integers up to date in one atomic step per batch and shard.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from experiment.event import Event, Status
from experiment.fold import DimensionValues, LedgerPlan, UnitRecord
from experiment.moments import Moments
from experiment.plan import Checked

DEDUPE_DAYS = 7
"""Default days behind the newest event day for which event ids are kept; older events are `late`."""

DEAD_LETTERS = 10_000
"""Refused events kept for inspection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """An event nobody could count, as it came, and why."""

    raw: str
    reason: str


class Ledger(Protocol):
    """Counts events once per (unit, id, event day) and keeps the moments of a plan's experiments."""

    def record(
        self, events: Sequence[Event | Checked], plan: LedgerPlan, *, history: bool = False
    ) -> list[Status]:
        """Log and count validated events; one status each, in the order given.

        What this very plan has checked already is not checked again.

        A second event of the same unit, id and day is `duplicate`. One more than the dedupe days behind the
        newest event day is `late`: logged apart and counted as late, never summed. `history` lifts that
        limit for imports: the ids of such days are then kept for ever. `rejected` is what would push a sum
        beyond its bound, or lacks a property a metric needs.

        Raises:
            StoreUnavailable: the outcome of this call is unknown or nothing was done; sending the same
                events again is safe.
            Corrupt: stored bytes cannot be read.
        """
        ...

    def moments(self, experiment: str, plan: LedgerPlan) -> Moments:
        """The cells of one experiment as they are counted now. Raises NotFound, StoreUnavailable, Corrupt."""
        ...

    def pending(self) -> int:
        """Units whose events came in an order that only a refold settles; their cells lag until then."""
        ...

    def refold(self, plan: LedgerPlan) -> int:
        """Settle pending units from the log; how many were settled. The plan must be the project's newest."""
        ...

    def sweep(self) -> int:
        """Forget the ids of days that live events can no longer hit; how many days went. Run it daily."""
        ...

    def events(self, after: Mapping[str, str] | None = None) -> Iterator[Event]:
        """The log of accepted events, shard by shard in the order of acceptance, after a `position`."""
        ...

    def units(self, plan: LedgerPlan) -> Iterator[tuple[str, UnitRecord | None]]:
        """Every unit's live record; None where its bytes cannot be read."""
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

    def dead_letter(self, raw: str, reason: str) -> None:
        """Keep an event that could not be accepted, for people to look at."""
        ...

    def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """The newest dead letters, newest first."""
        ...
