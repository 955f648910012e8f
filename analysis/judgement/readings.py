"""Everything measured of one experiment, on matured exposure days and on all of them.

Looks are rows of shared arrays: after every exposure day (cumulative), and every segment. Matured days
come first, so the matured reading is an earlier row of the same series and nothing is measured twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.evidence import arrivals
from switchpoint.analysis.evidence.evidence import COUNTS, DayLooks, Evidence, Mask, Subject
from switchpoint.analysis.evidence.moments import Totals, join
from switchpoint.analysis.judgement import family
from switchpoint.analysis.judgement.comparisons import Looks, metric_reading
from switchpoint.analysis.judgement.judge import Survey
from switchpoint.analysis.judgement.looks import Series
from switchpoint.analysis.judgement.measure import Collected, Measured, Plan, collect, measure
from switchpoint.analysis.judgement.records import Calendar, Sheet, day_points, sheets
from switchpoint.analysis.judgement.sufficiency import Arrivals, shrunken
from switchpoint.analysis.results.header import iso_day
from switchpoint.analysis.results.judgement import MetricReading, MixRow, Reading, VariantCount
from switchpoint.analysis.results.thresholds import Thresholds
from switchpoint.analysis.validity import allocation, confounding
from switchpoint.analysis.validity.gates import least_days
from switchpoint.experiment.definition.types import DAY_MS, Role

SUBJECT = 0
"""A report is of one experiment: its place in the evidence."""
N, EXPOSURES, FALLBACKS, MISMATCHES, CARRIED = range(len(COUNTS))
Counts = NDArray[np.int64]
Mix = tuple[tuple[MixRow, ...], ...]
"""Per variant other than control, what each stratum adds to pooled − stratified."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Both readings, the arrays behind them, and the plan used."""

    matured: Reading
    live: Reading
    measured: tuple[Measured, ...]
    plan: Plan


def read(found: Survey, limits: Thresholds) -> Readings:
    """Measure the one experiment of the survey; contaminated units are left out."""
    evidence, series = found.evidence, found.looks
    ready = evidence.matured()
    masks = [ready] if ready.all() else [ready, np.ones_like(ready)]
    layout = _Layout.of(evidence, series, masks)
    places = range(len(evidence.metrics))
    per_metric = [_batches(found, m, masks, layout) for m in places]
    collected = collect(
        evidence.metrics,
        list(zip(*(batches for batches, _ in per_metric), strict=True)),
        evidence.rule,
        (layout.overall, [join(overall) for _, overall in per_metric]),
        evidence.compared(),
    )
    plan = _plan(found, collected, layout)
    # single days show effects, not lifts
    shown = np.ones(collected.looks, dtype=bool)
    shown[layout.empty : layout.empty + len(layout.calendar.names)] = False
    shown[list(layout.overall)] = True
    measured = measure(collected, plan, shown)
    daily = [day_points(m, layout.calendar) for m in measured] if layout.calendar.names else None
    lists = sheets(measured, shown, daily)
    compared = evidence.compared()[SUBJECT]
    mixes = [mixed(evidence.subjects[SUBJECT], t[0], compared) for t in per_metric[found.evidence.primary][1]]
    segments = arrivals.by_segment(evidence, series, layout.strata) if layout.segments else None
    arriving = Arrivals(accrual=segments, window_days=plan.window_days)
    spans = [int(span[SUBJECT]) for span in (found.span, found.live_span)]
    young = [_young(evidence, layout, which, span, limits) for which, span in enumerate(spans[-len(masks) :])]
    looks = [layout.looks(which, own) for which, own in enumerate(young)]
    both = [
        _reading(
            evidence, mask, _metrics(evidence, lists, looks[which], mix, arriving), looks[which], limits,
            spans[which],
        )
        for which, (mask, mix) in enumerate(zip(masks, mixes, strict=True))
    ]  # fmt: skip
    return Readings(
        matured=replace(both[0], name="matured"), live=replace(both[-1], name="live"), measured=measured,
        plan=plan,
    )  # fmt: skip


