"""Prometheus metrics of the serving processes, under bounded labels (never a unit or event id).

Several workers share one set of files (`PROMETHEUS_MULTIPROC_DIR`, set before this module is imported, see
`gunicorn_conf`); without that variable a process counts for itself.
"""

from __future__ import annotations

import collections
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector

from switchpoint.router.recording.gate import Outcome

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """Every metric serving keeps. One instance a process."""

    def __init__(self) -> None:
        """Register in a registry of their own, so that tests and embedding hosts do not collide."""
        self._registry = CollectorRegistry()
        self._requests = self._counter("requests", "Answered requests", "door", "status")
        self._seconds = Histogram(
            "switchpoint_request_seconds",
            "Time to answer",
            ("door",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._events = self._counter("events", "Events by what became of them", "status")
        self._refused = self._counter(
            "refused_events", "Refused events by the field or bound at fault", "cause"
        )
        self.unrecorded = self._counter("unrecorded", "Predictions answered whose events could not be kept")
        self.predictions = self._counter(
            "predictions", "Predictions by outcome", "model", "version", "outcome"
        )
        self.crashes = self._counter(
            "model_crashes",
            "Processes that a model ended: crashed, or never done",
            "model",
            "version",
        )
        self.ready = self._gauge("ready", "1 while every worker can answer for all that is live", "livemin")
        self.ready.set(1)  # until it takes requests, a worker that is starting misleads nobody
        self.store_up = self._gauge("store_up", "1 while the store answers", "livemin")
        self.spooled_batches = self._gauge("spool_batches", "Batches waiting for the store", "livemax")
        self.held_back = self._gauge("spool_held_back", "Batches that failed and are tried again", "livemax")
        self.snapshot_revision = self._gauge("snapshot_revision", "Project revision served", "livemin")
        self.snapshot_age = self._gauge(
            "snapshot_stale_seconds", "Seconds since the snapshot was last known to be current", "livemax"
        )
        self.clock_drift = self._gauge(
            "clock_drift_seconds", "Seconds between this machine's clock and the store's", "livemax"
        )
        self._assigned = self._requests.labels("assign", "200")

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"switchpoint_{name}", meaning, labels, registry=self._registry)

    def _gauge(self, name: str, meaning: str, mode: Literal["livemin", "livemax"]) -> Gauge:
        """`mode`: how the values of live workers become one."""
        return Gauge(f"switchpoint_{name}", meaning, multiprocess_mode=mode, registry=self._registry)

    def assigned(self) -> None:
        """One assignment request answered; its label is resolved once, the door is hot."""
        self._assigned.inc()

    def events(self, outcomes: Iterable[Outcome]) -> None:
        """What became of the events of one request."""
        for (status, cause), count in collections.Counter(
            (one.status, one.cause) for one in outcomes
        ).items():
            self._events.labels(status.value).inc(count)
            if cause is not None:
                self._refused.labels(cause).inc(count)

    def answered(self, door: str, status: int) -> None:
        """One request answered at a door."""
        self._requests.labels(door, str(status)).inc()

    @contextmanager
    def timed(self, door: str) -> Iterator[None]:
        """Observe the time of a door."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self._seconds.labels(door).observe(time.perf_counter() - begin)

    def others_ready(self) -> bool:
        """Whether every other worker that takes requests said that it is ready, about a second ago."""
        folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        if folder is None:
            return True
        files = [
            str(path)
            for path in Path(folder).glob("gauge_livemin_*.db")
            if path.stem != f"gauge_livemin_{os.getpid()}"
        ]
        merged = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]  # not annotated
        return all(sample.value == 1 for m in merged if m.name == "switchpoint_ready" for sample in m.samples)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """The scrape's body and content type, over all workers where they share files."""
        registry = self._registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the package has no annotation here
        # the package fails on versions it does not know; of each format there is one here
        wanted = OPEN_METRICS if "application/openmetrics-text" in accept else ""
        encode, content_type = choose_encoder(wanted)
        return encode(registry), content_type
