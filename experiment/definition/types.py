"""The nouns of an experiment definition, as frozen values.

A definition is what a person wrote (YAML, in git) after strict validation: shares are integers out of
`BUCKETS`, amounts are integers in minor units, durations are integers. `experiment.language.experiment`
builds these from text; `experiment.registry.lifecycle` adds status, revision and epochs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from typing import Any

from switchpoint.experiment.definition.source import Source

KEY_PATTERN = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""Keys and names of models; they stand in URLs, Redis keys and hash seeds."""

ATTRIBUTE_PATTERN = "[A-Za-z_][A-Za-z0-9_-]{0,63}"
"""An attribute of a unit, or a number its exposures carry; no dots, which are paths in conditions."""

EVENT_PATTERN = "[a-z][a-z0-9_.-]{0,63}"
"""The type of an event, at the events door and in metrics."""

EXPOSURE = "exposure"
"""The type of the event by which a unit is counted; no metric reads it."""

BUCKETS = 10_000
"""Granularity of every share: GrowthBook hash v2 yields 0..9999."""

TOTAL_BOUND = 2**40
"""Largest |unit total| in minor units; its square and the sums of squares then fit two 53-bit limbs."""

DAY_MS = 86_400_000

WEAK_LIFT = 0.3
"""Standard deviation of a weak prior for lifts: hardly any change moves a metric by more (GrowthBook)."""


class MetricType(StrEnum):
    """How a unit's events become numbers."""

    PROPORTION = "proportion"  # 1 if the unit has at least one such event
    MEAN = "mean"  # the unit's capped total (or count) of an event
    RATIO = "ratio"  # sum of unit totals over sum of unit totals, user-level variance


class Role(StrEnum):
    """What a metric is for."""

    PRIMARY = "primary"
    SECONDARY = "secondary"
    GUARDRAIL = "guardrail"


class Direction(StrEnum):
    """Which way is better."""

    INCREASE = "increase"
    DECREASE = "decrease"


class Design(StrEnum):
    """Which inference the decision rule reads."""

    FIXED = "fixed"  # one look, where the planned units have arrived
    SEQUENTIAL = "sequential"  # a confidence sequence, valid at every look
    GROUP_SEQUENTIAL = "group_sequential"  # planned looks that share alpha
    BAYESIAN = "bayesian"  # posterior probability and expected loss


class Spending(StrEnum):
    """Cumulative alpha spent by information fraction u, of a one-sided total a (half of a two-sided one).

    `OBRIEN_FLEMING`: 2·(1 − Φ(z_{a/2}/√u)): almost nothing early, the last bound close to the fixed one
    (default). `POCOCK`: a·ln(1 + (e − 1)·u): nearly the same bound at every look. `POWER`: a·u^gamma (Kim &
    DeMets 1987).
    """

    OBRIEN_FLEMING = "obrien-fleming"
    POCOCK = "pocock"
    POWER = "power"


class Grade(StrEnum):
    """Evidence grade of a comparison, strongest first."""

    RANDOMISED = "randomised"
    CLUSTERED = "clustered"
    QUASI = "quasi"
    DESCRIPTIVE = "descriptive"


