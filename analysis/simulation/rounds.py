"""What the rule would have said of re-randomised rounds: totals by exposure day, and every test on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.evidence import pairs as estimates
from switchpoint.analysis.evidence.moments import Covariates, Exact, Integers, add_into
from switchpoint.analysis.evidence.pairs import Pairs
from switchpoint.analysis.inference import contrast
from switchpoint.analysis.inference.multiplicity import Correction, adjust
from switchpoint.analysis.judgement import verdicts
from switchpoint.analysis.judgement.measure import n_star
from switchpoint.analysis.judgement.rule import Mask
from switchpoint.analysis.judgement.verdicts import Verdicts
from switchpoint.analysis.numerics.arrays import rows
from switchpoint.analysis.numerics.estimates import Estimates, Float
from switchpoint.analysis.planning.cost import PLANNING_LOOKS
from switchpoint.analysis.results.thresholds import Thresholds
from switchpoint.analysis.simulation.randomise import Places
from switchpoint.analysis.simulation.units import Column, UnitLog
from switchpoint.analysis.validity import sample_ratio
from switchpoint.experiment.definition.types import DecisionRule, Metric, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRounds:
    """One metric; booleans per round.

    `passes`: enough events in the smaller variant at some look. `fixed`, `sequential`: the design's headline
    test calls a difference at the last look; `sequential_daily`, `fixed_daily`: at any look. `..._covers`:
    the interval at the last look, or the confidence sequence at all looks, holds the true zero (whether or
    not the gate passes); `..._known`: there are such intervals. `safe`, `harmed`: of a guardrail, at the last
    look and at any look.
    """

    passes: Mask
    fixed: Mask
    sequential: Mask
    sequential_daily: Mask
    fixed_daily: Mask
    effect_known: Mask
    effect_covers: Mask
    lift_known: Mask
    lift_covers: Mask
    sequence_known: Mask
    sequence_covers: Mask
    safe: Mask
    harmed: Mask


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """Some rounds: every metric, the sample-ratio alarm, and the rule's verdict."""

    metrics: tuple[MetricRounds, ...]
    alarm: Mask
    verdicts: Verdicts


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The looks of every round: place of each unit's look, and the exposure days read at each look."""

    look: Places
    days: NDArray[np.int64]


