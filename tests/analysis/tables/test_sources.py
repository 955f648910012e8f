"""Every shape of a source: events, clusters, covariates, ratios of counts, rows that are cumulative."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchpoint.analysis.evidence.evidence import Evidence
from switchpoint.analysis.frame import analyze, evidence_of
from switchpoint.analysis.report.report import BatchReport, Report
from switchpoint.analysis.results.judgement import Comparison
from switchpoint.experiment.definition.types import Experiment
from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.language.experiment import load, load_spec
from switchpoint.experiment.ledger.event import Event, Exposure
from switchpoint.experiment.ledger.fold import fold
from switchpoint.experiment.ledger.moments import Moments
from switchpoint.experiment.ledger.plan import ledger_plan
from switchpoint.experiment.registry.lifecycle import create, start

DECISION = "decision: {design: fixed, mde: 20%, min_runtime: 1d, max_runtime: 60d}\n"
T0 = 1_600_000_000_000
EVENTS = """
key: shop
unit: user
variants: [{key: a}, {key: b}]
metrics:
  - {key: buyers, type: proportion, event: buy, role: primary}
  - {key: revenue, type: mean, event: buy, value: amount, decimals: 2, cap: 9}
  - {key: basket, type: ratio, numerator: {event: buy, value: amount, cap: 8}, denominator: visit, decimals: 2}
window: 1d
decision: {design: fixed, mde: 20%, min_runtime: 1d, max_runtime: 60d}
source:
  shape: events
  assignment: randomised
  experiment: {key: shop}
  unit: user
  variant: variant
  served: shown
  weights: equal
  exposures: {table: exposures.parquet, id: id, at: at}
  outcomes: {table: outcomes.parquet, id: id, type: kind, at: at, value: amount}
"""
users = st.sampled_from(["u1", "u2", "u3"])
times = st.integers(T0, T0 + 3 * 86_400_000)
exposure = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["x1", "x2", "x3", "x4"]), "user": users, "at": times,
        "variant": st.sampled_from(["a", "a", "b"]), "shown": st.sampled_from(["a", "a", "a", "b"]),
    }
)  # fmt: skip
outcome = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["o1", "o2", "o3", "o4"]), "user": users, "at": times,
        "kind": st.sampled_from(["buy", "visit", "other"]),
        "amount": st.sampled_from([0.0, 0.005, 1.125, 2.675, 12.0, -3.335]),
    }
)  # fmt: skip


def as_events(exposures: list[dict[str, Any]], outcomes: list[dict[str, Any]]) -> list[Event]:
    """The rows as the events a ledger would get; ids of the two tables are kept apart."""
    found = [
        Event(
            id=f"x-{row['id']}", type="exposure", unit=row["user"], at=row["at"],
            exposure=Exposure(
                experiment="shop", variant=row["variant"], segment="all", epoch=1, revision=1, propensity=0.5,
                served=row["shown"],
            ),
        )
        for row in exposures
    ]  # fmt: skip
    return found + [
        Event(
            id=f"o-{row['id']}", type=row["kind"], unit=row["user"], at=row["at"],
            properties={"amount": row["amount"]},
        )
        for row in outcomes
    ]  # fmt: skip


def held(evidence: Evidence, definition: Experiment) -> dict[tuple[str, int, bool], tuple[object, ...]]:
    """The integers of the evidence by variant, day and contamination."""
    cells = evidence.cells
    return {
        (definition.variants[int(cells.variant[i])].key, int(cells.day[i]), bool(cells.contaminated[i])): (
            *(int(c) for c in cells.counts[i]),
            *(tuple(int(getattr(t, part)[i]) for part in ("x", "xx", "y", "yy", "xy")) for t in cells.totals),
        )
        for i in range(len(cells.day))
    }


def of_ledger(moments: Moments) -> dict[tuple[str, int, bool], tuple[object, ...]]:
    return {
        (k.variant, k.day, k.contaminated): (
            c.n, c.exposures, c.fallbacks, c.mismatches, c.carried, *map(tuple, c.metrics),
        )
        for k, c in moments.items()
    }  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(exposure, min_size=1, max_size=8), st.lists(outcome, min_size=1, max_size=12))
def test_two_tables_of_events_hold_the_integers_of_the_reference_fold(
    exposures: list[dict[str, Any]], outcomes: list[dict[str, Any]]
) -> None:
    """Repeated ids, several variants, times before and after the window, refunds, rounding, caps."""
    definition = load(EVENTS)
    state = start(create(definition, ordinal=1, at=0, actor="a"), digests={}, at=0, actor="a")
    moments = fold(as_events(exposures, outcomes), ledger_plan([state]))
    found = evidence_of(pl.DataFrame(exposures), definition, pl.DataFrame(outcomes))
    assert held(found, definition) == of_ledger(moments)


def report(table: Any, text: str, **more: Any) -> Report:
    found = analyze(table, load_spec(DECISION + text), **more)
    assert isinstance(found, Report)
    return found


def first(found: Report) -> Comparison:
    return found.matured.metrics[0].comparisons[0]


def test_events_in_one_table_are_refused() -> None:
    with pytest.raises(BadInput, match="second table"):
        evidence_of(pa.table({"user": ["u"]}), load(EVENTS))
    row = {"id": ["x"], "user": ["u"], "at": [T0], "variant": ["a"], "shown": ["a"]}
    with pytest.raises(BadInput, match="no column 'kind'"):
        evidence_of(pa.table(row), load(EVENTS), pa.table({"id": ["o"], "user": ["u"]}))


RATIO = """
metrics: [{key: ctr, type: ratio, numerator: click, denominator: view, role: primary}]
source:
  shape: %s
  assignment: randomised
  variant: group
  weights: equal
  columns: {ctr: {%s}}
