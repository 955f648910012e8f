"""From totals to estimates: every variant against control, over strata, for any number of looks at once.

The leading axis is free: the experiments of a batch, the segments and days of one experiment, or several
metrics one after another. `pairs` brings a metric's strata to one comparison per look; everything after
it reads only those, so looks of all metrics are estimated in one call. Fixed-horizon headline by design.md
7: a proportion in one stratum by the score test and its dual intervals; means, ratios, everything
stratified or adjusted by Welch and Fieller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.evidence import event_gate
from switchpoint.analysis.evidence.moments import Exact, Totals
from switchpoint.analysis.inference import contrast, proportion, sequential
from switchpoint.analysis.inference.adjust import Joint, adjust_mean, adjust_ratio
from switchpoint.analysis.inference.contrast import Contrast
from switchpoint.analysis.inference.sample import Sample
from switchpoint.analysis.inference.sequential import no_surer
from switchpoint.analysis.inference.strata import Stratified, combine, stratify
from switchpoint.analysis.numerics.arrays import joined, rows
from switchpoint.analysis.numerics.estimates import Alternative, Estimates, Float
from switchpoint.analysis.numerics.reasons import Codes
from switchpoint.analysis.numerics.tail import p_values
from switchpoint.analysis.planning.sufficiency import Progress, progress
from switchpoint.experiment.definition.types import Direction, Metric, MetricType, Size

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Control and every other variant brought to one composition of strata; arrays (looks, variants − 1).

    `contrast` is what every test reads; `plain` the same without covariates, `reduction` the share of
    variance they removed (NaN where there are none). `control`, `treatment`: the two sides. `single`: one
    stratum
    alone decides. `scored`: where that makes the score test the headline; `counts` then holds (..., 4)
    successes and units of control and treatment. `events` the smaller variant can expect, and those `needed`;
    `widening` of the standard error when variants share one variance (`analysis.evidence.event_gate`).
    `progress`: blinded, for sufficiency.
    """

    contrast: Contrast
    plain: Contrast
    reduction: Float
    control: Sample
    treatment: Sample
    single: Mask
    scored: Mask
    counts: Float
    events: Float
    needed: Float
    widening: Float
    progress: Progress

    @property
    def enough(self) -> Mask:
        """The smaller variant holds what its approximation needs."""
        return np.asarray(self.events >= self.needed)


def pairs(metric: Metric, totals: Totals) -> Pairs:
    """Stratify the totals (looks, strata, variants) of a metric: control against each other variant."""
    return stacked_pairs([(metric, totals)])


def stacked_pairs(given: Sequence[tuple[Metric, Totals]]) -> Pairs:
    """The pairs of several metrics one after another; their totals have one shape (looks, strata, variants).

    A stratum weighs as many units as it holds over all variants, for ratios as much of the denominator.
    Metrics with covariates are compared one by one, the others in one call.
    """
    strata = [_strata(totals) for _, totals in given]
    plain = [place for place, found in enumerate(strata) if found.before is None]
    groups = [
        *([plain] if plain else []),
        *([p] for p, found in enumerate(strata) if found.before is not None),
    ]
    parts = [
        _pairs([given[place] for place in group], joined([strata[place] for place in group]))
        for group in groups
    ]
    whole, looks = joined(parts), len(given[0][1].n)
    order = [place for group in groups for place in group]
    if order == sorted(order):
        return whole
    back = np.argsort(order)[:, None] * looks + np.arange(looks)
    return rows(whole, back.ravel())


def _pairs(given: Sequence[tuple[Metric, Totals]], strata: _Strata) -> Pairs:
    sides, found, reduction = _compared(strata, given[0][0])
    used = sides.weight > 0
    looks, each = len(given[0][1].n), range(len(given))
    own = [used[place * looks : (place + 1) * looks] for place in each]
    counted = np.repeat([_counted(metric, totals) for metric, totals in given], looks)[:, None]
    single = used.sum(axis=-1) == 1
    scored = single & counted
    needed = [float(event_gate.NEEDED[event_gate.counted(metric)]) for metric, _ in given]
    return Pairs(
        contrast=found,
        plain=found if strata.before is None else _plain(strata),
        reduction=reduction,
        control=sides.control,
        treatment=sides.treatment,
        single=single,
        scored=scored,
        counts=np.concatenate([_counts(*given[place], own[place]) for place in each]),
        events=np.concatenate([_events(*given[place], own[place]) for place in each]),
        needed=np.broadcast_to(np.repeat(needed, looks)[:, None], single.shape),
        widening=sides.widening,
        progress=_progress(strata, sides, found),
    )


