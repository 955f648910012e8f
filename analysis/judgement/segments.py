"""What the rule says in each segment, for all metrics of a reading in one call.

Effects are drawn towards their common effect, p-values are corrected as one family per metric (segments ×
variants), and the units a segment still needs are those of the family's strictest step, alpha over its size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.inference.random_effects import Pooled, pool_effects
from switchpoint.analysis.judgement.family import of_segments
from switchpoint.analysis.judgement.measure import Measured, Whole, target_size
from switchpoint.analysis.numerics.arrays import rows as columnar_rows
from switchpoint.analysis.numerics.estimates import Alternative, Float
from switchpoint.analysis.numerics.tail import critical
from switchpoint.analysis.planning.accrual import Accrual
from switchpoint.analysis.planning.sufficiency import Progress, Sufficiency, sufficiency
from switchpoint.experiment.definition.types import DecisionRule, Design, Role

Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """How units reach the segments: `accrual` of arrays (segments, variants − 1), None without dates."""

    accrual: Accrual | None
    window_days: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shrunken:
    """One metric: `pooled` per variant other than control, `low` and `high` of the shrunken effects
    (variants − 1, segments), the corrected p (segments, variants − 1) in a family of `tests`, and how far
    each segment's data go (None where nobody stated an effect size), with the `pace` of its units."""

    pooled: Pooled
    low: Float
    high: Float
    adjusted: Float
    tests: int
    sufficiency: Sufficiency | None
    pace: Float | None


def shrunken(
    measured: Sequence[Measured],
    headline: Sequence[Float],
    looks: Sequence[int],
    rule: DecisionRule,
    arrivals: Arrivals,
) -> tuple[Shrunken, ...]:
    """Random effects over the segments at these looks, one family per metric.

    Args:
        headline: p-values (looks, variants − 1) the rule decides by, per metric, confirmed by the gate.
        looks: the look of every segment.

    A member's interval is its prediction ± z·(standard error of the prediction).
    """
    found, others = measured[0].whole, headline[0].shape[1]
    # (metrics, segments) rows of the whole
    rows = np.array([m.start for m in measured])[:, None] + np.asarray(looks)
    known = found.effect.reason[rows, :others] == 0
    effects = np.where(known, found.effect.estimate[rows, :others], np.nan).swapaxes(1, 2)
    errors = np.where(known, found.effect.standard_error[rows, :others], np.nan).swapaxes(1, 2)
    enough = found.pairs.enough[rows, :others]
    own = np.stack([column[list(looks)] for column in headline])
    p = np.where(enough, _deciding(own, found, rows), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):  # families without any member
        drawn = pool_effects(effects, np.square(errors), alpha=rule.alpha)
    reach = critical(rule.alpha, np.inf, Alternative.TWO_SIDED) * drawn.shrunk_error
    return tuple(
        Shrunken(
            pooled=Pooled(**{f.name: np.asarray(getattr(drawn, f.name)[place]) for f in fields(drawn)}),
            low=drawn.shrunk[place] - reach[place],
            high=drawn.shrunk[place] + reach[place],
            adjusted=of_segments(p[place]),
            tests=p[place].size,
            sufficiency=_sufficiency(m, rows[place], rule, arrivals, p[place].size),
            pace=None if arrivals.accrual is None else arrivals.accrual.pace,
        )
        for place, m in enumerate(measured)
    )


def _deciding(own: Float, found: Whole, rows: Places) -> Float:
    """The design's p-values; one without a p of its own is read by the confidence sequence."""
    others = own.shape[-1]
    running = found.sequence.reason[rows, :others] == 0
    return np.where(np.isfinite(own), own, np.where(running, found.sequence_confirmed[rows, :others], np.nan))


def _sufficiency(
    m: Measured, rows: Places, rule: DecisionRule, arrivals: Arrivals,
    tests: int,
) -> Sufficiency | None:  # fmt: skip
    """Units needed in each segment, with the segment's own arrivals."""
    size = target_size(m.metric, rule)
    if size is None or size.value == 0 or not tests:
        return None
    now: Progress = columnar_rows(m.whole.pairs.progress, rows)
    # a plan or a prior decides the whole experiment; its segments are watched by the sequence
    watched = rule if rule.design is Design.FIXED else replace(rule, design=Design.SEQUENTIAL)
    return sufficiency(
        now, watched, accrual=arrivals.accrual, window_days=arrivals.window_days, mde=size,
        alpha=rule.alpha / tests, assumed=m.metric.direction if m.metric.role is Role.PRIMARY else None,
    )  # fmt: skip
