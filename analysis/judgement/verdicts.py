"""The facts of the frozen rule at every look of many runs of one experiment, and the verdicts it comes to.

Used where a rule is tried out on runs that were simulated or re-randomised, so the checks that find broken
data have nothing to find here. The rule is `analysis.judgement.rule`, which reports read too; the estimates
are those of a report, from the same functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.evidence import pairs as estimates
from switchpoint.analysis.evidence.moments import Totals
from switchpoint.analysis.evidence.pairs import Pairs
from switchpoint.analysis.inference.multiplicity import Correction, adjust
from switchpoint.analysis.judgement import looks as deciding
from switchpoint.analysis.judgement import rule as table
from switchpoint.analysis.judgement.looks import follow
from switchpoint.analysis.judgement.measure import n_star
from switchpoint.analysis.judgement.rule import KINDS, Facts, Mask, shown
from switchpoint.analysis.numerics.arrays import rows
from switchpoint.analysis.numerics.estimates import Float
from switchpoint.analysis.numerics.reasons import Reason
from switchpoint.analysis.planning.accrual import Accrual
from switchpoint.analysis.planning.sufficiency import Sufficiency, sufficiency
from switchpoint.analysis.results.thresholds import DEFAULT, Thresholds
from switchpoint.analysis.validity.gates import least_days
from switchpoint.experiment.definition.types import DecisionRule, Design, Direction, Metric
from switchpoint.experiment.registry.decision import VerdictKind

Scalar = TypeVar("Scalar", bound=np.generic)
_GO_ON = KINDS.index(VerdictKind.CONTINUE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The primary metric at every look of every run; arrays (runs, looks, variants − 1).

    `shown`: significant under the design after Holm over the variants, with the events and units it needs.
    `gate`: enough events. The others are those of `analysis.judgement.rule.Facts`.
    """

    shown: Mask
    gain: Float
    cheap: Mask
    gate: Mask
    complete: Mask
    futile: Mask


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """A guardrail at every look of every run; arrays (runs, looks, variants − 1)."""

    safe: Mask
    harmed: Mask


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """The first verdict other than "continue" of every run, and where it fell.

    `kind`: place in `KINDS`. `look`: 0 .. looks − 1 (the last look where the run never ended). `variant`:
    place of the promoted variant among those other than control, −1 without a promotion.
    """

    kind: NDArray[np.int64]
    look: NDArray[np.int64]
    variant: NDArray[np.int64]

    def share(self, kind: VerdictKind) -> Mask:
        """Which runs ended this way."""
        return np.asarray(self.kind == KINDS.index(kind))


def flat(totals: Totals) -> Totals:
    """Totals of (runs, looks, strata, variants) with runs and looks as one leading axis."""
    return totals.each(lambda part: part.reshape(-1, *part.shape[2:]))


