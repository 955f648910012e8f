"""Tables in memory: every shape, every library, and every way a table can be wrong."""

from __future__ import annotations

from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchpoint.analysis.analyze import analyze_ledger
from switchpoint.analysis.frame import analyze, evidence_of
from switchpoint.analysis.report.report import BatchReport, Report
from switchpoint.analysis.results.judgement import Severity
from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.language.experiment import load, load_spec
from switchpoint.experiment.ledger import importing as history
from switchpoint.experiment.ledger.fold import fold
from switchpoint.experiment.ledger.plan import ledger_plan
from switchpoint.experiment.registry.decision import VerdictKind
from switchpoint.experiment.registry.lifecycle import create, start
from tests.analysis.cases import of_sums

DECISION = "decision: {design: fixed, mde: 20%, min_runtime: 1d, max_runtime: 60d}\n"
COUNTS = (
    DECISION
    + """
metrics: [{key: ctr, type: proportion, role: primary}]
source:
  shape: counts
  assignment: randomised
  variant: group
  weights: equal
  columns: {ctr: {n: users, sum: clicks}}
"""
)
TABLE: dict[str, list[Any]] = {"group": ["a", "b"], "users": [20_000, 20_000], "clicks": [1000, 1300]}


def single(table: Any, text: str = COUNTS) -> Report:
    found = analyze(table, load_spec(text))
    assert isinstance(found, Report)
    return found


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_every_library_gives_the_same_report(make: Any) -> None:
    found = single(make(TABLE))
    assert (found.verdict.kind, found.verdict.variant) == (VerdictKind.PROMOTE, "b")
    assert found.to_dict() == single(pa.table(TABLE)).to_dict()


def test_without_days_the_runtime_is_taken_for_granted_and_said() -> None:
    assert any("does not say on which days" in warning for warning in single(pa.table(TABLE)).warnings)


def test_an_unknown_assignment_never_promotes() -> None:
    found = single(pa.table(TABLE), COUNTS.replace("assignment: randomised", "assignment: unknown"))
    assert found.verdict.kind is VerdictKind.CONTINUE
    assert found.evidence.grade == "descriptive"


def test_a_column_may_say_how_each_row_was_assigned() -> None:
    text = COUNTS.replace("assignment: randomised", "assignment: how")
    good = pa.table(TABLE | {"how": ["randomised", "Randomised"]})
    assert single(good, text).verdict.kind is VerdictKind.PROMOTE
    mixed = pa.table(TABLE | {"how": ["randomised", "by hand"]})
    assert single(mixed, text).verdict.kind is VerdictKind.CONTINUE


def test_unknown_weights_are_asked_for_not_accused() -> None:
    found = single(pa.table(TABLE), COUNTS.replace("  weights: equal\n", ""))
    ratio = found.matured.sample_ratio[0]
    assert (ratio.p, ratio.severity) == (None, Severity.WARN)
    asked = next(check for check in found.checks if check.name == "sample ratio")
    assert asked.severity is Severity.GATE
    assert asked.message.startswith("The intended weights are not known")
    assert "`weights: equal`, or `weights: {a: ..., b: ...}`" in asked.message
    assert found.verdict.kind is VerdictKind.CONTINUE
    assert found.verdict.headline.startswith("Continue: the intended weights are not known.")
    assert found.verdict.reasons[0] == asked.message
    assert single(pa.table(TABLE), COUNTS).verdict.kind is VerdictKind.PROMOTE


def test_unknown_weights_of_units_nobody_says_were_randomised_are_only_worth_a_word() -> None:
    text = COUNTS.replace("  weights: equal\n", "").replace("assignment: randomised", "assignment: unknown")
    found = single(pa.table(TABLE), text)
    assert any(warning.startswith("The intended weights are not known") for warning in found.warnings)
    assert "sample ratio" not in found.verdict.headline


@pytest.mark.parametrize(
    ("control", "expected"), [("b", "b"), ("first", "a"), ("largest", "b")], ids=["value", "first", "largest"]
)
def test_control_is_a_value_the_first_or_the_largest(control: str, expected: str) -> None:
    text = COUNTS.replace("  weights: equal\n", f"  control: {control}\n")
    found = single(pa.table(TABLE | {"users": [20_000, 20_001]}), text)
    assert found.header.variants[0].key == expected


def test_rows_are_chosen_by_the_condition() -> None:
    table = {name: [*column, *column] for name, column in TABLE.items()} | {
        "country": ["US", "US", "CA", "CA"]
    }
    found = single(pa.table(table), COUNTS + "  eligible: {country: US}\n")
    assert found.matured.n == 40_000


