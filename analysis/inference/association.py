"""Do two classifications of the same units go together? Pearson's chi-square of a table of counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from switchpoint.analysis.numerics.estimates import Float


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