"""


def test_sums_of_a_ratio_say_what_its_units_say() -> None:
    rng = np.random.default_rng(1)
    views = rng.integers(1, 30, 4000)
    clicks = rng.binomial(views, 0.1)
    group = np.where(np.arange(4000) % 2, "b", "a")
    units = {"group": group.tolist(), "clicks": clicks.tolist(), "views": views.tolist()}
    sums: dict[str, list[Any]] = {"group": ["a", "b"], "n": [2000, 2000]}
    for name, column in (
        ("s", clicks),
        ("ss", clicks**2),
        ("d", views),
        ("dd", views**2),
        ("p", clicks * views),
    ):
        sums[name] = [int(column[group == g].sum()) for g in ("a", "b")]
    by_unit = first(report(pa.table(units), RATIO % ("units", "numerator: clicks, denominator: views")))
    roles = "n: n, sum: s, sum_squares: ss, denominator_sum: d, denominator_sum_squares: dd, sum_products: p"
    assert first(report(pa.table(sums), RATIO % ("counts", roles))) == by_unit


def test_impossible_products_are_refused() -> None:
    table = {
        "group": ["a", "b"], "n": [10, 10], "s": [5, 5], "ss": [5, 5], "d": [20, 20], "dd": [60, 60], "p": [10, 900],
    }  # fmt: skip
    roles = "n: n, sum: s, sum_squares: ss, denominator_sum: d, denominator_sum_squares: dd, sum_products: p"
    with pytest.raises(BadInput, match="beyond what these sums") as caught:
        report(pa.table(table), RATIO % ("counts", roles))
    assert caught.value.field == "row 2, column p"


CUMULATIVE = """
metrics: [{key: spend, type: mean, role: primary}]
source:
  shape: moments
  assignment: randomised
  variant: group
  day: day
  cumulative: true
  weights: equal
  columns: {spend: {n: n, mean: mean, variance: variance}}
