"""Did units arrive in the ratio they were allocated? Fixed and sequential tests of counts.

A sample ratio that cannot be chance means that units were lost or moved, and then no comparison of the
variants is valid. Counts are units, never events. Weights are the intended allocation of that stratum.

Sources: Fabijan et al. (KDD 2019); Lindon & Malek (NeurIPS 2022), arXiv 2011.03567.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from switchpoint.analysis.inference.sequential import anytime_p
from switchpoint.analysis.numerics.estimates import Float
from switchpoint.analysis.numerics.reasons import Codes, Reason, first_reason

SMALL_CONCENTRATION, LARGE_CONCENTRATION = 100.0, 10_000.0
"""Prior concentrations: sharp for large deviations in small samples, for small ones in millions of units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRatio:
    """Chi-square tests of counts against weights, one per leading index.

    `expected`: units each variant should have (variants last). `stray`: units in variants of weight 0,
    which no p-value can excuse. Where `reason` is not 0 (no units, fewer than two live variants) statistic
    and p are NaN.
    """

    statistic: Float
    df: Float
    p_value: Float
    expected: Float
    stray: Float
    reason: Codes

    def broken(self, threshold: float) -> NDArray[np.bool_]:
        """Where the ratio cannot be chance at this threshold, or a variant of weight 0 has units."""
        return (np.nan_to_num(self.p_value, nan=1.0) < threshold) | (self.stray > 0)


def sample_ratio(counts: ArrayLike, weights: ArrayLike) -> SampleRatio:
    """Pearson's chi-square of unit counts against intended weights, variants on the last axis.

    Variants of weight 0 are no part of the test: df = live variants − 1.

    >>> round(float(sample_ratio([821588, 815482], [0.5, 0.5]).p_value), 9)
    1.822e-06
    """
    units, share = np.broadcast_arrays(counts, weights)
    live = share > 0
    kept = np.where(live, units, 0.0)
    total = kept.sum(axis=-1)
    expected = _intended(share) * total[..., None]
    parts = (kept - expected) ** 2 / _positive(expected)
    df = np.maximum(live.sum(axis=-1) - 1.0, 0)
    impossible = ~(np.isfinite(units) & (units >= 0) & (np.floor(units) == units)).all(axis=-1)
    reason = first_reason(
        (impossible, Reason.IMPOSSIBLE_MOMENTS),
        (total <= 0, Reason.TOO_FEW_UNITS),
        (df < 1, Reason.NOT_COMPARABLE),
    )
    return _result(parts.sum(axis=-1), df, expected, np.where(live, 0.0, units).sum(axis=-1), reason)


def combine(tests: SampleRatio) -> SampleRatio:
    """One test over independent strata or epochs (the last axis): statistics and degrees of freedom add.

    Strata without a result are left out; all of them without one leaves no result.
    """
    use = tests.reason == 0
    axis = tests.reason.ndim - 1
    statistic = np.where(use, tests.statistic, 0.0).sum(axis=axis)
    df = np.where(use, tests.df, 0.0).sum(axis=axis)
    reason = first_reason((~use.any(axis=axis), Reason.TOO_FEW_UNITS))
    return _result(statistic, df, tests.expected.sum(axis=axis), tests.stray.sum(axis=axis), reason)


def log_e_sample_ratio(counts: ArrayLike, weights: ArrayLike, *, concentration: float | None = None) -> Float:
    """Log e-value of the sequential Dirichlet-multinomial test; valid at any look, alarm at e ≥ 1000.

    log e = ln B(kθ + S) − ln B(kθ) − S·ln θ with prior Dirichlet(k·θ), θ the weights. Without a
    concentration it is the average of the e-values of k = 100 and k = 10,000, again an e-value: a k
    chosen by looking at the number of units would not be. Logs of independent strata and epochs add.
    A unit in a variant of weight 0 makes it +inf.
    """
    if concentration is None:
        both = [
            log_e_sample_ratio(counts, weights, concentration=k)
            for k in (SMALL_CONCENTRATION, LARGE_CONCENTRATION)
        ]
        return np.asarray(np.logaddexp(*both) - np.log(2))
    units, share = np.broadcast_arrays(counts, weights)
    live, theta = share > 0, _intended(share)
    prior = np.where(live, concentration * theta, 1.0)
    kept = np.where(live, units, 0.0)
    gain = special.gammaln(prior + kept) - special.gammaln(prior) - kept * np.log(np.where(live, theta, 1.0))
    total = kept.sum(axis=-1)
    log_e = gain.sum(axis=-1) - special.gammaln(concentration + total) + special.gammaln(concentration)
    stray = np.where(live, 0.0, units).sum(axis=-1) > 0
    return np.where(stray, np.inf, log_e)


def sequential_p(log_e: ArrayLike) -> Float:
    """Anytime-valid p = min(1, 1/e) of a sequential sample-ratio test at this look."""
    return anytime_p(log_e)[0]


def _intended(weights: Float) -> Float:
    """Weights (variants last) as shares of 1."""
    return weights / _positive(weights.sum(axis=-1))[..., None]


def _positive(values: Float) -> Float:
    return np.where(values > 0, values, 1.0)


def _result(statistic: Float, df: Float, expected: Float, stray: Float, reason: Codes) -> SampleRatio:
    holds = reason == 0
    return SampleRatio(
        statistic=np.where(holds, statistic, np.nan),
        df=df,
        p_value=np.where(holds, special.chdtrc(df, statistic), np.nan),
        expected=expected,
        stray=stray,
        reason=reason,
    )
