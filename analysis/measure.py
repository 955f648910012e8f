"""All numbers of one metric for many looks at once: effects, sequences, guards, events, sufficiency.

This is the columnar half of a report; `analysis.report.comparisons` turns single places of these arrays
into frozen results.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis import estimates
from analysis.estimates import Guards, Pairs
from analysis.inference.result import Estimates, Float
from analysis.inference.sequential import Gate
from analysis.planning.accrual import Accrual
from analysis.planning.sufficiency import Sufficiency, progress, sufficiency
from analysis.totals import Totals
from experiment.definition import DecisionRule, Metric, Role, Size

UNPLANNED_UNITS = 10_000.0
"""Where the confidence sequence is tightest while the data cannot say how many units are needed yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One metric at every look; arrays (looks, variants − 1), and `n`, `numerator`, `denominator` (looks,
    variants) summed over strata.

    `n_star`: where the confidence sequence was tuned. `method`: the fixed-horizon one. `guard` only for
    guardrails, `sufficiency` only where an effect size is stated for the metric: the rule's MDE for
    primaries, the margin for guardrails.
    """

    metric: Metric
    pairs: Pairs
    effect: Estimates
    lift: Estimates
    sequence: Estimates
    lift_sequence: Estimates
    pooled: Estimates
    gate: Gate
    guard: Guards | None
    sufficiency: Sufficiency | None
    accrual: Accrual | None
    n_star: Float
    method: NDArray[np.str_]
    n: NDArray[np.int64]
    numerator: Float
    denominator: Float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What measuring needs to know of the rule: `accrual` (None: no dates), `window_days`, and `n_star`
    (None: the units the rule needs for this metric at each look)."""

    rule: DecisionRule
    accrual: Accrual | None = None
    window_days: float = 0.0
    n_star: Float | None = None


def target_size(metric: Metric, rule: DecisionRule) -> Size | None:
    """The effect this metric has to be able to show; None where nobody asked for one."""
    if metric.role is Role.PRIMARY:
        return rule.mde
    return metric.margin if metric.role is Role.GUARDRAIL else None


def measure(metric: Metric, totals: Totals, plan: Plan) -> Measured:
    """Every reading of one metric from totals of shape (looks, strata, variants)."""
    rule, pairs = plan.rule, estimates.pairs(metric, totals)
    enough = _sufficiency(pairs, plan)
    n_star = plan.n_star if plan.n_star is not None else planned_units(enough)
    n_star = np.broadcast_to(n_star, pairs.control.n.shape)
    numerator, denominator = totals.values()
    effect, lift = estimates.fixed_effect(pairs, rule.alpha)
    sequence, lift_sequence = estimates.anytime(pairs, n_star, rule.alpha)
    guard = None
    if metric.role is Role.GUARDRAIL and metric.margin is not None:
        guard = estimates.guards(pairs, metric.margin, n_star, rule.alpha, rule.design)
    return Measured(
        metric=metric, pairs=pairs, effect=effect, lift=lift, sequence=sequence, lift_sequence=lift_sequence,
        pooled=estimates.pooled_effect(pairs, rule.alpha), gate=estimates.events(pairs), guard=guard,
        sufficiency=enough, accrual=plan.accrual, n_star=np.asarray(n_star, dtype=np.float64),
        method=estimates.method_names(pairs), n=totals.n.sum(axis=1).astype(np.int64),
        numerator=numerator.sum(axis=1), denominator=denominator.sum(axis=1),
    )  # fmt: skip


def planned_units(enough: Sufficiency | None) -> ArrayLike:
    """Units of both variants the rule needs, where the data can say so."""
    if enough is None:
        return UNPLANNED_UNITS
    known = (enough.reason == 0) & np.isfinite(enough.n_needed)
    return np.where(known, enough.n_needed, UNPLANNED_UNITS)


def planned(metric: Metric, totals: Totals, plan: Plan) -> Float:
    """`n_star` of every comparison: the units the rule needs for this metric at each look."""
    found = estimates.pairs(metric, totals)
    return np.asarray(np.broadcast_to(planned_units(_sufficiency(found, plan)), found.control.n.shape))


def _sufficiency(pairs: Pairs, plan: Plan) -> Sufficiency | None:
    size = target_size(pairs.metric, plan.rule)
    if size is None or size.value == 0:
        return None
    now = progress(*pairs.strata, weight=pairs.weight)
    return sufficiency(now, plan.rule, accrual=plan.accrual, window_days=plan.window_days, mde=size)
