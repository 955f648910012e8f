"""Power curves: how power and the visible effect grow with the units of a plan, under each design."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

from switchpoint.analysis.numerics.estimates import Float
from switchpoint.analysis.planning.cost import looks_cost, sequential_cost
from switchpoint.analysis.planning.power import equal_spread, posterior_cost, proportion_spread, units_needed
from switchpoint.experiment.definition.types import Belief, Design
from switchpoint.experiment.errors import BadInput

WEAK = Belief()
POWERS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.975)
_LIFTS = np.geomspace(0.4, 2.5, 21)
MOST_UNITS = 1e15
"""Units no test will have; beyond it a size says that its figures are wrong."""


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

    def lift(self, effect: float) -> float | None:
        """An effect as a share of control's mean; None where that is 0."""
        return effect / self.mean if self.mean else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Units of both variants at which an effect is found with a power; `lift` over control, None where that
    is 0."""

    units: int
    effect: float
    lift: float | None
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
        powers=tuple(_point(plan, plan.effect, target, design) for target in sorted({*POWERS, plan.power})),
        lifts=tuple(_point(plan, effect, plan.power, design) for effect in _effects(plan).tolist()),
    )


def _point(plan: Planned, effect: float, target: float, design: Design) -> Point:
    return Point(
        units=sum(units(plan, effect, target, design)), effect=effect, lift=plan.lift(effect), power=target
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
            return looks_cost(plan.looks, alpha=plan.alpha, power=target)
        case Design.BAYESIAN:
            lift = plan.lift(effect)
            return float(
                posterior_cost(
                    np.nan if lift is None else abs(lift), plan.belief, alpha=plan.alpha, target=target
                )
            )
        case _:
            return sequential_cost(plan.alpha, target)


def units(plan: Planned, effect: float, target: float, design: Design) -> tuple[int, int]:
    """Units of control and treatment, each rounded up, at which a design finds the effect with this power.

    The fixed design's units (`power.units_needed`) times the design's `inflation`.

    Raises:
        BadInput: they are not a number that a test could reach.
    """
    if plan.variance is None:
        spread = proportion_spread(plan.mean, plan.mean + effect)
    else:
        spread = equal_spread(plan.variance)
    fixed = units_needed(spread, effect, ratio=plan.ratio, alpha=plan.alpha, target=target)
    cost = inflation(plan, effect, target, design)
    each = float(fixed.control) * cost, float(fixed.treatment) * cost
    if not all(size < MOST_UNITS for size in each):
        raise BadInput(
            f"no test has the units that an effect of {effect:g} needs where units differ by "
            f"{float(spread.control) ** 0.5:g}",
            field="effect",
            value=effect,
            fix="choose a larger effect, or check the figures it is compared with",
        )
    # one unit has no variance
    return max(ceil(each[0]), 2), max(ceil(each[1]), 2)
