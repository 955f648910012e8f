"""The frozen result of one experiment: every number any rendering may show, as one tree of plain values.

Renderings (terminal, Markdown, HTML, charts, JSON) read this tree and compute nothing. Units: shares,
rates and lifts are fractions (0.05 is 5 %), amounts are in the metric's own unit (minor units are already
divided out), days are ISO dates (UTC), instants ISO date-times (UTC). A number that cannot be estimated
is None and a `Missing` beside it says why; no value is ever NaN or infinite.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from switchpoint.analysis.results.header import Header
from switchpoint.analysis.results.numbers import (
    Comparison,
    DayPoint,
    Estimate,
    Finding,
    Guard,
    Heterogeneity,
    Interval,
    MetricReading,
    Missing,
    MixRow,
    Pooled,
    SegmentReading,
    Sufficiency,
    Unadjusted,
    Value,
)
from switchpoint.experiment.registry.decision import VerdictKind

__all__ = [
    "Check",
    "CheckName",
    "Comparison",
    "Contamination",
    "DayPoint",
    "DimensionComparison",
    "DimensionReading",
    "Estimate",
    "Evidence",
    "ExperimentResult",
    "FormerPair",
    "Guard",
    "Heterogeneity",
    "History",
    "Interval",
    "Maturing",
    "MetricReading",
    "Missing",
    "MixRow",
    "Overlap",
    "OverlapRow",
    "Pooled",
    "Reading",
    "Rung",
    "SampleRatio",
    "SegmentReading",
    "Sensitivity",
    "Severity",
    "Shown",
    "Sufficiency",
    "Unadjusted",
    "Value",
    "VariantCount",
    "Verdict",
]


class Severity(StrEnum):
    """What a check does to the verdict, in rising order of weight."""

    OK = "ok"
    WARN = "warn"  # shown in the verdict, changes nothing
    GATE = "gate"  # holds the verdict at `continue`
    INVALID = "invalid"  # no verdict can be reached


class CheckName(StrEnum):
    """The name of every check, in the order in which every judgement lists all of them: the rule, the
    documentation and readers of the JSON rely on both."""

    VARIANTS = "variants"
    ROWS = "rows"
    OVERLAP = "overlap"
    SAMPLE_RATIO = "sample ratio"
    CONTAMINATION = "contamination"
    SERVED = "served"
    FALLBACK = "fallback"
    CARRY_OVER = "carry-over"
    COPIES = "copies"
    ELIGIBILITY = "eligibility"
    IDS = "ids"
    UNIT_OF_ANALYSIS = "unit of analysis"
    EARLY_OUTCOMES = "early outcomes"
    OUTCOMES = "outcomes"
    OTHER_EXPERIMENTS = "other experiments"
    WINDOW = "window"
    SAMPLE_RATIO_BY_DAY = "sample ratio by day"
    JUMP = "jump"
    NOVELTY = "novelty"
    CLUSTERS = "clusters"
    BEFORE_EXPOSURE = "before exposure"
    DENOMINATOR = "denominator"
    EARLY_HARM = "early harm"
    OUTLIER = "outlier"
    EVIDENCE = "evidence"
    MATURED = "matured"
    RUNTIME = "runtime"
    EVENTS = "events"
    STRATA = "strata"
    MIX = "mix"
    PENDING = "pending"


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
    """Observed units against the intended allocation in one stratum, or in `overall` (strata summed).

    `p` is the fixed chi-square test's, `anytime_p` that of the sequential Dirichlet-multinomial test, which
    holds at every look at once (`log_e` its log e-value).
    """

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
    anytime_p: float | None = None
    log_e: float | None = None


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
    """One validity check: what it found in a sentence, its numbers, and what it does to the verdict.

    `checked` is False where there was nothing to look at yet; the severity is then "ok" because nothing
    speaks against the comparison, not because anything speaks for it.
    """

    name: str
    severity: Severity
    message: str
    numbers: Mapping[str, float | int | str | None]
    checked: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Contamination:
    """Units seen in several variants of one epoch: removed from every result; `with_them` is the primary
    metric's comparison per variant when they are left in (under their first variant), `as_served` that of all
    units under the variant they were first served (empty where nothing differs, or it is not known)."""

    units: int
    share: float
    with_them: tuple[Comparison, ...]
    as_served: tuple[Comparison, ...]


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
class Sensitivity:
    """How strong hidden confounding would have to be to explain an unrandomised difference away.

    `ratio`: variant over control on the primary metric. `e_value`: the risk ratio by which an unmeasured
    cause would have to be tied to both the variant and the outcome (VanderWeele & Ding 2017); `bound`: the
    same for the interval's side nearest to no effect (1: no hidden cause is needed).
    """

    variant: str
    ratio: float
    e_value: float
    bound: float | None
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The evidence grade reached and the one the rule asks for."""

    grade: str
    required: str
    sufficient: bool
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a comparison shows, by its metric and variant, and the sentence that says it."""

    metric: str
    variant: str
    finding: Finding
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The frozen rule applied to the matured reading. `headline` is one line; `reasons` are sentences.

    `worse`: the secondary and guardrail comparisons that are shown to be worse than control (a guardrail also
    within its margin); their sentences are among the reasons.
    """

    kind: VerdictKind
    variant: str | None
    headline: str
    reasons: tuple[str, ...]
    what_would_change: tuple[str, ...]
    worse: tuple[Shown, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Maturing:
    """An exposure day (ISO date) whose window is open, and the instant (ISO, UTC) at which it closes."""

    day: str
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FormerPair:
    """What was measured of two models of which at least one is no longer in force.

    `control_model`, `variant_model`: `name@version`, or the digest where the name is not known. `epochs` in
    which they ran, and the exposure days from first to last (ISO dates). `n_control`, `n_variant`: units on
    all these days. `estimate` of the primary metric's effect on the matured ones, exactly one of it and
    `missing` is None.
    """

    variant: str
    control: str
    variant_model: str
    control_model: str
    epochs: tuple[int, ...]
    first_day: str
    last_day: str
    n_control: int
    n_variant: int
    estimate: Estimate | None
    missing: Missing | None


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Units that met models no longer in force: shown, never evidence.

    `units` are all of them, each once; `carried` those that came back later, where they are not counted.
    `sentence` says both.
    """

    units: int
    carried: int
    pairs: tuple[FormerPair, ...]
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DimensionComparison:
    """One variant against control on the primary metric in every value of a dimension, as in segments."""

    variant: str
    values: tuple[SegmentReading, ...]
    heterogeneity: Heterogeneity | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DimensionReading:
    """What the primary metric shows by a dimension: it explores, and no verdict reads it.

    The values of one dimension × the variants are one correction family; each value is stratified over
    segments and epochs. `headline`: the reading that `finding` and `adjusted_p` are of, "interval" or
    "sequence".
    """

    dimension: str
    headline: str
    comparisons: tuple[DimensionComparison, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentResult:
    """One look at one experiment.

    `pending` units wait for a refold, `late` events were kept but not summed. `family` says in sentences
    which tests share which correction. `sensitivity` is there where units were not randomised. `matures` is
    the next exposure day whose window is open, and when it closes (None: every day has matured). `history`
    is there where models were changed. `pairs`: every metric's comparisons of two variants, neither of which
    need be control: those asked for, and the best of several winners with each other one. `dimensions`
    explore the matured primary metric.
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
    family: tuple[str, ...] = ()
    sensitivity: tuple[Sensitivity, ...] = ()
    matures: Maturing | None = None
    history: History | None = None
    pairs: tuple[MetricReading, ...] = ()
    dimensions: tuple[DimensionReading, ...] = ()
