"""What the designs with looks of their own, or with a prior, read of pairs brought to one composition."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.evidence.pairs import Pairs, score_statistic, widened
from switchpoint.analysis.inference import contrast, group_sequential
from switchpoint.analysis.inference.group_sequential import Looks
from switchpoint.analysis.inference.posterior import (
    EffectPosterior,
    EffectPrior,
    binomial_lift,
    normal_posterior,
)
from switchpoint.analysis.judgement.looks import Watched
from switchpoint.analysis.numerics.arrays import rows
from switchpoint.analysis.numerics.estimates import Estimates, Float
from switchpoint.analysis.numerics.reasons import Reason, first_code, first_reason
from switchpoint.analysis.planning.sufficiency import Sufficiency
from switchpoint.experiment.definition.types import Belief, Metric


def statistic(given: Pairs) -> Float:
    """Z of the headline test of no effect: the score statistic where that decides, else effect over the wider
    of its standard errors (`analysis.evidence.event_gate`); NaN where there is none."""
    found = widened(given)
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.where(given.scored, score_statistic(given), found.effect / np.sqrt(found.variance))
    return np.where((found.reason == 0) & np.isfinite(z), z, np.nan)


def planned(given: Pairs, row: int, v: int, looks: Looks, alpha: float) -> tuple[Estimates, Estimates]:
    """Repeated effect and lift of variant `v` + 1 at the last of these looks, by the headline test; arrays
    of one entry."""
    if given.scored[row, v]:
        xc, nc, xt, nt = (given.counts[row, v, part : part + 1] for part in range(4))
        counts = xc, nc, xt, nt
        return (
            group_sequential.score_effect(counts, looks, alpha=alpha),
            group_sequential.score_lift(counts, looks, alpha=alpha),
        )
    found = rows(widened(given), np.s_[row : row + 1, v])
    return (
        group_sequential.effect(found, looks, alpha=alpha),
        group_sequential.lift(found, looks, alpha=alpha),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The rows a group sequential plan follows, in order of time, and their exposure days (subjects, rows,
    variants − 1, or 1 where all have the same); day 0 = not recorded, or before the variant came. `at`: the
    row of each subject whose headline is the plan's; `variants` other than control that it has."""

    rows: NDArray[np.int64]
    days: NDArray[np.int64]
    at: tuple[int, ...]
    variants: tuple[int, ...]


def watch(given: Pairs, enough: Sufficiency, series: Series) -> Watched:
    """What a group sequential plan reads; `enough` is the metric's sufficiency at every row of `given`."""
    at = series.rows
    with np.errstate(divide="ignore", invalid="ignore"):
        information = 1 / given.progress.error_variance
    z = statistic(given)
    ready = given.enough & np.isfinite(z)
    share = np.where(enough.reason == 0, enough.fraction, np.nan)
    return Watched(
        days=np.broadcast_to(series.days, z[at].shape), variants=series.variants, z=z[at],
        share=share[at], information=information[at], ready=ready[at],
    )  # fmt: skip


def believed(given: Pairs, metric: Metric, belief: Belief, alpha: float) -> EffectPosterior:
    """Normal posteriors of the lifts (delta method) under the rule's prior."""
    found = given.contrast
    positive = found.baseline > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(positive, found.effect / found.baseline, np.nan)
        _, error = contrast.lift_statistic(found, ratio)
    return normal_posterior(
        ratio, error, first_code(found.reason, first_reason((~positive, Reason.ZERO_CONTROL))),
        prior=EffectPrior(mean=belief.mean, sd=belief.sd), direction=metric.direction, alpha=alpha,
    )  # fmt: skip


def judged(given: Pairs, metric: Metric, belief: Belief, alpha: float) -> EffectPosterior:
    """The posteriors a Bayesian rule decides by: exact where the score test would be the headline, else with
    the wider of the standard errors."""
    base, where = believed(replace(given, contrast=widened(given)), metric, belief, alpha), given.scored
    if not where.any():
        return base
    exact = binomial_lift(
        given.counts[where], prior=EffectPrior(mean=belief.mean, sd=belief.sd), direction=metric.direction,
        alpha=alpha,
    )  # fmt: skip
    columns: dict[str, Any] = {}
    for name in (f.name for f in fields(base) if f.name != "alpha"):
        column: NDArray[Any] = np.array(getattr(base, name))
        column[where] = getattr(exact, name)
        columns[name] = column
    return EffectPosterior(alpha=alpha, **columns)