"""


def cumulative(changed: dict[tuple[str, str], int] | None = None) -> pa.Table:
    """Two variants whose users grow from day to day; every row holds everything so far."""
    rng, rows = np.random.default_rng(5), []
    for group, shift in (("a", 0.0), ("b", 1.0)):
        values = rng.normal(10 + shift, 3, 900)
        for day in range(1, 10):
            so_far = values[: day * 100] * (1 + day / 10)  # totals grow for old users too
            rows.append({
                "group": group, "day": f"2026-01-{day:02d}", "n": (changed or {}).get((group, f"{day}"), day * 100),
                "mean": float(so_far.mean()), "variance": float(so_far.var(ddof=1)),
            })  # fmt: skip
    return pa.Table.from_pylist(rows)


def test_cumulative_rows_are_read_where_they_stand() -> None:
    """The last row of a variant is its result; earlier rows are the series, never added up."""
    found = report(cumulative(), CUMULATIVE)
    comparison = first(found)
    assert comparison.estimate is not None
    assert found.matured.n == 1800
    assert found.matured.days == 9
    assert comparison.estimate.control_value == pytest.approx(19 * 10 / 10, rel=0.02)
    assert len(comparison.daily) == 9
    assert comparison.daily[-1].effect == comparison.estimate.effect
    assert [point.n_control for point in comparison.daily] == [100 * day for day in range(1, 10)]
    assert [point.n_control_day for point in comparison.daily] == [100] * 9


@pytest.mark.parametrize(("day", "n"), [("5", 300), ("9", 0)])
def test_cumulative_units_never_get_fewer(day: str, n: int) -> None:
    with pytest.raises(BadInput, match="fewer units than on the day before"):
        report(cumulative({("a", day): n}), CUMULATIVE)


def test_a_missing_day_stands_as_the_day_before() -> None:
    table = cumulative()
    without = table.filter(
        pa.array(
            [
                not (g == "b" and d == "2026-01-04")
                for g, d in zip(table["group"].to_pylist(), table["day"].to_pylist(), strict=True)
            ]
        )
    )
    series = first(report(without, CUMULATIVE)).daily
    assert [p.n_variant for p in series[:5]] == [100, 200, 300, 300, 500]


UNITS = """
metrics: [{key: spend, type: mean, event: buy, value: amount, decimals: 2, role: primary}]
source:
  shape: units
  assignment: randomised
  variant: group
  unit: user
  weights: equal
  columns: {spend: spend}
