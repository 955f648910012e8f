"""The worker's rounds: judge whose turn it is, tell the board, keep the reports of days and decisions."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from switchpoint.analysis.results.header import iso_day
from switchpoint.experiment.definition.types import DAY_MS
from switchpoint.experiment.errors import BadInput, Corrupt, StoreUnavailable, SwitchpointError
from switchpoint.experiment.registry.champion import model_documents
from switchpoint.experiment.store.board import ALL, HEARTBEAT, MODELS, WORKER, Board, Kept, ReportKind
from switchpoint.router.judging import Case, Look
from switchpoint.router.worker import documents
from switchpoint.router.worker.reading import Reading, Seen
from switchpoint.router.worker.turns import Basis, Turns

EVERY_SECONDS = 1.0
"""Between the beginnings of two rounds."""

_TURN_SECONDS = 40.0  # within which whatever events changed is judged again; a minute is promised
_ROUND_SECONDS = 5.0  # after which a round ends, so that what people change meanwhile is seen
_TELL_SECONDS = 1.0  # after which a long round tells the board what it has so far
_CONFIRM_MS = 30_000
_LOCK_SECONDS = 0.2

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ToKeep:
    """A report to be kept for ever, and for what."""

    kind: ReportKind
    name: str
    at: int
    html: str
    document: dict[str, Any]


@dataclass(slots=True, kw_only=True)
class _Outcome:
    """What a turn came to: documents by kind, reports to keep; both empty where nothing has changed."""

    basis: Basis | None = None
    problem: str | None = None
    bodies: dict[str, Any] = field(default_factory=dict)
    reports: list[_ToKeep] = field(default_factory=list)


class Worker:
    """Keeps one project's board. One thread calls `step` or `run`."""

    def __init__(self, reading: Reading, board: Board, *, every: float = EVERY_SECONDS) -> None:
        """Nothing is read or written yet; `every` is the seconds between the beginnings of two rounds."""
        self._reading, self._board, self._every = reading, board, every
        self._turns = Turns(max(1, int(_TURN_SECONDS / every)))
        self._untold: dict[tuple[str, str], Kept] = {}  # by kind and key; a full disk keeps them waiting
        self._kept: dict[str, set[tuple[str, str]]] = {}  # kind and name of the reports of an experiment
        self._known: object = None  # the records that the board has the models of
        self._experiments: dict[str, str | None] = {}  # why each cannot be judged
        self.away: str | None = None
        """Why the store cannot be read; None where it can."""
        self._clock: int | None = None  # where it is simulated
        self._worked = 0.0, 0  # seconds and experiments of the last round in which something was judged

    def run(self) -> None:
        """Rounds until something interrupts them. What fails is said and tried again."""
        said = ""
        while True:
            began = time.monotonic()
            try:
                self.step()
                said = ""
            except Exception as error:  # noqa: BLE001 - the next round may do better
                if str(error) != said:
                    _log.error("%s", error, exc_info=not isinstance(error, SwitchpointError))
                said = str(error)
            time.sleep(max(0.0, began + self._every - time.monotonic()))

    def step(self) -> bool:
        """One round; whether it left something undone that the next one does.

        Raises:
            PlatformError: the board cannot be written. What was found out waits for the next round.
        """
        try:
            return self._round()
        except Corrupt:  # the board: whoever mends it may put another file in its place
            self._board.close()
            self._turns.last.clear()
            self._kept.clear()
            self._known = None
            raise

    def _round(self) -> bool:
        seen, left = self._read(), False
        if seen is not None:
            self._take_over(seen)
            left = self._judge(seen)
        self._tell()
        if seen is not None and self.away is None:
            self._confirm(seen)
        return left

    def _read(self) -> Seen | None:
        try:
            seen = self._reading.refresh()
        except SwitchpointError as error:  # away, reverted, damaged, of another version
            self._away(error)
            return None
        self.away = None
        self._clock = seen.at if seen.simulated else None
        return seen

    def _away(self, error: SwitchpointError) -> None:
        """The board stays as it is, and ages."""
        if self.away is None:
            _log.error("the board stays as it is: %s", error)
        self.away = str(error)
        self._reading.forget()

    def _take_over(self, seen: Seen) -> None:
        """Tell of the models, and forget what is gone, with every revision of the records."""
        known = seen.survey.known
        if known is self._known:
            return
        models = model_documents(known.versions, seen.champions)
        self._put(MODELS, ALL, models, seen)
        for kind in documents.OF_EXPERIMENTS:
            self._board.keep_only(kind, known.states.keys())
        self._turns.keep_only(known.states)
        self._experiments = {key: self._experiments.get(key) for key in known.states}
        self._known = known

    def _judge(self, seen: Seen) -> bool:
        """Give everybody a turn who is due; whether the time was too short for all of them."""
        began = told = time.monotonic()
        judged, due = 0, self._turns.due(seen)
        for number, key in enumerate(due, 1):
            try:
                judged += self._turn(key, seen)
            except StoreUnavailable as error:
                self._away(error)
                return False
            now = time.monotonic()
            if judged:
                self._worked = round(now - began, 3), judged
            if now - began > _ROUND_SECONDS:
                return number < len(due)
            if now - told > _TELL_SECONDS:
                self._tell()
                told = now
        return False

    def _turn(self, key: str, seen: Seen) -> bool:
        """One experiment's turn; whether it was judged anew."""
        state, kept = seen.survey.known.states[key], self._reports(key)
        try:
            outcome = self._outcome(key, seen)
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - one bad experiment never stops the others
            problem = str(error) if isinstance(error, SwitchpointError) else repr(error)
            if self._experiments[key] != problem:
                _log.error(
                    "%s cannot be judged: %s", key, problem, exc_info=not isinstance(error, SwitchpointError)
                )
            outcome = _Outcome(problem=problem, bodies=documents.unjudged(state, problem))
        for report in outcome.reports:
            self._board.keep_report(
                key, report.kind, report.name, at=report.at, html=report.html, document=report.document
            )
            kept.add((report.kind, report.name))
        for kind, body in outcome.bodies.items():
            self._put(kind, key, body, seen)
        self._experiments[key] = outcome.problem
        told = seen.read_at if outcome.bodies else 0
        self._turns.take(key, seen, basis=outcome.basis, told_at=told, judged=outcome.problem is None)
        return bool(outcome.bodies)

    def _outcome(self, key: str, seen: Seen) -> _Outcome:
        state, last = seen.survey.known.states[key], self._turns.last.get(key)
        if state.started_at is None:
            return _Outcome(bodies=documents.unjudged(state, None))
        case = seen.survey.case(key)
        outcome = _Outcome(basis=Basis.of(case, seen.at))
        if last is None or last.basis != outcome.basis:
            found = case.look(at=seen.at)
            outcome.bodies = documents.judged(state, found.report)
            outcome.reports += self._day(found, seen.at)
        outcome.reports += self._decisions(case, seen)
        return outcome

    def _day(self, found: Look, at: int) -> Iterator[_ToKeep]:
        """The report of the day that has ended, if the experiment ran on it and none was kept."""
        state, day = found.state, at // DAY_MS - 1
        first, last = state.started_at, state.stopped_at
        ran = first is not None and first // DAY_MS <= day and (last is None or day <= last // DAY_MS)
        if ran and ("day", iso_day(day)) not in self._reports(state.key):
            yield _to_keep("day", iso_day(day), found, at)

    def _decisions(self, case: Case, seen: Seen) -> Iterator[_ToKeep]:
        """The reports of decisions of which none was kept, as they are judged at the decision's instant."""
        for decision in seen.decisions.get(case.state.key, ()):
            if ("decision", str(decision.number)) not in self._reports(case.state.key):
                yield _to_keep("decision", str(decision.number), case.look(at=decision.at), decision.at)

    def _reports(self, key: str) -> set[tuple[str, str]]:
        if key not in self._kept:
            self._kept[key] = {(report.kind, report.name) for report in self._board.reports(key)}
        return self._kept[key]

    def _put(self, kind: str, key: str, body: Any, seen: Seen) -> None:
        self._untold[kind, key] = Kept(kind=kind, key=key, at=seen.read_at, body=body)

    def _tell(self) -> None:
        """Write what is new, and that the worker lives."""
        seconds, judged = self._worked
        body = documents.heartbeat(
            seconds=seconds,
            judged=judged,
            experiments=len(self._experiments),
            unjudged=sorted(key for key, problem in self._experiments.items() if problem),
            clock=self._clock,
            away=self.away,
        )
        beat = Kept(kind=WORKER, key=HEARTBEAT, at=self._reading.now(), body=body)
        self._board.put_many([*self._untold.values(), beat])
        self._untold.clear()

    def _confirm(self, seen: Seen) -> None:
        """Say of what has not moved that it holds still."""
        keys = self._turns.unmoved(seen, told_before=seen.read_at - _CONFIRM_MS)
        self._board.confirm(
            [(kind, key) for key in keys for kind in documents.OF_EXPERIMENTS], at=seen.read_at
        )
        self._turns.told(keys, at=seen.read_at)


def _to_keep(kind: ReportKind, name: str, found: Look, at: int) -> _ToKeep:
    report = found.report
    return _ToKeep(kind=kind, name=name, at=at, html=report.to_html(), document=report.to_dict())


@contextmanager
def only_worker(folder: Path, *, waiting: Callable[[str], object] | None = None) -> Iterator[None]:
    """Be the only worker that writes into the console's folder of a project; one that is killed no longer is.

    Args:
        folder: of the project's console.
        waiting: told once, with the pid of another worker, that its end is waited for; None refuses.

    Raises:
        BadInput: there is another one, and it is not waited for.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(folder / "worker.lock", os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
        told = False
        while not _locked(file):
            file.seek(0)
            holder = file.read()
            if waiting is None:
                raise BadInput(
                    f"another worker (pid {holder}) keeps this project's board",
                    field="--data",
                    value=str(folder),
                    fix=f"stop pid {holder}, or give this one another --data or --project",
                )
            if not told:
                waiting(holder)
                told = True
            time.sleep(_LOCK_SECONDS)
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield


def _locked(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
