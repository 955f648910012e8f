"""Sample ratio of every stratum and overall, for one or thousands of experiments, as report rows and a check.

The units compared are the analysed ones (contaminated units are already out), so a removal that hits one
variant more than another shows here too.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, log

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.evidence.evidence import DayLooks, Evidence
from switchpoint.analysis.evidence.facts import Unseen
from switchpoint.analysis.numerics.arrays import rows as columnar_rows
from switchpoint.analysis.numerics.estimates import Float
from switchpoint.analysis.numerics.reasons import Reason
from switchpoint.analysis.results import format as fmt
from switchpoint.analysis.results.judgement import Check, Missing, SampleRatio, Severity
from switchpoint.analysis.results.thresholds import DEFAULT, Thresholds
from switchpoint.analysis.validity import sample_ratio
from switchpoint.analysis.validity.gates import unchecked

Counts = NDArray[np.int64]
_UNKNOWN = Missing(
    code="weights_unknown",
    message="The intended weights are not known: give `weights: equal`, or a share per variant.",
)
_NO_UNITS = Missing(code="no_units", message="Not checked: no unit has matured.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratios:
    """Tests per stratum (subjects, strata) and over all strata (subjects); `known`: weights are given.

    `log_e`: of the sequential test per stratum; independent strata add.
    """

    n: Counts
    known: NDArray[np.bool_]
    strata: sample_ratio.SampleRatio
    overall: sample_ratio.SampleRatio
    log_e: Float


def ratios(evidence: Evidence, n: Counts) -> Ratios:
    """Chi-square and sequential test of units (subjects, strata, variants) against each stratum's weights.

    The overall test adds the strata's statistics and degrees of freedom, so ramps and unequal segments
    cannot hide or fake a mismatch.
    """
    weights, known = _weights(evidence, n.shape)
    # unknown weights: no units are counted, so nothing is accused
    counted = np.where(known[..., None], n, 0)
    strata = sample_ratio.sample_ratio(counted, weights)
    return Ratios(
        n=n, known=known, strata=strata, overall=sample_ratio.combine(strata),
        log_e=sample_ratio.log_e_sample_ratio(counted, weights),
    )  # fmt: skip


def _weights(evidence: Evidence, shape: tuple[int, ...]) -> tuple[Float, NDArray[np.bool_]]:
    weights, known = np.zeros(shape), np.zeros(shape[:2], dtype=bool)
    for e, subject in enumerate(evidence.subjects):
        for s, stratum in enumerate(subject.strata):
            if stratum.weights is not None:
                weights[e, s, : len(stratum.weights)] = stratum.weights
                known[e, s] = True
    return weights, known


def by_day(evidence: Evidence, looks: DayLooks) -> sample_ratio.SampleRatio:
    """The test of every exposure day of every experiment, each day alone."""
    units = evidence.daily_units(looks)
    weights, known = _weights(evidence, evidence.shape)
    subject = np.repeat(np.arange(len(evidence.subjects)), np.diff(looks.start))
    counted = np.where(known[subject][..., None], units, 0)
    return sample_ratio.combine(sample_ratio.sample_ratio(counted, weights[subject]))


def severity(p: float | None, stray: float, limits: Thresholds, *, log_e: float, tests: int) -> Severity:
    """What a sample-ratio p does to the verdict; `tests` looked at together share the threshold."""
    if (
        stray > 0
        or log_e >= limits.srm_log_e + log(tests)
        or (p is not None and p * tests < limits.srm_invalid)
    ):
        return Severity.INVALID
    return Severity.WARN if p is not None and p * tests < limits.srm_warn else Severity.OK


def overall_severity(found: Ratios, limits: Thresholds) -> list[Severity]:
    """What the sample ratio over all strata of every experiment does to its verdict."""
    columns = (found.overall.p_value, found.overall.stray, found.log_e.sum(axis=1))
    each = zip(*(column.tolist() for column in columns), strict=True)
    return [severity(p, stray, limits, log_e=log_e, tests=1) for p, stray, log_e in each]


def rows(evidence: Evidence, found: Ratios, subject: int, limits: Thresholds) -> tuple[SampleRatio, ...]:
    """The overall row; one per stratum that holds units where there are several; and, where segments and
    epochs are both several, one per segment and per epoch."""
    strata = evidence.subjects[subject].strata
    held = [s for s in range(len(strata)) if found.n[subject, s].sum() > 0]
    scopes: list[_Scope] = [_Scope("overall", list(range(len(strata))))]
    if len(strata) > 1:
        scopes += [_Scope(strata[s].label, [s], strata[s].segment, strata[s].epoch) for s in held]
    segments, epochs = ({getattr(strata[s], part) for s in held} for part in ("segment", "epoch"))
    if len(segments) > 1 and len(epochs) > 1:
        for name in sorted(segments):
            own = [s for s in held if strata[s].segment == name]
            scopes.append(_Scope(f"{name}, all epochs", own, segment=name))
        for number in sorted(epochs):
            own = [s for s in held if strata[s].epoch == number]
            scopes.append(_Scope(f"epoch {number}", own, epoch=number))
    return tuple(_row(evidence, found, subject, scope, limits, len(scopes) - 1) for scope in scopes)


@dataclass(frozen=True, slots=True)
class _Scope:
    """Strata that are read together."""

    name: str
    strata: list[int]
    segment: str | None = None
    epoch: int | None = None


def _row(
    evidence: Evidence, found: Ratios, e: int, scope: _Scope, limits: Thresholds, tests: int
) -> SampleRatio:
    subject, own = evidence.subjects[e], scope.strata
    size = len(subject.variants)
    test = _together(found, e, own)
    known = bool(found.known[e, own].all())
    reason = Reason.of(int(test.reason))
    missing = None if reason is None else Missing(code=reason.value, message=reason.sentence)
    if not found.n[e, own].any():
        missing = _NO_UNITS
    judged = known or missing is _NO_UNITS
    p = None if reason is not None else float(test.p_value)
    log_e = float(found.log_e[e, own].sum())
    units = found.n[e, own].sum(axis=0)
    alone = 1 if scope.name == "overall" else tests
    return SampleRatio(
        scope=scope.name,
        segment=scope.segment,
        epoch=scope.epoch,
        variants=subject.variants,
        observed=tuple(int(x) for x in units[:size]),
        expected=tuple(float(x) for x in test.expected[:size]) if known else None,
        statistic=None if p is None else float(test.statistic),
        df=None if p is None else int(test.df),
        p=p,
        severity=_row_severity(p, float(test.stray), log_e, limits, tests=alone, known=judged),
        missing=missing if judged else _UNKNOWN,
        anytime_p=None if p is None else float(sample_ratio.sequential_p(log_e)),
        log_e=log_e if p is not None and isfinite(log_e) else None,
    )


def _row_severity(
    p: float | None, stray: float, log_e: float, limits: Thresholds, *, tests: int, known: bool
) -> Severity:
    """A ratio that nobody can judge is never fine, but it accuses nobody either."""
    found = severity(p, stray, limits, log_e=log_e, tests=tests)
    return Severity.WARN if found is Severity.OK and not known else found


def _together(found: Ratios, e: int, strata: list[int]) -> sample_ratio.SampleRatio:
    """The test of some strata of one experiment, without its leading axes."""
    if len(strata) == 1:
        return _entry(_entry(found.strata, e), strata[0])
    picked = np.asarray(strata, dtype=np.int64)
    return sample_ratio.combine(columnar_rows(_entry(found.strata, e), picked))


def _entry(test: sample_ratio.SampleRatio, place: int) -> sample_ratio.SampleRatio:
    """One entry of the leading axis."""
    return sample_ratio.SampleRatio(
        statistic=np.asarray(test.statistic[place]), df=np.asarray(test.df[place]),
        p_value=np.asarray(test.p_value[place]), expected=test.expected[place],
        stray=np.asarray(test.stray[place]), reason=np.asarray(test.reason[place]),
    )  # fmt: skip


def check(found: tuple[SampleRatio, ...], *, randomised: bool) -> Check:
    """One check of all rows: the overall test, and the strata under one shared threshold.

    Unknown weights are asked for: where units were `randomised` nothing is promoted before they are given.
    """
    overall, known = found[0], [row for row in found if row.missing is None or row.p is not None]
    worst = max(
        known or found,
        key=lambda row: (list(Severity).index(row.severity), -(row.p if row.p is not None else 1)),
    )
    if worst.severity is not Severity.INVALID and overall.missing is not None:
        return _unjudged(found, known, randomised=randomised)
    pairs = zip(worst.variants, worst.observed, worst.expected or (), strict=False)
    table = ", ".join(f"{variant} {n:,} (intended {expected:,.0f})" for variant, n, expected in pairs)
    where = _where(worst, found)
    sentence = {
        Severity.INVALID: (
            f"Units do not split as intended{where}: {table}; {_p(worst)}. Some were lost or moved."
            f"{_why(worst)}"
        ),
        Severity.WARN: f"Units split oddly{where}: {table}; {_p(worst)}.",
    }.get(worst.severity, f"Units split as intended ({_p(overall)}).")
    return Check(
        name="sample ratio", severity=worst.severity, message=sentence,
        numbers={
            "p": overall.p, "worst_p": worst.p, "worst_scope": worst.scope, "anytime_p": overall.anytime_p,
        },
    )  # fmt: skip


def _unjudged(found: tuple[SampleRatio, ...], known: list[SampleRatio], *, randomised: bool) -> Check:
    """The check where the ratio over all strata has no answer."""
    overall = found[0]
    missing = overall.missing or _UNKNOWN
    if missing.code != _UNKNOWN.code:
        why = missing.message.removeprefix("Not checked: ").rstrip(".")
        return unchecked("sample ratio", Unseen(why[0].lower() + why[1:]))
    if known:
        names = ", ".join(row.scope for row in found[1:] if row not in known) or "some strata"
        text = f"The intended weights in {names} are not known, so units lost or moved there are not seen."
        return Check(name="sample ratio", severity=Severity.WARN, message=text, numbers={"p": overall.p})
    counts = ", ".join(f"{v} {n:,}" for v, n in zip(overall.variants, overall.observed, strict=True))
    shares = ", ".join(f"{v}: ..." for v in overall.variants)
    text = (
        f"The intended weights are not known, so nobody can see whether units were lost or moved ({counts}). "
        "Say what was intended, not what came out: "
        f"`weights: equal`, or `weights: {{{shares}}}` in the source."
    )
    level = Severity.GATE if randomised else Severity.WARN
    return Check(name="sample ratio", severity=level, message=text, numbers={"p": None})


def _where(worst: SampleRatio, found: tuple[SampleRatio, ...]) -> str:
    """Which stratum; of the test over all of them, the one that is furthest off."""
    if worst.scope != "overall":
        return f" in {worst.scope}"
    judged = [row for row in found[1:] if row.p is not None]
    return (
        f" (all strata together, most in {min(judged, key=lambda row: row.p or 0).scope})" if judged else ""
    )


def _p(row: SampleRatio) -> str:
    """The p that gates, and the one that holds at every look; a unit where none may be needs neither."""
    if row.p is None:
        return "no test is needed"
    anytime = "" if row.anytime_p is None else f"; at any look {fmt.p_is(row.anytime_p)}"
    return f"chi-square {fmt.p_is(row.p)}{anytime}"


def _why(row: SampleRatio) -> str:
    """Why the chi-square gates where the sequential test is not sure yet."""
    if row.p is None or row.anytime_p is None or row.anytime_p < DEFAULT.srm_invalid:
        return ""
    return " The chi-square gates, although watching it adds alarms: a broken split voids every number."
