"""The exposure event of an assignment: the same one wherever it is made, so that it counts once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from experiment.assignment import Assignment
from experiment.codec import NUMBER_BOUND, VALUE_LENGTH
from experiment.definition import Experiment
from experiment.errors import BadInput
from experiment.event import Event, Exposure


def exposure_id(experiment: str, epoch: int, unit: str) -> str:
    """The id of a unit's exposure: a unit is exposed once per epoch, whoever reports it, however often."""
    return "x:" + sha256(f"x:{experiment}:{epoch}:{unit}".encode()).hexdigest()[:32]


def dimension_values(dimensions: Sequence[str], attributes: Mapping[str, Any]) -> dict[str, str]:
    """The definition's dimensions as found in the attributes; what is no short label is left out."""
    found: dict[str, str] = {}
    for name in dimensions:
        value = attributes.get(name)
        if isinstance(value, bool):
            found[name] = "true" if value else "false"
        elif isinstance(value, str | int):
            text = str(value)
            if text.isprintable() and len(text) <= VALUE_LENGTH:
                found[name] = text
    return found


def covariate_values(definition: Experiment, attributes: Mapping[str, Any]) -> dict[str, float]:
    """The numbers the definition's metrics read as covariates, as found in the attributes; what is no
    number is left out."""
    found: dict[str, float] = {}
    for metric in definition.metrics:
        for name in () if metric.covariate is None else metric.covariate.names:
            value = attributes.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= NUMBER_BOUND:
                found[name] = value
    return found


def exposure_event(
    assignment: Assignment,
    unit: str,
    *,
    at: int,
    dimensions: Mapping[str, str],
    covariates: Mapping[str, float],
    served: str | None = None,
    cause: str | None = None,
) -> Event:
    """The event that says this unit met this variant (or, with `served` and `cause`, another one instead).

    Raises:
        BadInput: the unit is not enrolled, and such units are never exposed.
    """
    if not assignment.enrolled or assignment.segment is None or assignment.propensity is None:
        raise BadInput(
            f"unit is not enrolled ({assignment.reason})",
            field="assignment",
            value=assignment.experiment,
            fix="expose enrolled units only",
        )
    return Event(
        id=exposure_id(assignment.experiment, assignment.epoch, unit),
        type="exposure",
        unit=unit,
        at=at,
        exposure=Exposure(
            experiment=assignment.experiment,
            variant=assignment.variant,
            segment=assignment.segment,
            epoch=assignment.epoch,
            revision=assignment.revision,
            propensity=assignment.propensity,
            served=assignment.variant if served is None else served,
            cause=cause,
            dimensions=dict(dimensions),
            covariates=dict(covariates),
        ),
    )
