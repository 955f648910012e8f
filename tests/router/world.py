"""A small project for router tests: two real models, one experiment, served from a real embedded server."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import skops.io
from sklearn.linear_model import LogisticRegression

from switchpoint.experiment.definition.types import ModelRef
from switchpoint.experiment.language import experiment as parsing
from switchpoint.experiment.registry.catalog import Catalog
from switchpoint.experiment.registry.model import Content, Format
from switchpoint.experiment.registry.records import Records
from switchpoint.experiment.store.artifacts import Artifacts

DEFINITION = """
key: home-ranker
hypothesis: Model 2 raises click-through on the home page.
owner: search-team
unit: user_id
model: ranker
variants:
  - {key: control, model: ranker@1}
  - {key: treatment, model: ranker@2}
segments:
  - {key: us, when: {country: US}, traffic: 100%, allocation: {control: 0.5, treatment: 0.5}}
  - {key: ca, when: {country: CA}, traffic: 100%, allocation: {control: 0.5, treatment: 0.5}}
  - {key: rest, traffic: 20%, allocation: {control: 0.9, treatment: 0.1}}
dimensions: [device]
metrics:
  - {key: ctr, type: ratio, numerator: click, denominator: impression, role: primary}
  - {key: buyers, type: proportion, event: purchase}
  - {key: revenue, type: mean, event: purchase, value: amount, decimals: 2, cap: 500, covariate: past_spend}
window: 7d
decision: {design: sequential, alpha: 0.05, power: 0.8, mde: 2%, min_runtime: 14d, max_runtime: 42d, evidence: randomised}
"""
EXPERIMENT = "home-ranker"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def model_bytes(sign: int) -> bytes:
    """A fitted logistic regression whose score grows (sign 1) or falls (sign -1) with the first column."""
    rows = np.linspace(-2, 2, 80).reshape(40, 2)
    return skops.io.dumps(LogisticRegression().fit(sign * rows, (rows[:, 0] > 0).astype(int)))


def build(records: Records, data: Path) -> Catalog:
    """Register two versions, apply and start the experiment."""
    catalog, artifacts = Catalog(records), Artifacts(data / "models")
    for sign in (1, -1):
        content = Content(
            format=Format.SKOPS, artifact={"model.skops": artifacts.put_bytes(model_bytes(sign))}
        )
        catalog.register_model("ranker", content, at=now_ms(), actor="test")
    catalog.apply(parsing.load(DEFINITION), at=now_ms(), actor="test")
    catalog.start(EXPERIMENT, at=now_ms(), actor="test")
    return catalog


def add_upstream(catalog: Catalog, name: str, url: str, *, crown: bool = True) -> ModelRef:
    """Register an HTTP version and make it champion of its name."""
    version = catalog.register_model(
        name, Content(format=Format.HTTP, upstream=url), at=now_ms(), actor="test"
    )
    if crown:
        catalog.crown(version.ref, reason="test", at=now_ms(), actor="test")
    return version.ref
