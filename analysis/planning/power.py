"""Units needed, power and smallest detectable effect, with the variance the analysis will use.

The formulas assume a normal (or Student) statistic of known unit variances. Conventions differ between
tools and are named here: `unpooled` (default; each variant's own variance, as Welch and the score interval
see it), `pooled` (R's power.prop.test: the null variance from the average rate). Not offered: Evan
Miller's calculator (null variance from the baseline alone) and the rule of 16.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from switchpoint.analysis.numerics.estimates import Alternative, Distribution, Float
from switchpoint.analysis.numerics.tail import bracketed_root, critical
from switchpoint.analysis.planning.cost import plan_cost, sequential_cost
from switchpoint.experiment.definition.types import Belief, DecisionRule, Design, Size
from switchpoint.experiment.errors import BadInput

_PRECISION = 1e-12


class Convention(StrEnum):
    """How the null variance of two proportions is formed."""

    UNPOOLED = "unpooled"
    POOLED = "pooled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Unit variances of both variants: under the effect, and under the null where that differs."""

    control: Float
    treatment: Float
    null_control: Float
    null_treatment: Float


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """Units of control and of one treatment, not rounded; `total` of these two."""

    control: Float
    treatment: Float

    @property
    def total(self) -> Float:
        """Units of both variants."""
        return self.control + self.treatment


def equal_spread(variance: ArrayLike) -> Spread:
    """The same unit variance in both variants: means, and linearised ratios."""
    v = np.asarray(variance)
    return Spread(control=v, treatment=v, null_control=v, null_treatment=v)


def proportion_spread(
    p_control: ArrayLike,
    p_treatment: ArrayLike,
    *,
    convention: Convention = Convention.UNPOOLED,
    ratio: ArrayLike = 1.0,
) -> Spread:
    """Binomial unit variances; `ratio` (treatment per control unit) weighs the pooled null rate."""
    pc, pt, r = np.broadcast_arrays(p_control, p_treatment, ratio)
    vc, vt = pc * (1 - pc), pt * (1 - pt)
    if convention is Convention.UNPOOLED:
        return Spread(control=vc, treatment=vt, null_control=vc, null_treatment=vt)
    average = (pc + r * pt) / (1 + r)
    null = average * (1 - average)
    return Spread(control=vc, treatment=vt, null_control=null, null_treatment=null)


def covariate_spread(variance: ArrayLike, correlation: ArrayLike) -> Spread:
    """Unit variance left after adjustment by a covariate: variance·(1 − ρ²), the same in both variants.

    Args:
        variance: of a unit (linearised for ratios). correlation: ρ of the outcome (linearised for ratios)
            with the covariate, as seen in history.

    Raises:
        BadInput: for a correlation outside (−1, 1).
    """
    rho = np.asarray(correlation)
    if not (np.abs(rho) < 1).all():
        raise BadInput("a correlation lies between −1 and 1", field="correlation", value=rho.tolist())
    return equal_spread(np.multiply(variance, 1 - np.square(rho)))


def absolute_effect(size: Size, baseline: ArrayLike) -> Float:
    """An effect size on the metric's scale: relative sizes multiply the control mean."""
    base = np.asarray(baseline, float)
    return size.value * base if size.relative else np.full_like(base, size.value)


def power(
    spread: Spread,
    effect: ArrayLike,
    *,
    n_control: ArrayLike,
    ratio: ArrayLike = 1.0,
    alpha: ArrayLike = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    distribution: Distribution = Distribution.NORMAL,
    wrong_side: bool = False,
) -> Float:
    """Probability of rejection when the true effect is `effect` (fixed design).

    Args:
        n_control: units of control; treatment has `ratio` times as many.
        distribution: T uses the noncentral t with Welch's degrees of freedom.
        wrong_side: count two-sided rejections in the wrong direction too (statsmodels does, R and this
            platform do not: a promotion needs the right direction).
    """
    n, r, delta = np.broadcast_arrays(n_control, ratio, np.abs(effect))
    actual = np.sqrt(spread.control / n + spread.treatment / (r * n))
    if distribution is Distribution.NORMAL:
        assumed = np.sqrt(spread.null_control / n + spread.null_treatment / (r * n))
        reach = critical(alpha, np.inf, alternative) * assumed
        right = special.ndtr((delta - reach) / actual)
        left = special.ndtr((-delta - reach) / actual)
    else:
        a, b = spread.control / n, spread.treatment / (r * n)
        df = (a + b) ** 2 / (a**2 / (n - 1) + b**2 / (r * n - 1))
        t, noncentral = critical(alpha, df, alternative), delta / actual
        right = special.nctdtr(df, -noncentral, -t)
        left = special.nctdtr(df, noncentral, -t)
    rejected: Float = right + left if wrong_side and alternative is Alternative.TWO_SIDED else right
    return rejected


