"""Two proportions: the score test with its dual intervals, and other intervals by name.

Headline: p from the score test (at a difference of zero the pooled z test), the interval of the
difference and of the lift from inverting the same statistic with the restricted maximum likelihood
estimates. Counts are units; a unit either succeeded or not.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from switchpoint.analysis.numerics.estimates import Alternative, Estimates, Float, estimates
from switchpoint.analysis.numerics.reasons import Codes, Reason, first_code, first_reason
from switchpoint.analysis.numerics.tail import PRECISION, bracketed_root, critical, p_values
from switchpoint.experiment.definition.types import Direction

_ITERATE_LIFT = 400
_REACH = 1.5
"""How far beyond Wald's limits the score limits are looked for first."""


def score_difference(
    control_successes: ArrayLike,
    control_n: ArrayLike,
    treatment_successes: ArrayLike,
    treatment_n: ArrayLike,
    *,
    alpha: ArrayLike = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    null: ArrayLike = 0.0,
    small_sample: bool = False,
) -> Estimates:
    """Score test of p_treatment − p_control against `null`, with the interval that inverts it.

    The variance under each hypothetical difference uses the rates that are most likely under it, so variants
    without successes are no obstacle: every difference but 0 has a variance, so 0 of n in both still bounds
    it (by z²/(n + z²) for equal n). Where the null itself has none, which no data speak against, p is 1 and
    the standard error that of the interval. `small_sample` multiplies the variance by N/(N − 1).

    Sources: Mee (1984) and Farrington & Manning (1990), Stat. Med. 9:1447 (as here);
    Miettinen & Nurminen (1985), Stat. Med. 4:213 (`small_sample=True`).

    >>> one = score_difference(500, 10_000, 560, 10_000).at()
    >>> round(one.p_value, 6), round(one.low, 5), round(one.high, 5)
    (0.058258, -0.00021, 0.01223)
    """
    xc, nc, xt, nt = _counts(control_successes, control_n, treatment_successes, treatment_n)
    d = xt / nt - xc / nc
    inflate = (nc + nt) / (nc + nt - 1) if small_sample else np.ones_like(d)

    def statistic(delta: Float) -> Float:
        pc, pt = restricted_rates_difference(xc, nc, xt, nt, delta)
        variance = (pc * (1 - pc) / nc + pt * (1 - pt) / nt) * inflate
        return _ratio_or_sign(d - delta, np.sqrt(variance))

    quantile = np.broadcast_to(
        critical(alpha, np.inf, alternative), np.broadcast_shapes(np.shape(alpha), d.shape)
    )
    wald = np.sqrt(np.maximum(_binomial_variance(xc, nc) + _binomial_variance(xt, nt), 0))
    reach = _REACH * quantile * wald
    low, high = _invert(
        statistic, d, quantile, alternative,
        far=(np.full_like(d, -1.0), np.ones_like(d)),
        near=(np.maximum(d - reach, -1.0), np.minimum(d + reach, 1.0)),
    )  # fmt: skip
    z = statistic(np.broadcast_to(np.asarray(null, float), d.shape))
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.abs(d - np.asarray(null, float)) / np.abs(z)
    if (flat := ~np.isfinite(error)).any():
        pc, pt = restricted_rates_difference(
            xc, nc, xt, nt, np.broadcast_to(np.asarray(null, float), d.shape)
        )
        error = np.where(flat, np.sqrt((pc * (1 - pc) / nc + pt * (1 - pt) / nt) * inflate), error)
        error = np.where(error > 0, error, (np.minimum(high, 1.0) - np.maximum(low, -1.0)) / (2 * quantile))
    reason = _count_reason(nc, nt)
    name = "miettinen-nurminen" if small_sample else "score"
    return _assemble(name, alternative, reason, (d, error, z, low, high), alpha)


