"""Quantiles (p95 of a latency): one sample by order statistics, comparisons by a density-free error.

The error of a sample quantile needs the density there. Instead of estimating it, the width of the quantile's
own binomial interval is read off the sample; rows of one randomised unit are not independent, so this is
inflated by how much more the share below the quantile varies between clusters than between rows.

Sources: Deng, Knoblich, Lu (KDD 2018), section 4; Price & Bonett (2001) for the width.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from switchpoint.analysis.inference.sample import Sample, from_moments, ratio_from_sums
from switchpoint.analysis.numerics.estimates import Alternative, Float
from switchpoint.analysis.numerics.reasons import Reason, first_code, first_reason

TAIL_CLUSTERS = 10
"""Clusters (rows, where rows were randomised) there must be beyond the quantile on its thinner side."""

_WIDTH_Z = float(-special.ndtri(0.025))


def order_interval(
    values: ArrayLike,
    probability: float,
    *,
    alpha: float = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
) -> tuple[float, float]:
    """Distribution-free interval of a quantile of independent values: low, high.

    Between order statistics whose binomial ranks bound the quantile with at least 1 − alpha; ±inf where the
    sample has no value far enough out. Conover (1999), Practical Nonparametric Statistics, 3.2.
    """
    x = np.sort(np.asarray(values, float))
    n = x.size
    side = alpha / 2 if alternative is Alternative.TWO_SIDED else alpha
    low, high = -np.inf, np.inf
    if alternative is not Alternative.LESS and (rank := _binomial_quantile(side, n, probability) - 1) >= 0:
        low = float(x[rank])
    if alternative is not Alternative.GREATER:
        # P(B > k) ≤ side ⟺ P(n − B < n − k) ≤ side
        rank = n - _binomial_quantile(side, n, 1 - probability)
        if rank < n:
            high = float(x[rank])
    return low, high


def _binomial_quantile(level: float, n: int, p: float) -> int:
    """Smallest k with P(B ≤ k) ≥ level."""
    below = special.bdtr(np.arange(n + 1), n, p)
    return int(np.searchsorted(below, level * (1 - 1e-14), side="left"))


def from_interval(
    n: ArrayLike,
    quantile: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    *,
    probability: ArrayLike,
    read_at: ArrayLike | None = None,
    inflation: ArrayLike = 1.0,
) -> Sample:
    """A variant's quantile as a sample for every comparison, from quantiles already computed.

    SE² = read_at/n·(n − 1)/n·((high − low)/(2·1.96))²·inflation.

    Args:
        n: rows. quantile: at `probability`. low, high: sample quantiles at probability ∓
            1.96·√(p(1 − p)/read_at); `read_at`: None = n.
        inflation: clustered over independent variance of the share below (`cluster_inflation`).
    """
    count, middle, left, right, p, grow = np.broadcast_arrays(
        *(np.asarray(part, float) for part in (n, quantile, low, high, probability, inflation))
    )
    at = count if read_at is None else np.broadcast_to(np.asarray(read_at, float), count.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        width = (right - left) / (2 * _WIDTH_Z)
        variance = at / count * (count - 1) * np.square(width) * grow
        outside = ~((p > 0) & (p < 1)) | (right < left) | ~np.isfinite(grow)
        few = count * np.minimum(p, 1 - p) <= np.square(_WIDTH_Z) * np.maximum(p, 1 - p)
    sample = from_moments(count, middle, variance)
    reason = first_code(
        first_reason((outside, Reason.IMPOSSIBLE_MOMENTS)),
        sample.reason,
        first_reason((few, Reason.TOO_FEW_CLUSTERS)),
    )
    holds = np.isin(reason, (0, Reason.ZERO_VARIANCE.code))
    return Sample(
        n=sample.n, mean=sample.mean, variance=np.where(holds, sample.variance, np.nan),
        df=np.where(holds, sample.df, np.nan), reason=reason,
    )  # fmt: skip


def cluster_inflation(
    probability: ArrayLike,
    clusters: ArrayLike,
    sum_below: ArrayLike,
    squares_below: ArrayLike,
    rows: ArrayLike,
    squares_rows: ArrayLike,
    products: ArrayLike,
) -> Float:
    """Variance of the share of rows below the quantile, by cluster over by row.

    Args:
        clusters: how many. sum_below, squares_below: Σ and Σ² of rows at or below the quantile per
            cluster. rows, squares_rows: of rows per cluster. products: Σ of their products.
    """
    share = ratio_from_sums(clusters, sum_below, squares_below, rows, squares_rows, products)
    p, count = np.asarray(probability, float), np.asarray(rows, float)
    return np.asarray(share.error_variance / (p * (1 - p) / count), dtype=np.float64)


def from_values(values: ArrayLike, probability: float, *, cluster: ArrayLike | None = None) -> Sample:
    """A variant's quantile from its rows, clustered by randomised unit.

    Refused (`too_few_clusters`) unless 10 clusters lie beyond the quantile on its thinner side, so a p99
    needs 1,000 users; the normal approximation fails below that.
    """
    x = np.asarray(values, float)
    n = x.size
    if n < 2 or not np.isfinite(x).all():
        return from_moments(n, np.nan if n == 0 else x.mean(), 0.0 if n < 2 else np.nan)
    reach = _WIDTH_Z * np.sqrt(probability * (1 - probability) / n)
    at = np.clip([probability, probability - reach, probability + reach], 0.0, 1.0)
    middle, low, high = np.quantile(x, at)
    clusters, inflation = float(n), np.asarray(1.0)
    if cluster is not None:
        _, ids = np.unique(np.asarray(cluster), return_inverse=True)
        rows = np.bincount(ids)
        below = np.bincount(ids, weights=(x <= middle)).astype(np.int64)
        clusters = float(rows.size)
        inflation = cluster_inflation(
            probability, rows.size, below.sum(), (below**2).sum(), n, (rows**2).sum(), (below * rows).sum()
        )
    if clusters * min(probability, 1 - probability) < TAIL_CLUSTERS:
        few = Reason.ONE_CLUSTER if clusters < 2 else Reason.TOO_FEW_CLUSTERS
        return _refused(n, float(middle), few)
    return from_interval(n, middle, low, high, probability=probability, inflation=inflation)


def _refused(n: int, quantile: float, reason: Reason) -> Sample:
    unknown = np.asarray(np.nan)
    return Sample(
        n=np.asarray(float(n)), mean=np.asarray(quantile), variance=unknown, df=unknown,
        reason=np.asarray(reason.code, dtype=np.uint8),
    )  # fmt: skip
