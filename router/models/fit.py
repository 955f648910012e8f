"""Fits the two recommenders of the demo: one that knows items, one that matches tastes with styles.

Both are scikit-learn pipelines over the same feature rows and end in a click probability, so they differ
only in what they can learn: the additive one ranks items alike for everybody, the matching one has the
products of features (taste × style) and ranks them per shopper.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from switchpoint.analysis.simulation.shop import Floats, TrainingLog

PACKAGES = ("scikit-learn", "numpy", "scipy", "skops")
_HELD_OUT = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommender:
    """A fitted pipeline with what its lineage needs; `metrics` are of the held-out end of the log."""

    estimator: Any
    parameters: Mapping[str, Any]
    seed: int
    metrics: Mapping[str, float]

    def score(self, rows: Floats) -> Floats:
        """Click probabilities of feature rows, shape (rows,)."""
        chances: Floats = self.estimator.predict_proba(rows)[:, 1]
        return chances

    def save(self, path: Path) -> None:
        """Write the pipeline as a skops file."""
        import skops.io

        skops.io.dump(self.estimator, path)


def fit_additive(log: TrainingLog, *, seed: int) -> Recommender:
    """Logistic regression on the features as they are: what is popular and cheap comes first."""
    return _fit(log, {"interactions": False, "C": 1.0}, seed=seed)


def fit_matching(log: TrainingLog, *, seed: int) -> Recommender:
    """Logistic regression on features and their products: what fits this shopper comes first."""
    return _fit(log, {"interactions": True, "C": 0.5}, seed=seed)


def data_digest(log: TrainingLog) -> str:
    """Digest of the training data, for the lineage."""
    return f"sha256:{hashlib.sha256(log.rows.tobytes() + log.clicked.tobytes()).hexdigest()}"


def packages() -> dict[str, str]:
    """Versions of the packages that a fitted model depends on."""
    return {name: version(name) for name in PACKAGES}


def _fit(log: TrainingLog, parameters: Mapping[str, Any], *, seed: int) -> Recommender:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss, roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    products = [PolynomialFeatures(degree=2, interaction_only=True, include_bias=False)]
    estimator = make_pipeline(
        StandardScaler(),
        *(products if parameters["interactions"] else []),
        LogisticRegression(C=parameters["C"], max_iter=500, random_state=seed),
    )
    # the log is in time order: fit on its past, measure on its future
    cut = int(len(log.rows) * (1 - _HELD_OUT))
    estimator.fit(log.rows[:cut], log.clicked[:cut])
    chances = estimator.predict_proba(log.rows[cut:])[:, 1]
    metrics = {
        "auc": float(roc_auc_score(log.clicked[cut:], chances)),
        "log_loss": float(log_loss(log.clicked[cut:], chances)),
        "rows": float(cut),
    }
    return Recommender(estimator=estimator, parameters=parameters, seed=seed, metrics=metrics)
