"""The predict use case: route, call under a deadline, fall back, record what the unit really met."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

from switchpoint.experiment.assignment.assign import Assignment, Reason
from switchpoint.experiment.definition.types import ModelRef
from switchpoint.experiment.errors import NotFound, PlatformError
from switchpoint.experiment.ledger.event import (
    Event,
    Status,
    covariate_values,
    dimension_values,
    exposure_event,
)
from switchpoint.experiment.registry.model import ModelVersion
from switchpoint.router.http.metrics import Metrics
from switchpoint.router.models.model import Cause, InputsRefused, ModelFailure
from switchpoint.router.recording.recorder import Recorder
from switchpoint.router.snapshot import Snapshot

PREDICTION = "prediction"
_REMEMBERED_EXPOSURES = 100_000
# a duplicate is an exposure that another worker made durable: nothing is lost
_WORST_FIRST = (Status.REJECTED, Status.LATE, Status.SPOOLED, Status.STORED, Status.DUPLICATE)

_log = logging.getLogger(__name__)


class Caller(Protocol):
    """What calls models (`router.models.runtime.Models`)."""

    def call(self, version: ModelVersion, inputs: object, deadline: float) -> object:
        """The model's answer; raises ModelFailure or InputsRefused."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The answer and how it came about.

    `assignment` is None when no experiment runs on the model. `served` is the variant whose model answered,
    `champion` when it was none of them, None without an experiment; `cause` says why it is not the assigned
    one. `recorded` is the worst of what became of the events, None when they could not be kept.
    """

    prediction: object
    model: ModelRef
    assignment: Assignment | None
    served: str | None
    cause: str | None
    reason: Reason
    recorded: str | None
    exposure_id: str | None


class Predictor:
    """Answers predictions for models."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        models: Caller,
        recorder: Recorder,
        metrics: Metrics,
        *,
        deadline: float,
    ) -> None:
        """`deadline` in seconds bounds every single model call; a fallback gets its own."""
        self._snapshot, self._models, self._recorder = snapshot, models, recorder
        self._metrics, self._deadline = metrics, deadline
        self._exposed: OrderedDict[str, None] = OrderedDict()

    def predict(
        self,
        model: str,
        unit: str,
        attributes: Mapping[str, Any],
        inputs: object,
        *,
        at: int,
        covariates: Mapping[str, float] | None = None,
    ) -> Prediction:
        """One prediction; `at` is the time of its events in ms.

        `covariates` go with the exposure, beside those found in the attributes.

        Raises:
            NotFound: no experiment runs on the model and it has no champion.
            InputsRefused: every model that was asked refused the inputs.
            ModelFailure: nobody could answer; no exposure was logged.
        """
        snapshot = self._snapshot()
        snapshot.require()
        assignment, chosen = snapshot.route(model, unit, attributes)
        if chosen is None:
            raise NotFound(
                f"no experiment runs on model {model[:100]!r} and it has no champion",
                field="model",
                value=model,
                fix="start an experiment on it or promote a version",
            )
        begin = time.perf_counter()
        served, answer, cause = self._answer(snapshot, model, assignment, chosen, attributes, inputs)
        latency = round((time.perf_counter() - begin) * 1000, 3)
        variant = _variant_of(snapshot, assignment, served, cause)
        events = self._events(
            snapshot, assignment, unit, attributes, covariates or {}, at=at, served=variant, cause=cause
        )
        exposure_id = events[0].id if events else None
        events.append(_prediction_event(snapshot, served, unit, at=at, latency=latency, cause=cause))
        self._metrics.predictions.labels(
            served.name, str(served.version), "fallback" if cause else "served"
        ).inc()
        return Prediction(
            prediction=answer,
            model=served,
            assignment=assignment,
            served=variant,
            cause=cause,
            reason=Reason.FALLBACK if cause else (assignment.reason if assignment else Reason.DEFAULT),
            recorded=self._record(events),
            exposure_id=exposure_id,
        )

    def _answer(
        self,
        snapshot: Snapshot,
        model: str,
        assignment: Assignment | None,
        chosen: ModelRef,
        attributes: Mapping[str, Any],
        inputs: object,
    ) -> tuple[ModelRef, object, str | None]:
        """Ask the chosen version, control, the champion, whom it replaced; the first failure is the cause."""
        failures: list[PlatformError | InputsRefused] = []
        try:
            for ref in _candidates(snapshot, model, assignment, chosen, attributes):
                try:
                    return ref, self._ask(snapshot, ref, inputs), _cause(failures[0]) if failures else None
                except (ModelFailure, InputsRefused) as failure:
                    failures.append(failure)
            if all(isinstance(failure, InputsRefused) for failure in failures):
                raise failures[0]
            raise next(failure for failure in failures if isinstance(failure, ModelFailure))
        finally:
            failures.clear()  # an error refers to this call, which would refer to it: the inputs would stay

    def _ask(self, snapshot: Snapshot, ref: ModelRef, inputs: object) -> object:
        """One version's answer; counts who has none. Raises as `predict`."""
        try:
            version = snapshot.versions.get(ref)
            if version is None:
                raise ModelFailure(Cause.UNKNOWN, f"{ref} is not in the registry")
            return self._models.call(version, inputs, self._deadline)
        except (ModelFailure, InputsRefused) as failure:
            refused = isinstance(failure, InputsRefused)
            # a caller's bad request or an open breaker may come with every call: counted, not told
            quiet = refused or (isinstance(failure, ModelFailure) and failure.cause is Cause.BREAKER)
            _log.log(logging.DEBUG if quiet else logging.WARNING, "%s did not answer: %s", ref, failure)
            outcome = "refused" if refused else "failed"
            self._metrics.predictions.labels(ref.name, str(ref.version), outcome).inc()
            raise

    def _events(
        self,
        snapshot: Snapshot,
        assignment: Assignment | None,
        unit: str,
        attributes: Mapping[str, Any],
        covariates: Mapping[str, float],
        *,
        at: int,
        served: str | None,
        cause: str | None,
    ) -> list[Event]:
        """The unit's exposure, unless this process made it durable already."""
        if assignment is None or not assignment.enrolled:
            return []
        definition = snapshot.entry(assignment.experiment).state.definition
        found = exposure_event(
            assignment,
            unit,
            at=at,
            dimensions=dimension_values(definition.dimensions, attributes),
            covariates={**covariate_values(definition, attributes), **covariates},
            served=served,
            cause=cause,
        )
        return [] if found.id in self._exposed else [found]

    def _record(self, events: list[Event]) -> str | None:
        """Make the events durable; a prediction is answered even when that fails, but says so."""
        try:
            outcomes = self._recorder.record(events)
        except PlatformError as error:
            _log.error("a prediction could not be recorded: %s", error)
            self._metrics.unrecorded.inc()
            return None
        for event, outcome in zip(events, outcomes, strict=True):
            if event.exposure is not None and outcome.status is not Status.REJECTED:
                self._remember(event.id)
        found = {outcome.status for outcome in outcomes}
        return next(status.value for status in _WORST_FIRST if status in found)

    def forget(self) -> None:
        """Send every exposure again: the store was away, and may be one that has none of them."""
        self._exposed.clear()

    def _remember(self, exposure_id: str) -> None:
        self._exposed[exposure_id] = None
        if len(self._exposed) > _REMEMBERED_EXPOSURES:
            self._exposed.popitem(last=False)


