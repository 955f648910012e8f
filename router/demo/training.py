"""Trains the demo's two recommenders on the shop's past and registers them with their lineage."""

from __future__ import annotations

import platform
import tempfile
from dataclasses import dataclass
from pathlib import Path

from switchpoint.analysis.simulation.shop import (
    TrainingLog,
    World,
    build_world,
    generators,
    open_shop,
    training_log,
)
from switchpoint.experiment.definition.types import DAY_MS, ModelRef
from switchpoint.experiment.registry.catalog import Catalog
from switchpoint.experiment.registry.model import (
    Content,
    Dataset,
    Evaluation,
    Format,
    Lineage,
    ModelVersion,
    Relation,
)
from switchpoint.experiment.store.artifacts import Artifacts
from switchpoint.router.demo.plan import MODEL, START, DemoPlan
from switchpoint.router.models.fit import Recommender, data_digest, fit_additive, fit_matching, packages

_PAST_DAYS = 28
_LOG_ROWS = 30_000
_REGISTERED_AT = START - 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A plan's world with the log of its past and the two recommenders fitted on it."""

    world: World
    log: TrainingLog
    control: Recommender
    treatment: Recommender


def train(plan: DemoPlan) -> Trained:
    """Draw the plan's world and fit both recommenders; in the A/A variant they are one and the same."""
    for_shop, for_log, for_traffic = generators(plan.seed)
    shop = open_shop(for_shop)
    log = training_log(shop, _LOG_ROWS, for_log)
    control = fit_additive(log, seed=plan.seed)
    treatment = control if plan.aa else fit_matching(log, seed=plan.seed)
    world = build_world(shop, plan.shoppers, plan.days, for_traffic)
    return Trained(world=world, log=log, control=control, treatment=treatment)


def register(trained: Trained, catalog: Catalog, artifacts: Artifacts, *, actor: str) -> list[ModelVersion]:
    """Register both (in the A/A variant one) with everything their lineage can say."""
    first = _register(trained.control, None, trained.log, catalog, artifacts, actor)
    if trained.treatment is trained.control:
        return [first]
    return [first, _register(trained.treatment, first.ref, trained.log, catalog, artifacts, actor)]


def _register(
    fitted: Recommender,
    parent: ModelRef | None,
    log: TrainingLog,
    catalog: Catalog,
    artifacts: Artifacts,
    actor: str,
) -> ModelVersion:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{MODEL}.skops"
        fitted.save(path)
        content = Content(format=Format.SKOPS, artifact={path.name: artifacts.put(path)})
    past = Dataset(
        role="train",
        name="random impressions of the past four weeks",
        digest=data_digest(log),
        rows=len(log.rows),
        start=START - _PAST_DAYS * DAY_MS,
        end=START,
    )
    lineage = Lineage(
        parent=parent,
        relation=Relation.RETRAIN if parent else None,
        datasets=(past,),
        parameters=dict(fitted.parameters),
        seeds={"world": fitted.seed, "fit": fitted.seed},
        entry_point="switchpoint.router.models.fit",
        python=platform.python_version(),
        packages=packages(),
        metrics=tuple(
            Evaluation(metric=name, value=value, dataset=past.name) for name, value in fitted.metrics.items()
        ),
    )
    return catalog.register_model(MODEL, content, lineage=lineage, at=_REGISTERED_AT, actor=actor)
