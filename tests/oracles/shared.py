"""What all oracle adapters share: shapes of inputs, names of outputs, refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from switchpoint.analysis.inference import contrast, sample
from switchpoint.analysis.numerics.estimates import Alternative, Distribution, Estimates

Inputs = dict[str, Any]
Outputs = dict[str, Any]
Method = Callable[[Inputs], Outputs]


_NAMES = {
    "two-sided": Alternative.TWO_SIDED, "two.sided": Alternative.TWO_SIDED,
    "greater": Alternative.GREATER, "larger": Alternative.GREATER, "one.sided": Alternative.GREATER,
    "less": Alternative.LESS, "smaller": Alternative.LESS,
}  # fmt: skip


class Declined(Exception):
    """The product refuses this case on purpose; the text says why."""


def side(inputs: Inputs, default: Alternative = Alternative.TWO_SIDED) -> Alternative:
    """The alternative of a case under any of the libraries' names."""
    return _NAMES[inputs["alternative"]] if "alternative" in inputs else default


def moments(inputs: Inputs) -> sample.Sample:
    """A mean given by n, mean and variance."""
    return sample.from_moments(inputs["n"], inputs["mean"], inputs["var"])


def pair(inputs: Inputs, build: Callable[[Any], sample.Sample]) -> tuple[sample.Sample, sample.Sample]:
    """Control and treatment."""
    return build(inputs["control"]), build(inputs["treatment"])


def outputs(result: Estimates) -> Outputs:
    """The names the cases use."""
    return {
        "estimate": result.estimate, "standard_error": result.standard_error, "statistic": result.statistic,
        "df": result.df, "ci_low": result.low, "ci_high": result.high, "p_value": result.p_value,
    }  # fmt: skip


def both_scales(inputs: Inputs, control: sample.Sample, treatment: sample.Sample) -> Outputs:
    """Effect and log-scale lift of one comparison under the options of the case."""
    if inputs.get("equal_var"):
        raise Declined("a common variance is assumed for nothing: Welch's test is as good where it holds")
    alpha = inputs.get("alpha", np.subtract(1, inputs.get("confidence_level", 0.95)))
    options: dict[str, Any] = {
        "alpha": alpha,
        "alternative": side(inputs),
        "distribution": Distribution.T if inputs.get("use_t", True) else Distribution.NORMAL,
    }
    absolute = contrast.effect(contrast.from_samples(control, treatment), **options)
    relative = contrast.log_ratio_lift(control, treatment, **options)
    return {
        "control": control.mean, "treatment": treatment.mean,
        "diff": absolute.estimate, "diff_ci_low": absolute.low, "diff_ci_high": absolute.high,
        "rel": relative.estimate, "rel_ci_low": relative.low, "rel_ci_high": relative.high,
        "p_value": absolute.p_value, "statistic": absolute.statistic,
    }  # fmt: skip
