"""The one judge: everything its checks and its rule read of any number of experiments, and its judgement.

A report of one experiment and a table of thousands take the same way: `survey` computes for all of them at
once what checks read, `judge` looks at one of them. Nobody else fills `Findings`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from switchpoint.analysis.evidence.evidence import DayLooks, Evidence, Mask, Subject
from switchpoint.analysis.evidence.facts import Backlog, Unseen
from switchpoint.analysis.evidence.moments import Totals
from switchpoint.analysis.evidence.pairs import left_out
from switchpoint.analysis.judgement.beside import Pair, check_pairs, distinct, pairwise
from switchpoint.analysis.judgement.verdict import Case, decide, rivals
from switchpoint.analysis.numerics.estimates import Float
from switchpoint.analysis.numerics.reasons import Codes
from switchpoint.analysis.results.header import instant, iso_day
from switchpoint.analysis.results.judgement import Check, Maturing, MetricReading, Verdict
from switchpoint.analysis.results.thresholds import Thresholds
from switchpoint.analysis.validity import allocation, examine
from switchpoint.analysis.validity import run as checks
from switchpoint.analysis.validity.concurrent import Window, windows
from switchpoint.analysis.validity.examine import Days
from switchpoint.analysis.validity.run import Counts, Findings, N
from switchpoint.analysis.validity.unit_checks import Beside, Carried
from switchpoint.experiment.definition.types import DAY_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What checks read of all experiments of the evidence.

    `looks` and `single`: the exposure days of clean units, and every metric's totals on each alone.
    `overall`: every metric's totals (subjects, strata, variants) of matured clean units, `matured` and `live`
    the counts (subjects, strata, variants, COUNTS) of matured and of all clean units, `removed` those of
    units seen in several variants. `span` and `live_span`: exposure days from the first to the last one that
    has matured, and to the last of all; 0 where days are not recorded.
    """

    evidence: Evidence
    looks: DayLooks
    single: tuple[Totals, ...]
    overall: tuple[Totals, ...]
    live: Counts
    matured: Counts
    removed: Counts
    ratios: allocation.Ratios
    left_out: tuple[Codes, Float]
    days: tuple[Days | Unseen, ...]
    span: Counts
    live_span: Counts
    before: examine.Differences
    denominators: examine.Differences
    carried: tuple[tuple[Carried, ...] | Unseen, ...]
    windows: tuple[Window | Unseen, ...]


def survey(evidence: Evidence, limits: Thresholds) -> Survey:
    """Everything of all experiments at once."""
    clean, ready = evidence.clean(), evidence.matured()
    places = range(len(evidence.metrics))
    looks = evidence.by_day(clean if evidence.day_width else np.zeros_like(clean))
    single = tuple(evidence.daily_totals(place, looks) for place in places)
    overall = tuple(evidence.totals(place, ready & clean) for place in places)
    matured = evidence.counts(ready & clean)
    ratios = allocation.ratios(evidence, matured[..., N])
    closed = evidence.closed_days(looks.days)
    return Survey(
        evidence=evidence, looks=looks, single=single, overall=overall, live=evidence.counts(clean),
        matured=matured, removed=evidence.counts(~clean), ratios=ratios,
        left_out=left_out(overall[evidence.primary], evidence.compared()),
        days=examine.days(evidence, looks, single),
        span=_span(evidence, looks, closed), live_span=_span(evidence, looks, np.ones_like(closed)),
        before=examine.before_exposure(evidence, overall),
        denominators=examine.denominators(evidence, overall),
        carried=examine.carried(evidence, overall),
        windows=windows(evidence, looks, allocation.overall_severity(ratios, limits)),
    )  # fmt: skip


