"""The primary metric by dimensions (device, country, new or returning): judged as segments are, to explore.

A dimension routes nothing, so nobody was randomised by it: a value's effect is that of its own units,
stratified over segments and epochs. The values of one dimension are drawn towards their common effect and
corrected as one family (values × variants), apart from every family that the verdict reads.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from switchpoint.analysis.evidence.evidence import Evidence
from switchpoint.analysis.judgement.comparisons import Looks, Place, heterogeneity, segment_readings
from switchpoint.analysis.judgement.measure import Plan, collect, measure
from switchpoint.analysis.judgement.records import Sheet, sheets
from switchpoint.analysis.judgement.sufficiency import Arrivals, shrunken
from switchpoint.analysis.numerics.estimates import Float
from switchpoint.analysis.results.judgement import DimensionComparison, DimensionReading
from switchpoint.experiment.definition.types import DecisionRule, Design

NO_VALUE = "none"
"""Names the units whose first exposure had no value of the dimension."""


def explored(evidence: Evidence, n_star: Float, window_days: float) -> tuple[DimensionReading, ...]:
    """Every dimension of matured clean units, in the order of their names.

    Args:
        n_star: units the sequences are tuned for (1, variants − 1): those of the whole experiment.
    """
    found = evidence.breakdown
    if found is None or len(evidence.subjects[0].variants) < 2:
        return ()
    broken, place, looks = found.evidence, evidence.primary, range(len(found.values))
    totals = broken.totals(place, broken.clean() & broken.matured())
    # a plan or a prior decides the whole experiment; its parts are watched by the sequence
    fixed = evidence.rule.design is Design.FIXED
    rule = evidence.rule if fixed else replace(evidence.rule, design=Design.SEQUENTIAL)
    plan = Plan(
        rule=rule, accrual=None, window_days=window_days, once=evidence.closed, series=None,
        n_star=np.repeat(n_star, len(looks), axis=0),
    )  # fmt: skip
    metric = evidence.metrics[place]
    (sheet,) = sheets(
        measure(collect([metric], [[totals]], rule, (looks, [totals]), broken.compared()), plan)
    )
    names = dict.fromkeys(dimension for dimension, _ in found.values)
    return tuple(
        _dimension(sheet, evidence.subjects[0].variants, name, rule, window_days, [
            (value or NO_VALUE, row) for row, (own, value) in enumerate(found.values) if own == name
        ])
        for name in names
    )  # fmt: skip


def _dimension(
    sheet: Sheet, variants: tuple[str, ...], name: str, rule: DecisionRule, window_days: float,
    values: list[tuple[str, int]],
) -> DimensionReading:  # fmt: skip
    rows, others = [row for _, row in values], len(variants) - 1
    (drawn,) = shrunken([sheet.m], others, rows, rule, Arrivals(accrual=None, window_days=window_days))
    places = [
        Place(
            v=v, looks=Looks(segments=values), variants=variants, adjusted=np.nan, confirmed=False,
            shrunken=drawn, segment_values=[sheet.values(row, variants) for row in rows],
        )
        for v in range(others)
    ]  # fmt: skip
    return DimensionReading(
        dimension=name,
        headline=sheet.m.headline.value,
        comparisons=tuple(
            DimensionComparison(
                variant=variants[at.v + 1],
                values=segment_readings(sheet, at, rule),
                heterogeneity=heterogeneity(at),
            )
            for at in places
        ),
    )
