"""The Python client: assigns in process, keeps events durable until the service has them.

    client = Client("http://127.0.0.1:8000", data="/var/lib/shop/switchpoint")
    choice = client.assign(user_id, {"country": "US"}, experiment="home-ranker")
    ...                                       # show what choice.variant says
    client.expose(choice)
    client.track("purchase", user_id, {"amount": 12.5})

Assignments come from a snapshot that is refreshed in the background and kept on disk, and equal the
server's. Events are on disk (a SQLite file) when `track` returns and leave it once the service answered for
each of them, so a killed process or an absent service loses nothing. Nothing here raises into the host for
a fault of the platform: control is served, the fault is logged. Standard library only, no web framework.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from experiment.assignment import Assignment, Reason
from experiment.codec import encode, parse_event
from experiment.errors import BadInput, PlatformError, StoreUnavailable, SwitchpointError
from experiment.event import Event, Status
from experiment.store.spool import Spool, SpooledItem
from router import arguments
from router.serving.drain import only_drainer
from router.serving.exposure import covariate_values, dimension_values, exposure_event
from router.serving.remote import RefusedBatch, Remote
from router.serving.snapshot import Entry, SnapshotHolder

REFRESH_SECONDS = 2.0
_FIRST_DELAY_SECONDS = 0.2
_LONGEST_DELAY_SECONDS = 30.0
_EVENTS_A_REQUEST = 200
_BYTES_A_REQUEST = 800_000
_REMEMBERED_EXPOSURES = 100_000

_log = logging.getLogger("switchpoint.client")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A unit's assignment with what its exposure has to say."""

    unit: str
    assignment: Assignment
    dimensions: Mapping[str, str]
    covariates: Mapping[str, float]

    @property
    def variant(self) -> str:
        """The variant to show; control when not enrolled.

        Where the experiment is not known here (no snapshot yet, or no such key) this is the word `control`,
        whatever the definition calls its first variant: treat every unknown name as control.
        """
        return self.assignment.variant

    @property
    def enrolled(self) -> bool:
        """Whether the unit takes part; others are never exposed."""
        return self.assignment.enrolled

    @property
    def model(self) -> str | None:
        """The model version to use (`ranker@2`), where the experiment is about models."""
        return None if self.assignment.model is None else str(self.assignment.model)


