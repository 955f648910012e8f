"""Every check of one experiment, in the order a reader wants them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.evidence.evidence import COUNTS, Evidence, Subject
from switchpoint.analysis.evidence.facts import Backlog, Facts, Unseen
from switchpoint.analysis.evidence.moments import Totals
from switchpoint.analysis.numerics.estimates import Float
from switchpoint.analysis.numerics.reasons import Codes
from switchpoint.analysis.results.judgement import Check, Maturing, MetricReading, Overlap, SampleRatio
from switchpoint.analysis.results.sentences import effects
from switchpoint.analysis.results.thresholds import Thresholds
from switchpoint.analysis.validity import (
    allocation,
    concurrent,
    gates,
    overlap,
    rows,
    unit_checks,
)
from switchpoint.analysis.validity import series as daily
from switchpoint.analysis.validity.concurrent import Window
from switchpoint.analysis.validity.examine import Days
from switchpoint.analysis.validity.gates import unchecked
from switchpoint.analysis.validity.unit_checks import Beside, Canary, Carried, Difference
from switchpoint.experiment.definition.source import RANDOMISED
from switchpoint.experiment.definition.types import DecisionRule, Grade, MetricType

N, EXPOSURES, FALLBACKS, MISMATCHES, CARRIED = range(len(COUNTS))
Counts = NDArray[np.int64]
_OF_MATURED = {"sample ratio", "events", "strata", "mix", "novelty", "denominator", "before exposure"}
"""Checks that have nothing to read before a unit has matured."""
_OF_SPLIT = {"sample ratio", "sample ratio by day"}
"""Checks that have nothing to read where no stratum was split."""
_NO_SPLIT = "no segment holds both control and another variant, so no split can be judged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the checks of one experiment look at; nothing has a default, so that no check can be forgotten.

    `live` are counts (strata, variants, COUNTS) of all days, `removed` those of contaminated units, not in
    them. `matured` and `days` are the units and exposure days the verdict reads (days None: not recorded),
    `waiting` the next day to mature, `left_out` why the primary effect leaves strata out there
    (variants − 1, strata) and the share of units it speaks for (variants − 1). `facts` are those of the
    source's rows, `series` the days one by one; `before`, `denominators`, `carried` and `canaries` are
    comparisons that only checks read, `window` the experiments that ran at the same time, `beside` what the
    primary metric shows with the units left out and by what was served. `others`: the check
    of the experiments beside a live one (None: those of the same table). `backlog`: None where the source is
    closed.
    """

    subject: Subject
    rule: DecisionRule
    window_days: float
    clustered: bool
    live: Counts
    removed: Counts
    matured: int
    days: int | None
    waiting: Maturing | None
    ratios: tuple[SampleRatio, ...]
    metrics: tuple[MetricReading, ...]
    overlap: Overlap
    left_out: tuple[Codes, Float]
    facts: Facts
    series: Days | Unseen
    before: tuple[Difference, ...] | Unseen
    denominators: tuple[Difference, ...] | Unseen
    carried: tuple[Carried, ...] | Unseen
    canaries: tuple[Canary, ...] | Unseen
    window: Window | Unseen
    beside: Beside
    others: Check | None
    backlog: Backlog | None

    @property
    def randomised(self) -> bool:
        """Whether units are said to have been randomised."""
        return self.subject.assignment == RANDOMISED

    @property
    def grade(self) -> tuple[Grade, str]:
        """The evidence grade reached, and why."""
        return gates.grade(
            self.subject.assignment, aliased=bool(self.overlap.aliased), clustered=self.clustered
        )


def run(found: Findings, limits: Thresholds) -> tuple[Check, ...]:
    """All checks, in the order of `CheckName`; the verdict reads their severities."""
    results = (
        gates.variants(found.subject.variants),
        rows.readable(found.facts.unreadable),
        overlap.check(found.overlap),
        allocation.check(found.ratios, randomised=found.randomised),
        *_of_units(found, limits),
        *_of_rows(found, limits),
        *_of_days(found, limits),
        *_of_comparisons(found, limits),
        *_of_rule(found, limits),
        gates.pending(found.backlog),
    )
    if not found.matured:
        return _unchecked(results, _OF_MATURED, "no unit has matured")
    return _unchecked(results, _OF_SPLIT, _NO_SPLIT) if _apart(found) else results


