"""Looks of a group sequential plan, and the p-value that inverts their bounds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from switchpoint.analysis.inference.spending import Bounds, spending_bounds
from switchpoint.analysis.numerics.estimates import Alternative, Float
from switchpoint.analysis.numerics.tail import bracketed_root
from switchpoint.experiment.definition.types import Spending

_LOWEST_LOG, _LIKELY_LOG, _HIGHEST_LOG = -34.0, -9.0, float(np.log(0.999))
_FEW, _BEYOND = 6, 60.0


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
