"""Any two variants compared with each other: those asked for, and winners that have to be told apart.

The estimates, gates and words are those of a comparison with control. One family per metric: Holm over the
pairs, which holds whatever the pairs have in common (Holm 1979, Scand. J. Stat. 6:65). A plan or a prior
decides a variant against control; beside it a pair is read by the confidence sequence, as secondary metrics
are. The fixed design reads the primary metric of a pair once both variants have the units it asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.evidence.evidence import Evidence
from switchpoint.analysis.evidence.moments import Totals, join
from switchpoint.analysis.inference.multiplicity import Correction, adjust
from switchpoint.analysis.judgement.comparisons import Looks, Place, comparison
from switchpoint.analysis.judgement.measure import UNPLANNED_UNITS, Plan, collect, measure
from switchpoint.analysis.judgement.sheet import Sheet, sheets
from switchpoint.analysis.results.judgement import Comparison, MetricReading
from switchpoint.experiment.definition.types import DecisionRule, Role
from switchpoint.experiment.errors import BadInput, suggest

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
    lists = sheets(measure(collected, plan), rule)
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
    adjusted, wide = (adjust(p[:, 0], Correction.HOLM) for p in (s.headline, s.confirmed))
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
