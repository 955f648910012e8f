"""From totals to estimates: every variant against control, over strata, for any number of looks at once.

The leading axis is free: the experiments of a batch, or the segments and days of one experiment. One
call answers one metric. Fixed-horizon headline by design.md 7: a proportion in one stratum by the score
test and its dual intervals; means, ratios and everything stratified by Welch and Fieller.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.inference import fixed, proportion, sequential
from analysis.inference.result import Alternative, Estimates, Float
from analysis.inference.sample import Sample
from analysis.inference.sequential import EventKind, Gate
from analysis.inference.stratify import Stratified, stratify
from analysis.totals import Centred, Exact, Totals
from experiment.definition import Design, Direction, Metric, MetricType, Size

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Control and every other variant brought to one composition of strata; arrays (looks, variants − 1).

    `sides` is the stratified pair; `totals` the underlying totals (looks, strata, variants); `strata` the
    samples of control and the others per stratum (strata last). `single` marks pairs that one stratum alone
    decides, `weight` the strata weights used (…, strata).
    """

    metric: Metric
    totals: Totals
    strata: tuple[Sample, Sample]
    sides: Stratified
    weight: Float
    single: Mask

    @property
    def control(self) -> Sample:
        """Control, weighted over strata as for the comparison with each variant."""
        return self.sides.control

    @property
    def treatment(self) -> Sample:
        """Each other variant."""
        return self.sides.treatment


def pairs(metric: Metric, totals: Totals) -> Pairs:
    """Stratify the totals (looks, strata, variants) of a metric: control against each other variant.

    A stratum weighs as many units as it holds over all variants, for ratios as much of the denominator.
    """
    sample = totals.sample()
    _, denominator = totals.values()
    others = sample.n.shape[-1] - 1
    by_stratum = _swap(sample)
    control = by_stratum[:, np.zeros(others, dtype=int), :]
    weight = np.broadcast_to(denominator.sum(axis=-1)[:, None, :], control.n.shape)
    treatment = by_stratum[:, 1:, :]
    sides = stratify(control, treatment, weight)
    single = (sides.weight > 0).sum(axis=-1) == 1
    return Pairs(
        metric=metric,
        totals=totals,
        strata=(control, treatment),
        sides=sides,
        weight=sides.weight,
        single=single,
    )


def _swap(sample: Sample) -> Sample:
    """Strata to the last axis."""
    return Sample(**{f.name: np.swapaxes(getattr(sample, f.name), -1, -2) for f in fields(sample)})


def _score_places(given: Pairs) -> Mask:
    """Where the score test is the headline: a counted proportion in one stratum."""
    counted = given.metric.type is MetricType.PROPORTION and isinstance(given.totals, Exact)
    return given.single & counted


def _counts(given: Pairs, where: Mask) -> tuple[Float, Float, Float, Float]:
    """Successes and units of control and treatment in the one stratum used, flat over `where`."""
    numerator, units = given.totals.values()
    used = given.weight > 0

    def one(column: Float, first: bool) -> Float:
        swapped = np.swapaxes(column, -1, -2)
        side = swapped[:, :1, :] if first else swapped[:, 1:, :]
        return np.asarray(np.where(used, side, 0).sum(axis=-1)[where])

    return one(numerator, True), one(units, True), one(numerator, False), one(units, False)


def fixed_effect(given: Pairs, alpha: float) -> tuple[Estimates, Estimates]:
    """Fixed-horizon effect and lift with dual intervals."""
    effect = fixed.effect(given.control, given.treatment, alpha=alpha)
    lift = fixed.lift(given.control, given.treatment, alpha=alpha)
    if (where := _score_places(given)).any():
        counts = _counts(given, where)
        effect = overlay(effect, where, proportion.score_difference(*counts, alpha=alpha))
        lift = overlay(lift, where, proportion.score_lift(*counts, alpha=alpha))
    return effect, lift


