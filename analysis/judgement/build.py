"""From evidence to frozen results: of one experiment in full, and of thousands of one table under one rule.

Each of many is judged as it is alone; all are measured at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from switchpoint.analysis.evidence import arrivals
from switchpoint.analysis.evidence.evidence import Evidence, Mask
from switchpoint.analysis.evidence.facts import Backlog
from switchpoint.analysis.evidence.moments import Index, join
from switchpoint.analysis.judgement import family
from switchpoint.analysis.judgement.beside import Pair, beside
from switchpoint.analysis.judgement.comparisons import Looks, metric_reading
from switchpoint.analysis.judgement.dimensions import explored
from switchpoint.analysis.judgement.judge import Judgement, Request, Survey, judge, survey
from switchpoint.analysis.judgement.looks import Series
from switchpoint.analysis.judgement.measure import Plan, collect, measure
from switchpoint.analysis.judgement.readings import SUBJECT, mixed, read
from switchpoint.analysis.judgement.records import Sheet, sheets
from switchpoint.analysis.numerics import arrays as columnar
from switchpoint.analysis.planning.accrual import Accrual
from switchpoint.analysis.results import format as fmt
from switchpoint.analysis.results.batch import ALL_GROUPS, BatchResult, BatchRow, BatchSummary
from switchpoint.analysis.results.header import Header, iso_day
from switchpoint.analysis.results.judgement import (
    Check,
    Comparison,
    Contamination,
    ExperimentResult,
    History,
    MetricReading,
    Missing,
    Reading,
    Severity,
    Verdict,
)
from switchpoint.analysis.results.judgement import Evidence as Grading
from switchpoint.analysis.results.numbers import Finding
from switchpoint.analysis.results.sentences import deciding, foremost, sentence
from switchpoint.analysis.results.thresholds import DEFAULT, Thresholds
from switchpoint.analysis.validity import confounding
from switchpoint.analysis.validity.rows import readable
from switchpoint.analysis.validity.run import N
from switchpoint.analysis.validity.unit_checks import Beside
from switchpoint.experiment.definition.types import (
    DecisionRule,
    Design,
    Grade,
    Metric,
    MetricType,
    Role,
)
from switchpoint.experiment.registry.decision import VerdictKind


def build(
    evidence: Evidence,
    header: Header,
    *,
    backlog: Backlog | None = None,
    others: Check | None = None,
    history: History | None = None,
    compare: Sequence[Pair] = (),
    limits: Thresholds = DEFAULT,
) -> ExperimentResult:
    """The result of evidence that holds exactly one experiment.

    Args:
        backlog: what a live ledger has not summed yet; None: the data are closed. others: the check of the
            experiments that run beside it; None: those of the same table. history: what was measured of
            models no longer in force. compare: pairs of variants to compare with each other.

    Raises:
        BadInput: a pair of variants that are not there.
    """
    found = survey(evidence, limits)
    readings = read(found, limits)
    matured, live = readings.matured, readings.live
    tuned = readings.measured[found.evidence.primary].whole.n_star[:1]
    (around,) = beside(evidence, tuned, readings.plan.window_days)
    models = {v.key: v.model for v in header.variants if v.model is not None}
    judged = judge(
        found, SUBJECT, matured.metrics, limits, around=around, others=others, backlog=backlog,
        request=Request(models=models, compare=compare),
    )  # fmt: skip
    results, findings = judged.checks, judged.findings
    reached, why = findings.grade
    primary, subject = matured.metrics[found.evidence.primary], evidence.subjects[SUBJECT]
    return ExperimentResult(
        header=header,
        verdict=judged.verdict,
        matured=matured,
        live=live,
        checks=results,
        contamination=_contamination(found, live, around),
        overlap=findings.overlap,
        evidence=Grading(
            grade=reached.value, required=evidence.rule.evidence.value, sentence=why,
            sufficient=not any(c.name == "evidence" and c.severity is Severity.GATE for c in results),
        ),
        pending=0 if backlog is None else backlog.pending,
        late=0 if backlog is None else backlog.late,
        warnings=(
            *(c.message for c in results if c.severity is Severity.WARN), *_live_harm(live, matured),
            *(() if history is None else (history.sentence,)),
        ),
        thresholds=limits.to_dict(),
        family=family.sentences(
            readings.measured, len(subject.variants) - 1, len({s.segment for s in subject.strata}),
            evidence.rule, sum(len(m.comparisons) for m in judged.pairs[:1])
        ),
        sensitivity=confounding.sensitivity(primary, why) if reached is Grade.DESCRIPTIVE else (),
        matures=findings.waiting,
        history=history,
        pairs=judged.pairs,
        dimensions=explored(evidence, tuned, readings.plan.window_days),
    )  # fmt: skip


def _contamination(found: Survey, live: Reading, around: Beside) -> Contamination:
    """The share of contaminated units, and the primary comparison with them and by what was served."""
    removed = int(found.removed[SUBJECT, ..., N].sum())
    total = live.n + removed
    return Contamination(
        units=removed, share=removed / total if total else 0.0, with_them=around.with_them,
        as_served=around.as_served,
    )  # fmt: skip


def _live_harm(live: Reading, matured: Reading) -> tuple[str, ...]:
    """A broken sample ratio and harmed guardrails of the live reading that the matured one does not show."""
    told = tuple(
        f"Live, before its window closes: {fmt.p_is(row.p)} for the sample ratio ("
        + " / ".join(f"{n:,}" for n in row.observed)
        + f" units of {' / '.join(row.variants)}); find where units are lost before more come."
        for row in live.sample_ratio[:1]
        if row.severity is Severity.INVALID and matured.sample_ratio[0].severity is not Severity.INVALID
    )
    seen = {(m.key, c.variant) for m in matured.metrics for c in m.comparisons if c.finding is Finding.HARMED}
    return told + tuple(
        f"Live, before its window closes: guardrail {m.key} is harmed by {c.variant}."
        for m in live.metrics
        for c in m.comparisons
        if c.finding is Finding.HARMED and (m.key, c.variant) not in seen
    )


def batch(evidence: Evidence, header: Header, *, limits: Thresholds = DEFAULT) -> BatchResult:
    """A verdict for every experiment of the evidence, and counts by quarter of its first exposure day."""
    found = survey(evidence, limits)
    many = _measure(found)
    rows = (
        *(_row(found, many, e, limits) for e in range(len(evidence.subjects))),
        *(_unreadable(key, reason) for key, reason in evidence.unreadable.items()),
    )
    metric = evidence.metrics[found.evidence.primary]
    return BatchResult(
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
    """The lists of all metrics, what the primary one shows `beside`, and where: experiment e at look e;
    where a plan follows the days, those of all experiments from the look `days` on (None: they are not
    there)."""

    sheets: tuple[Sheet, ...]
    compared: Mask
    days: int | None
    beside: tuple[Beside, ...]


def _measure(found: Survey) -> _Many:
    """Every experiment at the end of its data; a group sequential plan also sees its days one by one."""
    evidence, size = found.evidence, len(found.evidence.subjects)
    planned = evidence.rule.design is Design.GROUP_SEQUENTIAL and bool(evidence.day_width)
    looks = [list(found.overall)]
    if planned:
        places = range(len(evidence.metrics))
        looks.append([totals[:1].each(np.zeros_like) for totals in found.overall])
        looks.append([evidence.running_totals(place, found.looks, found.single[place]) for place in places])
    together = [join(parts) for parts in zip(*looks, strict=True)]
    collected = collect(
        evidence.metrics, [together], evidence.rule, (range(size), found.overall), evidence.compared()
    )
    tuned_at = np.arange(collected.looks)
    first = size + 1 if planned else None
    if first is not None:
        tuned_at[size] = 0
        tuned_at[first:] = np.repeat(np.arange(size), np.diff(found.looks.start))
    plan = Plan(
        rule=evidence.rule, accrual=_accrual(found, tuned_at), window_days=0.0, once=True,
        series=_series(found, first), tuned_at=tuned_at,
    )  # fmt: skip
    # the days only say where a plan's looks were: their lifts are not read
    read = np.arange(collected.looks) < size
    lists = sheets(measure(collected, plan, read), read)
    tuned = lists[found.evidence.primary].m.whole.n_star[:size]
    return _Many(
        sheets=lists, compared=evidence.compared(), days=first,
        beside=beside(evidence, tuned, plan.window_days),
    )  # fmt: skip


def _accrual(found: Survey, tuned_at: Index) -> Accrual | None:
    """The arrivals of the experiment of every look."""
    accrual = arrivals.accruals(found.evidence, found.looks)
    return None if accrual is None else columnar.rows(accrual, tuned_at)


def _series(found: Survey, first: int | None) -> Series:
    """The days of every experiment as looks, filled up with the look without units; without days the one
    look there is."""
    evidence, start = found.evidence, found.looks.start
    size, length = len(evidence.subjects), int(np.diff(start).max(initial=0))
    at, variants = tuple(range(size)), tuple(len(subject.variants) - 1 for subject in evidence.subjects)
    if first is None:
        return Series(rows=np.arange(size)[:, None], days=found.span[:, None, None], at=at, variants=variants)
    rows = np.full((size, length), size, dtype=np.int64)
    days = np.zeros((size, length), dtype=np.int64)
    for e in range(size):
        own = found.looks.of(e)
        here = found.looks.days[own]
        rows[e, : len(here)] = first + np.arange(own.start, own.stop)
        days[e, : len(here)] = here - here[:1].sum() + evidence.day_width
    return Series(rows=rows, days=days[..., None], at=at, variants=variants)


def _row(found: Survey, many: _Many, e: int, limits: Thresholds) -> BatchRow:
    evidence = found.evidence
    variants, rule = evidence.subjects[e].variants, evidence.rule
    measured, others = [s.m for s in many.sheets], len(variants) - 1
    corrected = family.corrected(measured, e, others, rule)
    own = found.looks.of(e)
    dates = [iso_day(day) for day in found.looks.days[own].tolist()] if many.days is not None else []
    looks = Looks(
        overall=e, days=[(day, (many.days or 0) + own.start + place) for place, day in enumerate(dates)]
    )
    mix = mixed(evidence.subjects[e], found.overall[found.evidence.primary][e], many.compared[e])
    metrics = tuple(
        metric_reading(
            s, looks, variants, rule, corrected, place, None, mix if s.m.metric.role is Role.PRIMARY else ()
        )
        for place, s in enumerate(many.sheets)
    )
    first = iso_day(int(found.looks.days[own.start])) if own.start < own.stop else None
    return _line(judge(found, e, metrics, limits, around=many.beside[e]), first)


def _unreadable(key: str, reason: str) -> BatchRow:
    """An experiment of which a row cannot be read."""
    return BatchRow(
        experiment=key, first_day=None, group=None, n=0, variants=0, verdict=VerdictKind.INVALID,
        promoted=None, reason=reason, srm_p=None, srm=Severity.OK, variant=None, control_value=None,
        variant_value=None, effect=None, interval=None, sequence=None, lift=None, lift_interval=None, p=None,
        anytime_p=None, n_needed=None, missing=Missing(code="unreadable", message=reason),
        checks=(readable(reason),),
    )  # fmt: skip


def _line(judged: Judgement, day: str | None) -> BatchRow:
    found, verdict = judged.findings, judged.verdict
    metric = next(m for m in found.metrics if m.role == "primary")
    best = foremost(metric)
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
        checks=judged.checks,
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
