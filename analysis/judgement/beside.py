"""What the primary metric shows otherwise: with the units that results leave out, and by what was served."""

from __future__ import annotations

import numpy as np

from switchpoint.analysis.evidence.evidence import COUNTS, Evidence
from switchpoint.analysis.evidence.moments import Index, Totals, join
from switchpoint.analysis.judgement import family
from switchpoint.analysis.judgement.comparisons import Looks, Place, comparison
from switchpoint.analysis.judgement.measure import Plan, collect, measure
from switchpoint.analysis.judgement.sheet import Sheet, sheets
from switchpoint.analysis.numerics.estimates import Float
from switchpoint.analysis.results.judgement import Comparison
from switchpoint.analysis.validity.contamination import Beside
from switchpoint.experiment.definition.types import Role

N, MISMATCHES = COUNTS.index("n"), COUNTS.index("mismatches")


def beside(evidence: Evidence, n_star: Float, window_days: float) -> tuple[Beside, ...]:
    """The other readings of every experiment. A plan of looks is not followed in them: where one decides,
    they are read by the confidence sequence.

    Args:
        n_star: units the sequences are tuned for (subjects, variants − 1).
    """
    place = next(p for p, m in enumerate(evidence.metrics) if m.role is Role.PRIMARY)
    every = np.ones(len(evidence.cells.day), dtype=bool)
    mixed = np.flatnonzero(evidence.counts(~evidence.clean())[..., N].any(axis=(1, 2)))
    wrong = np.flatnonzero(evidence.counts(every)[..., MISMATCHES].any(axis=(1, 2)))
    parts = [(mixed, evidence.totals(place, evidence.matured())[mixed])] if len(mixed) else []
    if len(wrong) and evidence.as_served is not None:
        parts.append((wrong, evidence.served_totals(place)[wrong]))
    found = [Beside()] * len(evidence.subjects)
    if not parts:
        return tuple(found)
    who = np.concatenate([chosen for chosen, _ in parts])
    read = _read(evidence, place, join([totals for _, totals in parts]), who, n_star, window_days)
    for look, e in enumerate(who.tolist()):
        own, before = read[look], found[e]
        found[e] = (
            Beside(with_them=own, as_served=before.as_served)
            if look < len(mixed)
            else Beside(with_them=before.with_them, as_served=own)
        )
    return tuple(found)


def _read(
    evidence: Evidence, place: int, totals: Totals, who: Index, n_star: Float, window_days: float
) -> list[tuple[Comparison, ...]]:
    """The comparisons at every look, of the experiments `who`."""
    looks, rule = range(len(who)), evidence.rule
    plan = Plan(
        rule=rule,
        accrual=None,
        window_days=window_days,
        once=evidence.closed,
        series=None,
        n_star=n_star[who],
    )
    collected = collect(
        [evidence.metrics[place]], [[totals]], rule, (looks, [totals]), evidence.compared()[who]
    )
    (sheet,) = sheets(measure(collected, plan), rule)
    return [_comparisons(evidence, sheet, look, e) for look, e in enumerate(who.tolist())]


def _comparisons(evidence: Evidence, sheet: Sheet, look: int, e: int) -> tuple[Comparison, ...]:
    variants, rule = evidence.subjects[e].variants, evidence.rule
    found = family.corrected([sheet.m], [sheet.headline], [sheet.confirmed], look, len(variants) - 1, rule)
    adjusted, confirmed = found.adjusted[0].tolist(), found.confirmed[0].tolist()
    looks = Looks(overall=look)
    places = (
        Place(v=v, looks=looks, variants=variants, adjusted=adjusted[v], confirmed=confirmed[v])
        for v in range(len(variants) - 1)
    )
    return tuple(comparison(sheet, place, rule) for place in places)
