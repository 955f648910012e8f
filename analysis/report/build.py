"""From evidence to the frozen report of one experiment."""

from __future__ import annotations

from dataclasses import replace

from analysis import checks, examine, family
from analysis.estimates import left_out
from analysis.evidence import Evidence
from analysis.measure import collect, measure
from analysis.report import format as fmt
from analysis.report.comparisons import Looks, Place, comparison, iso_day
from analysis.report.header import Header, instant
from analysis.report.model import Check, Contamination, History, Maturing, Reading, Report, Severity
from analysis.report.model import Evidence as Grading
from analysis.report.readings import SUBJECT, N, Readings, read
from analysis.report.sheet import sheets
from analysis.rule import Finding
from analysis.thresholds import DEFAULT, Thresholds
from analysis.validity import confounding, gates
from analysis.verdict import Case, decide
from experiment.definition import Grade, Role


def build(
    evidence: Evidence,
    header: Header,
    *,
    pending: int = 0,
    late: int = 0,
    others: Check | None = None,
    history: History | None = None,
    limits: Thresholds = DEFAULT,
) -> Report:
    """The report of evidence that holds exactly one experiment.

    Args:
        pending: units waiting for a refold. late: events kept but not summed. others: the check of the
            experiments that run beside it. history: what was measured of models no longer in force.
    """
    readings = read(evidence, limits)
    matured, live = readings.matured, readings.live
    waiting = _waiting(evidence)
    found = replace(
        _findings(evidence, header, readings), pending=pending, late=late, others=others, waiting=waiting
    )
    results = checks.run(found, limits)
    verdict = decide(Case(rule=evidence.rule, metrics=matured.metrics, checks=results, days=matured.days))
    reached, why = gates.grade(header.assignment, bool(found.overlap.aliased), clustered=evidence.clustered)
    primary, subject = matured.metrics[primary_of(evidence)], evidence.subjects[SUBJECT]
    return Report(
        header=header,
        verdict=verdict,
        matured=matured,
        live=live,
        checks=results,
        contamination=_contamination(evidence, readings, found),
        overlap=found.overlap,
        evidence=Grading(
            grade=reached.value, required=evidence.rule.evidence.value, sentence=why,
            sufficient=not any(c.name == "evidence" and c.severity is Severity.GATE for c in results),
        ),
        pending=pending,
        late=late,
        warnings=(
            *(c.message for c in results if c.severity is Severity.WARN), *_live_harm(live, matured),
            *(() if history is None else (history.sentence,)),
        ),
        thresholds=limits.to_dict(),
        family=family.sentences(
            readings.measured, len(subject.variants) - 1, len({s.segment for s in subject.strata}),
            evidence.rule
        ),
        sensitivity=confounding.sensitivity(primary, why) if reached is Grade.DESCRIPTIVE else (),
        matures=waiting,
        history=history,
    )  # fmt: skip


def _waiting(evidence: Evidence) -> Maturing | None:
    """The next exposure day to mature."""
    found = evidence.next_matured()
    return None if found is None else Maturing(day=iso_day(found[0]), at=instant(found[1]))


def _findings(evidence: Evidence, header: Header, readings: Readings) -> checks.Findings:
    matured, live, overall = readings.matured, readings.live, readings.totals
    counts = evidence.counts(evidence.clean())[SUBJECT]
    per_day = live.n / live.days if live.days else None
    ready = overall[primary_of(evidence)]
    dropped, covered = left_out(ready, evidence.compared())
    facts = evidence.facts[SUBJECT] if evidence.facts is not None else None
    return checks.Findings(
        subject=evidence.subjects[SUBJECT], rule=evidence.rule, assignment=header.assignment,
        window_days=header.window_days, live=counts,
        contaminated=sum(v.contaminated for v in live.variants), matured=matured.n,
        days=matured.days if evidence.day_width else None,
        ratios=matured.sample_ratio, metrics=matured.metrics,
        overlap=checks.overlap_of(evidence, SUBJECT, counts[..., N], ready, matured.metrics, per_day),
        left_out=(dropped[0], covered[0]), clustered=evidence.clustered, facts=facts,
        series=examine.days(evidence, readings.days, readings.single),
        canaries=examine.canaries(evidence),
        before=examine.before_exposure(evidence, overall),
        denominators=examine.denominators(evidence, overall),
        carried=examine.carried(evidence, overall, facts.extremes) if facts is not None else (),
    )  # fmt: skip


def primary_of(evidence: Evidence) -> int:
    """The place of the primary metric."""
    return next(i for i, m in enumerate(evidence.metrics) if m.role is Role.PRIMARY)


def _contamination(evidence: Evidence, readings: Readings, found: checks.Findings) -> Contamination:
    """The share of contaminated units, and the primary comparison with them left in."""
    total = readings.live.n + found.contaminated
    share = found.contaminated / total if total else 0.0
    if not found.contaminated:
        return Contamination(units=0, share=share, with_them=())
    place = primary_of(evidence)
    totals = evidence.totals(place, evidence.matured())[SUBJECT : SUBJECT + 1]
    rule, variants = evidence.rule, evidence.subjects[SUBJECT].variants
    plan = replace(readings.plan, n_star=readings.measured[place].whole.n_star[:1], tuned_at=None)
    collected = collect([evidence.metrics[place]], [[totals]], rule, compared=evidence.compared())
    measured = measure(collected, plan)
    with_them, (shown,) = measured[0], sheets(measured, rule)
    corrected = family.corrected([with_them], [shown.headline], 0, len(variants) - 1, rule)
    adjusted = corrected.adjusted[0].tolist()
    return Contamination(
        units=found.contaminated,
        share=share,
        with_them=tuple(
            comparison(shown, Place(v=v, looks=Looks(), variants=variants, adjusted=adjusted[v]), rule)
            for v in range(len(variants) - 1)
        ),
    )


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
