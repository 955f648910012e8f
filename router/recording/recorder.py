"""From accepted events to durable ones: the ledger in small batches, the spool when the store is away.

An event is acknowledged as `stored` after Redis has it on disk, as `spooled` after the local spool has;
never from memory. One writer groups what all requests of a process brought within a few milliseconds,
because the ledger's price is per call, not per event.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar
from uuid import uuid4

from switchpoint.experiment.errors import EventError, StoreUnavailable
from switchpoint.experiment.errors import shown as shown_value
from switchpoint.experiment.ledger.codec import parse_event, to_document
from switchpoint.experiment.ledger.event import Event, Status
from switchpoint.experiment.ledger.fold import LedgerPlan
from switchpoint.experiment.ledger.plan import Checked
from switchpoint.experiment.ledger.protocol import DeadLetter, Ledger, cause_of
from switchpoint.experiment.store.spool import Spool
from switchpoint.router.recording.drain import payload
from switchpoint.router.recording.gate import Outcome, StoreGate, count

MAX_EVENTS = 1_000
BATCH_EVENTS = 200
LETTER_CHARACTERS = 16_384
_LETTERS_OF_A_CAUSE = 100
_CHARACTERS_OF_A_CAUSE = 100_000
_POST_SECONDS = 1.0
_EVENTS_OF_A_TURN = 32
_SPOOLED = Outcome(Status.SPOOLED)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Item:
    """The answer for one submitted event; `id` is None where the event had none that can be shown."""

    id: str | None
    outcome: Outcome


_Item = TypeVar("_Item")
Judged = Event | Checked | Outcome
"""An event that nobody has judged, one that the plan can count, or why it is refused."""

Work = tuple[Sequence[Event | Checked], "Future[list[Outcome]]"]


class Recorder:
    """The one way events take inside a serving process."""

    def __init__(
        self,
        ledger: Ledger,
        spool: Spool,
        plan: Callable[[], LedgerPlan],
        *,
        gate: StoreGate,
        renew: Callable[[], bool] = lambda: True,
        linger: float = 0.002,
    ) -> None:
        """Make a recorder; `start` runs its writer.

        Args:
            ledger: where events are counted.
            spool: where they wait while the store is away.
            plan: the current plan (the snapshot's).
            gate: shared with the drainer, which probes.
            renew: reads the plan in force before the plan refuses an event; False where it cannot be read.
            linger: seconds the writer waits for company before it writes a small batch.
        """
        self._ledger, self._spool, self._plan = ledger, spool, plan
        self._gate, self._renew, self._linger = gate, renew, linger
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._refused = _Refused(ledger, gate)
        self._writer: threading.Thread | None = None

    def start(self) -> None:
        """Run the writer in the background, and beside it what counts refused events."""
        self._writer = threading.Thread(target=self._write_forever, name="recorder", daemon=True)
        self._writer.start()
        self._refused.start()

    def stop(self) -> None:
        """Write what is queued, then end."""
        if self._writer is not None:
            self._queue.put(None)
            self._writer.join(timeout=5.0)
            self._writer = None
            self._refused.stop()

    def submit(self, raws: Sequence[object], *, now: int | None) -> list[Item]:
        """Validate each event by itself and record the good ones; one bad event never fails its batch.

        Args:
            raws: events as parsed from JSON.
            now: the door's clock in ms; times more than five minutes ahead are refused. None trusts times.

        Raises:
            SpoolFull, PlatformError: nothing durable is left; no event of the call is acknowledged.
        """
        plan = self._plan()
        events: list[Event | Outcome] = []
        judged: list[Judged] = []
        for raw in _in_turns(raws):
            event = _read(raw, now)
            events.append(event)
            judged.append(_checked(event, plan))
        self._doubt(events, judged)
        outcomes = self._settle(raws, judged)
        return [Item(_shown_id(raw), outcome) for raw, outcome in zip(raws, outcomes, strict=True)]

    def record(self, events: Sequence[Event]) -> list[Outcome]:
        """Make events durable that this process made of its own snapshot: no newer plan has to be asked.

        Raises as `submit`.
        """
        plan = self._plan()
        return self._settle(events, [_checked(event, plan) for event in events])

    def _doubt(self, events: Sequence[Event | Outcome], judged: list[Judged]) -> None:
        """Have the plan read again before it refuses any event: it may be a second old.

        Where it cannot be read, such events stay as they are: they wait in the spool, to be judged later.
        """
        doubted = [
            (place, event)
            for place, event in enumerate(events)
            if isinstance(event, Event) and isinstance(judged[place], Outcome)
        ]
        if doubted:
            current, plan = self._renew(), self._plan()
            for place, event in _in_turns(doubted):
                again = _checked(event, plan)
                judged[place] = event if isinstance(again, Outcome) and not current else again

    def _settle(self, raws: Sequence[object], judged: Sequence[Judged]) -> list[Outcome]:
        recorded = iter(self._outcomes([one for one in judged if not isinstance(one, Outcome)]))
        outcomes = [one if isinstance(one, Outcome) else next(recorded) for one in judged]
        for raw, outcome in zip(raws, outcomes, strict=True):
            if outcome.status is Status.REJECTED:
                self._refused.add(raw, outcome)
        return outcomes

    def _outcomes(self, events: Sequence[Event | Checked]) -> list[Outcome]:
        if self._writer is None:
            return self._write(events)
        works: list[Work] = [
            (events[begin : begin + BATCH_EVENTS], Future()) for begin in range(0, len(events), BATCH_EVENTS)
        ]
        for work in works:
            self._queue.put(work)
        return [outcome for _, future in works for outcome in future.result()]

    def _write_forever(self) -> None:
        held: Work | None = None
        while True:
            first = held or self._queue.get()
            held = None
            if first is None:
                return
            works, size, end = [first], len(first[0]), time.monotonic() + self._linger
            while size < BATCH_EVENTS:
                try:
                    work = self._queue.get(timeout=max(0.0, end - time.monotonic()))
                except queue.Empty:
                    break
                if work is None:
                    self._queue.put(None)
                    break
                if size + len(work[0]) > BATCH_EVENTS:
                    held = work
                    break
                works.append(work)
                size += len(work[0])
            self._serve(works)

    def _serve(self, works: list[Work]) -> None:
        try:
            outcomes = iter(self._write([event for events, _ in works for event in events]))
        except Exception as error:  # noqa: BLE001 - the writer must live; every waiting request gets the error
            for _, future in works:
                future.set_exception(error)
        else:
            for events, future in works:
                future.set_result([next(outcomes) for _ in events])

    def _write(self, events: Sequence[Event | Checked]) -> list[Outcome]:
        """Count what can be counted now, and keep the rest in the spool."""
        outcomes = self._counted(events) if self._gate.up else [None] * len(events)
        waiting = [_plain(event) for event, found in zip(events, outcomes, strict=True) if found is None]
        if waiting:
            self._spool.put([payload(waiting)])
        return [outcome or _SPOOLED for outcome in outcomes]

    def _counted(self, events: Sequence[Event | Checked]) -> list[Outcome | None]:
        plan = self._plan()
        # the plan may have changed since the door looked: what it does not know now is not refused here
        known = {
            place: one
            for place, event in enumerate(events)
            if not isinstance(one := _checked(event, plan), Outcome)
        }
        outcomes: list[Outcome | None] = [None] * len(events)
        try:
            found = count(self._ledger, list(known.values()), plan)
        except StoreUnavailable as error:
            self._gate.failed(error)
            return outcomes
        for place, outcome in zip(known, found, strict=True):
            outcomes[place] = outcome
        return outcomes


class _Refused:
    """Counts refused events beside everything else, in one call a second.

    All of them by cause; of each cause it keeps the content of the first ones of the second, so that a flood
    of one cause neither fills the store nor hides another.
    """

    def __init__(self, ledger: Ledger, gate: StoreGate) -> None:
        self._ledger, self._gate = ledger, gate
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._waiting = _Waiting()
        self._sending: tuple[str, _Waiting] | None = None

    def start(self) -> None:
        """Run until `stop`."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="refused events", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Count what waits, then end."""
        self._stopping.set()
        self._thread.join(timeout=5.0)

    def add(self, raw: object, outcome: Outcome) -> None:
        """Take one refused event; without room for its content it is still counted."""
        with self._lock:
            self._waiting.add(raw, outcome)

    def _run(self) -> None:
        while not self._stopping.wait(_POST_SECONDS):
            self._post()
        self._post()  # what a failed call left
        self._post()  # what came since

    def _post(self) -> None:
        """Hand over what waits; a call that failed is repeated first, under its own token."""
        if not self._gate.up:
            return
        with self._lock:
            if self._sending is None and self._waiting:
                self._sending, self._waiting = (uuid4().hex, self._waiting), _Waiting()
        if self._sending is None:
            return
        token, sent = self._sending
        try:
            self._ledger.refuse(sent.letters, uncounted=sent.uncounted, token=token)
        except Exception as error:  # noqa: BLE001 - the thread must live
            _log.warning("refused events wait to be counted: %s", error)
        else:
            self._sending = None


class _Waiting:
    """Refused events of about a second."""

    def __init__(self) -> None:
        self.letters: list[DeadLetter] = []
        self.uncounted: Counter[str] = Counter()
        self._letters: Counter[str] = Counter()
        self._characters: Counter[str] = Counter()

    def __bool__(self) -> bool:
        return bool(self.letters or self.uncounted)

    def add(self, raw: object, outcome: Outcome) -> None:
        cause = outcome.cause or ""
        if self._letters[cause] >= _LETTERS_OF_A_CAUSE or self._characters[cause] >= _CHARACTERS_OF_A_CAUSE:
            self.uncounted[cause] += 1
            return
        text = _letter(raw)
        self.letters.append(DeadLetter(raw=text, reason=outcome.reason or "", cause=cause))
        self._letters[cause] += 1
        self._characters[cause] += len(text)


def _in_turns(items: Sequence[_Item]) -> Iterator[_Item]:
    """The items, with a pause between some: a thousand events are no reason for others to wait for all."""
    for number, item in enumerate(items, 1):
        yield item
        if number % _EVENTS_OF_A_TURN == 0:
            time.sleep(0.001)


def _read(raw: object, now: int | None) -> Event | Outcome:
    try:
        return parse_event(raw, now=now)
    except EventError as error:
        return _refusal(error)


def _checked(event: Judged, plan: LedgerPlan) -> Checked | Outcome:
    if isinstance(event, Outcome):
        return event
    try:
        return plan.check(event)
    except EventError as error:
        return _refusal(error)


def _refusal(error: EventError) -> Outcome:
    """What is kept of an error: itself it would hold, in a circle, the whole request that it was found in."""
    return Outcome(Status.REJECTED, str(error), cause_of(error))


def _plain(event: Event | Checked) -> Event:
    return event.event if isinstance(event, Checked) else event


def _letter(raw: object) -> str:
    """An event as it came, cut to what is worth keeping."""
    if isinstance(raw, Event):
        raw = to_document(raw)
    return json.dumps(raw, ensure_ascii=False, default=repr)[:LETTER_CHARACTERS]


def _shown_id(raw: object) -> str | None:
    found = raw.get("id") if isinstance(raw, dict) else None
    return found if isinstance(found, str) and len(found) <= 256 else shown_value(found)


def answer(items: Iterable[Item]) -> dict[str, object]:
    """Items as the events door answers them, with the refused ones counted by cause."""
    answers: list[dict[str, object]] = []
    refused: Counter[str] = Counter()
    for item in items:
        shown: dict[str, object] = {"id": item.id, "status": item.outcome.status.value}
        if item.outcome.reason is not None:
            shown["reason"] = item.outcome.reason
        if item.outcome.cause is not None:
            refused[item.outcome.cause] += 1
        answers.append(shown)
    return {"items": answers, "refused": dict(refused)}
