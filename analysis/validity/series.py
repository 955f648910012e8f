"""What exposure days say: a day unlike all others, an effect that wears off, units lost on one day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from switchpoint.analysis.evidence.facts import Unseen
from switchpoint.analysis.numerics.estimates import Float
from switchpoint.analysis.results import format as fmt
from switchpoint.analysis.results.judgement import Check, Severity
from switchpoint.analysis.results.thresholds import Thresholds
from switchpoint.analysis.validity.gates import unchecked
from switchpoint.analysis.validity.sample_ratio import SampleRatio


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """One metric per exposure day and variant: `value` and its standard `error` (days, variants); NaN where
    a day cannot be estimated."""

    metric: str
    value: Float
    error: Float


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """Effect of each variant other than control by exposure day, with its `variance` (days, variants − 1)."""

    metric: str
    effect: Float
    variance: Float


def jump(
    levels: Sequence[Levels] | Unseen, days: Sequence[str], variants: Sequence[str], limits: Thresholds
) -> Check:
    """One metric on one day far from every other day of the same variant: recording changed, not users.

    A day stands out when its distance to the nearest other day exceeds the range of all the others, five
    standard errors, and a quarter of that nearest value; before two weeks have shown every weekday twice it
    has to be twice or half of any other day.
    """
    if isinstance(levels, Unseen):
        return unchecked("jump", levels)
    most = max((int(known.sum(axis=0).max()) for known in map(_known, levels)), default=0)
    if most < limits.series_days:
        return unchecked("jump", _too_few(most, limits))
    worst: tuple[float, str] | None = None
    for found in levels:
        for v, variant in enumerate(variants):
            day = _lonely(found.value[:, v], found.error[:, v], limits)
            if day is None:
                continue
            value, others = float(found.value[day, v]), np.delete(found.value[:, v], day)
            usual = float(np.nanmedian(others))
            change = value / usual if usual else np.inf
            text = (
                f"{found.metric}, {variant}: {value:.4g} on {days[day]} where other days have "
                f"{usual:.4g} (from "
                f"{np.nanmin(others):.4g} to {np.nanmax(others):.4g}). A jump on a single day "
                "is recording more "
                "often than behaviour: check what was deployed or lost that day."
            )
            size = abs(np.log(change)) if change > 0 and np.isfinite(change) else np.inf
            if worst is None or size > worst[0]:
                worst = float(size), text
    if worst is None:
        return Check(name="jump", severity=Severity.OK, message="No day stands out.", numbers={})
    return Check(name="jump", severity=Severity.WARN, message=worst[1], numbers={"days": len(days)})


def _known(found: Levels) -> NDArray[np.bool_]:
    """Days of which a variant's value can be estimated (days, variants)."""
    return np.isfinite(found.value) & np.isfinite(found.error)


def _too_few(days: int, limits: Thresholds) -> Unseen:
    return Unseen(f"{fmt.plural(days, 'day')} can be estimated, {limits.series_days} are needed")


def _lonely(value: Float, error: Float, limits: Thresholds) -> int | None:
    """The day that lies apart from all others; None where there is none."""
    known = np.flatnonzero(np.isfinite(value) & np.isfinite(error))
    if len(known) < limits.series_days:
        return None
    order = known[np.argsort(value[known], kind="stable")]
    sorted_values = value[order]
    for day, near, rest in (
        (int(order[0]), int(order[1]), sorted_values[1:]),
        (int(order[-1]), int(order[-2]), sorted_values[:-1]),
    ):
        gap = abs(float(value[day] - value[near]))
        spread = float(rest[-1] - rest[0])
        noise = limits.jump_errors * float(np.hypot(error[day], error[near]))
        if gap <= max(spread, noise):
            continue
        if len(known) >= 2 * limits.whole_week_days:
            if gap > limits.jump_share * abs(float(value[near])):
                return day
        elif (
            not 1 / limits.jump_factor <= _ratio(float(value[day]), float(value[near])) <= limits.jump_factor
        ):
            return day
    return None


def _ratio(value: float, other: float) -> float:
    return value / other if other > 0 else np.inf


