"""All numbers of many metrics at many looks: effects, sequences, guards, events, sufficiency.

This is the columnar half of a report; `analysis.judgement.records` and `comparisons` turn single places of
these arrays into frozen results. Strata are reduced per metric (`collect`), everything after that is computed
for all metrics and looks in one call each (`measure`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.evidence import pairs as estimates
from switchpoint.analysis.evidence.moments import Totals
from switchpoint.analysis.evidence.pairs import Guards, Pairs
from switchpoint.analysis.inference import contrast
from switchpoint.analysis.inference.posterior import EffectPosterior
from switchpoint.analysis.judgement import looks as deciding
from switchpoint.analysis.judgement.looks import PlanRead, Series
from switchpoint.analysis.numerics.arrays import joined, rows
from switchpoint.analysis.numerics.estimates import Estimates, Float
from switchpoint.analysis.planning.accrual import Accrual
from switchpoint.analysis.planning.sufficiency import Progress, Sufficiency, sufficiency
from switchpoint.experiment.definition.types import DecisionRule, Design, Metric, Role, Size

UNPLANNED_UNITS = 10_000.0
"""Where the confidence sequence is tightest while the data cannot say how many units are needed yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """Metrics at their looks with the strata reduced, one metric after another, each with `looks` rows.

    `n`, `numerator`, `denominator` (rows, variants) are summed over strata. `pooled`: the naive comparison
    over merged strata at the looks `pooled_at` of each metric.
    """

    metrics: tuple[Metric, ...]
    looks: int
    pairs: Pairs
    n: NDArray[np.int64]
    numerator: Float
    denominator: Float
    pooled: Estimates
    pooled_at: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """All metrics' looks one after another; arrays (looks, variants − 1), and `n`, `numerator`,
    `denominator` (looks, variants) summed over strata.

    `effect` and `lift` are fixed-horizon, `sequence` and `lift_sequence` anytime-valid and tuned at `n_star`
    units. `plain` is the effect without covariates. `method`: the fixed-horizon one. `confirmed`,
    `sequence_confirmed`: p of `effect` and `sequence` with the wider standard error of the gate.
    """

    pairs: Pairs
    effect: Estimates
    lift: Estimates
    sequence: Estimates
    lift_sequence: Estimates
    plain: Estimates
    confirmed: Float
    sequence_confirmed: Float
    n_star: Float
    method: NDArray[np.str_]
    n: NDArray[np.int64]
    numerator: Float
    denominator: Float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One metric: its rows `start` to `end` of the whole.

    `guard` only for guardrails, `sufficiency` only where an effect size is stated for the metric: the rule's
    MDE for primaries, the margin for guardrails; both with the metric's own looks, `pooled` and `posterior`
    with those of `pooled_at`. `headline`: what the rule decides by, `p` its p-values (looks,
    variants − 1; NaN where there is none) and `confirmed` the same with the wider standard error of the gate.
    `plans`: the group sequential plans of all variants, by the look they decide.
    """

    metric: Metric
    whole: Whole
    start: int
    end: int
    guard: Guards | None
    sufficiency: Sufficiency | None
    accrual: Accrual | None
    pooled: Estimates
    pooled_at: Sequence[int]
    posterior: EffectPosterior
    headline: Headline
    p: Float
    confirmed: Float
    plans: Mapping[int, tuple[PlanRead, ...]]


class Headline(StrEnum):
    """What a metric is judged by."""

    INTERVAL = "interval"  # the fixed design
    SEQUENCE = "sequence"  # the confidence sequence
    PLANNED = "planned"  # the looks of a group sequential plan
    POSTERIOR = "posterior"  # a Bayesian rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What measuring needs to know of the rule: `accrual` of every look (looks or 1, variants − 1; None: no
    dates), `window_days`, and `n_star` of every look likewise. Without it, `tuned_at` says for every look the
    one of the primary metric whose needed units become its `n_star`. `once`: the data are a closed file, read
    at one look. `series`: where a group sequential plan finds its looks."""

    rule: DecisionRule
    accrual: Accrual | None
    window_days: float
    once: bool
    series: Series | None
    n_star: Float | None = None
    tuned_at: NDArray[np.int64] | None = None


def headline_of(metric: Metric, rule: DecisionRule) -> Headline:
    """What decides a metric. A plan or a prior decides the primary metric; guardrails and secondary metrics
    are then watched at every look, by the confidence sequence."""
    if rule.design is Design.FIXED:
        return Headline.INTERVAL
    if metric.role is Role.PRIMARY and rule.design is Design.GROUP_SEQUENTIAL:
        return Headline.PLANNED
    if metric.role is Role.PRIMARY and rule.design is Design.BAYESIAN:
        return Headline.POSTERIOR
    return Headline.SEQUENCE


