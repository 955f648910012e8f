"""Power curves: how power and the visible effect grow with the units of a plan, under each design."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.inference.result import Float
from analysis.planning.boundary import sequential_cost
from analysis.planning.power import equal_spread, proportion_spread, units_needed
from experiment.definition import Design
from experiment.errors import BadInput

POWERS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.975)
_LIFTS = np.geomspace(0.4, 2.5, 21)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a test is planned from.

    Control's mean, the variance of one unit (None: a proportion, whose variance follows from its rate), the
    absolute effect to see, treatment units per control unit, alpha and power.
    """

    mean: float
    variance: float | None
    effect: float
    ratio: float
    alpha: float
    power: float


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

    Raises:
        BadInput: for a design without a closed formula here (fixed and sequential have one).
    """
    if design not in {Design.FIXED, Design.SEQUENTIAL}:
        raise BadInput("has no power curve", field="design", value=design.value, fix="fixed or sequential")
    return Curve(
        design=design.value,
        powers=tuple(
            Point(units=_units(plan, plan.effect, target, design), lift=plan.effect / plan.mean, power=target)
            for target in sorted({*POWERS, plan.power})
        ),
        lifts=tuple(
            Point(units=_units(plan, effect, plan.power, design), lift=effect / plan.mean, power=plan.power)
            for effect in _effects(plan).tolist()
        ),
    )


def _effects(plan: Planned) -> Float:
    """Effects around the planned one that the metric can have, in order of their units."""
    effects = plan.effect * _LIFTS[::-1]
    if plan.variance is None:
        effects = effects[(plan.mean + effects > 0) & (plan.mean + effects < 1)]
    return np.asarray(effects)


def _units(plan: Planned, effect: float, target: float, design: Design) -> int:
    """Units of both variants, each rounded up."""
    if plan.variance is None:
        spread = proportion_spread(plan.mean, plan.mean + effect)
    else:
        spread = equal_spread(plan.variance)
    fixed = units_needed(spread, effect, ratio=plan.ratio, alpha=plan.alpha, target=target)
    cost = 1.0 if design is Design.FIXED else sequential_cost(plan.alpha, target).inflation
    return int(sum(np.ceil(float(n) * cost) for n in (fixed.control, fixed.treatment)))
