"""Every check of one experiment, in the order a reader wants them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.errors import Codes
from analysis.evidence import COUNTS, Evidence, Subject
from analysis.examine import Days
from analysis.facts import Facts
from analysis.inference.result import Float
from analysis.report.model import Check, Maturing, MetricReading, Overlap, SampleRatio
from analysis.thresholds import Thresholds
from analysis.totals import Totals
from analysis.validity import (
    allocation,
    balance,
    canary,
    concurrent,
    contamination,
    gates,
    outliers,
    overlap,
    rows,
)
from analysis.validity import series as daily
from analysis.validity.balance import Difference
from analysis.validity.canary import Canary
from analysis.validity.outliers import Carried
from experiment.definition import DecisionRule, MetricType
from experiment.source import RANDOMISED

N, EXPOSURES, FALLBACKS, MISMATCHES, CARRIED = range(len(COUNTS))
Counts = NDArray[np.int64]
_OF_MATURED = {"sample ratio", "events", "strata", "mix", "novelty", "denominator", "before exposure"}
"""Checks that have nothing to read before a unit has matured."""
_OF_SPLIT = {"sample ratio", "sample ratio by day"}
"""Checks that have nothing to read where no stratum was split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the checks of one experiment look at.

    `live` are counts (strata, variants, COUNTS) of all days, `contaminated` units not in them. `matured` and
    `days` are the units and exposure days the verdict reads (days None: not recorded), `waiting` the next day
    to mature, `left_out` why the primary effect leaves strata out there (variants − 1, strata) and the share
    of units it speaks for (variants − 1). `facts` are those of a table's rows, `series` the days one by one,
    the rest comparisons that only checks read.
    """

    subject: Subject
    rule: DecisionRule
    assignment: str
    window_days: float
    live: Counts
    contaminated: int
    matured: int
    days: int | None
    ratios: tuple[SampleRatio, ...]
    metrics: tuple[MetricReading, ...]
    overlap: Overlap
    left_out: tuple[Codes, Float]
    pending: int = 0
    late: int = 0
    clustered: bool = False
    facts: Facts | None = None
    series: Days | None = None
    before: tuple[Difference, ...] = ()
    denominators: tuple[Difference, ...] = ()
    carried: tuple[Carried, ...] = ()
    canaries: tuple[Canary, ...] = ()
    others: Check | None = None
    waiting: Maturing | None = None


def run(found: Findings, limits: Thresholds) -> tuple[Check, ...]:
    """All checks; the verdict reads their severities."""
    units, exposures, fallen, mismatched, carried = (
        int(found.live[..., c].sum()) for c in range(len(COUNTS))
    )
    primary = next(m for m in found.metrics if m.role == "primary")
    reached, why = gates.grade(found.assignment, bool(found.overlap.aliased), clustered=found.clustered)
    left_out, covered = dropped(found)
    results = (
        gates.variants(found.subject.variants),
        overlap.check(found.overlap),
        allocation.check(found.ratios, randomised=found.assignment == RANDOMISED),
        contamination.contamination(
            units + found.contaminated,
            found.contaminated,
            limits,
            what="cluster" if found.clustered else "unit",
        ),
        contamination.served(exposures, mismatched, limits),
        contamination.fallbacks(exposures, fallen, limits),
        contamination.carry_over(units, carried, limits),
        *_of_rows(found, limits),
        *_of_days(found, limits),
        *_of_units(found, limits),
        gates.evidence(reached, found.rule.evidence, why),
        gates.matured(found.matured, found.window_days, found.waiting),
        gates.runtime(found.days, found.rule, limits),
        gates.events(primary.comparisons),
        gates.strata_used(left_out, covered),
        gates.mix(found.metrics, limits),
        gates.pending(found.pending, found.late),
    )
    if not found.matured:
        return tuple(gates.not_yet(check.name) if check.name in _OF_MATURED else check for check in results)
    if _apart(found):
        return tuple(gates.no_split(check.name) if check.name in _OF_SPLIT else check for check in results)
    return results


def _apart(found: Findings) -> bool:
    """Whether every variant has units, none of them beside control: nobody was split, so no split broke."""
    others = len(found.subject.variants) - 1
    units = found.live[..., N].sum(axis=0)[: others + 1]
    return len(found.overlap.aliased) == others > 0 and bool((units > 0).all())


def _of_rows(found: Findings, limits: Thresholds) -> tuple[Check, ...]:
    """Checks of a table's rows; a ledger has none."""
    others = () if found.others is None else (found.others,)
    facts = found.facts
    if facts is None:
        return others
    checks = [rows.copies(facts, limits), rows.eligibility(facts, limits)]
    if facts.ids is not None:
        checks.append(rows.ids(facts))
    if facts.nesting is not None:
        checks.append(rows.unit_of_analysis(facts.nesting, limits))
    if facts.counted or facts.before:
        checks.append(rows.early(facts, limits))
    if facts.shared:
        checks.append(concurrent.in_table(facts.shared, facts.units, limits))
    return (*checks, *others)