def target_size(metric: Metric, rule: DecisionRule) -> Size | None:
    """The effect this metric has to be able to show; None where nobody asked for one."""
    if metric.role is Role.PRIMARY:
        return rule.mde
    return metric.margin if metric.role is Role.GUARDRAIL else None


def collect(
    metrics: Sequence[Metric],
    batches: Sequence[Sequence[Totals]],
    rule: DecisionRule,
    pooled: tuple[Sequence[int], Sequence[Totals]],
    compared: NDArray[np.bool_] | None = None,
) -> Collected:
    """Reduce the strata of metrics at their looks.

    Args:
        batches: totals (looks, strata, variants) per metric; batches may differ in their strata.
        pooled: the looks to read naively too, and their totals (looks, strata, variants) per metric.
        compared: whether a stratum is evidence for a variant (1 or these looks, strata, variants); None:
            every one is.
    """
    sizes = [len(batch[0].n) for batch in batches]
    stacked = joined([estimates.stacked_pairs(list(zip(metrics, batch, strict=True))) for batch in batches])
    # rows come batch by batch, metrics inside; they are wanted metric by metric
    offsets = accumulate((size * len(metrics) for size in sizes), initial=0)
    parts = [
        start + np.arange(size * len(metrics)).reshape(len(metrics), size)
        for start, size in zip(offsets, sizes, strict=False)
    ]
    order = np.concatenate(parts, axis=1).reshape(-1)
    by_metric = [totals for place in range(len(metrics)) for totals in (batch[place] for batch in batches)]
    sides = [totals.values() for totals in by_metric]
    return Collected(
        metrics=tuple(metrics),
        looks=sum(sizes),
        pairs=rows(stacked, order) if len(batches) > 1 else stacked,
        n=np.concatenate([totals.n.sum(axis=1).astype(np.int64) for totals in by_metric]),
        numerator=np.concatenate([numerator.sum(axis=1) for numerator, _ in sides]),
        denominator=np.concatenate([denominator.sum(axis=1) for _, denominator in sides]),
        pooled=estimates.pooled_effect(pooled[1], rule.alpha, compared),
        pooled_at=pooled[0],
    )


def measure(collected: Collected, plan: Plan, lifts: NDArray[np.bool_] | None = None) -> tuple[Measured, ...]:
    """Every reading of the metrics, estimated together and handed out one by one.

    Args:
        lifts: the looks whose lifts are read (None: all); root finding is spared at the others.
    """
    rule, pairs, looks = plan.rule, collected.pairs, collected.looks
    here = [slice(start, start + looks) for start in range(0, len(collected.n), looks)]
    progress = [rows(pairs.progress, own) for own in here]
    enough = [_sufficiency(m, now, plan) for m, now in zip(collected.metrics, progress, strict=True)]
    tuned = _n_star(collected, enough, plan)
    read = None if lifts is None else np.tile(lifts, len(collected.metrics))
    effect, lift = estimates.fixed_effect(pairs, rule.alpha, read)
    sequence, lift_sequence = estimates.anytime(pairs, tuned, rule.alpha, (effect, lift))
    adjusted = bool(np.isfinite(pairs.reduction).any())
    whole = Whole(
        pairs=pairs, effect=effect, lift=lift, sequence=sequence, lift_sequence=lift_sequence,
        plain=contrast.effect(pairs.plain, alpha=rule.alpha) if adjusted else effect, n_star=tuned,
        confirmed=estimates.confirmed_fixed(pairs, effect),
        sequence_confirmed=estimates.confirmed_anytime(pairs, sequence, tuned, rule.alpha),
        method=estimates.method_names(pairs), n=collected.n, numerator=collected.numerator,
        denominator=collected.denominator,
    )  # fmt: skip
    return tuple(
        _measured(collected, plan, whole, place, own, enough[place]) for place, own in enumerate(here)
    )


