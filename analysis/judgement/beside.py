"""What is compared beside the variants with control, with the estimates, gates and words of every comparison.

That is the primary metric with the units that results leave out and by what was served, any two variants with
each other, and models that are no longer in force. Two variants are compared when they are asked for, and
winners that have to be told apart. One family per metric: Holm over the pairs, which holds whatever the pairs
have in common (Holm 1979, Scand. J. Stat. 6:65). A plan or a prior decides a variant against control; beside
it a pair is read by the confidence sequence, as secondary metrics are. The fixed design reads the primary
metric of a pair once both variants have the units it asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.evidence.evidence import COUNTS, Evidence, History
from switchpoint.analysis.evidence.moments import Index, Totals, join
from switchpoint.analysis.inference.multiplicity import Correction, adjust
from switchpoint.analysis.judgement import family
from switchpoint.analysis.judgement.comparisons import Looks, Place, comparison
from switchpoint.analysis.judgement.measure import UNPLANNED_UNITS, Plan, collect, measure
from switchpoint.analysis.judgement.records import Sheet, sheets
from switchpoint.analysis.numerics.estimates import Float
from switchpoint.analysis.results import format as fmt
from switchpoint.analysis.results.header import iso_day
from switchpoint.analysis.results.judgement import Comparison, FormerPair, MetricReading
from switchpoint.analysis.results.judgement import History as FormerModels
from switchpoint.analysis.validity.unit_checks import Beside
from switchpoint.experiment.definition.types import DecisionRule, Design, Role
from switchpoint.experiment.errors import BadInput, suggest

N, MISMATCHES = COUNTS.index("n"), COUNTS.index("mismatches")


def beside(evidence: Evidence, n_star: Float, window_days: float) -> tuple[Beside, ...]:
    """The other readings of every experiment. A plan of looks is not followed in them: where one decides,
    they are read by the confidence sequence.

    Args:
        n_star: units the sequences are tuned for (subjects, variants − 1).
    """
    place = evidence.primary
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
    (sheet,) = sheets(measure(collected, plan))
    return [_comparisons(evidence, sheet, look, e) for look, e in enumerate(who.tolist())]


def _comparisons(evidence: Evidence, sheet: Sheet, look: int, e: int) -> tuple[Comparison, ...]:
    variants, rule = evidence.subjects[e].variants, evidence.rule
    found = family.corrected([sheet.m], look, len(variants) - 1, rule)
    adjusted, confirmed = found.adjusted[0].tolist(), found.confirmed[0].tolist()
    looks = Looks(overall=look)
    places = (
        Place(v=v, looks=looks, variants=variants, adjusted=adjusted[v], confirmed=confirmed[v])
        for v in range(len(variants) - 1)
    )
    return tuple(comparison(sheet, place, rule) for place in places)


Pair = tuple[str, str]
"""Two variants: the second is compared with the first."""


def check_pairs(pairs: Sequence[Pair], variants: Sequence[str]) -> None:
    """Raise BadInput for a pair of one variant, or of one that is not there."""
    for pair in pairs:
        for name in pair:
            if name not in variants:
                raise BadInput(
                    f"no variant {name!r}", field="compare", value=" ".join(pair), fix=suggest(name, variants)
                )
        if pair[0] == pair[1]:
            raise BadInput(
                f"compares {name!r} with itself", field="compare", value=" ".join(pair),
                fix=f"name two of {', '.join(variants)}.",
            )  # fmt: skip


def distinct(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """Every pair once, the way round it came first."""
    once: dict[frozenset[str], Pair] = {}
    for pair in pairs:
        once.setdefault(frozenset(pair), pair)
    return tuple(once.values())


def pairwise(
    evidence: Evidence,
    subject: int,
    overall: Sequence[Totals],
    metrics: Sequence[MetricReading],
    pairs: Sequence[Pair],
) -> tuple[MetricReading, ...]:
    """Every metric with the comparisons of these pairs; empty without pairs.

    Args:
        overall: every metric's totals (subjects, strata, variants). metrics: their readings against control.
    """
    if not pairs:
        return ()
    rule, variants = evidence.rule, evidence.subjects[subject].variants
    places = [[variants.index(base), variants.index(other)] for base, other in pairs]
    totals = [join([_two(every, subject, two) for two in places]) for every in overall]
    # without a role of its own a metric is read at every look, and no units are asked for
    plain = [replace(metric, role=Role.SECONDARY, margin=None) for metric in evidence.metrics]
    compared = np.stack([evidence.compared()[subject][:, two] for two in places])
    collected = collect(plain, [totals], rule, (range(len(pairs)), totals), compared)
    primary = next(m for m in metrics if m.role == "primary")
    plan = Plan(
        rule=rule, accrual=None, window_days=0.0, once=evidence.closed, series=None,
        n_star=np.array([[_tuned(primary, pair)] for pair in pairs]),
    )  # fmt: skip
    lists = sheets(measure(collected, plan))
    return tuple(
        replace(reading, comparisons=_compared(sheet, pairs, reading, rule))
        for sheet, reading in zip(lists, metrics, strict=True)
    )


def _two(totals: Totals, subject: int, two: list[int]) -> Totals:
    """The totals of two variants of one experiment: (1, strata, 2)."""

    def cut(part: NDArray[Any]) -> NDArray[Any]:
        return part[subject : subject + 1, :, two]

    return totals.each(cut)


def _tuned(primary: MetricReading, pair: Pair) -> float:
    """Units the confidence sequence is tightest at: those the rule needs of the pair's variants."""
    enough = [c.sufficiency for c in primary.comparisons if c.variant in pair]
    return float(max((one.n_needed or 0 for one in enough if one is not None), default=0) or UNPLANNED_UNITS)


