"""Sample ratio of every stratum and overall, for one or thousands of experiments, as report rows and a check.

The units compared are the analysed ones (contaminated units are already out), so a removal that hits one
variant more than another shows here too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.errors import Reason
from analysis.evidence import Evidence
from analysis.report.model import Check, Missing, SampleRatio, Severity
from analysis.thresholds import Thresholds
from analysis.validity import sample_ratio

Counts = NDArray[np.int64]
_UNKNOWN = Missing(
    code="weights_unknown",
    message="The intended allocation is not known, so the sample ratio cannot be judged; give `weights`.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratios:
    """Tests per stratum (subjects, strata) and over all strata (subjects); `known`: weights are given."""

    n: Counts
    known: NDArray[np.bool_]
    strata: sample_ratio.SampleRatio
    overall: sample_ratio.SampleRatio


def ratios(evidence: Evidence, n: Counts) -> Ratios:
    """Chi-square of units (subjects, strata, variants) against each stratum's weights.

    The overall test adds the strata's statistics and degrees of freedom, so ramps and unequal segments
    cannot hide or fake a mismatch.
    """
    weights, known = np.zeros(n.shape), np.zeros(n.shape[:2], dtype=bool)
    for e, subject in enumerate(evidence.subjects):
        for s, stratum in enumerate(subject.strata):
            if stratum.weights is not None:
                weights[e, s, : len(stratum.weights)] = stratum.weights
                known[e, s] = True
    # unknown weights: no units are counted, so nothing is accused
    strata = sample_ratio.sample_ratio(np.where(known[..., None], n, 0), weights)
    return Ratios(n=n, known=known, strata=strata, overall=sample_ratio.combine(strata))


def severity(p: float | None, stray: float, limits: Thresholds, *, tests: int = 1) -> Severity:
    """What a sample-ratio p does to the verdict; `tests` looked at together share the threshold."""
    if stray > 0 or (p is not None and p * tests < limits.srm_invalid):
        return Severity.INVALID
    return Severity.WARN if p is not None and p * tests < limits.srm_warn else Severity.OK


def rows(evidence: Evidence, found: Ratios, subject: int, limits: Thresholds) -> tuple[SampleRatio, ...]:
    """The overall row, then one per stratum that holds units (omitted where there is only one)."""
    strata = evidence.subjects[subject].strata
    held = [s for s in range(len(strata)) if found.n[subject, s].sum() > 0]
    overall = _row(evidence, found, subject, None, limits, len(held))
    if len(strata) < 2:
        return (overall,)
    return (overall, *(_row(evidence, found, subject, s, limits, len(held)) for s in held))


def _row(
    evidence: Evidence, found: Ratios, e: int, s: int | None, limits: Thresholds, tests: int
) -> SampleRatio:
    subject = evidence.subjects[e]
    size = len(subject.variants)
    at: tuple[int, ...] = (e,) if s is None else (e, s)
    test = found.overall if s is None else found.strata
    known = bool(found.known[e, : len(subject.strata)].all() if s is None else found.known[at])
    reason = Reason.of(int(test.reason[at]))
    missing = None if reason is None else Missing(code=reason.value, message=reason.sentence)
    p = None if reason is not None else float(test.p_value[at])
    units = found.n[e].sum(axis=0) if s is None else found.n[at]
    return SampleRatio(
        scope="overall" if s is None else subject.strata[s].label,
        segment=None if s is None else subject.strata[s].segment,
        epoch=None if s is None else subject.strata[s].epoch,
        variants=subject.variants,
        observed=tuple(int(x) for x in units[:size]),
        expected=tuple(float(x) for x in test.expected[at][:size]) if known else None,
        statistic=None if p is None else float(test.statistic[at]),
        df=None if p is None else int(test.df[at]),
        p=p,
        severity=severity(p, float(test.stray[at]), limits, tests=1 if s is None else tests),
        missing=missing if known else _UNKNOWN,
    )


def check(found: tuple[SampleRatio, ...]) -> Check:
    """One check of all rows: the overall test, and the strata under one shared threshold."""
    worst = max(
        found, key=lambda row: (list(Severity).index(row.severity), -(row.p if row.p is not None else 1))
    )
    overall = found[0]
    if overall.missing is not None and worst.severity is Severity.OK:
        unknown = overall.missing.code == _UNKNOWN.code
        return Check(
            name="sample ratio", severity=Severity.WARN if unknown else Severity.OK,
            message=overall.missing.message, numbers={"p": None},
        )  # fmt: skip
    pairs = zip(worst.variants, worst.observed, worst.expected or (), strict=False)
    table = ", ".join(f"{variant} {n:,} (intended {expected:,.0f})" for variant, n, expected in pairs)
    where = "" if worst.scope == "overall" else f" in {worst.scope}"
    p = "p = 0" if worst.p is None else f"p = {worst.p:.2g}" if worst.p > 1e-300 else "p < 1e-300"
    sentence = {
        Severity.INVALID: (f"Units do not split as intended{where}: {table}; {p}. Some were lost or moved."),
        Severity.WARN: f"Units split oddly{where}: {table}; {p}.",
    }.get(worst.severity, f"Units split as intended (p = {overall.p:.2g})." if overall.p is not None else "")
    return Check(
        name="sample ratio", severity=worst.severity, message=sentence,
        numbers={"p": overall.p, "worst_p": worst.p, "worst_scope": worst.scope},
    )  # fmt: skip
