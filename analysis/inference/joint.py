"""Joint moments of several columns of one variant: outcome, denominator, covariates.

From exact integer sums, from given moments, or from one row per unit. Sums become centred moments in
integers and are divided once, so what follows (pooling by Chan's formula, linear combinations) never
meets cancellation of large sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from switchpoint.analysis.inference.sample import divide_exact, exact_integers
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


def from_values(*columns: ArrayLike) -> Joint:
    """Joint moments of one row per unit (last axis of every column)."""
    x = np.stack(np.broadcast_arrays(*(np.asarray(column, float) for column in columns)), axis=-1)
    n = x.shape[-2]
    mean = x.mean(axis=-2) if n else np.zeros((*x.shape[:-2], x.shape[-1]))
    centred = x - mean[..., None, :]
    covariance = np.einsum("...ni,...nj->...ij", centred, centred) / max(n - 1, 1)
    return from_moments(np.full(mean.shape[:-1], float(n)), mean, covariance)


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