"""


def households(seed: int = 3, clusters: int = 400) -> dict[str, list[Any]]:
    rng = np.random.default_rng(seed)
    size = rng.integers(1, 6, clusters)
    house = np.repeat(np.arange(clusters), size)
    taste = rng.normal(0, 4, clusters)
    spend = np.maximum(20 + taste[house] + rng.normal(0, 3, len(house)), 0).round(2)
    return {
        "user": [f"u{i}" for i in range(len(house))], "house": [f"h{h}" for h in house],
        "group": ["b" if h % 2 else "a" for h in house], "spend": spend.tolist(),
    }  # fmt: skip


def test_clusters_are_what_is_compared_when_clusters_were_randomised() -> None:
    """Oracle: OLS of spend on variant with errors clustered by household (statsmodels, CR0 by hand)."""
    import statsmodels.api as sm

    table = households()
    text = UNITS.replace("unit: user", "unit: user\n  cluster: house")
    found = report(pa.table(table), text)
    estimate = first(found).estimate
    assert estimate is not None
    assert (estimate.n_control, estimate.n_variant) == (200, 200)
    y = np.array(table["spend"])
    x = sm.add_constant((np.array(table["group"]) == "b").astype(float))
    groups = np.unique(table["house"], return_inverse=True)[1]
    fit = sm.OLS(y, x).fit(cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False})
    assert estimate.effect == pytest.approx(fit.params[1], rel=1e-9)
    # CR0 divides by n, the delta method of each variant by n − 1
    assert estimate.standard_error == pytest.approx(fit.bse[1] * (200 / 199) ** 0.5, rel=1e-6)
    plain = first(report(pa.table(table), UNITS)).estimate
    assert plain is not None
    assert estimate.standard_error > 1.2 * plain.standard_error
    assert found.evidence.grade == "clustered"


def test_a_covariate_shrinks_the_interval_and_the_plain_result_stands_beside() -> None:
    """Oracle: the effect of ANCOVA with one slope is d − θ·(difference of the covariate)."""
    rng = np.random.default_rng(7)
    before = rng.gamma(2, 20, 6000).round(2)
    group = np.where(np.arange(6000) % 2, "b", "a")
    spend = np.maximum(before * 0.9 + rng.normal(0, 6, 6000) + 1.0 * (group == "b"), 0).round(2)
    table = {
        "user": list(range(6000)), "group": group.tolist(), "spend": spend.tolist(), "past": before.tolist(),
    }  # fmt: skip
    found = first(report(pa.table(table), UNITS + "  covariate: {spend: past}\n"))
    assert found.estimate is not None
    assert found.unadjusted is not None
    t = group == "b"
    theta = np.cov(spend, before)[0, 1] / before.var(ddof=1)
    effect = spend[t].mean() - spend[~t].mean() - theta * (before[t].mean() - before[~t].mean())
    assert found.estimate.effect == pytest.approx(effect, rel=1e-9)
    assert found.unadjusted.effect == pytest.approx(spend[t].mean() - spend[~t].mean(), rel=1e-9)
    correlation = np.corrcoef(spend, before)[0, 1]
    assert found.unadjusted.reduction == pytest.approx(correlation**2, abs=0.01)
    assert found.estimate.standard_error < 0.5 * found.unadjusted.standard_error
    assert found.sufficiency is not None
    plain = first(report(pa.table(table), UNITS)).sufficiency
    assert plain is not None
    assert (found.sufficiency.n_needed or 0) < 0.4 * (plain.n_needed or 0)


def test_a_ratio_wants_a_covariate_for_each_side() -> None:
    table = {"group": ["a", "b"], "c": [1, 1], "v": [2, 2], "past": [1, 2]}
    text = RATIO % ("units", "numerator: c, denominator: v") + "  covariate: {ctr: past}\n"
    with pytest.raises(BadInput, match="numerator, denominator"):
        report(pa.table(table), text)


def test_a_missing_covariate_is_a_unit_that_was_never_seen_before() -> None:
    table = households() | {"past": [None, *range(len(households()["user"]) - 1)]}
    zero = table | {"past": [0, *table["past"][1:]]}
    text = UNITS + "  covariate: {spend: past}\n"
    assert first(report(pa.table(table), text)) == first(report(pa.table(zero), text))


def test_many_experiments_of_events_share_their_outcomes() -> None:
    exposures = {
        "test": ["p", "p", "q", "q"], "user": ["1", "2", "1", "3"], "arm": ["a", "b", "b", "a"],
        "at": [T0, T0, T0 + 5, T0],
    }  # fmt: skip
    outcomes = {"user": ["1", "3", "4"], "kind": ["buy"] * 3, "at": [T0 + 10, T0 + 10, T0]}
    text = """
metrics: [{key: buyers, type: proportion, event: buy, role: primary}]
source:
  shape: events
  assignment: randomised
  experiment: test
  unit: user
  variant: arm
  control: first
  exposures: {table: x, at: at}
  outcomes: {table: y, type: kind, at: at}
"""
    found = analyze(pa.table(exposures), load_spec(DECISION + text), outcomes=pa.table(outcomes))
    assert isinstance(found, BatchReport)
    evidence = evidence_of(pa.table(exposures), load_spec(DECISION + text), pa.table(outcomes))
    totals = evidence.totals(0, evidence.clean())
    names = [subject.variants for subject in evidence.subjects]
    assert names == [("a", "b"), ("b", "a")]
    assert np.asarray(totals.x)[:, 0].tolist() == [[1, 0], [1, 1]]