def novelty(
    found: Effects | Unseen, days: Sequence[int], variants: Sequence[str], limits: Thresholds
) -> Check:
    """Does the effect trend over exposure days? A line through the days' effects, weighted by 1/variance.

    p of its slope after Bonferroni over the variants. An effect that shrinks is a novelty that wears off, one
    that grows is users who need to learn; either way the mean over all days is not what comes.
    """
    if isinstance(found, Unseen):
        return unchecked("novelty", found)
    smallest: tuple[float, str] | None = None
    for v, variant in enumerate(variants[1:]):
        line = _trend(found.effect[:, v], found.variance[:, v], np.asarray(days, dtype=np.float64), limits)
        if line is None:
            continue
        p, early, late = line
        p = min(1.0, p * (len(variants) - 1))
        word = "grows (users learn it: primacy)" if abs(late) > abs(early) else "wears off (novelty)"
        if early * late < 0:
            word = "turns round"
        text = (
            f"{found.metric}, {variant}: the effect {word}, from {early:+.4g} in the first "
            "half of the days to "
            f"{late:+.4g} in the second (trend {fmt.p_is(p)}). The mean over all days is not "
            "what to expect; run "
            "longer and read the later days."
        )
        if smallest is None or p < smallest[0]:
            smallest = p, text
    if smallest is None:
        known = np.isfinite(found.effect) & np.isfinite(found.variance) & (found.variance > 0)
        return unchecked("novelty", _too_few(int(known.sum(axis=0).max(initial=0)), limits))
    p, text = smallest
    if p >= limits.trend_p:
        text = "The effect does not trend over exposure days."
        return Check(name="novelty", severity=Severity.OK, message=text, numbers={"p": p})
    return Check(name="novelty", severity=Severity.WARN, message=text, numbers={"p": p})


def _trend(
    effect: Float, variance: Float, day: Float, limits: Thresholds
) -> tuple[float, float, float] | None:
    """p of the weighted slope, and the weighted mean effects of the two halves of the days."""
    known = np.isfinite(effect) & np.isfinite(variance) & (variance > 0)
    if known.sum() < limits.series_days:
        return None
    y, w, x = effect[known], 1 / variance[known], day[known]
    centred = x - (w * x).sum() / w.sum()
    information = (w * centred * centred).sum()
    slope = (w * centred * y).sum() / information
    # days differ by more than sampling: the residual spread counts where it is larger
    mean = (w * y).sum() / w.sum()
    residual = (w * np.square(y - mean - slope * centred)).sum() / (len(y) - 2)
    z = slope * np.sqrt(information / max(float(residual), 1.0))
    half = np.arange(len(y)) < len(y) // 2
    early, late = ((w * y)[part].sum() / w[part].sum() for part in (half, ~half))
    return float(2 * special.stdtr(len(y) - 2, -abs(float(z)))), float(early), float(late)


def daily_ratio(found: SampleRatio, days: Sequence[str], limits: Thresholds) -> Check:
    """Units against the intended weights on each day alone, under one threshold shared by all days."""
    name = "sample ratio by day"
    tested = int((found.reason == 0).sum())
    if not tested:
        return unchecked(name, Unseen("the intended weights are not known, or no day has units"))
    p = np.where(found.reason == 0, found.p_value, np.inf)
    worst = int(np.argmin(p))
    shared = min(1.0, float(p[worst]) * tested)
    numbers: dict[str, float | int | str | None] = {"p": shared, "day": days[worst], "days": tested}
    if shared >= limits.srm_warn:
        text = f"Units split as intended on every day ({tested} days)."
        return Check(name=name, severity=Severity.OK, message=text, numbers=numbers)
    bad = [day for day, own in zip(days, p.tolist(), strict=True) if own * tested < limits.srm_warn]
    text = (
        f"Units did not split as intended on {', '.join(bad[:3])}{' and other days' if len(bad) > 3 else ''} "
        f"({fmt.p_is(float(p[worst]))}, {tested} days looked at): something broke then. Some "
        "units were lost or moved."
    )
    level = Severity.INVALID if shared < limits.srm_invalid else Severity.WARN
    return Check(name=name, severity=level, message=text, numbers=numbers)
