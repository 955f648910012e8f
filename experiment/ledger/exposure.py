"""The exposure event of an assignment: the same one wherever it is made, so that it counts once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, TypeVar

from switchpoint.experiment.assignment.assign import Assignment
from switchpoint.experiment.definition.types import Experiment
from switchpoint.experiment.errors import BadInput, EventError
from switchpoint.experiment.ledger.event import Event, Exposure, covariate_value, dimension_value

_T = TypeVar("_T")


def exposure_id(experiment: str, epoch: int, unit: str) -> str:
    """The id of a unit's exposure: a unit is exposed once per epoch, whoever reports it, however often."""
    return "x:" + sha256(f"x:{experiment}:{epoch}:{unit}".encode()).hexdigest()[:32]


def dimension_values(dimensions: Sequence[str], attributes: Mapping[str, Any]) -> dict[str, str]:
    """The definition's dimensions as found in the attributes; what the events door refuses is left out."""
    return _readable(dimensions, attributes, dimension_value)


def covariate_values(definition: Experiment, attributes: Mapping[str, Any]) -> dict[str, float]:
    """The numbers the definition's metrics read as covariates, as found in the attributes; what is no
    number is left out."""
    names = (name for metric in definition.metrics if metric.covariate for name in metric.covariate.names)
    return _readable(names, attributes, covariate_value)


def _readable(
    names: Iterable[str], attributes: Mapping[str, Any], read: Callable[[str, object], _T]
) -> dict[str, _T]:
    values: dict[str, _T] = {}
    for name in names:
        if name in attributes:
            try:  # every assignment comes by here: `suppress` would cost as much as the hash
                values[name] = read(name, attributes[name])
            except EventError:
                continue
    return values


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