def _of_days(found: Findings, limits: Thresholds) -> tuple[Check, ...]:
    """Checks of single days; without days there are none."""
    series, variants = found.series, found.subject.variants
    if series is None:
        return ()
    return (
        daily.daily_ratio(series.ratio, series.names, limits),
        daily.jump(series.levels, series.names, variants, limits),
        daily.novelty(series.effects, series.numbers, variants, limits),
    )


def _of_units(found: Findings, limits: Thresholds) -> tuple[Check, ...]:
    """Checks of clusters, covariates, denominators and single units, where they are there."""
    checks = []
    if found.clustered:
        counts = found.live[..., N].sum(axis=0)[: len(found.subject.variants)].tolist()
        checks.append(gates.clusters(counts, found.subject.variants, limits))
    if found.before:
        randomised = found.assignment == RANDOMISED
        checks.append(balance.before_exposure(found.before, limits, randomised=randomised))
    if found.denominators:
        checks.append(balance.denominators(found.denominators, limits))
    if found.canaries:
        checks.append(canary.check(found.canaries, found.rule.alpha))
    if found.carried:
        checks.append(outliers.check(found.carried, found.rule.alpha, limits))
    return tuple(checks)


def dropped(found: Findings) -> tuple[Sequence[str], float]:
    """Strata with units that the primary effect leaves out, and the share of units it speaks for."""
    strata, others = found.subject.strata, len(found.subject.variants) - 1
    codes, shares = found.left_out
    out = np.asarray(codes[:others, : len(strata)].any(axis=0))
    covered = shares[:others]
    names = [stratum.label for stratum, gone in zip(strata, out.tolist(), strict=True) if gone]
    return names, float(covered.min()) if names else 1.0


def overlap_of(
    evidence: Evidence,
    subject: int,
    n: Counts,
    primary: Totals,
    metrics: Sequence[MetricReading],
    per_day: float | None,
) -> Overlap:
    """Segment × variant overlap of one experiment, with the ladder where it is aliased.

    Args:
        n: units (strata, variants). primary: totals (1, strata, variants) of the primary metric.
    """
    who = evidence.subjects[subject]
    aliased = overlap.aliased_variants(who, n)
    shown = overlap.rows(who, n)
    if not aliased:
        return Overlap(variants=who.variants, rows=shown, aliased=(), sentence=None, e_value=None, ladder=())
    metric = next(m for m in metrics if m.role == "primary")
    found = metric.values
    figures = [overlap.e_value(found[0], v) for v in found[1:] if v.variant in aliased]
    figure = max((f for f in figures if f is not None), default=None)
    needed = overlap.units_inside(MetricType(metric.type), primary.sample()[0], evidence.rule)
    return Overlap(
        variants=who.variants,
        rows=shown,
        aliased=aliased,
        sentence=overlap.sentence(who, n, aliased),
        e_value=figure,
        ladder=overlap.ladder(who, needed, int(n.sum()), per_day, figure),
    )