def _compared(
    s: Sheet, pairs: Sequence[Pair], reading: MetricReading, rule: DecisionRule
) -> tuple[Comparison, ...]:
    """The pairs of one metric, after Holm over them."""
    adjusted, wide = (adjust(p[:, 0], Correction.HOLM) for p in (s.m.p, s.m.confirmed))
    confirmed = ~(adjusted < rule.alpha) | (wide < rule.alpha)
    waiting = {c.variant for c in reading.comparisons if reading.role == "primary" and not c.complete}
    return tuple(
        comparison(
            s,
            Place(
                v=0, looks=Looks(overall=row), variants=pair, adjusted=float(adjusted[row]),
                confirmed=bool(confirmed[row]), complete=not waiting & set(pair),
            ),
            rule,
        )
        for row, pair in enumerate(pairs)
    )  # fmt: skip


def history(found: History, models: Mapping[str, str]) -> FormerModels:
    """Every former pair of models with the primary metric's effect.

    Args:
        models: `name@version` by digest; a digest without a name is shown itself.
    """
    carried = (
        f" {fmt.plural(found.carried, 'unit')} of them came back later and are not counted again."
        if found.carried
        else ""
    )
    return FormerModels(
        units=found.units,
        carried=found.carried,
        pairs=_former(found.pairs, models),
        sentence=f"{fmt.plural(found.units, 'unit')} met models that are no longer in force: history, not "
        f"evidence.{carried}",
    )


def _former(pairs: Evidence, models: Mapping[str, str]) -> tuple[FormerPair, ...]:
    if not pairs.subjects:
        return ()
    primary = pairs.primary
    # nobody decides by history, so it is read as what may be read at any time
    rule = replace(pairs.rule, design=Design.SEQUENTIAL)
    totals = pairs.totals(primary, pairs.clean() & pairs.matured())
    looks = range(len(pairs.subjects))
    plan = Plan(rule=rule, accrual=None, window_days=0.0, once=False, series=None, tuned_at=np.array(looks))
    measured = measure(collect([pairs.metrics[primary]], [[totals]], rule, (looks, [totals])), plan)
    (sheet,) = sheets(measured)
    return tuple(_former_pair(pairs, place, sheet, models) for place in range(len(pairs.subjects)))


def _former_pair(pairs: Evidence, place: int, sheet: Sheet, models: Mapping[str, str]) -> FormerPair:
    subject, mine = pairs.subjects[place], pairs.cells.subject == place
    clean = mine & pairs.clean()
    units = [int(pairs.cells.counts[clean & (pairs.cells.variant == side), 0].sum()) for side in (0, 1)]
    days = pairs.cells.day[mine]
    strata = np.unique(pairs.cells.stratum[mine]).tolist()
    names = [models.get(digest or "", digest or fmt.ABSENT) for digest in subject.digests]
    return FormerPair(
        variant=subject.variants[1],
        control=subject.variants[0],
        variant_model=names[1],
        control_model=names[0],
        epochs=tuple(sorted({subject.strata[stratum].epoch for stratum in strata})),
        first_day=iso_day(int(days.min())),
        last_day=iso_day(int(days.max())),
        n_control=units[0],
        n_variant=units[1],
        estimate=sheet.estimates[place][0],
        missing=sheet.missing(place, 0),
    )
