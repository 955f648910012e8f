"""Families of tests whose flags and intervals have to agree, and families of e-values.

A family lies along the last axis. Members without an estimate (NaN) count as members and are never flagged.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from switchpoint.analysis.inference.multiplicity import Correction, rejected
from switchpoint.analysis.numerics.estimates import Float


def interval_alpha(p_values: ArrayLike, correction: Correction, level: float) -> Float:
    """The alpha of each member's interval that excludes the null exactly where the family rejects.

    BH, BY: R·q/m for all (q/m where nothing is rejected), R of m rejected; for the rejected members these are
    the intervals with false coverage rate q (Benjamini & Yekutieli 2005, JASA 100:71). Holm: each rejected
    member its own step α/(m − i + 1), the others α/(m − R); Bonferroni α/m, which alone is simultaneous for
    all. Only valid with intervals that invert the test the p-value came from.
    """
    p = np.asarray(p_values, float)
    size = p.shape[-1]
    flags = rejected(p, correction, level)
    count = flags.sum(axis=-1, keepdims=True)
    if correction is Correction.BONFERRONI:
        return np.full(p.shape, level / size, dtype=np.float64)
    if correction is Correction.HOLM:
        rank = np.argsort(np.argsort(np.where(np.isnan(p), np.inf, p), axis=-1, kind="stable"), axis=-1)
        rest = np.maximum(size - count, 1)
        return np.asarray(np.where(flags, level / (size - rank), level / rest), dtype=np.float64)
    factor = (
        float(np.sum(1 / np.arange(1, size + 1))) if correction is Correction.BENJAMINI_YEKUTIELI else 1.0
    )
    share = np.maximum(count, 1) * level / (size * factor)
    return np.array(np.broadcast_to(share, p.shape), dtype=np.float64)


def e_bh(log_e: ArrayLike, level: float) -> NDArray[np.bool_]:
    """e-BH: false discovery rate at most `level` under any dependence and any monitoring.

    Rejects the k largest e-values, k the largest with e_(k) ≥ m/(k·level). Feed e-values of sequences that
    were watched here, never their p-values to BH. Wang & Ramdas (2022), JRSS-B 84:822.
    """
    values = np.nan_to_num(np.asarray(log_e, float), nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    size = values.shape[-1]
    ordered = -np.sort(-values, axis=-1)
    # rounding of a logarithm must not lose an e-value that is exactly at the threshold
    needed = np.log(size) - np.log(np.arange(1, size + 1) * level) - 1e-12
    passes = ordered >= needed
    count = np.where(passes.any(axis=-1), size - np.argmax(passes[..., ::-1], axis=-1), 0)
    cut = np.take_along_axis(ordered, np.maximum(count - 1, 0)[..., None], axis=-1)
    return np.asarray((count > 0)[..., None] & (values >= cut))


def power_per_guardrail(power: float, guardrails: int) -> float:
    """Power each test needs so that a good variant passes its primary and all guardrails.

    All must pass, so alpha is not split; the missed promotions are: 1 − (1 − power)/(guardrails + 1).
    Schultzberg, Ankargren, Frånberg (2024), arXiv 2402.11609.
    """
    return 1 - (1 - power) / (guardrails + 1)