def _counted(metric: Metric, totals: Totals) -> bool:
    """Whether the score test applies: a proportion known by its counts and not adjusted."""
    exact = isinstance(totals, Exact) and totals.covariates is None
    return exact and metric.type is MetricType.PROPORTION


def left_out(totals: Totals, compared: Mask) -> tuple[Codes, Float]:
    """Per stratum why it takes no part although it holds units (looks, variants − 1, strata), and the share
    of units the comparison speaks for.

    Args:
        compared: whether a stratum is evidence for a variant (looks, strata, variants); one that is not is
            not missed.
    """
    strata = _strata(totals)
    weight = strata.weight * np.swapaxes(compared[..., 1:], -1, -2)
    sides = stratify(strata.control, strata.treatment, weight)
    return sides.dropped, sides.covered


@dataclass(frozen=True, slots=True, kw_only=True)
class _Strata:
    """Samples (looks, variants − 1, strata) of treatment and (looks, 1, strata) of control, and what each
    stratum weighs in each pair."""

    control: Sample
    treatment: Sample
    weight: Float
    before: tuple[Joint, Joint] | None


def _strata(totals: Totals) -> _Strata:
    sample = totals.sample()
    _, denominator = totals.values()
    swapped = Sample(**{f.name: np.swapaxes(getattr(sample, f.name), -1, -2) for f in fields(sample)})
    others = sample.n.shape[-1] - 1
    before = None
    if isinstance(totals, Exact) and totals.covariates is not None:
        both = totals.each(lambda part: np.swapaxes(part, -1, -2)).joint()
        before = _cut(both, np.zeros(others, dtype=int)), _cut(both, slice(1, None))
    return _Strata(
        control=swapped[:, :1, :],
        treatment=swapped[:, 1:, :],
        weight=np.broadcast_to(
            denominator.sum(axis=-1)[:, None, :], (len(denominator), others, denominator.shape[1])
        ),
        before=before,
    )


def _cut(joint: Joint, variants: Any) -> Joint:
    return Joint(
        n=joint.n[:, variants], mean=joint.mean[:, variants], covariance=joint.covariance[:, variants],
        reason=joint.reason[:, variants],
    )  # fmt: skip


def _compared(strata: _Strata, metric: Metric) -> tuple[Stratified, Contrast, Float]:
    """Both sides over strata, their contrast, and the share of variance that covariates removed."""
    if strata.before is None:
        sides = stratify(strata.control, strata.treatment, strata.weight)
        found = contrast.from_samples(sides.control, sides.treatment)
        return sides, found, np.full(found.effect.shape, np.nan)
    adjusted = (adjust_ratio if metric.type is MetricType.RATIO else adjust_mean)(*strata.before)
    sides = stratify(adjusted.control, adjusted.treatment, strata.weight)
    found = combine(adjusted.contrast, sides.weight)
    return sides, found, 1 - _left(found, combine(adjusted.unadjusted, sides.weight))


def _left(found: Contrast, raw: Contrast) -> Float:
    """The share of variance that covariates leave; NaN where nothing can be estimated with them."""
    with np.errstate(invalid="ignore"):
        return np.where(found.reason == 0, found.variance / raw.variance, np.nan)


def _plain(strata: _Strata) -> Contrast:
    sides = stratify(strata.control, strata.treatment, strata.weight)
    return contrast.from_samples(sides.control, sides.treatment)


