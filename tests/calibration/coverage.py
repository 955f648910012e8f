"""Coverage of absolute and relative intervals at lifts of 0, 5 % and 30 %, and power of the designs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from switchpoint.analysis.inference import contrast, group_sequential, proportion
from switchpoint.analysis.inference.group_sequential import Looks
from switchpoint.analysis.inference.spending import spending_bounds
from switchpoint.analysis.numerics.estimates import Alternative, Estimates
from switchpoint.analysis.planning.cost import PLANNING_LOOKS, looks_cost, sequential_cost
from switchpoint.analysis.planning.power import units_for_proportions
from tests.calibration import streams
from tests.calibration.errors import ALPHA, score_statistic
from tests.calibration.streams import Stream, Traffic

LIFTS = (0.0, 0.05, 0.30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Share of the runs whose interval holds the truth. `least`: nominal minus three Monte Carlo errors."""

    metric: str
    method: str
    lift: float
    absolute: float
    relative: float
    runs: int

    @property
    def least(self) -> float:
        """The lowest share that chance explains."""
        return 1 - ALPHA - 3 * float(np.sqrt(ALPHA * (1 - ALPHA) / self.runs))

    @property
    def holds(self) -> bool:
        """Neither interval covers less than it claims."""
        return min(self.absolute, self.relative) >= self.least


def coverages(rng: np.random.Generator) -> list[Coverage]:
    """Three metrics × three lifts × the methods of the product."""
    control_users = streams.heavy_users(rng)
    found = []
    for lift in LIFTS:
        users = control_users if lift == 0 else streams.heavy_users(rng, lift=lift)
        base = streams.click_rate(control_users)
        made: list[tuple[str, Stream, float, float]] = [
            (
                "conversion 5.0%",
                streams.conversions(Traffic(units=40_000, share=0.5, runs=4000, looks=1), rng, rate=0.05, lift=lift),
                0.05, 0.05 * (1 + lift),
            ),
            (
                "clicks per impression, heavy users",
                streams.clicks(
                    Traffic(units=40_000, share=0.5, runs=1500, looks=1), rng,
                    populations=(control_users, users),
                ),
                base, streams.click_rate(users),
            ),
            (
                "revenue, 3 % payers, capped",
                streams.revenue(Traffic(units=200_000, share=0.5, runs=2000, looks=1), rng, lift=lift),
                streams.capped_mean(), streams.capped_mean(lift),
            ),
        ]  # fmt: skip
        for metric, stream, control, treatment in made:
            found += [
                _coverage(metric, method, lift, pair, treatment - control, treatment / control - 1)
                for method, pair in _intervals(stream).items()
            ]
    return found


def _intervals(stream: Stream) -> dict[str, tuple[Estimates, Estimates]]:
    """Absolute and relative intervals of every method at the last look."""
    control, treatment = (side[:, -1] for side in stream.sample)
    planned_units = float(stream.n[:, -1].sum(axis=-1).mean())
    looks = Looks(times=(0.25, 0.5, 0.75, 1.0))
    methods = {
        "Welch, Fieller": (
            contrast.effect(contrast.from_samples(control, treatment)),
            contrast.lift(contrast.from_samples(control, treatment)),
        ),
        "group sequential, 4th of 4 looks": (
            group_sequential.effect(contrast.from_samples(control, treatment), looks),
            group_sequential.lift(contrast.from_samples(control, treatment), looks),
        ),
        "confidence sequence": (
            contrast.sequence(contrast.from_samples(control, treatment), n_star=planned_units),
            contrast.lift_sequence(contrast.from_samples(control, treatment), n_star=planned_units),
        ),
    }
    if stream.counts is None:
        return methods
    x, n = (column[:, -1] for column in stream.counts)
    counts = x[:, 0], n[:, 0], x[:, 1], n[:, 1]
    return {
        "score": (proportion.score_difference(*counts), proportion.score_lift(*counts)),
        **methods,
    }


def _coverage(
    metric: str, method: str, lift: float, pair: tuple[Estimates, Estimates], absolute: float, relative: float
) -> Coverage:
    shares = [
        float(((one.low <= truth) & (truth <= one.high)).mean())
        for one, truth in zip(pair, (absolute, relative), strict=True)
    ]
    runs = int(pair[0].estimate.size)
    return Coverage(
        metric=metric, method=method, lift=lift, absolute=shares[0], relative=shares[1], runs=runs
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """A design planned for 80 % power, run with exactly the planned lift.

    `maximum`, `expected`, `expected_null`: units over those of the fixed design (maximum of the plan, mean
    measured with and without the effect). `found`: share of runs that find the effect.
    """

    design: str
    maximum: float
    expected: float
    expected_null: float
    found: float
    false: float
    runs: int


def powers(rng: np.random.Generator, *, runs: int = 4000, looks: int = PLANNING_LOOKS) -> list[Power]:
    """10 % conversion, lift of 10 %, 28 looks."""
    rate, lift, power = 0.10, 0.10, 0.8
    n_fixed = float(units_for_proportions(rate, rate * (1 + lift), target=power).total)
    maxima = {
        "fixed": 1.0,
        "group sequential": looks_cost(looks, alpha=ALPHA, power=power),
        "sequential": sequential_cost(ALPHA, power, looks=looks),
    }
    found = []
    for design, maximum in maxima.items():
        units = int(np.ceil(n_fixed * maximum))
        outcome = [
            _run(design, Traffic(units=units, share=0.5, runs=runs, looks=looks), rng, rate, effect)
            for effect in (lift, 0.0)
        ]
        found.append(
            Power(
                design=design, maximum=maximum, found=outcome[0][0], false=outcome[1][0],
                expected=outcome[0][1] * units / n_fixed, expected_null=outcome[1][1] * units / n_fixed,
                runs=runs,
            )
        )  # fmt: skip
    return found


def _run(
    design: str, traffic: Traffic, rng: np.random.Generator, rate: float, lift: float
) -> tuple[float, float]:
    """Share of runs that reject (in the effect's direction, if there is one) and mean share of the plan used."""
    stream = streams.conversions(traffic, rng, rate=rate, lift=lift)
    times = np.arange(1, traffic.looks + 1) / traffic.looks
    assert stream.counts is not None
    if design == "sequential":
        stops = contrast.sequence(contrast.from_samples(*stream.sample), n_star=traffic.units).significant
    else:
        z = (
            spending_bounds(times, alpha=ALPHA).z if design == "group sequential"
            else np.where(times < 1, np.inf, fixed_bound())
        )  # fmt: skip
        stops = score_statistic(*stream.counts) >= z
    stopped = stops.any(axis=1)
    first = np.where(stopped, np.argmax(stops, axis=1), traffic.looks - 1)
    x, n = (np.take_along_axis(column, first[:, None, None], axis=1)[:, 0] for column in stream.counts)
    right = (x[:, 1] / n[:, 1] > x[:, 0] / n[:, 0]) | (lift == 0)
    return float((stopped & right).mean()), float(times[first].mean())


def fixed_bound() -> float:
    """|Z| the fixed two-sided test asks for."""
    from switchpoint.analysis.numerics.tail import critical

    return float(critical(ALPHA, np.inf, Alternative.TWO_SIDED))
