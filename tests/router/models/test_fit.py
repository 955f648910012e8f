"""The demo's recommenders: honestly different in strength, saved as files the platform loads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from switchpoint.analysis.simulation.shop import FEATURES, TrainingLog, generators, open_shop, training_log
from switchpoint.experiment.registry.model import Content, Format, ModelVersion
from switchpoint.experiment.store.artifacts import Artifacts
from switchpoint.router.models.fit import Recommender, data_digest, fit_additive, fit_matching
from switchpoint.router.models.sklearn_model import SklearnLoader


@pytest.fixture(scope="module")
def log() -> TrainingLog:
    for_shop, for_log, _ = generators(3)
    return training_log(open_shop(for_shop), 12_000, for_log)


@pytest.fixture(scope="module")
def fitted(log: TrainingLog) -> tuple[Recommender, Recommender]:
    return fit_additive(log, seed=3), fit_matching(log, seed=3)


def test_matching_tastes_is_the_stronger_recommender(fitted: tuple[Recommender, Recommender]) -> None:
    additive, matching = fitted
    assert matching.metrics["auc"] > additive.metrics["auc"] + 0.05
    assert matching.metrics["log_loss"] < additive.metrics["log_loss"]


def test_the_additive_one_ranks_the_same_for_every_shopper(
    fitted: tuple[Recommender, Recommender], log: TrainingLog
) -> None:
    rows = log.rows[:16].copy()
    person = [FEATURES.index(name) for name in ("taste_x", "taste_y", "returning", "mobile")]
    rows[:, person] = [1.0, -1.0, 0.0, 1.0]
    other = rows.copy()
    other[:, person] = [-1.5, 0.5, 1.0, 0.0]
    additive, matching = fitted
    assert np.array_equal(np.argsort(additive.score(rows)), np.argsort(additive.score(other)))
    assert not np.array_equal(np.argsort(matching.score(rows)), np.argsort(matching.score(other)))


def test_fitting_again_gives_the_same_scores(
    fitted: tuple[Recommender, Recommender], log: TrainingLog
) -> None:
    again = fit_matching(log, seed=3)
    assert np.array_equal(again.score(log.rows[:50]), fitted[1].score(log.rows[:50]))


def test_a_saved_recommender_answers_through_the_platforms_loader(
    fitted: tuple[Recommender, Recommender], log: TrainingLog, tmp_path: Path
) -> None:
    fitted[1].save(tmp_path / "ranker.skops")
    artifacts = Artifacts(tmp_path / "models")
    content = Content(
        format=Format.SKOPS, artifact={"ranker.skops": artifacts.put(tmp_path / "ranker.skops")}
    )
    version = ModelVersion(
        name="ranker", version=1, digest=content.digest, format=content.format, artifact=content.artifact,
        created_at=1, created_by="t",
    )  # fmt: skip
    # the strictest profile is enough: no tree, no calibration
    loaded = SklearnLoader(artifacts, profiles=("linear",)).load(version)
    assert loaded.predict(log.rows[:5].tolist(), 1.0) == fitted[1].score(log.rows[:5]).tolist()


def test_the_data_digest_changes_with_the_data(log: TrainingLog) -> None:
    flipped = TrainingLog(rows=log.rows, clicked=1 - log.clicked)
    assert data_digest(log) != data_digest(flipped)
