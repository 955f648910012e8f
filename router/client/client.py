"""The client's calls, each of which may come from any thread of any forked worker of the host."""

from __future__ import annotations

import logging
import os
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self, SupportsFloat
from uuid import uuid4

from switchpoint.experiment.assignment.assign import Assignment, Reason
from switchpoint.experiment.definition.types import ModelRef
from switchpoint.experiment.errors import BadInput, PlatformError, SwitchpointError
from switchpoint.experiment.language.document import parse_ref
from switchpoint.experiment.ledger.codec import encode, parse_event
from switchpoint.experiment.ledger.event import Event, covariate_values, dimension_values, exposure_event
from switchpoint.experiment.store.spool import Spool
from switchpoint.router.client import arguments
from switchpoint.router.client.background import Background
from switchpoint.router.client.remote import Remote
from switchpoint.router.client.values import json_value
from switchpoint.router.snapshot import Entry, SnapshotHolder

REFRESH_SECONDS = 2.0
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
        default: Mapping[str, str] | None = None,
    ) -> None:
        """Open the queue in folder `data` and fetch the snapshot, waiting about `timeout` seconds.

        Processes of one host may share `data`. An absent service is no error. `default` names the version of
        each model (`{"ranker": "ranker@1"}`) that choices name before any snapshot was seen; see `assign`.

        Raises:
            BadInput: the URL is none, or a default is no version of its model.
            PlatformError: the folder cannot be used.
        """
        folder = Path(data)
        self._defaults = _defaults(default)
        self._remote = Remote(base_url, timeout=timeout)
        self._clock = self._remote.clock
        self._spool = Spool(folder / "events.sqlite")
        self._holder = SnapshotHolder(self._remote, folder / "snapshot.json")
        self._exposed: OrderedDict[str, None] = OrderedDict()
        self._said_absent = False
        self._holder.refresh()
        self._background = Background(
            self._remote, self._spool, self._holder,
            refresh_seconds=refresh_seconds, looked_at=time.monotonic(),
        )  # fmt: skip
        self._running()

    def assign(
        self,
        unit: str,
        attributes: Mapping[str, Any] | None = None,
        *,
        experiment: str,
        default: str | None = None,
    ) -> Choice:
        """The unit's assignment, evaluated here; control with ERROR for bad input and unknown experiments.

        Where nothing is known of the experiment, as before any snapshot was seen, the model is `default`
        ("ranker@1", or "ranker" for the version that the constructor names), with FALLBACK; left out, it is
        the constructor's where that names one model only. Such a choice is never exposed.
        """
        self._running()
        refused = None
        try:
            entry = self._entry(experiment)
            if entry is not None:
                refused = entry.refused
                return self._evaluate(entry, unit, attributes)
        except SwitchpointError as error:
            _log.warning("control is served: %s", error)
        except Exception:  # noqa: BLE001 - whatever the host passes, its page is served
            _log.exception("control is served")
        return _choice(unit, refused or _unknown(experiment, self._default(default)))

    def _entry(self, experiment: str) -> Entry | None:
        """The experiment as last seen; None before any snapshot was. Raises NotFound, BadInput."""
        current = self._holder.current
        if current.document:
            arguments.require_text(experiment, "experiment")
            return current.entry(experiment)
        if not self._said_absent:  # once: a busy host would fill its log with the same line
            self._said_absent = True
            _log.warning(
                "control is served: the service at %s cannot be reached or has no snapshot yet, "
                "and none was kept from before",
                self._remote.address,
            )
        return None

    def _evaluate(self, entry: Entry, raw_unit: object, attributes: object) -> Choice:
        unit = arguments.unit_of(raw_unit)
        facts = arguments.attribute_values(attributes)
        definition = entry.state.definition
        return Choice(
            unit=unit,
            assignment=entry.assign(unit, facts),
            dimensions=dimension_values(definition.dimensions, facts),
            covariates=covariate_values(definition, facts),
        )

    def _default(self, given: str | None) -> ModelRef | None:
        """The version to name while nothing is known; none, and a line in the log, for what is no version."""
        if given is None:
            return next(iter(self._defaults.values())) if len(self._defaults) == 1 else None
        try:
            return self._defaults.get(given) or parse_ref(given, "default")
        except BadInput as error:
            _log.warning("there is no default: %s", error)
            return None

    def assign_all(self, unit: str, attributes: Mapping[str, Any] | None = None) -> dict[str, Choice]:
        """The unit's assignments in all running experiments, by key."""
        self._running()
        return {key: self.assign(unit, attributes, experiment=key) for key in self._holder.current.running}

    def predict(
        self,
        model: str,
        unit: str,
        inputs: object,
        attributes: Mapping[str, Any] | None = None,
        *,
        covariates: Mapping[str, SupportsFloat] | None = None,
        default: object = None,
    ) -> Mapping[str, Any]:
        """The service's answer; without one `{"prediction": default, "reason": "ERROR", "error": ...}`.

        `covariates` are for the exposure, as in `expose`.
        """
        try:
            body = {
                "unit": arguments.text_of(unit),
                "attributes": arguments.attribute_values(attributes),
                "inputs": json_value(inputs, "inputs"),
            }
            if covariates:
                body["covariates"] = json_value(covariates, "covariates")
            return self._remote.predict(model, body)
        except Exception as error:  # noqa: BLE001 - whatever the host passes, its page is served
            _log.warning("the default is served: %s", error)
            return {
                "prediction": default,
                "reason": Reason.ERROR.value,
                "recorded": None,
                "error": str(error),
            }

    def expose(self, choice: Choice, *, covariates: Mapping[str, SupportsFloat] | None = None) -> bool:
        """Say that the unit met its variant, once per unit and epoch; False for one that is not enrolled.

        `covariates` are numbers known of the unit before, by the names its metrics read; those among the
        attributes of `assign` are taken from there. Where one of those given here is no finite number, all of
        them are left out and that is logged: the exposure itself counts.
        """
        if not choice.enrolled:
            return False
        event = exposure_event(
            choice.assignment, choice.unit, at=self._clock.now(), dimensions=choice.dimensions,
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
        at: int | str | datetime | None = None,
    ) -> bool:
        """Keep an event; True when it is on disk. A bad event or a full disk is logged and False.

        `id` makes it countable once however often it is sent; one is made up when left out. `at` is ms, ISO
        8601 or a datetime with a zone, now when left out, by the service's clock once that is known; what is
        more than five minutes ahead of it is a bad event. Properties may be what the host has: numbers of any
        library, ids, times, sets. One that stands for no JSON value is left out and that is logged; the
        event is refused only if a metric reads it.
        """
        try:
            raw: dict[str, object] = {
                "id": arguments.text_of(id) or uuid4().hex,
                "type": arguments.text_of(type),
                "unit": arguments.text_of(unit),
                "at": self._clock.now() if at is None else arguments.event_time(at),
            }
            if properties is not None:
                raw["properties"] = arguments.event_properties(properties, lambda: self._read_from(type))
            # before the service has said what time it is there is nothing to judge times of the host by
            event = parse_event(raw, now=None if self._clock.drift is None else self._clock.now())
        except BadInput as error:
            _log.error("an event was refused: %s", error)
            return False
        except Exception:  # noqa: BLE001 - whatever the host passes, its page is served
            _log.exception("an event was refused")
            return False
        return self._keep(event)

    def _read_from(self, kind: str) -> set[str]:
        """The properties that metrics read from a type of event, as far as is known here."""
        slots = self._holder.current.plan.slots
        return {slot.value for slot in slots if slot.event == kind and slot.value is not None}

    def flush(self, seconds: float = 5.0) -> bool:
        """Send what is queued now; True when nothing is left, False after `seconds`."""
        end = time.monotonic() + seconds
        background = self._running()
        while self.waiting():
            if time.monotonic() > end:
                return False
            background.wake(urgent=True)
            time.sleep(0.01)
        return True

    def waiting(self) -> int:
        """Events not yet delivered, of all processes that share the folder."""
        return len(self._spool)

    def close(self, seconds: float = 5.0) -> bool:
        """Flush within `seconds`, then end the thread; the next client on this folder sends what is left."""
        empty = self.flush(seconds)
        self._running().stop(max(0.1, self._remote.timeout))
        self._spool.close()
        return empty

    def __enter__(self) -> Self:
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
        self._running().wake()
        return True

    def _running(self) -> Background:
        """The background of this process. A hook at fork would not do: hosts that fork in C may not call it,
        and threads that it starts would poll for children that never use the client."""
        background = self._background
        if background.pid != os.getpid():
            background = self._background = background.successor()
        if not background.started:
            background.start()
        return background


def _defaults(given: Mapping[str, str] | None) -> dict[str, ModelRef]:
    """The constructor's versions by model. Raises BadInput."""
    versions = {name: parse_ref(text, f"default.{name}") for name, text in (given or {}).items()}
    for name, version in versions.items():
        if version.name != name:
            raise BadInput(
                f"is no version of {name}", field=f"default.{name}", value=str(version),
                fix=f"write {name}@{version.version}",
            )  # fmt: skip
    return versions


def _choice(unit: Any, assignment: Assignment) -> Choice:
    """A choice about which nothing is to be recorded."""
    return Choice(unit=unit, assignment=assignment, dimensions={}, covariates={})


def _unknown(experiment: str, default: ModelRef | None) -> Assignment:
    """Control of an experiment that is not known here, with the version that the host named for this."""
    return Assignment(
        experiment=experiment,
        variant="control",
        model=default,
        segment=None,
        propensity=None,
        reason=Reason.ERROR if default is None else Reason.FALLBACK,
        revision=0,
        epoch=0,
        enrolled=False,
    )
