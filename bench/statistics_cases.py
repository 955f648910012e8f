"""Inputs of `bench.statistics`: a live experiment's moments, and frames with a row per unit.

    state, moments, at = large_experiment()

Seeded, so that every run and every peer reads the same numbers.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from switchpoint.experiment.definition.state import ExperimentState
from switchpoint.experiment.definition.types import DAY_MS, Experiment, Metric, MetricType
from switchpoint.experiment.language import experiment as parsing
from switchpoint.experiment.ledger.moments import Cell, CellKey, Moments, Sums
from switchpoint.experiment.registry import lifecycle

START = 20_500 * DAY_MS
METRICS, VARIANTS, SEGMENTS, DAYS = 10, 5, 20, 60
UNITS_PER_CELL = 400


def large_definition(
    metrics: int = METRICS, variants: int = VARIANTS, segments: int = SEGMENTS
) -> Experiment:
    """Ratios, proportions and means in turn, the first the primary, the last two guardrails."""
    kinds = (
        "type: ratio, numerator: click{0}, denominator: impression",
        "type: proportion, event: buy{0}",
        "type: mean, event: buy{0}, value: amount, decimals: 2",
    )
    roles = ["primary", *["secondary"] * (metrics - 3), *["guardrail, margin: 5%"] * 2]
    countries = [f"s{number:02}" for number in range(segments)]
    lines = [
        "key: large", "hypothesis: One of four models is better.", "owner: bench", "unit: user_id",
        "model: ranker", "variants:",
        *(f"  - {{key: v{v}, model: ranker@{v + 1}}}" for v in range(variants)),
        "segments:",
        *(
            f"  - {{key: {c}, when: {{country: {c.upper()}}}, traffic: 100%, allocation: equal}}"
            for c in countries
        ),
        "metrics:",
        *(
            f"  - {{key: m{m}, {kinds[m % 3].format(m)}, role: {roles[m]}}}" for m in range(metrics)
        ),
        "window: 1d",
        "decision: {design: sequential, mde: 2%, min_runtime: 14d, max_runtime: 90d, evidence: randomised}",
    ]  # fmt: skip
    return parsing.load("\n".join(lines) + "\n")


def large_experiment(days: int = DAYS) -> tuple[ExperimentState, Moments, int]:
    """The state, the moments and the instant of a look after all days have matured.

    Every variant × segment × exposure day holds about `UNITS_PER_CELL` units.
    """
    definition = large_definition()
    draft = lifecycle.create(definition, ordinal=1, at=START, actor="bench")
    digests = {variant.key: f"sha256:{variant.key}" for variant in definition.variants}
    state = lifecycle.start(draft, digests=digests, at=START, actor="bench")
    rng = np.random.default_rng(20_261_121)
    places = product(definition.segments, definition.variants, range(days))
    moments = {}
    for segment, variant, day in places:
        n = int(rng.poisson(UNITS_PER_CELL))
        key = CellKey(
            experiment=definition.key,
            epoch=1,
            segment=segment.key,
            variant=variant.key,
            day=START // DAY_MS + day,
        )
        sums = tuple(_sums(metric, n, rng) for metric in definition.metrics)
        moments[key] = Cell(n=n, exposures=n, fallbacks=0, mismatches=0, carried=0, metrics=sums)
    return state, moments, START + (days + 2) * DAY_MS


def _sums(metric: Metric, n: int, rng: np.random.Generator) -> Sums:
    """The sums over n simulated units."""
    if metric.type is MetricType.PROPORTION:
        x = int(rng.binomial(n, 0.08))
        return Sums(x=x, xx=x)
    if metric.type is MetricType.MEAN:
        amounts = np.where(rng.random(n) < 0.08, rng.lognormal(8, 1, n), 0.0).astype(np.int64)
        return Sums(x=int(amounts.sum()), xx=int((amounts**2).sum()))
    shown = rng.poisson(6, n) + 1
    clicked = rng.binomial(shown, 0.1)
    return Sums(
        x=int(clicked.sum()), xx=int((clicked**2).sum()), y=int(shown.sum()), yy=int((shown**2).sum()),
        xy=int((clicked * shown).sum()),
    )  # fmt: skip
