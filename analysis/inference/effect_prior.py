"""Gaussian Bayesian reading of an effect or lift with a prior, and the prior that past experiments give.

The estimate is taken as normal with its standard error; with a prior N(m0, s0²) the posterior is the
precision-weighted mean. A proper prior is what shrinks the winner's curse; without one the numbers are a
one-sided p-value in another dress. Decision and interval come from the one posterior.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from switchpoint.analysis.inference.random_effects import Heterogeneity, Reference, pool_effects
from switchpoint.analysis.numerics.estimates import Alternative, Estimates, Float
from switchpoint.analysis.numerics.reasons import CannotEstimate, Codes, Reason, first_code, first_reason
from switchpoint.analysis.numerics.tail import critical
from switchpoint.experiment.definition.types import WEAK_LIFT, Direction
from switchpoint.experiment.errors import BadInput


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectPrior:
    """What is believed of an effect before the data, on the scale of the estimate (a lift, mostly)."""

    mean: float = 0.0
    sd: float = WEAK_LIFT


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectPosterior:
    """Normal posteriors of effects; every array has one shape.

    `better`: probability that treatment is better than control in the metric's direction. `low`, `high`:
    equal-tailed credible interval. `loss_treatment`, `loss_control`: what choosing each gives up on
    average, on the scale of the effect. Where `reason` is not 0 every number is NaN.
    """

    mean: Float
    sd: Float
    low: Float
    high: Float
    better: Float
    loss_treatment: Float
    loss_control: Float
    alpha: float
    reason: Codes

    def decided(self, *, threshold: float = 0.95, loss: float) -> NDArray[np.bool_]:
        """Where treatment may be chosen: probably better, and little lost if not."""
        return np.asarray(
            (np.nan_to_num(self.better) > threshold) & (np.nan_to_num(self.loss_treatment, nan=np.inf) < loss)
        )


def effect_posterior(
    estimate: Estimates,
    *,
    prior: EffectPrior | None,
    direction: Direction = Direction.INCREASE,
    alpha: float = 0.05,
) -> EffectPosterior:
    """Posterior of an estimated effect or lift.

    m = (x/v + m0/s0²)/(1/v + 1/s0²), s² = 1/(1/v + 1/s0²); P(better) = Φ(m/s); loss = s·φ(m/s) ∓ m·Φ(∓m/s).

    Args:
        estimate: effect or lift with a standard error (for lifts `delta_lift`, whose error is symmetric).
        prior: on the same scale; None = flat, for comparison with tools that default to it, never a design.

    Raises:
        BadInput: for a prior whose standard deviation is not above 0 and finite.
    """
    return normal_posterior(
        estimate.estimate, estimate.standard_error, estimate.reason, prior=prior, direction=direction,
        alpha=alpha,
    )  # fmt: skip


def normal_posterior(
    value: Float,
    error: Float,
    given: Codes,
    *,
    prior: EffectPrior | None,
    direction: Direction = Direction.INCREASE,
    alpha: float = 0.05,
) -> EffectPosterior:
    """`effect_posterior` of an estimate with its standard error; `given` says why one is not there.

    Raises:
        BadInput: for a prior whose standard deviation is not above 0 and finite.
    """
    if prior is not None and not (np.isfinite(prior.mean) and 0 < prior.sd < np.inf):
        raise BadInput(
            "a prior is proper", field="prior", value=(prior.mean, prior.sd), fix="give sd above 0"
        )
    x, v = value, np.square(error)
    with np.errstate(invalid="ignore", divide="ignore"):
        flat = ~(v > 0)
        reason = first_code(given, first_reason((flat, Reason.ZERO_VARIANCE)))
        extra = 0.0 if prior is None else 1 / prior.sd**2
        pull = 0.0 if prior is None else prior.mean * extra
        precision = 1 / v + extra
        mean, sd = (x / v + pull) / precision, 1 / np.sqrt(precision)
    z = mean / sd
    density = np.exp(-0.5 * np.square(z)) / np.sqrt(2 * np.pi)
    up = sd * density + mean * special.ndtr(z)
    down = sd * density - mean * special.ndtr(-z)
    gain = direction is Direction.INCREASE
    reach = critical(alpha, np.inf, Alternative.TWO_SIDED) * sd

    def held(column: ArrayLike) -> Float:
        return np.where(reason == 0, np.asarray(column, float), np.nan)

    return EffectPosterior(
        mean=held(mean), sd=held(sd), low=held(mean - reach), high=held(mean + reach),
        better=held(special.ndtr(z if gain else -z)),
        loss_treatment=held(np.maximum(down if gain else up, 0.0)),
        loss_control=held(np.maximum(up if gain else down, 0.0)),
        alpha=alpha, reason=reason,
    )  # fmt: skip


def empirical_prior(effects: ArrayLike, standard_errors: ArrayLike, *, centred: bool = False) -> EffectPrior:
    """Prior from the effects of past experiments: the normal-normal model by REML.

    sd² = τ² plus the uncertainty of the mean, so few experiments give a wide prior. Effects that were
    selected because they won make it too optimistic: give all of them.

    Args:
        effects: estimates of comparable past experiments (lifts). standard_errors: theirs.
        centred: take the prior mean as 0 instead of estimating it.

    Raises:
        CannotEstimate: with fewer than two experiments, or when they show no variation beyond noise.
    """
    error = np.asarray(standard_errors, float)
    pooled = pool_effects(
        effects, np.square(error), heterogeneity=Heterogeneity.REML, reference=Reference.NORMAL
    )
    if int(pooled.reason):
        raise CannotEstimate(Reason.TOO_FEW_UNITS, "empirical prior: fewer than two past experiments")
    spread = float(pooled.tau2)
    if spread <= 0:
        raise CannotEstimate(Reason.ZERO_VARIANCE, "empirical prior: past effects vary no more than noise")
    mean = 0.0 if centred else float(pooled.mean)
    more = float(pooled.mean) ** 2 if centred else float(pooled.standard_error) ** 2
    return EffectPrior(mean=mean, sd=float(np.sqrt(spread + more)))
