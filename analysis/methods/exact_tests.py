"""Exact tests of two proportions for small samples (named, never the default).

scipy.stats is imported inside: it takes over a second. One table at a time; use below some hundred units
or where a count is under five.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from switchpoint.analysis.numerics.estimates import Alternative, Float

Table = list[list[int]]


def fisher(
    control_successes: ArrayLike,
    control_n: ArrayLike,
    treatment_successes: ArrayLike,
    treatment_n: ArrayLike,
    *,
    alternative: Alternative = Alternative.TWO_SIDED,
) -> Float:
    """Fisher's exact p-value; two-sided by summing tables no more likely than the observed one."""
    from scipy import stats

    def p(table: Table) -> float:
        return float(stats.fisher_exact(np.asarray(table), alternative=alternative.value)[1])

    return _each(p, control_successes, control_n, treatment_successes, treatment_n)


def boschloo(
    control_successes: ArrayLike,
    control_n: ArrayLike,
    treatment_successes: ArrayLike,
    treatment_n: ArrayLike,
    *,
    alternative: Alternative = Alternative.TWO_SIDED,
) -> Float:
    """Boschloo's exact unconditional p-value (two-sided: twice the smaller one-sided, at most 1).

    Uniformly at least as powerful as Fisher's. Boschloo (1970), Statistica Neerlandica 24:1.
    """
    from scipy import stats

    def p(table: Table) -> float:
        # scipy tests columns: first column is the sample whose rate is called larger
        return float(stats.boschloo_exact(np.transpose(table), alternative=alternative.value, n=64).pvalue)

    return _each(p, control_successes, control_n, treatment_successes, treatment_n)


def _each(p: Callable[[Table], float], xc: ArrayLike, nc: ArrayLike, xt: ArrayLike, nt: ArrayLike) -> Float:
    """p of every table; treatment first, so that `greater` means a larger treatment rate."""
    columns = np.broadcast_arrays(*(np.asarray(part, np.int64) for part in (xc, nc, xt, nt)))
    values = [
        p([[int(b), int(n) - int(b)], [int(a), int(m) - int(a)]])
        for a, m, b, n in zip(*(column.ravel() for column in columns), strict=True)
    ]
    return np.asarray(values, float).reshape(columns[0].shape)
