"""The product agrees with established libraries and published tables on every method it offers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.oracles.__main__ import agrees, cases, differences, run
from tests.oracles.adapter import CONTESTED, DECLINED, METHODS
from tests.oracles.shared import Declined


@pytest.fixture(scope="module")
def oracles(shared: Path) -> Path:
    """The directory of the cases."""
    return shared / "oracles"


UNSUPPORTED = {
    "additional_users.fixed", "additional_users.sequential", "aipw.constant_allocation_weights",
    "aipw.two_point_allocation_weights", "aipw.uniform_weights", "aipw_pseudo_outcome",
    "balanced.ranking_distribution", "california_prop99.did", "california_prop99.did_estimate",
    "california_prop99.sc", "california_prop99.sc_estimate", "california_prop99.synthdid_estimate",
    "did.collapsed_geo_changes.welch", "did_2x2.cluster_CR1", "exact_binomial", "inflation_factor.OF",
    "inflation_factor.OF.two_sided", "inflation_factor.P", "inflation_factor.P.two_sided",
    "ipw.uniform_weights", "lyapunov_asymptotic_cs.ate_ipw_varying_propensity",
    "lyapunov_asymptotic_cs.mean", "minimum_attainable_p", "ml.cbpe.closed_form_calibrated_differs",
    "ml.cbpe.closed_form_perfectly_calibrated", "ml.cbpe.end_to_end_isotonic_600_200",
    "ml.cbpe.end_to_end_realised", "ml.chi2", "ml.classification", "ml.divergence", "ml.fairness",
    "ml.ks", "ml.raters.agreement.cohen_kappa.krippendorff_nominal", "ml.raters.ci_high.ci_low.point",
    "ml.raters.cohen_kappa.cohen_kappa_linear", "ml.raters.krippendorff_nominal", "ml.sequential.cusum",
    "ml.sequential.sr", "ml.uncertainty", "ml.wasserstein", "obrien_fleming.z_bounds",
    "ope.direct_method", "ope.doubly_robust", "ope.dr_optimistic_shrinkage_lambda3", "ope.ipw",
    "ope.replay_method", "ope.self_normalized_dr", "ope.snipw", "ope.switch_dr_lambda2",
    "permutation.darwin_zea_mays", "permutation.independent.diff_means", "permutation.paired_sign_flip",
    "permutation.sign_flip.darwin_zea_mays", "pocock.z_bounds", "team_draft.credit",
    "team_draft.ranking_distribution", "thompson.weights", "twfe.absorbed_fe.CRV3",
    "twfe.wild_cluster_bootstrap_p",
}  # fmt: skip
"""Methods of the cases that the product does not offer."""


@pytest.mark.parametrize("name", ["group_sequential", "power", "sample_size"])
def test_the_cases_of_planning_agree(oracles: Path, name: str) -> None:
    """Alone, so that a fault of planning is seen within a second."""
    for case in json.loads((oracles / f"{name}.json").read_text(encoding="utf-8"))["cases"]:
        if case["method"] in METHODS and case["id"] not in CONTESTED:
            try:
                got = METHODS[case["method"]](case["inputs"])
            except Declined:
                continue
            assert differences(case, got) == []


def test_no_case_of_an_offered_method_fails(oracles: Path) -> None:
    """Every case is accounted for, so one that silently drops out is noticed."""
    result = run(oracles)
    assert result["failures"] == []
    assert {key: result[key] for key in ("passed", "failed", "unsupported", "declined")} == {
        "passed": 188, "failed": 0, "unsupported": 81, "declined": 7,
    }  # fmt: skip
    assert [case["id"] for case in result["contested"]] == list(CONTESTED)
    assert set(result["unsupported_methods"]) == UNSUPPORTED


def test_passes_that_no_user_gets_are_counted_apart(oracles: Path) -> None:
    """A case counts as reached when a command, a door or the client reaches all that its adapter calls."""
    result = run(oracles)
    apart = result["methods_without_a_command"]
    assert (result["passed"], result["passed_without_a_command"], len(apart)) == (188, 98, 44)
    assert {"fisher_exact", "quantile_diff.absolute", "dunnett.two_sided"} <= apart.keys()
    assert not {"mean.welch", "z_test.pooled", "chi_square"} & apart.keys()


def test_declined_and_contested_cases_are_few_and_reasoned(oracles: Path) -> None:
    result = run(oracles)
    total = sum(1 for _ in cases(oracles))
    assert result["declined"] <= total / 10
    reasons = [case["reason"] for case in result["declined_cases"]]
    assert all(len(reason) > 20 for reason in [*reasons, *DECLINED.values(), *CONTESTED.values()])
    assert not DECLINED.keys() & METHODS.keys()


def test_tolerances_are_applied_element_by_element() -> None:
    assert agrees([1.0, 2.0], [1.0, 2.0 + 1e-7], rel=1e-6, abs_=0)
    assert not agrees([1.0, 2.1], [1.0, 2.0], rel=1e-6, abs_=0)
    assert not agrees([1.0], [1.0, 2.0], rel=1, abs_=1)
    assert agrees(float("-inf"), "-inf", rel=0, abs_=0)
    assert not agrees(None, 1.0, rel=1, abs_=1)
    assert not agrees(float("nan"), 1.0, rel=1, abs_=1)