def score_lift(
    control_successes: ArrayLike,
    control_n: ArrayLike,
    treatment_successes: ArrayLike,
    treatment_n: ArrayLike,
    *,
    alpha: ArrayLike = 0.05,
    alternative: Alternative = Alternative.TWO_SIDED,
    null: ArrayLike = 0.0,
) -> Estimates:
    """Score test of the lift p_treatment / p_control − 1 against `null`, with its dual interval.

    At `null` = 0 the statistic is that of `score_difference`, so both displays tell one story. Without a
    success in control there is no lift (`zero_control`).

    Source: Koopman (1984), Biometrics 40:513 (restricted rates as in Miettinen & Nurminen 1985).
    """
    xc, nc, xt, nt = _counts(control_successes, control_n, treatment_successes, treatment_n)
    none = xc == 0
    every = (xc == nc) & (xt == nt)
    flat = first_reason(((none & (xt == 0)) | every, Reason.ZERO_VARIANCE), (none, Reason.ZERO_CONTROL))
    reason = first_code(_count_reason(nc, nt), flat)
    # what has no lift is not searched for: every limit would be rejected, one bisection after the other
    pc_hat, pt_hat = np.where(none, np.nan, xc / nc), xt / nt
    ratio = pt_hat / pc_hat

    def statistic(candidate: Float) -> Float:
        pc, pt = restricted_rates_ratio(xc, nc, xt, nt, candidate)
        variance = pt * (1 - pt) / nt + np.square(candidate) * pc * (1 - pc) / nc
        return _ratio_or_sign(pt_hat - candidate * pc_hat, np.sqrt(variance))

    quantile = np.broadcast_to(
        critical(alpha, np.inf, alternative), np.broadcast_shapes(np.shape(alpha), ratio.shape)
    )
    top = _upper_bracket(statistic, np.maximum(ratio, 1.0), quantile)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        reach = np.exp(_REACH * quantile * np.sqrt(np.maximum(1 / xc - 1 / nc + 1 / xt - 1 / nt, 0)))
        near = (ratio / reach, np.minimum(ratio * reach, top))
    low, high = _invert(statistic, ratio, quantile, alternative, far=(np.zeros_like(ratio), top), near=near)
    tested = np.broadcast_to(1 + np.asarray(null, float), ratio.shape)
    z = statistic(tested)
    pc, pt = restricted_rates_ratio(xc, nc, xt, nt, tested)
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = pt * (1 - pt) / nt + np.square(tested) * pc * (1 - pc) / nc
        error = np.sqrt(variance) / pc_hat
    return _assemble("koopman", alternative, reason, (ratio - 1, error, z, low - 1, high - 1), alpha)


def newcombe(
    control_successes: ArrayLike,
    control_n: ArrayLike,
    treatment_successes: ArrayLike,
    treatment_n: ArrayLike,
    *,
    alpha: ArrayLike = 0.05,
) -> tuple[Float, Float]:
    """Newcombe's hybrid score interval (method 10) of p_treatment − p_control: low, high.

    Source: Newcombe (1998), Stat. Med. 17:873.
    """
    xc, nc, xt, nt = _counts(control_successes, control_n, treatment_successes, treatment_n)
    pc, pt = xc / nc, xt / nt
    lc, uc = wilson(xc, nc, alpha=alpha)
    lt, ut = wilson(xt, nt, alpha=alpha)
    d = pt - pc
    return d - np.hypot(pt - lt, uc - pc), d + np.hypot(ut - pt, pc - lc)


def wilson(successes: ArrayLike, n: ArrayLike, *, alpha: ArrayLike = 0.05) -> tuple[Float, Float]:
    """Wilson's score interval of one proportion: low, high. Wilson (1927), JASA 22:209."""
    x, count = np.broadcast_arrays(np.asarray(successes, float), np.asarray(n, float))
    z2 = np.square(critical(alpha, np.inf, Alternative.TWO_SIDED))
    with np.errstate(invalid="ignore", divide="ignore"):
        rest = count - x
        half = np.sqrt(z2 * (x * rest / count + z2 / 4))
        high = (x + z2 / 2 + half) / (count + z2)
        # the product of the roots of the quadratic, so that small rates keep their digits
        low = x * x / (count * (x + z2 / 2 + half))
    return np.where(x == 0, 0.0, low), np.where(rest == 0, 1.0, high)


def clopper_pearson(successes: ArrayLike, n: ArrayLike, *, alpha: ArrayLike = 0.05) -> tuple[Float, Float]:
    """Exact (conservative) interval of one proportion. Clopper & Pearson (1934), Biometrika 26:404."""
    x, count, level = np.broadcast_arrays(*(np.asarray(part, float) for part in (successes, n, alpha)))
    none, every = x == 0, x == count
    low = special.betaincinv(np.where(none, 1.0, x), count - x + 1, level / 2)
    high = special.betainccinv(x + 1, np.where(every, 1.0, count - x), level / 2)
    return np.where(none, 0.0, low), np.where(every, 1.0, high)


def noninferiority_score(
    control_successes: ArrayLike,
    control_n: ArrayLike,
    treatment_successes: ArrayLike,
    treatment_n: ArrayLike,
    *,
    margin: ArrayLike,
    direction: Direction = Direction.INCREASE,
    alpha: ArrayLike = 0.05,
) -> Estimates:
    """Farrington & Manning's one-sided test that treatment is not worse by `margin` (absolute, > 0)."""
    up = direction is Direction.INCREASE
    return score_difference(
        control_successes,
        control_n,
        treatment_successes,
        treatment_n,
        alpha=alpha,
        alternative=Alternative.GREATER if up else Alternative.LESS,
        null=-np.asarray(margin, float) if up else margin,
    )


