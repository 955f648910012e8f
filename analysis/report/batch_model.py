"""The frozen report of many experiments judged in one call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analysis.report.header import Header
from analysis.report.model import Check, Interval, Missing, Severity
from analysis.report.plain import fields_of
from experiment.decision import VerdictKind


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRow:
    """One experiment of many, in one line.

    The effect is that of `variant`, the best one by point estimate. `flags` are the checks that found
    something.
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
    flags: tuple[Check, ...] = ()


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
class BatchReport:
    """Many experiments of one table under one rule."""

    header: Header
    metric: str
    rows: tuple[BatchRow, ...]
    summaries: tuple[BatchSummary, ...]
    thresholds: Mapping[str, float | int]

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe document with every number; ValueError on a number that is not finite."""
        return fields_of(self)
