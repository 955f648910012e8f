"""The demo without HTTP: the same world, assignment, ledger and report code, for many seeds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from switchpoint.analysis.simulation.shop import CANDIDATES, FEATURES
from switchpoint.experiment.assignment.assign import Assignment
from switchpoint.experiment.assignment.assign import compile as compile_assignment
from switchpoint.experiment.definition.state import ExperimentState
from switchpoint.experiment.errors import PlatformError
from switchpoint.experiment.language.experiment import load
from switchpoint.experiment.ledger.codec import parse_event
from switchpoint.experiment.ledger.event import Event, Status, dimension_values, exposure_event
from switchpoint.experiment.ledger.protocol import Ledger
from switchpoint.experiment.registry.catalog import Catalog
from switchpoint.experiment.store.artifacts import Artifacts
from switchpoint.router.demo.plan import EXPERIMENT, LOOK, START, DemoPlan
from switchpoint.router.demo.training import Trained, register, train
from switchpoint.router.demo.truth import Judgement, judge
from switchpoint.router.demo.visits import Traffic
from switchpoint.router.judging import Look, look

_BATCH = 500
_LATENCY_MS = 2.0  # stands for the one the door would measure


@dataclass(frozen=True, slots=True, kw_only=True)
class Offline:
    """What one run came to."""

    look: Look
    judgement: Judgement
    events: int


def run_offline(plan: DemoPlan, catalog: Catalog, ledger: Ledger, artifacts: Artifacts) -> Offline:
    """One demo run through the given stores."""
    trained = train(plan)
    register(trained, catalog, artifacts, actor="demo")
    catalog.apply(load(plan.definition(), file="demo.yaml"), at=START, actor="demo")
    state = catalog.start(EXPERIMENT, at=START, actor="demo")
    ledger_plan, events, batch = catalog.plan(), 0, list[Event]()
    for event in _events(plan, trained, state):
        batch.append(event)
        if len(batch) == _BATCH:
            events += _record(ledger.record(batch, ledger_plan))
            batch = []
    events += _record(ledger.record(batch, ledger_plan))
    found = look(catalog, ledger, EXPERIMENT, at=LOOK)
    judgement = judge(trained.world, trained.control.score, trained.treatment.score, found.report)
    return Offline(look=found, judgement=judgement, events=events)


def _record(statuses: list[Status]) -> int:
    # the exposure of a unit's second visit is the same event again
    lost = [s for s in statuses if s not in {Status.STORED, Status.DUPLICATE}]
    if lost:
        raise PlatformError(f"{len(lost)} events were not stored: {lost[0]}")
    return len(statuses)


def _events(plan: DemoPlan, trained: Trained, state: ExperimentState) -> Iterator[Event]:
    """Every visit's exposure, prediction and outcomes, as the doors would record them."""
    traffic, compiled = Traffic(trained.world, plan.seed), compile_assignment(state)
    rows = traffic.rows.reshape(-1, len(FEATURES))
    scores = {
        "control": trained.control.score(rows).reshape(-1, CANDIDATES),
        "treatment": trained.treatment.score(rows).reshape(-1, CANDIDATES),
    }
    dimensions = state.definition.dimensions
    for visit in range(len(traffic)):
        unit, at, attributes = traffic.unit_id(visit), traffic.times[visit], traffic.attributes(visit)
        assignment: Assignment = compiled.assign(unit, attributes)
        if assignment.enrolled:
            found = dimension_values(dimensions, attributes)
            yield exposure_event(assignment, unit, at=at, dimensions=found, covariates={})
        yield Event(
            id=f"p{visit}",
            type="prediction",
            unit=unit,
            at=at,
            properties={"latency_ms": _LATENCY_MS + visit % 7 / 10},
        )
        outcome = trained.world.outcome(visit, scores[assignment.variant][visit])
        for raw in traffic.events(visit, outcome):
            yield parse_event(raw, now=None)
