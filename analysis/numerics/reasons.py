"""What cannot be estimated, and why.

One convention for columnar results: an array `reason` of uint8 codes stands beside the numbers. Code 0
means the numbers hold; any other code is a `Reason`, and there the numbers are NaN inside the arrays.
NaN never appears without its reason, and scalar access raises `CannotEstimate` instead of returning it.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from switchpoint.experiment.errors import SwitchpointError

Codes = NDArray[np.uint8]
"""Reason codes, one per estimate; 0 = estimable."""


class Reason(StrEnum):
    """Why a number does not exist. The order is the code and stays as it is."""

    TOO_FEW_UNITS = "too_few_units"
    ZERO_VARIANCE = "zero_variance"
    ZERO_DENOMINATOR = "zero_denominator"
    ZERO_CONTROL = "zero_control"
    UNBOUNDED_LIFT = "unbounded_lift"
    TOO_FEW_EVENTS = "too_few_events"
    IMPOSSIBLE_MOMENTS = "impossible_moments"
    NOT_FINITE = "not_finite"
    NOT_COMPARABLE = "not_comparable"
    ONE_CLUSTER = "one_cluster"
    NO_ACCRUAL = "no_accrual"
    OUT_OF_REACH = "out_of_reach"
    TOO_EARLY = "too_early"
    PLAN_ENDED = "plan_ended"
    TOO_FEW_CLUSTERS = "too_few_clusters"

    @property
    def code(self) -> int:
        """The number that stands for this reason in a `reason` array (1, 2, ...)."""
        return _CODES[self]

    @property
    def sentence(self) -> str:
        """One sentence an analyst understands."""
        return _SENTENCES[self]

    @classmethod
    def of(cls, code: int) -> Reason | None:
        """The reason behind a code; None for 0 (estimable)."""
        return None if code == 0 else _ORDER[int(code) - 1]


_ORDER = tuple(Reason)
_CODES = {reason: place for place, reason in enumerate(_ORDER, start=1)}
_SENTENCES = {
    Reason.TOO_FEW_UNITS: "A variant has fewer than two units, so its variance is unknown.",
    Reason.ZERO_VARIANCE: "All units of a variant have the same value, so its uncertainty is not known yet.",
    Reason.ZERO_DENOMINATOR: "The denominator of a variant is zero, so its ratio does not exist.",
    Reason.ZERO_CONTROL: "The control mean is zero or negative, so a relative lift has no meaning.",
    Reason.UNBOUNDED_LIFT: "The control mean cannot be told from zero, so the lift has no finite interval.",
    Reason.TOO_FEW_EVENTS: "Too few events in the smallest variant for the approximation to hold.",
    Reason.IMPOSSIBLE_MOMENTS: "The counts or sums contradict each other (more successes than units, say).",
    Reason.NOT_FINITE: "An input is not a finite number.",
    Reason.NOT_COMPARABLE: "No stratum holds two units or more of each variant, so they cannot be compared.",
    Reason.ONE_CLUSTER: "A variant has fewer than two clusters.",
    Reason.NO_ACCRUAL: "No units are arriving (or the arrival rate is unknown), so no date can be given.",
    Reason.OUT_OF_REACH: "The units needed will not arrive within the time considered.",
    Reason.TOO_EARLY: "The design spends no alpha this early, so nothing can be concluded yet.",
    Reason.PLAN_ENDED: "The plan ended at an earlier look, whose reading counts; no alpha is left here.",
    Reason.TOO_FEW_CLUSTERS: "Too few clusters for a quantile this far in the tail.",
}


class CannotEstimate(SwitchpointError):
    """A number was asked for that the data cannot give; `reason` says why, the message says what."""

    code = "cannot_estimate"

    def __init__(self, reason: Reason, what: str = "") -> None:
        self.reason = reason
        super().__init__(f"{what}: {reason.sentence}" if what else reason.sentence)


def first_reason(*findings: tuple[NDArray[np.bool_], Reason]) -> Codes:
    """Codes of the first finding that holds at each place (all findings broadcast together)."""
    shape = np.broadcast_shapes(*(mask.shape for mask, _ in findings))
    codes = np.zeros(shape, dtype=np.uint8)
    for mask, reason in reversed(findings):
        codes = np.where(mask, np.uint8(reason.code), codes)
    return codes


def first_code(*codes: Codes) -> Codes:
    """The first non-zero code at each place (broadcasting)."""
    result = codes[0]
    for code in codes[1:]:
        result = np.where(result != 0, result, code)
    return np.asarray(result, dtype=np.uint8)
