"""Events: what happened to a unit, when, under which id.

One event is counted once per (unit, id, event day). Times are integer milliseconds UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """What became of one event of a batch."""

    STORED = "stored"
    SPOOLED = "spooled"
    DUPLICATE = "duplicate"
    LATE = "late"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """The extra facts of an exposure: the unit met this variant of this experiment.

    `served` differs from `variant` when a fallback answered; `cause` then says why (None = no cause on
    record, which is a fault). `propensity` is the probability of `variant` given enrolment.
    """

    experiment: str
    variant: str
    segment: str
    epoch: int
    revision: int
    propensity: float
    served: str
    cause: str | None = None
    dimensions: Mapping[str, str] = field(default_factory=dict)
    covariates: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event. `exposure` is set exactly when `type` is "exposure"."""

    id: str
    type: str
    unit: str
    at: int
    properties: Mapping[str, Any] = field(default_factory=dict)
    exposure: Exposure | None = None
