"""Simulated experiments: cumulative sums per run, look and variant, without any effect or with a lift."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.evidence.event_gate import NEEDED, Counted, rarer
from switchpoint.analysis.inference.sample import Sample, from_moments
from switchpoint.analysis.inference.strata import stratify

Array = NDArray[np.floating]

PAYERS, LOG_MEAN, LOG_SD = 0.03, 3.0, 1.5
"""Share of payers; mean and standard deviation of the log of what a payer pays."""

CAP = float(np.exp(LOG_MEAN + 2.3263478740408408 * LOG_SD))
"""99th percentile of what payers pay: the cap fixed before the start."""

POOL_UNITS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One metric of many runs; arrays (runs, looks, 2), control first.

    `sample`: per variant. `enough` (runs, looks): the smaller variant holds what the gate asks for; `widening`
    of the standard error by one shared variance. `counts`: successes and units where the score test applies,
    else None.
    """

    n: Array
    sample: tuple[Sample, Sample]
    enough: NDArray[np.bool_]
    widening: Array
    counts: tuple[Array, Array] | None


def _stream(
    n: Array, sample: tuple[Sample, Sample], what: Counted, events: Array, counts: tuple[Array, Array] | None
) -> Stream:
    """A stream with the gate as the product has it; `events` (runs, looks, 2) of what is counted."""
    control, treatment = (side[..., None] for side in sample)
    return Stream(
        n=n, sample=sample, enough=events.min(axis=-1) >= NEEDED[what],
        widening=stratify(control, treatment, n.sum(axis=-1)[..., None]).widening, counts=counts,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Units of both variants over all looks, and treatment's share of them."""

    units: int
    share: float
    runs: int
    looks: int

    def arrivals(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """New units per run, look and variant."""
        mean = np.array([1 - self.share, self.share]) * self.units / self.looks
        return rng.poisson(mean, (self.runs, self.looks, 2))


def _moments(n: Array, x: Array, xx: Array) -> tuple[Sample, Sample]:
    """Samples from cumulative sums; a variant with fewer than two units gets its reason."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(n > 0, x / n, 0.0)
        variance = np.where(n > 1, np.maximum(xx - n * mean**2, 0.0) / (n - 1), 0.0)
    control, treatment = (from_moments(n[..., v], mean[..., v], variance[..., v]) for v in range(2))
    return control, treatment


def conversions(traffic: Traffic, rng: np.random.Generator, *, rate: float, lift: float = 0.0) -> Stream:
    """Units that convert with this rate."""
    new = traffic.arrivals(rng)
    x = rng.binomial(new, rate * np.array([1.0, 1 + lift])).cumsum(axis=1).astype(float)
    n = new.cumsum(axis=1).astype(float)
    return _stream(n, _moments(n, x, x), Counted.OUTCOMES, rarer(n, x, n), (x, n))


def revenue(
    traffic: Traffic, rng: np.random.Generator, *, cap: float | None = CAP, lift: float = 0.0
) -> Stream:
    """3 % of the units pay a log-normal amount (treatment's times 1 + lift), capped per unit."""
    new = traffic.arrivals(rng)
    payers = rng.binomial(new, PAYERS)
    owner = np.repeat(np.arange(payers.size), payers.ravel())
    paid = rng.lognormal(LOG_MEAN, LOG_SD, owner.size) * np.where(owner % 2 == 1, 1 + lift, 1.0)
    paid = paid if cap is None else np.minimum(paid, cap)
    x, xx = (
        np.bincount(owner, weights, payers.size).reshape(payers.shape).cumsum(axis=1)
        for weights in (paid, paid**2)
    )
    n = new.cumsum(axis=1).astype(float)
    return _stream(n, _moments(n, x, xx), Counted.UNITS, n, None)


def capped_mean(lift: float = 0.0) -> float:
    """Mean revenue per unit under the cap (limited expected value of the log-normal)."""
    from scipy import special

    shift, edge = LOG_MEAN + np.log1p(lift), np.log(CAP)
    below = np.exp(shift + LOG_SD**2 / 2) * special.ndtr((edge - shift - LOG_SD**2) / LOG_SD)
    return float(PAYERS * (below + CAP * special.ndtr((shift - edge) / LOG_SD)))


def heavy_users(rng: np.random.Generator, *, lift: float = 0.0) -> Array:
    """A population of users as rows (clicks, impressions, their squares and product), in single precision,
    which holds these whole numbers and halves the time to draw them.

    Impressions are log-normal (sigma 1.5: the busiest 1 % make a sixth of them), every user has a click
    rate of their own around 5 %.
    """
    impressions = np.ceil(rng.lognormal(1.0, 1.5, POOL_UNITS))
    own = np.minimum(rng.beta(2, 38, POOL_UNITS) * (1 + lift), 1.0)
    clicks = rng.binomial(impressions.astype(np.int64), own).astype(float)
    columns = [clicks, impressions, clicks**2, impressions**2, clicks * impressions]
    return np.ascontiguousarray(np.stack(columns, axis=1).astype(np.float32))


def click_rate(population: Array) -> float:
    """Clicks per impression of a population."""
    return float(population[:, 0].sum(dtype=float) / population[:, 1].sum(dtype=float))


def _drawn(population: Array, arrived: NDArray[np.int64], rng: np.random.Generator) -> Array:
    """Sums over users drawn with replacement, one row per look."""
    starts = np.concatenate([[0], arrived.cumsum()])
    # one row more, of zeros, so that empty looks at the end have a place to start
    picked = np.take(population, rng.integers(0, POOL_UNITS, int(starts[-1]) + 1), axis=0)
    picked[-1] = 0
    sums = np.add.reduceat(picked, starts[:-1], axis=0, dtype=np.float64)
    return np.where(arrived[:, None] > 0, sums, 0.0)


def clicks(traffic: Traffic, rng: np.random.Generator, *, populations: tuple[Array, Array]) -> Stream:
    """Users drawn from the populations of control and treatment; the metric is clicks per impression."""
    new = traffic.arrivals(rng)
    sums = np.zeros((*new.shape, 5))
    for run in range(traffic.runs):
        for variant, population in enumerate(populations):
            arrived = new[run, :, variant]
            sums[run, :, variant] = _drawn(population, arrived, rng).cumsum(axis=0)
    n = new.cumsum(axis=1).astype(float)
    x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(y > 0, x / y, 0.0)
        residual = np.maximum(xx - 2 * ratio * xy + ratio**2 * yy, 0.0)
        variance = np.where((n > 1) & (y > 0), residual / (n - 1) * (n / y) ** 2, 0.0)
    sides = tuple(from_moments(n[..., v], ratio[..., v], variance[..., v]) for v in range(2))
    return _stream(n, (sides[0], sides[1]), Counted.EVENTS, rarer(n, x, y), None)
