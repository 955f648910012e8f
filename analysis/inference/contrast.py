"""An effect, the baseline its lift refers to, and every reading of them: fixed horizon and at every look.

Two samples give the effect d, the baseline b a lift is relative to, and their joint variance; covariates and
strata change the effect but not the baseline, so how they move together is kept. Every reading comes from
the one statistic (d − l·b)/SE(l): at l = 0 it is the test of the effect, whatever is displayed. A reading
differs from another only in its `Criterion`: what the statistic has to pass, and the p that says the same.
Every interval inverts its test, so "the lift interval excludes zero" and "the effect interval excludes zero"
are one statement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from switchpoint.analysis.inference import sequential
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


def from_samples(control: Sample, treatment: Sample) -> Contrast:
    """The plain comparison: the baseline is the control mean itself, so cov(d, b) = −s_c².

    Degrees of freedom by Satterthwaite (1946), as Welch (1947), Biometrika 34:28.
    """
    sc, st = control.error_variance, treatment.error_variance
    return Contrast(
        n=control.n + treatment.n,
        effect=treatment.mean - control.mean,
        baseline=control.mean + np.zeros_like(treatment.mean),
        variance=sc + st,
        covariance=-sc + np.zeros_like(st),
        baseline_variance=sc + np.zeros_like(st),
        df=_welch_df(sc, control.df, st, treatment.df),
        reason=first_code(control.reason, treatment.reason),
    )


def _welch_df(a: Float, a_df: Float, b: Float, b_df: Float) -> Float:
    """Satterthwaite's degrees of freedom of a sum of two squared errors."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.square(a + b) / (np.square(a) / a_df + np.square(b) / b_df))


