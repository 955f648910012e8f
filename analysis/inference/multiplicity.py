"""Adjusted p-values for a family of tests, and families of e-values.

A family is everything along the last axis. A test that cannot be estimated (NaN) still counts as a member,
so that missing data never makes the others easier; its adjusted value stays NaN.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from switchpoint.analysis.numerics.estimates import Float


class Correction(StrEnum):
    """Bonferroni and Holm bound the family-wise error under any dependence; BH and BY the false discovery
    rate (BH under independence or positive dependence, BY under any)."""

    BONFERRONI = "bonferroni"
    HOLM = "holm"
    BENJAMINI_HOCHBERG = "bh"
    BENJAMINI_YEKUTIELI = "by"


def adjust(p_values: ArrayLike, correction: Correction) -> Float:
    """Adjusted p-values along the last axis: reject at level q where the adjusted value is ≤ q.

    Sources: Holm (1979), Scand. J. Stat. 6:65; Benjamini & Hochberg (1995), JRSS-B 57:289;
    Benjamini & Yekutieli (2001), Ann. Stat. 29:1165.

    >>> adjust([0.01, 0.04, 0.03], Correction.HOLM).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, float)
    size = p.shape[-1]
    if correction is Correction.BONFERRONI:
        return np.asarray(np.minimum(1.0, p * size))
    known = np.where(np.isnan(p), 1.0, p)
    order = np.argsort(known, axis=-1, kind="stable")
    rank = np.arange(1, size + 1)
    ordered = np.take_along_axis(known, order, axis=-1)
    if correction is Correction.HOLM:
        adjusted = np.maximum.accumulate(ordered * (size + 1 - rank), axis=-1)
    else:
        factor = float(np.sum(1 / rank)) if correction is Correction.BENJAMINI_YEKUTIELI else 1.0
        scaled = ordered * (size * factor / rank)
        adjusted = np.minimum.accumulate(scaled[..., ::-1], axis=-1)[..., ::-1]
    result = np.empty_like(known)
    np.put_along_axis(result, order, np.minimum(1.0, adjusted), axis=-1)
    return np.where(np.isnan(p), np.nan, result)


def rejected(p_values: ArrayLike, correction: Correction, level: float) -> NDArray[np.bool_]:
    """Which members of the family are rejected at `level`; never one that cannot be estimated."""
    adjusted = adjust(p_values, correction)
    return np.asarray(np.nan_to_num(adjusted, nan=2.0) <= level)


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
