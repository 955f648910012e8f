"""Where an experiment is in its life, and what it has been through: status, epochs, history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from switchpoint.experiment.definition.types import Experiment, Segment


class Status(StrEnum):
    """Where an experiment is in its life."""

    DRAFT = "draft"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    DECIDED = "decided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One entry of the history: when (ms), who, what (`ramp us 20% -> 50%`) and why."""

    at: int
    actor: str
    action: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """A period with constant allocation and model digests.

    `segments` hold the traffic and allocation in force now (a closed epoch: at its end); only traffic may
    differ within an epoch. `digests` maps variant key to model digest. `salt` seeds the hash.
    """

    number: int
    salt: str
    started_at: int
    segments: tuple[Segment, ...]
    digests: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentState:
    """A definition with its status, revision, epochs and history. Times in ms UTC, None = not yet.

    `definition` always carries the current traffic and allocation; `revision` grows by one with every
    change; `ordinal` is the experiment's creation number in its project.
    """

    definition: Experiment
    status: Status
    revision: int
    ordinal: int
    epochs: tuple[Epoch, ...] = ()
    rule_digest: str | None = None
    started_at: int | None = None
    stopped_at: int | None = None
    history: tuple[Change, ...] = ()

    @property
    def key(self) -> str:
        """The experiment's key."""
        return self.definition.key

    @property
    def epoch(self) -> Epoch | None:
        """The current epoch; None before start."""
        return self.epochs[-1] if self.epochs else None
