"""An effect and the baseline its lift refers to, where the two are correlated in their own way.

Covariate adjustment and post-stratification change the effect but not the control mean that a lift is
relative to, so "two independent samples" no longer says how they move together. Here the effect d, the
baseline b and their joint variance are kept, and every reading (effect, lift, fixed or sequential) comes
from the one statistic (d − l·b)/SE(l): at l = 0 it is the test of the effect, whatever is displayed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from switchpoint.analysis.inference import fixed, sequential
from switchpoint.analysis.inference.sample import Sample
from switchpoint.analysis.numerics.estimates import Alternative, Distribution, Estimates, Float, estimates
from switchpoint.analysis.numerics.reasons import Codes, Reason, first_code, first_reason
from switchpoint.analysis.numerics.tail import critical, open_side, p_values


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """Columnar: treatment minus control, and the control mean a lift is relative to.

    `n`: units of both variants. `variance`, `baseline_variance`: squared standard errors of `effect` and
    `baseline`. `covariance`: between these two estimates. `df`: of the effect's standard error.
    """

    n: Float
    effect: Float
    baseline: Float
    variance: Float
    covariance: Float
    baseline_variance: Float
    df: Float
    reason: Codes

    def __getitem__(self, index: int | tuple[int | slice, ...] | NDArray[np.bool_]) -> Contrast:
        """The same at an index of the arrays."""
        return Contrast(
            n=np.asarray(self.n[index]),
            effect=np.asarray(self.effect[index]),
            baseline=np.asarray(self.baseline[index]),
            variance=np.asarray(self.variance[index]),
            covariance=np.asarray(self.covariance[index]),
            baseline_variance=np.asarray(self.baseline_variance[index]),
            df=np.asarray(self.df[index]),
            reason=np.asarray(self.reason[index], dtype=np.uint8),
        )


def from_samples(control: Sample, treatment: Sample) -> Contrast:
    """The plain comparison: the baseline is the control mean itself, so cov(d, b) = −s_c²."""
    sc, st = control.error_variance, treatment.error_variance
    with np.errstate(invalid="ignore", divide="ignore"):
        df = np.square(sc + st) / (np.square(sc) / control.df + np.square(st) / treatment.df)
    return Contrast(
        n=control.n + treatment.n,
        effect=treatment.mean - control.mean,
        baseline=control.mean + np.zeros_like(treatment.mean),
        variance=sc + st,
        covariance=-sc + np.zeros_like(st),
        baseline_variance=sc + np.zeros_like(st),
        df=df,
        reason=first_code(control.reason, treatment.reason),
    )


def effect(
    contrast: Contrast,
    *,
    alpha: ArrayLike = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    null: ArrayLike = 0.0,
    distribution: Distribution = Distribution.T,
) -> Estimates:
    """t test of the effect against `null` with its dual interval (fixed horizon)."""
    return fixed.from_standard_error(
        "contrast", contrast.effect, np.sqrt(contrast.variance), df=_df(contrast, distribution),
        reason=contrast.reason, alpha=alpha, alternative=alternative, null=null,
    )  # fmt: skip


def lift(
    contrast: Contrast,
    *,
    alpha: ArrayLike = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    null: ArrayLike = 0.0,
    distribution: Distribution = Distribution.T,
) -> Estimates:
    """Relative effect d / b with Fieller's interval; at `null` = 0 the same test as `effect`.

    The interval holds the l with |d − l·b| ≤ q·√(Var d − 2·l·Cov + l²·Var b), with the degrees of freedom
    of the effect. Fieller (1954), JRSS-B 16:175.
    """
    df = _df(contrast, distribution)
    low, high, unbounded = fieller(contrast, critical(alpha, df, alternative))
    statistic, error = lift_statistic(contrast, null)
    p, log_p = p_values(statistic, df, alternative)
    return _lift_estimates(
        "contrast-fieller", contrast, unbounded, alternative,
        {"statistic": statistic, "standard_error": error, "df": df, "p_value": p, "log_p": log_p,
         "alpha": alpha}, (low, high),
    )  # fmt: skip


def effect_and_lift(contrast: Contrast, *, alpha: ArrayLike = 0.05) -> tuple[Estimates, Estimates]:
    """`effect` and `lift` against no difference: one two-sided t test, so its quantile and p come once."""
    quantile = critical(alpha, contrast.df, Alternative.TWO_SIDED)
    statistic, relative = lift_statistic(contrast, 0.0)
    p, log_p = p_values(statistic, contrast.df, Alternative.TWO_SIDED)
    low, high, unbounded = fieller(contrast, quantile)
    error = np.sqrt(contrast.variance)
    test: dict[str, ArrayLike] = {
        "statistic": statistic, "df": contrast.df, "p_value": p, "log_p": log_p, "alpha": alpha,
    }  # fmt: skip
    reach = quantile * error
    columns = test | {
        "estimate": contrast.effect, "standard_error": error, "low": contrast.effect - reach,
        "high": contrast.effect + reach,
    }  # fmt: skip
    codes = first_code(contrast.reason, first_reason((~(error > 0), Reason.ZERO_VARIANCE)))
    return estimates("contrast", Alternative.TWO_SIDED, codes, columns), _lift_estimates(
        "contrast-fieller", contrast, unbounded, Alternative.TWO_SIDED,
        test | {"standard_error": relative}, (low, high),
    )  # fmt: skip


def delta_lift(
    contrast: Contrast,
    *,
    alpha: ArrayLike = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    distribution: Distribution = Distribution.T,
    at: ArrayLike | None = None,
) -> Estimates:
    """Relative effect with the symmetric delta-method interval (GrowthBook's convention), by name.

    Var = (Var d − 2·l·Cov + l²·Var b)/b²; the covariance with the baseline is kept.

    Args:
        at: the lift l at which the gradient is taken; None = the estimate. GrowthBook takes the
            unadjusted lift for covariate-adjusted means.
    """
    ratio, reason = _ratio(contrast)
    _, error = lift_statistic(contrast, ratio if at is None else at)
    return fixed.from_standard_error(
        "contrast-delta-lift", ratio, error, df=_df(contrast, distribution), reason=reason,
        alpha=alpha, alternative=alternative,
    )  # fmt: skip


def sequence(
    contrast: Contrast,
    *,
    n_star: ArrayLike,
    alpha: ArrayLike = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    null: ArrayLike = 0.0,
) -> Estimates:
    """Asymptotic confidence sequence of the effect at this look (design-based: Ham et al. 2022)."""
    found = sequential.from_standard_error(
        contrast.effect, np.sqrt(contrast.variance), contrast.n, n_star=n_star, alpha=alpha,
        alternative=alternative, null=null, reason=contrast.reason,
    )  # fmt: skip
    return sequential.no_surer(found, effect(contrast, alpha=alpha, alternative=alternative, null=null))


def lift_sequence(
    contrast: Contrast,
    *,
    n_star: ArrayLike,
    alpha: ArrayLike = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    null: ArrayLike = 0.0,
) -> Estimates:
    """Confidence sequence of the lift at this look; excludes zero exactly when `sequence` does."""
    k = sequential.mixing_units(n_star, alpha, alternative)
    with np.errstate(invalid="ignore", divide="ignore"):
        low, high, unbounded = fieller(contrast, sequential.boundary(contrast.n, alpha, k, alternative))
        statistic, error = lift_statistic(contrast, null)
        log_e = sequential.log_e_value(statistic, contrast.n, k, alternative)
    p, log_p = sequential.anytime_p(log_e)
    found = _lift_estimates(
        "asymptotic-cs-contrast-fieller", contrast, unbounded, alternative,
        {"statistic": statistic, "standard_error": error, "df": np.inf, "p_value": p, "log_p": log_p,
         "alpha": alpha}, (low, high), log_e,
    )  # fmt: skip
    return sequential.no_surer(found, lift(contrast, alpha=alpha, alternative=alternative, null=null))


def lift_statistic(contrast: Contrast, null: ArrayLike) -> tuple[Float, Float]:
    """Statistic of d − null·b and its standard error on the scale of the lift."""
    tested = np.asarray(null, float)
    squared = (
        contrast.variance - 2 * tested * contrast.covariance + np.square(tested) * contrast.baseline_variance
    )
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        error = np.sqrt(np.maximum(squared, 0.0))
        return (contrast.effect - tested * contrast.baseline) / error, error / contrast.baseline


def fieller(contrast: Contrast, quantile: Float) -> tuple[Float, Float, NDArray[np.bool_]]:
    """The lifts not rejected at |statistic| ≤ quantile: low, high, and where the set is unbounded.

    a·l² − 2·β·l + c ≤ 0 with a = b² − q²·Var b, β = d·b − q²·Cov, c = d² − q²·Var d. The root on the side
    of zero is written as c / (...), so the sign of c, which is the verdict of the test of no effect,
    decides on which side of zero it lies.
    """
    d, b, q2 = contrast.effect, contrast.baseline, np.square(quantile)
    v, cov, vb = contrast.variance, contrast.covariance, contrast.baseline_variance
    a, beta, c = np.square(b) - q2 * vb, d * b - q2 * cov, np.square(d) - q2 * v
    unbounded = ~(a > 0)
    inner = q2 * (b * b * v - 2 * d * b * cov + d * d * vb) - np.square(q2) * (v * vb - cov * cov)
    beta = np.where(unbounded, np.nan, beta)  # neither root is wanted there, and c / (...) may overflow
    with np.errstate(invalid="ignore", divide="ignore"):
        root = np.sqrt(np.maximum(inner, 0.0))
        up = beta > 0
        low = np.where(up, c / (beta + root), (beta - root) / a)
        high = np.where(up, (beta + root) / a, c / (beta - root))
    return low, high, unbounded


def _df(contrast: Contrast, distribution: Distribution) -> Float:
    return np.full_like(contrast.effect, np.inf) if distribution is Distribution.NORMAL else contrast.df


def _ratio(contrast: Contrast) -> tuple[Float, Codes]:
    with np.errstate(over="ignore"):
        ratio = contrast.effect / np.where(contrast.baseline > 0, contrast.baseline, np.nan)
    # a baseline next to zero is none: nothing is a finite number of times as large
    none = ~np.isfinite(ratio)
    return np.where(none, np.nan, ratio), first_code(
        contrast.reason, first_reason((none, Reason.ZERO_CONTROL))
    )


def _lift_estimates(
    method: str,
    contrast: Contrast,
    unbounded: NDArray[np.bool_],
    alternative: Alternative,
    columns: dict[str, ArrayLike],
    bounds: tuple[Float, Float],
    log_e: Float | None = None,
) -> Estimates:
    ratio, reason = _ratio(contrast)
    codes = first_code(reason, first_reason((unbounded, Reason.UNBOUNDED_LIFT)))
    low, high = open_side(*bounds, alternative)
    return estimates(
        method, alternative, codes, columns | {"estimate": ratio, "low": low, "high": high}, log_e
    )