def _unchecked(results: tuple[Check, ...], names: set[str], why: str) -> tuple[Check, ...]:
    """These checks have nothing to read."""
    return tuple(unchecked(c.name, Unseen(why)) if c.checked and c.name in names else c for c in results)


def _apart(found: Findings) -> bool:
    """Whether every variant has units, none of them beside control: nobody was split, so no split broke."""
    others = len(found.subject.variants) - 1
    units = found.live[..., N].sum(axis=0)[: others + 1]
    return len(found.overlap.aliased) == others > 0 and bool((units > 0).all())


def _of_units(found: Findings, limits: Thresholds) -> tuple[Check, ...]:
    """Who was seen where, before contaminated units are left out and after."""
    facts, kept = found.facts, found.live.reshape(-1, len(COUNTS)).sum(axis=0).tolist()
    removed = found.removed.reshape(-1, len(COUNTS)).sum(axis=0).tolist()
    every = [a + b for a, b in zip(kept, removed, strict=True)]
    primary = next(m for m in found.metrics if m.role == "primary")
    judged, beside = effects(primary, primary.comparisons), found.beside
    return (
        unit_checks.contamination(
            every[N],
            removed[N],
            limits,
            (judged, effects(primary, beside.with_them)),
            what="cluster" if found.clustered else "unit",
        ),
        unit_checks.served(
            (every[MISMATCHES], every[EXPOSURES]),
            (kept[MISMATCHES], kept[EXPOSURES]),
            limits,
            (judged, effects(primary, beside.as_served)),
        )
        if facts.served is None
        else unchecked("served", facts.served),
        unit_checks.fallbacks(kept[EXPOSURES], kept[FALLBACKS], limits)
        if facts.fallbacks is None
        else unchecked("fallback", facts.fallbacks),
        unit_checks.carry_over(kept[N], kept[CARRIED], limits)
        if facts.carried is None
        else unchecked("carry-over", facts.carried),
    )


def _of_rows(found: Findings, limits: Thresholds) -> tuple[Check, ...]:
    """What the rows of the source say, and the other experiments there."""
    facts = found.facts
    return (
        rows.copies(facts.copies, limits),
        rows.eligibility(facts.eligibility, limits),
        rows.ids(facts.ids, limits),
        rows.unit_of_analysis(facts.nesting, limits),
        rows.early(facts.outcomes, limits),
        rows.arrived(facts.arrived, limits),
        found.others or concurrent.in_table(facts.sharing, limits),
        concurrent.in_window(found.window, limits),
    )


def _of_days(found: Findings, limits: Thresholds) -> tuple[Check, ...]:
    """Checks of single days."""
    series, variants = found.series, found.subject.variants
    if isinstance(series, Unseen):
        return tuple(unchecked(name, series) for name in ("sample ratio by day", "jump", "novelty"))
    return (
        daily.daily_ratio(series.ratio, series.names, limits),
        daily.jump(series.levels, series.names, variants, limits),
        daily.novelty(series.effects, series.numbers, variants, limits),
    )


def _of_comparisons(found: Findings, limits: Thresholds) -> tuple[Check, ...]:
    """Checks of clusters, covariates, denominators, first events and single units."""
    counts = found.live[..., N].sum(axis=0)[: len(found.subject.variants)].tolist()
    return (
        gates.clusters(counts, found.subject.variants, limits)
        if found.clustered
        else unchecked("clusters", Unseen("no `cluster` is named, units are compared")),
        unit_checks.before_exposure(found.before, limits, randomised=found.randomised),
        unit_checks.denominators(found.denominators, limits),
        unit_checks.early_harm(found.canaries, found.rule.alpha),
        unit_checks.outlier(found.carried, found.rule.alpha, limits),
    )


def _of_rule(found: Findings, limits: Thresholds) -> tuple[Check, ...]:
    """What the rule asks for before its verdict is read."""
    reached, why = found.grade
    left_out, covered = dropped(found)
    return (
        gates.evidence(reached, found.rule.evidence, why),
        gates.matured(found.matured, found.window_days, found.waiting),
        gates.runtime(found.days, found.rule, limits),
        gates.events(found.metrics),
        gates.strata_used(left_out, covered),
        gates.mix(found.metrics, limits)
        if len(found.subject.strata) > 1
        else unchecked("mix", Unseen("there is one stratum, nothing to mix")),
    )


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
