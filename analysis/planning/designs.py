"""Units a plan needs: fixed, group sequential, with the variance a covariate leaves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.inference.result import Alternative, Float
from analysis.inference.sample import Sample
from analysis.planning.power import Spread, Units, equal_spread, units_needed
from analysis.planning.spending import Characteristics, planned
from experiment.definition import Spending
from experiment.errors import BadInput


def covariate_spread(variance: ArrayLike, correlation: ArrayLike) -> Spread:
    """Unit variance left after adjustment by a covariate: variance·(1 − ρ²), the same in both variants.

    Args:
        variance: of a unit (linearised for ratios). correlation: ρ of the outcome (linearised for ratios)
            with the covariate, as seen in history.

    Raises:
        BadInput: for a correlation outside (−1, 1).
    """
    rho = np.asarray(correlation, float)
    if not (np.abs(rho) < 1).all():
        raise BadInput("a correlation lies between −1 and 1", field="correlation", value=rho.tolist())
    return equal_spread(np.asarray(variance, float) * (1 - np.square(rho)))


def history_spread(history: Sample, *, correlation: ArrayLike = 0.0) -> Spread:
    """Unit variance of a metric in past data (mean, ratio, capped revenue), after the covariate."""
    return covariate_spread(history.variance, correlation)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSequentialSize:
    """Units of both variants (not rounded): `fixed` design, `maximum` of the plan, and the mean number under
    the planned effect and under none."""

    fixed: Units
    maximum: Units
    expected: Float
    expected_null: Float
    design: Characteristics


def group_sequential_size(
    spread: Spread,
    effect: ArrayLike,
    *,
    looks: int,
    ratio: ArrayLike = 1.0,
    alpha: float = 0.05,
    target: float = 0.8,
    alternative: Alternative = Alternative.TWO_SIDED,
    spending: Spending = Spending.OBRIEN_FLEMING,
) -> GroupSequentialSize:
    """Size of a group sequential plan with equally spaced looks: the fixed size times its inflation.

    Args:
        spread: unit variances (`proportion_spread` for two rates). effect: absolute.
    """
    fixed = units_needed(spread, effect, ratio=ratio, alpha=alpha, target=target, alternative=alternative)
    design = planned(looks, alpha=alpha, power=target, alternative=alternative, spending=spending)
    return GroupSequentialSize(
        fixed=fixed,
        maximum=Units(control=fixed.control * design.inflation, treatment=fixed.treatment * design.inflation),
        expected=np.asarray(fixed.total * design.expected),
        expected_null=np.asarray(fixed.total * design.expected_null),
        design=design,
    )
