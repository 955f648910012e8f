"""The frozen results of many experiments judged in one call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from switchpoint.analysis.results.header import Header
from switchpoint.analysis.results.judgement import Check, Interval, Missing, Severity
from switchpoint.experiment.registry.decision import VerdictKind

ALL_GROUPS = "all"
"""The group of the summary that counts everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRow:
    """One experiment of many, in one line.

    The effect is that of `variant`, the best one by point estimate. `n` counts the units of the whole
    experiment, `n_compared` those of control and `variant`, which `n_needed` asks for too. `headline` is
    "interval" or "sequence": which of `interval` and `sequence` (`p` and `anytime_p`) the rule decides by;
    "planned" or "posterior": `decided_lift` and `decided_p` of a group sequential or Bayesian rule (which has
    no p). `adjusted_p` is that p after Holm over the experiment's variants. `checks` are all of them.
    """

    experiment: str
    first_day: str | None
    group: str | None
    n: int
    variants: int
    verdict: VerdictKind
    promoted: str | None
    reason: str
    srm_p: float | None
    srm: Severity
    variant: str | None
    control_value: float | None
    variant_value: float | None
    effect: float | None
    interval: Interval | None
    sequence: Interval | None
    lift: float | None
    lift_interval: Interval | None
    p: float | None
    anytime_p: float | None
    n_needed: int | None
    missing: Missing | None
    checks: tuple[Check, ...] = ()
    headline: str = "interval"
    lift_sequence: Interval | None = None
    adjusted_p: float | None = None
    n_compared: int | None = None
    decided_lift: Interval | None = None
    decided_p: float | None = None

    @property
    def flags(self) -> tuple[Check, ...]:
        """The checks that found something."""
        return tuple(check for check in self.checks if check.severity is not Severity.OK)

    @property
    def headline_lift(self) -> Interval | None:
        """The interval of the lift that the rule's design decides by."""
        if self.headline in {"planned", "posterior"}:
            return self.decided_lift
        return self.lift_sequence if self.headline == "sequence" else self.lift_interval

    @property
    def headline_p(self) -> float | None:
        """The p that the rule's design decides by, before Holm."""
        if self.headline in {"planned", "posterior"}:
            return self.decided_p
        return self.anytime_p if self.headline == "sequence" else self.p


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSummary:
    """Counts over the experiments of one group (`all` for everything)."""

    group: str
    experiments: int
    units: int
    verdicts: Mapping[str, int]
    srm_flagged: int
    srm_share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """Many experiments of one table under one rule.

    `shares`: the metric's values are shares, shown in per cent.
    """

    header: Header
    metric: str
    rows: tuple[BatchRow, ...]
    summaries: tuple[BatchSummary, ...]
    thresholds: Mapping[str, float | int]
    shares: bool = True
