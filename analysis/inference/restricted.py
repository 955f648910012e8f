"""Most likely rates of two binomials under a given difference or ratio of the rates."""

from __future__ import annotations

import numpy as np

from switchpoint.analysis.numerics.estimates import Float

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
