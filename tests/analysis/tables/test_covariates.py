"""Covariates from exposures: the ledger and a file of the same units give the same integers and reports."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchpoint.analysis.analyze import analyze_ledger
from switchpoint.analysis.evidence.moments import Exact
from switchpoint.analysis.frame import analyze, evidence_of
from switchpoint.analysis.inference.adjust import adjust_mean
from switchpoint.analysis.report.report import Report
from switchpoint.analysis.results.judgement import Comparison
from switchpoint.experiment.definition.state import ExperimentState
from switchpoint.experiment.errors import BadInput, DefinitionError
from switchpoint.experiment.language import experiment as parsing
from switchpoint.experiment.language.experiment import load, load_spec
from switchpoint.experiment.ledger import importing as history
from switchpoint.experiment.ledger.fold import fold
from switchpoint.experiment.ledger.moments import Moments
from switchpoint.experiment.ledger.plan import ledger_plan
from switchpoint.experiment.registry.lifecycle import create, start
from tests.analysis.cases import of_sums
from tests.analysis.inference.strategies import joint_of

TEXT = """
key: shop
unit: user
variants: [{key: a}, {key: b}]
metrics:
  - {key: spend, type: mean, event: buy, value: amount, decimals: 2, cap: 500, role: primary, covariate: past_spend}
  - {key: buyers, type: proportion, event: buy, covariate: {value: score, decimals: 3}}
  - {key: ctr, type: ratio, numerator: click, denominator: view, covariate: {numerator: old_clicks, denominator: old_views}}
window: 1d
decision: {design: sequential, mde: 10%, min_runtime: 7d}
source:
  shape: units
  assignment: randomised
  experiment: {key: shop}
  variant: group
  unit: user
  day: at
  weights: equal
  columns: {spend: amount, buyers: bought, ctr: {numerator: c, denominator: v}}
  covariate: {spend: past, buyers: score, ctr: {numerator: oc, denominator: ov}}
"""
DAY_MS, T0 = 86_400_000, 1_700_006_400_000


def shop(seed: int = 5, users: int = 3000) -> dict[str, list[Any]]:
    """Buyers whose spending and clicking follows their past; of one in eight nothing is known."""
    rng = np.random.default_rng(seed)
    level = rng.gamma(2, 20, users)
    past = np.round(level * rng.uniform(0.8, 1.2, users), 2)
    bought = rng.random(users) < np.clip(level / 100, 0, 1)
    views = rng.poisson(6, users)
    new = rng.random(users) < 0.125
    return {
        "user": [f"u{i}" for i in range(users)], "group": ["ab"[i % 2] for i in range(users)],
        "at": [T0 + int(i) * DAY_MS for i in rng.integers(0, 9, users)],
        "amount": np.where(bought, np.round(level + rng.normal(0, 3, users), 2), 0.0).tolist(),
        "bought": bought.astype(int).tolist(), "c": rng.binomial(views, 0.3).tolist(), "v": views.tolist(),
        "past": [None if n else float(p) for n, p in zip(new, past, strict=True)],
        "score": np.round(np.clip(level / 100, 0, 1), 3).tolist(),
        "oc": rng.poisson(2, users).tolist(), "ov": rng.poisson(6, users).tolist(),
    }  # fmt: skip


def imported(table: dict[str, list[Any]]) -> tuple[ExperimentState, Moments]:
    """The live experiment that holds the table's rows."""
    definition = load(TEXT)
    state = start(create(definition, ordinal=1, at=0, actor="a"), digests={}, at=0, actor="a")
    rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    return state, fold(history.events(definition, rows), ledger_plan([state]))


def first(report: Report, metric: int = 0) -> Comparison:
    return report.matured.metrics[metric].comparisons[0]


