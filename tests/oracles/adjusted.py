"""Adapter of covariate adjustment, strata, regression and quantiles."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from switchpoint.analysis.frame import analyze
from switchpoint.analysis.inference import (
    adjust,
    contrast,
    random_effects,
    sample,
    strata,
)
from switchpoint.analysis.inference.adjust import Adjusted, Theta
from switchpoint.analysis.inference.contrast import Contrast
from switchpoint.analysis.inference.random_effects import Heterogeneity, Pooled, Reference
from switchpoint.analysis.methods import mantel_haenszel as tables
from switchpoint.analysis.methods import quantile, regression
from switchpoint.analysis.methods.regression import Robust
from switchpoint.analysis.numerics.reasons import Reason
from switchpoint.analysis.report.report import Report
from switchpoint.experiment.language.experiment import load_spec
from tests.oracles.shared import Declined, Inputs, Method, Outputs, both_scales, outputs, pair, side


def _mean_joint(inputs: Inputs) -> adjust.Joint:
    covariance = [[inputs["var"], inputs["cov"]], [inputs["cov"], inputs["var_pre"]]]
    return adjust.from_moments(inputs["n"], [inputs["mean"], inputs["mean_pre"]], covariance)


def _ratio_joint(inputs: Inputs) -> adjust.Joint:
    names = ("num", "den", "pnum", "pden")
    cross = {frozenset(("num", "den")): inputs["cov"]}
    cross |= {
        frozenset(pair_): inputs[f"cov_{pair_[0]}_{pair_[1]}"]
        for pair_ in (("num", "pnum"), ("num", "pden"), ("den", "pnum"), ("den", "pden"), ("pnum", "pden"))
    }
    cross |= {frozenset((name,)): inputs[f"var_{name}"] for name in names}
    covariance = [[cross[frozenset((row, column))] for column in names] for row in names]
    return adjust.from_moments(inputs["n"], [inputs[f"mean_{name}"] for name in names], covariance)


def _mean_adjusted(inputs: Inputs) -> Adjusted:
    return adjust.adjust_mean(_mean_joint(inputs["control"]), _mean_joint(inputs["treatment"]))


def _ratio_adjusted(inputs: Inputs, theta: Theta = Theta.TOTAL) -> Adjusted:
    return adjust.adjust_ratio(
        _ratio_joint(inputs["control"]), _ratio_joint(inputs["treatment"]), theta=theta
    )


def _adjusted_scales(inputs: Inputs, *, build: Callable[[Inputs], Adjusted]) -> Outputs:
    found = build(inputs)
    return both_scales(inputs, found.control, found.treatment)


def _adjusted_effect(inputs: Inputs, *, build: Callable[[Inputs], Adjusted]) -> Outputs:
    return outputs(contrast.effect(build(inputs).contrast, alpha=inputs["alpha"], alternative=side(inputs)))


def _mean_lift(inputs: Inputs) -> Outputs:
    found = _mean_adjusted(inputs)
    # the library takes the gradient at the unadjusted lift for means, at the estimate for ratios
    at = contrast.lift(found.unadjusted).estimate
    return outputs(contrast.delta_lift(found.contrast, alpha=inputs["alpha"], at=at))


def _ratio_lift(inputs: Inputs) -> Outputs:
    found = _ratio_adjusted(inputs, Theta.WITHIN)
    return outputs(contrast.delta_lift(found.contrast, alpha=inputs["alpha"]))


def _adjusted_sequence(inputs: Inputs) -> Outputs:
    found = _mean_adjusted(inputs)
    return outputs(
        contrast.sequence(
            found.contrast, n_star=inputs["n_star"], alpha=inputs["alpha"], alternative=side(inputs)
        )
    )


def _strata(inputs: Inputs) -> Contrast:
    sides = [
        sample.from_moments(
            *(np.array([s[name][key] for s in inputs["strata"]]) for key in ("n", "mean", "var"))
        )
        for name in ("control", "treatment")
    ]
    return strata.post_stratify(contrast.from_samples(*sides))


def _post_stratified(inputs: Inputs, *, test: Callable[..., Any]) -> Outputs:
    return outputs(test(_strata(inputs), alpha=inputs.get("alpha", 0.05)))


def _lin(inputs: Inputs) -> Outputs:
    given = np.asarray(inputs["covariate"], float)
    # several covariates may come as columns
    rows = given if given.shape[0] == len(inputs["y"]) else given.T
    return outputs(
        regression.lin_effect(inputs["y"], inputs["treatment"], rows, alpha=inputs.get("alpha", 0.05))
    )


def _clustered(inputs: Inputs, *, robust: Robust) -> Outputs:
    return outputs(
        regression.clustered_effect(inputs["y"], inputs["treatment"], inputs["cluster"], robust=robust)
    )


def _ratio_of_tables(found: tables.CommonRatio) -> Outputs:
    return {
        "odds_ratio_mh": found.odds_ratio, "common_odds_ratio": found.odds_ratio,
        "risk_ratio_mh": found.risk_ratio, "log_odds_se": found.log_odds_error,
        "or_ci_low": found.low, "or_ci_high": found.high, "ci_low": found.low, "ci_high": found.high,
        "cmh_chi2": found.statistic, "cmh_p": found.p_value, "cmh_chi2_cc": found.corrected_statistic,
        "cmh_p_cc": found.corrected_p_value, "statistic_cc": found.corrected_statistic,
        "statistic": found.statistic, "p_value": found.corrected_p_value,
        "breslow_day_chi2": found.breslow_day, "breslow_day_p": found.breslow_day_p,
        "tarone_chi2": found.tarone, "tarone_p": found.tarone_p,
    }  # fmt: skip


def _mantel_haenszel(inputs: Inputs) -> Outputs:
    cells = np.asarray(inputs["tables_treated_control_by_success_failure"])
    counts, n = cells[..., 0], cells.sum(axis=-1)
    return _ratio_of_tables(tables.mantel_haenszel(counts[:, 1], n[:, 1], counts[:, 0], n[:, 0]))


def _mantelhaen(inputs: Inputs) -> Outputs:
    # response × group × stratum, first response and first group counted
    counts = next(value for key, value in inputs.items() if key.startswith("counts"))
    cells = np.reshape(counts, inputs["dim"], order="F")
    n = cells.sum(axis=0)
    return _ratio_of_tables(tables.mantel_haenszel(cells[0, 1], n[1], cells[0, 0], n[0]))


_STRATA = """
metrics: [{key: success, type: proportion, role: primary}]
decision: {design: fixed, mde: 20%, min_runtime: 7d, max_runtime: 60d}
source:
  shape: counts
  variant: variant
  control: first
  segment: stratum
  columns: {success: {n: n, sum: x}}