def test_many_experiments_in_one_table_give_one_row_each() -> None:
    table = {
        "test": ["x", "x", "y", "y", "z"], "users": [20_000, 20_000, 100, 900, 50], "clicks": [1000, 1300, 5, 5, 1],
        "week": [202001, 202001, 202030, 202030, 202030],
    }  # fmt: skip
    text = COUNTS.replace("variant: group", "experiment: test\n  control: first\n  day: week").replace(
        "1d", "7d"
    )
    found = analyze(pa.table(table), load_spec(text))
    assert isinstance(found, BatchReport)
    assert [(row.experiment, row.verdict.value) for row in found.rows] == [
        ("x", "promote"), ("y", "invalid"), ("z", "invalid"),
    ]  # fmt: skip
    assert found.rows[0].promoted == "2"
    assert found.rows[0].first_day == "2020-01-06"
    assert [(s.group, s.experiments, s.srm_flagged) for s in found.summaries] == [
        ("all", 3, 1), ("2020-Q1", 1, 0), ("2020-Q3", 2, 1),
    ]  # fmt: skip


MOMENTS = (
    DECISION
    + """
metrics: [{key: revenue, type: mean, role: primary}]
source:
  shape: moments
  assignment: randomised
  variant: group
  columns: {revenue: {n: n, mean: mean, variance: variance}}
"""
)


def test_measured_moments_give_welch_as_scipy_does() -> None:
    """Oracle: scipy.stats.ttest_ind_from_stats(10.0, 5.0, 1000, 10.5, 26**.5, 1000, equal_var=False)."""
    table = {"group": ["a", "b"], "n": [1000, 1000], "mean": [10.0, 10.5], "variance": [25.0, 26.0]}
    estimate = single(pa.table(table), MOMENTS).matured.metrics[0].comparisons[0].estimate
    assert estimate is not None
    assert estimate.p == pytest.approx(0.026939, abs=5e-7)
    assert estimate.method == "welch"


def test_counts_of_amounts_are_the_same_numbers_as_their_moments() -> None:
    text = (
        DECISION
        + """
metrics: [{key: revenue, type: mean, event: buy, value: amount, decimals: 2, role: primary}]
source: {shape: counts, assignment: randomised, variant: group, columns: {revenue: {n: n, sum: s, sum_squares: ss}}}
"""
    )
    amounts = {"a": [0.1, 2.35, 7.0, 1.25], "b": [0.2, 4.35, 9.0, 1.15]}
    rows = {
        "group": list(amounts), "n": [4, 4], "s": [sum(x) for x in amounts.values()],
        "ss": [sum(v * v for v in x) for x in amounts.values()],
    }  # fmt: skip
    estimate = single(pa.table(rows), text).matured.metrics[0].comparisons[0].estimate
    assert estimate is not None
    means = {k: sum(x) / 4 for k, x in amounts.items()}
    assert estimate.effect == pytest.approx(means["b"] - means["a"], rel=1e-12)
    variances = [sum((v - means[k]) ** 2 for v in x) / 3 for k, x in amounts.items()]
    assert estimate.standard_error == pytest.approx((sum(variances) / 4) ** 0.5, rel=1e-12)


WRONG: list[tuple[dict[str, list[Any]], str, str]] = [
    ({"clicks": [1000, 20_001]}, "row 2, column clicks", "more successes than units"),
    ({"clicks": [1000, -1]}, "row 2, column clicks", "negative"),
    ({"users": [20_000.5, 20_000]}, "row 1, column users", "not a whole number"),
    ({"users": [20_000.0, float("nan")]}, "row 2, column users", "not a number"),
    ({"clicks": [1000, None]}, "row 2, column clicks", "missing value"),
    ({"clicks": ["many", "few"]}, "row 1, column clicks", "not a number"),
    ({"group": ["a", None]}, "row 2, column group", "missing value"),
]


@pytest.mark.parametrize("make", [pa.table, pl.DataFrame, pd.DataFrame])
@pytest.mark.parametrize(("change", "field", "message"), WRONG)
def test_a_wrong_value_is_named_by_row_and_column(
    make: Any, change: dict[str, list[Any]], field: str, message: str
) -> None:
    with pytest.raises(BadInput) as caught:
        single(make(TABLE | change))
    assert caught.value.field == field
    if make is pd.DataFrame and change == {"clicks": [1000, None]}:
        message = "nan is not a number"  # what pandas makes of a missing number
    assert message in caught.value.message


