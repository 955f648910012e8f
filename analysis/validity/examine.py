"""Numbers that only checks look at, of every experiment: days one by one, covariates, denominators, results
without one unit. Each is what was looked at, or `Unseen` with the reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.evidence import pairs as estimates
from switchpoint.analysis.evidence.evidence import DayLooks, Evidence
from switchpoint.analysis.evidence.facts import Extreme, Unseen
from switchpoint.analysis.evidence.moments import Exact, Totals, minor_units
from switchpoint.analysis.inference import contrast
from switchpoint.analysis.inference.sample import Sample
from switchpoint.analysis.inference.strata import stratify
from switchpoint.analysis.numerics.arrays import joined, rows
from switchpoint.analysis.results.header import iso_day
from switchpoint.analysis.validity import allocation
from switchpoint.analysis.validity.sample_ratio import SampleRatio
from switchpoint.analysis.validity.series import Effects, Levels
from switchpoint.analysis.validity.unit_checks import Canary, Carried, Difference, harm_p
from switchpoint.experiment.definition.types import Direction, Metric, MetricType, Role
from switchpoint.experiment.ledger.sql import SIZE
from switchpoint.experiment.ledger.times import PERIODS


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """The matured exposure days of one experiment: numbers and ISO dates, the sample ratio of each day, every
    metric's level and the primary metric's effect (Unseen where the days' own units are not known)."""

    numbers: tuple[int, ...]
    names: tuple[str, ...]
    ratio: SampleRatio
    levels: tuple[Levels, ...] | Unseen
    effects: Effects | Unseen


def days(evidence: Evidence, looks: DayLooks, single: Sequence[Totals]) -> tuple[Days | Unseen, ...]:
    """The days of every experiment one by one.

    Args:
        single: totals of every metric on each day alone.
    """
    if evidence.day_width != 1:
        period = PERIODS.get(evidence.day_width)
        why = "no column `day` is named" if period is None else f"the table says {period}, not days"
        return (Unseen(why),) * len(evidence.subjects)
    impossible = np.zeros((len(single), *looks.shape), dtype=bool)
    known = list(single)
    if evidence.snapshots is not None:
        impossible = ~np.array([totals.possible for totals in single])
        there = ~impossible.any(axis=0)
        known = [totals.each(lambda part: np.where(there, part, 0)) for totals in single]
    primary = evidence.primary
    daily = _Daily(
        ready=evidence.closed_days(looks.days),
        ratio=allocation.by_day(evidence, looks),
        levels=[_level(totals) for totals in known],
        effect=estimates.pairs(evidence.metrics[primary], known[primary]).contrast,
        impossible=impossible,
    )
    return tuple(_days(evidence, looks, daily, e) for e in range(len(evidence.subjects)))


class _Daily(NamedTuple):
    """What was computed for the days of all experiments at once; `impossible` (metrics, days, strata,
    variants): what changed on a day is not what units bring."""

    ready: NDArray[np.bool_]
    ratio: SampleRatio
    levels: list[tuple[NDArray[np.float64], NDArray[np.float64]]]
    effect: contrast.Contrast
    impossible: NDArray[np.bool_]


def _days(evidence: Evidence, looks: DayLooks, daily: _Daily, e: int) -> Days | Unseen:
    every = looks.of(e)
    here = np.arange(every.start, every.start + int(daily.ready[every].sum()))
    if not len(here):
        return Unseen("no exposure day has matured")
    size, effect = len(evidence.subjects[e].variants), rows(daily.effect, here)
    numbers = tuple(looks.days[here].tolist())
    names = tuple(iso_day(day) for day in numbers)
    levels: tuple[Levels, ...] | Unseen = tuple(
        Levels(metric=m.key, value=value[here, :size], error=error[here, :size])
        for m, (value, error) in zip(evidence.metrics, daily.levels, strict=True)
    )
    known = effect.reason[:, : size - 1] == 0
    effects: Effects | Unseen = Effects(
        metric=evidence.metrics[evidence.primary].key,
        effect=np.where(known, effect.effect[:, : size - 1], np.nan),
        variance=np.where(known, effect.variance[:, : size - 1], np.nan),
    )
    wrong = np.argwhere(daily.impossible[:, here].any(axis=(2, 3)))
    if len(wrong):
        metric, day = wrong[np.argmin(wrong[:, 1])]
        levels = effects = Unseen(
            f"the standings of {evidence.metrics[metric].key} on {names[day]} are not those of the day "
            "before and new units, so single days cannot be told apart"
        )
    ratio = rows(daily.ratio, here)
    return Days(numbers=numbers, names=names, ratio=ratio, levels=levels, effects=effects)


def _level(totals: Totals) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Every variant's value and its standard error (days, variants), NaN where there is none."""
    sample = totals.merged(1).sample()
    known = sample.measured  # a day without any event is a value of zero without spread
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.sqrt(sample.variance / sample.n)
    return np.where(known, sample.mean, np.nan), np.where(known, error, np.nan)


def canaries(evidence: Evidence, subject: int) -> tuple[Canary, ...] | Unseen:
    """Events of every proportion that decides or guards, of all live units.

    Margins that are not relative to control are left out: without a rate they say nothing about a share.
    """
    who = evidence.subjects[subject]
    if evidence.closed:
        return Unseen("the data are closed, so no event is early")
    unknown = [stratum.label for stratum in who.strata if stratum.weights is None]
    if unknown:
        return Unseen(f"the intended weights in {', '.join(unknown)} are not known")
    read = [
        (place, margin) for place, m in enumerate(evidence.metrics) if (margin := _tolerated(m)) is not None
    ]
    if not read:
        return Unseen("no proportion decides, or guards with a relative margin")
    weights = np.array([stratum.weights for stratum in who.strata])
    found = tuple(
        canary for place, margin in read for canary in _canaries(evidence, subject, place, margin, weights)
    )
    return found or Unseen("no event has come yet")


def _canaries(
    evidence: Evidence, subject: int, place: int, margin: float, weights: NDArray[np.float64]
) -> Iterator[Canary]:
    metric, variants = evidence.metrics[place], evidence.subjects[subject].variants
    events = np.asarray(evidence.totals(place, evidence.clean()).values()[0][subject, : len(weights)])
    for v, variant in enumerate(variants[1:], start=1):
        met = (weights[:, 0] > 0) & (weights[:, v] > 0)
        control, treatment, ratio = events[met, 0], events[met, v], weights[met, v] / weights[met, 0]
        both = control + treatment
        if not both.sum():
            continue
        fewer = metric.direction is Direction.INCREASE
        yield Canary(
            metric=metric.key, variant=variant, control=variants[0], margin=margin,
            control_events=int(control.sum()), variant_events=int(treatment.sum()),
            expected=float((both * ratio / (1 + ratio)).sum() / both.sum()),
            p=harm_p(control, treatment, ratio, margin=margin, fewer=fewer),
        )  # fmt: skip


def _tolerated(metric: Metric) -> float | None:
    """The loss relative to control that is no harm; None where the first events are not read."""
    if metric.type is not MetricType.PROPORTION:
        return None
    if metric.role is Role.PRIMARY:
        return 0.0
    relative = metric.role is Role.GUARDRAIL and metric.margin is not None and metric.margin.relative
    return metric.margin.value if relative and metric.margin is not None else None


Differences = tuple[tuple[Difference, ...] | Unseen, ...]


def before_exposure(evidence: Evidence, overall: Sequence[Totals]) -> Differences:
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
    return _differences(evidence, found, "no covariate is given")


def denominators(evidence: Evidence, overall: Sequence[Totals]) -> Differences:
    """The denominator per unit of every ratio, each other variant against control, over strata."""
    found = []
    for metric, totals in zip(evidence.metrics, overall, strict=True):
        below = metric.denominator
        if metric.type is not MetricType.RATIO or below is None:
            continue
        what = "units" if below.event == SIZE else f"{below.event} {below.value or 'events'}"
        found.append(_Given(metric.key, what, totals.denominator_sample(), totals))
    return _differences(evidence, found, "no metric is a ratio")


class _Given(NamedTuple):
    """Something of a metric that was measured per unit: a sample (subjects, strata, variants), and the totals
    whose units weigh its strata."""

    metric: str
    what: str
    sample: Sample
    totals: Totals


def _differences(evidence: Evidence, given: Sequence[_Given], none: str) -> Differences:
    """Welch over strata, all in one call; `none` says why nothing is given."""
    subjects = evidence.subjects
    if not given:
        return (Unseen(none),) * len(subjects)
    sample = joined([one.sample for one in given])
    swapped = Sample(**{f.name: np.swapaxes(getattr(sample, f.name), -1, -2) for f in fields(sample)})
    weight = np.concatenate([np.asarray(one.totals.n, dtype=np.float64).sum(axis=-1) for one in given])
    sides = stratify(swapped[:, :1], swapped[:, 1:], weight[:, None, :])
    effect = contrast.effect(contrast.from_samples(sides.control, sides.treatment))

    def difference(place: int, e: int, v: int) -> Difference:
        one, row = given[place], place * len(subjects) + e
        return Difference(
            metric=one.metric, what=one.what, variant=subjects[e].variants[v + 1],
            control=subjects[e].variants[0], control_value=float(sides.control.mean[row, v]),
            variant_value=float(sides.treatment.mean[row, v]), p=float(effect.p_value[row, v]),
        )  # fmt: skip

    return tuple(
        tuple(
            difference(place, e, v)
            for place in range(len(given))
            for v in range(len(subject.variants) - 1)
            if effect.reason[place * len(subjects) + e, v] == 0
        )
        or Unseen("no difference can be estimated")
        for e, subject in enumerate(subjects)
    )


def carried(evidence: Evidence, overall: Sequence[Totals]) -> tuple[tuple[Carried, ...] | Unseen, ...]:
    """Every comparison that holds an extreme unit, with it and without it (fixed horizon)."""
    every: list[list[Carried]] = [[] for _ in evidence.subjects]
    for place, metric in enumerate(evidence.metrics):
        held = [
            (e, extreme)
            for e, facts in enumerate(evidence.facts)
            if not isinstance(facts.extremes, Unseen)
            for extreme in facts.extremes
            if extreme.metric == metric.key
        ]
        totals = overall[place]
        if held and isinstance(totals, Exact):
            for e, found in _without(evidence, place, totals, held):
                every[e].append(found)
    return tuple(
        facts.extremes if isinstance(facts.extremes, Unseen) else tuple(found)
        for facts, found in zip(evidence.facts, every, strict=True)
    )


def _without(
    evidence: Evidence, place: int, totals: Exact, extremes: Sequence[tuple[int, Extreme]]
) -> Iterator[tuple[int, Carried]]:
    """A look with every unit and one without the extreme unit, for each (experiment, unit)."""
    metric, size = evidence.metrics[place], len(extremes)
    who = np.array([e for e, _ in extremes])
    minus = [[1, x.x, x.x * x.x, x.y, x.y * x.y, x.x * x.y] for _, x in extremes]
    columns = ("n", "x", "xx", "y", "yy", "xy")
    parts: dict[str, Any] = {}
    for column, name in enumerate(columns):  # without covariates: the unit's own is not known here
        each = np.concatenate([getattr(totals, name)[who]] * 2)
        for row, (_, extreme) in enumerate(extremes, start=size):
            each[row, extreme.stratum, extreme.variant] -= minus[row - size][column]
        parts[name] = each
    effect = contrast.effect(
        estimates.pairs(metric, Exact(metric=metric, **parts)).contrast,
        alpha=evidence.rule.alpha,
    )
    scale = minor_units(metric.numerator, metric.decimals)
    for row, (e, extreme) in enumerate(extremes):
        variants = evidence.subjects[e].variants
        for v, variant in enumerate(variants[1:]):
            touched = extreme.variant in {0, v + 1}
            if not touched or effect.reason[row, v] != 0 or effect.reason[size + row, v] != 0:
                continue
            yield e, Carried(
                metric=metric.key, variant=variant, side=variants[extreme.variant], value=extreme.x / scale,
                effect=float(effect.estimate[row, v]), p=float(effect.p_value[row, v]),
                without=float(effect.estimate[size + row, v]),
                error_without=float(effect.standard_error[size + row, v]),
                p_without=float(effect.p_value[size + row, v]),
            )  # fmt: skip
