"""Simulated runs of an experiment, drawn day by day from baseline rates as the totals a report starts from.

Units arrive as a Poisson number per day and segment and are allocated with the segment's weights.
Proportions are exact binomial counts. Means and linearised ratios are normal sums with chi-square variances:
the large-sample behaviour of unit totals, so a heavier tail makes the first days noisier than shown. Metrics
are drawn independently; the baseline is the same in every segment and on every day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.evidence.evidence import Evidence
from switchpoint.analysis.evidence.moments import Centred, Exact, Totals
from switchpoint.analysis.numerics.estimates import Float
from switchpoint.analysis.planning.power import absolute_effect
from switchpoint.experiment.definition.types import Direction, Experiment, Metric, MetricType, Role
from switchpoint.experiment.errors import BadInput

Counts = NDArray[np.int64]


_EXAMPLE = {MetricType.PROPORTION: "4%", MetricType.MEAN: "12:20", MetricType.RATIO: "4%:20%"}
"""How a baseline is typed in: a rate, or a mean and the standard deviation of one unit."""


class Scenario(StrEnum):
    """What is true in the simulated world."""

    NO_EFFECT = "no effect"  # every promotion is false
    MDE = "effect of the MDE"  # the first other variant is better by the MDE, guardrails as in control
    HARM = "a guardrail at its margin"  # the same, and in it the first guardrail is worse by its margin


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """Control's mean per unit of a metric (rate, mean or ratio) and the variance of one unit.

    `variance`: of the linearised value for ratios; None for a proportion, whose rate says it. `events`: of a
    ratio of counts, events per unit, for the gate on the smaller variant; None: at least one of what it is
    divided by in each unit.
    """

    mean: float
    variance: float | None = None
    events: float | None = None

    @property
    def events_per_unit(self) -> float:
        """Events one unit brings."""
        return self.mean if self.events is None else self.events


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is drawn from: units enrolled a day, how they divide over the definition's segments (summing to
    one), and baselines by metric key (the primary metric and every guardrail)."""

    per_day: float
    shares: tuple[float, ...]
    baselines: Mapping[str, Baseline]


def from_history(evidence: Evidence, definition: Experiment) -> World:
    """The world one experiment has lived in so far: control's values, units a day, and how they divide.

    Args:
        evidence: of this experiment, by day.

    Raises:
        BadInput: no day with units is recorded, or control's value of a metric is not known.
    """
    clean = evidence.clean()
    units = evidence.counts(clean)[0, :, :, 0].sum(axis=1)
    days = evidence.by_day(clean).days
    if not evidence.day_width or not len(days) or not units.sum():
        raise BadInput(
            "has no units to learn from", field="history", value=definition.key, fix="type rates in"
        )
    held = {segment.key: 0 for segment in definition.segments}
    for stratum, count in zip(evidence.subjects[0].strata, units.tolist(), strict=False):
        held[stratum.segment] = held.get(stratum.segment, 0) + count
    shares = np.array([held[segment.key] for segment in definition.segments], dtype=np.float64)
    baselines = {
        metric.key: _observed(metric, evidence.totals(place, clean)[0].merged(0)[:1])
        for place, metric in enumerate(evidence.metrics)
        if metric.role in {Role.PRIMARY, Role.GUARDRAIL}
    }
    return World(
        per_day=float(units.sum()) / (int(np.ptp(evidence.running(days))) + evidence.day_width),
        shares=tuple((shares / shares.sum()).tolist()),
        baselines=baselines,
    )


def _observed(metric: Metric, control: Totals) -> Baseline:
    sample = control.sample()
    if not sample.measured[0]:
        raise BadInput("has no value of control yet", field=f"baselines.{metric.key}", fix="type it in")
    if metric.type is MetricType.PROPORTION:
        return Baseline(mean=float(sample.mean[0]))
    events = float(control.values()[0][0] / max(float(control.n[0]), 1.0))
    return Baseline(mean=float(sample.mean[0]), variance=float(sample.variance[0]), events=events)


def weights(definition: Experiment) -> Float:
    """Probability of each variant for an enrolled unit: (segments, variants)."""
    widths = np.array([segment.widths for segment in definition.segments], dtype=np.float64)
    return np.asarray(widths / np.maximum(widths.sum(axis=1, keepdims=True), 1))