def _progress(strata: _Strata, sides: Stratified, found: Contrast) -> Progress:
    """Blinded progress; a covariate shrinks the error as it shrinks that of the effect."""
    now = progress(strata.control, strata.treatment, weight=sides.weight)
    if strata.before is None:
        return now
    left = np.nan_to_num(_left(found, _plain(strata)), nan=1.0)
    return replace(now, error_variance=now.error_variance * left)


def _used(column: Float, used: Mask) -> tuple[Float, Float]:
    """A column (looks, strata, variants) of control and of the others, summed over the strata used."""
    swapped = np.swapaxes(column, -1, -2)
    control = np.where(used, swapped[:, :1, :], 0.0).sum(axis=-1)
    return control, np.where(used, swapped[:, 1:, :], 0.0).sum(axis=-1)


def _counts(metric: Metric, totals: Totals, used: Mask) -> Float:
    if not _counted(metric, totals):
        return np.zeros((*used.shape[:-1], 4))
    numerator, units = totals.values()
    (xc, xt), (nc, nt) = _used(numerator, used), _used(units, used)
    return np.stack([xc, nc, xt, nt], axis=-1)


def _events(metric: Metric, totals: Totals, used: Mask) -> Float:
    """What the smaller variant of each pair can expect of what its metric counts."""
    both = event_gate.expected(metric, totals, lambda part: np.stack(_used(part, used), axis=-1))
    smaller: Float = both.min(axis=-1)
    return smaller


def fixed_effect(
    given: Pairs, alpha: float, lifts: NDArray[np.bool_] | None = None
) -> tuple[Estimates, Estimates]:
    """Fixed-horizon effect and lift with dual intervals.

    Args:
        lifts: looks whose lift is read; at the others the lift of a proportion is only Fieller's.
    """
    effect, lift = contrast.effect_and_lift(given.contrast, alpha=alpha)
    if (where := given.scored).any():
        effect = overlay(effect, where, proportion.score_difference(*given.counts[where].T, alpha=alpha))
    if lifts is not None:
        where = where & lifts[:, None]
    if where.any():
        lift = overlay(lift, where, proportion.score_lift(*given.counts[where].T, alpha=alpha))
    return effect, lift


def overlay(base: Estimates, where: Mask, better: Estimates) -> Estimates:
    """`base` with the places of `where` replaced by the flat estimates `better`."""

    def put(under: NDArray[Any], over: NDArray[Any]) -> NDArray[Any]:
        column = np.array(under)
        column[where] = over
        return column

    names = (
        "estimate", "standard_error", "statistic", "df", "p_value", "log_p", "low", "high", "reason",
    )  # fmt: skip
    columns: dict[str, Any] = {name: put(getattr(base, name), getattr(better, name)) for name in names}
    return replace(base, **columns)


def method_names(given: Pairs) -> NDArray[np.str_]:
    """The fixed-horizon method per pair."""
    return np.where(given.scored, "score", "welch")


def anytime(
    given: Pairs, n_star: Float, alpha: float, once: tuple[Estimates, Estimates] | None = None
) -> tuple[Estimates, Estimates]:
    """Confidence sequences of effect and lift at this look, tightest at `n_star` units of both variants.

    Args:
        once: `fixed_effect` of the same pairs, which they are not surer than; None: only the p-values are
            held against a score test, whose interval would have to be searched for.
    """
    sequence = contrast.sequence(given.contrast, n_star=n_star, alpha=alpha)
    lifts = contrast.lift_sequence(given.contrast, n_star=n_star, alpha=alpha)
    if once is not None:
        return no_surer(sequence, once[0]), no_surer(lifts, once[1])
    if not given.scored.any():
        return sequence, lifts
    p = np.where(given.scored, p_values(score_statistic(given), np.inf, Alternative.TWO_SIDED)[0], 0.0)
    return replace(sequence, p_value=np.maximum(sequence.p_value, p)), lifts