numbers = st.none() | st.sampled_from([0, 1, 2.5, 0.125, 2.675, -7.005, 123.4567, 1e9, -3])
visits = st.fixed_dictionaries(
    {
        "user": st.integers(0, 4).map("u{}".format), "group": st.sampled_from("ab"),
        "at": st.integers(T0, T0 + 3 * DAY_MS), "amount": st.sampled_from([0.0, 9.99, 700, -1.005]),
        "bought": st.integers(1, 2), "c": st.integers(0, 3), "v": st.integers(0, 3),
        "past": numbers, "score": numbers.filter(lambda z: z is None or abs(z) < 1e9),
        "oc": numbers, "ov": numbers,
    }
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(st.lists(visits, min_size=1, max_size=15))
def test_a_file_and_the_ledger_hold_the_same_integers(rows: list[dict[str, Any]]) -> None:
    table = {name: [row[name] for row in rows] for name in rows[0]}
    state, moments = imported(table)
    cells = evidence_of(pl.DataFrame(table, strict=False), state.definition).cells
    found = {}
    for i in range(len(cells.day)):
        variant = state.definition.variants[int(cells.variant[i])].key
        sums = [t.covariates for t in cells.totals if isinstance(t, Exact) and t.covariates is not None]
        place = variant, int(cells.day[i]), bool(cells.contaminated[i])
        found[place] = tuple(tuple(int(p[i]) for p in (*s.z, *s.zz, *s.xz)) for s in sums)
    assert found == {(k.variant, k.day, k.contaminated): c.covariates for k, c in moments.items()}


def test_the_live_report_and_the_analysis_of_the_file_agree_to_the_last_digit() -> None:
    table = shop()
    state, moments = imported(table)
    live = analyze_ledger(state, moments, at=2_000_000_000_000)
    file = analyze(pl.DataFrame(table), state.definition)
    assert isinstance(file, Report)
    assert of_sums(file.to_dict()) == of_sums(live.to_dict())
    for metric in range(3):
        assert first(live, metric).unadjusted is not None


def test_the_live_effect_is_that_of_the_regression_on_the_covariate() -> None:
    """Oracle: d − θ·(difference of the covariate), θ by least squares of all units, unknown ones at 0."""
    table = shop()
    state, moments = imported(table)
    found = first(analyze_ledger(state, moments, at=2_000_000_000_000))
    assert found.estimate is not None
    assert found.unadjusted is not None
    y, z = np.array(table["amount"]), np.array([p or 0.0 for p in table["past"]])
    b = np.array(table["group"]) == "b"
    theta = np.cov(y, z)[0, 1] / z.var(ddof=1)
    effect = y[b].mean() - y[~b].mean() - theta * (z[b].mean() - z[~b].mean())
    assert found.estimate.effect == pytest.approx(effect, rel=1e-9)
    assert found.unadjusted.effect == pytest.approx(y[b].mean() - y[~b].mean(), rel=1e-9)
    assert found.unadjusted.reduction == pytest.approx(np.corrcoef(y, z)[0, 1] ** 2, abs=0.01)


def test_units_of_which_nothing_is_known_leave_the_effect_unbiased() -> None:
    """Over re-randomisations of fixed units the mean adjusted effect is 0, although new units spend less."""
    rng = np.random.default_rng(11)
    past = rng.gamma(2, 20, 400)
    unknown = rng.random(400) < 0.4
    spend = past + rng.normal(0, 5, 400) - 15 * unknown
    known = np.where(unknown, 0.0, past)
    effects = []
    for _ in range(2000):
        order = rng.permutation(400)
        sides = [joint_of(spend[half], known[half]) for half in (order[:200], order[200:])]
        effects.append(float(adjust_mean(*sides).contrast.effect))
    error = np.std(effects) / np.sqrt(len(effects))
    assert abs(np.mean(effects)) < 3 * error
    assert np.std(effects) < 0.8 * 2 * spend.std() / np.sqrt(400)


def test_a_definition_without_covariates_says_nothing_of_them() -> None:
    plain = load(TEXT.split("source:", maxsplit=1)[0].replace(", covariate: past_spend", "").replace(
        ", covariate: {value: score, decimals: 3}", "").replace(
        ", covariate: {numerator: old_clicks, denominator: old_views}", "")
        + "source: {shape: units, variant: g, columns: {spend: s, buyers: b, ctr: {numerator: c, denominator: v}}}\n")  # fmt: skip
    document = parsing.to_document(plain)
    assert not any("covariate" in metric for metric in document["metrics"])
    written = parsing.to_document(load(TEXT))["metrics"]
    assert [metric["covariate"] for metric in written] == [
        "past_spend",
        {"value": "score", "decimals": 3},
        {"numerator": "old_clicks", "denominator": "old_views"},
    ]


def test_a_table_without_a_column_for_the_covariate_is_refused() -> None:
    with pytest.raises(DefinitionError, match="no column for the covariate of 'spend'"):
        load(TEXT.replace("spend: past, ", ""))
    counted = """
metrics: [{key: ctr, type: proportion, event: click, role: primary, covariate: score}]
source: {shape: counts, columns: {ctr: {n: n, sum: s}}}
decision: {mde: 2%}
"""
    with pytest.raises(DefinitionError, match="do not say how units varied together"):
        load_spec(counted)


def test_a_covariate_that_is_no_number_names_row_and_column() -> None:
    table = shop(users=20)
    table["past"][3] = 1e12
    with pytest.raises(BadInput, match="row 4, column past"):
        analyze(pl.DataFrame(table), load(TEXT))
