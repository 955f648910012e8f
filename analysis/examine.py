"""Numbers that only checks look at: days one by one, covariates, denominators, results without one unit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis import estimates
from analysis.columnar import joined
from analysis.evidence import DayLooks, Evidence
from analysis.facts import Extreme
from analysis.inference import contrast, fixed
from analysis.inference.sample import Sample
from analysis.inference.stratify import stratify
from analysis.report.comparisons import iso_day
from analysis.totals import Exact, Totals, minor_units
from analysis.unit_table import SIZE
from analysis.validity import allocation
from analysis.validity.balance import Difference
from analysis.validity.canary import Canary, harm_p
from analysis.validity.outliers import Carried
from analysis.validity.sample_ratio import SampleRatio
from analysis.validity.series import Effects, Levels
from experiment.definition import Direction, Metric, MetricType, Role

SUBJECT = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """The matured exposure days of one experiment: numbers and ISO dates, every metric's level, the primary
    metric's effect, and the sample ratio of each day."""

    numbers: tuple[int, ...]
    names: tuple[str, ...]
    levels: tuple[Levels, ...]
    effects: Effects
    ratio: SampleRatio


def days(evidence: Evidence, looks: DayLooks, single: Sequence[Totals | None]) -> Days | None:
    """The days one by one; None where the source does not know them.

    Args:
        single: totals of every metric on each day alone.
    """
    ready = int(evidence.closed_days(looks.days).sum()) if evidence.daily else 0
    totals = [own[:ready] for own in single if own is not None]
    if not ready or not totals:
        return None
    size = len(evidence.subjects[SUBJECT].variants)
    primary = next(i for i, m in enumerate(evidence.metrics) if m.role is Role.PRIMARY)
    effect = estimates.pairs(evidence.metrics[primary], totals[primary], evidence.rule.design).contrast
    numbers = tuple(looks.days[:ready].tolist())
    known = effect.reason == 0
    return Days(
        numbers=numbers,
        names=tuple(iso_day(day) for day in numbers),
        levels=tuple(_level(m.key, own, size) for m, own in zip(evidence.metrics, totals, strict=True)),
        effects=Effects(
            metric=evidence.metrics[primary].key,
            effect=np.where(known, effect.effect, np.nan),
            variance=np.where(known, effect.variance, np.nan),
        ),
        ratio=allocation.by_day(evidence, evidence.daily_units(looks)[:ready]),
    )


def _level(metric: str, totals: Totals, variants: int) -> Levels:
    sample = totals.merged(1).sample()[:, :variants]
    known = sample.measured  # a day without any event is a value of zero without spread
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.sqrt(sample.variance / sample.n)
    return Levels(
        metric=metric, value=np.where(known, sample.mean, np.nan), error=np.where(known, error, np.nan)
    )


def canaries(evidence: Evidence) -> tuple[Canary, ...]:
    """Events of every proportion that decides or guards, of all live units; none where weights are unknown.

    Margins that are not relative to control are left out: without a rate they say nothing about a share.
    """
    strata, variants = evidence.subjects[SUBJECT].strata, evidence.subjects[SUBJECT].variants
    known = [place for place, stratum in enumerate(strata) if stratum.weights is not None]
    if evidence.closed or len(known) < len(strata):
        return ()
    weights = np.array([stratum.weights for stratum in strata])
    found: list[Canary] = []
    for place, metric in enumerate(evidence.metrics):
        margin = _tolerated(metric)
        if margin is None:
            continue
        events = np.asarray(evidence.totals(place, evidence.clean()).values()[0][SUBJECT])
        for v, variant in enumerate(variants[1:], start=1):
            met = (weights[:, 0] > 0) & (weights[:, v] > 0)
            control, treatment, ratio = events[met, 0], events[met, v], weights[met, v] / weights[met, 0]
            both = control + treatment
            if not both.sum():
                continue
            fewer = metric.direction is Direction.INCREASE
            found.append(
                Canary(
                    metric=metric.key, variant=variant, control=variants[0], margin=margin,
                    control_events=int(control.sum()), variant_events=int(treatment.sum()),
                    expected=float((both * ratio / (1 + ratio)).sum() / both.sum()),
                    p=harm_p(control, treatment, ratio, margin=margin, fewer=fewer),
                )
            )  # fmt: skip
    return tuple(found)


def _tolerated(metric: Metric) -> float | None:
    """The loss relative to control that is no harm; None where the first events are not read."""
    if metric.type is not MetricType.PROPORTION:
        return None
    if metric.role is Role.PRIMARY:
        return 0.0
    relative = metric.role is Role.GUARDRAIL and metric.margin is not None and metric.margin.relative
    return metric.margin.value if relative and metric.margin is not None else None


