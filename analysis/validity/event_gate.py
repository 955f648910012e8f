"""Events the smaller variant must be able to expect before a normal approximation may speak, by design.

What makes the approximation fail is skewness that an unbalanced split does not cancel: the small variant's
mean and variance move together, and it rejects by its own bad luck. Skewness over √n is at most 1/√E with
E = Σx²/cap², the number of cap-sized totals that the second moment is worth: for a 0/1 outcome exactly its
events, for capped revenue far fewer than its payers. Without a cap there is no such bound; the equal events
that the sum is worth, (Σx)²/Σx², have to be many more, and a canary of heavy-tailed amounts hardly gets
there.

Events are counted over both variants and shared out by units. So the gate is blind to which variant did
well, and does not open or close with the luck of the small variant, which would bring back what it is there
to keep out.

An anytime-valid sequence has slack early and asks for fewer events; fixed and group sequential tests spend
all of alpha and ask for more. The measured error is in docs/calibration.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.inference.result import Float
from analysis.inference.sequential import effective_events
from analysis.unit_table import SIZE
from experiment.definition import TOTAL_BOUND, Metric, MetricType


class Counted(StrEnum):
    """What the events of a metric are.

    `SCORE`: the rarer outcome of a proportion that the score test reads. `BOUNDED`: Σx²/cap² of a capped
    total (`bounded_events`), or the rarer outcome read with its own variance (stratified, adjusted).
    `EFFECTIVE`: (Σx)²/Σx² of counts, or of amounts capped event by event, whose totals have no cap.
    `UNCAPPED`: the same of amounts without any cap. `CLUSTERED`: the same of clusters' totals, which are sums
    over their units and bounded by their number.
    """

    SCORE = "score"
    BOUNDED = "bounded"
    EFFECTIVE = "effective"
    UNCAPPED = "uncapped"
    CLUSTERED = "clustered"


NEEDED_ANYTIME = {
    Counted.SCORE: 20,
    Counted.BOUNDED: 20,
    Counted.EFFECTIVE: 50,
    Counted.UNCAPPED: 200,
    Counted.CLUSTERED: 20,
}
NEEDED_AT_LOOKS = {
    Counted.SCORE: 20,
    Counted.BOUNDED: 50,
    Counted.EFFECTIVE: 500,
    Counted.UNCAPPED: 500,
    Counted.CLUSTERED: 50,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Events the smallest variant can expect now, how many are needed, and whether that is enough."""

    events: Float
    needed: Float
    passes: NDArray[np.bool_]


def counted(metric: Metric) -> Counted:
    """What is counted of a metric; a proportion is `BOUNDED` where the score test does not read it."""
    if metric.type is MetricType.PROPORTION:
        return Counted.SCORE
    # only metrics of clusters keep the cap of a unit's total beside a denominator
    bounded = metric.cap < TOTAL_BOUND
    if metric.type is MetricType.MEAN and bounded:
        return Counted.BOUNDED
    if metric.numerator.value is not None and metric.numerator.cap is None and not bounded:
        return Counted.UNCAPPED
    below = metric.denominator
    return Counted.CLUSTERED if below is not None and below.event == SIZE else Counted.EFFECTIVE


def needed(what: Counted, *, anytime: bool) -> float:
    """Events the smaller variant needs, read by a confidence sequence (`anytime`) or at planned looks."""
    return float((NEEDED_ANYTIME if anytime else NEEDED_AT_LOOKS)[what])


def score_events(units: ArrayLike, successes: ArrayLike) -> Float:
    """Events of the rarer outcome that each variant (last axis) can expect."""
    n, x = np.asarray(units, float), np.asarray(successes, float)
    hits = x.sum(axis=-1)
    return _shared(n, np.minimum(hits, n.sum(axis=-1) - hits))


def bounded_events(units: ArrayLike, sums: ArrayLike, squares: ArrayLike, cap: ArrayLike) -> Float:
    """Cap-sized totals that each variant (last axis) can expect, from Σx and Σx².

    A cap far above what units spend says nothing of their tail; ten of the equal events that the sum is worth
    then count as one, as `UNCAPPED` needs ten times what `BOUNDED` does.
    """
    n, total = np.asarray(units, float), np.asarray(squares, float).sum(axis=-1)
    equal = effective_events(np.asarray(sums, float).sum(axis=-1), total)
    return _shared(n, np.maximum(total / np.square(np.asarray(cap, float)), equal / 10))


def effective_numerator(units: ArrayLike, sums: ArrayLike, squares: ArrayLike) -> Float:
    """Equal events that an uncapped sum (the numerator of a ratio) is worth in each variant (last axis)."""
    total = effective_events(np.asarray(sums, float).sum(axis=-1), np.asarray(squares, float).sum(axis=-1))
    return _shared(np.asarray(units, float), total)


def _shared(units: Float, events: ArrayLike) -> Float:
    """Events of all variants together, shared out by units."""
    total = units.sum(axis=-1, keepdims=True)
    share = np.where(total > 0, units / np.where(total > 0, total, 1.0), 0.0)
    return np.asarray(share * np.asarray(events, float)[..., None], dtype=np.float64)


def event_gate(events: ArrayLike, *, what: Counted, anytime: bool, axis: int = -1) -> Gate:
    """Whether the variant with the fewest events has enough of them.

    Args:
        events: per variant along `axis`, by the function for `what`.
        anytime: read by a confidence sequence; else by a fixed or group sequential test.
    """
    now = np.min(np.asarray(events, float), axis=axis)
    least = needed(what, anytime=anytime)
    return Gate(events=now, needed=np.full_like(now, least), passes=np.asarray(now >= least))
