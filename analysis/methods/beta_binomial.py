"""Bayesian comparison of proportions: exact beta posteriors, every answer from one object.

The probability of being better, the expected loss and the interval of the difference are integrals of the
same posteriors by Gauss-Legendre quadrature, never Monte Carlo: the 1 − alpha interval of the difference
excludes 0 exactly when P(better) is above 1 − alpha/2 (or below alpha/2). Frequentist error is not
controlled when such a reading is watched and stopped on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from switchpoint.analysis.numerics.estimates import Float
from switchpoint.analysis.numerics.reasons import CannotEstimate, Reason
from switchpoint.analysis.numerics.tail import bracketed_root
from switchpoint.experiment.errors import BadInput

_NODES = 16
_LEVELS = np.concatenate([10.0 ** np.arange(-18, -1, 2.0), np.linspace(0.08, 0.5, 5)])

_HALVES = 0.5 ** np.arange(1, 140)


@dataclass(frozen=True, slots=True, kw_only=True)
class BetaPrior:
    """Beta(successes, failures) prior of every variant's rate; both above 0. (1, 1) is uniform."""

    successes: float = 1.0
    failures: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BetaPosterior:
    """Independent beta posteriors of the variants' rates, control first."""

    a: Float
    b: Float

    def mean(self) -> Float:
        """Posterior means."""
        return np.asarray(self.a / (self.a + self.b), dtype=np.float64)

    def interval(self, alpha: float = 0.05) -> tuple[Float, Float]:
        """Equal-tailed credible interval of each rate."""
        low = special.betaincinv(self.a, self.b, alpha / 2)
        return np.asarray(low), np.asarray(special.betainccinv(self.a, self.b, alpha / 2))

    def best(self) -> Float:
        """Probability that each variant has the highest rate; sums to 1."""
        x, w = self._grid()
        below, density = self._below(x), self._density(x, w)
        return np.asarray([
            float(w @ (density[i] * np.prod(np.delete(below, i, axis=0), axis=0)))
            for i in range(self.a.size)
        ])  # fmt: skip

    def expected_loss(self) -> Float:
        """Rate given up on average by choosing each variant: E[max(all others − it, 0)]."""
        x, w = self._grid()
        below = self._below(x)
        losses = []
        for i in range(self.a.size):
            # 1 − Π F over the others, without cancellation where every F is nearly 1
            above = -np.expm1(np.log(np.maximum(np.delete(below, i, axis=0), 1e-300)).sum(axis=0))
            losses.append(float(w @ (below[i] * above)))
        return np.asarray(losses)

    def better(self, variant: int = 1, reference: int = 0) -> float:
        """P(rate of variant > rate of reference): the mass of the difference above 0."""
        return self._difference_above(np.asarray(0.0), variant, reference)

    def difference_interval(
        self, variant: int = 1, reference: int = 0, *, alpha: float = 0.05
    ) -> tuple[float, float]:
        """Equal-tailed credible interval of rate of variant − rate of reference."""

        def bound(level: float) -> float:
            def surplus(d: Float) -> Float:
                return np.asarray(self._difference_above(d, variant, reference) - level)

            return float(bracketed_root(surplus, np.asarray(-1.0), np.asarray(1.0), precision=1e-13))

        return bound(1 - alpha / 2), bound(alpha / 2)

    def _difference_above(self, d: Float, variant: int, reference: int) -> float:
        """P(p_variant − p_reference > d) = ∫ f_reference(x)·P(p_variant > x + d) dx."""
        shift = float(d)
        cuts = np.concatenate([self._cuts(reference), self._cuts(variant) - shift])
        x, w = _panels(cuts)
        above = special.betaincc(self.a[variant], self.b[variant], np.clip(x + shift, 0.0, 1.0))
        return float(w @ (self._density(x, w)[reference] * above))

    def _grid(self) -> tuple[Float, Float]:
        return _panels(np.concatenate([self._cuts(i) for i in range(self.a.size)]))

    def _cuts(self, i: int) -> Float:
        """Quantiles of a posterior: panels between them resolve it, however narrow it is."""
        low = special.betaincinv(self.a[i], self.b[i], _LEVELS)
        high = special.betainccinv(self.a[i], self.b[i], _LEVELS)
        # a pole at an end (Jeffreys' prior and no success) needs panels that halve towards it
        poles = [low[-1] * _HALVES] if self.a[i] < 1 else []
        poles += [1 - (1 - low[-1]) * _HALVES] if self.b[i] < 1 else []
        return np.concatenate([low, high, *poles])

    def _below(self, x: Float) -> Float:
        return np.asarray(special.betainc(self.a[:, None], self.b[:, None], x), dtype=np.float64)

    def _density(self, x: Float, w: Float) -> Float:
        """Densities on the nodes: relative to the centre in logs (exact for 10⁹ units), then normalised on
        the same nodes, so that rounding of the constant cancels."""
        a, b = self.a[:, None], self.b[:, None]
        centre = a / (a + b)
        log = (a - 1) * _log_ratio(x, centre) + (b - 1) * _log_ratio(1 - x, 1 - centre)
        density = np.exp(log - log.max(axis=1, keepdims=True))
        return np.asarray(density / (density @ w)[:, None], dtype=np.float64)


def posterior(successes: ArrayLike, n: ArrayLike, *, prior: BetaPrior | None = None) -> BetaPosterior:
    """Posterior of every variant's rate after `successes` of `n` units, control first.

    Raises:
        BadInput: for a prior that is not proper.
        CannotEstimate: for impossible counts.
    """
    start = prior or BetaPrior()
    if not (start.successes > 0 and start.failures > 0):
        raise BadInput(
            "a prior has both parameters above 0", field="prior", value=(start.successes, start.failures)
        )
    x, count = np.broadcast_arrays(np.asarray(successes, float), np.asarray(n, float))
    good = np.isfinite(x) & np.isfinite(count) & (x >= 0) & (x <= count) & (np.floor(count) == count)
    if not (good & (np.floor(x) == x)).all():
        raise CannotEstimate(Reason.IMPOSSIBLE_MOMENTS, "beta-binomial")
    return BetaPosterior(a=start.successes + x, b=start.failures + count - x)


def _log_ratio(x: Float, centre: Float) -> Float:
    """log(x/centre), to the last digit where they are close."""
    near = np.abs(x - centre) < centre / 2
    step = np.where(near, (x - centre) / centre, 0.0)
    far = np.log(np.maximum(x / centre, 1e-300))
    return np.asarray(np.where(near, np.log1p(step), far), dtype=np.float64)


def _panels(cuts: Float) -> tuple[Float, Float]:
    """Gauss-Legendre nodes and weights on the panels between cuts inside (0, 1)."""
    inside = np.unique(np.clip(cuts, 0.0, 1.0))
    edges = inside[np.concatenate([[True], np.diff(inside) > 0])]
    x, w = _legendre()
    half = np.diff(edges)[:, None] / 2
    nodes = (edges[:-1, None] + half) + half * x
    return nodes.ravel(), (half * w).ravel()


@lru_cache(maxsize=1)
def _legendre() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, w = np.polynomial.legendre.leggauss(_NODES)
    return x, w
