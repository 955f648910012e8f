"""Hypothesis strategies for samples."""

from __future__ import annotations

from hypothesis import strategies as st

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