class Client:
    """One per process (or inherited over fork); every method may be called from any thread."""

    def __init__(
        self,
        base_url: str,
        *,
        data: Path | str,
        timeout: float = 2.0,
        refresh_seconds: float = REFRESH_SECONDS,
    ) -> None:
        """Open the queue in folder `data` and fetch the snapshot, waiting at most `timeout` seconds.

        Processes of one host may share `data`. An absent service is no error.

        Raises:
            BadInput: the URL is none.
            PlatformError: the folder cannot be used.
        """
        folder = Path(data)
        self._remote = Remote(base_url, timeout=timeout)
        self._spool = Spool(folder / "events.sqlite")
        self._holder = SnapshotHolder(self._remote, folder / "snapshot.json")
        self._refresh_seconds = refresh_seconds
        self._exposed: OrderedDict[str, None] = OrderedDict()
        self._closed = False
        self._arm()
        self._holder.refresh()
        self._ensure_thread()
        reference = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _after_fork(reference))

    def assign(self, unit: str, attributes: Mapping[str, Any] | None = None, *, experiment: str) -> Choice:
        """The unit's assignment, evaluated here; control with ERROR for bad input and unknown experiments."""
        refused = _unknown(experiment)
        try:
            entry = self._entry(experiment)
            refused = entry.refused
            facts = arguments.facts(unit, attributes)
        except SwitchpointError as error:
            _log.warning("control is served: %s", error)
            return Choice(unit=unit, assignment=refused, dimensions={}, covariates={})
        definition = entry.state.definition
        return Choice(
            unit=unit,
            assignment=entry.assign(unit, facts),
            dimensions=dimension_values(definition.dimensions, facts),
            covariates=covariate_values(definition, facts),
        )

    def _entry(self, experiment: str) -> Entry:
        current = self._holder.current
        try:
            current.require()
        except StoreUnavailable:
            raise StoreUnavailable(
                f"the service at {self._remote.address} cannot be reached or has no snapshot yet, "
                "and none was kept from before"
            ) from None
        arguments.require_text(experiment, "experiment")
        return current.entry(experiment)

    def assign_all(self, unit: str, attributes: Mapping[str, Any] | None = None) -> dict[str, Choice]:
        """The unit's assignments in all running experiments, by key."""
        return {key: self.assign(unit, attributes, experiment=key) for key in self._holder.current.running}

    def predict(
        self,
        model: str,
        unit: str,
        inputs: object,
        attributes: Mapping[str, Any] | None = None,
        *,
        covariates: Mapping[str, float] | None = None,
        default: object = None,
    ) -> Mapping[str, Any]:
        """The service's answer; without one `{"prediction": default, "reason": "ERROR", "error": ...}`.

        `covariates` are for the exposure, as in `expose`.
        """
        body = {"unit": unit, "attributes": attributes or {}, "inputs": inputs}
        if covariates:
            body["covariates"] = covariates
        try:
            return self._remote.predict(model, body)
        except (SwitchpointError, TypeError, ValueError) as error:
            _log.warning("the default is served: %s", error)
            return {
                "prediction": default,
                "reason": Reason.ERROR.value,
                "recorded": None,
                "error": str(error),
            }

    def expose(self, choice: Choice, *, covariates: Mapping[str, float] | None = None) -> bool:
        """Say that the unit met its variant, once per unit and epoch; False for one that is not enrolled.

        `covariates` are numbers known of the unit before, by the names its metrics read; those among the
        attributes of `assign` are taken from there. Where one of those given here is no finite number, all of
        them are left out and that is logged: the exposure itself counts.
        """
        if not choice.enrolled:
            return False
        event = exposure_event(
            choice.assignment, choice.unit, at=_now(), dimensions=choice.dimensions,
            covariates={**choice.covariates, **arguments.numbers(covariates)},
        )  # fmt: skip
        if event.id in self._exposed:
            return True
        kept = self._keep(event)
        if kept:
            self._exposed[event.id] = None
            if len(self._exposed) > _REMEMBERED_EXPOSURES:
                self._exposed.popitem(last=False)
        return kept

    def track(
        self,
        type: str,  # noqa: A002 - the event's field
        unit: str,
        properties: Mapping[str, Any] | None = None,
        *,
        id: str | None = None,  # noqa: A002 - the event's field
        at: int | str | None = None,
    ) -> bool:
        """Keep an event; True when it is on disk. A bad event or a full disk is logged and False.

        `id` makes it countable once however often it is sent; one is made up when left out. `at` is ms or
        ISO 8601, now when left out.
        """
        raw: dict[str, object] = {
            "id": id or uuid4().hex,
            "type": type,
            "unit": unit,
            "at": _now() if at is None else at,
        }
        if properties is not None:
            raw["properties"] = arguments.plain(properties)
        try:
            event = parse_event(raw, now=None)
        except BadInput as error:
            _log.error("an event was refused: %s", error)
            return False
        return self._keep(event)

    def flush(self, seconds: float = 5.0) -> bool:
        """Send what is queued now; True when nothing is left, False after `seconds`."""
        end = time.monotonic() + seconds
        self._ensure_thread()
        while self.waiting():
            if time.monotonic() > end:
                return False
            self._urgent.set()
            self._wake.set()
            time.sleep(0.01)
        return True

    def waiting(self) -> int:
        """Events not yet delivered, of all processes that share the folder."""
        return len(self._spool)

    def close(self, seconds: float = 5.0) -> bool:
        """Flush within `seconds`, then end the thread; the next client on this folder sends what is left."""
        empty = self.flush(seconds)
        self._closed = True
        self._urgent.set()
        self._wake.set()
        self._thread.join(timeout=max(0.1, self._remote.timeout))
        self._spool.close()
        return empty

    def __enter__(self) -> Client:
        """The client, closed on exit."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def _keep(self, event: Event) -> bool:
        try:
            self._spool.put([encode(event).encode()])
        except PlatformError as error:
            _log.error("an event is lost: %s", error)
            return False
        self._ensure_thread()
        self._wake.set()
        return True

    def _arm(self) -> None:
        """State that must not be shared with a forked child."""
        self._wake = threading.Event()  # an event was queued
        self._wake.set()  # an earlier process may have left some
        self._urgent = threading.Event()  # somebody waits in flush: no back-off
        self._starting = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="switchpoint-client", daemon=True)
        self._started = False

    def _ensure_thread(self) -> None:
        if not self._started and not self._closed:
            with self._starting:
                if not self._started:
                    self._thread.start()
                    self._started = True

    def _run(self) -> None:
        delay, refreshed_at = 0.0, time.monotonic()
        while not self._closed:
            self._wake.wait(self._refresh_seconds)
            self._wake.clear()
            if delay:
                self._urgent.wait(delay * random.uniform(0.5, 1.0))  # noqa: S311 - spreads retries of many hosts
            self._urgent.clear()
            if time.monotonic() - refreshed_at >= self._refresh_seconds:
                self._holder.refresh()
                refreshed_at = time.monotonic()
            delay = (
                0.0 if self._deliver() else min(max(delay * 2, _FIRST_DELAY_SECONDS), _LONGEST_DELAY_SECONDS)
            )

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
        for item in items:
            if item.get("status") == Status.REJECTED:
                _log.warning("event %s was rejected: %s", item.get("id"), item.get("reason"))
        self._spool.done([item.row_id for item in batch])


def _after_fork(reference: weakref.ReferenceType[Client]) -> None:
    """The background thread does not survive a fork; the child starts its own at its first event."""
    client = reference()
    if client is not None:
        client._arm()  # noqa: SLF001 - this module's own class


def _now() -> int:
    return time.time_ns() // 1_000_000


def _unknown(experiment: str) -> Assignment:
    return Assignment(
        experiment=experiment,
        variant="control",
        model=None,
        segment=None,
        propensity=None,
        reason=Reason.ERROR,
        revision=0,
        epoch=0,
        enrolled=False,
    )
