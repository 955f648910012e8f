"""Is there enough data yet, and when will there be?

Sufficiency compares the information now (one over the squared standard error, from the pooled blinded
variance) with the information at which the design has the wanted power for the MDE. The observed effect is
never used: power computed from it says nothing that the p-value did not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from switchpoint.analysis.inference.sample import Sample
from switchpoint.analysis.numerics.crossing import fixed_drift
from switchpoint.analysis.numerics.estimates import Alternative, Float
from switchpoint.analysis.numerics.reasons import Codes, Reason, first_reason
from switchpoint.analysis.planning.accrual import Accrual
from switchpoint.analysis.planning.power import absolute_effect, design_factor
from switchpoint.experiment.definition.types import DecisionRule, Design, Direction, Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a comparison has collected (matured), blind to which variant is better.

    `n`: units of control and treatment together. `baseline`: their common mean, `treated` the treatment's
    part in it. `error_variance`: squared standard error of the effect now, if both variants had one variance
    per stratum.
    """

    n: Float
    baseline: Float
    treated: Float
    error_variance: Float

    def control(self, size: Size, assumed: Direction | None) -> Float:
        """Control's mean if the effect had this size: a relative MDE refers to control, and under it the
        common mean lies above (or below) control's by `treated` times the MDE. Without this a rule would
        ask for too few units exactly where there is something to find."""
        if assumed is None or not size.relative:
            return self.baseline
        sign = 1.0 if assumed is Direction.INCREASE else -1.0
        return self.baseline / (1 + sign * self.treated * size.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sufficiency:
    """Columnar answer to "is it enough, and when".

    `n_now`, `n_needed`: units of both variants (needed: whole units, at the present split). `fraction`: now
    over needed, in information. `visible_now`, `visible_by_deadline`: smallest effect with the wanted power,
    in the unit of the rule's MDE. `days_left` as (fast, slow): days until enough units have matured.
    `futile`: even the fast projection does not get there by the deadline. `reason`: why nothing can be said.
    `duration_reason`: why no date can be given (`no_accrual`, `out_of_reach`), where days are NaN.
    """

    n_now: Float
    n_needed: Float
    fraction: Float
    sufficient: NDArray[np.bool_]
    visible_now: Float
    visible_by_deadline: Float
    days_left: tuple[Float, Float]
    futile: NDArray[np.bool_]
    reason: Codes
    duration_reason: Codes


def progress(control: Sample, treatment: Sample, weight: ArrayLike | None = None) -> Progress:
    """Blinded progress of a comparison: both variants of a stratum taken as one sample.

    Args:
        control, treatment: samples; with `weight` the last axis is strata, weighted as in `stratify`
            (strata without units of both variants are left out).
    """
    n, between = control.n + treatment.n, treatment.mean - control.mean
    with np.errstate(invalid="ignore", divide="ignore"):
        within = _squares(control) + _squares(treatment) + control.n * treatment.n / n * np.square(between)
        squared = within / (n - 1) * (1 / control.n + 1 / treatment.n)
        mean = (control.n * control.mean + treatment.n * treatment.mean) / n
        part = treatment.n / n
    if weight is None:
        return Progress(n=n, baseline=mean, treated=part, error_variance=squared)
    given = np.broadcast_to(weight, n.shape)
    used = (given > 0) & np.isfinite(squared)
    share = np.where(used, given, 0.0)
    with np.errstate(invalid="ignore"):
        share = share / share.sum(axis=-1, keepdims=True)  # NaN where no stratum is used

    def combined(weights: Float, part: Float) -> Float:
        weighed: Float = (weights * np.where(used, part, 0.0)).sum(axis=-1)
        return weighed

    return Progress(
        n=np.where(used, n, 0.0).sum(axis=-1),
        baseline=combined(share, mean),
        treated=combined(share, part),
        error_variance=combined(np.square(share), squared),
    )


def sufficiency(
    now: Progress,
    rule: DecisionRule,
    *,
    accrual: Accrual | None = None,
    window_days: float = 0.0,
    alpha: float | None = None,
    mde: Size | None = None,
    assumed: Direction | None = None,
) -> Sufficiency:
    """How far a comparison is under its decision rule.

    Args:
        now: matured evidence of the comparison.
        rule: design, alpha, power, MDE and maximum runtime.
        accrual: arrival of this comparison's units (both variants); None = no dates.
        window_days: a unit matures this long after it arrived.
        alpha, mde: replace the rule's (a share of alpha in a family; another metric's effect size).
        assumed: the side on which an effect of the MDE is planned for (`Progress.control`); None where no
            effect is (guardrails).
    """
    size, level = mde or rule.mde, rule.alpha if alpha is None else alpha
    baseline = now.control(size, assumed)
    delta = np.abs(absolute_effect(size, baseline))
    reason = _reason(now, delta)
    with np.errstate(invalid="ignore", divide="ignore"):
        required = np.square(delta / fixed_drift(level, rule.power, Alternative.TWO_SIDED))
        fixed_n = np.where(reason == 0, now.n * now.error_variance / required, np.nan)
        exact = fixed_n * design_factor(rule, alpha=level, lift=np.abs(delta / baseline))
        planned = _stated(rule, exact)
        fraction = now.n / planned
    n_needed = np.ceil(planned - 1e-9 * planned)
    n_later, days, futile, no_date = _dates(now, n_needed, rule, accrual, window_days)
    return Sufficiency(
        n_now=now.n,
        n_needed=n_needed,
        fraction=fraction,
        sufficient=now.n >= n_needed,
        visible_now=size.value * np.sqrt(exact / now.n),
        visible_by_deadline=size.value * np.sqrt(exact / n_later),
        days_left=days,
        futile=futile,
        reason=reason,
        duration_reason=no_date,
    )


def _stated(rule: DecisionRule, needed: Float) -> Float:
    """The units a group sequential plan states, where it states them; else those the MDE needs."""
    if rule.design is not Design.GROUP_SEQUENTIAL or rule.looks.units is None:
        return needed
    return np.where(np.isfinite(needed), float(rule.looks.units), np.nan)


def _squares(sample: Sample) -> Float:
    """Sum of squared deviations of a variant; a single unit has none."""
    return np.where(np.isfinite(sample.variance), (sample.n - 1) * sample.variance, 0.0)


def _reason(now: Progress, delta: Float) -> Codes:
    return first_reason(
        (~np.isfinite(now.error_variance), Reason.TOO_FEW_UNITS),
        (now.error_variance <= 0, Reason.ZERO_VARIANCE),
        (~(delta > 0), Reason.ZERO_CONTROL),
    )


def _dates(
    now: Progress, n_needed: Float, rule: DecisionRule, accrual: Accrual | None, window_days: float
) -> tuple[Float, tuple[Float, Float], NDArray[np.bool_], Codes]:
    """Matured units by the deadline, days left (fast, slow), futility, and why there is no date."""
    unknown = np.full(n_needed.shape, np.nan)
    if accrual is None:
        code = np.full(n_needed.shape, Reason.NO_ACCRUAL.code, dtype=np.uint8)
        return unknown, (unknown, unknown), np.zeros(n_needed.shape, bool), code
    enough = now.n >= n_needed
    left = [np.where(enough, 0.0, day + window_days - accrual.day) for day in accrual.days_until(n_needed)]
    slow_n, fast_n = (
        np.maximum(side, now.n) for side in accrual.units_by(max(rule.max_runtime_days - window_days, 0))
    )
    stalled = (accrual.pace <= 0) & ~enough
    reason = first_reason((stalled, Reason.NO_ACCRUAL), (~np.isfinite(left[1]), Reason.OUT_OF_REACH))
    fast, slow = (np.where(reason == 0, side, np.nan) for side in left)
    return np.where(stalled, now.n, slow_n), (fast, slow), fast_n < n_needed, reason
