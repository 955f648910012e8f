"""What a serving process does once a second beside answering: refresh, drain, look after its store.

Each in its own thread (a greenlet under gevent): a spool of an hour, a slow disk or a model that loads are no
reason for a pause to wait.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from switchpoint.experiment.errors import PlatformError, SpoolFull, StoreUnavailable
from switchpoint.experiment.store.redis.connection import ServerFinding, Severity, clock_finding
from switchpoint.experiment.store.spool import Spool
from switchpoint.router.http.body import MAX_BODY_BYTES
from switchpoint.router.http.metrics import Metrics
from switchpoint.router.models.runtime import Models
from switchpoint.router.recording.clock import Clock
from switchpoint.router.recording.drain import Drainer
from switchpoint.router.recording.gate import StoreGate
from switchpoint.router.snapshot import SnapshotHolder

PERIOD_SECONDS = 1.0
_INSPECT_SECONDS = 30.0
_PROBE_SECONDS = 5.0
_RENEW_SECONDS = 0.2

_log = logging.getLogger(__name__)


class Background:
    """The threads that keep a serving process current and its spool empty."""

    def __init__(
        self,
        holder: SnapshotHolder,
        drainer: Drainer,
        spool: Spool,
        gate: StoreGate,
        metrics: Metrics,
        models: Models,
        *,
        inspect: Callable[[], list[ServerFinding]],
        clock: Clock,
    ) -> None:
        """`inspect` reads the server's settings that decide whether it keeps its promises.

        `clock` asks for the server's time with every look for a revision.
        """
        self._clock = clock
        self._holder, self._spool, self._gate = holder, spool, gate
        self._metrics, self._models, self._inspect = metrics, models, inspect
        self._findings: list[ServerFinding] = []
        self._spool_fault: str | None = None
        self._probed_at = float("-inf")
        self._inspected_at = float("-inf")
        self._renewing = threading.Lock()
        self._renewed_at, self._renewed = float("-inf"), False
        self._drainer = drainer
        self._opened = False
        self._upkeep = (self._load, self._probe_spool, self._look, self._measure)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Look at everything now (the process answers from what it finds), then once a second."""
        self._do(self.refresh, *self._upkeep)
        for parts in ((self.refresh,), (self._drainer.step,), self._upkeep):
            thread = threading.Thread(target=self._loop, args=parts, name="background", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End after the rounds under way."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=5.0)

    def ready(self) -> bool:
        """Whether this worker lacks nothing, whatever its neighbours do."""
        return not self._missing()

    def open(self) -> None:
        """The worker takes requests from now on: what it lacks is said to its neighbours."""
        self._opened = True
        self._measure()

    def refresh(self) -> bool:
        """Look for a new revision; False where what is in force cannot be read."""
        current = self._holder.refresh()
        self._gate.refused = self._holder.refusal is not None
        if current:
            with suppress(StoreUnavailable):
                self._clock.look()
        return current

    def renew(self) -> bool:
        """As `refresh`, out of turn: by a look that begins after this call, never while the store is away.

        Looks come 0.2 s apart, and all who asked meanwhile share one.
        """
        asked = time.monotonic()
        if not self._gate.up:
            return False
        with self._renewing:
            if self._renewed_at <= asked:
                time.sleep(max(0.0, self._renewed_at + _RENEW_SECONDS - time.monotonic()))
                self._renewed_at = time.monotonic()
                self._renewed = self.refresh()
            return self._renewed and self._gate.up

    def step(self) -> None:
        """One round of everything, in this thread."""
        self._do(self.refresh, self._drainer.step, *self._upkeep)

    def _do(self, *parts: Callable[[], object]) -> None:
        """A fault of one part never ends the thread, nor the others."""
        for part in parts:
            try:
                part()
            except Exception:  # noqa: BLE001 - the next round may do better
                _log.exception("a background round failed")

    def readiness(self) -> dict[str, Any]:
        """The facts of /readyz. `reasons` says in words what is missing; ready is to have none.

        Ready: this worker and its neighbours can answer for every live version by the store's own snapshot,
        and there is a durable place for events, whether the store is there or not.
        """
        settings = {finding.name: finding.value for finding in self._findings}
        reasons = self._missing()
        self._tell_neighbours(reasons)  # who hears "ready" here hears nothing older from another worker
        if not reasons and not self._metrics.others_ready():
            reasons = ["another worker of this service is not ready"]
        return {
            "ready": not reasons,
            "reasons": reasons,
            "store": {
                "up": self._gate.up and self._holder.stale_since is None,
                "server": settings.get("version", "unknown"),
                "durability": settings.get("appendfsync", "unknown"),
                "wrong": _sentences(self._findings, Severity.ERROR),
                "warnings": _sentences([*self._findings, clock_finding(self._drift())], Severity.WARN),
                "clock_drift_seconds": round(self._drift(), 3),
            },
            "snapshot": {
                "loaded": self._holder.loaded,
                "revision": self._holder.current.revision,
                "stale": self._holder.stale_since is not None,
                "stale_seconds": round(self._holder.stale_seconds, 3),
            },
            "spool": {
                "available": self._spool_fault is None,
                "batches": self._waiting(),
                "held_back": self._drainer.held_back,
            },
            "models": self._models.facts(),
        }

    def _drift(self) -> float:
        """Seconds by which this machine's clock is ahead of the store's, 0 before that was measured."""
        return self._clock.drift or 0.0

    def _missing(self) -> list[str]:
        """What this worker lacks to be ready, one sentence each."""
        snapshot, reasons = self._holder.current, []
        if self._holder.refusal is not None:
            reasons.append(self._holder.refusal)
        elif self._holder.fault is not None:
            reasons.append(f"the newest revision cannot be used: {self._holder.fault}")
        elif not self._holder.loaded:
            reasons.append("no snapshot: the store was not reached since this process started")
        reasons += _sentences(self._findings, Severity.ERROR)
        if self._spool_fault is not None:
            reasons.append(self._spool_fault)
        reasons += [f"{ref} is live and not in the registry" for ref in snapshot.unregistered()]
        return reasons + self._models.not_ready(snapshot.live_versions())

    def _waiting(self) -> int | None:
        try:
            return len(self._spool)
        except PlatformError:
            return None

    def _probe_spool(self) -> None:
        """Whether events could be kept without the store; a spool of 0 bytes is missed while it is away."""
        if time.monotonic() - self._probed_at < _PROBE_SECONDS:
            return
        self._probed_at = time.monotonic()
        try:
            if self._spool.max_bytes:
                self._spool.check()
            if not self._gate.up and self._spool.max_bytes - self._spool.bytes < MAX_BODY_BYTES:
                raise SpoolFull("the store is away and the spool is full: events are refused")
        except PlatformError as error:
            if self._spool_fault != str(error):
                _log.error("%s", error)
            self._spool_fault = str(error)
        else:
            self._spool_fault = None

    def _loop(self, *parts: Callable[[], object]) -> None:
        while not self._stop.wait(PERIOD_SECONDS):
            self._do(*parts)

    def _load(self) -> None:
        self._models.load(self._holder.current.live_versions())

    def _look(self) -> None:
        due = time.monotonic() - self._inspected_at > _INSPECT_SECONDS
        if due and self._holder.stale_since is None:
            try:
                self._findings = self._inspect()
            except StoreUnavailable:
                return  # the refresh of the next round says so
            self._inspected_at = time.monotonic()
            for finding in self._findings:
                if finding.severity is Severity.ERROR:
                    _log.error("the store's %s is %s. Fix: %s", finding.name, finding.value, finding.fix)

    def _tell_neighbours(self, missing: list[str]) -> None:
        self._metrics.ready.set(not missing or not self._opened)

    def _measure(self) -> None:
        self._tell_neighbours(self._missing())
        self._metrics.store_up.set(self._gate.up and self._holder.stale_since is None)
        self._metrics.spooled_batches.set(self._waiting() or 0)
        self._metrics.held_back.set(self._drainer.held_back)
        self._metrics.snapshot_revision.set(self._holder.current.revision)
        self._metrics.snapshot_age.set(self._holder.stale_seconds)
        self._metrics.clock_drift.set(abs(self._drift()))


def _sentences(findings: Iterable[ServerFinding], severity: Severity) -> list[str]:
    return [f"{f.name} {f.value}: {f.fix}" for f in findings if f.severity is severity]
