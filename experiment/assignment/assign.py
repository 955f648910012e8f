"""Which variant a unit gets: a pure function of definition, unit id and attributes.

`compile` turns the state of an experiment into closures and prebuilt assignments once, so that `assign`
hashes, compares and returns. The rules are those of the GrowthBook SDK specification (hash version 2, layer
filters, explicit bucket ranges), which `experiment.assignment.growthbook` exports.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from switchpoint.experiment.assignment.hashing import bucketer, hash_bucket, hash_unit
from switchpoint.experiment.definition.condition import Condition, attribute_names, compile_condition
from switchpoint.experiment.definition.state import Epoch, ExperimentState, Status
from switchpoint.experiment.definition.types import BUCKETS, Experiment, Layer, ModelRef, Segment
from switchpoint.experiment.errors import BadInput

__all__ = ["Assignment", "Compiled", "Reason", "Step", "compile", "hash_bucket", "hash_unit", "layer_seed"]


class Reason(StrEnum):
    """Why a unit was given this variant."""

    SPLIT = "SPLIT"  # randomised between several variants
    TARGETING_MATCH = "TARGETING_MATCH"  # the segment gives all its traffic to one variant
    DEFAULT = "DEFAULT"  # no segment matches
    HOLDOUT = "HOLDOUT"
    LAYER = "LAYER"  # the unit's layer bucket lies outside the experiment's slice
    TRAFFIC = "TRAFFIC"  # the segment's traffic share leaves the unit out
    OVERRIDE = "OVERRIDE"
    STICKY = "STICKY"
    DISABLED = "DISABLED"  # draft, paused, stopped or decided, or units are assigned elsewhere
    FALLBACK = "FALLBACK"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What `assign` returns. When not `enrolled`, `variant` is control and no exposure may be logged.

    `propensity` is the probability of `variant` given enrolment, None when not enrolled. `epoch` is 0
    before start.
    """

    experiment: str
    variant: str
    model: ModelRef | None
    segment: str | None
    propensity: float | None
    reason: Reason
    revision: int
    epoch: int
    enrolled: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One rule that was asked: whether it passed, and the numbers behind it."""

    rule: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Compiled:
    """An experiment ready to assign.

    `assign(unit_id, attributes)` is pure and raises only BadInput, for a unit id that is not a non-empty
    string (official SDKs disagree on other types). Conditions see the attributes and the unit's id under
    the experiment's unit name. `explain` gives the rules asked, in order, and is not quick.
    """

    state: ExperimentState
    assign: Callable[[str, Mapping[str, Any]], Assignment]

    def explain(self, unit: str, attributes: Mapping[str, Any]) -> list[Step]:
        """The trace of rules that leads to this unit's assignment."""
        refuse_unit(unit)
        steps = list(_trace(self.state, unit, {**attributes, self.state.definition.unit: unit}))
        found = self.assign(unit, attributes)
        chance = "" if found.propensity is None else f" with probability {found.propensity:g}"
        return [*steps, Step("assignment", found.enrolled, f"{found.variant}{chance}: {found.reason}")]


def layer_seed(layer: Layer) -> str:
    """The hash seed of a layer's partition."""
    return f"layer/{layer.key}"


def refuse_unit(unit: object) -> None:
    """Raise BadInput for anything but a non-empty string."""
    if not isinstance(unit, str) or not unit:
        raise BadInput(f"{unit!r} is not a unit id", field="unit", value=unit, fix="give a non-empty string.")


def compile(state: ExperimentState) -> Compiled:  # noqa: A001 - the verb of the field; used as assignment.compile
    """Prepare an experiment for assignment; anything but a running one enrols nobody."""
    experiment, epoch = state.definition, state.epoch
    if state.status is not Status.RUNNING or epoch is None or experiment.source is not None:
        return Compiled(state, _disabled(_outside(state, None, Reason.DISABLED)))
    routes = tuple((compile_condition(s.when), outcomes(state, epoch, s)) for s in epoch.segments)
    place = _placer(epoch.salt, experiment.layer)
    assign = _assigner(routes, _outside(state, None, Reason.DEFAULT), place)
    if any(experiment.unit in attribute_names(segment.when) for segment in epoch.segments):
        return Compiled(state, _seeing_unit(assign, experiment.unit))
    return Compiled(state, assign)


class Outcomes(NamedTuple):
    """A segment's assignments by bucket: `options[position[bucket]]`.

    Bucket BUCKETS stands for units outside the layer's slice. One byte a bucket keeps a segment at 10 kB.
    """

    position: bytes
    options: tuple[Assignment, ...]


