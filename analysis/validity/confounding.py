"""What unequal mixes add to a naive difference, and how strong a hidden cause would have to be.

Estimators for data that were not randomised (difference-in-differences, weighting, switchback) belong to
`analysis/causal/`; here the randomised comparison is taken apart and the unrandomised one is given a
sensitivity figure.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from switchpoint.analysis.evidence.moments import Totals
from switchpoint.analysis.numerics.arrays import finite
from switchpoint.analysis.numerics.estimates import Float
from switchpoint.analysis.results.judgement import Sensitivity
from switchpoint.analysis.results.numbers import Comparison, MetricReading, MixRow


def mix(totals: Totals, used: NDArray[np.bool_], v: int, strata: Sequence[str]) -> tuple[MixRow, ...]:
    """Simpson decomposition of pooled − stratified for variant `v` against control.

    pooled = Σ s_t·m_t − Σ s_c·m_c with each variant's own shares s of strata; stratified = Σ w·(m_t − m_c)
    with common weights w over the strata `used`. Their difference is Σ (s_t − w)(m_t − M) − (s_c − w)(m_c −
    M) for any M, as shares and weights both sum to one; M is the overall value. Kitagawa (1955), JASA
    50:1168.

    Args:
        totals: of shape (strata, variants).
    """
    numerator, denominator = totals.values()
    both = denominator[:, [0, v]]
    if not (both.sum(axis=0) > 0).all():
        return ()
    share = both / both.sum(axis=0)
    held = np.where(used, denominator.sum(axis=1), 0.0)
    weight = held / held.sum() if held.sum() > 0 else held
    overall = float(numerator[:, [0, v]].sum() / both.sum())
    # a variant without units in a stratum has no value there and no share either
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = numerator[:, [0, v]] / both
        away = np.where(both > 0, (share - weight[:, None]) * (mean - overall), 0.0)
    contribution = away[:, 1] - away[:, 0]
    return tuple(
        MixRow(
            stratum=name, share_control=float(share[s, 0]), share_variant=float(share[s, 1]),
            weight=float(weight[s]), control_value=finite(mean[s, 0]), variant_value=finite(mean[s, 1]),
            effect=finite(mean[s, 1] - mean[s, 0]), contribution=float(contribution[s]),
        )
        for s, name in enumerate(strata)
        if both[s].sum() > 0
    )  # fmt: skip


def used_strata(totals: Totals) -> NDArray[np.bool_]:
    """Where control and another variant can both be estimated (strata, variants − 1)."""
    known = totals.sample().measured
    return np.asarray(known[:, :1] & known[:, 1:])


def sensitivity(metric: MetricReading, source: str) -> tuple[Sensitivity, ...]:
    """E-values of every comparison of a metric, for units whose assignment was not random.

    Args:
        source: why, as the report says it.
    """
    found = (_sensitivity(metric, c, source) for c in metric.comparisons)
    return tuple(s for s in found if s is not None)


def _sensitivity(metric: MetricReading, c: Comparison, source: str) -> Sensitivity | None:
    control, variant = _sides(metric, c)
    if control is None or variant is None or control <= 0 or variant <= 0:
        return None
    ratio = variant / control
    figure, bound = float(e_value(ratio)), _bound(c)
    held = "" if bound is None else f" ({bound:.2f} to move its interval to no effect)"
    text = (
        f"{metric.key}, {c.variant}: {source} A hidden cause tied to both variant and outcome "
        "by a risk ratio of "
        f"{figure:.2f} each{held} would explain all of the difference; a weaker one could not."
    )
    return Sensitivity(variant=c.variant, ratio=ratio, e_value=figure, bound=bound, sentence=text)


def _sides(metric: MetricReading, c: Comparison) -> tuple[float | None, float | None]:
    if c.estimate is not None:
        return c.estimate.control_value, c.estimate.variant_value
    values = {value.variant: value.value for value in metric.values}
    return values.get(c.control), values.get(c.variant)


def _bound(c: Comparison) -> float | None:
    """E-value of the lift interval's side nearest to no effect; 1 where it holds no effect."""
    interval = c.estimate.lift_interval if c.estimate is not None else None
    if interval is None or interval.lower is None or interval.upper is None:
        return None
    if interval.lower <= 0 <= interval.upper:
        return 1.0
    near = interval.lower if interval.lower > 0 else interval.upper
    return float(e_value(1 + near)) if near > -1 else None


def e_value(ratio: ArrayLike) -> Float:
    """The risk ratio that a confounder needs with both treatment and outcome to move the observed ratio to 1.

    R + √(R·(R − 1)) for a ratio R > 0 (below 1 it is inverted); 1 where there is no association.
    VanderWeele & Ding (2017), Ann. Intern. Med. 167:268.
    """
    r = np.asarray(ratio)
    up = np.maximum(r, 1 / r)
    return np.asarray(up + np.sqrt(up * (up - 1)))