@dataclass(frozen=True, slots=True)
class ModelRef:
    """`ranker@2`: one immutable version of a named model."""

    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One treatment; `model` is None for an experiment whose units are assigned elsewhere."""

    key: str
    model: ModelRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A routing condition with its traffic share and allocation, both out of BUCKETS.

    `allocation` is in the order of the experiment's variants and sums to BUCKETS. `when` None matches all.
    """

    key: str
    when: Mapping[str, Any] | None
    traffic: int
    allocation: tuple[int, ...]

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """Each variant's buckets [start, end): starts depend on the allocation only, widths on traffic too.

        So a ramp only widens ranges, and nobody already in moves.
        """
        starts = accumulate(self.allocation, initial=0)
        return tuple(
            (start, start + self.traffic * weight // BUCKETS)
            for start, weight in zip(starts, self.allocation, strict=False)
        )

    @property
    def widths(self) -> tuple[int, ...]:
        """Buckets per variant: the intended weights of enrolled units."""
        return tuple(end - start for start, end in self.ranges)

    @property
    def starved(self) -> tuple[int, ...]:
        """Variants (by index) with a weight but, at this traffic, not one bucket of their own."""
        if self.traffic == 0:
            return ()
        weighted = zip(self.allocation, self.widths, strict=True)
        return tuple(index for index, (weight, width) in enumerate(weighted) if weight and not width)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A slice [start, end) out of BUCKETS of an exclusive traffic partition."""

    key: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What one event contributes: 1, or the number in property `value` clipped to ±`cap` minor units."""

    event: str
    value: str | None = None
    cap: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Covariate:
    """What is known of a unit before its exposure, to take its share of the variance out of the metric.

    `names` of the numbers that exposures carry: one, for ratios one of the numerator and one of the
    denominator. They are kept in units of 10^-`decimals`.
    """

    names: tuple[str, ...]
    decimals: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """An effect size: `2%` is relative to control (value 0.02), a bare number is absolute."""

    value: float
    relative: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric; amounts and caps in minor units of `decimals`.

    `cap` clips the unit's total to ±cap. Defaults: 1 for proportions, else `TOTAL_BOUND` (no clipping in
    practice). For ratios it is always `TOTAL_BOUND`: clipping totals would bias a ratio, so each side's
    `Measure.cap` clips single events instead. `currency` is a label (ISO 4217); one per event value.
    `covariate` None: the effect is read without adjustment.
    """

    key: str
    type: MetricType
    numerator: Measure
    denominator: Measure | None = None
    decimals: int = 0
    cap: int
    currency: str | None = None
    direction: Direction = Direction.INCREASE
    role: Role = Role.SECONDARY
    margin: Size | None = None
    covariate: Covariate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LookPlan:
    """When a group sequential rule looks, and how alpha is spent on the looks.

    The first look is at the first multiple of `every_days` at or after the minimum runtime, the last one on
    the day that brings the planned units, at the latest at the maximum runtime. `units`: planned maximum of
    control and one other variant; None = those the MDE needs, estimated without unblinding. `gamma`: only
    read by `Spending.POWER`.
    """

    every_days: int = 7
    spending: Spending = Spending.OBRIEN_FLEMING
    gamma: float = 2.0
    units: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """What a Bayesian rule starts from, and what it may risk; lifts, as fractions of control.

    `mean`, `sd`: the normal prior of a lift. `loss`: a variant is promoted only if choosing it gives up less
    than this on average; None = not asked.
    """

    mean: float = 0.0
    sd: float = WEAK_LIFT
    loss: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRule:
    """The rule frozen at start. Runtimes in whole days.

    `looks` is read by the design group_sequential, `belief` decides under bayesian; beside the other designs
    the belief only gives the expected loss shown with a verdict.
    """

    design: Design
    alpha: float
    power: float
    mde: Size
    min_runtime_days: int
    max_runtime_days: int
    evidence: Grade
    looks: LookPlan = LookPlan()
    belief: Belief = Belief()


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One validated definition. The first variant is control; the first matching segment routes the unit.

    `model` is what callers ask for; None only with a `source`, whose units were assigned elsewhere.
    """

    key: str
    hypothesis: str
    owner: str
    unit: str
    model: str | None
    layer: Layer | None
    variants: tuple[Variant, ...]
    segments: tuple[Segment, ...]
    dimensions: tuple[str, ...]
    metrics: tuple[Metric, ...]
    window_ms: int
    decision: DecisionRule
    source: Source | None = None

    @property
    def control(self) -> Variant:
        """The reference variant."""
        return self.variants[0]

    @property
    def primary(self) -> Metric:
        """The metric with the role primary (validation guarantees one)."""
        return next(m for m in self.metrics if m.role is Role.PRIMARY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """How to read and judge somebody else's table: the metric and decision language plus its source."""

    metrics: tuple[Metric, ...]
    decision: DecisionRule
    window_ms: int | None
    source: Source

    @property
    def primary(self) -> Metric:
        """The metric with the role primary (validation guarantees one)."""
        return next(m for m in self.metrics if m.role is Role.PRIMARY)