def _measured(
    collected: Collected, plan: Plan, whole: Whole, place: int, own: slice, enough: Sufficiency | None
) -> Measured:
    metric, rule, pairs = collected.metrics[place], plan.rule, rows(whole.pairs, own)
    headline, size = headline_of(metric, rule), len(collected.pooled_at)
    posterior = _posterior(metric, pairs, collected.pooled_at, rule)
    plans: Mapping[int, tuple[PlanRead, ...]] = {}
    if headline is Headline.PLANNED and plan.series is not None and enough is not None:
        watched = deciding.watch(pairs, enough, plan.series)
        plans = deciding.plans(whole.pairs, own.start, plan.series, watched, rule)
    found, wide = (whole.effect, whole.confirmed)
    if headline is not Headline.INTERVAL:
        # away from the looks that a plan or a posterior decides, the confidence sequence is read
        found, wide = whole.sequence, whole.sequence_confirmed
    deciders = {look: _planned_p(reads, pairs.events.shape[1]) for look, reads in plans.items()}
    if headline is Headline.POSTERIOR:
        tails = 2 * np.minimum(posterior.better, 1 - posterior.better)
        deciders = dict(zip(collected.pooled_at, tails, strict=True))
    p, confirmed = (np.where(found.reason[own] == 0, column[own], np.nan) for column in (found.p_value, wide))
    for look, decided in deciders.items():  # which have the wider standard error as they are
        p[look] = confirmed[look] = decided
    return Measured(
        metric=metric, whole=whole, start=own.start, end=own.stop, accrual=plan.accrual, sufficiency=enough,
        guard=_guard(metric, pairs, whole.n_star[own], plan) if _guards(metric) else None,
        pooled=rows(collected.pooled, slice(place * size, (place + 1) * size)),
        pooled_at=collected.pooled_at, posterior=posterior, headline=headline, p=p, confirmed=confirmed,
        plans=plans,
    )  # fmt: skip


def _planned_p(reads: Sequence[PlanRead], size: int) -> Float:
    """The repeated p of every variant at the look that counts, NaN where there is none."""
    p = np.full(size, np.nan)
    for v, one in enumerate(reads):
        if one.effect is not None and int(one.effect.reason[0]) == 0:
            p[v] = float(one.effect.p_value[0])
    return p


def _n_star(collected: Collected, enough: Sequence[Sufficiency | None], plan: Plan) -> Float:
    """Units the sequences are tuned for, at every row of the whole."""
    shape = (collected.looks, collected.pairs.control.n.shape[1])
    planned = [np.full(shape, UNPLANNED_UNITS) if own is None else n_star(own) for own in enough]
    given = plan.n_star
    if given is None and plan.tuned_at is not None:
        primary = next(i for i, metric in enumerate(collected.metrics) if metric.role is Role.PRIMARY)
        given = planned[primary][plan.tuned_at]
    if given is None:
        raise ValueError("a plan says what its sequences are tuned for")
    return np.tile(np.broadcast_to(given, shape), (len(collected.metrics), 1))


def n_star(enough: Sufficiency) -> Float:
    """Where the confidence sequences of all metrics are tightest: the units of both variants the rule needs,
    where the data can say so."""
    known = (enough.reason == 0) & np.isfinite(enough.n_needed)
    return np.where(known, enough.n_needed, UNPLANNED_UNITS)


def _guards(metric: Metric) -> bool:
    return metric.role is Role.GUARDRAIL and metric.margin is not None


def _guard(metric: Metric, pairs: Pairs, n_star: Float, plan: Plan) -> Guards | None:
    if metric.margin is None:
        return None
    once = plan.once and plan.rule.design is Design.FIXED
    return estimates.guards(pairs, metric, metric.margin, n_star, plan.rule.alpha, once=once)


def _posterior(metric: Metric, pairs: Pairs, at: Sequence[int], rule: DecisionRule) -> EffectPosterior:
    """Lifts after the rule's prior, at the overall looks; exact where a Bayesian rule decides by them."""
    here = rows(pairs, np.array(at, dtype=np.int64))
    exact = headline_of(metric, rule) is Headline.POSTERIOR
    return (deciding.judged if exact else deciding.believed)(here, metric, rule.belief, rule.alpha)


def _sufficiency(metric: Metric, now: Progress, plan: Plan) -> Sufficiency | None:
    size = target_size(metric, plan.rule)
    if size is None or size.value == 0:
        return None
    watched = metric.role is Role.GUARDRAIL and not (plan.once and plan.rule.design is Design.FIXED)
    rule = replace(plan.rule, design=Design.SEQUENTIAL) if watched else plan.rule
    assumed = metric.direction if metric.role is Role.PRIMARY else None
    return sufficiency(
        now, rule, accrual=plan.accrual, window_days=plan.window_days, mde=size, assumed=assumed
    )
