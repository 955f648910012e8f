"""Power of what has been collected, and how many more units the wanted power takes (GrowthBook's question).

The standard error now is scaled by 1/√(1 + more), the effect asked for stays the one that was planned; the
observed effect is never used. For the sequential design power is taken at the last look alone, which is
conservative; `analysis.planning.sufficiency` is what a verdict reads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from analysis.errors import Codes, Reason, first_reason
from analysis.inference.result import Alternative, Float
from analysis.inference.sequential import boundary, mixing_units
from analysis.inference.tail import bracketed_root, critical

_MOST = 2.0**27


@dataclass(frozen=True, slots=True, kw_only=True)
class MoreUnits:
    """`power_now`: at the units there are. `factor`: additional units over those there are, 0 where it is
    enough. `additional`: units of both variants. Where `reason` is not 0 (no variance, or beyond 10⁸ times
    the units) the last two are NaN."""

    power_now: Float
    factor: Float
    additional: Float
    reason: Codes


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The tests a plan runs: primaries × treatments, and whether alpha is divided among them.

    Power is required of each primary so that all of them are found together: target^(1/primaries), which is
    exact when they are independent.
    """

    primaries: int = 1
    treatments: int = 1
    divided: bool = True

    def alpha(self, level: float) -> float:
        """Level of each test."""
        return level / (self.primaries * self.treatments) if self.divided else level

    def power(self, target: float) -> float:
        """Power each primary needs."""
        return float(target ** (1 / self.primaries))


def power_at(
    standard_error: ArrayLike,
    effect: ArrayLike,
    n: ArrayLike,
    *,
    more: ArrayLike = 0.0,
    alpha: float = 0.05,
    n_star: float | None = None,
    wrong_side: bool = False,
) -> Float:
    """Two-sided power for `effect` once `more` times the present units have been added.

    Args:
        standard_error: of the effect now. n: units of both variants now.
        n_star: where the confidence sequence is tightest; None = fixed design.
        wrong_side: count rejections in the wrong direction too, as GrowthBook does.
    """
    error, delta, units, extra = np.broadcast_arrays(
        *(np.asarray(part, float) for part in (standard_error, np.abs(effect), n, more))
    )
    scale = 1 / np.sqrt(1 + extra)
    if n_star is None:
        reach = critical(alpha, np.inf, Alternative.TWO_SIDED)
    else:
        reach = boundary(units * (1 + extra), alpha, mixing_units(n_star, alpha))
    with np.errstate(divide="ignore", invalid="ignore"):
        size = delta / (error * scale)
    right, left = special.ndtr(size - reach), special.ndtr(-size - reach)
    return np.asarray(right + left if wrong_side else right, dtype=np.float64)


def more_units(
    standard_error: ArrayLike,
    effect: ArrayLike,
    n: ArrayLike,
    *,
    target: float = 0.8,
    alpha: float = 0.05,
    family: Family | None = None,
    n_star: float | None = None,
    wrong_side: bool = False,
) -> MoreUnits:
    """Units to add, at the present split, until the planned effect is found with the wanted power."""
    tests = family or Family()
    level, wanted = tests.alpha(alpha), tests.power(target)
    error, delta, units = np.broadcast_arrays(
        *(np.asarray(part, float) for part in (standard_error, np.abs(effect), n))
    )

    def power(more: ArrayLike) -> Float:
        return power_at(error, delta, units, more=more, alpha=level, n_star=n_star, wrong_side=wrong_side)

    now = power(0.0)
    with np.errstate(invalid="ignore"):
        flat, nothing = ~(error > 0), ~(delta > 0)
    unreachable = ~flat & ~nothing & (power(_MOST) < wanted)
    reason = first_reason(
        (flat, Reason.ZERO_VARIANCE), (nothing, Reason.ZERO_CONTROL), (unreachable, Reason.OUT_OF_REACH)
    )
    enough = now >= wanted
    # the root is taken in log(1 + more), over which power is nearly linear
    found = bracketed_root(
        lambda step: np.where(enough | (reason != 0), step - 1.0, power(np.expm1(step)) - wanted),
        np.zeros_like(error), np.full_like(error, np.log1p(_MOST)), precision=1e-12,
    )  # fmt: skip
    factor = np.where(enough, 0.0, np.expm1(found))
    held = reason == 0
    return MoreUnits(
        power_now=np.where(flat | nothing, np.nan, now), factor=np.where(held, factor, np.nan),
        additional=np.where(held, factor * units, np.nan), reason=reason,
    )  # fmt: skip