def mixed(subject: Subject, totals: Totals, compared: Mask) -> Mix:
    """The Simpson decomposition of every variant other than control, where there are several strata.

    Args:
        totals: (strata, variants) of the primary metric. compared: whether a stratum is evidence for a
            variant.
    """
    strata, others = [stratum.label for stratum in subject.strata], len(subject.variants) - 1
    if len(strata) < 2:
        return ((),) * others
    used = confounding.used_strata(totals)
    found: list[tuple[MixRow, ...]] = []
    for v in range(1, others + 1):
        held = np.flatnonzero(compared[: len(strata), v])
        names = [strata[place] for place in held.tolist()]
        found.append(confounding.mix(totals[held], used[held, v - 1], v, names))
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Where the rows are: `empty` a leading look without units, then the days, then segments per reading.

    `overall` and `matured_days` per reading; `strata` of every segment as places (segments, epochs), padded
    with the place after the last stratum.
    """

    calendar: Calendar
    numbers: tuple[int, ...]
    empty: bool
    overall: tuple[int, ...]
    lengths: tuple[int, ...]
    segments: tuple[str, ...]
    strata: NDArray[np.int64]

    @classmethod
    def of(cls, evidence: Evidence, series: DayLooks, masks: Sequence[Mask]) -> _Layout:
        """Plan the rows of these readings."""
        places = evidence.subjects[SUBJECT].strata
        names = list(dict.fromkeys(stratum.segment for stratum in places))
        own = [[i for i, stratum in enumerate(places) if stratum.segment == name] for name in names]
        width, absent = max((len(found) for found in own), default=1), evidence.shape[1]
        ready = int(evidence.closed_days(series.days).sum())
        lengths = (ready, len(series.days))[-len(masks) :] if evidence.day_width else (0,) * len(masks)
        empty = bool(evidence.day_width) and min(lengths) == 0
        return cls(
            calendar=Calendar(
                names=tuple(iso_day(day) for day in series.days.tolist()),
                first=int(empty),
                units=_pairs_by_day(evidence, series),
            ),
            numbers=tuple(series.days.tolist()),
            empty=empty,
            overall=tuple(length - 1 + empty for length in lengths) if evidence.day_width else (0,),
            lengths=lengths,
            segments=tuple(names) if len(names) > 1 else (),
            strata=np.array([found + [absent] * (width - len(found)) for found in own], dtype=np.int64),
        )

    def looks(self, which: int, young: Mapping[int, int]) -> Looks:
        """The rows of one reading."""
        rows = max(len(self.calendar.names) + self.empty, 1) + which * len(self.segments)
        first = self.lengths[which] if self.lengths else 0
        return Looks(
            overall=self.overall[which],
            segments=[(name, rows + place) for place, name in enumerate(self.segments)],
            days=[(day, place + self.empty) for place, day in enumerate(self.calendar.names[:first])],
            young=young,
        )


def _young(evidence: Evidence, layout: _Layout, which: int, span: int, limits: Thresholds) -> dict[int, int]:
    """Variants that came, or got their model, in a later epoch and have not run the minimum runtime although
    others have: the exposure days of their own evidence."""
    least = least_days(evidence.rule, limits.whole_week_days)
    if not _epochs_differ(evidence) or span < least:
        return {}
    numbers = np.array(layout.numbers[: layout.lengths[which]], dtype=np.int64)
    ages = _ages(evidence, layout, numbers)[-1].tolist()
    return {v: age for v, age in enumerate(ages, start=1) if age < least}


def _pairs_by_day(evidence: Evidence, series: DayLooks) -> NDArray[np.int64]:
    """Units that arrived on each day alone, of control and of each other variant compared with it: (days, 2,
    variants − 1)."""
    units, compared = evidence.daily_units(series), evidence.compared()[SUBJECT, :, 1:]
    return np.stack([np.where(compared, side, 0).sum(axis=1) for side in (units[..., :1], units[..., 1:])], 1)


def _batches(
    found: Survey, metric: int, masks: Sequence[Mask], layout: _Layout
) -> tuple[list[Totals], list[Totals]]:
    """Totals of every row (looks, strata, variants), segments with their own few strata; and those of each
    reading's overall row."""
    evidence, series = found.evidence, found.looks
    if evidence.day_width:
        running = evidence.running_totals(metric, series, found.single[metric])
        nothing = evidence.totals(metric, np.zeros_like(masks[0]))
        batches: list[Totals] = [nothing] if layout.empty else []
        batches += [running] if len(series.days) else []
        overall = [
            batches[0] if row < layout.empty else running[row - layout.empty :][:1] for row in layout.overall
        ]
    else:
        overall = [found.overall[metric]]
        batches = list(overall)
    if layout.segments:
        batches += [_by_segment(totals, layout.strata) for totals in overall]
    return batches, overall


def _by_segment(overall: Totals, places: NDArray[np.int64]) -> Totals:
    """The strata of each segment: (1, strata, variants) → (segments, epochs, variants)."""

    def split(part: NDArray[np.float64]) -> NDArray[np.float64]:
        padded = np.concatenate([part[0], np.zeros_like(part[0, :1])])
        return np.asarray(padded[places])

    return overall.each(split)


