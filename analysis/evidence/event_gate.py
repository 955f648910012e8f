"""When the smaller variant holds enough for its normal approximation: how much is asked, and of what.

Two things are asked, neither of which moves when amounts are shifted or scaled:

1. A floor on what the smaller variant can expect: `NEEDED` events of the rarer outcome where outcomes are
   counted, units where amounts are. Both variants are counted together and shared out by units, so the floor
   does not open with the luck of one.
2. The reading must hold when the variants of a stratum share one variance (`Stratified.widening`), as well as
   with each one's own.

The second is what lets a tail of any weight in. An unbalanced split fails by skewness: the mean and the
variance of the small variant move together, so one that met no large amount has both too low and rejects by
its own bad luck (45 % of tests on a 5 % canary of rare events). Such luck leaves the shared variance, which
the large variant knows, as it was, so its z cannot pass; a small variant that did meet a large amount has an
own variance at least as large, so the other z cannot. Only the variance is asked for, never how heavy the
tail is: no second moment could say. With an even split both z are one and skewness cancels. The measured
error is in docs/calibration.md, why it is so in docs/decisions/0007-gate-without-a-tail.md.

Sources: Student (1908); Welch (1947); the skewness term of a two-sample t: Hall (1992), The Bootstrap and
Edgeworth Expansion, sec. 3.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import numpy as np

from switchpoint.analysis.evidence.moments import (
    Integers,
    Totals,
)
from switchpoint.analysis.numerics.estimates import Float
from switchpoint.experiment.definition.types import Metric, MetricType


class Counted(StrEnum):
    """What the smaller variant needs enough of.

    `OUTCOMES`: units with the rarer outcome of a metric that is 0 or 1. `EVENTS`: events of a ratio of
    counts, or what its denominator has beyond them where those are fewer. `UNITS`: the units themselves, of
    amounts and of numbers per unit.
    """

    OUTCOMES = "outcomes"
    EVENTS = "events"
    UNITS = "units"


NEEDED = {Counted.OUTCOMES: 20, Counted.EVENTS: 20, Counted.UNITS: 10}
"""Of each in the smaller variant. Ten units are the fewest clusters a verdict is read from."""


def counted(metric: Metric) -> Counted:
    """What is counted of a metric; a mean capped at one event of each unit is a proportion."""
    counts = metric.numerator.value is None
    if metric.type is MetricType.PROPORTION or (
        metric.type is MetricType.MEAN and counts and metric.cap == 1
    ):
        return Counted.OUTCOMES
    return Counted.EVENTS if metric.type is MetricType.RATIO and counts else Counted.UNITS


def rarer(units: Float, hits: Float, chances: Float | None) -> Float:
    """Events of the rarer outcome that each variant (last axis) can expect.

    Args:
        units: per variant. hits: events that happened.
        chances: events that could have, of which what is left is the other outcome; None = no such bound.
    """
    happened: Float = hits.sum(axis=-1, keepdims=True)
    if chances is not None:
        happened = np.minimum(happened, chances.sum(axis=-1, keepdims=True) - happened)
    total = units.sum(axis=-1, keepdims=True)
    share: Float = np.divide(units, total, out=np.zeros(units.shape), where=total > 0)
    return share * happened


def expected(metric: Metric, totals: Totals, both: Callable[[Float], Float]) -> Float:
    """What the variants of a pair (last axis) can expect of what the metric counts.

    Args:
        both: a column of the totals summed over the strata of the pair, for control and the other variant.
    """
    n, what = both(totals.n), counted(metric)
    if what is Counted.UNITS:
        return n
    hits, chances = map(both, totals.values())
    rare = rarer(n, hits, chances)
    if what is Counted.OUTCOMES:
        return rare
    part = np.logical_and.reduce([both(a) >= both(b) for a, b in _nested(metric, totals)]).all(axis=-1)
    return np.where(part[..., None], rare, rarer(n, hits, None))


def _nested(metric: Metric, totals: Totals) -> list[tuple[Integers | Float, Integers | Float]]:
    """Sums of which each first is at least the second if every unit's numerator counts a part of what its
    denominator counts: of two outcomes the rarer one is then counted."""
    below = metric.denominator
    if below is None or below.value is not None:
        return [(np.zeros(totals.n.shape), np.ones(totals.n.shape))]
    x, y, xx, xy, yy = totals.raw_moments()
    return [(y, x), (xy, xx), (yy, xy)]