"""


def _simpson(inputs: Inputs) -> Outputs:
    """The report of a table, control first: the rates of all strata come from the mix of each."""
    name, other = next(iter(inputs.values()))
    table = pa.Table.from_pylist(
        [
            {"variant": variant, "stratum": stratum, "n": n, "x": x}
            for variant in (other, name)
            for stratum, one in inputs.items()
            for x, n in [one[variant]]
        ]
    )
    found = analyze(table, load_spec(_STRATA))
    assert isinstance(found, Report)
    pooled = found.matured.metrics[0].comparisons[0].pooled
    assert pooled is not None
    rates = {f"rate_{other}_{row.stratum}": row.control_value for row in pooled.mix}
    rates |= {f"rate_{name}_{row.stratum}": row.variant_value for row in pooled.mix}
    whole = {
        f"rate_{other}_all": sum(row.share_control * (row.control_value or 0.0) for row in pooled.mix),
        f"rate_{name}_all": sum(row.share_variant * (row.variant_value or 0.0) for row in pooled.mix),
    }
    return rates | whole | {"reversal": pooled.simpson}


def _order_interval(inputs: Inputs) -> Outputs:
    low, high = quantile.order_interval(
        inputs["x"], inputs["quantile"], alpha=inputs["alpha"], alternative=side(inputs)
    )
    # the library says NaN where the sample has no value far enough out
    return {"ci_low": np.nan if np.isinf(low) else low, "ci_high": np.nan if np.isinf(high) else high}


def _quantiles(inputs: Inputs, *, test: Callable[..., Any]) -> Outputs:
    def one(part: Inputs) -> sample.Sample:
        return quantile.from_interval(
            part["n"], part["q"], part["lo"], part["hi"], probability=inputs["quantile"],
            read_at=part.get("n_star"),
        )  # fmt: skip

    return outputs(test(contrast.from_samples(*pair(inputs, one)), alpha=inputs["alpha"]))


def _clustered_quantiles(inputs: Inputs, *, test: Callable[..., Any]) -> Outputs:
    def one(part: Inputs) -> sample.Sample:
        inflation = quantile.cluster_inflation(
            part["nu"], part["n_clusters"], part["main_sum"], part["main_sum_squares"],
            part["denominator_sum"], part["denominator_sum_squares"], part["main_denominator_sum_product"],
        )  # fmt: skip
        return quantile.from_interval(
            part["n"], part["quantile_hat"], part["quantile_lower"], part["quantile_upper"],
            probability=part["nu"], read_at=part["n_star"], inflation=inflation,
        )  # fmt: skip

    found = test(contrast.from_samples(*pair(inputs, one)), alpha=inputs["alpha"])
    if found.why_not() is Reason.IMPOSSIBLE_MOMENTS:
        raise Declined(
            "the sums contradict each other (the covariance of events and rows exceeds the product of their "
            "standard deviations, so the clustered variance is negative); the library puts 1e-5 in its place"
        )
    return outputs(found)


def _pooled(found: Pooled) -> Outputs:
    return {
        "tau2": found.tau2, "mean": found.mean, "se": found.standard_error, "q": found.q, "q_p": found.q_p,
        "i2_percent": found.i2_percent, "blup": found.shrunk, "blup_se": found.shrunk_error,
        "ci_low": found.low, "ci_high": found.high, "p_value": found.p_value,
    }  # fmt: skip


def _random_effects(
    inputs: Inputs, *, method: Heterogeneity = Heterogeneity.REML, reference: Reference = Reference.NORMAL
) -> Outputs:
    return _pooled(
        random_effects.pool_effects(
            inputs["effects"], inputs["variances"], alpha=inputs.get("alpha", 0.05), heterogeneity=method,
            reference=reference,
        )
    )  # fmt: skip


# metafor's dat.bcg (Colditz et al. 1994): tuberculosis and units of vaccinated, of controls, 13 trials
_BCG = (
    (4, 123, 11, 139), (6, 306, 29, 303), (3, 231, 11, 220), (62, 13598, 248, 12867), (33, 5069, 47, 5808),
    (180, 1541, 372, 1451), (8, 2545, 10, 629), (505, 88391, 499, 88391), (29, 7499, 45, 7277),
    (17, 1716, 65, 1665), (186, 50634, 141, 27338), (5, 2498, 3, 2341), (27, 16913, 29, 17854),
)  # fmt: skip


def _bcg(inputs: Inputs) -> Outputs:
    xt, nt, xc, nc = np.transpose(_BCG)
    effects, variances = random_effects.log_risk_ratio(xc, nc, xt, nt)
    return _random_effects({"effects": effects, "variances": variances})


_KNHA = Reference.HARTUNG_KNAPP

METHODS: dict[str, Method] = {
    "mean.cuped_pooled_theta": partial(_adjusted_scales, build=_mean_adjusted),
    "ratio_of_means.cuped_ratio_covariate": partial(_adjusted_scales, build=_ratio_adjusted),
    "cuped.welch.absolute": partial(_adjusted_effect, build=_mean_adjusted),
    "cuped.welch.relative_delta": _mean_lift,
    "ratio_cuped.welch.absolute": partial(
        _adjusted_effect, build=partial(_ratio_adjusted, theta=Theta.WITHIN)
    ),
    "ratio_cuped.welch.relative_delta": _ratio_lift,
    "asymptotic_cs.cuped": _adjusted_sequence,
    "lin2013_interacted.HC2": _lin,
    "cluster_randomised.CR2_satterthwaite": partial(_clustered, robust=Robust.CR2),
    "post_stratified_mean.absolute": partial(_post_stratified, test=contrast.effect),
    "post_stratified_mean.relative": partial(_post_stratified, test=contrast.delta_lift),
    "mantel_haenszel": _mantel_haenszel,
    "mantelhaen.UCBAdmissions": _mantelhaen,
    "simpson.kidney_stones": _simpson,
    "order_statistic_ci": _order_interval,
    "quantile_diff.absolute": partial(_quantiles, test=contrast.effect),
    "quantile_diff.relative": partial(_quantiles, test=contrast.delta_lift),
    "quantile_diff.clustered": partial(_clustered_quantiles, test=contrast.effect),
    "random_effects_blup.REML": _random_effects,
    "random_effects_hartung_knapp.REML": partial(_random_effects, reference=_KNHA),
    "random_effects.REML": _random_effects,
    "random_effects.DL": partial(_random_effects, method=Heterogeneity.DERSIMONIAN_LAIRD),
    "random_effects_blup.DL": partial(_random_effects, method=Heterogeneity.DERSIMONIAN_LAIRD),
    "random_effects_hartung_knapp.DL": partial(
        _random_effects, method=Heterogeneity.DERSIMONIAN_LAIRD, reference=_KNHA
    ),
    "random_effects.REML.bcg": _bcg,
}
