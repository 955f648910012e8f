"""What a pooled difference is made of: effects within strata, and different strata in the variants.

pooled = Σ w·(m_t − m_c) + Σ (p_t − w)·m_t − Σ (p_c − w)·m_c, with w the common shares of the strata and p_t,
p_c the variants' own. The first part is the stratified effect, the rest is composition: it would be there
without any effect (Simpson's paradox when it outweighs the first).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.inference import fixed
from analysis.inference.result import Estimates, Float
from analysis.inference.sample import Sample
from analysis.inference.stratify import stratify


@dataclass(frozen=True, slots=True, kw_only=True)
class Decomposition:
    """Columnar, strata axis gone.

    `control_mean`, `treatment_mean`: overall means. `pooled`: their difference. `within`: stratified effect
    with its interval. `composition`: pooled − within. `composition_z`: composition over the standard error
    of the stratified effect. `reversal`: pooled and within have opposite signs although every stratum
    agrees with within, or within is clear of zero. `by_stratum`: the effect in each.
    """

    control_mean: Float
    treatment_mean: Float
    pooled: Float
    within: Estimates
    composition: Float
    composition_z: Float
    reversal: NDArray[np.bool_]
    by_stratum: Estimates


def decompose(control: Sample, treatment: Sample, *, alpha: float = 0.05) -> Decomposition:
    """Split the pooled difference into effects within strata (last axis) and composition.

    Strata weigh as many units as they hold; strata with units of one variant only are pure composition.
    """
    units = control.n + treatment.n
    whole = stratify(control, treatment, units)
    within = fixed.effect(whole.control, whole.treatment, alpha=alpha)
    overall = _mean(control), _mean(treatment)
    pooled = overall[1] - overall[0]
    composition = pooled - within.estimate
    each = fixed.effect(control, treatment, alpha=alpha)
    with np.errstate(invalid="ignore", divide="ignore"):
        signs = np.where(each.reason == 0, np.sign(each.estimate), 0.0)
        agree = (signs == np.sign(within.estimate)[..., None]).sum(axis=-1) == (signs != 0).sum(axis=-1)
        opposite = np.sign(pooled) * np.sign(within.estimate) < 0
        z = composition / within.standard_error
    return Decomposition(
        control_mean=overall[0], treatment_mean=overall[1], pooled=pooled, within=within,
        composition=composition, composition_z=z, by_stratum=each,
        reversal=np.asarray(opposite & (agree | within.significant)),
    )  # fmt: skip


def _mean(sample: Sample) -> Float:
    """Overall mean of a variant: its strata by its own units."""
    n = np.where(np.isfinite(sample.mean), sample.n, 0.0)
    total = n.sum(axis=-1)
    summed = np.where(n > 0, n * np.nan_to_num(sample.mean), 0.0).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(total > 0, summed / total, np.nan), dtype=np.float64)
