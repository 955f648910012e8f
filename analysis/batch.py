"""Thousands of experiments of one table under one rule, in one pass over the arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis import checks, family
from analysis.deciding import Series
from analysis.errors import Codes
from analysis.estimates import left_out
from analysis.evidence import Evidence
from analysis.inference.result import Float
from analysis.measure import Plan, collect, measure
from analysis.report.batch_model import ALL_GROUPS, BatchReport, BatchRow, BatchSummary
from analysis.report.comparisons import Looks, iso_day, metric_reading
from analysis.report.header import Header
from analysis.report.headline import deciding
from analysis.report.model import Check, Comparison, MetricReading, Severity, Verdict
from analysis.report.sheet import Sheet, sheets
from analysis.sentences import sentence
from analysis.thresholds import DEFAULT, Thresholds
from analysis.totals import Totals
from analysis.validity import allocation
from analysis.verdict import Case, decide
from experiment.decision import VerdictKind
from experiment.definition import DecisionRule, Direction, Metric, MetricType, Role


def batch(evidence: Evidence, header: Header, *, limits: Thresholds = DEFAULT) -> BatchReport:
    """A verdict for every experiment of the evidence, and counts by quarter of its first exposure day."""
    many = _measure(evidence)
    rows = tuple(_row(many, e, limits) for e in range(len(evidence.subjects)))
    metric = next(m for m in evidence.metrics if m.role is Role.PRIMARY)
    return BatchReport(
        header=header,
        metric=metric.key,
        rows=rows,
        summaries=summaries(rows),
        thresholds=limits.to_dict(),
        shares=_shares(metric, rows),
    )


def _shares(metric: Metric, rows: Sequence[BatchRow]) -> bool:
    """Whether the metric's values read best as per cent, over all experiments."""
    if metric.type is not MetricType.RATIO or metric.decimals:
        return metric.type is MetricType.PROPORTION
    values = [value for row in rows for value in (row.control_value, row.variant_value) if value is not None]
    return bool(values) and max(map(abs, values)) <= 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Many:
    evidence: Evidence
    sheets: tuple[Sheet, ...]
    primary: Totals
    left_out: tuple[Codes, Float]
    counts: checks.Counts
    contaminated: checks.Counts
    ratios: allocation.Ratios
    first: checks.Counts
    last: checks.Counts


def _measure(evidence: Evidence) -> _Many:
    clean = evidence.clean()
    totals = [evidence.totals(place, clean) for place in range(len(evidence.metrics))]
    collected = collect(evidence.metrics, [totals], evidence.rule)
    counts = evidence.counts(clean)
    primary = next(t for t, m in zip(totals, evidence.metrics, strict=True) if m.role is Role.PRIMARY)
    first = np.full(len(evidence.subjects), np.iinfo(np.int64).max)
    last = np.zeros(len(evidence.subjects), dtype=np.int64)
    np.minimum.at(first, evidence.series.subject, evidence.series.day)
    np.maximum.at(last, evidence.series.subject, evidence.series.day)
    places = np.arange(len(evidence.subjects))
    # every experiment is read once, with what it has at the end
    series = Series(
        rows=places[:, None], days=_spans(evidence, first, last)[:, None], at=tuple(places.tolist()),
        variants=tuple(len(subject.variants) - 1 for subject in evidence.subjects),
    )  # fmt: skip
    measured = measure(collected, Plan(rule=evidence.rule, once=True, series=series))
    return _Many(
        evidence=evidence,
        sheets=sheets(measured, evidence.rule),
        primary=primary,
        left_out=left_out(primary, evidence.compared()),
        counts=counts,
        contaminated=evidence.counts(~clean)[..., checks.N].sum(axis=(1, 2)),
        ratios=allocation.ratios(evidence, counts[..., checks.N]),
        first=first,
        last=last,
    )


def _spans(evidence: Evidence, first: checks.Counts, last: checks.Counts) -> checks.Counts:
    """Exposure days of every experiment from its first to its last; 0 where they are not recorded."""
    return last - first + evidence.day_width if evidence.day_width else np.zeros_like(last)


