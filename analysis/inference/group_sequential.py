"""Group sequential reading of a comparison at one look: repeated confidence interval and repeated p-value.

At look k with bound z_k the interval is estimate ± z_k·SE. It holds whatever was decided at earlier looks,
whether or not anybody stopped, and also when the plan is overrun; it excludes the null exactly when the
bound is passed. The p-value is the smallest alpha at which this would have happened, found by moving alpha
through the same spending function, so p < alpha ⟺ |Z| ≥ z_k ⟺ the interval excludes the null.

The stagewise ordering gives shorter intervals, but only at the look that stops and only if stopping was
obeyed; a report that anybody opens at any time needs the repeated one. The price is a little width at the
last look (z 2.01-2.04 for 1.96).

Sources: Jennison & Turnbull (1989), JRSS-B 51:305; Jennison & Turnbull (2000), ch. 9.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from switchpoint.analysis.inference import proportion
from switchpoint.analysis.inference.contrast import Contrast, Criterion, Told, read_effect, read_lift
from switchpoint.analysis.inference.spending import Bounds, spending_bounds
from switchpoint.analysis.numerics.estimates import Alternative, Estimates, Float, estimates
from switchpoint.analysis.numerics.reasons import Reason
from switchpoint.analysis.numerics.tail import bracketed_root
from switchpoint.experiment.definition.types import Spending

_LOWEST_LOG, _LIKELY_LOG, _HIGHEST_LOG = -34.0, -9.0, float(np.log(0.999))
_FEW, _BEYOND, _HIGHEST_Z = 6, 60.0, 37.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """The looks of one comparison so far: information fractions (units then over units planned), first
    look first, this look last, and how alpha is spent on them. `final`, `shares`: see `spending_bounds`."""

    times: tuple[float, ...]
    spending: Spending = Spending.OBRIEN_FLEMING
    gamma: float = 2.0
    final: bool = False
    shares: tuple[float, ...] | None = None

    def bounds(self, alpha: float, alternative: Alternative = Alternative.TWO_SIDED) -> Bounds:
        """The bounds of these looks at this alpha."""
        return spending_bounds(
            self.times, alpha=alpha, alternative=alternative, spending=self.spending, gamma=self.gamma,
            final=self.final, shares=self.shares,
        )  # fmt: skip


def effect(
    contrast: Contrast,
    looks: Looks,
    *,
    alpha: float = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    null: ArrayLike = 0.0,
) -> Estimates:
    """Repeated interval and p-value of the effect at the last of these looks.

    A look so early that no alpha is spent has the reason `too_early`, a look after the plan's end
    `plan_ended`.
    """
    criterion, silent = _criterion(looks, alpha, alternative)
    return read_effect(_silenced(contrast, silent), criterion, null=null)


def lift(
    contrast: Contrast,
    looks: Looks,
    *,
    alpha: float = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    null: ArrayLike = 0.0,
) -> Estimates:
    """The lift at this look (Fieller's set at its bound); excludes zero exactly when `effect` does.

    Reasons as for the effect, and those of every lift.
    """
    criterion, silent = _criterion(looks, alpha, alternative)
    return read_lift(_silenced(contrast, silent), criterion, null=null)


def _criterion(looks: Looks, alpha: float, alternative: Alternative) -> tuple[Criterion, Reason | None]:
    """The bound of the look with its repeated p, and the reason why it can say nothing (None: it can)."""
    bounds = looks.bounds(alpha, alternative)
    bound, late = float(bounds.z[-1]), bounds.ended is not None and bounds.ended < len(looks.times) - 1
    silent = Reason.PLAN_ENDED if late else Reason.TOO_EARLY if np.isinf(bound) else None

    def told(statistic: Float) -> Told:
        if silent is not None:
            nothing = np.full_like(statistic, np.nan)
            return nothing, nothing, None
        return *repeated_p(statistic, looks, alternative, alpha=alpha), None

    criterion = Criterion(
        method="group-sequential", alpha=alpha, alternative=alternative, p=told,
        bound=np.asarray(min(bound, _BEYOND)),
    )  # fmt: skip
    return criterion, silent


def _silenced(contrast: Contrast, silent: Reason | None) -> Contrast:
    if silent is None:
        return contrast
    return replace(contrast, reason=np.full(contrast.reason.shape, silent.code, dtype=np.uint8))


def score_effect(
    counts: tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike],
    looks: Looks,
    *,
    alpha: float = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    null: ArrayLike = 0.0,
) -> Estimates:
    """p_treatment − p_control at this look by the score test and the interval that inverts it.

    The score's variance is taken under the null, so a small variant with few events does not reject by its
    own bad luck: at 99/1 with 50 events it keeps its 5 %, where the unpooled variance makes 6 to 9 %.

    Args:
        counts: control successes, control units, treatment successes, treatment units.
    """
    return _score(proportion.score_difference, counts, looks, alpha, alternative, null)


def score_lift(
    counts: tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike],
    looks: Looks,
    *,
    alpha: float = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    null: ArrayLike = 0.0,
) -> Estimates:
    """p_treatment / p_control − 1 at this look by the same score test."""
    return _score(proportion.score_lift, counts, looks, alpha, alternative, null)


def _score(
    test: Callable[..., Estimates],
    counts: tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike],
    looks: Looks,
    alpha: float,
    alternative: Alternative,
    null: ArrayLike,
) -> Estimates:
    """A fixed score test at the level this look's bound stands for, with the repeated p-value."""
    criterion, silent = _criterion(looks, alpha, alternative)
    level = float(special.ndtr(-min(float(criterion.bound), _HIGHEST_Z)))
    sides = 2 if alternative is Alternative.TWO_SIDED else 1
    found = test(*counts, alpha=sides * level, alternative=alternative, null=null)
    p, log_p, _ = criterion.p(found.statistic)
    reason = found.reason if silent is None else np.full(found.reason.shape, silent.code, dtype=np.uint8)
    columns: dict[str, ArrayLike] = {
        "estimate": found.estimate, "standard_error": found.standard_error, "statistic": found.statistic,
        "df": np.inf, "p_value": p, "log_p": log_p, "low": found.low, "high": found.high, "alpha": alpha,
    }  # fmt: skip
    return estimates(f"group-sequential-{found.method}", alternative, reason, columns)


def repeated_p(
    z: ArrayLike,
    looks: Looks,
    alternative: Alternative = Alternative.TWO_SIDED,
    *,
    alpha: float = 0.05,
) -> tuple[Float, Float]:
    """Smallest alpha whose bound at this look is passed by z, and its logarithm.

    Solved for a handful of values; read off the bounds at some 60 alphas by a monotone cubic in Z² for more.
    Below 10⁻¹⁴ the curve is continued with the slope it has there. Which side of `alpha` p lies on is
    decided by the bound itself.
    """
    score = np.asarray(z, float)
    passed = {
        Alternative.TWO_SIDED: np.abs(score), Alternative.GREATER: score, Alternative.LESS: -score,
    }[alternative]  # fmt: skip
    known = np.where(np.isfinite(passed), passed, 0.0)
    if score.size <= _FEW:
        one = [_smallest_alpha(value, looks, alternative) for value in known.ravel().tolist()]
        log_p = np.asarray(one, dtype=np.float64).reshape(score.shape)
    else:
        log_p = _interpolate(known, *_curve(looks, alternative))
    # exact at the verdict: rounding must not move p across alpha
    bound = float(looks.bounds(alpha, alternative).z[-1])
    inside = np.log(alpha) + 1e-12
    log_p = np.where(passed > bound, np.minimum(log_p, np.log(alpha) - 1e-12), np.maximum(log_p, inside))
    log_p = np.where(np.isnan(score), np.nan, np.minimum(log_p, 0.0))
    return np.exp(log_p), log_p


def _level(log_alpha: float, looks: Looks, alternative: Alternative) -> float:
    """The bound at this look when alpha is exp(log_alpha)."""
    return float(looks.bounds(float(np.exp(log_alpha)), alternative).z[-1])


def _smallest_alpha(z: float, looks: Looks, alternative: Alternative) -> float:
    """log of the alpha whose bound at this look is z."""
    if _level(_HIGHEST_LOG, looks, alternative) >= z:
        return 0.0
    if _level(_LOWEST_LOG, looks, alternative) <= z:
        return float(_interpolate(np.asarray(z), *_curve(looks, alternative)))

    def surplus(log_alpha: Float) -> Float:
        return np.asarray(min(_level(float(log_alpha), looks, alternative), _BEYOND) - z)

    ends = np.asarray(_LOWEST_LOG), np.asarray(_HIGHEST_LOG)
    return float(bracketed_root(surplus, *ends, precision=1e-9))


@lru_cache(maxsize=256)
def _curve(looks: Looks, alternative: Alternative) -> tuple[Float, Float]:
    """Bounds at this look over a grid of alphas, increasing in the bound."""
    deep, likely = np.linspace(_LOWEST_LOG, _LIKELY_LOG, 16), np.linspace(_LIKELY_LOG, _HIGHEST_LOG, 45)
    grid = np.concatenate([deep, likely[1:]])[::-1]
    z = np.array([_level(float(log), looks, alternative) for log in grid])
    keep = np.isfinite(z) & (z > np.maximum.accumulate(np.concatenate([[-np.inf], z[:-1]])))
    return z[keep], grid[keep]


def _interpolate(z: Float, levels: Float, log_alpha: Float) -> Float:
    """log alpha at z: monotone cubic (Fritsch & Carlson 1980) in sign(z)·z², extended by its end slopes."""
    if levels.size < 2:
        return np.zeros_like(z)
    x, at = np.sign(levels) * np.square(levels), np.sign(z) * np.square(z)
    width, rise = np.diff(x), np.diff(log_alpha)
    secant = rise / width
    slope = np.concatenate([[secant[0]], _harmonic(secant, width), [secant[-1]]])
    place = np.clip(np.searchsorted(x, at) - 1, 0, x.size - 2)
    t = np.clip((at - x[place]) / width[place], 0.0, 1.0)
    h = width[place]
    inside = (
        (1 + 2 * t) * np.square(1 - t) * log_alpha[place]
        + t * np.square(1 - t) * h * slope[place]
        + np.square(t) * (3 - 2 * t) * log_alpha[place + 1]
        + np.square(t) * (t - 1) * h * slope[place + 1]
    )
    above = log_alpha[-1] + secant[-1] * (at - x[-1])
    return np.where(at > x[-1], above, np.where(at < x[0], 0.0, inside))


def _harmonic(secant: Float, width: Float) -> Float:
    """Slopes at inner knots that keep the curve monotone."""
    w1, w2 = 2 * width[1:] + width[:-1], width[1:] + 2 * width[:-1]
    return np.asarray((w1 + w2) / (w1 / secant[:-1] + w2 / secant[1:]), dtype=np.float64)
