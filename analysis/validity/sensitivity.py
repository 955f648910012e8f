"""How strong an unmeasured cause would have to be to explain an unrandomised difference away.

E-value: the risk ratio that a confounder needs with both the treatment and the outcome to move the observed
ratio to 1. VanderWeele & Ding (2017), Ann. Intern. Med. 167:268.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.inference.result import Estimates, Float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """`estimate`: E-value of the ratio; `limit`: of the interval's end nearer to 1 (1 where it holds 1).
    NaN where there is no estimate."""

    estimate: Float
    limit: Float


def e_value(ratio: ArrayLike) -> Float:
    """R + √(R·(R − 1)) for a risk ratio R (ratios below 1 are inverted); 1 where there is no association."""
    r = np.asarray(ratio, float)
    with np.errstate(invalid="ignore", divide="ignore"):
        up = np.where(r < 1, 1 / np.where(r > 0, r, np.nan), r)
        return np.asarray(up + np.sqrt(up * (up - 1)), dtype=np.float64)


def sensitivity(lift: Estimates) -> Sensitivity:
    """E-values of a lift and of the limit of its interval nearer to no effect."""
    ratio, low, high = 1 + lift.estimate, 1 + lift.low, 1 + lift.high
    with np.errstate(invalid="ignore"):
        nearer = np.where(ratio >= 1, low, high)
        crosses = np.where(ratio >= 1, low <= 1, high >= 1)
    known = lift.reason == 0
    return Sensitivity(
        estimate=np.where(known, e_value(ratio), np.nan),
        limit=np.where(known, np.where(crosses, 1.0, e_value(np.where(crosses, 1.0, nearer))), np.nan),
    )