def _counts(*columns: ArrayLike) -> tuple[Float, Float, Float, Float]:
    """Counts as one shape of floats; impossible ones replaced by 1 of 2 (they get their reason apart)."""
    xc, nc, xt, nt = np.broadcast_arrays(*(np.asarray(column, float) for column in columns))
    bad = _impossible(xc, nc, xt, nt)
    return (
        np.where(bad, 1.0, xc),
        np.where(bad, np.nan, nc),
        np.where(bad, 1.0, xt),
        np.where(bad, np.nan, nt),
    )


def _impossible(xc: Float, nc: Float, xt: Float, nt: Float) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        good = (xc >= 0) & (xc <= nc) & (xt >= 0) & (xt <= nt) & (nc >= 1) & (nt >= 1)
        whole = [np.floor(part) == part for part in (xc, nc, xt, nt)]
    return np.asarray(~(good & np.logical_and.reduce(whole) & np.isfinite(nc) & np.isfinite(nt)), dtype=bool)


def _count_reason(nc: Float, nt: Float) -> Codes:
    """Impossible counts, which have lost their units."""
    return first_reason((~np.isfinite(nc) | ~np.isfinite(nt), Reason.IMPOSSIBLE_MOMENTS))


def _ratio_or_sign(numerator: Float, error: Float) -> Float:
    """numerator / error; where the error is zero, an infinite statistic with the numerator's sign (or 0)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        flat = ~(error > 0)
        limit = np.where(np.abs(numerator) < 1e-15, 0.0, np.sign(numerator) * np.inf)
        return np.where(flat & np.isfinite(numerator), limit, numerator / error)


def _binomial_variance(x: Float, n: Float) -> Float:
    """Wald's variance of a rate, with half a success and half a failure added."""
    rate = (x + 0.5) / (n + 1)
    return rate * (1 - rate) / n


def _invert(
    statistic: Callable[[Float], Float],
    estimate: Float,
    quantile: Float,
    alternative: Alternative,
    *,
    far: tuple[Float, Float],
    near: tuple[Float, Float],
) -> tuple[Float, Float]:
    """The parameters whose (decreasing) statistic lies within ±quantile, both sides in one search.

    `far` certainly brackets them; `near` does nearly always and saves most of the search.
    """
    sides = [
        side for side, open_ in enumerate((Alternative.LESS, Alternative.GREATER)) if alternative is not open_
    ]
    shape = (len(sides), *np.broadcast_shapes(estimate.shape, quantile.shape))
    level = np.broadcast_to(np.stack([quantile, -quantile])[sides], shape)
    ends, certain = (np.broadcast_to(np.stack(pair)[sides], shape) for pair in (near, far))

    def surplus(x: Float) -> Float:
        value = statistic(x)
        return np.asarray(np.minimum(np.maximum(np.where(np.isnan(value), 0.0, value), -1e9), 1e9) - level)

    # the statistic falls from zero at the estimate: beyond a limit it has passed the level on that side
    beyond = (surplus(ends) * level > 0) & np.isfinite(ends)
    ends, start = np.where(beyond, ends, certain), np.broadcast_to(estimate, shape)
    # the statistic is known to the digits of its distance from the estimate, however small the limit itself
    found = bracketed_root(surplus, ends, start, resolution=PRECISION * np.abs(ends - start))
    limits = dict(zip(sides, found, strict=True))
    return limits.get(0, np.full(shape[1:], -np.inf)), limits.get(1, np.full(shape[1:], np.inf))


def _upper_bracket(statistic: Callable[[Float], Float], start: Float, quantile: Float) -> Float:
    """A ratio so large that the score test rejects it."""
    shape = np.broadcast_shapes(start.shape, quantile.shape)
    top = np.array(np.broadcast_to(start, shape)) * 2
    for _ in range(_ITERATE_LIFT):
        open_ = statistic(top) > -quantile
        if not open_.any():
            break
        top = np.where(open_, top * 4, top)
    return top


def _assemble(
    method: str,
    alternative: Alternative,
    reason: Codes,
    parts: tuple[Float, Float, Float, Float, Float],
    alpha: ArrayLike,
) -> Estimates:
    estimate, error, z, low, high = parts
    p, log_p = p_values(z, np.inf, alternative)
    columns: dict[str, ArrayLike] = {
        "estimate": estimate, "standard_error": error, "statistic": z, "df": np.inf, "p_value": p,
        "log_p": log_p, "low": low, "high": high, "alpha": alpha,
    }  # fmt: skip
    return estimates(method, alternative, reason, columns)


_POLISH_STEPS = 40
_PRECISION = 1e-14
_SMALLEST = 1e-200