def before_exposure(evidence: Evidence, overall: Sequence[Totals]) -> tuple[Difference, ...]:
    """Every covariate of every metric, each other variant against control, over strata."""
    found = []
    for metric, totals in zip(evidence.metrics, overall, strict=True):
        if not isinstance(totals, Exact):
            continue
        samples = totals.covariate_samples()
        names = ("the covariate",) if len(samples) < 2 else ("the past numerator", "the past denominator")
        found += [
            _Given(metric.key, f"{what} of {metric.key}", sample, totals)
            for what, sample in zip(names, samples, strict=False)
        ]
    return _differences(evidence, found)


def denominators(evidence: Evidence, overall: Sequence[Totals]) -> tuple[Difference, ...]:
    """The denominator per unit of every ratio, each other variant against control, over strata."""
    found = []
    for metric, totals in zip(evidence.metrics, overall, strict=True):
        below = metric.denominator
        if metric.type is not MetricType.RATIO or below is None:
            continue
        what = "units" if below.event == SIZE else f"{below.event} {below.value or 'events'}"
        found.append(_Given(metric.key, what, totals.denominator_sample(), totals))
    return _differences(evidence, found)


class _Given(NamedTuple):
    """Something of a metric that was measured per unit: a sample (1, strata, variants), and the totals whose
    units weigh its strata."""

    metric: str
    what: str
    sample: Sample
    totals: Totals


def _differences(evidence: Evidence, given: Sequence[_Given]) -> tuple[Difference, ...]:
    """Welch over strata, all in one call."""
    variants = evidence.subjects[SUBJECT].variants
    if not given:
        return ()
    sample = joined([one.sample for one in given])
    swapped = Sample(**{f.name: np.swapaxes(getattr(sample, f.name), -1, -2) for f in fields(sample)})
    weight = np.concatenate([np.asarray(one.totals.n, dtype=np.float64).sum(axis=-1) for one in given])
    sides = stratify(swapped[:, :1], swapped[:, 1 : len(variants)], weight[:, None, :])
    effect = fixed.effect(sides.control, sides.treatment)
    return tuple(
        Difference(
            metric=one.metric, what=one.what, variant=variant, control=variants[0],
            control_value=float(sides.control.mean[row, v]),
            variant_value=float(sides.treatment.mean[row, v]), p=float(effect.p_value[row, v]),
        )
        for row, one in enumerate(given)
        for v, variant in enumerate(variants[1:])
        if effect.reason[row, v] == 0
    )  # fmt: skip


def carried(
    evidence: Evidence, overall: Sequence[Totals], extremes: Sequence[Extreme]
) -> tuple[Carried, ...]:
    """Every comparison that holds an extreme unit, with it and without it (fixed horizon)."""
    found: list[Carried] = []
    places = {metric.key: place for place, metric in enumerate(evidence.metrics)}
    for key in dict.fromkeys(extreme.metric for extreme in extremes):
        own = [extreme for extreme in extremes if extreme.metric == key]
        totals = overall[places[key]]
        if isinstance(totals, Exact):
            found.extend(_without(evidence, places[key], totals, own))
    return tuple(found)


def _without(evidence: Evidence, place: int, totals: Exact, extremes: Sequence[Extreme]) -> Iterable[Carried]:
    """One look with every unit, then one per extreme unit that is taken out."""
    metric, variants = evidence.metrics[place], evidence.subjects[SUBJECT].variants
    looks = len(extremes) + 1
    plain = Exact(
        metric=metric, n=totals.n, x=totals.x, xx=totals.xx, y=totals.y, yy=totals.yy, xy=totals.xy
    )  # without covariates: the unit's own is not known here
    minus = [[1, e.x, e.x * e.x, e.y, e.y * e.y, e.x * e.y] for e in extremes]

    def less(part: NDArray[np.int64], column: int) -> NDArray[np.int64]:
        each = np.repeat(part, looks, axis=0)
        for row, (extreme, amounts) in enumerate(zip(extremes, minus, strict=True), start=1):
            each[row, extreme.stratum, extreme.variant] -= amounts[column]
        return each

    columns = ("n", "x", "xx", "y", "yy", "xy")
    parts: dict[str, Any] = {name: less(getattr(plain, name), column) for column, name in enumerate(columns)}
    effect = contrast.effect(
        estimates.pairs(metric, Exact(metric=metric, **parts), evidence.rule.design).contrast,
        alpha=evidence.rule.alpha,
    )
    scale = minor_units(metric.numerator, metric.decimals)
    for row, extreme in enumerate(extremes, start=1):
        for v, variant in enumerate(variants[1:]):
            touched = extreme.variant in {0, v + 1}
            if not touched or effect.reason[0, v] != 0 or effect.reason[row, v] != 0:
                continue
            yield Carried(
                metric=metric.key, variant=variant, side=variants[extreme.variant], value=extreme.x / scale,
                effect=float(effect.estimate[0, v]), p=float(effect.p_value[0, v]),
                without=float(effect.estimate[row, v]), error_without=float(effect.standard_error[row, v]),
                p_without=float(effect.p_value[row, v]),
            )  # fmt: skip