def schedule(log: UnitLog) -> Schedule:
    """A look after every exposure day that brought units; of many days every second, third ... one."""
    first = int(log.day.min())
    days, place = np.unique(log.day, return_inverse=True)
    step = -(-len(days) // PLANNING_LOOKS)
    # counted from the end, so that the last look holds every unit
    look = (len(days) - 1) // step - (len(days) - 1 - place) // step
    ends = np.zeros(int(look.max()) + 1, dtype=np.int64)
    np.maximum.at(ends, look, log.day - first + 1)
    return Schedule(look=look, days=ends)


def read(log: UnitLog, plan: Schedule, variant: Places, limits: Thresholds) -> Rounds:
    """Judge rounds in which unit u of round r was given `variant[r, u]`."""
    rounds = len(variant)
    shape = (rounds, len(plan.days), len(log.strata), len(log.definition.variants))
    lead = (np.arange(rounds)[:, None] * shape[1] + plan.look) * shape[2] + log.stratum
    place = (lead * shape[3] + variant).ravel()
    n = _sums(np.ones(len(log), dtype=np.int64), place, shape)
    totals = [
        _totals(metric, column, n, place, shape)
        for metric, column in zip(log.definition.metrics, log.columns, strict=True)
    ]
    return _judge(log, plan, n, totals, limits)


def _sums(values: Integers, place: Places, shape: tuple[int, ...]) -> Integers:
    """Exact sums over the units of every round, cumulative over the looks."""
    return np.asarray(add_into(np.tile(values, shape[0]), place, shape).cumsum(axis=1))


def _totals(metric: Metric, column: Column, n: Integers, place: Places, shape: tuple[int, ...]) -> Exact:
    def summed(values: Integers) -> Integers:
        return _sums(values, place, shape)

    x, zero = column.x, np.zeros_like(n)
    before = _covariates(metric, column, summed)
    if column.y is None:
        own = summed(x)
        squares = own if bool(((x == 0) | (x == 1)).all()) else summed(_product(x, x))
        return Exact(metric=metric, n=n, x=own, xx=squares, y=zero, yy=zero, xy=zero, covariates=before)
    y = column.y
    return Exact(
        metric=metric, n=n, x=summed(x), xx=summed(_product(x, x)), y=summed(y), yy=summed(_product(y, y)),
        xy=summed(_product(x, y)), covariates=before,
    )  # fmt: skip


def _covariates(metric: Metric, column: Column, summed: Callable[[Integers], Integers]) -> Covariates | None:
    z, sides = column.before, (column.x,) if column.y is None else (column.x, column.y)
    if metric.covariate is None:
        return None
    return Covariates(
        z=tuple(map(summed, z)),
        zz=tuple(summed(_product(a, b)) for i, a in enumerate(z) for b in z[i:]),
        xz=tuple(summed(_product(side, a)) for side in sides for a in z),
        units=(10**metric.covariate.decimals,) * len(z),
    )


def _product(a: Integers, b: Integers) -> Integers:
    """Element-wise; as Python integers where int64 might overflow."""
    largest = max((abs(int(v)) for part in (a, b) for v in (part.max(), part.min())), default=0)
    return np.asarray(a * b if largest < 2**31 else a.astype(object) * b.astype(object))


def _judge(log: UnitLog, plan: Schedule, n: Integers, totals: list[Exact], limits: Thresholds) -> Rounds:
    rule, metrics, rounds = log.definition.decision, log.definition.metrics, len(n)
    flat = [verdicts.flat(part) for part in totals]
    pairs = [estimates.pairs(metric, part) for metric, part in zip(metrics, flat, strict=True)]
    first = metrics.index(log.definition.primary)
    enough = verdicts.units_needed(metrics[first], pairs[first], rule)
    tuned = n_star(enough)
    found = tuple(_metric(metric, p, rule, tuned, rounds) for metric, p in zip(metrics, pairs, strict=True))
    days = np.broadcast_to(plan.days, (rounds, len(plan.days)))
    reading = verdicts.reading(metrics[first], pairs[first], enough, rule, days)
    judged = verdicts.judged(metrics[first], pairs[first], reading, enough, rule, rounds)
    guards = [
        verdicts.guarded(metric, p, tuned, rule, rounds)
        for metric, p in zip(metrics, pairs, strict=True)
        if metric.role is Role.GUARDRAIL
    ]
    return Rounds(
        metrics=found,
        alarm=alarm(log, n[:, -1], limits),
        verdicts=verdicts.decide(judged, guards, rule, plan.days, limits),
    )


def alarm(log: UnitLog, n: Integers, limits: Thresholds) -> Mask:
    """Where the sample ratio would invalidate: overall, or a stratum under the shared threshold."""
    weights = np.array([segment.allocation for segment in log.segments], dtype=np.float64)
    held = n.sum(axis=-1) > 0
    tests = sample_ratio.sample_ratio(n, weights)
    shared = limits.srm_invalid / np.maximum(held.sum(axis=-1, keepdims=True), 1)
    strata = np.nan_to_num(tests.p_value, nan=1.0) < shared
    return np.asarray(sample_ratio.combine(tests).broken(limits.srm_invalid) | strata.any(axis=-1))


def _metric(metric: Metric, pairs: Pairs, rule: DecisionRule, tuned: Float, rounds: int) -> MetricRounds:
    gate = pairs.enough
    sequence, lift_sequence = estimates.anytime(pairs, tuned, rule.alpha)
    watched = estimates.confirmed_anytime(pairs, sequence, tuned, rule.alpha)
    daily = contrast.effect(estimates.widened(pairs), alpha=rule.alpha)
    looks = len(gate) // rounds
    ends = np.arange(1, rounds + 1) * looks - 1
    last = rows(pairs, ends)
    effect, lift = estimates.fixed_effect(last, rule.alpha)
    once = estimates.confirmed_fixed(last, effect)

    def by_run(part: Mask) -> Mask:
        return part.reshape(rounds, looks, -1)

    called = by_run(_called(sequence, watched, gate, rule.alpha))
    safe: Mask = np.zeros(rounds, dtype=bool)
    harmed: Mask = safe
    if metric.role is Role.GUARDRAIL:
        guard = verdicts.guarded(metric, pairs, tuned, rule, rounds)
        safe = np.asarray(guard.safe[:, -1].all(axis=-1))
        harmed = np.asarray(guard.harmed.any(axis=(1, 2)))
    columns = {
        "passes": by_run(gate).any(axis=(1, 2)),
        "fixed": _called(effect, once, gate[ends], rule.alpha).any(axis=-1),
        "sequential": called[:, -1].any(axis=-1),
        "sequential_daily": called.any(axis=(1, 2)),
        "fixed_daily": by_run(_called(daily, daily.p_value, gate, rule.alpha)).any(axis=(1, 2)),
        "effect_known": (effect.reason == 0).all(axis=-1),
        "effect_covers": _covers(effect).all(axis=-1),
        "lift_known": (lift.reason == 0).all(axis=-1),
        "lift_covers": _covers(lift).all(axis=-1),
        "sequence_known": by_run(sequence.reason == 0).any(axis=(1, 2)),
        "sequence_covers": by_run(_covers(sequence) & _covers(lift_sequence)).all(axis=(1, 2)),
        "safe": safe,
        "harmed": harmed,
    }
    return MetricRounds(**{name: np.asarray(column) for name, column in columns.items()})


def _called(found: Estimates, p: Float, gate: Mask, alpha: float) -> Mask:
    """Comparisons called different by these p, after Holm over the variants: alpha is the level of any of
    them."""
    corrected = adjust(np.where(found.reason == 0, p, 1.0), Correction.HOLM)
    return np.asarray((corrected < alpha) & gate)


def _covers(found: Estimates) -> Mask:
    """Where an interval holds zero; one that does not exist excludes nothing."""
    return np.asarray((found.reason != 0) | ((found.low <= 0) & (found.high >= 0)))