def _plan(found: Survey, collected: Collected, layout: _Layout) -> Plan:
    """Arrivals over all days, and the planned units from what has matured (or all, before anything has)."""
    evidence = found.evidence
    there = [row for row in layout.overall if collected.n[row].sum() > 0]
    tuned_at = there[0] if there else layout.overall[0]
    return Plan(
        rule=evidence.rule,
        accrual=arrivals.accruals(evidence, found.looks),
        window_days=0.0 if evidence.closed else evidence.window_ms / DAY_MS,
        once=evidence.closed,
        series=_series(evidence, layout),
        tuned_at=np.full(collected.looks, tuned_at),
    )


def _series(evidence: Evidence, layout: _Layout) -> Series:
    """The matured days; without recorded days the one look there is."""
    variants = (len(evidence.subjects[SUBJECT].variants) - 1,)
    if not evidence.day_width:
        return Series(rows=np.array([[0]]), days=np.array([[[0]]]), at=(0,), variants=variants)
    held = np.array(layout.numbers[: layout.lengths[0]], dtype=np.int64)
    return Series(
        rows=layout.empty + np.arange(len(held))[None, :], days=_ages(evidence, layout, held)[None],
        at=layout.overall[:1], variants=variants,
    )  # fmt: skip


def _ages(evidence: Evidence, layout: _Layout, held: NDArray[np.int64]) -> NDArray[np.int64]:
    """Exposure days of each variant's own evidence by the end of every day (days, variants − 1); those before
    it came, or got its model, are 0. Where there is one epoch all variants have the experiment's days."""
    width, arrived = evidence.day_width, layout.calendar.units[: len(held), 1].cumsum(axis=0) > 0
    if not _epochs_differ(evidence):
        return np.asarray(held - held[:1].sum() + width)[:, None]
    ages = np.zeros(arrived.shape, dtype=np.int64)
    for v in range(arrived.shape[1]):
        own = evidence.running(held[arrived[:, v]], v + 1)
        ages[arrived[:, v], v] = own - own[:1].sum() + width
    return ages


def _epochs_differ(evidence: Evidence) -> bool:
    """Whether a variant may have come, or got its model, later than others."""
    return len({stratum.epoch for stratum in evidence.subjects[SUBJECT].strata}) > 1


def _reading(
    evidence: Evidence,
    days: Mask,
    metrics: tuple[MetricReading, ...],
    looks: Looks,
    limits: Thresholds,
    span: int,
) -> Reading:
    counts = evidence.counts(days & evidence.clean())
    return Reading(
        name="",
        first_day=looks.days[0][0] if looks.days else None,
        last_day=looks.days[-1][0] if looks.days else None,
        days=span,
        n=int(counts[SUBJECT, ..., N].sum()),
        variants=_variant_counts(
            evidence, counts[SUBJECT], evidence.counts(days & ~evidence.clean())[SUBJECT]
        ),
        sample_ratio=allocation.rows(evidence, allocation.ratios(evidence, counts[..., N]), SUBJECT, limits),
        metrics=metrics,
    )


def _metrics(
    evidence: Evidence, lists: Sequence[Sheet], looks: Looks, mix: Mix, arrivals: Arrivals
) -> tuple[MetricReading, ...]:
    variants, rule = evidence.subjects[SUBJECT].variants, evidence.rule
    measured, others = [s.m for s in lists], len(variants) - 1
    found = family.corrected(measured, looks.overall, others, rule)
    rows = [row for _, row in looks.segments]
    drawn = shrunken(measured, others, rows, rule, arrivals) if rows and others else (None,) * len(lists)
    return tuple(
        metric_reading(
            s,
            looks,
            variants,
            rule,
            found,
            place,
            drawn[place],
            mix if s.m.metric.role is Role.PRIMARY else (),
        )
        for place, s in enumerate(lists)
    )


def _variant_counts(evidence: Evidence, counts: Counts, removed: Counts) -> tuple[VariantCount, ...]:
    total = int(counts[..., N].sum())
    rows = []
    for v, key in enumerate(evidence.subjects[SUBJECT].variants):
        n, exposures, fallen, mismatched, carried = (int(x) for x in counts[:, v].sum(axis=0))
        rows.append(
            VariantCount(
                variant=key, n=n, share=n / total if total else None, exposures=exposures, fallbacks=fallen,
                fallback_share=fallen / exposures if exposures else None, mismatches=mismatched,
                contaminated=int(removed[:, v, N].sum()), carried=carried,
            )
        )  # fmt: skip
    return tuple(rows)
