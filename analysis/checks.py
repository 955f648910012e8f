"""Every check of one experiment, in the order a reader wants them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.evidence import COUNTS, Evidence, Subject
from analysis.measure import Measured
from analysis.report.comparisons import values
from analysis.report.model import Check, MetricReading, Overlap, SampleRatio
from analysis.thresholds import Thresholds
from analysis.validity import allocation, contamination, gates, overlap
from experiment.definition import DecisionRule

N, EXPOSURES, FALLBACKS, MISMATCHES, CARRIED = range(len(COUNTS))
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the checks of one experiment look at.

    `live` are counts (strata, variants, COUNTS) of all days, `contaminated` units not in them. `matured` and
    `days` are the units and exposure days the verdict reads (days 0: not recorded).
    """

    subject: Subject
    rule: DecisionRule
    assignment: str
    window_days: float
    live: Counts
    contaminated: int
    matured: int
    days: int
    ratios: tuple[SampleRatio, ...]
    metrics: tuple[MetricReading, ...]
    overlap: Overlap
    primary: Measured
    look: int = 0
    pending: int = 0
    late: int = 0


def run(found: Findings, limits: Thresholds) -> tuple[Check, ...]:
    """All checks; the verdict reads their severities."""
    units, exposures, fallen, mismatched, carried = (
        int(found.live[..., c].sum()) for c in range(len(COUNTS))
    )
    primary = next(m for m in found.metrics if m.role == "primary")
    reached, why = gates.grade(found.assignment, bool(found.overlap.aliased))
    left_out, covered = dropped(found)
    return (
        gates.variants(found.subject.variants),
        overlap.check(found.overlap),
        allocation.check(found.ratios),
        contamination.contamination(units + found.contaminated, found.contaminated, limits),
        contamination.served(exposures, mismatched, limits),
        contamination.fallbacks(exposures, fallen, limits),
        contamination.carry_over(units, carried, limits),
        gates.evidence(reached, found.rule.evidence, why),
        gates.matured(found.matured, found.window_days),
        gates.runtime(found.days, found.rule, limits),
        gates.events(primary.comparisons),
        gates.strata_used(left_out, covered),
        gates.mix(found.metrics, limits),
        gates.pending(found.pending, found.late),
    )


def dropped(found: Findings) -> tuple[Sequence[str], float]:
    """Strata with units that the primary effect leaves out, and the share of units it speaks for."""
    sides, strata = found.primary.pairs.sides, found.subject.strata
    others = len(found.subject.variants) - 1
    out = np.asarray(sides.dropped[found.look, :others, : len(strata)].any(axis=0))
    covered = sides.covered[found.look, :others]
    names = [stratum.label for stratum, gone in zip(strata, out.tolist(), strict=True) if gone]
    return names, float(covered.min()) if names else 1.0


def overlap_of(
    evidence: Evidence,
    subject: int,
    n: Counts,
    primary: Measured,
    per_day: float | None,
    look: int = 0,
) -> Overlap:
    """Segment × variant overlap of one experiment, with the ladder where it is aliased."""
    who = evidence.subjects[subject]
    aliased = overlap.aliased_variants(who, n)
    rows = overlap.rows(who, n)
    if not aliased:
        return Overlap(variants=who.variants, rows=rows, aliased=(), sentence=None, e_value=None, ladder=())
    found = values(primary, look, who.variants)
    figures = [overlap.e_value(found[0], v) for v in found[1:] if v.variant in aliased]
    figure = max((f for f in figures if f is not None), default=None)
    needed = overlap.units_inside(primary.metric.type, primary.pairs.totals.sample()[look], evidence.rule)
    return Overlap(
        variants=who.variants,
        rows=rows,
        aliased=aliased,
        sentence=overlap.sentence(who, n, aliased),
        e_value=figure,
        ladder=overlap.ladder(who, needed, per_day, figure),
    )