def _candidates(
    snapshot: Snapshot,
    model: str,
    assignment: Assignment | None,
    chosen: ModelRef,
    attributes: Mapping[str, Any],
) -> list[ModelRef]:
    """Whom to ask, in order, each once."""
    control = snapshot.control_of(assignment.experiment) if assignment else None
    champions = [of[model](attributes) for of in (snapshot.champions, snapshot.former) if model in of]
    return list(dict.fromkeys(ref for ref in (chosen, control, *champions) if ref is not None))


def _cause(failure: Exception) -> str:
    return failure.cause.value if isinstance(failure, ModelFailure) else Cause.INPUTS.value


def _variant_of(
    snapshot: Snapshot, assignment: Assignment | None, served: ModelRef, cause: str | None
) -> str | None:
    """The variant whose model answered; several may share one, so the assigned one is looked at first."""
    if assignment is None:
        return None
    if cause is None and assignment.enrolled:
        return assignment.variant
    variants = snapshot.entry(assignment.experiment).state.definition.variants
    return next((variant.key for variant in variants if variant.model == served), "champion")


def _prediction_event(
    snapshot: Snapshot, served: ModelRef, unit: str, *, at: int, latency: float, cause: str | None
) -> Event:
    properties: dict[str, object] = {
        "latency_ms": latency,
        "model": str(served),
        "digest": snapshot.versions[served].digest,
    }
    if cause is not None:
        properties["cause"] = cause
    return Event(id=f"p:{uuid4().hex}", type=PREDICTION, unit=unit, at=at, properties=properties)
