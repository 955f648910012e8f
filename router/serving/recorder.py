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
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from uuid import uuid4

from experiment.codec import parse_event, to_document
from experiment.errors import EventError, StoreUnavailable, SwitchpointError
from experiment.event import Event, Status
from experiment.fold import LedgerPlan
from experiment.plan import Checked
from experiment.store.ledger import DeadLetter, Ledger, cause_of
from experiment.store.spool import Spool
from router.serving.counting import Outcome, StoreGate, count
from router.serving.drain import payload
from router.serving.problem import shown as shown_value

MAX_EVENTS = 1_000
BATCH_EVENTS = 200
LETTER_CHARACTERS = 16_384
_MAX_WAITING_LETTERS = 1_000
_MAX_WAITING_CHARACTERS = 2_000_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Item:
    """The answer for one submitted event; `id` is None where the event had none that can be shown."""

    id: str | None
    outcome: Outcome


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
        renew: Callable[[], object] = lambda: None,
        linger: float = 0.002,
    ) -> None:
        """Make a recorder; `start` runs its writer.

        Args:
            ledger: where events are counted.
            spool: where they wait while the store is away.
            plan: the current plan (the snapshot's).
            gate: shared with the drainer, which probes.
            renew: refreshes the snapshot, asked when an event names something the plan does not know yet.
            linger: seconds the writer waits for company before it writes a small batch.
        """
        self._ledger, self._spool, self._plan = ledger, spool, plan
        self._gate, self._renew, self._linger = gate, renew, linger
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._refused = _Refused()
        self._writer: threading.Thread | None = None

    def start(self) -> None:
        """Run the writer in the background."""
        self._writer = threading.Thread(target=self._write_forever, name="recorder", daemon=True)
        self._writer.start()

    def stop(self) -> None:
        """Write what is queued, then end."""
        if self._writer is not None:
            self._queue.put(None)
            self._writer.join(timeout=5.0)
            self._writer = None

    def submit(self, raws: Sequence[object], *, now: int | None) -> list[Item]:
        """Validate each event by itself and record the good ones; one bad event never fails its batch.

        Args:
            raws: events as parsed from JSON.
            now: the door's clock in ms; times more than five minutes ahead are refused. None trusts times.

        Raises:
            SpoolFull, PlatformError: nothing durable is left; no event of the call is acknowledged.
        """
        items: list[Item | None] = [None] * len(raws)
        good: list[tuple[int, Event | Checked]] = []
        for place, raw in enumerate(raws):
            try:
                event = self._check(parse_event(raw, now=now))
            except EventError as error:
                outcome = Outcome(Status.REJECTED, str(error), cause_of(error))
                items[place] = Item(_shown_id(raw), outcome)
                self._refused.add(raw, outcome)
            else:
                good.append((place, event))
        outcomes = self.record([event for _, event in good])
        for (place, event), outcome in zip(good, outcomes, strict=True):
            items[place] = Item(_plain(event).id, outcome)
        return [item for item in items if item is not None]

    def record(self, events: Sequence[Event | Checked]) -> list[Outcome]:
        """Make validated events durable and say what became of each. Raises as `submit`."""
        outcomes = self._outcomes(events)
        for event, outcome in zip(events, outcomes, strict=True):
            if outcome.status is Status.REJECTED:
                self._refused.add(to_document(_plain(event)), outcome)
        self._announce()
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

    def _check(self, event: Event) -> Event | Checked:
        """Refuse what the plan cannot count; a plan that may be a second old is renewed before it refuses."""
        try:
            return self._plan().check(event)
        except EventError:
            self._renew()
            try:
                return self._plan().check(event)
            except EventError:
                if self._gate.up:
                    raise
                # cut off from the store the plan may be old: keep the event, the drainer checks it again
                return event

    def _announce(self) -> None:
        """Wake the writer for refused events; they are no reason for anybody to wait."""
        if self._writer is not None and self._refused:
            self._queue.put(((), Future()))

    def _write_forever(self) -> None:
        held: Work | None = None
        while True:
            first = held or self._queue.get()
            held = None
            if first is None:
                self._post_refused()
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
        self._post_refused()

    def _write(self, events: Sequence[Event | Checked]) -> list[Outcome]:
        if not events:
            return []
        if self._gate.up:
            try:
                return count(self._ledger, events, self._plan())
            except StoreUnavailable as error:
                self._gate.failed(error)
        self._spool.put([payload(map(_plain, events))])
        return [Outcome(Status.SPOOLED)] * len(events)

    def _post_refused(self) -> None:
        if self._gate.up and self._refused:
            try:
                self._refused.post(self._ledger)
            except SwitchpointError as error:
                _log.warning("refused events wait to be counted: %s", error)


class _Refused:
    """Refused events that wait to be counted: all of them by cause, a bounded number with their content."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._letters: list[DeadLetter] = []
        self._uncounted: Counter[str] = Counter()
        self._characters = 0
        self._sending: tuple[list[DeadLetter], Counter[str], str] | None = None

    def __bool__(self) -> bool:
        return bool(self._letters or self._uncounted or self._sending)

    def add(self, raw: object, outcome: Outcome) -> None:
        """Take one refused event; without room for its content it is still counted."""
        cause, text = outcome.cause or "", _letter(raw)
        with self._lock:
            room = self._characters + len(text) <= _MAX_WAITING_CHARACTERS
            if room and len(self._letters) < _MAX_WAITING_LETTERS:
                self._letters.append(DeadLetter(raw=text, reason=outcome.reason or "", cause=cause))
                self._characters += len(text)
            else:
                self._uncounted[cause] += 1

    def post(self, ledger: Ledger) -> None:
        """Hand over what waits; a call that failed is repeated first, under its own token. Raises."""
        with self._lock:
            if self._sending is None:
                self._sending = self._letters, self._uncounted, uuid4().hex
                self._letters, self._uncounted, self._characters = [], Counter(), 0
        letters, uncounted, token = self._sending
        ledger.refuse(letters, uncounted=uncounted, token=token)
        self._sending = None


def _plain(event: Event | Checked) -> Event:
    return event.event if isinstance(event, Checked) else event


def _letter(raw: object) -> str:
    """An event as it came, cut to what is worth keeping."""
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
