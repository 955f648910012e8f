"""Power curves: how power and the visible effect grow with the units of a plan, under each design."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

from analysis.inference.result import Float
from analysis.planning.boundary import sequential_cost
from analysis.planning.power import equal_spread, posterior_cost, proportion_spread, units_needed
from analysis.planning.spending import planned
from experiment.definition import Belief, Design

WEAK = Belief()
POWERS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.975)
_LIFTS = np.geomspace(0.4, 2.5, 21)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a test is planned from.

    Control's mean, the variance of one unit (None: a proportion, whose variance follows from its rate), the
    absolute effect to see, treatment units per control unit, alpha and power; equally spaced looks of a group
    sequential plan, and the prior of a Bayesian rule.
    """

    mean: float
    variance: float | None
    effect: float
    ratio: float
    alpha: float
    power: float
    looks: int = 5
    belief: Belief = WEAK


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Units of both variants at which an effect (a lift over control) is found with a power."""

    units: int
    lift: float
    power: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One design: `powers` for the planned effect, `lifts` at the planned power, both in rising order."""

    design: str
    powers: tuple[Point, ...]
    lifts: tuple[Point, ...]


def curve(plan: Planned, design: Design) -> Curve:
    """The curves of a design through the same formula as the plan's own units.

    Every point asks "how many units for this effect with this power", so the curve passes through the plan.
    """
    return Curve(
        design=design.value,
        powers=tuple(
            Point(
                units=sum(units(plan, plan.effect, target, design)),
                lift=plan.effect / plan.mean,
                power=target,
            )
            for target in sorted({*POWERS, plan.power})
        ),
        lifts=tuple(
            Point(
                units=sum(units(plan, effect, plan.power, design)), lift=effect / plan.mean, power=plan.power
            )
            for effect in _effects(plan).tolist()
        ),
    )


def _effects(plan: Planned) -> Float:
    """Effects around the planned one that the metric can have, in order of their units."""
    effects = plan.effect * _LIFTS[::-1]
    if plan.variance is None:
        effects = effects[(plan.mean + effects > 0) & (plan.mean + effects < 1)]
    return np.asarray(effects)


def inflation(plan: Planned, effect: float, target: float, design: Design) -> float:
    """Maximum units of a design over those of the fixed one with this power for this effect."""
    match design:
        case Design.FIXED:
            return 1.0
        case Design.GROUP_SEQUENTIAL:
            return planned(plan.looks, alpha=plan.alpha, power=target).inflation
        case Design.BAYESIAN:
            lift = abs(effect / plan.mean)
            return float(posterior_cost(lift, plan.belief, alpha=plan.alpha, target=target))
        case _:
            return sequential_cost(plan.alpha, target).inflation


def units(plan: Planned, effect: float, target: float, design: Design) -> tuple[int, int]:
    """Units of control and treatment, each rounded up, at which a design finds the effect with this power.

    The fixed design's units (`power.units_needed`) times the design's `inflation`.
    """
    if plan.variance is None:
        spread = proportion_spread(plan.mean, plan.mean + effect)
    else:
        spread = equal_spread(plan.variance)
    fixed = units_needed(spread, effect, ratio=plan.ratio, alpha=plan.alpha, target=target)
    cost = inflation(plan, effect, target, design)
    return ceil(float(fixed.control) * cost), ceil(float(fixed.treatment) * cost)
