"""From evidence to the frozen result of one experiment."""

from __future__ import annotations

from collections.abc import Sequence

from switchpoint.analysis.evidence.evidence import Evidence
from switchpoint.analysis.evidence.facts import Backlog
from switchpoint.analysis.judgement import family
from switchpoint.analysis.judgement.beside import beside
from switchpoint.analysis.judgement.judge import Request, Survey, judge, survey
from switchpoint.analysis.judgement.pairwise import Pair
from switchpoint.analysis.judgement.readings import SUBJECT, read
from switchpoint.analysis.results import format as fmt
from switchpoint.analysis.results.header import Header
from switchpoint.analysis.results.judgement import (
    Check,
    Contamination,
    ExperimentResult,
    History,
    Reading,
    Severity,
)
from switchpoint.analysis.results.judgement import Evidence as Grading
from switchpoint.analysis.results.numbers import Finding
from switchpoint.analysis.results.thresholds import DEFAULT, Thresholds
from switchpoint.analysis.validity import confounding
from switchpoint.analysis.validity.contamination import Beside
from switchpoint.analysis.validity.run import N
from switchpoint.experiment.definition.types import Grade


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
    tuned = readings.measured[found.primary].whole.n_star[:1]
    (around,) = beside(evidence, tuned, readings.plan.window_days)
    models = {v.key: v.model for v in header.variants if v.model is not None}
    judged = judge(
        found, SUBJECT, matured.metrics, limits, around=around, others=others, backlog=backlog,
        request=Request(models=models, compare=compare),
    )  # fmt: skip
    results, findings = judged.checks, judged.findings
    reached, why = findings.grade
    primary, subject = matured.metrics[found.primary], evidence.subjects[SUBJECT]
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
