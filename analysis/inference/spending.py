"""Group sequential bounds: how a fixed alpha is spent over planned looks.

At information fraction u of the plan (units now over units planned) the statistic Z is compared with a
bound; the bounds are found look by look so that the probability of ever crossing under the null is alpha.
Looks may come at any fractions: the alpha spent by u is a function fixed before the start (Lan & DeMets
1983, Biometrika 70:659), so a late or an extra look costs nothing but its own share.

Overrun: the first look at or past the plan (u ≥ 1) spends all that is left, with the correlation it really
has, so a plan that is overrun keeps its error. Nothing is left for looks after it: their bound is infinite,
and the result to read is the one at the look that ended the plan.

Where the planned information is itself estimated, the fraction that alpha is spent by moves with the
estimate, while the correlation of two looks is the ratio of their information whatever was planned. Both can
be given (`shares` and `times`); alpha is kept because blinded estimates do not depend on the effect (Lan &
DeMets 1989, Stat. Med. 8:1191).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from switchpoint.analysis.numerics.crossing import Crossing, Paths, crossing, start_paths
from switchpoint.analysis.numerics.estimates import Alternative, Float
from switchpoint.experiment.definition.types import Spending
from switchpoint.experiment.errors import BadInput

_LEAST_SPENT = 1.1e-16
"""Alpha per side below which nothing can be rejected: no double holds 1 − this; the bound is infinite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Looks so far and what each demands.

    `times`: information fractions. `shares`: the fractions alpha was spent by, mostly the same. `z`: the |Z|
    to pass (inf = nothing can be rejected here). `spent`: alpha spent by each look, both sides together.
    """

    times: Float
    shares: Float
    z: Float
    spent: Float
    alternative: Alternative

    @property
    def ended(self) -> int | None:
        """Index of the look that ended the plan (all alpha spent); None while it runs."""
        over = np.flatnonzero(self.shares >= 1 - 1e-9)
        return int(over[0]) if over.size else None

    def crossing(self, drift: float) -> Crossing:
        """Probability of stopping at each look when the effect has this drift."""
        upper = self.z * np.sqrt(self.times)
        two_sided = self.alternative is Alternative.TWO_SIDED
        return crossing(self.times, -upper if two_sided else np.full_like(upper, -np.inf), upper, drift)


def spent_alpha(
    times: ArrayLike, alpha: float, alternative: Alternative, spending: Spending, *, gamma: float = 2.0
) -> Float:
    """Alpha spent by each information fraction, both sides together; all of it from 1 on."""
    u = np.asarray(times)
    sides = 2 if alternative is Alternative.TWO_SIDED else 1
    one = alpha / sides
    if spending is Spending.POCOCK:
        side = one * np.log1p((np.e - 1) * u)
    elif spending is Spending.POWER:
        side = one * u**gamma
    else:
        side = 2 * special.ndtr(special.ndtri(one / 2) / np.sqrt(u))
    return np.where(u >= 1, alpha, sides * side)


def spending_bounds(
    times: ArrayLike,
    *,
    alpha: float = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    spending: Spending = Spending.OBRIEN_FLEMING,
    gamma: float = 2.0,
    final: bool = False,
    shares: ArrayLike | None = None,
) -> Bounds:
    """Bounds of the looks at these information fractions.

    Args:
        times: strictly increasing fractions of the planned units, up to and including this look.
        alpha: total error, both sides together for a two-sided test.
        gamma: exponent of `Spending.POWER`.
        final: this is the last look although the plan was not filled (the deadline came first), so it
            spends all that is left. To be said before looking.
        shares: the fractions alpha is spent by, where they are not `times` (never falling); `times` are then
            information in any unit.

    Raises:
        BadInput: for fractions that do not increase from above 0, shares that fall, alpha outside (0, 1) or
            gamma ≤ 0.
    """
    fractions = _fractions(times)
    if not 0 < alpha < 1 or gamma <= 0:
        raise BadInput(
            "alpha lies between 0 and 1, gamma above 0", field="alpha, gamma", value=(alpha, gamma)
        )
    by = fractions if shares is None else _shares(shares, len(fractions))
    z, spent = _solve(
        tuple(fractions.tolist()), tuple(by.tolist()), alpha, alternative, spending, gamma, final=final
    )
    return Bounds(times=fractions, shares=by, z=np.array(z), spent=np.array(spent), alternative=alternative)


@lru_cache(maxsize=4096)
def _solve(
    times: tuple[float, ...],
    shares: tuple[float, ...],
    alpha: float,
    alternative: Alternative,
    spending: Spending,
    gamma: float,
    *,
    final: bool,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Each look's bound so that first crossing there has the probability newly spent."""
    sides = 2 if alternative is Alternative.TWO_SIDED else 1
    plan = spent_alpha(shares, alpha, alternative, spending, gamma=gamma)
    if final:
        plan[-1] = alpha
    z, spent, paths, before = [], [], start_paths(), 0.0
    for time, total in zip(times, plan.tolist(), strict=True):
        step = (total - before) / sides
        bound = np.inf
        if step > _LEAST_SPENT:
            bound = _bound(paths, time, step)
            before = total
        z.append(bound / np.sqrt(time))
        spent.append(before)
        paths = paths.advance(time, -bound if sides == 2 else -np.inf, bound)
    return tuple(z), tuple(spent)


def _bound(paths: Paths, time: float, step: float) -> float:
    """The level that paths cross with this probability at this time.

    Newton on the log of the tail, which is concave: started where even paths that never could stop cross
    that rarely, or all from the highest level that goes on, it comes down to the root from above without
    overshooting. Soon after another look the first of these starts lies where no double holds the tail.
    """
    level, move = min(float(-special.ndtri(step) * np.sqrt(time)), paths.ceiling(time, step)), -np.inf
    while move < -1e-13 * (1 + abs(level)):
        tail, density = paths.tail(time, level)
        move = float((np.log(tail) - np.log(step)) * tail / density)
        level += move
    return level


def equal_looks(looks: int) -> Float:
    """Information fractions of equally spaced looks, the last at 1."""
    return np.arange(1, looks + 1) / looks


def _fractions(times: ArrayLike) -> Float:
    fractions = np.asarray(times)
    steps = np.diff(fractions, prepend=0.0)
    if not (fractions.size and np.isfinite(fractions).all() and (steps > 0).all()):
        raise BadInput(
            "information fractions increase from above 0",
            field="times",
            value=fractions.tolist(),
            fix="give units at each look over units planned, first look first, each look once",
        )
    return fractions


def _shares(shares: ArrayLike, looks: int) -> Float:
    found = np.asarray(shares)
    if not (found.size == looks and np.isfinite(found).all() and (np.diff(found, prepend=0.0) >= 0).all()):
        raise BadInput(
            "shares of the plan do not fall", field="shares", value=found.tolist(),
            fix="give one share for each look, first look first",
        )  # fmt: skip
    return found
