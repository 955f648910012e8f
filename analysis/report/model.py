"""The frozen report: every number any rendering may show, as one tree of plain values.

Renderings (terminal, Markdown, HTML, charts, JSON) read this tree and compute nothing. Units: shares,
rates and lifts are fractions (0.05 is 5 %), amounts are in the metric's own unit (minor units are already
divided out), days are ISO dates (UTC), instants ISO date-times (UTC). A number that cannot be estimated
is None and a `Missing` beside it says why; no value is ever NaN or infinite.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from analysis.report.header import Header
from analysis.report.plain import fields_of
from experiment.decision import VerdictKind


class Severity(StrEnum):
    """What a check does to the verdict, in rising order of weight."""

    OK = "ok"
    WARN = "warn"  # shown in the verdict, changes nothing
    GATE = "gate"  # holds the verdict at `continue`
    INVALID = "invalid"  # no verdict can be reached


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Why a number is not there: a stable code and a sentence."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A two-sided interval or confidence sequence; None is an unbounded side."""

    lower: float | None
    upper: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One metric in one variant.

    `numerator` and `denominator` are totals over the units (`denominator` is the number of units for means
    and proportions); `value` is the ratio, mean or proportion.
    """

    variant: str
    n: int
    numerator: float
    denominator: float
    value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A variant against control on one metric, in every reading.

    `effect` is absolute (variant minus control, stratified where there are several strata), `interval` and
    `p` are fixed-horizon and dual to each other; `sequence` and `anytime_p` hold at every look at once.
    `lift` is relative to control with its own intervals. `control_value` and `variant_value` are the values
    the effect is a difference of (weighted over strata as the effect is). `n_control` and `n_variant` count
    units. `method` names the fixed-horizon method.
    """

    n_control: int
    n_variant: int
    control_value: float | None
    variant_value: float | None
    effect: float
    standard_error: float
    interval: Interval
    p: float
    sequence: Interval | None
    anytime_p: float | None
    sequence_missing: Missing | None
    lift: float | None
    lift_interval: Interval | None
    lift_sequence: Interval | None
    lift_missing: Missing | None
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """The naive reading that ignores strata, shown beside the stratified one.

    `simpson` is True when its sign contradicts the stratified effect. `between` = effect − stratified effect:
    the part that comes from unequal mixes of strata (None without a stratified effect).
    """

    effect: float
    interval: Interval
    p: float
    between: float | None
    simpson: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Non-inferiority of a guardrail. `margin` is absolute, in the metric's unit, and positive.

    `loss` is the effect turned so that positive is worse. `safe`: the bound of the running design on the
    loss lies within the margin. `harmed`: the confidence sequence on the loss lies beyond the margin.
    """

    margin: float
    margin_relative: float | None
    loss: float
    loss_bound: float | None
    safe: bool
    harmed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DayPoint:
    """The cumulative comparison after one exposure day; None where it could not be estimated yet.

    `n_*` and `*_value` are cumulative; `n_control_day`, `n_variant_day` are of the day alone.
    """

    day: str
    n_control_day: int
    n_variant_day: int
    n_control: int
    n_variant: int
    control_value: float | None
    variant_value: float | None
    effect: float | None
    sequence: Interval | None
    interval: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentReading:
    """One segment's own effect: descriptive, never a promotion by itself."""

    segment: str
    control: Value
    value: Value
    estimate: Estimate | None
    missing: Missing | None
    finding: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sufficiency:
    """Is there enough data for this comparison under the running design?

    `n_now` and `n_needed` count units of both variants; `n_needed` is what the design needs for `mde_target`
    (absolute) at the rule's alpha and power. `share` is n_now / n_needed. `days_left` and `weeks_left` (whole
    weeks, 0 when enough) are the fast projection of arrivals, `weeks_left_slow` the slow one.
    `within_deadline`: n_needed is reached by max_runtime on the fast projection. `mde_now` is the smallest
    effect (absolute) the data so far could show, `mde_now_relative` the same relative to control,
    `mde_by_deadline_relative` what max_runtime will allow.
    """

    n_now: int
    n_needed: int | None
    share: float | None
    enough: bool
    units_per_day: float | None
    days_left: int | None
    weeks_left: int | None
    weeks_left_slow: int | None
    within_deadline: bool | None
    mde_target: float | None
    mde_now: float | None
    mde_now_relative: float | None
    mde_by_deadline_relative: float | None
    message: str
    missing: Missing | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One variant against control on one metric. Exactly one of `estimate` and `missing` is None.

    `headline` is "sequence" or "interval": the reading that the rule's design decides by. `significant` and
    `better` are of that headline (`better` None: no direction established). `adjusted_p` is the headline p
    after Holm over the variants of a primary metric (else the p itself). `events` in the smaller variant and
    `events_needed` are the small-variant gate: below it no result counts.
    """

    variant: str
    control: str
    headline: str
    estimate: Estimate | None
    missing: Missing | None
    significant: bool
    better: bool | None
    adjusted_p: float | None
    events: float | None
    events_needed: float
    pooled: Pooled | None
    guard: Guard | None
    sufficiency: Sufficiency | None
    segments: tuple[SegmentReading, ...]
    daily: tuple[DayPoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricReading:
    """One metric: its value in every variant (control first) and every comparison with control."""

    key: str
    type: str
    role: str
    direction: str
    decimals: int
    values: tuple[Value, ...]
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantCount:
    """Who is in a variant. `share` of the units, exposures served another variant with a cause on record
    (`fallbacks`) and without (`mismatches`), units seen in several variants (`contaminated`, not in `n`),
    units that came back in a later epoch (`carried`)."""

    variant: str
    n: int
    share: float | None
    exposures: int
    fallbacks: int
    fallback_share: float | None
    mismatches: int
    contaminated: int
    carried: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRatio:
    """Observed units against the intended allocation in one stratum, or in `overall` (strata summed)."""

    scope: str
    segment: str | None
    epoch: int | None
    variants: tuple[str, ...]
    observed: tuple[int, ...]
    expected: tuple[float, ...] | None
    statistic: float | None
    df: int | None
    p: float | None
    severity: Severity
    missing: Missing | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Everything measured over one set of exposure days (`matured` days only, or all of them: `live`)."""

    name: str
    first_day: str | None
    last_day: str | None
    days: int
    n: int
    variants: tuple[VariantCount, ...]
    sample_ratio: tuple[SampleRatio, ...]
    metrics: tuple[MetricReading, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One validity check: what it found in a sentence, its numbers, and what it does to the verdict."""

    name: str
    severity: Severity
    message: str
    numbers: Mapping[str, float | int | str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contamination:
    """Units seen in several variants of one epoch: removed from every result; `with_them` is the primary
    metric's comparison per variant when they are left in (under their first variant)."""

    units: int
    share: float
    with_them: tuple[Comparison, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlapRow:
    """How many units of each variant (in the order of the header) a segment holds, and its configured
    weights (None: unknown)."""

    segment: str
    n: tuple[int, ...]
    weights: tuple[float, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One way out of a comparison that is not identified; `n` units and `days` where they can be stated."""

    name: str
    text: str
    n: int | None
    days: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Which segments hold which variants. `aliased` names the variants whose effect is not identified.

    `e_value` is the sensitivity figure of the unadjusted difference (VanderWeele & Ding 2017): how strongly
    an unmeasured cause would have to be tied to both segment and outcome to explain it away.
    """

    variants: tuple[str, ...]
    rows: tuple[OverlapRow, ...]
    aliased: tuple[str, ...]
    sentence: str | None
    e_value: float | None
    ladder: tuple[Rung, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The evidence grade reached and the one the rule asks for."""

    grade: str
    required: str
    sufficient: bool
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The frozen rule applied to the matured reading. `headline` is one line; `reasons` are sentences."""

    kind: VerdictKind
    variant: str | None
    headline: str
    reasons: tuple[str, ...]
    what_would_change: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One look at one experiment.

    `pending` units wait for a refold, `late` events were kept but not summed.
    """

    header: Header
    verdict: Verdict
    matured: Reading
    live: Reading
    checks: tuple[Check, ...]
    contamination: Contamination
    overlap: Overlap
    evidence: Evidence
    pending: int
    late: int
    warnings: tuple[str, ...]
    thresholds: Mapping[str, float | int]

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe document with every number; ValueError on a number that is not finite."""
        return fields_of(self)
