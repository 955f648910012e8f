"""Covariate adjustment from moments (CUPED) for means and ratios.

The effect is d − θ·(difference of the covariate), whose expectation is that of d for any θ because the
covariate was measured before the treatment. θ is the regression coefficient in both variants together.
The lift stays relative to the *unadjusted* control mean, and the covariance of the adjusted effect with
that mean is part of its variance; leaving it out under-covers.

Sources: Deng, Xu, Kohavi, Walker (WSDM 2013); for ratios the delta method on numerator, denominator and
their covariates: Deng, Knoblich, Lu (KDD 2018).

What is adjusted are the joint moments of several columns of one variant: outcome, denominator, covariates.
Exact sums become centred moments in integers and are divided once, so what follows (pooling by Chan's
formula, linear combinations) never meets cancellation of large sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from switchpoint.analysis.inference.contrast import Contrast, from_samples
from switchpoint.analysis.inference.sample import Sample, divide_exact, exact_integers
from switchpoint.analysis.numerics.estimates import Float
from switchpoint.analysis.numerics.reasons import Codes, Reason, first_code, first_reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Joint:
    """`n`: units (...). `mean`: (..., columns). `covariance`: of unit values with ddof = 1 (..., columns,
    columns). Where `reason` is not 0 the covariance is NaN."""

    n: Float
    mean: Float
    covariance: Float
    reason: Codes

    @property
    def measured(self) -> NDArray[np.bool_]:
        """Where means and covariances exist."""
        return np.asarray(self.reason == 0)


def from_sums(
    n: ArrayLike,
    sums: Sequence[ArrayLike],
    products: Sequence[Sequence[ArrayLike]],
    *,
    scale: Sequence[int] | None = None,
) -> Joint:
    """Joint moments from exact sums.

    Args:
        n: units. sums: Σx of each column. products: the upper triangle row by row: products[i][j − i] is
            Σ x_i·x_j for j ≥ i. Integers of any size, in minor units.
        scale: minor units per major unit of each column.

    n·Σx_i·x_j − Σx_i·Σx_j is formed in integers and divided once.
    """
    size = len(sums)
    scales = [1] * size if scale is None else list(scale)
    pairs = [(i, j) for i in range(size) for j in range(i, size)]
    columns = {f"sum {i}": column for i, column in enumerate(sums)}
    columns |= {f"product {i},{j}": products[i][j - i] for i, j in pairs}
    count, *rest = exact_integers(n=n, **columns)
    total, product = rest[:size], dict(zip(pairs, rest[size:], strict=True))
    spread = {(i, j): count * product[i, j] - total[i] * total[j] for i, j in pairs}
    impossible = np.asarray(count < 0, dtype=bool)
    for i, j in pairs:
        worse = spread[i, i] < 0 if i == j else spread[i, j] ** 2 > spread[i, i] * spread[j, j]
        impossible = impossible | np.asarray(worse, dtype=bool)
    few = np.asarray(count < 2, dtype=bool)
    reason = first_reason((impossible, Reason.IMPOSSIBLE_MOMENTS), (few, Reason.TOO_FEW_UNITS))
    holds = reason == 0
    covariance = np.full((*count.shape, size, size), np.nan)
    for i, j in pairs:
        value = divide_exact(spread[i, j], count * (count - 1) * (scales[i] * scales[j]), holds)
        covariance[..., i, j] = covariance[..., j, i] = value
    some = np.asarray(count > 0, dtype=bool) & ~impossible
    mean = np.stack([divide_exact(total[i], count * scales[i], some) for i in range(size)], axis=-1)
    return Joint(n=np.asarray(count, float), mean=mean, covariance=covariance, reason=reason)


def from_moments(n: ArrayLike, mean: ArrayLike, covariance: ArrayLike) -> Joint:
    """Joint moments given as means (..., columns) and covariances with ddof = 1 (..., columns, columns)."""
    count, centre, spread = np.asarray(n, float), np.asarray(mean, float), np.asarray(covariance, float)
    diagonal = np.diagonal(spread, axis1=-2, axis2=-1)
    finite = np.isfinite(count) & np.isfinite(centre).all(axis=-1) & np.isfinite(spread).all(axis=(-2, -1))
    with np.errstate(invalid="ignore"):
        product = diagonal[..., :, None] * diagonal[..., None, :]
        beyond = (np.square(spread) > product * (1 + 1e-9)).any(axis=(-2, -1))
        impossible = (diagonal < 0).any(axis=-1) | beyond | (count < 0) | (np.floor(count) != count)
    reason = first_reason(
        (~finite, Reason.NOT_FINITE),
        (impossible, Reason.IMPOSSIBLE_MOMENTS),
        (count < 2, Reason.TOO_FEW_UNITS),
    )
    masked = np.where((reason == 0)[..., None, None], spread, np.nan)
    return Joint(n=count, mean=np.array(centre), covariance=masked, reason=reason)


def pool(a: Joint, b: Joint) -> Joint:
    """Both variants as one sample, the difference of their means included (Chan, Golub, LeVeque 1983)."""
    n = a.n + b.n
    with np.errstate(invalid="ignore", divide="ignore"):
        shift = b.mean - a.mean
        mean = a.mean + shift * (b.n / n)[..., None]
        between = (a.n * b.n / n)[..., None, None] * shift[..., :, None] * shift[..., None, :]
        within = (a.n - 1)[..., None, None] * a.covariance + (b.n - 1)[..., None, None] * b.covariance
        covariance = (within + between) / (n - 1)[..., None, None]
    return Joint(n=n, mean=mean, covariance=covariance, reason=first_code(a.reason, b.reason))


def bilinear(left: Float, covariance: Float, right: Float) -> Float:
    """leftᵀ·covariance·right over the last axes."""
    return np.asarray(np.einsum("...i,...ij,...j->...", left, covariance, right), dtype=np.float64)


class Theta(StrEnum):
    """Where the regression coefficient comes from.

    `TOTAL`: both variants as one sample, their difference in means included (tea-tasting; default).
    `WITHIN`: the variants' own covariances and variances, added (GrowthBook for ratios).
    They differ by O(1/n).
    """

    TOTAL = "total"
    WITHIN = "within"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjusted:
    """A covariate-adjusted comparison.

    `control`, `treatment`: adjusted samples, centred on the covariate of both variants together; ready for
    every comparison of the effect. `contrast`: the adjusted effect against the unadjusted control mean, for
    lifts. `unadjusted`: the same without the covariate, to be shown beside it. `theta`: the coefficient
    used. `reduction`: share of the effect's variance that the covariate removed. `covariate_reason`: 0
    where adjusted; `zero_variance` or `zero_denominator` where the covariate says nothing and the numbers
    are the unadjusted ones.
    """

    control: Sample
    treatment: Sample
    contrast: Contrast
    unadjusted: Contrast
    theta: Float
    reduction: Float
    covariate_reason: Codes


def adjust_mean(control: Joint, treatment: Joint, *, theta: Theta | ArrayLike = Theta.TOTAL) -> Adjusted:
    """CUPED for a mean: columns are (outcome, covariate).

    Args:
        theta: how to estimate the coefficient, or a number that was fixed before.
    """
    return _adjust(control, treatment, (0,), (1,), theta)


def adjust_ratio(control: Joint, treatment: Joint, *, theta: Theta | ArrayLike = Theta.TOTAL) -> Adjusted:
    """CUPED for a ratio: columns are (numerator, denominator, their covariates in the same order)."""
    return _adjust(control, treatment, (0, 1), (2, 3), theta)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Linear:
    """A mean or ratio and the gradient that makes it linear in the columns."""

    value: Float
    gradient: Float
    missing: NDArray[np.bool_]


def _linear(joint: Joint, columns: tuple[int, ...]) -> _Linear:
    gradient = np.zeros_like(joint.mean)
    if len(columns) == 1:
        gradient[..., columns[0]] = 1.0
        value = joint.mean[..., columns[0]]
        return _Linear(value=value, gradient=gradient, missing=np.zeros(value.shape, dtype=bool))
    top, bottom = joint.mean[..., columns[0]], joint.mean[..., columns[1]]
    missing = ~(bottom > 0)
    safe = np.where(missing, 1.0, bottom)
    value = np.where(missing, np.nan, top / safe)
    gradient[..., columns[0]] = 1 / safe
    gradient[..., columns[1]] = -np.where(missing, 0.0, top / safe) / safe
    return _Linear(value=value, gradient=gradient, missing=missing)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """One variant: outcome, covariate, and their (linearised) unit variances and covariance."""

    n: Float
    outcome: _Linear
    covariate: _Linear
    variance: Float
    covariate_variance: Float
    covariance: Float
    reason: Codes


def _side(joint: Joint, outcome: tuple[int, ...], covariate: tuple[int, ...]) -> _Side:
    y, z = _linear(joint, outcome), _linear(joint, covariate)
    reason = first_code(joint.reason, first_reason((y.missing, Reason.ZERO_DENOMINATOR)))
    own = bilinear(y.gradient, joint.covariance, y.gradient)
    # a value that is the same for every unit leaves rounding noise of its own squares
    noise = 1e-13 * np.square(y.gradient * joint.mean).sum(axis=-1)
    return _Side(
        n=joint.n,
        outcome=y,
        covariate=z,
        variance=np.where(np.abs(own) <= noise, 0.0, own) if len(outcome) > 1 else own,
        covariate_variance=bilinear(z.gradient, joint.covariance, z.gradient),
        covariance=bilinear(y.gradient, joint.covariance, z.gradient),
        reason=reason,
    )


def _coefficient(
    control: _Side, treatment: _Side, total: _Side, theta: Theta | ArrayLike
) -> tuple[Float, Codes]:
    """θ, and why it is 0 where the covariate carries nothing."""
    no_ratio = control.covariate.missing | treatment.covariate.missing
    if not isinstance(theta, Theta):
        given = np.broadcast_to(np.asarray(theta, float), no_ratio.shape)
        return np.where(no_ratio, 0.0, given), first_reason((no_ratio, Reason.ZERO_DENOMINATOR))
    if theta is Theta.TOTAL:
        top, bottom = total.covariance, total.covariate_variance
    else:
        top = control.covariance + treatment.covariance
        bottom = control.covariate_variance + treatment.covariate_variance
    with np.errstate(invalid="ignore"):
        flat = ~(bottom > 0)
    reason = first_reason((no_ratio, Reason.ZERO_DENOMINATOR), (flat, Reason.ZERO_VARIANCE))
    return np.where(reason == 0, top / np.where(flat, 1.0, bottom), 0.0), reason


def _adjust(
    control: Joint,
    treatment: Joint,
    outcome: tuple[int, ...],
    covariate: tuple[int, ...],
    theta: Theta | ArrayLike,
) -> Adjusted:
    sides = [_side(joint, outcome, covariate) for joint in (control, treatment)]
    total = _side(pool(control, treatment), outcome, covariate)
    coefficient, unadjusted = _coefficient(sides[0], sides[1], total, theta)
    centre = np.where(unadjusted == 0, total.covariate.value, 0.0)
    samples = [_sample(side, coefficient, centre, unadjusted) for side in sides]
    c, t = samples
    raw = [_sample(side, np.zeros_like(coefficient), centre, unadjusted) for side in sides]
    with np.errstate(invalid="ignore", divide="ignore"):
        squared = c.error_variance + t.error_variance
        df = np.square(squared) / (np.square(c.error_variance) / c.df + np.square(t.error_variance) / t.df)
        reduction = 1 - squared / (raw[0].error_variance + raw[1].error_variance)
        with_baseline = -(sides[0].variance - coefficient * sides[0].covariance) / sides[0].n
    reason = first_code(c.reason, t.reason)
    return Adjusted(
        control=c,
        treatment=t,
        contrast=Contrast(
            n=c.n + t.n,
            effect=t.mean - c.mean,
            baseline=sides[0].outcome.value,
            variance=squared,
            covariance=with_baseline,
            baseline_variance=raw[0].error_variance,
            df=df,
            reason=reason,
        ),
        unadjusted=from_samples(*raw),
        theta=coefficient,
        reduction=np.where(reason == 0, reduction, np.nan),
        covariate_reason=unadjusted,
    )


def _sample(side: _Side, theta: Float, centre: Float, unadjusted: Codes) -> Sample:
    value = np.where(unadjusted == 0, side.covariate.value - centre, 0.0)
    spread = side.variance + np.square(theta) * side.covariate_variance - 2 * theta * side.covariance
    # a covariate that explains everything leaves rounding noise of either sign
    noise = 1e-13 * (np.abs(side.variance) + np.square(theta) * np.abs(side.covariate_variance))
    with np.errstate(invalid="ignore"):
        spread = np.where(spread <= noise, 0.0, spread)
        flat = (side.reason == 0) & (spread == 0)
    reason = first_code(side.reason, first_reason((flat, Reason.ZERO_VARIANCE)))
    holds = np.isin(reason, (0, Reason.ZERO_VARIANCE.code))
    return Sample(
        n=side.n,
        mean=side.outcome.value - theta * value,
        variance=np.where(holds, spread, np.nan),
        df=np.where(holds, side.n - 1, np.nan),
        reason=reason,
    )
