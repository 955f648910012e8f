"""The numbers of a report: one metric in one variant, and every variant against control.

Part of the report tree of `analysis.results.judgement`, which states the units. A number that cannot be
estimated is None and a `Missing` beside it says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from switchpoint.analysis.numerics.reasons import Reason


class Finding(StrEnum):
    """What is shown of one comparison: the one word that verdict, tables and JSON have for it.

    The last three are of guardrails, which are judged by their margin.
    """

    NO_ESTIMATE = "no estimate"
    FEW_EVENTS = "too few events"
    FEW_UNITS = "too few units"
    FEW_DAYS = "too few days"
    UNDECIDED = "no difference shown"
    BETTER = "better"
    WORSE = "worse"
    SAFE = "safe"
    HARMED = "harmed"
    NOT_SAFE = "not shown to be safe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Why a number is not there: a stable code and a sentence."""

    code: str
    message: str

    @staticmethod
    def of(code: int) -> Missing | None:
        """The reason with this code among those of estimates; None for 0."""
        return _MISSING[code]


_MISSING = (None, *(Missing(code=reason.value, message=reason.sentence) for reason in Reason))


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
    units. `method` names the fixed-horizon method. `log10_p` and `log10_anytime_p` are there only where the
    p itself is too small for a float and reads 0.
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
    log10_p: float | None = None
    log10_anytime_p: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MixRow:
    """What one stratum adds to the difference between the pooled and the stratified effect.

    Shares are of a variant's units (for ratios: of its denominator), `weight` of both together. The
    `contribution` is (share_variant − weight)·(variant_value − M) − (share_control − weight)·(control_value −
    M), M being the overall value; contributions of all strata sum to `Pooled.between`.
    """

    stratum: str
    share_control: float
    share_variant: float
    weight: float
    control_value: float | None
    variant_value: float | None
    effect: float | None
    contribution: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """The naive reading that ignores strata, shown beside the stratified one.

    `simpson` is True when its sign contradicts the stratified effect. `between` = effect − stratified effect:
    the part that comes from unequal mixes of strata (None without a stratified effect). `mix` takes it apart
    by stratum (primary metric only; empty where one stratum decides).
    """

    effect: float
    interval: Interval
    p: float
    between: float | None
    simpson: bool
    mix: tuple[MixRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Non-inferiority of a guardrail. `margin` is absolute, in the metric's unit, and positive.

    `loss` is the effect turned so that positive is worse. `safe`: the bound of the confidence sequence on
    the loss (of the fixed test where a file is read once by that design) lies within the margin. `harmed`:
    the confidence sequence on the loss lies beyond the margin. Both only with enough events.
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
class SegmentReading:
    """One segment's own effect, judged as the rule judges the whole: it describes and never promotes.

    `shrunk` is the effect drawn towards that of all segments by how little the segment knows (random
    effects), with its interval: segments are ranked by it, the most extreme raw effect being mostly luck.
    `adjusted_p` is the headline p after Benjamini-Hochberg over segments × variants. `finding` reads it:
    "better than control", "worse than control", "no difference shown" (with the units needed there), "too
    little data". `sufficiency` is the segment's own, at the strictest level of that family.
    """

    segment: str
    control: Value
    value: Value
    estimate: Estimate | None
    missing: Missing | None
    finding: str
    shrunk: float | None = None
    shrunk_interval: Interval | None = None
    adjusted_p: float | None = None
    sufficiency: Sufficiency | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heterogeneity:
    """Do the segments have one effect? Random-effects summary of their effects (REML, Hartung-Knapp).

    `mean` and `interval`: the effect of a typical segment. `tau`: standard deviation of effects between
    segments. `p`: Cochran's test that all have the same effect (the interaction test). `i2`: share of the
    variation between segments that is not chance.
    """

    segments: int
    mean: float
    interval: Interval
    tau: float
    p: float
    i2: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Unadjusted:
    """The comparison without its covariate, beside the adjusted one.

    `reduction` is the share of the effect's variance that the covariate removed; `flips` says that the signs
    of the two effects differ.
    """

    effect: float
    standard_error: float
    interval: Interval
    p: float
    reduction: float
    flips: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LookTaken:
    """One look of a group sequential plan.

    `day`: exposure days by then (None: not recorded), `date` the last of them. `units` of both variants,
    `share` of the plan (information over that planned), alpha `spent` so far, `bound` that |z| has to pass
    (None: nothing can be rejected here), `passed`: it does.
    """

    day: int | None
    date: str | None
    units: int
    share: float
    spent: float
    bound: float | None
    z: float
    passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The group sequential reading: every look taken, and the one whose reading counts.

    `counted`: its number, from 1 (None before the first look): the first that passed, else the last taken.
    `p` is the repeated p-value and `interval` the repeated interval of that look: p < alpha exactly where the
    interval excludes 0. `effect`, `lift`, `control_value`, `variant_value` are of that look too. `ended`: all
    alpha is spent. `next_day`: exposure day of the next look, unless the planned units arrive before.
    """

    looks: tuple[LookTaken, ...]
    counted: int | None
    ended: bool
    effect: float | None
    interval: Interval | None
    p: float | None
    lift: float | None
    lift_interval: Interval | None
    control_value: float | None
    variant_value: float | None
    next_day: int | None
    next_date: str | None
    sentence: str
    missing: Missing | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """What is believed of the lift after the data, from the prior N(`prior_mean`, `prior_sd`²) of the lift.

    `better`: probability that the variant is better in the metric's direction. `mean` and `interval`
    (credible, at the rule's alpha) of the lift. `loss_variant`, `loss_control`: what choosing each gives up
    on average, as a fraction of control. `method`: "normal", or "binomial" (exact) where a Bayesian rule
    decides by it.
    """

    better: float
    mean: float
    interval: Interval
    loss_variant: float
    loss_control: float
    prior_mean: float
    prior_sd: float
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One variant against control on one metric. Exactly one of `estimate` and `missing` is None.

    `headline` is the reading that decides: "interval" (fixed), "sequence" (anytime-valid), "planned" (group
    sequential) or "posterior" (Bayesian: `adjusted_p` is then None). `significant` and
    `better` are of that headline (`better` None: no direction established). `finding` is what they show once
    there are enough events (and units): the one word for this comparison; of a guardrail, the one for its
    margin. `adjusted_p` is the headline p after the correction of its family: Holm over the variants of the
    primary metric, Benjamini-Hochberg over all secondary comparisons (e-BH for sequences), the p itself for
    guardrails. `selected_interval` is the headline interval at the false-coverage level of the selected
    secondary comparisons, None elsewhere.
    `events` in the smaller variant ("outcomes", "events" or "units": `counted`) and `events_needed` are the
    floor of the small-variant gate. Without `enough_events` no result counts: below that floor, or where what
    the comparison is read for holds only with each variant's own variance, not with one shared by both.
    `complete`: the units the rule asked for are there (a plan says so by its end); true where it asks for
    none. `days`: exposure days of the variant's own evidence, where they are fewer than the minimum runtime
    although others have run it.
    `unadjusted` is there where a covariate was used, `heterogeneity` where there are several segments.
    """

    variant: str
    control: str
    headline: str
    estimate: Estimate | None
    missing: Missing | None
    significant: bool
    better: bool | None
    finding: Finding
    adjusted_p: float | None
    events: float | None
    events_needed: float
    counted: str
    enough_events: bool
    complete: bool
    pooled: Pooled | None
    guard: Guard | None
    sufficiency: Sufficiency | None
    segments: tuple[SegmentReading, ...]
    daily: tuple[DayPoint, ...]
    selected_interval: Interval | None = None
    unadjusted: Unadjusted | None = None
    heterogeneity: Heterogeneity | None = None
    planned: Planned | None = None
    posterior: Posterior | None = None
    days: int | None = None


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