Told = tuple[Float, Float, Float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """What a statistic has to pass: its size `bound`, and `p` of a statistic with its logarithm and the log
    e-value where there is one; rejected at `alpha` exactly where the bound is passed."""

    method: str
    alpha: ArrayLike
    alternative: Alternative
    bound: Float
    p: Callable[[Float], Told]
    df: ArrayLike = np.inf


def once(
    df: ArrayLike,
    *,
    alpha: ArrayLike = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    method: str = "welch",
) -> Criterion:
    """Read once, at a horizon fixed before: Student's t, or the normal distribution where `df` is inf."""
    return Criterion(
        method=method, alpha=alpha, alternative=alternative, df=df, bound=critical(alpha, df, alternative),
        p=lambda statistic: (*p_values(statistic, df, alternative), None),
    )  # fmt: skip


def anytime(
    n: Float, *, n_star: ArrayLike, alpha: ArrayLike = 0.05, alternative: Alternative = Alternative.TWO_SIDED
) -> Criterion:
    """Read at any look, this one at `n` units of both variants: the confidence sequence that is tightest at
    `n_star` (`analysis.inference.sequential`)."""
    k = sequential.mixing_units(n_star, alpha, alternative)

    def told(statistic: Float) -> Told:
        with np.errstate(invalid="ignore", divide="ignore"):
            log_e = sequential.log_e_value(statistic, n, k, alternative)
        return *sequential.anytime_p(log_e), log_e

    with np.errstate(invalid="ignore", divide="ignore"):
        bound = sequential.boundary(n, alpha, k, alternative)
    return Criterion(method="asymptotic-cs", alpha=alpha, alternative=alternative, bound=bound, p=told)


def from_standard_error(
    estimate: ArrayLike,
    standard_error: ArrayLike,
    criterion: Criterion,
    *,
    null: ArrayLike = 0.0,
    reason: Codes | None = None,
) -> Estimates:
    """Test and dual interval of any asymptotically normal estimate (stratified, adjusted, relative, ...).

    A standard error of zero is a reason (`zero_variance`), never an infinite statistic; `reason` are codes
    carried along from the estimate.
    """
    value, error = np.asarray(estimate, float), np.asarray(standard_error, float)
    flat = first_reason((~(error > 0), Reason.ZERO_VARIANCE))
    with np.errstate(invalid="ignore", divide="ignore"):
        statistic = (value - np.asarray(null, float)) / error
        half = criterion.bound * error
    return _estimates(
        criterion.method, criterion, flat if reason is None else first_code(reason, flat),
        {"estimate": value, "standard_error": error, "statistic": statistic}, (value - half, value + half),
    )  # fmt: skip


def read_effect(contrast: Contrast, criterion: Criterion, *, null: ArrayLike = 0.0) -> Estimates:
    """The effect against `null` by any criterion."""
    return from_standard_error(
        contrast.effect, np.sqrt(contrast.variance), criterion, null=null, reason=contrast.reason
    )


def read_lift(contrast: Contrast, criterion: Criterion, *, null: ArrayLike = 0.0) -> Estimates:
    """Relative effect d / b by any criterion, with Fieller's set; at `null` = 0 the same test as the effect.

    The interval holds the l with |d − l·b| ≤ bound·√(Var d − 2·l·Cov + l²·Var b). Where the baseline cannot
    be told from zero the set is unbounded (`unbounded_lift`), where it is not positive the lift is undefined
    (`zero_control`). Fieller (1954), JRSS-B 16:175.
    """
    low, high, unbounded = fieller(contrast, criterion.bound)
    statistic, error = lift_statistic(contrast, null)
    ratio, reason = _ratio(contrast)
    return _estimates(
        f"{criterion.method}-fieller", criterion,
        first_code(reason, first_reason((unbounded, Reason.UNBOUNDED_LIFT))),
        {"estimate": ratio, "standard_error": error, "statistic": statistic}, (low, high),
    )  # fmt: skip


def _estimates(
    method: str, criterion: Criterion, reason: Codes, columns: dict[str, Float], bounds: tuple[Float, Float]
) -> Estimates:
    p, log_p, log_e = criterion.p(columns["statistic"])
    low, high = open_side(*bounds, criterion.alternative)
    every: dict[str, ArrayLike] = {
        **columns, "df": criterion.df, "p_value": p, "log_p": log_p, "low": low, "high": high,
        "alpha": criterion.alpha,
    }  # fmt: skip
    return estimates(method, criterion.alternative, reason, every, log_e)


def effect(
    contrast: Contrast,
    *,
    alpha: ArrayLike = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    null: ArrayLike = 0.0,
    distribution: Distribution = Distribution.T,
) -> Estimates:
    """Welch's t test of the effect against `null` with its dual interval (fixed horizon).

    >>> from switchpoint.analysis.inference.sample import from_moments
    >>> one = effect(from_samples(from_moments(1000, 10.0, 25.0), from_moments(1000, 10.5, 26.0))).at()
    >>> round(one.p_value, 6), round(one.low, 6), round(one.high, 6)
    (0.026939, 0.057109, 0.942891)
    """
    criterion = once(_df(contrast, distribution), alpha=alpha, alternative=alternative)
    return read_effect(contrast, criterion, null=null)


def lift(
    contrast: Contrast,
    *,
    alpha: ArrayLike = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    null: ArrayLike = 0.0,
    distribution: Distribution = Distribution.T,
) -> Estimates:
    """The lift against `null` with Fieller's interval (fixed horizon), with the degrees of freedom of the
    effect."""
    criterion = once(_df(contrast, distribution), alpha=alpha, alternative=alternative)
    return read_lift(contrast, criterion, null=null)


def effect_and_lift(contrast: Contrast, *, alpha: ArrayLike = 0.05) -> tuple[Estimates, Estimates]:
    """`effect` and `lift` against no difference: one two-sided t test, so its quantile and p come once."""
    criterion = once(contrast.df, alpha=alpha)
    found = read_effect(contrast, criterion)
    known = replace(criterion, p=lambda _: (found.p_value, found.log_p, None))
    return found, read_lift(contrast, known)


def delta_lift(
    contrast: Contrast,
    *,
    alpha: ArrayLike = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    distribution: Distribution = Distribution.T,
    at: ArrayLike | None = None,
) -> Estimates:
    """Relative effect with the symmetric delta-method interval (GrowthBook's and Eppo's convention), by name.

    Var = (Var d − 2·l·Cov + l²·Var b)/b²; the covariance with the baseline is kept. Its p differs from that
    of the effect on the same data.

    Args:
        at: the lift l at which the gradient is taken; None = the estimate. GrowthBook takes the
            unadjusted lift for covariate-adjusted means.
    """
    ratio, reason = _ratio(contrast)
    _, error = lift_statistic(contrast, ratio if at is None else at)
    criterion = once(_df(contrast, distribution), alpha=alpha, alternative=alternative, method="delta-lift")
    return from_standard_error(ratio, error, criterion, reason=reason)


def log_ratio_lift(
    control: Sample,
    treatment: Sample,
    *,
    alpha: ArrayLike = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    distribution: Distribution = Distribution.T,
) -> Estimates:
    """Lift with an interval symmetric on the log scale: exp(ln R ± q·SE(ln R)) − 1, never below −100 %.

    SE² = s_t²/m_t² + s_c²/m_c² (delta method), Welch's df of these two terms. Its p-value is that of
    the log scale; reports test the effect.
    """
    positive = (control.mean > 0) & (treatment.mean > 0)
    safe = [np.where(positive, side.mean, np.nan) for side in (control, treatment)]
    parts = control.error_variance / np.square(safe[0]), treatment.error_variance / np.square(safe[1])
    df = _welch_df(parts[0], control.df, parts[1], treatment.df)
    if distribution is Distribution.NORMAL:
        df = np.full_like(df, np.inf)
    reason = first_code(control.reason, treatment.reason, first_reason((~positive, Reason.ZERO_CONTROL)))
    criterion = once(df, alpha=alpha, alternative=alternative, method="log-ratio")
    logs = from_standard_error(
        np.log(safe[1] / safe[0]), np.sqrt(parts[0] + parts[1]), criterion, reason=reason
    )
    return replace(logs, estimate=np.expm1(logs.estimate), low=np.expm1(logs.low), high=np.expm1(logs.high))


def sequence(
    contrast: Contrast,
    *,
    n_star: ArrayLike,
    alpha: ArrayLike = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    null: ArrayLike = 0.0,
) -> Estimates:
    """Asymptotic confidence sequence of the effect at this look (design-based: Ham et al. 2022)."""
    criterion = anytime(contrast.n, n_star=n_star, alpha=alpha, alternative=alternative)
    found = read_effect(contrast, criterion, null=null)
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
    criterion = anytime(contrast.n, n_star=n_star, alpha=alpha, alternative=alternative)
    found = read_lift(contrast, criterion, null=null)
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
