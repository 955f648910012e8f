"""Adapter of designs: group sequential, Bayesian, exact sequences, families, sizes in mid-run."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from analysis.inference import (
    beta_binomial,
    effect_prior,
    families,
    fixed,
    many_to_one,
    sample,
    share_sequence,
)
from analysis.inference.beta_binomial import BetaPrior
from analysis.inference.effect_prior import EffectPrior
from analysis.inference.result import Alternative
from analysis.planning import designs, midway, power, spending
from analysis.planning.spending import Bounds, Shape
from experiment.definition import Direction, Spending
from tests.oracles.shared import Inputs, Method, Outputs, moments, outputs, pair

_SIDES = {1: Alternative.GREATER, 2: Alternative.TWO_SIDED}


def _times(inputs: Inputs) -> Any:
    return inputs["information"] if "information" in inputs else spending.equal_looks(inputs["looks"])


def _bounds(inputs: Inputs, *, kind: Spending | Shape) -> Bounds:
    options: dict[str, Any] = {"alpha": inputs["alpha"], "alternative": _SIDES[inputs["sides"]]}
    if isinstance(kind, Shape):
        return spending.shaped_bounds(_times(inputs), shape=kind, **options)
    gamma = inputs.get("gamma", inputs.get("rho", 2))
    return spending.spending_bounds(_times(inputs), spending=kind, gamma=gamma, **options)


def _z_bounds(inputs: Inputs, *, kind: Spending | Shape) -> Outputs:
    found = _bounds(inputs, kind=kind)
    return {"z": found.z, "alpha_spent": found.spent, "cumulative_alpha": found.spent}


def _inflation(inputs: Inputs, *, kind: Spending | Shape) -> Outputs:
    found = spending.characteristics(_bounds(inputs, kind=kind), alpha=inputs["alpha"], power=inputs["power"])
    return {
        "inflation_factor": found.inflation, "avg_n_ratio_H1": found.expected,
        "avg_n_ratio_H0": found.expected_null, "cumulative_power": found.power_by_look,
        "avg_n_ratio_at_0_half_1_1.5_delta": [found.expected_at(m) for m in (0.0, 0.5, 1.0, 1.5)],
    }  # fmt: skip


def _peeking(inputs: Inputs) -> Outputs:
    return {
        "type1_error": spending.ever_crossing(_times(inputs), inputs["z_each_look"], _SIDES[inputs["sides"]])
    }


_SPENDING = {
    "lan_demets_obf": Spending.OBRIEN_FLEMING, "lan_demets_pocock": Spending.POCOCK,
    "kim_demets_power": Spending.POWER,
}  # fmt: skip


def _sequential_rates(inputs: Inputs) -> Outputs:
    one_sided = "alpha_one_sided" in inputs
    found = designs.group_sequential_size(
        power.proportion_spread(
            inputs["p_control"], inputs["p_treatment"], convention=power.Convention.POOLED
        ),
        np.subtract(inputs["p_treatment"], inputs["p_control"]),
        looks=inputs["looks"],
        alpha=inputs["alpha_one_sided"] if one_sided else inputs["alpha"],
        target=inputs["power"],
        alternative=Alternative.GREATER if one_sided else Alternative.TWO_SIDED,
        spending=_SPENDING[inputs["spending"]],
    )
    return {
        "n_total_max": found.maximum.total, "n_total_expected_H1": found.expected,
        "n_total_expected_H0": found.expected_null, "n_total_fixed": found.fixed.total,
    }  # fmt: skip


def _beta_binomial(inputs: Inputs) -> Outputs:
    prior = BetaPrior(successes=inputs["prior"]["alpha"], failures=inputs["prior"]["beta"])
    sides = inputs["control"], inputs["treatment"]
    found = beta_binomial.posterior(
        [side["successes"] for side in sides], [side["n"] for side in sides], prior=prior
    )
    loss, (low, high) = found.expected_loss(), found.interval()
    return {
        "prob_treatment_better": found.better(), "expected_loss_choosing_treatment": loss[1],
        "expected_loss_choosing_control": loss[0], "treatment_cri95": [low[1], high[1]],
        "control_cri95": [low[0], high[0]], "prob_best": found.best(),
    }  # fmt: skip


def _gaussian(inputs: Inputs) -> Outputs:
    given = inputs["prior"]
    prior = EffectPrior(mean=given["mean"], sd=float(np.sqrt(given["variance"]))) if given["proper"] else None
    found = effect_prior.effect_posterior(
        fixed.delta_lift(*pair(inputs, moments)), prior=prior, alpha=inputs["alpha"],
        direction=Direction.DECREASE if inputs["lower_is_better"] else Direction.INCREASE,
    )  # fmt: skip
    return {
        "posterior_mean": found.mean, "posterior_sd": found.sd, "ci_low": found.low, "ci_high": found.high,
        "chance_to_win": found.better, "risk_choosing_control": found.loss_control,
        "risk_choosing_treatment": found.loss_treatment,
    }  # fmt: skip


def _bernoulli_sequence(inputs: Inputs) -> Outputs:
    low, high = share_sequence.share_interval(
        inputs["successes"], inputs["n"], tuned_for=inputs["t_opt"], alpha=inputs["alpha"]
    )
    return {"ci_low": low, "ci_high": high}


def _dunnett(inputs: Inputs, *, alternative: Alternative = Alternative.TWO_SIDED) -> Outputs:
    treatments = [sample.from_values(values) for values in inputs["treatments"]]
    found = many_to_one.dunnett(
        sample.from_values(inputs["control"]), sample.stack(treatments), alternative=alternative,
        alpha=inputs.get("alpha", 0.05), pooled=True,
    )  # fmt: skip
    return outputs(found) | {"p_values": found.p_value}


def _more_units(inputs: Inputs) -> Outputs:
    control, treatment = pair(inputs, moments)
    found = midway.more_units(
        fixed.delta_lift(control, treatment).standard_error, inputs["relative_mde"],
        np.add(control.n, treatment.n), target=inputs["target_power"], alpha=inputs["alpha"],
        family=midway.Family(
            primaries=inputs["num_goal_metrics"], treatments=inputs["num_variations"] - 1,
            divided=inputs["bonferroni"],
        ),
        n_star=inputs["n_star"], wrong_side=True,
    )  # fmt: skip
    return {
        "scaling_factor": found.factor, "additional_users": found.additional, "power_now": found.power_now,
    }  # fmt: skip


def _e_bh(inputs: Inputs) -> Outputs:
    with np.errstate(divide="ignore"):
        found = families.e_bh(np.log(inputs["e_values"]), inputs["alpha"])
    return {"rejected": found, "n_rejected": int(found.sum())}


_KINDS: dict[str, Spending | Shape] = {
    "OF": Shape.OBRIEN_FLEMING, "P": Shape.POCOCK, "asOF": Spending.OBRIEN_FLEMING, "asP": Spending.POCOCK,
    "asKD": Spending.POWER, "power_spending": Spending.POWER,
}  # fmt: skip
_BOUNDS: dict[str, Spending | Shape] = {
    "obrien_fleming": Shape.OBRIEN_FLEMING, "pocock": Shape.POCOCK,
    "lan_demets_obf_spending": Spending.OBRIEN_FLEMING, "lan_demets_pocock_spending": Spending.POCOCK,
    "kim_demets_power_spending": Spending.POWER, "kim_demets_power_family": Spending.POWER,
}  # fmt: skip

METHODS: dict[str, Method] = {
    f"inflation_factor.{name}{suffix}": partial(_inflation, kind=kind)
    for name, kind in _KINDS.items()
    for suffix in ("", ".two_sided")
}
METHODS |= {
    f"{name}.z_bounds{suffix}": partial(_z_bounds, kind=kind)
    for name, kind in _BOUNDS.items()
    for suffix in ("", ".two_sided")
}
METHODS |= {
    "peeking_type1_error": _peeking,
    "group_sequential_rates.total_n": _sequential_rates,
    "beta_binomial.prob_and_loss": _beta_binomial,
    "beta_binomial.prob_treatment_better": _beta_binomial,
    "gaussian_effect_posterior.relative": _gaussian,
    "bernoulli_beta_binomial_cs": _bernoulli_sequence,
    "dunnett.two_sided": _dunnett,
    "dunnett.greater": partial(_dunnett, alternative=Alternative.GREATER),
    "dunnett.less": partial(_dunnett, alternative=Alternative.LESS),
    "additional_users.fixed": _more_units,
    "additional_users.sequential": _more_units,
    "ml.sequential.e_bh": _e_bh,
}
