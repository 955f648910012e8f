"""Adapter of sizes, power and smallest effects of the fixed design."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from switchpoint.analysis.numerics.estimates import Distribution
from switchpoint.analysis.planning import power
from switchpoint.experiment.definition.types import Size
from tests.oracles.shared import Inputs, Method, Outputs, side

_BOTH: Inputs = {"wrong_side": True}


def _units(inputs: Inputs, *, key: str, **options: Any) -> Outputs:
    spread = power.equal_spread(inputs.get("sd", 1.0) ** 2)
    effect = next(inputs[name] for name in ("cohens_d", "difference", "delta") if name in inputs)
    ratio = inputs.get("ratio_treatment_to_control", 1)
    n = power.units_needed(
        spread, effect, ratio=ratio, alpha=inputs["alpha"], target=inputs["power"],
        alternative=side(inputs), **options,
    )  # fmt: skip
    return {key: n.control}


def _t_power(inputs: Inputs) -> Outputs:
    if "power" in inputs:
        return _units(inputs, key="n_per_arm", distribution=Distribution.T)
    spread, n = power.equal_spread(inputs["sd"] ** 2), inputs["n_per_arm"]
    options: dict[str, Any] = {"alpha": inputs["alpha"], "distribution": Distribution.T}
    options["alternative"] = side(inputs)
    return {"power": power.power(spread, inputs["delta"], n_control=n, **options)}


def _d_power(inputs: Inputs) -> Outputs:
    options: dict[str, Any] = {"alpha": inputs["alpha"], "distribution": Distribution.T, "wrong_side": True}
    options["alternative"] = side(inputs)
    return {
        "power": power.power(
            power.equal_spread(1.0), inputs["cohens_d"], n_control=inputs["n_per_arm"], **options
        )
    }


def _d_mde(inputs: Inputs) -> Outputs:
    options: dict[str, Any] = {"distribution": Distribution.T, "wrong_side": True}
    options["alternative"] = side(inputs)
    return {
        "cohens_d": power.smallest_effect(
            power.equal_spread(1.0),
            n_control=inputs["n_per_arm"],
            alpha=inputs["alpha"],
            target=inputs["power"],
            **options,
        )
    }


def _rates(inputs: Inputs, *, key: str) -> Outputs:
    # statsmodels' function named "onetail" halves the alpha it is given: its default alternative is two-sided
    alpha = inputs.get("alpha", inputs.get("alpha_one_sided"))
    low, high = (
        inputs[name] for name in (("p_control", "p_treatment") if "p_control" in inputs else ("p1", "p2"))
    )
    ratio = inputs.get("ratio_treatment_to_control", 1)
    spread = power.proportion_spread(low, high, convention=power.Convention.POOLED, ratio=ratio)
    effect = np.subtract(high, low)
    options: dict[str, Any] = {"alpha": alpha, "alternative": side(inputs), "ratio": ratio}
    if "power" in inputs:
        n = power.units_needed(spread, effect, target=inputs["power"], **options)
        return {key: n.control}
    return {"power": power.power(spread, effect, n_control=inputs["n_per_arm"], **options)}


def _relative_units(inputs: Inputs) -> Outputs:
    effect = power.absolute_effect(Size(value=inputs["relative_mde"], relative=True), inputs["mean"])
    units = power.units_needed(
        power.equal_spread(inputs["var"]),
        effect,
        ratio=inputs["ratio_treatment_to_control"],
        alpha=inputs["alpha"],
        target=inputs["power"],
        alternative=side(inputs),
        distribution=Distribution(inputs["distribution"]),
        wrong_side=True,
    )
    return {"n_total": units.total}


def _relative_mde(inputs: Inputs) -> Outputs:
    effect = power.smallest_effect(
        power.equal_spread(inputs["var"]),
        n_control=inputs["n_total"] / 2,
        alpha=inputs["alpha"],
        target=inputs["power"],
        distribution=Distribution.T,
        wrong_side=True,
    )
    return {"mde_abs": effect, "mde_rel": effect / inputs["mean"]}


def _relative_power(inputs: Inputs) -> Outputs:
    return {
        "power": power.power(
            power.equal_spread(inputs["var"]),
            power.absolute_effect(Size(value=inputs["relative_mde"], relative=True), inputs["mean"]),
            n_control=inputs["n_total"] / 2,
            alpha=inputs["alpha"],
            distribution=Distribution.T,
            wrong_side=True,
        )
    }


METHODS: dict[str, Method] = {
    "two_sample_z.n_control": partial(_units, key="n_control", **_BOTH),
    "two_sample_t.n_control": partial(_units, key="n_control", distribution=Distribution.T, **_BOTH),
    "two_sample_t.n_per_arm": partial(_units, key="n_per_arm", distribution=Distribution.T),
    "two_sample_t.power": _d_power,
    "two_sample_t.mde_d": _d_mde,
    "power.t.test": _t_power,
    "power.prop.test": partial(_rates, key="n_per_arm"),
    "two_proportions_z.n_control": partial(_rates, key="n_control"),
    "two_proportions_z_pooled_null.n_per_arm": partial(_rates, key="n_per_arm"),
    "mean_relative_mde.total_n": _relative_units,
    "mean.relative_mde_for_n": _relative_mde,
    "mean.power_for_n_and_mde": _relative_power,
}
