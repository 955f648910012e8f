"""Rates that were measured by repetition, with what chance alone does to them."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import special


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How often something happened: `count` of `trials`.

    `share` and `error` (Monte Carlo standard error of the share) are None without a trial. The error is never
    below that of one occurrence, so that a rate of zero does not look certain.
    """

    count: int
    trials: int
    share: float | None
    error: float | None

    def above(self, level: float, *, significance: float) -> bool:
        """Whether so many occurrences would be chance with less than this probability at a true `level`."""
        return bool(self.count > 0 and special.bdtrc(self.count - 1, self.trials, level) < significance)

    def below(self, level: float, *, significance: float) -> bool:
        """Whether so few occurrences would be chance with less than this probability at a true `level`."""
        return bool(self.trials > 0 and special.bdtr(self.count, self.trials, level) < significance)


def rate_of(count: int, trials: int) -> Rate:
    """The rate of `count` occurrences in `trials`.

    >>> rate_of(50, 1000).share, round(rate_of(50, 1000).error, 4)
    (0.05, 0.0069)
    """
    if trials == 0:
        return Rate(count=count, trials=0, share=None, error=None)
    seen = min(max(count, 1), max(trials - 1, 1)) / trials
    return Rate(count=count, trials=trials, share=count / trials, error=sqrt(seen * (1 - seen) / trials))


def rate(happened: NDArray[np.bool_], among: NDArray[np.bool_] | None = None) -> Rate:
    """How often, over all repetitions or those of `among`."""
    if among is None:
        return rate_of(int(happened.sum()), int(happened.size))
    return rate_of(int((happened & among).sum()), int(among.sum()))
