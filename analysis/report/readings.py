"""Everything measured of one experiment, on matured exposure days and on all of them.

Looks are rows of shared arrays: after every exposure day (cumulative), and every segment. Matured days
come first, so the matured reading is an earlier row of the same series and nothing is measured twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analysis import family
from analysis.deciding import Series
from analysis.evidence import COUNTS, DayLooks, Evidence, Mask
from analysis.measure import Collected, Measured, Plan, collect, measure
from analysis.planning.accrual import Accrual, fit_accrual
from analysis.report.comparisons import Looks, iso_day, metric_reading
from analysis.report.daily import Calendar, day_points
from analysis.report.model import MetricReading, MixRow, Reading, VariantCount
from analysis.report.sheet import Sheet, sheets
from analysis.rule import least_days
from analysis.segments import Arrivals, shrunken
from analysis.thresholds import Thresholds
from analysis.totals import Totals
from analysis.validity import allocation, confounding
from experiment.definition import DAY_MS, Role

SUBJECT = 0
"""A report is of one experiment: its place in the evidence."""
N, EXPOSURES, FALLBACKS, MISMATCHES, CARRIED = range(len(COUNTS))
Counts = NDArray[np.int64]
Mix = tuple[tuple[MixRow, ...], ...]
"""Per variant other than control, what each stratum adds to pooled − stratified."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Both readings, the arrays behind them, the plan used, and the matured `totals` of every metric
    (1, strata, variants); `single` those of each day of `days` alone, where they are known."""

    matured: Reading
    live: Reading
    measured: tuple[Measured, ...]
    totals: tuple[Totals, ...]
    plan: Plan
    days: DayLooks
    single: tuple[Totals | None, ...]


def read(evidence: Evidence, limits: Thresholds) -> Readings:
    """Measure the one experiment of the evidence; contaminated units are left out."""
    clean, ready = evidence.clean(), evidence.matured()
    series = evidence.by_day(SUBJECT, clean if evidence.day_width else np.zeros_like(clean))
    masks = [ready] if ready.all() else [ready, np.ones_like(ready)]
    layout = _Layout.of(evidence, series, masks)
    places = range(len(evidence.metrics))
    single = tuple(evidence.daily_totals(m, series) if evidence.snapshots is None else None for m in places)
    per_metric = [_batches(evidence, m, series, masks, layout, single[m]) for m in places]
    collected = collect(
        evidence.metrics,
        list(zip(*(batches for batches, _ in per_metric), strict=True)),
        evidence.rule,
        list(zip(layout.overall, zip(*(overall for _, overall in per_metric), strict=True), strict=True)),
        evidence.compared(),
    )
    plan = _plan(evidence, collected, layout)
    # single days show effects, not lifts
    shown = np.ones(collected.looks, dtype=bool)
    shown[layout.empty : layout.empty + len(layout.calendar.names)] = False
    shown[list(layout.overall)] = True
    measured = measure(collected, plan, shown)
    daily = [day_points(m, layout.calendar) for m in measured] if layout.calendar.names else None
    lists = sheets(measured, evidence.rule, shown, daily)
    primary = next(i for i, m in enumerate(evidence.metrics) if m.role is Role.PRIMARY)
    mixed = [_mixed(evidence, totals) for totals in per_metric[primary][1]]
    young = [_young(evidence, layout, which, limits) for which in range(len(masks))]
    arrivals = Arrivals(accrual=_by_segment_accrual(evidence, layout), window_days=plan.window_days)
    found = [
        _reading(
            evidence, mask, _metrics(evidence, lists, layout.looks(which, young[which]), mix, arrivals),
            layout.looks(which), limits, layout.span(which, evidence),
        )
        for which, (mask, mix) in enumerate(zip(masks, mixed, strict=True))
    ]  # fmt: skip
    return Readings(
        matured=replace(found[0], name="matured"), live=replace(found[-1], name="live"), measured=measured,
        totals=tuple(overall[0] for _, overall in per_metric), plan=plan, days=series, single=single,
    )  # fmt: skip


def _mixed(evidence: Evidence, overall: Totals) -> Mix:
    """The Simpson decomposition of every variant other than control, where there are several strata."""
    subject = evidence.subjects[SUBJECT]
    strata, others = [stratum.label for stratum in subject.strata], len(subject.variants) - 1
    if len(strata) < 2:
        return ((),) * others
    totals, compared = overall[0], evidence.compared()[SUBJECT]
    used = confounding.used_strata(totals)
    found = []
    for v in range(1, others + 1):
        held = np.flatnonzero(compared[:, v])
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

    def span(self, which: int, evidence: Evidence) -> int:
        """Exposure days of a reading from the first to the last; 0 where they are not recorded."""
        held = evidence.running(np.array(self.numbers[: self.lengths[which]], dtype=np.int64))
        return int(held[-1] - held[0]) + evidence.day_width if len(held) else 0

    def looks(self, which: int, young: Mapping[int, int] | None = None) -> Looks:
        """The rows of one reading."""
        rows = max(len(self.calendar.names) + self.empty, 1) + which * len(self.segments)
        first = self.lengths[which] if self.lengths else 0
        return Looks(
            overall=self.overall[which],
            segments=[(name, rows + place) for place, name in enumerate(self.segments)],
            days=[(day, place + self.empty) for place, day in enumerate(self.calendar.names[:first])],
            young=young or {},
        )


def _young(evidence: Evidence, layout: _Layout, which: int, limits: Thresholds) -> dict[int, int]:
    """Variants that came, or got their model, in a later epoch and have not run the minimum runtime although
    others have: the exposure days of their own evidence."""
    least = least_days(evidence.rule, limits.whole_week_days)
    if len({stratum.epoch for stratum in evidence.subjects[SUBJECT].strata}) < 2:
        return {}
    if layout.span(which, evidence) < least:
        return {}
    numbers = np.array(layout.numbers[: layout.lengths[which]], dtype=np.int64)
    arrived = layout.calendar.units[: len(numbers), 1] > 0
    found = {}
    for v in range(arrived.shape[1]):
        days = evidence.running(numbers[arrived[:, v]], v + 1)
        own = int(np.ptp(days)) + evidence.day_width if len(days) else 0
        if own < least:
            found[v + 1] = own
    return found


def _pairs_by_day(evidence: Evidence, series: DayLooks) -> NDArray[np.int64]:
    """Units that arrived on each day alone, of control and of each other variant compared with it: (days, 2,
    variants − 1)."""
    units, compared = evidence.daily_units(series), evidence.compared()[SUBJECT, :, 1:]
    return np.stack([np.where(compared, side, 0).sum(axis=1) for side in (units[..., :1], units[..., 1:])], 1)


def _batches(
    evidence: Evidence,
    metric: int,
    series: DayLooks,
    masks: Sequence[Mask],
    layout: _Layout,
    single: Totals | None,
) -> tuple[list[Totals], list[Totals]]:
    """Totals of every row (looks, strata, variants), segments with their own few strata; and those of each
    reading's overall row."""
    if evidence.day_width:
        running = evidence.running_totals(metric, series, single)
        nothing = evidence.totals(metric, np.zeros_like(masks[0]))
        batches: list[Totals] = [nothing] if layout.empty else []
        batches += [running] if len(series.days) else []
        overall = [
            batches[0] if row < layout.empty else running[row - layout.empty :][:1] for row in layout.overall
        ]
    else:
        overall = [evidence.totals(metric, masks[0] & evidence.clean())[SUBJECT : SUBJECT + 1]]
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