def test_a_missing_column_names_the_field_and_the_nearest_column() -> None:
    with pytest.raises(BadInput) as caught:
        single(pa.table(TABLE).rename_columns(["group", "user", "clicks"]))
    assert caught.value.field == "source.columns.ctr.n"
    assert "did you mean 'user'?" in caught.value.fix


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (COUNTS.replace("weights: equal", "weights: {a: 0.5, c: 0.5}"), "source.weights"),
        (COUNTS.replace("weights: equal", "control: c"), "source.control"),
        (COUNTS.replace("columns: {ctr: {n: users, sum: clicks}}", "columns: {ctr: {n: users, sum: clicks}}\n  eligible: {group: z}"), "source.eligible"),
        (COUNTS.replace("proportion", "mean"), "source.columns.ctr"),
    ],
)  # fmt: skip
def test_a_source_that_does_not_fit_the_table_names_its_field(text: str, field: str) -> None:
    with pytest.raises(BadInput) as caught:
        single(pa.table(TABLE), text)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        (COUNTS.replace("weights: equal", "weights: {a: 0.5, b: 0.4, c: 0.1}"), "source.weights", "nobody met the variant 'c'"),
        (COUNTS.replace("  variant: group\n", "").replace("  assignment", "  control: a\n  assignment"), "source.control", "known: 1, 2"),
        (COUNTS.replace("variant: group", "variant: group\n  day: group"), "row 1, column group", "2026-03-01"),
    ],
)  # fmt: skip
def test_what_the_source_says_and_the_table_does_not_is_named_with_a_fix(
    text: str, field: str, words: str
) -> None:
    with pytest.raises(BadInput) as caught:
        single(pa.table(TABLE), text)
    assert caught.value.field == field
    assert words in str(caught.value)


def test_something_that_is_no_table_is_refused() -> None:
    with pytest.raises(BadInput, match="not a data frame"):
        analyze([1, 2, 3], load_spec(COUNTS))


VISITS = """
key: shop
unit: user
variants: [{key: a}, {key: b}]
metrics:
  - {key: buyers, type: proportion, event: buy, role: primary}
  - {key: revenue, type: mean, event: buy, value: amount, decimals: 2, cap: 9}
  - {key: basket, type: ratio, numerator: {event: buy, value: amount, cap: 8}, denominator: visit, decimals: 2}
window: 2d
decision: {design: fixed, mde: 20%, min_runtime: 1d, max_runtime: 60d}
source:
  shape: units
  assignment: randomised
  experiment: {key: shop}
  unit: user
  variant: variant
  day: at
  served: shown
  served_map: {a: page-a, b: page-b}
  weights: equal
  columns:
    buyers: bought
    revenue: amount
    basket: {numerator: amount, denominator: visits}
"""
visit = st.fixed_dictionaries(
    {
        "user": st.sampled_from(["u1", "u2", "u3", "u4"]),
        "variant": st.sampled_from(["a", "a", "a", "b"]),
        "at": st.integers(1_600_000_000_000, 1_600_400_000_000),
        "shown": st.sampled_from(["page-a", "page-b"]),
        "bought": st.integers(1, 2),
        "amount": st.sampled_from([0.0, 0.005, 1.125, 2.675, 7.5, 12.0, -3.335]),
        "visits": st.integers(0, 3),
    }
)


@settings(max_examples=80, deadline=None)
@given(st.lists(visit, min_size=1, max_size=14))
def test_a_table_and_the_ledger_it_was_imported_into_hold_the_same_integers(
    rows: list[dict[str, Any]],
) -> None:
    """Repeated visits, several variants, rounding, caps, windows: the file and the fold agree on every cell."""
    definition = load(VISITS)
    state = start(create(definition, ordinal=1, at=0, actor="a"), digests={}, at=0, actor="a")
    moments = fold(history.events(definition, rows), ledger_plan([state]))
    evidence = evidence_of(pl.DataFrame(rows), definition)
    cells = evidence.cells
    found = {
        (definition.variants[int(cells.variant[i])].key, int(cells.day[i]), bool(cells.contaminated[i])): (
            *(int(c) for c in cells.counts[i]),
            *(tuple(int(getattr(t, part)[i]) for part in ("x", "xx", "y", "yy", "xy")) for t in cells.totals),
        )
        for i in range(len(cells.day))
    }
    assert found == {
        (k.variant, k.day, k.contaminated): (
            c.n,
            c.exposures,
            c.fallbacks,
            c.mismatches,
            c.carried,
            *map(tuple, c.metrics),
        )
        for k, c in moments.items()
    }
    live = analyze_ledger(state, moments, at=2_000_000_000_000).to_dict()
    file = analyze(pl.DataFrame(rows), definition)
    assert isinstance(file, Report)
    assert of_sums(file.to_dict()) == of_sums(live)


def test_units_without_an_id_are_one_per_row() -> None:
    text = (
        DECISION
        + """
metrics: [{key: ctr, type: proportion, role: primary}]
source: {shape: units, assignment: randomised, variant: group, weights: equal, columns: {ctr: clicked}}
"""
    )
    table = {"group": ["a", "b"] * 50, "clicked": [True, False, False, True] * 25}
    values = single(pa.table(table), text).matured.metrics[0].values
    assert [(v.variant, v.n, v.numerator) for v in values] == [("a", 50, 25.0), ("b", 50, 25.0)]


def test_a_variant_the_definition_does_not_know_is_refused() -> None:
    row = {
        "user": ["u"],
        "variant": ["c"],
        "at": ["2020-01-01"],
        "shown": ["page-a"],
        "bought": [1],
        "amount": [1.0],
        "visits": [1],
    }
    with pytest.raises(BadInput, match="no variant 'c'"):
        analyze(pa.table(row), load(VISITS))
