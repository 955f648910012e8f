"""Whose turn it is: an experiment is judged again where something that its report says may have changed.

A report is a function of what it was made from, so what it was made from is kept instead of it. Running
experiments take turns while events arrive: a share of them in each round, the longest unjudged first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

from switchpoint.analysis.validity import concurrent
from switchpoint.experiment.definition.state import ExperimentState, Status
from switchpoint.experiment.definition.types import DAY_MS
from switchpoint.experiment.registry.decision import moments_digest
from switchpoint.router.judging import Case
from switchpoint.router.worker.reading import Seen

_LIVE = frozenset({Status.RUNNING, Status.PAUSED})


@dataclass(frozen=True, slots=True)
class Days:
    """What of an instant matters to a report: the day it lies in, and the last exposure day that has matured
    (days since 1970)."""

    today: int
    matured: int

    @classmethod
    def of(cls, state: ExperimentState, at: int) -> Days:
        """At the instant `at` (ms)."""
        return cls(at // DAY_MS, (at - state.definition.window_ms) // DAY_MS - 1)


@dataclass(frozen=True, slots=True)
class Basis:
    """All that a report depends on. Of an experiment whose last day has matured the project around it no
    longer counts."""

    state: ExperimentState
    moments: str
    around: tuple[Any, ...]

    @classmethod
    def of(cls, case: Case, at: int) -> Basis:
        """What a report at the instant `at` (ms) depends on."""
        state, project, days = case.state, case.project, Days.of(case.state, at)
        around: tuple[Any, ...] = ()
        if collects(state, days):
            met = concurrent.configured(state, project.others or ())
            around = (days, project.backlog, project.facts, met, project.models)
        return cls(state, moments_digest(case.moments), around)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The last turn of an experiment.

    `number` counts turns, `seen` is the number of the reading, `decisions` how many there were, `basis` what
    its report was made from (None: it could not be judged, or was never started). `told_at` is when the board
    was last told that the report holds (ms).
    """

    number: int
    state: ExperimentState
    decisions: int
    seen: int
    days: Days
    basis: Basis | None
    told_at: int


def collects(state: ExperimentState, days: Days) -> bool:
    """Whether events may still change the report: it is live, or not all of its days had matured."""
    if state.status in _LIVE or state.stopped_at is None:
        return state.started_at is not None
    return days.matured < state.stopped_at // DAY_MS


@dataclass(slots=True)
class Turns:
    """The last turn of every experiment, by key; `rounds` is in how many of them each has its turn."""

    rounds: int
    last: dict[str, Turn] = field(default_factory=dict)
    _taken: int = 0

    def due(self, seen: Seen) -> list[str]:
        """The experiments to judge now: those that somebody changed, and a share of those that events or a
        new day may have changed."""
        states = seen.survey.known.states
        changed, waiting = [], []
        for key, state in states.items():
            turn = self.last.get(key)
            decided = len(seen.decisions.get(key, ()))
            if turn is None or turn.decisions != decided or turn.state != state:
                changed.append(key)
            elif self._moved(turn, seen):
                waiting.append(key)
        changed.sort(key=lambda key: states[key].status not in _LIVE)
        waiting.sort(key=lambda key: self.last[key].number)
        running = sum(state.status in _LIVE for state in states.values())
        return changed + waiting[: ceil(max(running, len(waiting)) / self.rounds)]

    def unmoved(self, seen: Seen, *, told_before: int) -> list[str]:
        """The experiments whose report holds, of which the board was not told since an instant (ms)."""
        return [
            key
            for key, turn in self.last.items()
            if turn.told_at < told_before and not self._moved(turn, seen)
        ]

    def take(self, key: str, seen: Seen, *, basis: Basis | None, told_at: int, judged: bool = True) -> None:
        """Note a turn; one that was not `judged` comes again although nothing moves."""
        self._taken += 1
        state = seen.survey.known.states[key]
        self.last[key] = Turn(
            number=self._taken, state=state, decisions=len(seen.decisions.get(key, ())),
            seen=seen.number if judged else 0, days=Days.of(state, seen.at), basis=basis, told_at=told_at,
        )  # fmt: skip

    def told(self, keys: Iterable[str], *, at: int) -> None:
        """Note that the board was told that reports hold."""
        for key in keys:
            self.last[key] = replace(self.last[key], told_at=at)

    def keep_only(self, keys: Iterable[str]) -> None:
        """Forget experiments that are gone."""
        for key in self.last.keys() - set(keys):
            del self.last[key]

    def _moved(self, turn: Turn, seen: Seen) -> bool:
        """Whether anything that the report depends on may have changed since the turn."""
        days = Days.of(turn.state, seen.at)
        if turn.state.started_at is None or not turn.seen:
            return not turn.seen
        if not collects(turn.state, turn.days):
            return turn.days.today != days.today and turn.seen != seen.number
        return turn.seen != seen.number or turn.days != days