def _plan(evidence: Evidence, collected: Collected, layout: _Layout) -> Plan:
    """Arrivals over all days, and the planned units from what has matured (or all, before anything has)."""
    plan = Plan(
        rule=evidence.rule,
        accrual=_accrual(evidence),
        window_days=0.0 if evidence.closed else evidence.window_ms / DAY_MS,
        once=evidence.closed,
        series=_series(evidence, layout),
    )
    rows = [row for row in layout.overall if collected.n[row].sum() > 0]
    return replace(plan, tuned_at=rows[0] if rows else layout.overall[0])


def _series(evidence: Evidence, layout: _Layout) -> Series:
    """The matured days; without recorded days the one look there is."""
    variants = (len(evidence.subjects[SUBJECT].variants) - 1,)
    if not evidence.day_width:
        return Series(rows=np.array([[0]]), days=np.array([[0]]), at=(0,), variants=variants)
    held = evidence.running(np.array(layout.numbers[: layout.lengths[0]], dtype=np.int64))
    return Series(
        rows=layout.empty + np.arange(len(held))[None, :],
        days=(held - held[:1].sum() + evidence.day_width)[None, :], at=layout.overall[:1], variants=variants,
    )  # fmt: skip


def _accrual(evidence: Evidence) -> Accrual | None:
    """Arrival of each pair's units by whole calendar day; None where days are not recorded."""
    units = _arrived(evidence)
    return None if units is None else _fitted(units.sum(axis=1))


def _by_segment_accrual(evidence: Evidence, layout: _Layout) -> Accrual | None:
    """The same in every segment: (segments, variants − 1)."""
    units = _arrived(evidence) if layout.segments else None
    if units is None:
        return None
    padded = np.concatenate([units, np.zeros_like(units[:, :1])], axis=1)
    return _fitted(padded[:, layout.strata].sum(axis=2))


def _arrived(evidence: Evidence) -> NDArray[np.float64] | None:
    """Units of control and each other variant (days, strata, variants − 1) by the end of each whole
    calendar day."""
    looks = evidence.by_day(SUBJECT, evidence.clean())
    if evidence.day_width != 1 or not len(looks.days):
        return None
    days = evidence.running(looks.days)
    first, last, today = int(days[0]), int(days[-1]), int(evidence.running(np.array(evidence.at // DAY_MS)))
    end = last if evidence.closed else max(today - 1, first)
    units = evidence.daily_units(looks)
    compared = evidence.compared()[SUBJECT, :, 1:]
    by_day = np.zeros((max(end, last) - first + 1, *compared.shape))
    by_day[days - first] = np.where(compared, units[..., :1] + units[..., 1:], 0)
    return np.asarray(by_day[: end - first + 1].cumsum(axis=0))


def _fitted(cumulative: NDArray[np.float64]) -> Accrual:
    """Accrual of control with each other variant, from units (days, …, variants − 1)."""
    return fit_accrual(np.moveaxis(cumulative, 0, -1))


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
    found = family.corrected(measured, [s.headline for s in lists], looks.overall, others, rule)
    rows = [row for _, row in looks.segments]
    headline = [s.headline[:, :others] for s in lists]
    drawn = shrunken(measured, headline, rows, rule, arrivals) if rows and others else (None,) * len(lists)
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
