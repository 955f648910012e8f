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

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from switchpoint.analysis.inference.sequential import anytime_p, mixing_units
from switchpoint.analysis.numerics.estimates import Alternative, Float
from switchpoint.analysis.numerics.reasons import Codes, Reason, first_reason
from switchpoint.analysis.numerics.tail import bracketed_root
from switchpoint.experiment.errors import BadInput

TUNED_EVENTS = 100.0
"""Events at which the sequence is tightest by default: a canary should speak early."""

_LEAST_CONCENTRATION = 1e-3
_TUNED_ALPHA = 0.05
_LEAST_LOGIT, _MOST_LOGIT, _LEAST_SHARE = -640.0, 36.7, 1e-280


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Events of two variants against the allocation, at this look.

    `share`: of treatment among events, with its confidence sequence `low`, `high`. `lift`: treatment's
    events per unit over control's − 1, and its sequence (`inf` where control may have none). `log_e`,
    `p_value`: against equal rates; rejected at alpha exactly when the sequence excludes the allocation.
    Where `reason` is not 0 (impossible counts, no event yet) every number is NaN.
    """

    events: Float
    share: Float
    low: Float
    high: Float
    lift: Float
    lift_low: Float
    lift_high: Float
    log_e: Float
    p_value: Float
    alpha: float
    alternative: Alternative
    reason: Codes


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


def event_shares(
    control_events: ArrayLike,
    treatment_events: ArrayLike,
    *,
    ratio: ArrayLike = 1.0,
    tuned_for: ArrayLike = TUNED_EVENTS,
    alpha: float = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
) -> Shares:
    """Do events (conversions, errors) come from the variants as the allocation says?

    Args:
        control_events, treatment_events: units with the event, each counted once, since the allocation is
            in force (one call per epoch; log e-values of epochs add).
        ratio: treatment units per control unit by allocation.
        alternative: GREATER watches for more events under treatment (an error guardrail).

    Raises:
        BadInput: for an allocation ratio that is not above 0.
    """
    c, t, r = np.broadcast_arrays(
        *(np.asarray(part, float) for part in (control_events, treatment_events, ratio))
    )
    if not (np.isfinite(r).all() and (r > 0).all()):
        raise BadInput("the allocation ratio is above 0", field="ratio", value=ratio)
    with np.errstate(invalid="ignore"):
        good = np.isfinite(c) & np.isfinite(t) & (c >= 0) & (t >= 0) & (np.floor(c) == c) & (np.floor(t) == t)
    reason = first_reason((~good, Reason.IMPOSSIBLE_MOMENTS), (c + t == 0, Reason.TOO_FEW_EVENTS))
    c, t = np.where(good, c, 0.0), np.where(good, t, 0.0)
    events, expected = c + t, r / (1 + r)
    log_e = log_e_share(t, events, expected, weight=concentration(tuned_for), alternative=alternative)
    low, high = share_interval(t, events, tuned_for=tuned_for, alpha=alpha, alternative=alternative)
    p, _ = anytime_p(log_e)
    share = np.where(events > 0, t / np.where(events > 0, events, 1.0), np.nan)

    def held(column: ArrayLike) -> Float:
        return np.where(reason == 0, np.asarray(column, float), np.nan)

    return Shares(
        events=held(events), share=held(share), low=held(low), high=held(high), lift=held(_lift(share, r)),
        lift_low=held(_lift(low, r)), lift_high=held(_lift(high, r)), log_e=held(log_e), p_value=held(p),
        alpha=alpha, alternative=alternative, reason=reason,
    )  # fmt: skip


def _lift(share: Float, ratio: Float) -> Float:
    """Events per unit of treatment over control's − 1, from treatment's share of the events."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(share / (1 - share) / ratio - 1, dtype=np.float64)
