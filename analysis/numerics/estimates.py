"""The shape every comparison has: columnar `Estimates`, scalar `Estimate`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from switchpoint.analysis.numerics.reasons import CannotEstimate, Codes, Reason

Float = NDArray[np.float64]


class Alternative(StrEnum):
    """What the test looks for: any difference, treatment above the null, treatment below it."""

    TWO_SIDED = "two-sided"
    GREATER = "greater"
    LESS = "less"


class Distribution(StrEnum):
    """Reference distribution of a statistic: Student's t with Satterthwaite's df, or the normal."""

    T = "t"
    NORMAL = "normal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """One comparison as plain floats. Fields as in `Estimates`."""

    method: str
    estimate: float
    standard_error: float
    statistic: float
    df: float
    p_value: float
    log_p: float
    low: float
    high: float
    alpha: float
    log_e: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimates:
    """Comparisons of treatment with control; every array has one shape.

    `p_value` tests `null` against `alternative`, and [`low`, `high`] holds exactly the nulls that the same
    test does not reject at `alpha`. The open side of a one-sided interval is ±inf. `log_p` keeps the
    digits where `p_value` underflows. `df` is inf for a normal reference. `log_e` is the log e-value of
    an anytime-valid method, else None. Where `reason` is not 0 all numbers but `estimate` are NaN, and
    `estimate` is NaN too if it does not exist.
    """

    method: str
    alternative: Alternative
    estimate: Float
    standard_error: Float
    statistic: Float
    df: Float
    p_value: Float
    log_p: Float
    low: Float
    high: Float
    alpha: Float
    reason: Codes
    log_e: Float | None = None

    @property
    def significant(self) -> NDArray[np.bool_]:
        """Where the null is rejected at `alpha` (False where nothing can be estimated)."""
        return np.less(
            self.p_value, self.alpha, where=self.reason == 0, out=np.zeros(self.reason.shape, bool)
        )

    def as_ratio(self) -> Estimates:
        """A lift as the ratio treatment / control (1 + lift); standard error and test are the same."""
        return replace(self, estimate=self.estimate + 1, low=self.low + 1, high=self.high + 1)

    def why_not(self, *index: int) -> Reason | None:
        """The reason why there is no estimate at this place; None where there is one."""
        return Reason.of(int(self.reason[index]))

    def at(self, *index: int) -> Estimate:
        """One comparison as floats.

        Raises:
            CannotEstimate: with the reason, where the data cannot give it.
        """
        reason = self.why_not(*index)
        if reason is not None:
            raise CannotEstimate(reason, self.method)
        return Estimate(
            method=self.method,
            estimate=float(self.estimate[index]),
            standard_error=float(self.standard_error[index]),
            statistic=float(self.statistic[index]),
            df=float(self.df[index]),
            p_value=float(self.p_value[index]),
            log_p=float(self.log_p[index]),
            low=float(self.low[index]),
            high=float(self.high[index]),
            alpha=float(self.alpha[index]),
            log_e=None if self.log_e is None else float(self.log_e[index]),
        )


def estimates(
    method: str,
    alternative: Alternative,
    reason: Codes,
    columns: dict[str, ArrayLike],
    log_e: ArrayLike | None = None,
) -> Estimates:
    """Broadcast the columns to one shape and mask every number but `estimate` where a reason stands."""
    shape = np.broadcast_shapes(reason.shape, *(np.shape(column) for column in columns.values()))
    codes = np.broadcast_to(reason, shape)
    stands = codes == 0

    def masked(column: ArrayLike) -> Float:
        return np.where(stands, np.asarray(column, float), np.nan)

    numbers = {name: masked(column) for name, column in columns.items() if name not in {"estimate", "alpha"}}
    return Estimates(
        method=method,
        alternative=alternative,
        estimate=np.array(np.broadcast_to(np.asarray(columns["estimate"], float), shape)),
        alpha=np.array(np.broadcast_to(np.asarray(columns["alpha"], float), shape)),
        reason=np.array(codes, dtype=np.uint8),
        log_e=None if log_e is None else masked(log_e),
        **numbers,
    )
