"""Do two classifications of the same units go together? Pearson's chi-square of a table of counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special


def association(table: ArrayLike) -> float | None:
    """p of independence of rows and columns; None where fewer than two of either hold anything.

    Pearson (1900), with (rows − 1)·(columns − 1) degrees of freedom; empty rows and columns do not count.

    >>> association([[50, 50], [50, 50]])
    1.0
    """
    counts = np.asarray(table, dtype=np.float64)
    rows, columns = counts.sum(axis=1), counts.sum(axis=0)
    df = (int((rows > 0).sum()) - 1) * (int((columns > 0).sum()) - 1)
    if df < 1:
        return None
    expected = rows[:, None] * columns[None, :] / counts.sum()
    held = expected > 0
    statistic = (np.square(counts - expected)[held] / expected[held]).sum()
    return float(special.chdtrc(df, statistic))
