"""Values of any size: a right answer, a reason, or the row, column, value and fix; never NaN."""

from __future__ import annotations

from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchpoint.analysis.frame import analyze
from switchpoint.analysis.report.report import Report
from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.language.experiment import load_spec

LIBRARIES = (pa.table, pl.DataFrame, pd.DataFrame)
KINDS = {
    "proportion": "type: proportion, event: c",
    "revenue": "type: mean, event: b, value: amount, decimals: 2",
    "events": "type: mean, event: b",
    "ratio": "type: ratio, numerator: c, denominator: v",
}


def judged(table: Any, kind: str, shape: str, columns: str, more: str = "") -> dict[str, Any]:
    text = (
        f"metrics: [{{key: m, {KINDS[kind]}, role: primary}}]\n"
        "decision: {design: fixed, mde: 20%, min_runtime: 1d, max_runtime: 60d}\n"
        f"source: {{shape: {shape}, assignment: randomised, variant: g, weights: equal, {more}"
        f"columns: {{m: {{{columns}}}}}}}\n"
    )
    found = analyze(table, load_spec(text))
    assert isinstance(found, Report)
    return found.to_dict()


def without_nan(found: Any) -> bool:
    if isinstance(found, float):
        return found - found == 0
    if isinstance(found, dict):
        return all(map(without_nan, found.values()))
    return all(map(without_nan, found)) if isinstance(found, list | tuple) else True


COUNTS = [
    ({"n": [1e30, 10.0]}, "row 1, column n", "1e+30 is beyond 2^40"),
    ({"n": [10, 2**41]}, "row 2, column n", "is beyond 2^40"),
    ({"s": [1, 10**18], "n": [10, 2 * 10**18]}, "row 2, column n", "is beyond 2^40"),
    ({"s": [1.0, -1.0]}, "row 2, column s", "negative"),
    ({"s": [0.5, 1.0]}, "row 1, column s", "not a whole number"),
    ({"s": [1, 11]}, "row 2, column s", "more successes than units"),
]


@pytest.mark.parametrize("make", LIBRARIES)
@pytest.mark.parametrize(("change", "field", "message"), COUNTS)
def test_counts_beyond_what_can_be_counted_are_named(
    make: Any, change: dict[str, list[Any]], field: str, message: str
) -> None:
    table = {"g": ["a", "b"], "n": [10, 10], "s": [1, 2]} | change
    with pytest.raises(BadInput, match=message.replace("+", r"\+").replace("^", r"\^")) as caught:
        judged(make(table), "proportion", "counts", "n: n, sum: s")
    assert caught.value.field == field
    assert caught.value.fix


@pytest.mark.parametrize(
    ("n", "successes", "p"), [(10**9, (10**8, 10**8 + 30_000), 0.0253571), (10**9, (1, 2), 0.563703)]
)
def test_a_thousand_million_units_and_one_in_a_thousand_million(
    n: int, successes: tuple[int, int], p: float
) -> None:
    """Oracle: scipy.stats.norm.sf of the pooled score statistic, twice."""
    found = judged(
        pa.table({"g": ["a", "b"], "n": [n, n], "s": successes}), "proportion", "counts", "n: n, sum: s"
    )
    estimate = found["matured"]["metrics"][0]["comparisons"][0]["estimate"]
    assert estimate["p"] == pytest.approx(p, rel=1e-5)
    assert without_nan(found)


MEASURED = [
    ("x", 1e160, "beyond 1e\\+20"), ("x", -1e31, "beyond 1e\\+20"), ("x", 1e-200, "below 1e-30"),
    ("v", 1e300, "beyond 1e\\+40"), ("v", -1.0, "below 0"), ("v", float("inf"), "inf"),
]  # fmt: skip


@pytest.mark.parametrize("make", LIBRARIES)
@pytest.mark.parametrize(("column", "value", "message"), MEASURED)
def test_measured_moments_that_doubles_cannot_hold_are_named(
    make: Any, column: str, value: float, message: str
) -> None:
    table: dict[str, list[Any]] = {"g": ["a", "b"], "n": [1000, 1000], "x": [1.0, 2.0], "v": [1.0, 1.0]}
    table[column][1] = value
    with pytest.raises(BadInput, match=message) as caught:
        judged(make(table), "events", "moments", "n: n, mean: x, variance: v")
    assert caught.value.field == f"row 2, column {column}"


means = st.sampled_from([0.0, 1e-30, -1e-30, 1.0, 3.0, -2.0, 1e20, -1e20])
variances = st.sampled_from([0.0, 1e-60, 1.0, 2.5, 1e40])
sizes = st.sampled_from([0, 1, 2, 1000, 2**40])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(sizes, means, variances), min_size=2, max_size=2))
def test_any_moments_within_the_ends_give_a_report_without_nan(rows: list[tuple[int, float, float]]) -> None:
    n, x, v = zip(*rows, strict=True)
    found = judged(
        pa.table({"g": ["a", "b"], "n": n, "x": x, "v": v}), "events", "moments", "n: n, mean: x, variance: v"
    )
    assert without_nan(found)


@pytest.mark.parametrize("make", LIBRARIES)
@pytest.mark.parametrize("value", [1e30, 1e160, float("inf"), float("nan"), -1.0, 2.0**41, 0.5])
def test_events_of_a_unit_that_no_ledger_holds_are_named(make: Any, value: float) -> None:
    values = [float(n % 5) for n in range(40)]
    values[7] = value
    with pytest.raises(BadInput) as caught:
        judged(make({"g": ["a", "b"] * 20, "x": values}), "events", "units", "value: x")
    assert caught.value.field == "row 8, column x"


@pytest.mark.parametrize("make", LIBRARIES)
@pytest.mark.parametrize("value", [1e30, -1e160, float("inf")])
def test_a_covariate_beyond_the_bound_is_named(make: Any, value: float) -> None:
    z = [float(n % 7) for n in range(40)]
    z[7] = value
    table = {"g": ["a", "b"] * 20, "x": [float(n % 5) for n in range(40)], "z": z}
    with pytest.raises(BadInput, match=r"beyond 2\^40") as caught:
        judged(make(table), "revenue", "units", "value: x", "covariate: {m: z}, ")
    assert caught.value.field == "row 8, column z"
