"""Adapter of plain comparisons, proportions, families of p-values and the sample ratio."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from switchpoint.analysis.inference import contrast, multiplicity, proportion, sample, sequential
from switchpoint.analysis.inference.multiplicity import Correction
from switchpoint.analysis.methods import exact_tests as exact
from switchpoint.analysis.numerics.estimates import Alternative, Distribution
from switchpoint.analysis.validity import sample_ratio
from switchpoint.experiment.definition.types import Direction
from tests.oracles.shared import Declined, Inputs, Method, Outputs, both_scales, moments, outputs, pair, side


def _ratio(inputs: Inputs) -> sample.Sample:
    names = ("n", "mean_num", "mean_den", "var_num", "var_den", "cov")
    return sample.ratio_from_moments(*(inputs[name] for name in names))


def _welch(inputs: Inputs, *, alternative: Alternative = Alternative.TWO_SIDED) -> Outputs:
    chosen = side(inputs, alternative)
    return outputs(
        contrast.effect(
            contrast.from_samples(*pair(inputs, moments)), alpha=inputs.get("alpha", 0.05), alternative=chosen
        )
    )


def _welch_values(inputs: Inputs) -> Outputs:
    if inputs.get("trim"):
        raise Declined("a trimmed mean is another quantity, and nothing is left of one with 80 % zeros")
    return outputs(
        contrast.effect(contrast.from_samples(*pair(inputs, sample.from_values)), alternative=side(inputs))
    )


def _both_scales(inputs: Inputs, *, build: Callable[[Inputs], sample.Sample]) -> Outputs:
    return both_scales(inputs, *pair(inputs, build))


def _delta(inputs: Inputs, *, build: Callable[[Inputs], sample.Sample]) -> Outputs:
    return outputs(contrast.delta_lift(contrast.from_samples(*pair(inputs, build)), alpha=inputs["alpha"]))


def _ratio_effect(inputs: Inputs) -> Outputs:
    return outputs(contrast.effect(contrast.from_samples(*pair(inputs, _ratio)), alpha=inputs["alpha"]))


def _clustered_rows(inputs: Inputs) -> Outputs:
    sides = (
        sample.ratio_from_values(*np.transpose(inputs[f"{side}_clicks_impressions_per_user"]), ddof=0)
        for side in ("control", "treatment")
    )
    return outputs(contrast.effect(contrast.from_samples(*sides), distribution=Distribution.NORMAL))


def _sequence(inputs: Inputs, *, alternative: Alternative = Alternative.TWO_SIDED) -> Outputs:
    both = pair(inputs, moments)
    return outputs(
        contrast.sequence(
            contrast.from_samples(*both),
            n_star=inputs["n_star"],
            alpha=inputs["alpha"],
            alternative=alternative,
        )
    )


def _sequence_relative(inputs: Inputs) -> Outputs:
    control, treatment = pair(inputs, _ratio)
    delta = contrast.delta_lift(contrast.from_samples(control, treatment))
    units = np.add(control.n, treatment.n)
    criterion = contrast.anytime(units, n_star=inputs["n_star"], alpha=inputs["alpha"])
    return outputs(contrast.from_standard_error(delta.estimate, delta.standard_error, criterion))


def _tables(inputs: Inputs) -> tuple[Any, Any, Any, Any]:
    control, treatment = inputs["control"], inputs["treatment"]
    return control["successes"], control["n"], treatment["successes"], treatment["n"]


def _score(inputs: Inputs, *, small_sample: bool = False) -> Outputs:
    if inputs.get("correction"):
        raise Declined("the continuity correction costs power and matches no interval")
    options: dict[str, Any] = {"alpha": inputs.get("alpha", 0.05), "alternative": side(inputs)}
    return outputs(proportion.score_difference(*_tables(inputs), small_sample=small_sample, **options))


def _bounds(both: tuple[Any, Any]) -> Outputs:
    return {"ci_low": both[0], "ci_high": both[1]}


def _newcombe(inputs: Inputs) -> Outputs:
    return _bounds(proportion.newcombe(*_tables(inputs), alpha=inputs["alpha"]))


def _log_ratio(inputs: Inputs) -> Outputs:
    xc, nc, xt, nt = _tables(inputs)
    result = contrast.log_ratio_lift(
        sample.proportion(nc, xc, ddof=0),
        sample.proportion(nt, xt, ddof=0),
        alpha=inputs["alpha"],
        distribution=Distribution.NORMAL,
    )
    return outputs(result.as_ratio())


def _single(inputs: Inputs, *, interval: Callable[..., tuple[Any, Any]]) -> Outputs:
    return _bounds(interval(inputs["successes"], inputs["n"], alpha=inputs["alpha"]))


def _exact(inputs: Inputs, *, test: Callable[..., Any]) -> Outputs:
    return {"p_value": test(*_tables(inputs), alternative=side(inputs))}


def _farrington_manning(inputs: Inputs) -> Outputs:
    direction = {"higher_is_better": Direction.INCREASE, "lower_is_better": Direction.DECREASE}[
        inputs["direction"]
    ]
    return outputs(
        proportion.noninferiority_score(*_tables(inputs), margin=inputs["margin"], direction=direction)
    )


def _tost(inputs: Inputs) -> Outputs:
    control, treatment = pair(inputs, sample.from_values)
    found = contrast.from_samples(control, treatment)
    above, below = (
        contrast.effect(found, alternative=way, null=inputs[bound])
        for way, bound in ((Alternative.GREATER, "low"), (Alternative.LESS, "high"))
    )
    return {
        "p_value": max(above.p_value, below.p_value), "p_lower": above.p_value, "p_upper": below.p_value,
    }  # fmt: skip


def _adjust(inputs: Inputs, *, correction: Correction) -> Outputs:
    return {
        "p_adjusted": multiplicity.adjust(inputs["p_values"], correction),
        "reject": multiplicity.rejected(inputs["p_values"], correction, inputs["alpha"]),
    }


def _chi_square(inputs: Inputs) -> Outputs:
    test = sample_ratio.sample_ratio(inputs["counts"], inputs["weights"])
    return {"statistic": test.statistic, "p_value": test.p_value, "df": test.df}


def _sequential_ratio(inputs: Inputs) -> Outputs:
    arrivals = inputs["batches"] if "batches" in inputs else inputs["data"]
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


METHODS: dict[str, Method] = {
    "welch_t.p_value": _welch,
    "welch_t.from_arrays": _welch_values,
    "mean.abs_and_log_ratio_relative_ci": partial(_both_scales, build=moments),
    "mean.welch.absolute": _welch,
    "mean.welch.relative_delta": partial(_delta, build=moments),
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
    "dirichlet_multinomial.bayes_factor": _sequential_ratio,
    "dirichlet_multinomial.sequential_p_values": _sequential_ratio,
}
