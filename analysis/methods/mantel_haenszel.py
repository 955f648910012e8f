"""Strata of 2 × 2 tables: one common odds ratio and risk ratio, and whether one is enough.

The named second look at a stratified proportion (the headline is the weighted difference of
`analysis.inference.strata`). The test is Cochran-Mantel-Haenszel's, the interval Wald's on the log odds
with the variance of Robins, Breslow, Greenland (1986); they are two tests, so these never are a headline.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from switchpoint.analysis.numerics.estimates import Alternative, Float
from switchpoint.analysis.numerics.reasons import Codes, Reason, first_reason
from switchpoint.analysis.numerics.tail import critical


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonRatio:
    """Treatment against control over strata (last axis of the input gone).

    `statistic`, `p_value`: Cochran-Mantel-Haenszel chi-square, one degree of freedom; `corrected_*` with
    the continuity correction. `breslow_day_*`, `tarone_*`: homogeneity of the odds ratio over strata.
    `low`, `high`: of the odds ratio. Where `reason` is not 0 every number is NaN.
    """

    odds_ratio: Float
    risk_ratio: Float
    log_odds_error: Float
    low: Float
    high: Float
    statistic: Float
    p_value: Float
    corrected_statistic: Float
    corrected_p_value: Float
    breslow_day: Float
    breslow_day_p: Float
    tarone: Float
    tarone_p: Float
    reason: Codes


def mantel_haenszel(
    control_successes: ArrayLike,
    control_n: ArrayLike,
    treatment_successes: ArrayLike,
    treatment_n: ArrayLike,
    *,
    alpha: float = 0.05,
) -> CommonRatio:
    """Common odds and risk ratio of treatment against control, strata on the last axis.

    Strata without units of both variants say nothing and drop out by themselves.

    Sources: Mantel & Haenszel (1959), JNCI 22:719; Robins, Breslow, Greenland (1986), Biometrics 42:311;
    Breslow & Day (1980), eq. 4.30; Tarone (1985), Biometrika 72:91.
    """
    xc, nc, xt, nt = np.broadcast_arrays(
        *(
            np.asarray(part, float)
            for part in (control_successes, control_n, treatment_successes, treatment_n)
        )
    )
    with np.errstate(invalid="ignore"):
        wrong = ~((xc >= 0) & (xc <= nc) & (xt >= 0) & (xt <= nt) & np.isfinite(nc) & np.isfinite(nt))
    live = ~wrong & (nc > 0) & (nt > 0)
    a, b, c, d = (np.where(live, part, 0.0) for part in (xt, nt - xt, xc, nc - xc))
    n = np.where(live, nt + nc, 1.0)
    r, s = (a * d / n).sum(axis=-1), (b * c / n).sum(axis=-1)
    reason = first_reason(
        (wrong.any(axis=-1), Reason.IMPOSSIBLE_MOMENTS),
        (~live.any(axis=-1), Reason.NOT_COMPARABLE),
        ((r <= 0) | (s <= 0), Reason.TOO_FEW_EVENTS),
    )
    r, s = np.where(reason == 0, r, 1.0), np.where(reason == 0, s, 1.0)
    odds = r / s
    error = _log_odds_error(a, b, c, d, n, r, s)
    reach = critical(alpha, np.inf, Alternative.TWO_SIDED) * error
    statistic, corrected = _cmh(a, b, c, d, n)
    day, tarone, df = _homogeneity(a, b, c, d, odds, live)
    below = (c * (a + b) / n).sum(axis=-1)
    risk = (a * (c + d) / n).sum(axis=-1) / np.where(below > 0, below, 1.0)

    def held(column: ArrayLike) -> Float:
        return np.where(reason == 0, np.asarray(column, float), np.nan)

    return CommonRatio(
        odds_ratio=held(odds),
        risk_ratio=held(risk),
        log_odds_error=held(error),
        low=held(odds * np.exp(-reach)),
        high=held(odds * np.exp(reach)),
        statistic=held(statistic),
        p_value=held(special.chdtrc(1.0, statistic)),
        corrected_statistic=held(corrected),
        corrected_p_value=held(special.chdtrc(1.0, corrected)),
        breslow_day=held(day),
        breslow_day_p=held(special.chdtrc(np.maximum(df, 1.0), day)),
        tarone=held(tarone),
        tarone_p=held(special.chdtrc(np.maximum(df, 1.0), tarone)),
        reason=reason,
    )


def _log_odds_error(a: Float, b: Float, c: Float, d: Float, n: Float, r: Float, s: Float) -> Float:
    """Standard error of the log common odds ratio (Robins, Breslow, Greenland 1986)."""
    p, q = (a + d) / n, (b + c) / n
    rk, sk = a * d / n, b * c / n
    variance = (
        (p * rk).sum(axis=-1) / (2 * r * r)
        + (p * sk + q * rk).sum(axis=-1) / (2 * r * s)
        + (q * sk).sum(axis=-1) / (2 * s * s)
    )
    return np.asarray(np.sqrt(variance), dtype=np.float64)


def _cmh(a: Float, b: Float, c: Float, d: Float, n: Float) -> tuple[Float, Float]:
    """Cochran-Mantel-Haenszel statistic without and with the continuity correction."""
    delta = np.abs((a - (a + b) * (a + c) / n).sum(axis=-1))
    larger = np.where(n > 1, n - 1, 1.0)
    variance = ((a + b) * (c + d) * (a + c) * (b + d) / (n * n * larger)).sum(axis=-1)
    safe = np.where(variance > 0, variance, np.nan)
    return np.square(delta) / safe, np.square(np.maximum(delta - 0.5, 0.0)) / safe


def _homogeneity(
    a: Float, b: Float, c: Float, d: Float, odds: Float, live: NDArray[np.bool_]
) -> tuple[Float, Float, Float]:
    """Breslow-Day and Tarone statistics with degrees of freedom."""
    psi = odds[..., None]
    row, column, n = a + b, a + c, a + b + c + d
    # the expected count e solves e·(n − row − column + e) = psi·(row − e)·(column − e)
    qa, qb, qc = 1 - psi, n - row - column + psi * (row + column), -psi * row * column
    inner = np.sqrt(np.maximum(qb * qb - 4 * qa * qc, 0.0))
    denominator = qb + inner
    e = np.where(denominator > 0, -2 * qc / np.where(denominator > 0, denominator, 1.0), 0.0)
    cells = np.stack([e, row - e, column - e, n - row - column + e])
    used = live & (cells > 0).all(axis=0)
    variance = 1 / (1 / np.where(used, cells, 1.0)).sum(axis=0)
    gap = np.where(used, a - e, 0.0)
    day = np.where(used, gap * gap / variance, 0.0).sum(axis=-1)
    total = np.where(used, variance, 0.0).sum(axis=-1)
    tarone = day - np.square(gap.sum(axis=-1)) / np.where(total > 0, total, 1.0)
    return day, tarone, np.asarray(used.sum(axis=-1) - 1, dtype=np.float64)
