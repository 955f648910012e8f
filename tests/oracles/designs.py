"""Adapter of designs: group sequential, Bayesian, exact sequences, families."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from switchpoint.analysis.inference import contrast, multiplicity, posterior, sample, spending
from switchpoint.analysis.inference import shares as share_sequence
from switchpoint.analysis.inference.posterior import EffectPrior
from switchpoint.analysis.inference.spending import Bounds
from switchpoint.analysis.methods import beta_binomial
from switchpoint.analysis.methods import dunnett as many_to_one
from switchpoint.analysis.methods.beta_binomial import BetaPrior
from switchpoint.analysis.numerics.crossing import fixed_drift
from switchpoint.analysis.numerics.estimates import Alternative
from switchpoint.analysis.planning import power
from switchpoint.analysis.planning.cost import bounds_cost
from switchpoint.experiment.definition.types import Direction, Spending
from tests.oracles.shared import Inputs, Method, Outputs, moments, outputs, pair

_SIDES = {1: Alternative.GREATER, 2: Alternative.TWO_SIDED}


def _times(inputs: Inputs) -> Any:
    return inputs["information"] if "information" in inputs else spending.equal_looks(inputs["looks"])


def _bounds(inputs: Inputs, *, kind: Spending) -> Bounds:
    return spending.spending_bounds(
        _times(inputs), spending=kind, gamma=float(inputs.get("gamma") or inputs.get("rho", 2)), alpha=inputs["alpha"],
        alternative=_SIDES[inputs["sides"]],
    )  # fmt: skip


def _z_bounds(inputs: Inputs, *, kind: Spending) -> Outputs:
    found = _bounds(inputs, kind=kind)
    return {"z": found.z, "alpha_spent": found.spent, "cumulative_alpha": found.spent}


def _mean_cost(bounds: Bounds, most: float, drift: float) -> float:
    """Mean units over those of the fixed design, of bounds that cost `most`, under an effect of this drift."""
    first = bounds.crossing(drift)
    going = 1 - np.cumsum(first.above + first.below)[:-1]
    return float(most * np.diff(bounds.times, prepend=0.0) @ [1, *going])


def _inflation(inputs: Inputs, *, kind: Spending) -> Outputs:
    bounds = _bounds(inputs, kind=kind)
    most = bounds_cost(bounds, alpha=inputs["alpha"], power=inputs["power"])
    drift = fixed_drift(inputs["alpha"], inputs["power"], bounds.alternative) * np.sqrt(most)
    means = [_mean_cost(bounds, most, multiple * drift) for multiple in (0.0, 0.5, 1.0, 1.5)]
    return {
        "inflation_factor": most, "avg_n_ratio_H1": means[2], "avg_n_ratio_H0": means[0],
        "cumulative_power": np.cumsum(bounds.crossing(drift).above),
        "avg_n_ratio_at_0_half_1_1.5_delta": means,
    }  # fmt: skip


def _sequential_rates(inputs: Inputs) -> Outputs:
    rates, aim = (inputs["p_control"], inputs["p_treatment"]), inputs["power"]
    alpha, side = inputs["alpha_one_sided"], Alternative.GREATER
    spread = power.proportion_spread(*rates, convention=power.Convention.POOLED)
    fixed = power.units_needed(spread, rates[1] - rates[0], alpha=alpha, target=aim, alternative=side).total
    bounds = spending.spending_bounds(_times(inputs), alpha=alpha, alternative=side)
    most = bounds_cost(bounds, alpha=alpha, power=aim)
    drift = fixed_drift(alpha, aim, side) * np.sqrt(most)
    return {
        "n_total_max": fixed * most, "n_total_expected_H1": fixed * _mean_cost(bounds, most, drift),
        "n_total_fixed": fixed,
    }  # fmt: skip


def _peeking(inputs: Inputs) -> Outputs:
    times = _times(inputs)
    bounds = Bounds(
        times=times, shares=times, z=np.full_like(times, inputs["z_each_look"]), spent=np.zeros(0),
        alternative=_SIDES[inputs["sides"]],
    )  # fmt: skip
    first = bounds.crossing(0.0)
    return {"type1_error": (first.above + first.below).sum()}


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
    found = posterior.effect_posterior(
        contrast.delta_lift(contrast.from_samples(*pair(inputs, moments))), prior=prior, alpha=inputs["alpha"],
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


def _e_bh(inputs: Inputs) -> Outputs:
    with np.errstate(divide="ignore"):
        found = multiplicity.e_bh(np.log(inputs["e_values"]), inputs["alpha"])
    return {"rejected": found, "n_rejected": int(found.sum())}


_KINDS = {"asOF": Spending.OBRIEN_FLEMING, "asP": Spending.POCOCK, "power_spending": Spending.POWER}
_BOUNDS = {
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
    "ml.sequential.e_bh": _e_bh,
}
