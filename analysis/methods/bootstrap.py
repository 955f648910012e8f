"""Studentised bootstrap from units, for means and ratios too skewed for a t interval.

Each resample is compared in its own standard errors, so skewness is corrected to the next order, which the
percentile bootstrap does not do. Units (randomisation units, with all their rows) are resampled within
their variant. Efron (1979); Hall (1988), Ann. Stat. 16:927.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from switchpoint.analysis.inference.sample import Sample, from_values, ratio_from_moments
from switchpoint.analysis.numerics.estimates import Alternative, Estimates, Float, estimates
from switchpoint.analysis.numerics.reasons import Codes, Reason, first_code, first_reason
from switchpoint.analysis.numerics.tail import open_side

_CHUNK = 1_000_000
_FAILED = 0.02


def studentised_effect(
    control: ArrayLike,
    treatment: ArrayLike,
    *,
    rng: np.random.Generator,
    resamples: int = 9_999,
    alpha: float = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    null: float = 0.0,
    denominators: tuple[ArrayLike, ArrayLike] | None = None,
) -> Estimates:
    """Difference of means (or of ratios Σx/Σy, with denominators) by the bootstrap-t.

    The p-value is the smallest alpha whose interval excludes `null`, counted over resamples with one added,
    so it is never 0 and always agrees with the interval.

    Args:
        control, treatment: one value per unit. rng: source of the resamples.
        denominators: of control and treatment units, for a ratio.
    """
    below = denominators or (None, None)
    data = _column(control, below[0]), _column(treatment, below[1])
    sides = [_sample(part) for part in data]
    estimate = sides[1].mean - sides[0].mean
    error = np.sqrt(sides[0].error_variance + sides[1].error_variance)
    known = first_code(sides[0].reason, sides[1].reason)
    if int(known):
        return _unknown(estimate, error, known, alpha, alternative)
    draws = [_resampled(part, resamples, rng) for part in data]
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.sqrt(draws[0].error_variance + draws[1].error_variance)
        t = ((draws[1].mean - draws[0].mean) - estimate) / spread
    usable = np.sort(t[np.isfinite(t)])
    # resamples without variance mean that a handful of units carry everything
    if usable.size < (1 - _FAILED) * resamples:
        code = np.asarray(Reason.TOO_FEW_EVENTS.code, dtype=np.uint8)
        return _unknown(estimate, error, code, alpha, alternative)
    return _assemble(usable, estimate, error, alpha, alternative, null)


def _assemble(
    t: Float, estimate: Float, error: Float, alpha: float, alternative: Alternative, null: float
) -> Estimates:
    """Interval and p from the same sorted resampled statistics."""
    size = t.size
    sides = 2 if alternative is Alternative.TWO_SIDED else 1
    rank = int(np.floor(alpha / sides * (size + 1) + 1e-9))
    if rank < 1:
        code = np.asarray(Reason.TOO_FEW_EVENTS.code, dtype=np.uint8)
        return _unknown(estimate, error, code, alpha, alternative)
    low, high = open_side(estimate - t[size - rank] * error, estimate - t[rank - 1] * error, alternative)
    observed = float((estimate - null) / error)
    above = (size - np.searchsorted(t, observed, side="left") + 1) / (size + 1)
    below = (np.searchsorted(t, observed, side="right") + 1) / (size + 1)
    p = {
        Alternative.TWO_SIDED: min(1.0, 2 * min(above, below)),
        Alternative.GREATER: above,
        Alternative.LESS: below,
    }[alternative]
    columns: dict[str, ArrayLike] = {
        "estimate": estimate, "standard_error": error, "statistic": observed, "df": np.inf, "p_value": p,
        "log_p": np.log(p), "low": low, "high": high, "alpha": alpha,
    }  # fmt: skip
    return estimates(
        "bootstrap-t", alternative, first_reason((np.zeros((), dtype=bool), Reason.ZERO_VARIANCE)), columns
    )


def _column(x: ArrayLike, y: ArrayLike | None) -> Float:
    """(1 or 2, units): values, and denominators where there are any."""
    top = np.asarray(x, float)
    return top[None, :] if y is None else np.stack([top, np.asarray(y, float)])


def _sample(data: Float) -> Sample:
    if data.shape[0] == 1:
        return from_values(data[0])
    spread = np.cov(data) if data.shape[1] > 1 else np.zeros((2, 2))
    return ratio_from_moments(
        data.shape[1], data[0].mean(), data[1].mean(), spread[0, 0], spread[1, 1], spread[0, 1]
    )


def _resampled(data: Float, resamples: int, rng: np.random.Generator) -> Sample:
    """Samples of resampled units, computed in chunks of bounded memory."""
    n = data.shape[1]
    step = max(1, _CHUNK // n)
    parts = []
    for start in range(0, resamples, step):
        pick = rng.integers(0, n, size=(min(step, resamples - start), n))
        drawn = data[:, pick]
        mean = drawn.mean(axis=-1)
        centred = drawn - mean[..., None]
        second = np.einsum("abn,cbn->acb", centred, centred) / (n - 1)
        parts.append(np.concatenate([mean, second.reshape(-1, second.shape[-1])]))
    moments = np.concatenate(parts, axis=-1)
    if data.shape[0] == 1:
        mean, variance = moments
        bad = np.zeros(mean.shape, dtype=np.uint8)
        size = np.full(mean.shape, float(n))
        return Sample(n=size, mean=mean, variance=variance, df=size - 1, reason=bad)
    mx, my, vx, cxy, _, vy = moments
    return ratio_from_moments(float(n), mx, my, vx, vy, cxy)


def _unknown(
    estimate: Float, error: Float, reason: Codes, alpha: float, alternative: Alternative
) -> Estimates:
    nothing = dict.fromkeys(("statistic", "df", "p_value", "log_p", "low", "high"), np.nan)
    columns: dict[str, ArrayLike] = {"estimate": estimate, "standard_error": error, "alpha": alpha, **nothing}
    return estimates("bootstrap-t", alternative, np.asarray(reason, dtype=np.uint8), columns)