def _row(many: _Many, e: int, limits: Thresholds) -> BatchRow:
    evidence = many.evidence
    subject, rule = evidence.subjects[e], evidence.rule
    variants = subject.variants
    measured, others = [s.m for s in many.sheets], len(variants) - 1
    corrected = family.corrected(measured, [s.headline for s in many.sheets], e, others, rule)
    metrics = tuple(
        metric_reading(s, Looks(overall=e), variants, rule, corrected, place)
        for place, s in enumerate(many.sheets)
    )
    primary = many.primary[e : e + 1]
    n = many.counts[e, ..., checks.N]
    units = int(n.sum())
    days = int(_spans(evidence, many.first, many.last)[e]) if evidence.day_width else None
    per_day = units / days if days else None
    found = checks.Findings(
        subject=subject, rule=rule, assignment=subject.assignment, window_days=0.0, live=many.counts[e],
        contaminated=int(many.contaminated[e]), matured=units, days=days,
        ratios=allocation.rows(evidence, many.ratios, e, limits), metrics=metrics,
        overlap=checks.overlap_of(evidence, e, n, primary, metrics, per_day),
        left_out=(many.left_out[0][e], many.left_out[1][e]),
        clustered=evidence.clustered, facts=evidence.facts[e] if evidence.facts is not None else None,
    )  # fmt: skip
    results = checks.run(found, limits)
    verdict = decide(Case(rule=rule, metrics=metrics, checks=results, days=days or 0))
    flags = tuple(check for check in results if check.severity is not Severity.OK)
    return _line(found, verdict, flags, iso_day(int(many.first[e])) if evidence.day_width else None)


def _line(found: checks.Findings, verdict: Verdict, flags: tuple[Check, ...], day: str | None) -> BatchRow:
    metric = next(m for m in found.metrics if m.role == "primary")
    best = _best(metric.comparisons, metric.direction)
    numbers = best.estimate if best is not None else None
    enough = best.sufficiency if best is not None else None
    read = deciding(best) if best is not None else None
    return BatchRow(
        experiment=found.subject.key,
        first_day=day,
        group=None if day is None else quarter(day),
        n=found.matured,
        variants=len(found.subject.variants),
        verdict=verdict.kind,
        promoted=verdict.variant if verdict.kind is VerdictKind.PROMOTE else None,
        reason=_reason(verdict, metric, best, found.rule),
        srm_p=found.ratios[0].p,
        srm=found.ratios[0].severity,
        variant=None if best is None else best.variant,
        control_value=None if numbers is None else numbers.control_value,
        variant_value=None if numbers is None else numbers.variant_value,
        effect=None if numbers is None else numbers.effect,
        interval=None if numbers is None else numbers.interval,
        sequence=None if numbers is None else numbers.sequence,
        lift=None if numbers is None else numbers.lift,
        lift_interval=None if numbers is None else numbers.lift_interval,
        p=None if numbers is None else numbers.p,
        anytime_p=None if numbers is None else numbers.anytime_p,
        n_needed=None if enough is None else enough.n_needed,
        missing=None if best is None else best.missing,
        flags=flags,
        headline="interval" if best is None else best.headline,
        lift_sequence=None if numbers is None else numbers.lift_sequence,
        adjusted_p=None if best is None else best.adjusted_p,
        n_compared=None if numbers is None else numbers.n_control + numbers.n_variant,
        decided_lift=None if read is None else read.lift_interval,
        decided_p=None if read is None else read.p,
    )


def _reason(verdict: Verdict, metric: MetricReading, best: Comparison | None, rule: DecisionRule) -> str:
    """The verdict in one line, and where the variant of the row stands."""
    if verdict.kind is VerdictKind.INVALID or best is None:
        return verdict.reasons[0]
    return f"{verdict.headline} {sentence(metric, best, rule)}"


def _best(comparisons: Sequence[Comparison], direction: str) -> Comparison | None:
    """The comparison with the best point estimate; one without an estimate only if there is no other."""
    sign = 1.0 if direction == Direction.INCREASE else -1.0
    estimated = [c for c in comparisons if c.estimate is not None]
    if estimated:
        return max(estimated, key=lambda c: sign * c.estimate.effect if c.estimate is not None else 0.0)
    return comparisons[0] if comparisons else None


def quarter(day: str) -> str:
    """The quarter of an ISO date: `2013-Q3`."""
    return f"{day[:4]}-Q{(int(day[5:7]) + 2) // 3}"


def summaries(rows: Sequence[BatchRow]) -> tuple[BatchSummary, ...]:
    """Counts over all experiments, then by group in order of time."""
    groups = sorted({row.group for row in rows if row.group is not None})
    parts = [(ALL_GROUPS, list(rows)), *((g, [row for row in rows if row.group == g]) for g in groups)]
    return tuple(
        BatchSummary(
            group=name,
            experiments=len(found),
            units=sum(row.n for row in found),
            verdicts=dict(Counter(row.verdict.value for row in found)),
            srm_flagged=sum(row.srm is Severity.INVALID for row in found),
            srm_share=sum(row.srm is Severity.INVALID for row in found) / len(found) if found else None,
        )
        for name, found in parts
    )