def outcomes(state: ExperimentState, epoch: Epoch, segment: Segment) -> Outcomes:
    """The prebuilt assignments of a segment, by bucket."""
    experiment = state.definition
    widths = segment.widths
    total = sum(widths)
    reason = Reason.SPLIT if sum(width > 0 for width in widths) > 1 else Reason.TARGETING_MATCH
    enrolled = [
        Assignment(
            experiment=experiment.key,
            variant=variant.key,
            model=variant.model,
            segment=segment.key,
            propensity=width / total if total else None,
            reason=reason,
            revision=state.revision,
            epoch=epoch.number,
            enrolled=True,
        )
        for variant, width in zip(experiment.variants, widths, strict=True)
    ]
    others = [_outside(state, segment.key, why) for why in (Reason.TRAFFIC, Reason.LAYER)]
    traffic, layer = len(enrolled), len(enrolled) + 1
    position = bytearray([traffic]) * BUCKETS
    for option, (start, end) in enumerate(segment.ranges):
        position[start:end] = bytes([option]) * (end - start)
    return Outcomes(bytes([*position, layer]), (*enrolled, *others))


Assign = Callable[[str, Mapping[str, Any]], Assignment]


def _assigner(
    routes: tuple[tuple[Condition, Outcomes], ...], default: Assignment, place: Callable[[str], int]
) -> Assign:
    """The hot path: ask the conditions in order, hash once, look up."""

    def assign(unit: str, attributes: Mapping[str, Any]) -> Assignment:
        if unit.__class__ is not str or not unit:
            refuse_unit(unit)
        for matches, (position, options) in routes:
            if matches(attributes):
                return options[position[place(unit)]]
        return default

    return assign


def _placer(salt: str, layer: Layer | None) -> Callable[[str], int]:
    """The unit's bucket under the epoch's salt, or BUCKETS if it lies outside the layer's slice."""
    bucket = bucketer(salt)
    if layer is None or (layer.start, layer.end) == (0, BUCKETS):
        return bucket
    layer_bucket, start, end = bucketer(layer_seed(layer)), layer.start, layer.end
    return lambda unit: bucket(unit) if start <= layer_bucket(unit) < end else BUCKETS


def _seeing_unit(assign: Assign, name: str) -> Assign:
    """Conditions that ask for the unit's id find it among the attributes."""
    return lambda unit, attributes: assign(unit, {**attributes, name: unit})


def _disabled(assignment: Assignment) -> Assign:
    def assign(unit: str, attributes: Mapping[str, Any]) -> Assignment:  # noqa: ARG001 - same call for every state
        refuse_unit(unit)
        return assignment

    return assign


def _outside(state: ExperimentState, segment: str | None, reason: Reason) -> Assignment:
    """The assignment of a unit that is not enrolled: control, without a propensity."""
    control = state.definition.control
    return Assignment(
        experiment=state.key,
        variant=control.key,
        model=control.model,
        segment=segment,
        propensity=None,
        reason=reason,
        revision=state.revision,
        epoch=state.epoch.number if state.epoch else 0,
        enrolled=False,
    )


def _trace(state: ExperimentState, unit: str, attributes: Mapping[str, Any]) -> list[Step]:
    experiment, epoch = state.definition, state.epoch
    running = state.status is Status.RUNNING and epoch is not None and experiment.source is None
    steps = [Step("status", running, f"{state.status}, revision {state.revision}")]
    if not running or epoch is None:
        return steps
    if experiment.layer is not None:
        steps.append(_layer_step(experiment.layer, unit))
    for segment in epoch.segments:
        matched = compile_condition(segment.when)(attributes)
        condition = "every unit" if segment.when is None else str(dict(segment.when))
        steps.append(Step(f"segment {segment.key}", matched, condition))
        if matched:
            steps.append(_bucket_step(experiment, epoch, segment, unit))
            break
    return steps


def _layer_step(layer: Layer, unit: str) -> Step:
    bucket = hash_bucket(layer_seed(layer), unit)
    inside = layer.start <= bucket < layer.end
    return Step(f"layer {layer.key}", inside, f"bucket {bucket}, slice [{layer.start}, {layer.end})")


def _bucket_step(experiment: Experiment, epoch: Epoch, segment: Segment, unit: str) -> Step:
    bucket = hash_bucket(epoch.salt, unit)
    inside = any(start <= bucket < end for start, end in segment.ranges)
    ranges = ", ".join(
        f"{variant.key} [{start}, {end})"
        for variant, (start, end) in zip(experiment.variants, segment.ranges, strict=True)
    )
    return Step(f"traffic {segment.key}", inside, f"bucket {bucket} of salt {epoch.salt!r}; {ranges}")