def judged_metrics(definition: Experiment) -> tuple[Metric, ...]:
    """The metrics a verdict reads: the primary one, then the guardrails."""
    return (definition.primary, *(m for m in definition.metrics if m.role is Role.GUARDRAIL))


def check(definition: Experiment, world: World) -> None:
    """Refuse a world the definition cannot be run in.

    Raises:
        BadInput: naming the baseline, pace or share that does not fit, and the fix.
    """
    if not world.per_day > 0:
        raise BadInput(
            "units have to arrive", field="per_day", value=world.per_day, fix="give a number above 0"
        )
    if len(world.shares) != len(definition.segments) or abs(sum(world.shares) - 1) > 1e-6:
        raise BadInput(
            f"one share for each of the {len(definition.segments)} segments, together 1",
            field="shares", value=world.shares, fix="give them in the order of the definition",
        )  # fmt: skip
    for metric in judged_metrics(definition):
        _check_baseline(metric, world.baselines.get(metric.key))


def _check_baseline(metric: Metric, base: Baseline | None) -> None:
    field = f"baselines.{metric.key}"
    if base is None:
        raise BadInput(
            f"control's value of the {metric.role.value} metric {metric.key!r} is missing", field=field,
            fix=f"give it, as `--baseline {metric.key}={_EXAMPLE[metric.type]}`: the verdict reads it",
        )  # fmt: skip
    if metric.type is MetricType.PROPORTION and not 0 < base.mean < 1:
        raise BadInput("is not a rate", field=field, value=base.mean, fix="give one between 0 and 1")
    if metric.type is not MetricType.PROPORTION and not (base.variance is not None and base.variance > 0):
        raise BadInput(
            f"the mean of {metric.key!r} alone does not say how units differ", field=field,
            value=base.variance,
            fix=f"give one unit's standard deviation too: `--baseline {metric.key}={_EXAMPLE[metric.type]}`",
        )  # fmt: skip


def arrivals(
    definition: Experiment, world: World, *, days: int, runs: int, rng: np.random.Generator
) -> Counts:
    """Units enrolled by the end of each day: (runs, days, segments, variants), cumulative."""
    daily = rng.poisson(world.per_day * np.asarray(world.shares), size=(runs, days, len(world.shares)))
    return np.asarray(rng.multinomial(daily, weights(definition)).cumsum(axis=1), dtype=np.int64)


def means(metric: Metric, definition: Experiment, world: World, scenario: Scenario) -> Float:
    """True mean of every variant in the scenario."""
    base = world.baselines[metric.key].mean
    found = np.full(len(definition.variants), base)
    better = 1.0 if metric.direction is Direction.INCREASE else -1.0
    if metric.role is Role.PRIMARY and scenario is not Scenario.NO_EFFECT:
        found[1] += better * float(absolute_effect(definition.decision.mde, abs(base)))
    first = next((m for m in definition.metrics if m.role is Role.GUARDRAIL), None)
    if scenario is Scenario.HARM and metric is first and metric.margin is not None:
        found[1] -= better * float(absolute_effect(metric.margin, abs(base)))
    return found


def totals(metric: Metric, n: Counts, mean: Float, base: Baseline, rng: np.random.Generator) -> Totals:
    """Cumulative totals of a metric over the units `n` (runs, days, segments, variants) that arrived.

    Raises:
        BadInput: a proportion's mean lies outside 0 to 1.
    """
    fresh = np.diff(n, axis=1, prepend=0)
    if metric.type is MetricType.PROPORTION:
        if (mean < 0).any() or (mean > 1).any():
            raise BadInput(
                "leads to a rate outside 0 to 1", field=f"metrics.{metric.key}", value=mean.tolist(),
                fix="choose a smaller effect or margin",
            )  # fmt: skip
        x = rng.binomial(fresh, np.broadcast_to(mean, fresh.shape)).cumsum(axis=1)
        zero = np.zeros_like(x)
        return Exact(metric=metric, n=n, x=x, xx=x, y=zero, yy=zero, xy=zero)
    variance = base.variance or 0.0
    total = rng.normal(fresh * mean, np.sqrt(fresh * variance)).cumsum(axis=1)
    squares = np.where(fresh > 0, rng.chisquare(np.maximum(fresh, 1)), 0.0).cumsum(axis=1)
    units = np.maximum(n, 1)
    return Centred(n=n.astype(np.float64), x=total / units, xx=variance * squares * (units - 1) / units)