def overlay(base: Estimates, where: Mask, better: Estimates) -> Estimates:
    """`base` with the places of `where` replaced by the flat estimates `better`."""

    def put(under: NDArray[Any], over: NDArray[Any]) -> NDArray[Any]:
        column = np.array(under)
        column[where] = over
        return column

    return replace(
        base,
        estimate=put(base.estimate, better.estimate),
        standard_error=put(base.standard_error, better.standard_error),
        statistic=put(base.statistic, better.statistic),
        df=put(base.df, better.df),
        p_value=put(base.p_value, better.p_value),
        log_p=put(base.log_p, better.log_p),
        low=put(base.low, better.low),
        high=put(base.high, better.high),
        reason=put(base.reason, better.reason),
    )


def method_names(given: Pairs) -> NDArray[np.str_]:
    """The fixed-horizon method per pair."""
    return np.where(_score_places(given), "score", "welch")


def anytime(given: Pairs, n_star: Float, alpha: float) -> tuple[Estimates, Estimates]:
    """Confidence sequences of effect and lift at this look, tightest at `n_star` units of both variants."""
    return (
        sequential.effect(given.control, given.treatment, n_star=n_star, alpha=alpha),
        sequential.lift(given.control, given.treatment, n_star=n_star, alpha=alpha),
    )


def pooled_effect(given: Pairs, alpha: float) -> Estimates:
    """The naive effect over merged strata: what a reading without strata would say."""
    merged = given.totals.merged(1).sample()
    others = merged.n.shape[-1] - 1
    return fixed.effect(merged[:, np.zeros(others, dtype=int)], merged[:, 1:], alpha=alpha)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """Non-inferiority of a guardrail per pair; `bound`: the worst loss not excluded, in the margin scale."""

    bound: Float
    safe: Mask
    harmed: Mask


def guards(given: Pairs, margin: Size, n_star: Float, alpha: float, design: Design) -> Guards:
    """Whether each variant is shown to be within the margin, or shown to be beyond it.

    `safe` by the rule's design, one-sided at full alpha (every guardrail must pass, so alpha is not
    split); `harmed` always by the confidence sequence, because a guardrail is watched at every look.
    """
    up = given.metric.direction is Direction.INCREASE
    safe_side, harm_side = (
        (Alternative.GREATER, Alternative.LESS) if up else (Alternative.LESS, Alternative.GREATER)
    )
    null = -margin.value if up else margin.value
    test = sequential.lift if margin.relative else sequential.effect
    if design is Design.FIXED:
        shown = fixed.noninferiority(
            given.control, given.treatment, margin=margin, direction=given.metric.direction, alpha=alpha
        )
    else:
        shown = test(
            given.control, given.treatment, n_star=n_star, alpha=alpha, alternative=safe_side, null=null
        )
    harm = test(given.control, given.treatment, n_star=n_star, alpha=alpha, alternative=harm_side, null=null)
    return Guards(bound=-shown.low if up else shown.high, safe=shown.significant, harmed=harm.significant)


def events(given: Pairs) -> Gate:
    """Events in the smaller variant of each pair (over the strata used), and how many inference needs.

    Counts what is rarer: events or their absence. Amounts need ten times as many as counts.
    """
    metric = given.metric
    kind = EventKind.REVENUE if metric.numerator.value is not None else EventKind.BINARY
    rare = _rarer(given.totals)
    swapped = np.swapaxes(rare, -1, -2)
    used = given.weight > 0
    sides = [np.where(used, side, 0.0).sum(axis=-1) for side in (swapped[:, :1, :], swapped[:, 1:, :])]
    return sequential.small_variant_gate(np.stack(np.broadcast_arrays(*sides), axis=-1), kind=kind)


def _rarer(totals: Totals) -> Float:
    """Effective number of the rarer outcome per entry."""
    if isinstance(totals, Centred):
        return sequential.effective_events(totals.n * totals.x, totals.xx + totals.n * totals.x**2)
    happened = sequential.effective_events(totals.x, totals.xx)
    metric = totals.metric
    if metric.type is MetricType.PROPORTION:
        return np.minimum(happened, np.asarray(totals.n - totals.x, dtype=np.float64))
    below = metric.denominator
    counted = below is not None and below.value is None and metric.numerator.value is None
    if counted and bool((totals.y >= totals.x).all()):
        missed = sequential.effective_events(totals.y - totals.x, totals.yy - 2 * totals.xy + totals.xx)
        return np.minimum(happened, missed)
    return happened
