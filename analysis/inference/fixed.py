"""Fixed-horizon comparisons of means and ratios: effect, lift, and tests against a margin.

Every p-value and interval here comes from inverting one test. The effect is Welch's; the lift is
Fieller's with the same degrees of freedom, so "the lift interval excludes zero" and "the effect interval
excludes zero" are the same statement. Assumes independent units and n large enough for a t statistic.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from switchpoint.analysis.inference.sample import Sample
from switchpoint.analysis.numerics.estimates import Alternative, Distribution, Estimates, Float, estimates
from switchpoint.analysis.numerics.reasons import Codes, Reason, first_code, first_reason
from switchpoint.analysis.numerics.tail import critical, open_side, p_values
from switchpoint.experiment.definition.types import Direction, Size


def effect(
    control: Sample,
    treatment: Sample,
    *,
    alpha: ArrayLike = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    null: ArrayLike = 0.0,
    distribution: Distribution = Distribution.T,
) -> Estimates:
    """Welch's t test of mean_treatment − mean_control against `null`, with its dual interval.

    Source: Welch (1947), Biometrika 34:28; degrees of freedom by Satterthwaite (1946).

    >>> from switchpoint.analysis.inference.sample import from_moments
    >>> one = effect(from_moments(1000, 10.0, 25.0), from_moments(1000, 10.5, 26.0)).at()
    >>> round(one.p_value, 6), round(one.low, 6), round(one.high, 6)
    (0.026939, 0.057109, 0.942891)
    """
    difference = treatment.mean - control.mean
    squared = control.error_variance + treatment.error_variance
    df = _welch_df(control.error_variance, control.df, treatment.error_variance, treatment.df, distribution)
    return from_standard_error(
        "welch", difference, np.sqrt(squared), df=df, reason=_pair_reason(control, treatment),
        alpha=alpha, alternative=alternative, null=null,
    )  # fmt: skip


def lift(
    control: Sample,
    treatment: Sample,
    *,
    alpha: ArrayLike = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    null: ArrayLike = 0.0,
    distribution: Distribution = Distribution.T,
) -> Estimates:
    """Relative effect mean_treatment / mean_control − 1 with Fieller's interval.

    Tests m_treatment − (1 + l)·m_control = 0 at l = `null`; the interval holds the l not rejected. The
    degrees of freedom are Welch's at l = 0 for every l, which makes the interval a quadratic and the test
    of l = 0 exactly the test of the effect. Where the control mean cannot be told from zero the set is
    unbounded (`unbounded_lift`), where it is not positive the lift is undefined (`zero_control`).

    Source: Fieller (1954), JRSS-B 16:175.
    """
    df = _welch_df(control.error_variance, control.df, treatment.error_variance, treatment.df, distribution)
    quantile = critical(alpha, df, alternative)
    low, high, unbounded = fieller(control, treatment, quantile)
    low, high = open_side(low, high, alternative)
    estimate, reason = lift_estimate(control, treatment)
    reason = first_code(reason, first_reason((unbounded, Reason.UNBOUNDED_LIFT)))
    statistic, error = lift_statistic(control, treatment, null)
    p, log_p = p_values(statistic, df, alternative)
    columns: dict[str, ArrayLike] = {
        "estimate": estimate, "standard_error": error, "statistic": statistic, "df": df, "p_value": p,
        "log_p": log_p, "low": low, "high": high, "alpha": alpha,
    }  # fmt: skip
    return estimates("fieller", alternative, reason, columns)


def lift_estimate(control: Sample, treatment: Sample) -> tuple[Float, Codes]:
    """Relative effect and the reason why there is none (before any interval)."""
    positive = control.mean > 0
    ratio = treatment.mean / np.where(positive, control.mean, np.nan)
    return ratio - 1, first_code(
        _pair_reason(control, treatment), first_reason((~positive, Reason.ZERO_CONTROL))
    )


def lift_statistic(control: Sample, treatment: Sample, null: ArrayLike) -> tuple[Float, Float]:
    """Statistic of m_treatment − (1 + null)·m_control, and its standard error as a lift."""
    ratio = 1 + np.asarray(null, float)
    # (m_t − m_c) − null·m_c keeps the digits of a small difference
    contrast = (treatment.mean - control.mean) - np.asarray(null, float) * control.mean
    error = np.sqrt(treatment.error_variance + np.square(ratio) * control.error_variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        return contrast / error, error / control.mean


def fieller(control: Sample, treatment: Sample, quantile: Float) -> tuple[Float, Float, NDArray[np.bool_]]:
    """Lifts l with |m_t − (1 + l)·m_c| ≤ quantile·SE(l): low, high, and where the set is unbounded.

    With d = m_t − m_c the set is a·l² − 2·b·l + c ≤ 0, a = m_c² − q²s_c², b = d·m_c + q²s_c²,
    c = d² − q²(s_t² + s_c²). The sign of c is the verdict of the test of no effect, and the root on the
    side of zero is c / (...), so test and interval cannot disagree by rounding.
    """
    sc, st = control.error_variance, treatment.error_variance
    mc, mt, q2 = control.mean, treatment.mean, np.square(quantile)
    d = mt - mc
    a, b, c = np.square(mc) - q2 * sc, d * mc + q2 * sc, np.square(d) - q2 * (st + sc)
    unbounded = ~(a > 0)
    discriminant = q2 * (np.square(mt) * sc + np.square(mc) * st) - np.square(q2) * sc * st
    with np.errstate(invalid="ignore", divide="ignore"):
        root = np.sqrt(np.maximum(discriminant, 0.0))
        safe = np.where(unbounded, np.nan, a)
        up = b > 0
        low = np.where(up, c / (b + root), (b - root) / safe)
        high = np.where(up, (b + root) / safe, c / (b - root))
    return np.where(unbounded, np.nan, low), np.where(unbounded, np.nan, high), unbounded


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
    df = _welch_df(parts[0], control.df, parts[1], treatment.df, distribution)
    reason = first_code(_pair_reason(control, treatment), first_reason((~positive, Reason.ZERO_CONTROL)))
    logs = from_standard_error(
        "log-ratio", np.log(safe[1] / safe[0]), np.sqrt(parts[0] + parts[1]),
        df=df, reason=reason, alpha=alpha, alternative=alternative,
    )  # fmt: skip
    return replace(logs, estimate=np.expm1(logs.estimate), low=np.expm1(logs.low), high=np.expm1(logs.high))


def delta_lift(
    control: Sample,
    treatment: Sample,
    *,
    alpha: ArrayLike = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    distribution: Distribution = Distribution.T,
) -> Estimates:
    """Lift with the symmetric delta-method interval (the convention of GrowthBook and Eppo).

    Var = s_t²/m_c² + m_t²·s_c²/m_c⁴, with the degrees of freedom of the effect. Kept for comparison with
    those tools: its p-value differs from that of the effect on the same data.
    """
    ratio, reason = lift_estimate(control, treatment)
    base = np.where(control.mean > 0, control.mean, np.nan)
    slope = treatment.mean / np.square(base)
    squared = treatment.error_variance / np.square(base) + np.square(slope) * control.error_variance
    df = _welch_df(control.error_variance, control.df, treatment.error_variance, treatment.df, distribution)
    return from_standard_error(
        "delta-lift", ratio, np.sqrt(squared), df=df, reason=reason, alpha=alpha, alternative=alternative
    )


def noninferiority(
    control: Sample,
    treatment: Sample,
    *,
    margin: Size,
    direction: Direction,
    alpha: ArrayLike = 0.05,
    distribution: Distribution = Distribution.T,
) -> Estimates:
    """One-sided test that treatment is not worse than control by `margin` (Welch, or Fieller if relative).

    Rejecting means: not inferior. The interval is one-sided and its bound is compared with the margin by
    the same test. `margin` is a positive size; `direction` says which way is better.
    """
    better_up = direction is Direction.INCREASE
    alternative = Alternative.GREATER if better_up else Alternative.LESS
    null = -margin.value if better_up else margin.value
    test = lift if margin.relative else effect
    return test(
        control, treatment, alpha=alpha, alternative=alternative, null=null, distribution=distribution
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Equivalence:
    """Two one-sided tests: above the lower margin, below the upper one; equivalent where both reject."""

    above_lower: Estimates
    below_upper: Estimates

    @property
    def p_value(self) -> Float:
        """The larger of the two p-values (intersection-union)."""
        return np.maximum(self.above_lower.p_value, self.below_upper.p_value)


def equivalence(
    control: Sample, treatment: Sample, *, lower: ArrayLike, upper: ArrayLike, alpha: ArrayLike = 0.05
) -> Equivalence:
    """Whether the effect lies within (lower, upper), both absolute. Schuirmann (1987), TOST, with Welch."""
    return Equivalence(
        above_lower=effect(control, treatment, alpha=alpha, alternative=Alternative.GREATER, null=lower),
        below_upper=effect(control, treatment, alpha=alpha, alternative=Alternative.LESS, null=upper),
    )


def _pair_reason(control: Sample, treatment: Sample) -> Codes:
    return first_code(control.reason, treatment.reason)


def _welch_df(a: Float, a_df: Float, b: Float, b_df: Float, distribution: Distribution) -> Float:
    """Satterthwaite's degrees of freedom of a sum of two squared errors; inf for the normal."""
    if distribution is Distribution.NORMAL:
        return np.full(np.broadcast_shapes(a.shape, b.shape), np.inf)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.square(a + b) / (np.square(a) / a_df + np.square(b) / b_df)


def from_standard_error(
    method: str,
    estimate: Float,
    error: Float,
    *,
    df: ArrayLike = np.inf,
    reason: Codes | None = None,
    alpha: ArrayLike = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    null: ArrayLike = 0.0,
) -> Estimates:
    """Test and dual interval of any estimate with a standard error and a t (or normal: df = inf) reference.

    A standard error of zero is a reason (`zero_variance`), never an infinite statistic.
    """
    own = first_reason((~(np.asarray(error, float) > 0), Reason.ZERO_VARIANCE))
    codes = own if reason is None else first_code(reason, own)
    with np.errstate(invalid="ignore", divide="ignore"):
        statistic = (estimate - np.asarray(null, float)) / error
    half = critical(alpha, df, alternative) * error
    low, high = open_side(estimate - half, estimate + half, alternative)
    p, log_p = p_values(statistic, df, alternative)
    columns: dict[str, ArrayLike] = {
        "estimate": estimate, "standard_error": error, "statistic": statistic, "df": df, "p_value": p,
        "log_p": log_p, "low": low, "high": high, "alpha": alpha,
    }  # fmt: skip
    return estimates(method, alternative, codes, columns)