def pooled_effect(given: Sequence[Totals], alpha: float, compared: Mask | None = None) -> Estimates:
    """The naive effect over merged strata: what a reading without strata would say. Totals follow each other
    along the looks.

    Args:
        compared: whether a stratum is evidence for a variant (looks, strata, variants); None: every one is.
    """

    def shared(part: NDArray[Any], side: NDArray[Any]) -> NDArray[Any]:
        """One side's sums for each pair, of the strata that are evidence for both."""
        own = np.broadcast_to(side, part[..., 1:].shape)
        both = True if compared is None else compared[..., :1] & compared[..., 1:]
        return np.where(both, own, 0)

    sides = [
        joined([totals.each(change).merged(1).sample() for totals in given])
        for change in (lambda part: shared(part, part[..., :1]), lambda part: shared(part, part[..., 1:]))
    ]
    return contrast.effect(contrast.from_samples(*sides), alpha=alpha)


def widened(given: Pairs) -> Contrast:
    """The contrasts with the standard error of one shared variance where that is the wider one."""
    squared, found = np.square(given.widening), given.contrast
    return replace(
        found, variance=found.variance * squared, covariance=found.covariance * squared,
        baseline_variance=found.baseline_variance * squared,
    )  # fmt: skip


def score_statistic(given: Pairs) -> Float:
    """Z of the score test of no difference, from the counts of every pair; NaN where there are none."""
    xc, nc, xt, nt = np.moveaxis(given.counts, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = (xc + xt) / (nc + nt)
        return np.asarray((xt / nt - xc / nc) / np.sqrt(rate * (1 - rate) * (1 / nc + 1 / nt)))


def confirmed_fixed(given: Pairs, effect: Estimates) -> Float:
    """p of the fixed test with the wider standard error; a score test has one variance as it is."""
    p, _ = p_values(effect.statistic / given.widening, effect.df, Alternative.TWO_SIDED)
    return np.where(given.scored, effect.p_value, p)


def confirmed_anytime(given: Pairs, sequence: Estimates, n_star: Float, alpha: float) -> Float:
    """p of the confidence sequence of the effect with the wider standard error."""
    k = sequential.mixing_units(n_star, alpha)
    log_e = sequential.log_e_value(sequence.statistic / given.widening, given.contrast.n, k)
    return np.maximum(sequential.anytime_p(log_e)[0], sequence.p_value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """Non-inferiority of a guardrail per pair; `bound`: the worst loss not excluded, in the margin scale.

    `safe`, `harmed` hold with either standard error; `unconfirmed`: one of them holds only with each
    variant's own variance, so that it says nothing yet.
    """

    bound: Float
    safe: Mask
    harmed: Mask
    unconfirmed: Mask


def guards(
    given: Pairs, metric: Metric, margin: Size, n_star: Float, alpha: float, *, once: bool = False
) -> Guards:
    """Whether each variant is shown to be within the margin, or shown to be beyond it.

    Both by the confidence sequence, one-sided at full alpha (every guardrail must pass, so alpha is not
    split): a guardrail is watched at every look, also while a variant that has won waits for it.

    Args:
        once: the data are read at one look (a file under the fixed design): `safe` by the fixed test.
    """
    up = metric.direction is Direction.INCREASE
    safe_side, harm_side = (
        (Alternative.GREATER, Alternative.LESS) if up else (Alternative.LESS, Alternative.GREATER)
    )
    null = -margin.value if up else margin.value

    def read(found: Contrast) -> tuple[Estimates, Estimates]:
        if once:
            at_once = contrast.lift if margin.relative else contrast.effect
            shown = at_once(found, alpha=alpha, alternative=safe_side, null=null)
        else:
            shown = watched(found, n_star=n_star, alpha=alpha, alternative=safe_side, null=null)
        return shown, watched(found, n_star=n_star, alpha=alpha, alternative=harm_side, null=null)

    watched = contrast.lift_sequence if margin.relative else contrast.sequence
    (shown, harm), (wide_shown, wide_harm) = read(given.contrast), read(widened(given))
    safe, harmed = shown.significant & wide_shown.significant, harm.significant & wide_harm.significant
    return Guards(
        bound=-shown.low if up else shown.high, safe=safe, harmed=harmed,
        unconfirmed=(shown.significant & ~safe) | (harm.significant & ~harmed),
    )  # fmt: skip
