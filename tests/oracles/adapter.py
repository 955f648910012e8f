"""Oracle method name → call of the product's public function; no arithmetic of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from analysis.inference import exact, fixed, multiplicity, proportion, sample, sequential
from analysis.inference.multiplicity import Correction
from analysis.inference.result import Alternative, Distribution, Estimates
from analysis.planning import power
from analysis.validity import sample_ratio
from experiment.definition import Direction, Size

Inputs = dict[str, Any]
Outputs = dict[str, Any]

DECLINED = {
    "binomial_ci.jeffreys": "a Bayesian interval under a frequentist heading; Wilson and Clopper-Pearson are offered",
    "adjust.simes-hochberg": "Hochberg needs independence; Holm holds under any dependence",
    "rule_of_thumb_16": "a rounding of the formula that is offered",
    "evan_miller.n_per_arm": "null variance from the baseline alone matches no test that is offered",
}

CONTESTED = {
    "power-002": "the library's own TTestIndPower().power at its answer 0.3981391138964959 is 0.8000019, at ours "
    "(0.3981381375682367) 0.8000000000: its root finder stopped early, by more than the tolerance stated",
}


def _moments(inputs: Inputs) -> sample.Sample:
    return sample.from_moments(inputs["n"], inputs["mean"], inputs["var"])


def _ratio(inputs: Inputs) -> sample.Sample:
    names = ("n", "mean_num", "mean_den", "var_num", "var_den", "cov")
    return sample.ratio_from_moments(*(inputs[name] for name in names))


def _pair(inputs: Inputs, build: Callable[[Inputs], sample.Sample]) -> tuple[sample.Sample, sample.Sample]:
    return build(inputs["control"]), build(inputs["treatment"])


def _outputs(result: Estimates) -> Outputs:
    return {
        "estimate": result.estimate, "standard_error": result.standard_error, "statistic": result.statistic,
        "df": result.df, "ci_low": result.low, "ci_high": result.high, "p_value": result.p_value,
    }  # fmt: skip


def _welch(inputs: Inputs, *, alternative: Alternative = Alternative.TWO_SIDED) -> Outputs:
    chosen = Alternative(inputs.get("alternative", alternative))
    return _outputs(
        fixed.effect(*_pair(inputs, _moments), alpha=inputs.get("alpha", 0.05), alternative=chosen)
    )


def _welch_values(inputs: Inputs) -> Outputs:
    return _outputs(fixed.effect(*_pair(inputs, sample.from_values)))


def _both_scales(inputs: Inputs, *, build: Callable[[Inputs], sample.Sample]) -> Outputs:
    control, treatment = _pair(inputs, build)
    # the library's levels are 95 % and 99 %
    alpha = inputs.get("alpha", {0.95: 0.05, 0.99: 0.01}.get(inputs.get("confidence_level", 0.95)))
    options: dict[str, Any] = {
        "alpha": alpha,
        "alternative": Alternative(inputs.get("alternative", "two-sided")),
        "distribution": Distribution.T if inputs.get("use_t", True) else Distribution.NORMAL,
    }
    absolute = fixed.effect(control, treatment, **options)
    relative = fixed.log_ratio_lift(control, treatment, **options)
    return {
        "control": control.mean, "treatment": treatment.mean,
        "diff": absolute.estimate, "diff_ci_low": absolute.low, "diff_ci_high": absolute.high,
        "rel": relative.estimate, "rel_ci_low": relative.low, "rel_ci_high": relative.high,
        "p_value": absolute.p_value, "statistic": absolute.statistic,
    }  # fmt: skip


def _delta(inputs: Inputs, *, build: Callable[[Inputs], sample.Sample]) -> Outputs:
    return _outputs(fixed.delta_lift(*_pair(inputs, build), alpha=inputs["alpha"]))


def _ratio_effect(inputs: Inputs) -> Outputs:
    return _outputs(fixed.effect(*_pair(inputs, _ratio), alpha=inputs["alpha"]))


def _clustered_rows(inputs: Inputs) -> Outputs:
    sides = (
        sample.ratio_from_values(*np.transpose(inputs[f"{side}_clicks_impressions_per_user"]), ddof=0)
        for side in ("control", "treatment")
    )
    return _outputs(fixed.effect(*sides, distribution=Distribution.NORMAL))


def _sequence(inputs: Inputs, *, alternative: Alternative = Alternative.TWO_SIDED) -> Outputs:
    pair = _pair(inputs, _moments)
    return _outputs(
        sequential.effect(*pair, n_star=inputs["n_star"], alpha=inputs["alpha"], alternative=alternative)
    )


def _sequence_relative(inputs: Inputs) -> Outputs:
    control, treatment = _pair(inputs, _ratio)
    delta = fixed.delta_lift(control, treatment)
    units = np.add(control.n, treatment.n)
    return _outputs(
        sequential.from_standard_error(
            delta.estimate, delta.standard_error, units, n_star=inputs["n_star"], alpha=inputs["alpha"]
        )
    )


def _tables(inputs: Inputs) -> tuple[Any, Any, Any, Any]:
    control, treatment = inputs["control"], inputs["treatment"]
    return control["successes"], control["n"], treatment["successes"], treatment["n"]


def _score(inputs: Inputs, *, small_sample: bool = False) -> Outputs:
    return _outputs(
        proportion.score_difference(
            *_tables(inputs), alpha=inputs.get("alpha", 0.05), small_sample=small_sample
        )
    )


def _bounds(pair: tuple[Any, Any]) -> Outputs:
    return {"ci_low": pair[0], "ci_high": pair[1]}


def _newcombe(inputs: Inputs) -> Outputs:
    return _bounds(proportion.newcombe(*_tables(inputs), alpha=inputs["alpha"]))


def _log_ratio(inputs: Inputs) -> Outputs:
    xc, nc, xt, nt = _tables(inputs)
    result = fixed.log_ratio_lift(
        sample.proportion(nc, xc, ddof=0),
        sample.proportion(nt, xt, ddof=0),
        alpha=inputs["alpha"],
        distribution=Distribution.NORMAL,
    )
    return _outputs(result.as_ratio())


def _single(inputs: Inputs, *, interval: Callable[..., tuple[Any, Any]]) -> Outputs:
    return _bounds(interval(inputs["successes"], inputs["n"], alpha=inputs["alpha"]))


def _exact(inputs: Inputs, *, test: Callable[..., Any]) -> Outputs:
    return {"p_value": test(*_tables(inputs))}


def _farrington_manning(inputs: Inputs) -> Outputs:
    direction = {"higher_is_better": Direction.INCREASE, "lower_is_better": Direction.DECREASE}[
        inputs["direction"]
    ]
    return _outputs(
        proportion.noninferiority_score(*_tables(inputs), margin=inputs["margin"], direction=direction)
    )


def _tost(inputs: Inputs) -> Outputs:
    control, treatment = _pair(inputs, sample.from_values)
    both = fixed.equivalence(control, treatment, lower=inputs["low"], upper=inputs["high"])
    return {
        "p_value": both.p_value,
        "p_lower": both.above_lower.p_value,
        "p_upper": both.below_upper.p_value,
    }


def _adjust(inputs: Inputs, *, correction: Correction) -> Outputs:
    return {
        "p_adjusted": multiplicity.adjust(inputs["p_values"], correction),
        "reject": multiplicity.rejected(inputs["p_values"], correction, inputs["alpha"]),
    }


def _chi_square(inputs: Inputs) -> Outputs:
    test = sample_ratio.sample_ratio(inputs["counts"], inputs["weights"])
    return {"statistic": test.statistic, "p_value": test.p_value, "df": test.df}


def _binomial(inputs: Inputs) -> Outputs:
    return {"p_value": sample_ratio.exact_binomial(inputs["counts"], inputs["weights"])}


def _sequential_ratio(inputs: Inputs) -> Outputs:
    arrivals = inputs.get("batches", inputs.get("data"))
    log_e = sample_ratio.log_e_sample_ratio(
        np.cumsum(arrivals, axis=0), inputs["theta0"], concentration=inputs["prior_concentration_k"]
    )
    running = sequential.running_p(log_e)
    return {
        "inverse_bayes_factor": np.exp(np.negative(log_e)),
        "running_min_p_value": running,
        "p_value": running,
        "log_bayes_factor": log_e,
    }


_BOTH = {"wrong_side": True}


def _units(inputs: Inputs, *, key: str, **options: Any) -> Outputs:
    spread = power.equal_spread(sd=inputs.get("sd", 1.0))
    effect = next(inputs[name] for name in ("cohens_d", "difference", "delta") if name in inputs)
    ratio = inputs.get("ratio_treatment_to_control", 1)
    n = power.units_needed(
        spread, effect, ratio=ratio, alpha=inputs["alpha"], target=inputs["power"], **options
    )
    return {key: n.control}


def _t_power(inputs: Inputs) -> Outputs:
    if "power" in inputs:
        return _units(inputs, key="n_per_arm", distribution=Distribution.T)
    spread, n = power.equal_spread(sd=inputs["sd"]), inputs["n_per_arm"]
    options: dict[str, Any] = {"alpha": inputs["alpha"], "distribution": Distribution.T}
    return {"power": power.power(spread, inputs["delta"], n_control=n, **options)}


def _d_power(inputs: Inputs) -> Outputs:
    options: dict[str, Any] = {"alpha": inputs["alpha"], "distribution": Distribution.T, "wrong_side": True}
    return {
        "power": power.power(
            power.equal_spread(), inputs["cohens_d"], n_control=inputs["n_per_arm"], **options
        )
    }


def _d_mde(inputs: Inputs) -> Outputs:
    options: dict[str, Any] = {"distribution": Distribution.T, "wrong_side": True}
    return {
        "cohens_d": power.smallest_effect(
            power.equal_spread(),
            n_control=inputs["n_per_arm"],
            alpha=inputs["alpha"],
            target=inputs["power"],
            **options,
        )
    }


def _rates(inputs: Inputs, *, key: str) -> Outputs:
    # statsmodels' function named "onetail" halves the alpha it is given: its default alternative is two-sided
    alpha = inputs.get("alpha", inputs.get("alpha_one_sided"))
    low, high = inputs.get("p_control", inputs.get("p1")), inputs.get("p_treatment", inputs.get("p2"))
    pooled = power.Convention.POOLED
    if "power" in inputs:
        n = power.units_for_proportions(low, high, convention=pooled, alpha=alpha, target=inputs["power"])
        return {key: n.control}
    spread = power.proportion_spread(low, high, convention=pooled)
    return {"power": power.power(spread, np.subtract(high, low), n_control=inputs["n_per_arm"], alpha=alpha)}


def _relative_units(inputs: Inputs) -> Outputs:
    effect = power.absolute_effect(Size(value=inputs["relative_mde"], relative=True), inputs["mean"])
    units = power.units_needed(
        power.equal_spread(inputs["var"]),
        effect,
        ratio=inputs["ratio_treatment_to_control"],
        alpha=inputs["alpha"],
        target=inputs["power"],
        distribution=Distribution(inputs["distribution"]),
        wrong_side=True,
    )
    return {"n_total": units.total}


def _relative_mde(inputs: Inputs) -> Outputs:
    effect = power.smallest_effect(
        power.equal_spread(inputs["var"]),
        n_control=power.split(inputs["n_total"]).control,
        alpha=inputs["alpha"],
        target=inputs["power"],
        distribution=Distribution.T,
        wrong_side=True,
    )
    return {"mde_abs": effect, "mde_rel": power.relative_effect(effect, inputs["mean"])}


def _relative_power(inputs: Inputs) -> Outputs:
    return {
        "power": power.power(
            power.equal_spread(inputs["var"]),
            power.absolute_effect(Size(value=inputs["relative_mde"], relative=True), inputs["mean"]),
            n_control=power.split(inputs["n_total"]).control,
            alpha=inputs["alpha"],
            distribution=Distribution.T,
            wrong_side=True,
        )
    }


METHODS: dict[str, Callable[[Inputs], Outputs]] = {
    "welch_t.p_value": _welch,
    "welch_t.from_arrays": _welch_values,
    "mean.abs_and_log_ratio_relative_ci": partial(_both_scales, build=_moments),
    "mean.welch.absolute": _welch,
    "mean.welch.relative_delta": partial(_delta, build=_moments),
    "mean.welch.one_sided.greater": partial(_welch, alternative=Alternative.GREATER),
    "mean.welch.one_sided.less": partial(_welch, alternative=Alternative.LESS),
    "ratio_of_means.delta.abs_and_log_relative": partial(_both_scales, build=_ratio),
    "ratio.welch.absolute": _ratio_effect,
    "ratio.welch.relative_delta": partial(_delta, build=_ratio),
    "ctr.impression_ols_cluster_CR0": _clustered_rows,
    "asymptotic_cs.difference_in_means": _sequence,
    "asymptotic_cs.ratio_relative": _sequence_relative,
    "asymptotic_cs.one_sided.greater": partial(_sequence, alternative=Alternative.GREATER),
    "asymptotic_cs.one_sided.less": partial(_sequence, alternative=Alternative.LESS),
    "z_test.pooled": _score,
    "diff_ci.newcomb": _newcombe,
    "diff_ci.newcombe_hybrid_score": _newcombe,
    "diff_ci.miettinen_nurminen": partial(_score, small_sample=True),
    "ratio_ci.log": _log_ratio,
    "fisher_exact": partial(_exact, test=exact.fisher),
    "boschloo_exact": partial(_exact, test=exact.boschloo),
    "binomial_ci.wilson": partial(_single, interval=proportion.wilson),
    "binomial_ci.clopper_pearson": partial(_single, interval=proportion.clopper_pearson),
    "noninferiority.diff_proportions.farrington_manning": _farrington_manning,
    "tost.diff_means.welch": _tost,
    "adjust.bonferroni": partial(_adjust, correction=Correction.BONFERRONI),
    "adjust.holm": partial(_adjust, correction=Correction.HOLM),
    "adjust.fdr_bh": partial(_adjust, correction=Correction.BENJAMINI_HOCHBERG),
    "adjust.fdr_by": partial(_adjust, correction=Correction.BENJAMINI_YEKUTIELI),
    "chi_square": _chi_square,
    "exact_binomial": _binomial,
    "dirichlet_multinomial.bayes_factor": _sequential_ratio,
    "dirichlet_multinomial.sequential_p_values": _sequential_ratio,
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
