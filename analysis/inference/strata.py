"""One comparison from several strata (segment × epoch), never pooled blindly.

effect = Σ w·(m_treatment − m_control), variance = Σ w²·(v_treatment/n_treatment + v_control/n_control)
with common weights w: the share of the units a stratum holds, or for ratios of the denominators. The
composition of the strata is taken as it is, so an allocation that differs between strata cannot enter
the effect (Simpson's paradox). Miratrix, Sekhon, Yu (2013), JRSS-B 75:369.

The same is done for contrasts whose baseline has a covariance of its own (covariate-adjusted ones), and, by
name, for a population of which the units are a sample (post-stratification).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from switchpoint.analysis.inference.contrast import Contrast
from switchpoint.analysis.inference.sample import Sample
from switchpoint.analysis.numerics.estimates import Float
from switchpoint.analysis.numerics.reasons import Codes, Reason, first_code, first_reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratified:
    """Both variants brought to one composition of strata.

    `control`, `treatment`: samples without the strata axis, ready for every comparison.
    `weight`: the normalised weights used, strata last; 0 for strata left out.
    `dropped`: per stratum the code of the reason why it is left out although it has weight, else 0.
    `covered`: the part of the given weight that the strata used hold (1 when none is dropped).
    `widening`: how many times wider the effect's standard error is when the variants of a stratum share one
    variance (Student 1908) instead of having their own (Welch 1947); 1 where it is not wider.
    """

    control: Sample
    treatment: Sample
    weight: Float
    dropped: Codes
    covered: Float
    widening: Float


def stratify(control: Sample, treatment: Sample, weight: ArrayLike) -> Stratified:
    """Combine strata (last axis) of a control and a treatment sample.

    A stratum in which one variant has no unit (`not_comparable`), or too few to know its variance, is
    left out and named in `dropped`; nothing is imputed. A stratum without variance counts with its zero.

    Args:
        control, treatment: samples of shape (..., strata); one side may broadcast to the other.
        weight: non-negative, same shape; normalised over the strata used.
    """
    shape = np.broadcast_shapes(np.shape(weight), control.n.shape, treatment.n.shape)
    given = np.broadcast_to(np.asarray(weight, float), shape)
    given = np.where(given > 0, given, 0.0)
    unusable = _unusable(control, treatment)
    used = (given > 0) & (unusable == 0)
    kept = np.where(used, given, 0.0)
    total, offered = kept.sum(axis=-1), given.sum(axis=-1)
    weights = kept / np.where(total > 0, total, 1.0)[..., None]
    own = np.square(weights) * (control.error_variance + treatment.error_variance)
    shared = np.square(weights) * _shared_variance(control, treatment)
    return Stratified(
        control=_combine(control, weights, used),
        treatment=_combine(treatment, weights, used),
        weight=weights,
        dropped=np.where(given > 0, unusable, 0).astype(np.uint8),
        covered=total / np.where(offered > 0, offered, 1.0),
        widening=_widening(*(np.where(used, part, 0.0).sum(axis=-1) for part in (own, shared))),
    )


def _shared_variance(control: Sample, treatment: Sample) -> Float:
    """Squared standard error of the effect of each stratum if both variants had one variance of a unit."""
    with np.errstate(invalid="ignore", divide="ignore"):
        squares = (control.n - 1) * control.variance + (treatment.n - 1) * treatment.variance
        one = squares / (control.n + treatment.n - 2)
        return np.asarray(one * (1 / control.n + 1 / treatment.n), dtype=np.float64)


def _widening(own: Float, shared: Float) -> Float:
    known = (own > 0) & (shared > own)
    return np.sqrt(np.where(known, shared, 1.0) / np.where(known, own, 1.0))


def _unusable(control: Sample, treatment: Sample) -> Codes:
    """Why a stratum cannot be compared; 0 where it can."""
    alone = first_reason(((control.n == 0) | (treatment.n == 0), Reason.NOT_COMPARABLE))
    own = [np.where(side.measured, 0, side.reason).astype(np.uint8) for side in (control, treatment)]
    return first_code(alone, *own)


def _combine(sample: Sample, weight: Float, used: NDArray[np.bool_]) -> Sample:
    """Weighted mean of one variant over its strata, with Satterthwaite's degrees of freedom.

    df = (Σc)²/Σ(c²/df) composes: a Welch test on two combined samples has the same df as one over all
    components at once.
    """
    part = np.where(used, np.square(weight) * sample.error_variance, 0.0)
    own_df = np.where(used, sample.df, 1.0)
    squared_error, units = part.sum(axis=-1), np.where(used, sample.n, 0.0).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        satterthwaite = np.square(squared_error) / (np.square(part) / own_df).sum(axis=-1)
    df = np.where(squared_error > 0, satterthwaite, units - 1)
    mean = np.where(used, weight * sample.mean, 0.0).sum(axis=-1)
    none = np.asarray(~used.any(axis=-1))
    flat = np.asarray(squared_error == 0)
    reason = first_reason((none, Reason.NOT_COMPARABLE), (flat, Reason.ZERO_VARIANCE))
    return Sample(
        n=units,
        mean=np.where(none, np.nan, mean),
        variance=np.where(none, np.nan, squared_error * units),
        df=np.where(none, np.nan, df),
        reason=reason,
    )


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
