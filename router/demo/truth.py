"""What a simulated world knows and a report cannot: the true rates, and whether the verdict was right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from switchpoint.analysis.report.report import Report
from switchpoint.analysis.report.section import primary_comparisons
from switchpoint.analysis.results.judgement import Interval, Verdict
from switchpoint.analysis.simulation.shop import Score, TrueRates, World, true_rates
from switchpoint.experiment.registry.decision import VerdictKind

ALL = "all segments"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """True and estimated click-through in one segment. `covered`: the interval holds the true effect."""

    segment: str
    control: float
    treatment: float
    estimate: float | None
    interval: Interval | None

    @property
    def effect(self) -> float:
        """The true absolute effect."""
        return self.treatment - self.control

    @property
    def covered(self) -> bool | None:
        """Whether the interval holds the true effect; None without an interval."""
        if self.interval is None:
            return None
        low, high = self.interval.lower, self.interval.upper
        return (low is None or low <= self.effect) and (high is None or self.effect <= high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The truth beside the report.

    `right`: the verdict is what somebody who knows the truth would say; False when it contradicts the truth;
    None when it says neither (no verdict could be reached, or the units were too few for one).
    """

    rows: tuple[Compared, ...]
    right: bool | None
    sentence: str


def judge(world: World, control: Score, treatment: Score, report: Report) -> Judgement:
    """Compare a report with the true rates of its world."""
    truth = true_rates(world, control), true_rates(world, treatment)
    rows = _rows(report, truth)
    better = all(truth[1][s].ctr > truth[0][s].ctr for s in truth[0])
    verdict = report.verdict
    lift = rows[0].treatment / rows[0].control - 1 if rows else None
    if better:
        said = "unknown" if lift is None else f"{lift:+.1%}"
        missed = lift is not None and lift >= report.header.mde and _enough_units(report)
        return Judgement(
            rows=rows,
            right=_right_when_better(verdict, missed_by_keeping=missed),
            sentence=f"treatment is truly better: its true lift is {said}",
        )
    return Judgement(
        rows=rows,
        right=_right_when_equal(verdict),
        sentence="there is no true difference between the variants",
    )


def _right_when_better(verdict: Verdict, *, missed_by_keeping: bool) -> bool | None:
    if verdict.kind is VerdictKind.PROMOTE:
        return verdict.variant == "treatment"
    return False if verdict.kind is VerdictKind.KEEP and missed_by_keeping else None


def _right_when_equal(verdict: Verdict) -> bool | None:
    if verdict.kind is VerdictKind.INVALID:
        return None
    return verdict.kind is not VerdictKind.PROMOTE


def _enough_units(report: Report) -> bool:
    """Whether the primary metric has the units its design needs for the smallest effect that matters."""
    found = [comparison.sufficiency for _, comparison in primary_comparisons(report.matured)]
    return bool(found) and all(
        s is not None and s.n_needed is not None and s.n_now >= s.n_needed for s in found
    )


def _rows(
    report: Report, truth: tuple[Mapping[str, TrueRates], Mapping[str, TrueRates]]
) -> tuple[Compared, ...]:
    rows: list[Compared] = []
    for _, comparison in primary_comparisons(report.matured):
        control = treatment = total = 0.0
        for reading in comparison.segments:
            true = truth[0][reading.segment].ctr, truth[1][reading.segment].ctr
            # the report weighs the strata of a ratio by their denominators, so the truth is weighed alike
            weight = reading.control.denominator + reading.value.denominator
            control, treatment, total = (
                control + weight * true[0],
                treatment + weight * true[1],
                total + weight,
            )
            own = reading.estimate
            rows.append(Compared(
                segment=reading.segment, control=true[0], treatment=true[1],
                estimate=own.effect if own else None, interval=own.sequence if own else None,
            ))  # fmt: skip
        own = comparison.estimate
        if total:
            rows.insert(0, Compared(
                segment=ALL, control=control / total, treatment=treatment / total,
                estimate=own.effect if own else None, interval=own.sequence if own else None,
            ))  # fmt: skip
    return tuple(rows)
