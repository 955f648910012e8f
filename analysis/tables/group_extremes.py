"""Extreme units of a table whose rows an engine has grouped."""

from __future__ import annotations

import narwhals.stable.v2 as nw
import numpy as np

from switchpoint.analysis.evidence.evidence import Cells
from switchpoint.analysis.evidence.facts import Extreme
from switchpoint.analysis.tables.extremes import farthest, may_move, sums_of, values
from switchpoint.analysis.tables.grouped import Grouped, Measured
from switchpoint.analysis.tables.units import UnitTable

_X, _Y, _AWAY = "\0x", "\0y", "\0away"


def group_extremes(found: Grouped, units: UnitTable | None, cells: Cells) -> tuple[Extreme, ...]:
    """As `analysis.tables.extremes.extremes`, of the grouped rows and the `units` with several rows."""
    held = []
    for place, one in enumerate(found.measured):
        ends = [(side.low, side.high) for side in one.sides]
        if units is not None:
            ends = [
                (min(low, int(side.min())), max(high, int(side.max())))
                for (low, high), side in zip(ends, units.columns[place].sides, strict=True)
            ]
        sums = sums_of(cells, place, experiments=1)
        if not may_move(one.metric, sums, [(np.array([low]), np.array([high])) for low, high in ends])[0]:
            continue
        for v, typical in enumerate(values(one.metric, sums)[0].tolist()):
            both = [_row(found, one, v, typical)]
            if units is not None:
                both.append(farthest(units, units.columns[place], v, typical))
            known = [each for each in both if each is not None]
            if known:
                ratio = len(one.sides) > 1
                away = [abs(x - typical * (y if ratio else 1)) for x, y, _ in known]
                x, y, stratum = known[away.index(max(away))]
                held.append(Extreme(metric=one.metric.key, variant=v, stratum=stratum, x=x, y=y))
    return tuple(held)


def _row(found: Grouped, one: Measured, variant: int, typical: float) -> tuple[int, int, int] | None:
    """(x, y, stratum) of the row of a variant that is farthest from what is typical."""
    layout, groups, source = found.read.layout, found.read.columns.frame, found.read.source
    mine = layout.variant == variant
    named = groups.filter(mine.tolist())[str(source.variant)].unique().to_list()
    x = one.sides[0].expression
    y = one.sides[1].expression if len(one.sides) > 1 else nw.lit(0)
    below = typical * y if len(one.sides) > 1 else nw.lit(typical)
    segment = [] if source.segment is None else [source.segment]
    rows = found.frame.filter(nw.col(str(source.variant)).is_in(named))
    if not len(rows):
        return None
    rows = rows.select(*segment, x.alias(_X), y.alias(_Y), (x - below).abs().alias(_AWAY))
    top = rows.filter(nw.col(_AWAY) == rows[_AWAY].max()).head(1)
    stratum = 0
    if segment:
        places = groups[segment[0]].to_list()
        stratum = int(layout.stratum[places.index(top[segment[0]].item(0))])
    return int(top[_X].item(0)), int(top[_Y].item(0)), stratum
