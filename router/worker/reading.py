"""What the worker reads of the store, and when: records with every revision, counts with every event."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from switchpoint.experiment.registry.catalog import Catalog
from switchpoint.experiment.registry.champion import Champion
from switchpoint.experiment.registry.decision import DecisionRecord
from switchpoint.experiment.registry.records import Records
from switchpoint.experiment.store.known import StoreMemory
from switchpoint.experiment.store.redis.ledger import RedisLedger
from switchpoint.router.judging import Experiments, Survey


def _now() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The project as one reading found it.

    `number` differs from that of every earlier reading that found something else; `read_at` is when it was
    made and `at` the instant of looks (ms UTC), the same but where the clock is `simulated`. `decisions` are
    by experiment, oldest first.
    """

    number: int
    read_at: int
    at: int
    simulated: bool
    survey: Survey
    decisions: Mapping[str, Sequence[DecisionRecord]]
    champions: Sequence[Champion]


class Reading:
    """Reads a project again and again, each time only what may have changed."""

    def __init__(
        self,
        records: Records,
        ledger: RedisLedger,
        memory: StoreMemory,
        *,
        now: Callable[[], int] = _now,
        simulated: bool = False,
    ) -> None:
        """Nothing is read yet.

        Args:
            records: of the project.
            ledger: of the project.
            memory: what the data directory knows of the store.
            now: the wall clock (ms), by which the board says how old everything is.
            simulated: events and changes have times of their own, so looks are made at the newest of them.
        """
        self._records, self._ledger, self._memory = records, ledger, memory
        self.now, self._simulated = now, simulated
        self._number = 0
        self.forget()

    def forget(self) -> None:
        """Read everything anew the next time: the store was away, and may be another one now."""
        self._ledger.forget()
        self._revision: int | None = None
        self._position: dict[str, str] = {}
        self._newest, self._dated = 0, dict[str, str]()  # the newest event of the log up to a position
        self._seen: Seen | None = None

    def refresh(self) -> Seen:
        """The project as it is now; units that wait for a refold are refolded.

        Raises:
            StoreUnavailable: the store does not answer.
            StoreReverted: it is not the one that the data directory knows.
            Corrupt: stored bytes cannot be read.
        """
        self._memory.require(self._records)
        revision = self._records.revision()  # before what is read: a commit meanwhile is seen the next time
        position = self._ledger.position()
        seen = self._seen
        if seen is None or revision != self._revision:
            seen = self._read()
        elif position != self._position or seen.survey.pending:
            seen = replace(seen, survey=Survey(seen.survey.known, self._ledger))
        if seen is not self._seen:
            self._number += 1
        self._revision, self._position = revision, position
        now = self.now()
        at = self._newest_time(seen.survey.known, position) if self._simulated else now
        self._seen = replace(seen, number=self._number, read_at=now, at=at)
        return self._seen

    def _read(self) -> Seen:
        catalog = Catalog(self._records)
        decisions: dict[str, list[DecisionRecord]] = {}
        for decision in catalog.decisions():
            decisions.setdefault(decision.experiment, []).append(decision)
        survey, champions = Survey(Experiments.read(catalog), self._ledger), catalog.champions()
        with suppress(OSError):  # a directory that nobody can write to is noticed by the board
            self._memory.remember(self._records)
        return Seen(
            number=0, read_at=0, at=0, simulated=self._simulated, survey=survey, decisions=decisions,
            champions=champions,
        )  # fmt: skip

    def _newest_time(self, known: Experiments, position: dict[str, str]) -> int:
        """The newest time of an event or of a change of an experiment (ms)."""
        if position != self._dated:
            newer = (event.at for event in self._ledger.events(self._dated))
            self._newest = max(self._newest, max(newer, default=0))
            self._dated = position
        changes = (change.at for state in known.states.values() for change in state.history)
        return max(self._newest, max(changes, default=0))
