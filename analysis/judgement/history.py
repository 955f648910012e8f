"""What was measured of models that are no longer in force, with its own numbers beside the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from switchpoint.analysis.evidence import evidence
from switchpoint.analysis.judgement.comparisons import estimate
from switchpoint.analysis.judgement.measure import Plan, collect, measure
from switchpoint.analysis.judgement.sheet import Sheet, sheets, why
from switchpoint.analysis.results import format as fmt
from switchpoint.analysis.results.header import iso_day
from switchpoint.analysis.results.judgement import FormerPair, History
from switchpoint.experiment.definition.types import Design, Role


def history(found: evidence.History, models: Mapping[str, str]) -> History:
    """Every former pair of models with the primary metric's effect.

    Args:
        models: `name@version` by digest; a digest without a name is shown itself.
    """
    carried = (
        f" {fmt.plural(found.carried, 'unit')} of them came back later and are not counted again."
        if found.carried
        else ""
    )
    return History(
        units=found.units,
        carried=found.carried,
        pairs=_pairs(found.pairs, models),
        sentence=f"{fmt.plural(found.units, 'unit')} met models that are no longer in force: history, not "
        f"evidence.{carried}",
    )


def _pairs(pairs: evidence.Evidence, models: Mapping[str, str]) -> tuple[FormerPair, ...]:
    if not pairs.subjects:
        return ()
    primary = next(place for place, metric in enumerate(pairs.metrics) if metric.role is Role.PRIMARY)
    # nobody decides by history, so it is read as what may be read at any time
    rule = replace(pairs.rule, design=Design.SEQUENTIAL)
    totals = pairs.totals(primary, pairs.clean() & pairs.matured())
    looks = range(len(pairs.subjects))
    plan = Plan(rule=rule, accrual=None, window_days=0.0, once=False, series=None, tuned_at=np.array(looks))
    measured = measure(collect([pairs.metrics[primary]], [[totals]], rule, (looks, [totals])), plan)
    (sheet,) = sheets(measured, rule)
    return tuple(_pair(pairs, place, sheet, models) for place in range(len(pairs.subjects)))


def _pair(pairs: evidence.Evidence, place: int, sheet: Sheet, models: Mapping[str, str]) -> FormerPair:
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
        estimate=estimate(sheet, place, 0),
        missing=why(sheet.interval.code[place][0]),
    )
