"""One demo run over HTTP, step by step; the command line prints what each step returns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from switchpoint.experiment.definition.state import ExperimentState, Status
from switchpoint.experiment.errors import PlatformError
from switchpoint.experiment.language.experiment import load
from switchpoint.experiment.ledger.protocol import Ledger
from switchpoint.experiment.registry.catalog import Catalog
from switchpoint.experiment.registry.champion import Champion
from switchpoint.experiment.registry.decision import DecisionRecord
from switchpoint.experiment.registry.model import ModelVersion
from switchpoint.experiment.registry.promotion import Promotion
from switchpoint.experiment.store.artifacts import Artifacts
from switchpoint.router.demo.door import Sent, drive
from switchpoint.router.demo.folder import Progress
from switchpoint.router.demo.plan import EXPERIMENT, LOOK, MODEL, START, DemoPlan
from switchpoint.router.demo.training import Trained, register, train
from switchpoint.router.demo.truth import Judgement, judge
from switchpoint.router.demo.visits import Traffic
from switchpoint.router.judging import Look, decide, look
from switchpoint.router.serving.launch import ServingProcess, free_port

ACTOR = "demo"
_DEADLINE_MS = 2_000  # generous: on a busy machine a fallback would be the machine's fault, not a model's
_READY_SECONDS = 60.0  # models load in both workers, on a slow machine one after the other
_DRAIN_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Models trained and registered, the experiment running."""

    trained: Trained
    versions: list[ModelVersion]
    state: ExperimentState


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """The look, what the world's truth says about it, and what was done."""

    look: Look
    judgement: Judgement
    decision: DecisionRecord
    champion: Champion | None


def prepare(plan: DemoPlan, catalog: Catalog, artifacts: Artifacts) -> Prepared:
    """Train, register, apply and start; what an earlier run did already is left as it is."""
    trained = train(plan)
    # a model file holds object addresses, so fitting again gives another digest: keep what is registered
    versions = catalog.models(MODEL) or register(trained, catalog, artifacts, actor=ACTOR)
    known = [state for state in catalog.experiments() if state.key == EXPERIMENT]
    state = known[0] if known else catalog.apply(load(plan.definition()), at=START, actor=ACTOR)
    if state.status is Status.DRAFT:
        state = catalog.start(EXPERIMENT, at=START, actor=ACTOR)
    return Prepared(trained=trained, versions=versions, state=state)


@contextmanager
def serving(redis_url: str, folder: Path, *, project: str, port: int | None) -> Iterator[ServingProcess]:
    """gunicorn on loopback with the simulated clock switched on."""
    environ = {
        "SWITCHPOINT_SIMULATED_CLOCK": "1",
        "SWITCHPOINT_DEADLINE_MS": str(_DEADLINE_MS),
        "SWITCHPOINT_PROJECT": project,
    }
    process = ServingProcess(redis_url=redis_url, data=folder, port=port or free_port(), environ=environ)
    with process:
        process.await_answer("/readyz", seconds=_READY_SECONDS)
        yield process


def send(
    prepared: Prepared,
    progress: Progress,
    process: ServingProcess,
    folder: Path,
    show: Callable[[int, Sent], None],
) -> Sent:
    """Send the days that are still missing; after each one the folder says how far the run came."""
    traffic = Traffic(prepared.trained.world, progress.plan.seed)
    done = progress.next_day

    def note(day: int, sent: Sent) -> None:
        nonlocal done
        if day > done:
            done = day
            Progress(plan=progress.plan, next_day=day).save(folder)
        show(day, sent)

    days = range(progress.next_day, progress.plan.days)
    sent = drive(traffic, (process.host, process.port), days, note)
    await_spool(process)
    Progress(plan=progress.plan, next_day=progress.plan.days).save(folder)
    return sent


def conclude(prepared: Prepared, catalog: Catalog, ledger: Ledger) -> Decided:
    """Look, judge by the truth, stop the experiment, record the decision, promote if it says so."""
    if catalog.experiment(EXPERIMENT).status is Status.RUNNING:
        catalog.stop(EXPERIMENT, at=LOOK, actor=ACTOR)
    found = look(catalog, ledger, EXPERIMENT, at=LOOK)
    trained = prepared.trained
    judgement = judge(trained.world, trained.control.score, trained.treatment.score, found.report)
    earlier = catalog.decisions(EXPERIMENT)
    if earlier:
        return Decided(look=found, judgement=judgement, decision=earlier[-1], champion=None)
    decision = decide(catalog, ledger, found, at=LOOK, actor=ACTOR, why="end of the demo")
    champion = None
    if decision.finding.kind == "promote" and decision.finding.variant:
        request = Promotion(variant=decision.finding.variant, at=LOOK, actor=ACTOR)
        champion = catalog.promote(EXPERIMENT, request)
    return Decided(look=found, judgement=judgement, decision=decision, champion=champion)


def await_spool(process: ServingProcess) -> None:
    """Wait until no event waits in the local spool (Redis was away for a moment).

    Raises:
        PlatformError: some still wait after half a minute.
    """
    end = time.monotonic() + _DRAIN_SECONDS
    while process.ready_facts()["spool"] != {"available": True, "batches": 0, "held_back": 0}:
        if time.monotonic() > end:
            raise PlatformError("events still wait in the spool")
        time.sleep(0.2)
