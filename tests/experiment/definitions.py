"""Definitions that several tests share."""

from __future__ import annotations

from typing import Any

from switchpoint.experiment.definition.state import ExperimentState
from switchpoint.experiment.definition.types import Experiment
from switchpoint.experiment.language import experiment as parsing
from switchpoint.experiment.registry import lifecycle

DESIGN_EXAMPLE = """\
key: home-ranker
hypothesis: Model 2 raises click-through on the home page without slowing it down.
owner: search-team
unit: user_id                                # one unit type per project; hashAttribute in the GrowthBook payload
model: ranker                                # what callers ask for; variants name its versions
layer: {key: home, slice: [0.0, 1.0]}        # optional; experiments in one layer with overlapping slices are refused at apply
variants:                                    # the first is control
  - {key: control,   model: ranker@1}
  - {key: treatment, model: ranker@2}
segments:                                    # the first that matches routes the unit; `allocation: equal` is allowed
  - {key: us, when: {country: US}, traffic: 100%, allocation: {control: 0.5, treatment: 0.5}}
  - {key: ca, when: {country: CA}, traffic: 100%, allocation: {control: 0.5, treatment: 0.5}}
  - {key: rest,                    traffic: 20%,  allocation: {control: 0.9, treatment: 0.1}}
dimensions: [device, returning]
metrics:
  - {key: ctr,     type: ratio,      numerator: click, denominator: impression, role: primary}
  - {key: buyers,  type: proportion, event: purchase}
  - {key: revenue, type: mean,       event: purchase, value: amount, decimals: 2, cap: 500}     # sum over the unit's events, the unit's total capped
  - {key: latency, type: ratio,      numerator: {event: prediction, value: latency_ms, cap: 2000}, denominator: prediction, direction: decrease, role: guardrail, margin: 5%}
window: 7d                                   # outcomes count this long after the unit's first exposure
decision: {design: sequential, alpha: 0.05, power: 0.8, mde: 2%, min_runtime: 14d, max_runtime: 42d, evidence: randomised}
"""


def minimal(**changes: Any) -> dict[str, Any]:
    """A small document; keyword arguments replace top-level keys, None removes them."""
    document: dict[str, Any] = {
        "key": "exp",
        "unit": "user_id",
        "model": "ranker",
        "variants": [{"key": "control", "model": "ranker@1"}, {"key": "treatment", "model": "ranker@2"}],
        "segments": [{"key": "all", "allocation": "equal"}],
        "metrics": [{"key": "ctr", "type": "proportion", "event": "click", "role": "primary"}],
        "window": "7d",
        "decision": {"mde": "2%"},
    }
    document.update(changes)
    return {key: value for key, value in document.items() if value is not None}


def experiment(**changes: Any) -> Experiment:
    """The experiment of `minimal(**changes)`."""
    return parsing.from_document(minimal(**changes))


def running(definition: Experiment) -> ExperimentState:
    """The definition, started, with a digest for every variant."""
    draft = lifecycle.create(definition, ordinal=1, at=0, actor="ana")
    return lifecycle.start(draft, digests=digests(definition), at=1_000, actor="ana")


def digests(definition: Experiment) -> dict[str, str]:
    """A made-up digest per variant."""
    return {variant.key: f"sha256:{variant.model}" for variant in definition.variants}
