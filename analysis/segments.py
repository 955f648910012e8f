"""Effects of segments drawn towards their common effect, for all metrics of a reading in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from analysis.family import of_segments
from analysis.inference.random_effects import Pooled, pool_effects
from analysis.inference.result import Alternative, Float
from analysis.inference.tail import critical
from analysis.measure import Measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Shrunken:
    """One metric: `pooled` per variant other than control, `low` and `high` of the shrunken effects
    (variants − 1, segments), and the corrected anytime p (segments, variants − 1)."""

    pooled: Pooled
    low: Float
    high: Float
    adjusted: Float


def shrunken(
    measured: Sequence[Measured], looks: Sequence[int], others: int, alpha: float
) -> tuple[Shrunken, ...]:
    """Random effects over the segments at these looks, one family per metric and variant.

    A member's interval is its prediction ± z·(standard error of the prediction).
    """
    found = measured[0].whole
    # (metrics, segments) rows of the whole
    rows = np.array([m.start for m in measured])[:, None] + np.asarray(looks)
    known = found.effect.reason[rows, :others] == 0
    effects = np.where(known, found.effect.estimate[rows, :others], np.nan).swapaxes(1, 2)
    errors = np.where(known, found.effect.standard_error[rows, :others], np.nan).swapaxes(1, 2)
    enough = found.pairs.events[rows, :others] >= found.pairs.needed[rows, :others]
    holds = enough & (found.sequence.reason[rows, :others] == 0)
    p = np.where(holds, found.sequence.p_value[rows, :others], np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):  # families without any member
        drawn = pool_effects(effects, np.square(errors), alpha=alpha)
    reach = critical(alpha, np.inf, Alternative.TWO_SIDED) * drawn.shrunk_error
    return tuple(
        Shrunken(
            pooled=Pooled(**{f.name: np.asarray(getattr(drawn, f.name)[place]) for f in fields(drawn)}),
            low=drawn.shrunk[place] - reach[place],
            high=drawn.shrunk[place] + reach[place],
            adjusted=of_segments(p[place]),
        )
        for place in range(len(measured))
    )
