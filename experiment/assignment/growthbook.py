"""Experiments in the GrowthBook form, so that every GrowthBook SDK assigns as we do.

What differs between SDKs by default is written out: hash version, seed, hash attribute, explicit ranges
whose bounds are integers over 10,000. A rule an SDK's user is not in falls through to the next rule; as our
first matching segment alone routes a unit, every rule also excludes the conditions of the segments above it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from switchpoint.experiment.assignment.assign import layer_seed
from switchpoint.experiment.definition.state import Epoch, ExperimentState, Status
from switchpoint.experiment.definition.types import BUCKETS


def rules(state: ExperimentState) -> dict[str, Any]:
    """The feature of one experiment: its value is the variant's key, control unless a rule says otherwise."""
    feature: dict[str, Any] = {"defaultValue": state.definition.control.key, "rules": []}
    epoch = state.epoch
    if state.status is Status.RUNNING and epoch is not None and state.definition.source is None:
        feature["rules"] = [_rule(state, epoch, index) for index in range(len(epoch.segments))]
    return feature


def payload(states: Iterable[ExperimentState]) -> dict[str, Any]:
    """The `features` of `GET /api/features/{client_key}`."""
    return {"features": {state.key: rules(state) for state in states}}


def _rule(state: ExperimentState, epoch: Epoch, index: int) -> dict[str, Any]:
    experiment, segment = state.definition, epoch.segments[index]
    keys = [variant.key for variant in experiment.variants]
    rule: dict[str, Any] = {
        "id": f"{experiment.key}/{epoch.number}/{segment.key}",
        "key": experiment.key,
        "phase": str(epoch.number),
        "seed": epoch.salt,
        "hashVersion": 2,
        "hashAttribute": experiment.unit,
        "variations": keys,
        "meta": [{"key": key} for key in keys],
        "ranges": [[start / BUCKETS, end / BUCKETS] for start, end in segment.ranges],
    }
    condition = _condition(segment.when, [above.when for above in epoch.segments[:index]])
    if condition:
        rule["condition"] = condition
    if experiment.layer is not None:
        bounds = [experiment.layer.start / BUCKETS, experiment.layer.end / BUCKETS]
        rule["filters"] = [
            {
                "seed": layer_seed(experiment.layer),
                "ranges": [bounds],
                "hashVersion": 2,
                "attribute": experiment.unit,
            }
        ]
    return rule


def _condition(when: Mapping[str, Any] | None, above: list[Mapping[str, Any] | None]) -> dict[str, Any]:
    own = [dict(when)] if when else []
    # `{}` would match all and exclude everybody; validation lets nothing follow a segment without condition
    excluded = [dict(condition) for condition in above if condition]
    return {"$and": [*own, {"$nor": excluded}]} if excluded else dict(when or {})
