"""Plans and events for the ledger tests."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import redis

from switchpoint.experiment.definition.types import (
    BUCKETS,
    DAY_MS,
    Covariate,
    DecisionRule,
    Design,
    Experiment,
    Grade,
    Measure,
    Metric,
    MetricType,
    Segment,
    Size,
    Variant,
)
from switchpoint.experiment.ledger.event import Event, Exposure
from switchpoint.experiment.ledger.fold import ExperimentPlan, LedgerPlan, experiment_plan

HOUR = 3_600_000
START = 20_500 * DAY_MS
"""2026-02-16T00:00Z: the first day of the made-up traffic."""
WINDOW = 2 * DAY_MS

METRICS = (
    Metric(key="ctr", type=MetricType.RATIO, numerator=Measure(event="click"),
           denominator=Measure(event="impression"), cap=1000),
    Metric(key="buyers", type=MetricType.PROPORTION, numerator=Measure(event="purchase"), cap=1),
    Metric(key="revenue", type=MetricType.MEAN, numerator=Measure(event="purchase", value="amount"),
           decimals=2, cap=50_000),
    Metric(key="latency", type=MetricType.RATIO, cap=2**40,
           numerator=Measure(event="prediction", value="latency_ms", cap=2000),
           denominator=Measure(event="prediction")),
)  # fmt: skip


ADJUSTED = tuple(
    replace(metric, covariate=covariate)
    for metric, covariate in zip(
        METRICS,
        (
            Covariate(names=("past_clicks", "past_impressions"), decimals=0),
            Covariate(names=("score",), decimals=3),
            Covariate(names=("past_spend",), decimals=2),
            Covariate(names=("past_spend", "past_impressions"), decimals=0),
        ),
        strict=True,
    )
)
"""The same metrics, each with a covariate; two of them read one name in different units."""
COVARIATES = ("past_clicks", "past_impressions", "score", "past_spend")


def a_definition(key: str) -> Experiment:
    """An experiment with two segments, two dimensions and four metrics."""
    segment = Segment(key="us", when={"country": "US"}, traffic=BUCKETS, allocation=(5000, 5000))
    return Experiment(
        key=key, hypothesis="", owner="", unit="user_id", model=None, layer=None,
        variants=(Variant(key="control"), Variant(key="treatment")),
        segments=(segment, replace(segment, key="rest", when=None)),
        dimensions=("device", "returning"), metrics=METRICS, window_ms=WINDOW,
        decision=DecisionRule(
            design=Design.SEQUENTIAL, alpha=0.05, power=0.8, mde=Size(value=0.02, relative=True),
            min_runtime_days=1, max_runtime_days=30, evidence=Grade.RANDOMISED,
        ),
    )  # fmt: skip


def a_plan(key: str, ordinal: int, **changes: Any) -> ExperimentPlan:
    """Its plan in the second epoch."""
    return experiment_plan(replace(a_definition(key), **changes), ordinal=ordinal, epochs=2)


ONE = LedgerPlan((a_plan("home", 1),))
THREE = LedgerPlan((
    a_plan("home", 1),
    a_plan("search", 2, metrics=ADJUSTED[1:3], dimensions=(), window_ms=6 * HOUR),
    a_plan("checkout", 7, metrics=(METRICS[2], *ADJUSTED), dimensions=("device",)),
))  # fmt: skip


def hash_of(client: redis.Redis, key: str) -> dict[Any, bytes]:
    """A hash as it lies in the store: redis-py's types allow for replies of text too."""
    return cast("dict[Any, bytes]", client.hgetall(key))


def log_of(client: redis.Redis, key: str) -> list[tuple[bytes, dict[Any, bytes]]]:
    """The entries of a stream."""
    return cast("list[tuple[bytes, dict[Any, bytes]]]", client.xrange(key))


def exposure(
    name: str, unit: str, at: int, variant: str = "control", experiment: str = "home", **facts: Any
) -> Event:
    base = Exposure(
        experiment=experiment, variant=variant, segment="us", epoch=1, revision=1, propensity=0.5,
        served=variant, dimensions={"device": "ios", "returning": "true"},
    )  # fmt: skip
    return Event(id=name, type="exposure", unit=unit, at=at, exposure=replace(base, **facts))


def outcome(name: str, unit: str, at: int, kind: str = "click", **properties: object) -> Event:
    return Event(id=name, type=kind, unit=unit, at=at, properties=properties)


def purchase(name: str, unit: str, at: int, amount: float) -> Event:
    return outcome(name, unit, at, "purchase", amount=amount)


_NUMBERS = (0, 1, 7, -3, 0.5, 1.5, 2.675, 0.0005, -19.99, 4_000_000, 2**40 / 1000)


def traffic(seed: int, units: int, experiments: Sequence[str] = ("home",), days: int = 3) -> list[Event]:
    """Made-up events in order of time: repeats, refunds, crossed variants, later epochs, window edges."""
    rng = random.Random(seed)
    events = []
    for number in range(units):
        unit = f"u{number}"
        for key in experiments:
            first = START + rng.randrange(days * DAY_MS)
            facts: dict[str, Any] = {"segment": rng.choice(["us", "rest"]),
                     "dimensions": {"device": rng.choice(["ios", "android", "web"])}}  # fmt: skip
            variant = rng.choice(["control", "treatment"])
            for visit in range(rng.choice([1, 1, 1, 2, 3])):
                epoch = 2 if visit and rng.random() < 0.2 else 1
                seen = variant if rng.random() < 0.9 else "control"
                served = seen if rng.random() < 0.9 else "treatment"
                cause = rng.choice([None, "timeout"]) if served != seen else None
                known = rng.sample(COVARIATES, rng.randrange(len(COVARIATES) + 1))
                facts["covariates"] = {name: rng.choice(_NUMBERS) for name in known}
                at = first + visit * rng.randrange(1, DAY_MS)
                events.append(
                    exposure(
                        f"x{key}{visit}",
                        unit,
                        at,
                        seen,
                        key,
                        epoch=epoch,
                        served=served,
                        cause=cause,
                        **facts,
                    )
                )
            edges = [0, WINDOW - 1, WINDOW, -1]
            for visit in range(rng.randrange(5)):
                at = first + (
                    rng.choice(edges) if rng.random() < 0.3 else rng.randrange(-HOUR, WINDOW + HOUR)
                )
                events.append(_outcome(rng, f"o{key}{visit}", unit, at))
    return sorted(events, key=lambda event: (event.at, event.id))


def _outcome(rng: random.Random, name: str, unit: str, at: int) -> Event:
    kind = rng.choice(["click", "impression", "purchase", "prediction", "rating"])
    if kind == "purchase":
        return purchase(name, unit, at, rng.choice([19.99, -19.99, 0.005, 4_000_000, 700]))
    if kind == "prediction":
        return outcome(name, unit, at, kind, latency_ms=rng.choice([3, 12.5, 9999.9]))
    return outcome(name, unit, at, kind)
