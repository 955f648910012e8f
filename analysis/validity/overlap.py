"""Can the variants be compared at all? Segment × variant overlap, and the ways out where there is none.

If no segment holds both control and a variant, their difference is the variant's plus the segment's, and
no amount of such data separates the two: the effect is not identified.
"""

from __future__ import annotations

from math import ceil

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.evidence.evidence import Stratum, Subject
from switchpoint.analysis.inference.sample import Sample
from switchpoint.analysis.planning.power import (
    absolute_effect,
    design_factor,
    equal_spread,
    proportion_spread,
    units_needed,
)
from switchpoint.analysis.results.judgement import Check, Overlap, OverlapRow, Rung, Severity, Value
from switchpoint.analysis.validity import confounding
from switchpoint.experiment.definition.types import DecisionRule, MetricType

Counts = NDArray[np.int64]


def aliased_variants(subject: Subject, n: Counts) -> tuple[str, ...]:
    """Variants that share no stratum with control, by configuration or in the data (strata, variants)."""
    return tuple(
        key
        for v, key in enumerate(subject.variants)
        if v and _aliased(subject.strata, n[: len(subject.strata)], v)
    )


def _aliased(strata: tuple[Stratum, ...], n: Counts, v: int) -> bool:
    weights = [stratum.weights for stratum in strata]
    apart = bool(weights) and all(w is not None and min(w[0], w[v]) == 0 for w in weights)
    seen = bool(n[:, 0].sum() > 0 and n[:, v].sum() > 0)
    return apart or (seen and not bool(((n[:, 0] > 0) & (n[:, v] > 0)).any()))


def rows(subject: Subject, n: Counts) -> tuple[OverlapRow, ...]:
    """Units per stratum and variant beside the configured weights."""
    size = len(subject.variants)
    return tuple(
        OverlapRow(segment=stratum.label, n=tuple(int(x) for x in n[s][:size]), weights=stratum.weights)
        for s, stratum in enumerate(subject.strata)
    )


def sentence(subject: Subject, n: Counts, aliased: tuple[str, ...]) -> str:
    """Why the difference means nothing, naming who holds what."""
    control = subject.variants[0]
    held = [
        f"{stratum.label} holds only {key}"
        for s, stratum in enumerate(subject.strata)
        for v, key in enumerate(subject.variants)
        if (v == 0 or key in aliased) and _only(stratum, n[s], v)
    ]
    return (
        f"Not identified: difference = model + {subject.segmented_by}. No segment holds both {control} and "
        f"{' or '.join(aliased)} ({'; '.join(held)}), so what the models do and what the segments are like "
        "cannot be told apart, however many units arrive."
    )


def _only(stratum: Stratum, n: Counts, v: int) -> bool:
    if n.sum() > 0:
        return bool(n[v] == n.sum())
    return stratum.weights is not None and stratum.weights[v] == 1


def e_value(control: Value, variant: Value) -> float | None:
    """Sensitivity figure of the unadjusted ratio of two variants; None where a value is not positive."""
    if not control.value or not variant.value or control.value < 0 or variant.value < 0:
        return None
    return float(confounding.e_value(variant.value / control.value))


def units_inside(kind: MetricType, samples: Sample, rule: DecisionRule) -> int | None:
    """Units of two equal variants that the rule needs when randomised inside the segments.

    Baseline and variance are those within strata, whichever variant holds them: samples of shape
    (strata, variants). None where they are not known.
    """
    held = samples.measured
    if not held.any():
        return None
    share = samples.n / samples.n[held].sum()
    baseline = float(np.where(held, share * samples.mean, 0.0).sum())
    effect = float(absolute_effect(rule.mde, baseline))
    if effect <= 0:
        return None
    if kind is MetricType.PROPORTION:
        if baseline + effect >= 1:
            return None
        spread = proportion_spread(baseline, baseline + effect)
    else:
        spread = equal_spread(np.where(held, share * samples.variance, 0.0).sum())
    needed = units_needed(spread, effect, alpha=rule.alpha, target=rule.power).total
    return ceil(float(needed * design_factor(rule, lift=effect / baseline)))


SWITCHBACK_WINDOWS = 40
"""Random time windows of a switchback, half of them for each variant: fewer leave no test worth having."""
WEEKS_EACH_SIDE = 2
"""Whole weeks before and after a switch that a difference-in-differences with a placebo test needs."""


def ladder(
    subject: Subject, needed: int | None, now: int, per_day: float | None, figure: float | None
) -> tuple[Rung, ...]:
    """What could be done, strongest first, each with its units and days.

    Args:
        needed: units when randomised inside the segments. now: units there already.
    """
    days = ceil(needed / per_day) if needed is not None and per_day else None
    need = "" if needed is None else f" {needed:,} units in all"
    time = "" if days is None else f", about {days:,} days at the present traffic"
    windows = SWITCHBACK_WINDOWS if days is None else max(SWITCHBACK_WINDOWS, days)
    both_sides = 2 * 7 * WEEKS_EACH_SIDE
    sensitivity = (
        "report the raw difference with the smallest confounding that would explain it away"
        if figure is None
        else f"report the raw difference with its E-value of {figure:.2f}: a hidden cause tied that strongly "
        "(as a risk ratio) to both segment and outcome would explain all of it"
    )
    by = subject.segmented_by
    return (
        Rung(
            name="randomise a slice inside each segment", n=needed, days=days,
            text=f"give every {by} both variants by a random split;{need or ' size it with `power`'}{time}.",
        ),
        Rung(
            name="switchback", n=_units(windows, per_day), days=windows,
            text=f"let every {by} alternate between the variants in random time windows, at least "
            f"{windows} of a day each; windows, not units, are then compared.",
        ),
        Rung(
            name="difference-in-differences", n=_units(both_sides, per_day), days=both_sides,
            text=f"compare the change of each {by} from before to after the switch, "
            f"{WEEKS_EACH_SIDE} whole weeks "
            "on either side, with placebo checks on earlier dates; evidence grade quasi, it "
            "never promotes by "
            "itself.",
        ),
        Rung(name="bounds with a sensitivity figure", n=now, days=0, text=f"{sensitivity}."),
    )  # fmt: skip


def _units(days: int, per_day: float | None) -> int | None:
    return None if not per_day else ceil(days * per_day)


def check(found: Overlap) -> Check:
    """Invalid when no variant can be compared with control; a warning when only some cannot."""
    others = len(found.variants) - 1
    numbers = {"aliased": len(found.aliased), "e_value": found.e_value}
    if not found.aliased:
        text = "Control and every variant meet in at least one segment."
        return Check(name="overlap", severity=Severity.OK, message=text, numbers=numbers)
    level = Severity.INVALID if len(found.aliased) == others else Severity.WARN
    return Check(name="overlap", severity=level, message=found.sentence or "", numbers=numbers)
