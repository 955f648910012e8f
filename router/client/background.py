"""The one thread of a process that follows the service and delivers its events.

It ends with the process that started it: a forked child makes its own at first use.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from dataclasses import replace

from switchpoint.experiment.errors import PlatformError, StoreUnavailable
from switchpoint.experiment.ledger.codec import AHEAD_MS, decode, encode
from switchpoint.experiment.ledger.event import Status
from switchpoint.experiment.store.spool import Spool, SpooledItem
from switchpoint.router.client.remote import RefusedBatch, Remote
from switchpoint.router.recording.drain import only_drainer
from switchpoint.router.snapshot import SnapshotHolder

FIRST_DELAY_SECONDS = 0.2
LONGEST_DELAY_SECONDS = 30.0
_EVENTS_A_REQUEST = 200
_BYTES_A_REQUEST = 800_000

_log = logging.getLogger("switchpoint.client")


class Background:
    """Refreshes `holder` every `refresh_seconds` and empties `spool` into `remote` as events come."""

    def __init__(
        self,
        remote: Remote,
        spool: Spool,
        holder: SnapshotHolder,
        *,
        refresh_seconds: float,
        looked_at: float,
    ) -> None:
        """Not yet running. `looked_at` is when the holder was last refreshed, on the monotonic clock."""
        self.pid = os.getpid()
        self.looked_at = looked_at
        self.successors: dict[int, Background] = {}
        self._remote, self._spool, self._holder = remote, spool, holder
        self._refresh_seconds = refresh_seconds
        self._stopped = False
        self._wake = threading.Event()  # an event was queued, or somebody waits in flush
        self._urgent = False  # somebody waits in flush: no back-off
        self._starting = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="switchpoint-client", daemon=True)
        self.started = False
        # spreads the retries of many hosts; the module's own stream belongs to the host
        self._random = random.Random()  # noqa: S311

    def successor(self) -> Background:
        """The background of this process, which was forked from the one that made this."""
        made = Background(
            self._remote, self._spool, self._holder,
            refresh_seconds=self._refresh_seconds, looked_at=self.looked_at,
        )  # fmt: skip
        made._stopped = self._stopped
        # threads that come at once all get the same one, without a lock that a fork could inherit
        return self.successors.setdefault(made.pid, made)

    def start(self) -> None:
        """Run the thread; first look for a new revision here if the last look is older than an interval.

        Where the host has no thread left, calls look from time to time by themselves.
        """
        with self._starting:
            if self.started or self._stopped:
                return
            if time.monotonic() - self.looked_at > self._refresh_seconds:
                self._refresh()
            try:
                self._thread.start()
                self.started = True
            except RuntimeError as error:  # no thread left in the host: the next call tries again
                _log.error("nothing is delivered for now: %s", error)

    def wake(self, *, urgent: bool = False) -> None:
        """Deliver now what waits; `urgent` also during a back-off."""
        self._urgent = self._urgent or urgent
        self._wake.set()

    def stop(self, seconds: float) -> None:
        """End the thread, waiting at most `seconds` for it."""
        self._stopped = True
        self.wake()
        if self._thread.is_alive():
            self._thread.join(timeout=seconds)

    def _run(self) -> None:
        delay, deliver_at = 0.0, 0.0
        while not self._stopped:
            if time.monotonic() - self.looked_at >= self._refresh_seconds:
                self._refresh()
            if self._urgent or time.monotonic() >= deliver_at:
                self._urgent = False
                delay = 0.0 if self._deliver() else next_delay(delay)
                deliver_at = time.monotonic() + delay * self._random.uniform(0.5, 1.0)
            due = self.looked_at + self._refresh_seconds
            if delay:
                due = min(due, deliver_at)
            self._wake.wait(max(0.0, due - time.monotonic()))
            self._wake.clear()

    def _refresh(self) -> None:
        self._holder.refresh()
        self.looked_at = time.monotonic()

    def _deliver(self) -> bool:
        """Send everything that waits, oldest first; False when the service is away."""
        try:
            with only_drainer(self._spool) as mine:
                while mine and (batch := self._next_batch()):
                    self._send(batch)
        except StoreUnavailable as error:
            _log.info("events wait, the service is away: %s", error)
            return False
        except PlatformError as error:
            _log.error("the event queue cannot be used: %s", error)
            return False
        except Exception:  # noqa: BLE001 - the thread must outlive anything a service may answer
            _log.exception("sending events failed")
            return False
        return True

    def _next_batch(self) -> list[SpooledItem]:
        batch: list[SpooledItem] = []
        size = 0
        for item in self._spool.take(_EVENTS_A_REQUEST):
            size += len(item.payload) + 1
            if batch and size > _BYTES_A_REQUEST:
                break
            batch.append(item)
        return batch

    def _send(self, batch: list[SpooledItem]) -> None:
        """Deliver a batch and forget it; a batch refused as a whole is halved until the event is found."""
        try:
            items = self._remote.send([item.payload for item in batch])
        except RefusedBatch as error:
            if len(batch) > 1:
                middle = len(batch) // 2
                self._send(batch[:middle])
                self._send(batch[middle:])
                return
            _log.error("an event is given up, the service refuses it: %s", error)
            items = []
        for row, item in zip(batch, items, strict=bool(items)):
            if item.get("status") == Status.REJECTED:
                _log.warning("event %s was rejected: %s", item.get("id"), item.get("reason"))
                self._date_again(row)
        self._spool.done([item.row_id for item in batch])

    def _date_again(self, row: SpooledItem) -> None:
        """Queue a refused event once more, dated by the service's clock, if it was refused for the host's.

        It was kept before the service could be asked for its time, by a clock that is ahead.
        """
        clock = self._remote.clock
        if clock.drift is None:
            return
        event, now = decode(row.payload.decode()), clock.now()
        if event.at > now + AHEAD_MS:
            at = min(event.at - round(clock.drift * 1000), now)
            self._spool.put([encode(replace(event, at=at)).encode()])
            _log.warning("event %s comes again, dated by the service's clock", event.id)


def next_delay(delay: float) -> float:
    """The back-off after one more failure: doubled, from a fifth of a second to half a minute."""
    return min(max(delay * 2, FIRST_DELAY_SECONDS), LONGEST_DELAY_SECONDS)