def _span(evidence: Evidence, looks: DayLooks, chosen: Mask) -> Counts:
    """Exposure days from the first to the last of those chosen, which come first; 0 without any."""
    found = np.zeros(len(evidence.subjects), dtype=np.int64)
    for e in range(len(found)):
        days = evidence.running(looks.days[looks.of(e)][chosen[looks.of(e)]])
        if len(days):
            found[e] = days[-1] - days[0] + evidence.day_width
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdict on one experiment, its checks in their order, what they looked at, and every metric's
    comparisons of two variants: those asked for and those of several winners."""

    findings: Findings
    checks: tuple[Check, ...]
    verdict: Verdict
    pairs: tuple[MetricReading, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a reader gives along: `models` (`name@version`) by variant, to be named by, and the pairs of
    variants to `compare` with each other."""

    models: Mapping[str, str] = field(default_factory=dict)
    compare: Sequence[Pair] = ()


_PLAIN = Request()


def judge(
    found: Survey,
    subject: int,
    metrics: tuple[MetricReading, ...],
    limits: Thresholds,
    *,
    around: Beside,
    others: Check | None = None,
    backlog: Backlog | None = None,
    request: Request = _PLAIN,
) -> Judgement:
    """Judge one experiment of the survey.

    Args:
        metrics: its matured readings. around: what the primary one shows otherwise. others: the check of the
            experiments beside a live one; None: those of the same table. backlog: what a live ledger has not
            counted yet; None: the data are closed. request: what else is wanted.

    Raises:
        BadInput: a pair of variants that are not there.
    """
    evidence = found.evidence
    check_pairs(request.compare, evidence.subjects[subject].variants)
    findings = _findings(found, subject, metrics, limits, around, others, backlog)
    results = checks.run(findings, limits)
    case = Case(
        rule=findings.rule, metrics=metrics, checks=results,
        days=_runtime(findings.subject, metrics, int(found.span[subject])), models=request.models,
    )  # fmt: skip
    pairs = pairwise(evidence, subject, found.overall, metrics, distinct([*request.compare, *rivals(case)]))
    between = next((m.comparisons for m in pairs if m.role == "primary"), ())
    verdict = decide(replace(case, pairs=between))
    return Judgement(findings=findings, checks=results, verdict=verdict, pairs=pairs)


def _runtime(subject: Subject, metrics: tuple[MetricReading, ...], span: int) -> int:
    """The exposure days that count towards the maximum runtime: those of the youngest variant that still gets
    units, which may have come, or got its model, after the others."""
    newest = max((stratum.epoch for stratum in subject.strata), default=0)
    weights = [stratum.weights for stratum in subject.strata if stratum.epoch == newest]
    young = [
        c.days
        for metric in metrics
        for v, c in enumerate(metric.comparisons, start=1)
        if c.days is not None and any(w is None or w[v] > 0 for w in weights)
    ]
    return min([span, *young])


def _findings(
    found: Survey,
    e: int,
    metrics: tuple[MetricReading, ...],
    limits: Thresholds,
    around: Beside,
    others: Check | None,
    backlog: Backlog | None,
) -> Findings:
    evidence, live = found.evidence, found.live[e]
    per_day = int(live[..., N].sum()) / int(found.live_span[e]) if found.live_span[e] else None
    return Findings(
        subject=evidence.subjects[e], rule=evidence.rule, window_days=evidence.window_ms / DAY_MS,
        clustered=evidence.clustered, live=live, removed=found.removed[e],
        matured=int(found.matured[e, ..., N].sum()),
        days=int(found.span[e]) if evidence.day_width else None,
        waiting=_waiting(evidence, e), ratios=allocation.rows(evidence, found.ratios, e, limits),
        metrics=metrics,
        overlap=checks.overlap_of(
            evidence, e, live[..., N], found.overall[evidence.primary][e : e + 1], metrics, per_day
        ),
        left_out=(found.left_out[0][e], found.left_out[1][e]), facts=evidence.facts[e], series=found.days[e],
        before=found.before[e], denominators=found.denominators[e], carried=found.carried[e],
        canaries=examine.canaries(evidence, e), window=found.windows[e], beside=around,
        others=others, backlog=backlog,
    )  # fmt: skip


def _waiting(evidence: Evidence, subject: int) -> Maturing | None:
    """The next exposure day to mature."""
    found = evidence.next_matured(subject)
    return None if found is None else Maturing(day=iso_day(found[0]), at=instant(found[1]))
