"""From evidence to the frozen report of one experiment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis import checks
from analysis.evidence import DayLooks, Evidence, Mask
from analysis.inference.multiplicity import Correction, adjust
from analysis.inference.result import Float
from analysis.measure import Measured, Plan, measure, planned
from analysis.planning.accrual import Accrual, fit_accrual
from analysis.report import comparisons
from analysis.report.comparisons import Looks, iso_day, metric_reading
from analysis.report.header import Header
from analysis.report.model import (
    Comparison,
    Contamination,
    MetricReading,
    Reading,
    Report,
    Severity,
    VariantCount,
)
from analysis.report.model import Evidence as Grading
from analysis.thresholds import DEFAULT, Thresholds
from analysis.totals import Totals, join
from analysis.validity import allocation, gates
from analysis.verdict import Case, decide
from experiment.definition import DAY_MS, Role

SUBJECT = 0
"""A report is of one experiment: its place in the evidence."""


def build(
    evidence: Evidence, header: Header, *, pending: int = 0, late: int = 0, limits: Thresholds = DEFAULT
) -> Report:
    """The report of evidence that holds exactly one experiment.

    Args:
        pending: units waiting for a refold. late: events kept but not summed.
    """
    plan = _plan(evidence)
    ready = evidence.matured()
    days = [ready] if ready.all() else [ready, np.ones_like(ready)]
    measured, readings = _read(evidence, days, plan, limits)
    matured, live = replace(readings[0], name="matured"), replace(readings[-1], name="live")
    found = _findings(evidence, header, matured, measured, live, pending, late)
    results = checks.run(found, limits)
    verdict = decide(Case(rule=evidence.rule, metrics=matured.metrics, checks=results, days=matured.days))
    reached, why = gates.grade(header.assignment, bool(found.overlap.aliased))
    return Report(
        header=header,
        verdict=verdict,
        matured=matured,
        live=live,
        checks=results,
        contamination=_contamination(evidence, plan, live, found),
        overlap=found.overlap,
        evidence=Grading(
            grade=reached.value, required=evidence.rule.evidence.value, sentence=why,
            sufficient=not any(c.name == "evidence" and c.severity is Severity.GATE for c in results),
        ),
        pending=pending,
        late=late,
        warnings=(*(c.message for c in results if c.severity is Severity.WARN), *_live_harm(live, matured)),
        thresholds=limits.to_dict(),
    )  # fmt: skip


def _plan(evidence: Evidence) -> Plan:
    """Arrivals over all days, and the planned units from what has matured (or all, before anything has)."""
    clean, matured = evidence.clean(), evidence.matured()
    mask = clean & matured if (clean & matured).any() else clean
    plan = Plan(
        rule=evidence.rule,
        accrual=_accrual(evidence, clean),
        window_days=0.0 if evidence.closed else evidence.window_ms / DAY_MS,
    )
    index, primary = next((i, m) for i, m in enumerate(evidence.metrics) if m.role is Role.PRIMARY)
    return replace(plan, n_star=planned(primary, evidence.totals(index, mask), plan)[SUBJECT])


def _accrual(evidence: Evidence, mask: Mask) -> Accrual | None:
    """Arrival of each pair's units by whole calendar day; None where days are not recorded."""
    looks = evidence.by_day(SUBJECT, mask)
    if evidence.day_width != 1 or not len(looks.days):
        return None
    first, last = int(looks.days[0]), int(looks.days[-1])
    end = last if evidence.closed else max(evidence.at // DAY_MS - 1, first)
    units = evidence.daily_units(looks).sum(axis=1)
    by_day = np.zeros((max(end, last) - first + 1, units.shape[-1]))
    by_day[looks.days - first] = units
    cumulative = by_day[: end - first + 1].cumsum(axis=0)
    return fit_accrual((cumulative[:, :1] + cumulative[:, 1:]).T)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lead:
    """The looks of one reading: overall, then segments, then days; `size` of them from `looks.overall` on."""

    mask: Mask
    looks: Looks
    size: int
    segment_of: tuple[int, ...]
    days: DayLooks


def _lead(evidence: Evidence, mask: Mask, start: int) -> _Lead:
    strata = evidence.subjects[SUBJECT].strata
    names = list(dict.fromkeys(stratum.segment for stratum in strata))
    shown = names if len(names) > 1 else []
    days = evidence.by_day(SUBJECT, mask if evidence.day_width else np.zeros_like(mask))
    units = evidence.daily_units(days).sum(axis=1)
    after = start + 1 + len(shown)
    looks = Looks(
        overall=start,
        segments=[(name, start + 1 + place) for place, name in enumerate(shown)],
        days=[(iso_day(int(day)), after + place) for place, day in enumerate(days.days)],
        day_units=[[int(n) for n in row] for row in units],
    )
    return _Lead(
        mask=mask, looks=looks, size=after - start + len(days.days), days=days,
        segment_of=tuple(names.index(s.segment) for s in strata),
    )  # fmt: skip


def _stacked(evidence: Evidence, metric: int, lead: _Lead) -> list[Totals]:
    """Totals of every look of a reading, to be joined: (looks, strata, variants)."""
    overall = evidence.totals(metric, lead.mask)[SUBJECT : SUBJECT + 1]
    parts = [overall]
    _, strata, variants = evidence.shape
    if lead.looks.segments:
        place = np.arange(strata * variants).reshape(strata, variants)
        place = place + np.asarray(lead.segment_of)[:, None] * strata * variants
        flat = overall.each(lambda part: part.reshape(-1))
        parts.append(flat.grouped(place.reshape(-1), (len(lead.looks.segments), strata, variants)))
    if lead.looks.days:
        parts.append(evidence.daily_totals(metric, lead.days).cumulative())
    return parts


def _read(
    evidence: Evidence, days: Sequence[Mask], plan: Plan, limits: Thresholds
) -> tuple[tuple[Measured, ...], list[Reading]]:
    """One reading per set of exposure days, measured together; contaminated units are left out."""
    leads: list[_Lead] = []
    for mask in days:
        leads.append(_lead(evidence, mask & evidence.clean(), sum(lead.size for lead in leads)))
    measured = tuple(
        measure(metric, join([part for lead in leads for part in _stacked(evidence, place, lead)]), plan)
        for place, metric in enumerate(evidence.metrics)
    )
    return measured, [
        _reading(evidence, mask, lead, measured, limits) for mask, lead in zip(days, leads, strict=True)
    ]


def _reading(
    evidence: Evidence, days: Mask, lead: _Lead, measured: tuple[Measured, ...], limits: Thresholds
) -> Reading:
    counts = evidence.counts(lead.mask)
    return Reading(
        name="",
        first_day=lead.looks.days[0][0] if lead.looks.days else None,
        last_day=lead.looks.days[-1][0] if lead.looks.days else None,
        days=_span(evidence, lead.days),
        n=int(counts[SUBJECT, ..., checks.N].sum()),
        variants=_variant_counts(
            evidence, counts[SUBJECT], evidence.counts(days & ~evidence.clean())[SUBJECT]
        ),
        sample_ratio=allocation.rows(
            evidence, allocation.ratios(evidence, counts[..., checks.N]), SUBJECT, limits
        ),
        metrics=_metric_readings(evidence, measured, lead.looks),
    )


def _span(evidence: Evidence, looks: DayLooks) -> int:
    """Exposure days from the first to the last; 0 where they are not recorded."""
    if not evidence.day_width or not len(looks.days):
        return 0
    return int(looks.days[-1] - looks.days[0]) + evidence.day_width


def _metric_readings(
    evidence: Evidence, measured: Sequence[Measured], looks: Looks
) -> tuple[MetricReading, ...]:
    variants = evidence.subjects[SUBJECT].variants
    return tuple(
        metric_reading(
            m, looks, variants, evidence.rule, family(m, looks.overall, len(variants), evidence).tolist()
        )
        for m in measured
    )


def family(m: Measured, look: int, variants: int, evidence: Evidence) -> Float:
    """Headline p of each other variant: Holm over the variants of the primary metric, as it is elsewhere."""
    p = comparisons.headline_p(m, evidence.rule.design)[look, : variants - 1]
    return adjust(p, Correction.HOLM) if m.metric.role is Role.PRIMARY else p


def _variant_counts(
    evidence: Evidence, counts: checks.Counts, removed: checks.Counts
) -> tuple[VariantCount, ...]:
    total = int(counts[..., checks.N].sum())
    rows = []
    for v, key in enumerate(evidence.subjects[SUBJECT].variants):
        n, exposures, fallen, mismatched, carried = (int(x) for x in counts[:, v].sum(axis=0))
        rows.append(
            VariantCount(
                variant=key, n=n, share=n / total if total else None, exposures=exposures, fallbacks=fallen,
                fallback_share=fallen / exposures if exposures else None, mismatches=mismatched,
                contaminated=int(removed[:, v, checks.N].sum()), carried=carried,
            )
        )  # fmt: skip
    return tuple(rows)


def _findings(
    evidence: Evidence,
    header: Header,
    matured: Reading,
    measured: Sequence[Measured],
    live: Reading,
    pending: int,
    late: int,
) -> checks.Findings:
    primary = next(m for m in measured if m.metric.role is Role.PRIMARY)
    counts = evidence.counts(evidence.clean())[SUBJECT]
    per_day = live.n / live.days if live.days else None
    return checks.Findings(
        subject=evidence.subjects[SUBJECT], rule=evidence.rule, assignment=header.assignment,
        window_days=header.window_days, live=counts,
        contaminated=sum(v.contaminated for v in live.variants), matured=matured.n, days=matured.days,
        ratios=matured.sample_ratio, metrics=matured.metrics,
        overlap=checks.overlap_of(evidence, SUBJECT, counts[..., checks.N], primary, per_day),
        primary=primary, pending=pending, late=late,
    )  # fmt: skip


def _contamination(evidence: Evidence, plan: Plan, live: Reading, found: checks.Findings) -> Contamination:
    """The share of contaminated units, and the primary comparison with them left in."""
    total = live.n + found.contaminated
    share = found.contaminated / total if total else 0.0
    if not found.contaminated:
        return Contamination(units=0, share=share, with_them=())
    place = next(i for i, m in enumerate(evidence.metrics) if m.role is Role.PRIMARY)
    with_them = measure(found.primary.metric, evidence.totals(place, evidence.matured()), plan)
    variants = evidence.subjects[SUBJECT].variants
    adjusted = family(with_them, SUBJECT, len(variants), evidence)
    shown: list[Comparison] = [
        comparisons.comparison(with_them, v, Looks(), variants, evidence.rule, float(adjusted[v]))
        for v in range(len(variants) - 1)
    ]
    return Contamination(units=found.contaminated, share=share, with_them=tuple(shown))


def _live_harm(live: Reading, matured: Reading) -> tuple[str, ...]:
    """Guardrails harmed in the live reading that the matured one does not show yet."""
    seen = {(m.key, c.variant) for m in matured.metrics for c in m.comparisons if c.guard and c.guard.harmed}
    return tuple(
        f"Live, before its window closes: guardrail {m.key} is harmed by {c.variant}."
        for m in live.metrics
        for c in m.comparisons
        if c.guard is not None
        and c.guard.harmed
        and gates.enough_events(c)
        and (m.key, c.variant) not in seen
    )
