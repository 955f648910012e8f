"""What serving asks of a model, whatever runs it: load once, then inputs in, JSON answer out."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from switchpoint.experiment.errors import BadInput, PlatformError
from switchpoint.experiment.registry.model import ModelVersion


class Cause(StrEnum):
    """Why a model did not answer; recorded with every exposure whose assigned model was not served."""

    TIMEOUT = "timeout"  # the deadline passed
    ERROR = "error"  # the model raised, or the upstream answered with an error
    ANSWER = "bad_answer"  # not JSON, too large, not finite
    INPUTS = "bad_inputs"  # this model cannot read these inputs
    CRASHED = "crashed"  # the model ended the process it computes in
    QUARANTINED = "quarantined"  # it did so repeatedly, and is left alone for a while
    LOAD = "load_failed"  # the file is missing, not what its digest says, or refused
    LOADING = "loading"  # still being loaded when the deadline passed
    BUSY = "busy"  # no free slot in the pool before the deadline
    BREAKER = "breaker_open"  # failed repeatedly, not asked again yet
    UNKNOWN = "unknown_version"  # the registry has no such version


class ModelFailure(PlatformError):
    """A model could not answer; `cause` says why, the caller falls back to control."""

    code = "model_failed"

    def __init__(self, cause: Cause, message: str) -> None:
        self.cause, self.message = cause, message
        super().__init__(f"{cause}: {message}")


class InputsRefused(BadInput):
    """The model cannot read these inputs (wrong shape, missing feature, wrong type)."""

    code = "bad_inputs"


class LoadedModel(Protocol):
    """A model ready to answer. `predict` may block."""

    def predict(self, inputs: object, deadline: float) -> object:
        """Answer as JSON-ready data; `deadline` in seconds is a hint for I/O.

        Raises:
            InputsRefused: the inputs do not fit.
            ModelFailure: the answer is unusable.
        """

    def ended(self) -> bool:
        """Whether it will never answer again: what it runs in is gone. Never blocks."""


class Loader(Protocol):
    """Makes a loaded model from its registered version."""

    keeps_deadlines: bool
    """Whether `predict` always returns by its deadline, so that the caller itself may wait for it."""

    def load(self, version: ModelVersion) -> LoadedModel:
        """Load, verifying the digest before a byte is parsed. Raises ModelFailure(LOAD)."""
