"""Exact anytime-valid inference on a share, and through it on canary conversions and errors.

Given that an event happened, the variant it came from is a coin with the allocation as its bias, as long as
the variants' event rates are equal, whatever the rate is and however it moves over the day. Testing that
coin at every event is exact from the first one on, needs no variance and no non-events, and survives 99/1
splits where asymptotic sequences fail. It speaks of events per unit in the ratio of the variants; repeated
events of one unit must be counted once.

e(θ) is the likelihood ratio of a beta mixture centred at θ against θ itself. Sources: Lindon & Malek (NeurIPS
2022), arXiv 2011.03567; Howard, Ramdas, McAuliffe, Sekhon (2021), Ann. Stat. 49:1055 (beta-binomial mixture).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from switchpoint.analysis.inference.sequential import mixing_units
from switchpoint.analysis.numerics.estimates import Alternative, Float
from switchpoint.analysis.numerics.tail import bracketed_root

TUNED_EVENTS = 100.0
"""Events at which the sequence is tightest by default: a canary should speak early."""

_LEAST_CONCENTRATION = 1e-3
_TUNED_ALPHA = 0.05
_LEAST_LOGIT, _MOST_LOGIT, _LEAST_SHARE = -640.0, 36.7, 1e-280


def concentration(events: ArrayLike, *, alpha: float = _TUNED_ALPHA) -> Float:
    """Prior weight of the mixture that makes the sequence tightest at this many events (Howard et al. 2021,
    section 3.6)."""
    return np.asarray(np.maximum(mixing_units(events, alpha) - 1, _LEAST_CONCENTRATION), dtype=np.float64)


def log_e_share(
    successes: ArrayLike,
    n: ArrayLike,
    share: ArrayLike,
    *,
    weight: ArrayLike,
    alternative: Alternative = Alternative.TWO_SIDED,
) -> Float:
    """Log e-value of `successes` among n draws against a constant `share`, by a beta mixture.

    ln B(k·θ + s, k·(1 − θ) + n − s) − ln B(k·θ, k·(1 − θ)) − s·ln θ − (n − s)·ln(1 − θ). One-sided: the
    mixture kept on the side of the alternative, which also holds against every share on the other side.
    """
    s, count, theta, k = np.broadcast_arrays(
        *(np.asarray(part, float) for part in (successes, n, share, weight))
    )
    a, b = k * theta, k * (1 - theta)
    log_e = (
        special.betaln(a + s, b + count - s) - special.betaln(a, b)
        - special.xlogy(s, theta) - special.xlog1py(count - s, -theta)
    )  # fmt: skip
    if alternative is Alternative.TWO_SIDED:
        return np.asarray(log_e, dtype=np.float64)
    tail = special.betaincc if alternative is Alternative.GREATER else special.betainc
    # far on the other side the kept part underflows: e = 0, log −inf
    with np.errstate(divide="ignore", invalid="ignore"):
        kept = np.log(tail(a + s, b + count - s, theta)) - np.log(tail(a, b, theta))
        return np.asarray(log_e + kept, dtype=np.float64)


def share_interval(
    successes: ArrayLike,
    n: ArrayLike,
    *,
    tuned_for: ArrayLike = TUNED_EVENTS,
    alpha: float = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
) -> tuple[Float, Float]:
    """Confidence sequence of a share (or of one variant's rate) at this look: every θ with e(θ) < 1/alpha.

    Args:
        tuned_for: draws at which it is tightest.
    """
    s, count = np.broadcast_arrays(np.asarray(successes, float), np.asarray(n, float))
    k = np.broadcast_to(concentration(tuned_for), s.shape)
    centre = (s + 0.5) / (count + 1)
    target = -np.log(alpha)

    def surplus(logit: Float) -> Float:
        share = np.clip(special.expit(logit), _LEAST_SHARE, 1 - 1e-16)
        value = log_e_share(s, count, share, weight=k, alternative=alternative) - target
        finite = np.nan_to_num(value, nan=-1.0, posinf=1e9, neginf=-1e9)
        return np.asarray(np.clip(finite, -1e9, 1e9), dtype=np.float64)

    # on the log-odds, where e is smooth up to both ends
    middle = special.logit(centre)
    floor, ceiling = np.full(s.shape, _LEAST_LOGIT), np.full(s.shape, _MOST_LOGIT)
    low, high = np.zeros(s.shape), np.ones(s.shape)
    if alternative is not Alternative.LESS:
        found = special.expit(bracketed_root(surplus, floor, middle))
        low = np.where((s > 0) & (surplus(floor) > 0), found, 0.0)
    if alternative is not Alternative.GREATER:
        found = special.expit(bracketed_root(surplus, middle, ceiling))
        high = np.where((s < count) & (surplus(ceiling) > 0), found, 1.0)
    return low, high


def association(table: ArrayLike) -> float | None:
    """p of independence of rows and columns; None where fewer than two of either hold anything.

    >>> association([[50, 50], [50, 50]])
    1.0
    """
    p = float(associations(np.asarray(table)[None])[0])
    return None if np.isnan(p) else p


def associations(tables: ArrayLike) -> Float:
    """p of independence of rows and columns for many tables (tables, rows, columns); NaN where there is none.

    Pearson (1900), with (rows − 1)·(columns − 1) degrees of freedom; empty rows and columns do not count.
    """
    counts = np.asarray(tables, dtype=np.float64)
    rows, columns = counts.sum(axis=2), counts.sum(axis=1)
    more, wide = (np.maximum((side > 0).sum(axis=1) - 1, 0) for side in (rows, columns))
    df = more * wide
    with np.errstate(invalid="ignore"):
        expected = rows[:, :, None] * columns[:, None, :] / counts.sum(axis=(1, 2))[:, None, None]
        far = np.where(expected > 0, np.square(counts - expected) / expected, 0.0)
    # a table whose only row or column holds everything has no degree of freedom left
    return np.where(df >= 1, special.chdtrc(np.maximum(df, 1), far.sum(axis=(1, 2))), np.nan)
