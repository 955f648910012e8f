"""From evidence to the frozen report of one experiment."""

from __future__ import annotations

from dataclasses import replace

from analysis import family
from analysis.checks import N
from analysis.evidence import Evidence
from analysis.facts import Backlog
from analysis.judge import Survey, judge, survey
from analysis.measure import collect, measure
from analysis.report import format as fmt
from analysis.report.comparisons import Looks, Place, comparison
from analysis.report.header import Header
from analysis.report.model import Check, Contamination, History, Reading, Report, Severity
from analysis.report.model import Evidence as Grading
from analysis.report.readings import SUBJECT, Readings, read
from analysis.report.sheet import sheets
from analysis.rule import Finding
from analysis.thresholds import DEFAULT, Thresholds
from analysis.validity import confounding
from experiment.definition import Grade


def build(
    evidence: Evidence,
    header: Header,
    *,
    backlog: Backlog | None = None,
    others: Check | None = None,
    history: History | None = None,
    limits: Thresholds = DEFAULT,
) -> Report:
    """The report of evidence that holds exactly one experiment.

    Args:
        backlog: what a live ledger has not summed yet; None: the data are closed. others: the check of the
            experiments that run beside it; None: those of the same table. history: what was measured of
            models no longer in force.
    """
    found = survey(evidence, limits)
    readings = read(found, limits)
    matured, live = readings.matured, readings.live
    judged = judge(found, SUBJECT, matured.metrics, limits, others=others, backlog=backlog)
    results, findings = judged.checks, judged.findings
    reached, why = findings.grade
    primary, subject = matured.metrics[found.primary], evidence.subjects[SUBJECT]
    return Report(
        header=header,
        verdict=judged.verdict,
        matured=matured,
        live=live,
        checks=results,
        contamination=_contamination(found, readings),
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
            evidence.rule
        ),
        sensitivity=confounding.sensitivity(primary, why) if reached is Grade.DESCRIPTIVE else (),
        matures=findings.waiting,
        history=history,
    )  # fmt: skip


def _contamination(found: Survey, readings: Readings) -> Contamination:
    """The share of contaminated units, and the primary comparison with them left in."""
    evidence, place = found.evidence, found.primary
    removed = int(found.removed[SUBJECT, ..., N].sum())
    total = readings.live.n + removed
    share = removed / total if total else 0.0
    if not removed:
        return Contamination(units=0, share=share, with_them=())
    totals = evidence.totals(place, evidence.matured())[SUBJECT : SUBJECT + 1]
    rule, variants = evidence.rule, evidence.subjects[SUBJECT].variants
    plan = replace(readings.plan, n_star=readings.measured[place].whole.n_star[:1], tuned_at=None)
    collected = collect([evidence.metrics[place]], [[totals]], rule, ((0,), [totals]), evidence.compared())
    measured = measure(collected, plan)
    with_them, (shown,) = measured[0], sheets(measured, rule)
    corrected = family.corrected([with_them], [shown.headline], [shown.confirmed], 0, len(variants) - 1, rule)
    adjusted, confirmed = corrected.adjusted[0].tolist(), corrected.confirmed[0].tolist()
    return Contamination(
        units=removed,
        share=share,
        with_them=tuple(
            comparison(
                shown,
                Place(v=v, looks=Looks(), variants=variants, adjusted=adjusted[v], confirmed=confirmed[v]),
                rule,
            )
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
