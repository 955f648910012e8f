"""Crossing probabilities of a Brownian motion looked at K times.

The score process of an experiment is B(u) + θu on information fractions u ∈ (0, 1]; a design is a pair of
bounds on it. The sub-density of the paths that have not crossed is carried from look to look on
Gauss-Legendre nodes (Armitage, McPherson, Rowe 1969, JRSS-A 132:235; Jennison & Turnbull 2000, ch. 19).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import special

from switchpoint.analysis.numerics.estimates import Alternative, Float

_TAIL = 8.5
_NODES_PER_SD = 2.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """Probability that the path first crosses at each look, above and below."""

    above: Float
    below: Float


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Paths that have not stopped: their mass on nodes of the process at one time."""

    nodes: Float
    mass: Float
    time: float
    drift: float

    def beyond(self, time: float, low: float, high: float) -> tuple[float, float]:
        """Probabilities of continuing to `time` and then lying above `high`, and below `low`."""
        sd, centre = self._step(time)
        above, below = special.ndtr((centre - high) / sd), special.ndtr((low - centre) / sd)
        return float(self.mass @ above), float(self.mass @ below)

    def tail(self, time: float, level: float) -> tuple[float, float]:
        """Probability of lying above `level` at `time`, and the density there."""
        sd, centre = self._step(time)
        gap = (centre - level) / sd
        density = np.exp(-0.5 * gap * gap) / (sd * np.sqrt(2 * np.pi))
        return float(self.mass @ special.ndtr(gap)), float(self.mass @ density)

    def ceiling(self, time: float, share: float) -> float:
        """Level above which this share would lie at `time` if all went on from the highest node: fewer do."""
        sd, centre = self._step(time)
        return float(centre.max() - sd * special.ndtri(share / self.mass.sum()))

    def advance(self, time: float, low: float, high: float) -> Paths:
        """The paths still going after the look at `time`, which stops outside (low, high)."""
        sd, centre = self._step(time)
        middle, reach = self.drift * time, _TAIL * np.sqrt(time)
        points, weights = _nodes(max(low, middle - reach), min(high, middle + reach), sd)
        kernel = np.exp(-0.5 * ((points[:, None] - centre) / sd) ** 2) / (sd * np.sqrt(2 * np.pi))
        return Paths(nodes=points, mass=weights * (kernel @ self.mass), time=time, drift=self.drift)

    def _step(self, time: float) -> tuple[float, Float]:
        return float(np.sqrt(time - self.time)), self.nodes + self.drift * (time - self.time)


def start_paths(drift: float = 0.0) -> Paths:
    """The process B(u) + drift·u at u = 0."""
    return Paths(nodes=np.zeros(1), mass=np.ones(1), time=0.0, drift=drift)


def crossing(times: Float, lower: Float, upper: Float, drift: float) -> Crossing:
    """First-crossing probabilities of B(u) + drift·u at the looks `times`.

    Args:
        times: increasing information fractions. lower, upper: bounds on the process at these times (±inf).
    """
    above, below = np.zeros(len(times)), np.zeros(len(times))
    paths = start_paths(drift)
    for look, (u, low, high) in enumerate(zip(times, lower, upper, strict=True)):
        above[look], below[look] = paths.beyond(float(u), float(low), float(high))
        paths = paths.advance(float(u), float(low), float(high))
    return Crossing(above=above, below=below)


def _nodes(low: float, high: float, sd: float) -> tuple[Float, Float]:
    """Gauss-Legendre nodes dense enough for a kernel of this standard deviation."""
    if high <= low:
        return np.array([low]), np.zeros(1)
    # whole eights, so that similar designs share the nodes kept
    count = 8 * int(np.ceil((_NODES_PER_SD * (high - low) / sd + 16) / 8))
    x, w = _legendre(count)
    half = (high - low) / 2
    return low + half * (x + 1), w * half


@lru_cache(maxsize=512)
def _legendre(count: int) -> tuple[Float, Float]:
    x, w = np.polynomial.legendre.leggauss(count)
    return x, w


def fixed_drift(alpha: float, power: float, alternative: Alternative) -> float:
    """Drift of the fixed design: z(alpha) + z(power)."""
    level = alpha / 2 if alternative is Alternative.TWO_SIDED else alpha
    return float(special.ndtri(power) - special.ndtri(level))