def units_needed(
    metric: Metric,
    pairs: Pairs,
    rule: DecisionRule,
    accrual: Accrual | None = None,
    window_days: float = 0.0,
) -> Sufficiency:
    """Sufficiency of the primary metric at every look."""
    return sufficiency(
        pairs.progress, rule, accrual=accrual, window_days=window_days, assumed=metric.direction
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the design decides by at every look, arrays (runs · looks, variants − 1).

    `p` lies on the side of alpha (and of its shares after Holm) of the report's, 1 where there is none;
    `confirmed` is the same with the wider standard error of the gate.
    `effect` is that of the reading. `complete`: the units the rule asked for are there. `cheap`: choosing the
    variant loses no more than a Bayesian rule allows.
    """

    p: Float
    confirmed: Float
    effect: Float
    complete: Mask
    cheap: Mask


def reading(
    metric: Metric, pairs: Pairs, enough: Sufficiency, rule: DecisionRule, days: NDArray[np.int64]
) -> Reading:
    """What the rule reads of the primary metric.

    The fixed design is read only where the units it asked for have arrived: nothing is decided before.

    Args:
        days: exposure days at each look (runs, looks); the looks of a run follow each other along the rows.
    """
    everywhere = np.ones(enough.n_now.shape, dtype=bool)
    p, effect, complete, cheap = (
        np.ones(everywhere.shape),
        pairs.contrast.effect,
        enough.sufficient,
        everywhere,
    )
    sure = None
    match rule.design:
        case Design.GROUP_SEQUENTIAL:
            p, effect, complete = _planned(pairs, enough, rule, days)
        case Design.BAYESIAN:
            p, effect, cheap = _believed(metric, pairs, rule, days.reshape(-1))
        case Design.FIXED:
            if (due := np.flatnonzero(enough.sufficient.any(axis=-1))).size:
                here, sure = rows(pairs, due), np.ones(everywhere.shape)
                fixed, _ = estimates.fixed_effect(here, rule.alpha)
                p[due] = np.where(fixed.reason == 0, fixed.p_value, 1.0)
                sure[due] = np.where(fixed.reason == 0, estimates.confirmed_fixed(here, fixed), 1.0)
        case _:
            tuned = n_star(enough)
            found, _ = estimates.anytime(pairs, tuned, rule.alpha)
            wide = estimates.confirmed_anytime(pairs, found, tuned, rule.alpha)
            p, sure = (np.where(found.reason == 0, own, 1.0) for own in (found.p_value, wide))
    return Reading(
        p=p, confirmed=p if sure is None else sure, effect=effect, complete=complete, cheap=cheap
    )  # fmt: skip


def _planned(
    pairs: Pairs, enough: Sufficiency, rule: DecisionRule, days: NDArray[np.int64]
) -> tuple[Float, Float, Mask]:
    """p, effect and completeness of the look that counts, at every look of every run."""
    others = pairs.events.shape[-1]
    places = np.arange(days.size).reshape(days.shape)
    series = deciding.Series(rows=places, days=days[..., None], at=(), variants=(others,) * len(days))
    found = follow(deciding.watch(pairs, enough, series), rule)
    # the row that counts, as a place among all rows
    counted = np.maximum(found.counted, 0) + places[:, :1, None]
    shape = pairs.contrast.effect.shape
    effect = np.take_along_axis(pairs.contrast.effect, counted.reshape(shape), axis=0)
    return found.p.reshape(shape), effect, found.ended.reshape(shape)


def _believed(
    metric: Metric, pairs: Pairs, rule: DecisionRule, days: NDArray[np.int64]
) -> tuple[Float, Float, Mask]:
    """Twice the smaller tail of the posterior, an effect on the side that is probably better, and whether the
    expected loss is low enough; before the minimum runtime nothing is decided, so nothing is integrated."""
    due = np.flatnonzero(days >= rule.min_runtime_days)
    here = rows(pairs, due)
    found = deciding.judged(here, metric, rule.belief, rule.alpha)
    known = found.reason == 0
    p, effect, cheap = np.ones(pairs.events.shape), np.zeros(pairs.events.shape), np.zeros_like(pairs.enough)
    p[due] = np.where(known, 2 * np.minimum(found.better, 1 - found.better), 1.0)
    allowed = np.inf if rule.belief.loss is None else rule.belief.loss
    cheap[due] = known & (found.loss_treatment < allowed)
    up = (found.better > 0.5) == (metric.direction is Direction.INCREASE)
    effect[due] = np.where(up, 1.0, -1.0) * np.abs(here.contrast.effect)
    return p, effect, cheap


def judged(
    metric: Metric, pairs: Pairs, found: Reading, enough: Sufficiency, rule: DecisionRule, runs: int
) -> Judged:
    """The primary metric's readings, from arrays (runs · looks, variants − 1)."""
    sign = 1.0 if metric.direction is Direction.INCREASE else -1.0
    significant, confirmed = (
        (p if rule.design is Design.BAYESIAN else adjust(p, Correction.HOLM)) < rule.alpha
        for p in (found.p, found.confirmed)
    )
    gate = pairs.enough & (confirmed | ~significant)
    decided = shown(significant, enough_events=gate, complete=found.complete, design=rule.design)
    gain, dated = sign * found.effect, enough.duration_reason != Reason.NO_ACCRUAL.code
    return Judged(
        shown=_by_run(decided, runs),
        gain=_by_run(np.nan_to_num(gain), runs),
        gate=_by_run(gate, runs),
        cheap=_by_run(found.cheap, runs),
        complete=_by_run(found.complete, runs),
        futile=_by_run(enough.futile & dated, runs),
    )


def _by_run(part: NDArray[Scalar], runs: int) -> NDArray[Scalar]:
    """(runs · looks, variants − 1) as (runs, looks, variants − 1)."""
    return part.reshape(runs, -1, part.shape[-1])


def guarded(metric: Metric, pairs: Pairs, tuned: Float, rule: DecisionRule, runs: int) -> Guarded:
    """A guardrail's readings; without enough events it is neither safe nor harmed."""
    if metric.margin is None:
        raise ValueError(f"guardrail {metric.key} has no margin")
    found = estimates.guards(pairs, metric, metric.margin, tuned, rule.alpha)
    return Guarded(
        safe=_by_run(found.safe & pairs.enough, runs), harmed=_by_run(found.harmed & pairs.enough, runs)
    )


def decide(
    primary: Judged,
    guardrails: Sequence[Guarded],
    rule: DecisionRule,
    days: NDArray[np.int64],
    limits: Thresholds = DEFAULT,
) -> Verdicts:
    """Every run's verdict, taken at the first look that gives one.

    Args:
        days: matured exposure days at each look.
    """
    runs, looks, _ = primary.shown.shape
    ruling = table.apply(facts(primary, guardrails, rule, np.broadcast_to(days, (runs, looks)), limits))
    ended = ruling.kind != _GO_ON
    look = np.where(ended.any(axis=1), ended.argmax(axis=1), looks - 1)
    every = np.arange(runs)
    return Verdicts(kind=ruling.kind[every, look], look=look, variant=ruling.variant[every, look])


def facts(
    primary: Judged,
    guardrails: Sequence[Guarded],
    rule: DecisionRule,
    days: NDArray[np.int64],
    limits: Thresholds,
) -> Facts:
    """What the rule reads at every look of every run; units were randomised and no data are broken."""
    up, nowhere = primary.gain > 0, np.zeros(days.shape, dtype=bool)
    safe, harmed = np.ones_like(primary.shown), np.zeros_like(primary.shown)
    for guardrail in guardrails:
        safe, harmed = safe & guardrail.safe, harmed | guardrail.harmed
    return Facts(
        better=primary.shown & up,
        worse=primary.shown & ~up,
        gain=primary.gain,
        cheap=primary.cheap,
        safe=safe,
        harmed=harmed,
        complete=primary.complete,
        futile=primary.futile,
        invalid=nowhere,
        weak=nowhere,
        few=np.asarray(~primary.gate.any(axis=-1)),
        held=days < least_days(rule, limits.whole_week_days),
        overdue=days >= rule.max_runtime_days,
    )