def restricted_rates_difference(
    xc: Float, nc: Float, xt: Float, nt: Float, difference: Float
) -> tuple[Float, Float]:
    """Rates (control, treatment) that maximise the likelihood given treatment − control = `difference`.

    The closed form of Farrington & Manning (1990) loses half the digits near a double root, so the root
    of the likelihood equation is polished by Newton steps inside its bracket; rates above one half are
    mirrored to failures first, which keeps rates of 10⁻⁹ exact to rounding.
    """
    mirror = xc + xt > (nc + nt) / 2
    xc, xt = np.where(mirror, nc - xc, xc), np.where(mirror, nt - xt, xt)
    d = np.where(mirror, -difference, difference)
    low, high = np.maximum(0.0, -d), np.minimum(1.0, 1.0 - d)
    pc = _polish(np.clip(_closed_form(xc, nc, xt, nt, d) - d, low, high), low, high, (xc, nc, xt, nt, d))
    pt = np.clip(pc + d, 0.0, 1.0)
    return np.where(mirror, 1 - pc, pc), np.where(mirror, 1 - pt, pt)


def _closed_form(xc: Float, nc: Float, xt: Float, nt: Float, d: Float) -> Float:
    """Treatment rate by the trigonometric root of the cubic (Farrington & Manning 1990, appendix)."""
    theta, pt, pc = nc / nt, xt / nt, xc / nc
    a = 1 + theta
    b = -(1 + theta + pt + theta * pc + d * (theta + 2))
    c = d * d + d * (2 * pt + theta + 1) + pt + theta * pc
    e = -pt * d * (1 + d)
    # products, because a power of an array costs fifty of them
    shift = b / (3 * a)
    v = shift * shift * shift - shift * c / (2 * a) + e / (2 * a)
    u = np.sign(v) * np.sqrt(np.maximum(shift * shift - c / (3 * a), 0.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        w = (np.pi + np.arccos(np.clip(np.where(u == 0, 0.0, v / (u * u * u)), -1.0, 1.0))) / 3
    return np.asarray(2 * u * np.cos(w) - shift, dtype=np.float64)


def _polish(start: Float, low: Float, high: Float, data: tuple[Float, Float, Float, Float, Float]) -> Float:
    """Newton on the likelihood equation multiplied out, kept inside a shrinking bracket."""
    # where the likelihood falls from the lower end on, that end is the answer: no search towards it
    just_inside = np.maximum(np.nextafter(low, 1.0), _SMALLEST)
    p = np.where(_score(just_inside, data)[0] <= 0, low, start)
    for _ in range(_POLISH_STEPS):
        value, slope = _score(p, data)
        low, high = np.where(value > 0, p, low), np.where(value < 0, p, high)
        with np.errstate(invalid="ignore", divide="ignore"):
            step = value / slope
        newton = p - step
        # at the root rounding decides the sign of `value`; without this the bracket would throw p far back
        settled = (value == 0) | (np.abs(step) <= _PRECISION * np.abs(p)) | np.isnan(value)
        inside = (newton > low) & (newton < high)
        following = np.where(settled, p, np.where(inside, newton, (low + high) / 2))
        done = settled | (np.abs(following - p) <= _PRECISION * np.abs(p))
        p = following
        if done.all():
            break
    return p


def _score(p: Float, data: tuple[Float, Float, Float, Float, Float]) -> tuple[Float, Float]:
    """The derivative of the log-likelihood in the control rate, times all four rates, and its slope."""
    xc, nc, xt, nt, d = data
    fc, ft = nc - xc, nt - xt
    q, s, r = 1 - p, p + d, 1 - p - d
    value = xc * q * s * r - fc * p * s * r + xt * p * q * r - ft * p * q * s
    slope = (
        xc * (-s * r + q * r - q * s) - fc * (s * r + p * r - p * s)
        + xt * (q * r - p * r - p * q) - ft * (q * s - p * s + p * q)
    )  # fmt: skip
    return value, slope


def restricted_rates_ratio(xc: Float, nc: Float, xt: Float, nt: Float, ratio: Float) -> tuple[Float, Float]:
    """Rates (control, treatment) that maximise the likelihood given treatment = `ratio` × control.

    The smaller root of N·r·p² − (n_t·r + x_t + n_c + x_c·r)·p + x_c + x_t = 0, in the form that does not
    cancel. Source: Miettinen & Nurminen (1985), Stat. Med. 4:213, eq. 12.
    """
    a = (nc + nt) * ratio
    b = nt * ratio + xt + nc + xc * ratio
    c = xc + xt
    pc = 2 * c / (b + np.sqrt(np.maximum(b * b - 4 * a * c, 0.0)))
    pt = np.minimum(pc * ratio, 1.0)
    return np.minimum(pc, 1.0), pt
