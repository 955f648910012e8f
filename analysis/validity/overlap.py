"""Can the variants be compared at all? Segment × variant overlap, and the ways out where there is none.

If no segment holds both control and a variant, their difference is the variant's plus the segment's, and
no amount of such data separates the two: the effect is not identified.
"""

from __future__ import annotations

from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

from analysis.evidence import Stratum, Subject
from analysis.inference.sample import Sample
from analysis.planning.power import (
    absolute_effect,
    design_factor,
    equal_spread,
    proportion_spread,
    units_needed,
)
from analysis.report.model import Check, Overlap, OverlapRow, Rung, Severity, Value
from experiment.definition import DecisionRule, MetricType

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
    """Sensitivity figure of the unadjusted ratio RR: RR + √(RR·(RR − 1)), for RR < 1 of its inverse.

    Source: VanderWeele & Ding (2017), Ann. Intern. Med. 167:268.
    """
    if not control.value or not variant.value or control.value < 0 or variant.value < 0:
        return None
    ratio = variant.value / control.value
    ratio = max(ratio, 1 / ratio)
    return ratio + sqrt(ratio * (ratio - 1))


def units_inside(kind: MetricType, samples: Sample, rule: DecisionRule) -> int | None:
    """Units of two equal variants that the rule needs when randomised inside the segments.

    Baseline and variance are those within strata, whichever variant holds them: samples of shape
    (strata, variants). None where they are not known.
    """
    held = samples.measured & (samples.n > 1)
    if not held.any():
        return None
    share = np.where(held, samples.n, 0.0) / samples.n[held].sum()
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
    return ceil(float(needed * design_factor(rule.design, alpha=rule.alpha, power=rule.power)))


def ladder(subject: Subject, n: int | None, per_day: float | None, figure: float | None) -> tuple[Rung, ...]:
    """What could be done, strongest first."""
    days = ceil(n / per_day) if n is not None and per_day else None
    need = "" if n is None else f" {n:,} units in all"
    time = "" if days is None else f", about {days:,} days at the present traffic"
    sensitivity = (
        "report the raw difference with the smallest confounding that would explain it away"
        if figure is None
        else f"report the raw difference with its E-value of {figure:.2f}: a hidden cause tied that strongly "
        "(as a risk ratio) to both segment and outcome would explain all of it"
    )
    by = subject.segmented_by
    return (
        Rung(
            name="randomise a slice inside each segment", n=n, days=days,
            text=f"give every {by} both variants by a random split;{need or ' size it with `power`'}{time}.",
        ),
        Rung(
            name="switchback", n=None, days=None,
            text=f"let every {by} alternate between the variants in at least 20 random time windows.",
        ),
        Rung(
            name="difference-in-differences", n=None, days=None,
            text=f"compare the change of each {by} from before to after the switch, with placebo checks on "
            "earlier dates; evidence grade quasi, it never promotes by itself.",
        ),
        Rung(name="bounds with a sensitivity figure", n=None, days=None, text=f"{sensitivity}."),
    )  # fmt: skip


def check(found: Overlap) -> Check:
    """Invalid when no variant can be compared with control; a warning when only some cannot."""
    others = len(found.variants) - 1
    numbers = {"aliased": len(found.aliased), "e_value": found.e_value}
    if not found.aliased:
        text = "Control and every variant meet in at least one segment."
        return Check(name="overlap", severity=Severity.OK, message=text, numbers=numbers)
    level = Severity.INVALID if len(found.aliased) == others else Severity.WARN
    return Check(name="overlap", severity=level, message=found.sentence or "", numbers=numbers)