def units_needed(
    spread: Spread,
    effect: ArrayLike,
    *,
    ratio: ArrayLike = 1.0,
    alpha: float = 0.05,
    target: float = 0.8,
    alternative: Alternative = Alternative.TWO_SIDED,
    distribution: Distribution = Distribution.NORMAL,
    wrong_side: bool = False,
) -> Units:
    """Units at which the fixed design has power `target` for `effect` (not rounded).

    n_control = (z_α·√(v0_c + v0_t/r) + z_power·√(v1_c + v1_t/r))² / effect²; the t distribution and
    `wrong_side` are solved numerically from there.
    """
    r, delta = np.broadcast_arrays(ratio, np.abs(effect))
    z = critical(alpha, np.inf, alternative)
    null = np.sqrt(spread.null_control + spread.null_treatment / r)
    actual = np.sqrt(spread.control + spread.treatment / r)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        n = ((z * null + special.ndtri(target) * actual) / delta) ** 2
    if distribution is Distribution.T or wrong_side:
        at = partial(
            power, spread, delta, ratio=r, alpha=alpha, alternative=alternative, distribution=distribution,
            wrong_side=wrong_side,
        )  # fmt: skip
        least = np.maximum(1.0, 1 / r) + 1e-6
        high = np.maximum(n, least)
        # few units of the smaller variant have few degrees of freedom: they may need several times as many
        while (short := at(n_control=high) < target).any():
            high = np.where(short, 2 * high, high)
        n = bracketed_root(lambda units: at(n_control=units) - target, least, high, precision=_PRECISION)
    return Units(control=n, treatment=r * n)


def units_for_proportions(
    p_control: ArrayLike,
    p_treatment: ArrayLike,
    *,
    ratio: ArrayLike = 1.0,
    alpha: float = 0.05,
    target: float = 0.8,
) -> Units:
    """Units at which the fixed two-sided design tells these two rates apart with power `target`."""
    spread = proportion_spread(p_control, p_treatment)
    return units_needed(spread, np.subtract(p_treatment, p_control), ratio=ratio, alpha=alpha, target=target)


def smallest_effect(
    spread: Spread,
    *,
    n_control: ArrayLike,
    ratio: ArrayLike = 1.0,
    alpha: float = 0.05,
    target: float = 0.8,
    alternative: Alternative = Alternative.TWO_SIDED,
    distribution: Distribution = Distribution.NORMAL,
    wrong_side: bool = False,
) -> Float:
    """Smallest absolute effect the fixed design finds with power `target` at these units (the MDE)."""
    n, r = np.broadcast_arrays(n_control, ratio)
    z = critical(alpha, np.inf, alternative)
    null = np.sqrt(spread.null_control / n + spread.null_treatment / (r * n))
    actual = np.sqrt(spread.control / n + spread.treatment / (r * n))
    effect: Float = z * null + special.ndtri(target) * actual
    if distribution is Distribution.NORMAL and not wrong_side:
        return effect
    at = partial(
        power, spread, n_control=n, ratio=r, alpha=alpha, alternative=alternative, distribution=distribution,
        wrong_side=wrong_side,
    )  # fmt: skip
    top = effect
    while (short := at(top) < target).any():  # few degrees of freedom
        top = np.where(short, 2 * top, top)
    return bracketed_root(lambda delta: at(delta) - target, effect * 0.5, top, precision=_PRECISION)


def planned_units(
    rule: DecisionRule, *, baseline: ArrayLike, variance: ArrayLike | None = None, ratio: ArrayLike = 1.0
) -> Units:
    """Maximum units of control and one treatment that a decision rule needs for its MDE, before it starts.

    Args:
        baseline: control mean, rate or ratio. variance: of a unit (linearised for ratios); None for a
            proportion, whose variance follows from its rate. ratio: treatment per control unit.
    """
    base = np.asarray(baseline)
    delta = absolute_effect(rule.mde, base)
    if variance is None:
        fixed = units_for_proportions(base, base + delta, ratio=ratio, alpha=rule.alpha, target=rule.power)
    else:
        fixed = units_needed(equal_spread(variance), delta, ratio=ratio, alpha=rule.alpha, target=rule.power)
    factor = design_factor(rule, lift=delta / base)
    return Units(control=fixed.control * factor, treatment=fixed.treatment * factor)


def design_factor(rule: DecisionRule, *, lift: ArrayLike, alpha: float | None = None) -> Float | float:
    """Maximum units of a rule's design as a multiple of the fixed design's with the same alpha and power.

    Fixed: 1. Sequential: `sequential_cost`. Group sequential: `plan_cost`. Bayesian: `posterior_cost` at one
    look, which asks for the `lift` of the MDE.
    """
    level = rule.alpha if alpha is None else alpha
    match rule.design:
        case Design.FIXED:
            return 1.0
        case Design.GROUP_SEQUENTIAL:
            return plan_cost(rule, level)
        case Design.BAYESIAN:
            return posterior_cost(np.abs(lift), rule.belief, alpha=level, target=rule.power)
        case _:
            return sequential_cost(level, rule.power)


def posterior_cost(lift: ArrayLike, belief: Belief, *, alpha: float, target: float) -> Float:
    """Units at which one look finds P(better) > 1 − alpha/2 with power `target`, over the fixed design's.

    The posterior's z passes z_α where x > s·z_α·√(1 + s²/s₀²) − s²·m₀/s₀², with x ~ N(lift, s²); solved for
    s. A prior much wider than the lift costs nothing.
    """
    delta = np.asarray(lift)
    reach, aim = critical(alpha, np.inf, Alternative.TWO_SIDED), special.ndtri(target)
    known = np.isfinite(delta) & (delta > 0)
    sought = np.where(known, delta, 1.0)

    def shortfall(s: Float) -> Float:
        share = np.square(s / belief.sd)
        short: Float = s * (aim + reach * np.sqrt(1 + share)) - share * belief.mean - sought
        return short

    fixed = sought / (reach + aim)
    top = fixed
    while (low := shortfall(top) < 0).any():  # a prior on the variant's side moves the root up
        top = np.where(low, 2 * top, top)
    root = bracketed_root(shortfall, np.zeros_like(sought), top, precision=_PRECISION)
    return np.where(known, np.square(fixed / root), np.nan)
