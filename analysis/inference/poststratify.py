"""Post-stratification of contrasts: strata combined by their share, and what the shares themselves add.

The headline stratifies by segment × epoch and takes the composition of these units as it is
(`analysis.inference.stratify`). Here the same is done for effects whose baseline has a covariance of its
own (covariate-adjusted ones), and, by name, for a population of which the units are a sample.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from switchpoint.analysis.inference.contrast import Contrast
from switchpoint.analysis.numerics.estimates import Float
from switchpoint.analysis.numerics.reasons import Reason, first_reason


def combine(contrast: Contrast, weight: ArrayLike) -> Contrast:
    """Weighted sum over independent strata (last axis); strata with a reason or no weight are left out.

    Weights are normalised over the strata used; degrees of freedom by Satterthwaite (1946). A stratum
    whose variance is zero counts with its zero.
    """
    usable = np.isin(contrast.reason, (0, Reason.ZERO_VARIANCE.code))
    given = np.broadcast_to(np.asarray(weight, float), contrast.effect.shape)
    kept = np.where(usable & (given > 0), given, 0.0)
    used = kept > 0
    total = kept.sum(axis=-1, keepdims=True)
    w = kept / np.where(total > 0, total, 1.0)

    def summed(column: Float, power: int) -> Float:
        return np.asarray((w**power * np.where(used, column, 0.0)).sum(axis=-1), dtype=np.float64)

    variance = summed(contrast.variance, 2)
    parts = np.where(used, np.square(np.square(w) * contrast.variance) / contrast.df, 0.0).sum(axis=-1)
    none = np.asarray(~used.any(axis=-1))
    n = np.where(used, contrast.n, 0.0).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        df = np.where(variance > 0, np.square(variance) / parts, n - 2)
    return Contrast(
        n=n,
        effect=np.where(none, np.nan, summed(contrast.effect, 1)),
        baseline=np.where(none, np.nan, summed(contrast.baseline, 1)),
        variance=np.where(none, np.nan, variance),
        covariance=np.where(none, np.nan, summed(contrast.covariance, 2)),
        baseline_variance=np.where(none, np.nan, summed(contrast.baseline_variance, 2)),
        df=np.where(none, np.nan, df),
        reason=first_reason((none, Reason.NOT_COMPARABLE), (np.asarray(variance == 0), Reason.ZERO_VARIANCE)),
    )


def with_composition(contrast: Contrast, strata: Contrast, weight: ArrayLike) -> Contrast:
    """Add the uncertainty of the strata's shares, when they stand for a wider population.

    The shares w of N units are multinomial, which adds Σ w·(a − ā)(a − ā)ᵀ/N to the joint variance of
    (effect, baseline), a being a stratum's pair. Miratrix, Sekhon, Yu (2013), JRSS-B 75:369; the
    convention of GrowthBook's post-stratification.

    Args:
        contrast: the strata combined with the same weights. strata: one entry per stratum (last axis).
        weight: the normalised weights used, 0 for strata left out.
    """
    w = np.asarray(weight, float)
    d = np.where(w > 0, strata.effect - contrast.effect[..., None], 0.0)
    b = np.where(w > 0, strata.baseline - contrast.baseline[..., None], 0.0)
    return replace(
        contrast,
        variance=contrast.variance + (w * d * d).sum(axis=-1) / contrast.n,
        covariance=contrast.covariance + (w * d * b).sum(axis=-1) / contrast.n,
        baseline_variance=contrast.baseline_variance + (w * b * b).sum(axis=-1) / contrast.n,
    )


def post_stratify(
    contrast: Contrast, weight: ArrayLike | None = None, *, composition: bool = True
) -> Contrast:
    """One effect from per-stratum contrasts (last axis), weighted by the units a stratum holds.

    Args:
        weight: shares of the population; None = the units observed.
        composition: count the sampling of the shares themselves (a population of which these units are a
            sample); False takes the composition as it is, as the headline does. Shares that are given
            from outside are known, so they never add uncertainty.
    """
    observed = weight is None
    given = contrast.n if weight is None else np.asarray(weight, float)
    whole = combine(contrast, given)
    if not (composition and observed):
        return whole
    usable = np.isin(contrast.reason, (0, Reason.ZERO_VARIANCE.code))
    kept = np.where(usable, given, 0.0)
    total = kept.sum(axis=-1, keepdims=True)
    return with_composition(whole, contrast, kept / np.where(total > 0, total, 1.0))
