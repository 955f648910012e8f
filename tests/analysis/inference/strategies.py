"""Samples of the tests: hypothesis strategies, and joint moments of unit rows."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from switchpoint.analysis.inference.adjust import Joint
from switchpoint.analysis.inference.adjust import from_moments as joint_moments
from switchpoint.analysis.inference.sample import Sample, from_moments

units = st.integers(5, 100_000)
means = st.floats(0.05, 1000.0)
spreads = st.floats(0.01, 3.0)


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    """A measured sample with a positive mean and a standard deviation in proportion to it."""
    mean = draw(means)
    return from_moments(draw(units), mean, (mean * draw(spreads)) ** 2)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Sample, Sample]:
    """Control and treatment whose means are within three standard errors or so."""
    control = draw(samples())
    n = draw(units)
    shift = draw(st.floats(-5, 5)) * float(control.error_variance[()] ** 0.5)
    mean = max(float(control.mean[()]) + shift, 0.01)
    return control, from_moments(n, mean, (mean * draw(spreads)) ** 2)


def joint_of(*columns: ArrayLike) -> Joint:
    """Joint moments of one row per unit (last axis of every column)."""
    x = np.stack(np.broadcast_arrays(*(np.asarray(column, float) for column in columns)), axis=-1)
    n = x.shape[-2]
    mean = x.mean(axis=-2) if n else np.zeros((*x.shape[:-2], x.shape[-1]))
    centred = x - mean[..., None, :]
    covariance = np.einsum("...ni,...nj->...ij", centred, centred) / max(n - 1, 1)
    return joint_moments(np.full(mean.shape[:-1], float(n)), mean, covariance)
