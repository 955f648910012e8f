"""Tables summed by an engine hold the same integers as those read row by row, whatever the values."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from switchpoint.analysis import frame
from switchpoint.analysis.evidence.evidence import Evidence
from switchpoint.analysis.frame import analyze, evidence_of
from switchpoint.analysis.report.report import Report
from switchpoint.analysis.tables import amounts as engine_amounts
from switchpoint.analysis.tables import engine
from switchpoint.analysis.tables import grouped as unit_groups
from switchpoint.experiment.definition.types import TOTAL_BOUND
from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.language.experiment import load_spec

SPEC = """
metrics:
  - {key: ctr, type: ratio, numerator: click, denominator: view, role: primary}
  - {key: buyers, type: proportion, event: buy}
  - {key: revenue, type: mean, event: buy, value: amount, decimals: 2}
  - {key: capped, type: mean, event: buy, value: amount, decimals: 2, cap: 9}
  - {key: basket, type: ratio, numerator: {event: buy, value: amount, cap: 8}, denominator: view, decimals: 2}
decision: {design: fixed, mde: 20%, min_runtime: 1d, max_runtime: 60d}
source:
  shape: units
  assignment: randomised
  unit: user
  variant: variant
  segment: country
  day: day
  served: shown
  columns:
    ctr: {numerator: clicks, denominator: views}
    buyers: bought
    revenue: amount
    capped: amount
    basket: {numerator: amount, denominator: views}
"""


def pandas(columns: Any) -> pd.DataFrame:
    """With times as pandas has them; it keeps dates as Python objects."""
    frame = pd.DataFrame(columns)
    if isinstance(frame["day"].iloc[0], date):
        frame["day"] = pd.to_datetime(frame["day"])
    return frame


LIBRARIES = (pl.DataFrame, pa.Table.from_pylist, pandas)
row = st.fixed_dictionaries(
    {
        "user": st.sampled_from([f"u{number}" for number in range(40)]),
        "variant": st.sampled_from(["a", "b"]),
        "country": st.sampled_from(["us", "ca", "mx"]),
        "day": st.dates(date(2020, 1, 1), date(2020, 1, 4)),
        "shown": st.sampled_from(["a", "b"]),
        "clicks": st.integers(0, 3),
        "views": st.integers(0, 9),
        "bought": st.integers(0, 2),
        "amount": st.sampled_from([0.0, 0.005, 1.125, 2.675, 7.5, 12.0, -3.335, 0.29, 1.1, 2.0**33 - 0.01]),
    }
)  # fmt: skip
Held = dict[tuple[object, ...], tuple[int, ...]]


def held(evidence: Evidence) -> Held:
    """Every integer of the evidence by the names of its cell."""
    cells, subject = evidence.cells, evidence.subjects[0]
    found: Held = {}
    for i in range(len(cells.day)):
        stratum, variant = (
            subject.strata[int(cells.stratum[i])].segment,
            subject.variants[int(cells.variant[i])],
        )
        sums = [int(getattr(t, part)[i]) for t in cells.totals for part in ("n", "x", "xx", "y", "yy", "xy")]
        where = (stratum, variant, int(cells.day[i]), bool(cells.contaminated[i]))
        assert where not in found
        found[where] = (*map(int, cells.counts[i]), *sums)
    return found


def cents(value: float) -> int:
    return int(Decimal(repr(value)).scaleb(2).to_integral_value(ROUND_HALF_EVEN))


def by_hand(rows: list[dict[str, Any]]) -> Held:
    """The sentence of the design, unit by unit, in Python integers."""
    found: dict[tuple[object, ...], list[int]] = defaultdict(lambda: [0] * 35)
    units: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in sorted(enumerate(rows), key=lambda pair: (pair[1]["day"], pair[0])):
        units[one[1]["user"]].append(one[1])
    for visits in units.values():
        first = visits[0]
        several = any(visit["variant"] != first["variant"] for visit in visits)
        amount = max(-(2**40), min(2**40, sum(cents(v["amount"]) for v in visits)))
        views, clicks = sum(v["views"] for v in visits), sum(v["clicks"] for v in visits)
        sides = (
            (clicks, views), (int(any(v["bought"] for v in visits)), None), (amount, None),
            (max(-900, min(900, amount)), None),
            (sum(max(-800, min(800, cents(v["amount"]))) for v in visits), views),
        )  # fmt: skip
        cell = found[first["country"], first["variant"], (first["day"] - date(1970, 1, 1)).days, several]
        wrong = sum(visit["shown"] != visit["variant"] for visit in visits)
        parts = [1, len(visits), 0, wrong, 0]
        for x, y in sides:
            parts += [1, x, x * x, *((0, 0, 0) if y is None else (y, y * y, x * y))]
        for place, part in enumerate(parts):
            cell[place] += part
    return {where: tuple(parts) for where, parts in found.items()}


@settings(max_examples=60, deadline=None)
@given(st.lists(row, min_size=1, max_size=30), st.sampled_from(LIBRARIES))
def test_a_table_holds_the_integers_of_its_units(rows: list[dict[str, Any]], make: Any) -> None:
    """Ties of decimals, caps, refunds, amounts whose squares need limbs, units with several rows."""
    assert held(evidence_of(make(rows), load_spec(SPEC))) == by_hand(rows)


@pytest.mark.parametrize("make", LIBRARIES)
@pytest.mark.parametrize("amounts", [(1.125, 2.675), (2.675, 1.125)])
def test_one_unit_per_variant_has_no_spread_and_is_looked_at(make: Any, amounts: tuple[float, float]) -> None:
    """What rounding leaves of its squares is above zero in one variant and below in the other."""
    rows = [
        {"user": variant, "variant": variant, "country": "us", "day": date(2020, 1, 1), "shown": variant,
         "clicks": 0, "views": 3, "bought": 0, "amount": amount}
        for variant, amount in zip("ab", amounts, strict=True)
    ]  # fmt: skip
    evidence = evidence_of(make(rows), load_spec(SPEC))
    assert held(evidence) == by_hand(rows)
    assert evidence.facts is not None
    extreme = {(one.metric, one.variant): one.x for one in evidence.facts[0].extremes}
    assert (extreme["basket", 0], extreme["basket", 1]) == tuple(cents(amount) for amount in amounts)


def table(size: int = 600, **columns: Any) -> dict[str, Any]:
    rng = np.random.default_rng(size)
    return {
        "user": [f"u{number}" for number in range(size)], "variant": rng.choice(["b", "a"], size),
        "country": rng.choice(["us", "ca", "mx"], size), "shown": ["a"] * size,
        "day": [date(2020, 1, 1) + timedelta(days=int(d)) for d in rng.integers(0, 3, size)],
        "clicks": rng.integers(0, 3, size), "views": rng.integers(1, 9, size), "bought": rng.integers(0, 2, size),
        "amount": rng.integers(-50, 5000, size) / 100,
    } | columns  # fmt: skip


def grouping(monkeypatch: pytest.MonkeyPatch, *, works: bool) -> list[bool]:
    """Whether tables are grouped by the engine, or all their rows read; notes which it was."""
    asked: list[bool] = []
    grouped = unit_groups.grouped

    def noted(*arguments: Any) -> Any:
        found = grouped(*arguments) if works else None
        asked.append(found is not None)
        return found

    monkeypatch.setattr(frame.unit_groups, "grouped", noted)
    return asked


CHANGES: list[dict[str, Any]] = [
    {},
    {"user": [f"u{n // 2 if n < 40 else n}" for n in range(600)]},
    {"day": [datetime(2020, 1, 1, 23, 30, tzinfo=UTC) + timedelta(minutes=n) for n in range(600)]},
    {"day": [1_600_000_000_000 + 400_000 * n for n in range(600)]},
    {"day": [20200101 + n % 3 for n in range(600)]},
    {"amount": [1e6 if n == 17 else (n % 7) / 8 for n in range(600)]},
    {"bought": [n % 3 == 0 for n in range(600)], "views": [float(n % 5) for n in range(600)]},
]


@pytest.mark.parametrize("make", [pl.DataFrame, pa.table, pandas])
@pytest.mark.parametrize("change", CHANGES)
def test_the_report_is_the_same_whether_an_engine_groups_or_rows_are_read(
    monkeypatch: pytest.MonkeyPatch, make: Any, change: dict[str, Any]
) -> None:
    reports = []
    for works in (True, False):
        with monkeypatch.context() as patch:
            asked = grouping(patch, works=works)
            found = analyze(make(table(**change)), load_spec(SPEC))
            assert isinstance(found, Report)
            reports.append(found.to_dict())
            assert asked == [works]
    assert reports[0] == reports[1]


@pytest.mark.parametrize("make", [pl.DataFrame, pa.table, pandas])
def test_covariates_are_adjusted_for_the_same_way(monkeypatch: pytest.MonkeyPatch, make: Any) -> None:
    text = SPEC + "  covariate: {revenue: {value: before}, ctr: {numerator: c0, denominator: v0}}\n"
    rng = np.random.default_rng(5)
    past: dict[str, Any] = {
        "before": [None if n % 9 == 0 else float(n % 101) / 8 for n in range(600)],
        "c0": rng.integers(0, 3, 600), "v0": rng.integers(1, 9, 600),
    }  # fmt: skip
    sums = []
    for works in (True, False):
        with monkeypatch.context() as patch:
            asked = grouping(patch, works=works)
            cells = evidence_of(make(table(**past)), load_spec(text)).cells
            order = np.lexsort((cells.day, cells.variant, cells.stratum))
            sums.append(
                [
                    [part[order].tolist() for group in (c.z, c.zz, c.xz) for part in group] + [c.units]
                    for totals in cells.totals
                    if (c := getattr(totals, "covariates")) is not None  # noqa: B009
                ]
            )
            assert asked == [works]
    assert sums[0] == sums[1]
    assert len(sums[0]) == 2


def test_without_polars_the_frame_groups_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [analyze(make(table()), load_spec(SPEC)).to_dict() for make in (pa.table, pandas)]
    monkeypatch.setattr(unit_groups.engine, "engine", lambda table: table)
    asked = grouping(monkeypatch, works=True)
    assert [analyze(make(table()), load_spec(SPEC)).to_dict() for make in (pa.table, pandas)] == expected
    assert asked == [True, True]


def test_sums_are_exact_when_rows_come_in_several_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Amounts at the bound of 2^40 minor units: their squares need 80 bits."""
    monkeypatch.setattr(unit_groups, "CHUNK", 64)
    amounts = [(2.0**40 - 1 - n) / 100 * (-1) ** n for n in range(600)]
    asked = grouping(monkeypatch, works=True)
    found = held(evidence_of(pl.DataFrame(table(amount=amounts)), load_spec(SPEC)))
    assert asked == [True]
    assert sum(cell[5 + 2 * 6 + 1] for cell in found.values()) == sum(map(cents, amounts))
    assert sum(cell[5 + 2 * 6 + 2] for cell in found.values()) == sum(cents(a) ** 2 for a in amounts)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.integers(-(10**12), 10**12).map(lambda n: n / 1000)
        | st.floats(-1e9, 1e9, allow_nan=False)
        | st.integers(-(10**9), 10**9).map(lambda n: float(np.nextafter((2 * n + 1) / 200, np.inf))),
        min_size=1,
        max_size=20,
    ),
    st.sampled_from([1, 10, 100, 1000, 10**6]),
)
def test_amounts_are_rounded_on_their_decimal_digits(values: list[float], scale: int) -> None:
    """Oracle: `decimal`. Amounts beyond the bound of a unit's total never come here: a tie of more than 15
    digits need not be the shortest way to write its double."""
    import narwhals.stable.v2 as nw

    assume(all(abs(value) * scale <= TOTAL_BOUND for value in values))
    column = nw.from_native(pl.DataFrame({"x": values}))
    found = column.select(engine_amounts._decimal(nw.col("x"), scale))["x"].to_list()
    digits = len(str(scale)) - 1
    assert found == [
        int(Decimal(repr(v)).scaleb(digits).to_integral_value(ROUND_HALF_EVEN)) for v in values
    ]  # fmt: skip


@pytest.mark.parametrize("values", [["a", "b", "c"], [1, 2**40, -5], [7, 8, 9]])
def test_distinct_values_are_told_from_repeated_ones(values: list[Any]) -> None:
    import narwhals.stable.v2 as nw

    for make in (pl.DataFrame, pa.table, pd.DataFrame):
        assert engine.distinct(nw.from_native(make({"x": values}), eager_only=True), "x")
        assert not engine.distinct(nw.from_native(make({"x": [*values, values[1]]}), eager_only=True), "x")


WRONG: list[tuple[str, Any, str]] = [
    ("amount", float("nan"), "not a number"),
    ("amount", float("inf"), "inf"),
    ("amount", 1e30, "missing or not a number of at most 1e15: 1e+30"),
    ("clicks", -1, "negative"),
    ("views", 1.5, "not a whole number"),
    ("country", None, "missing"),
    ("user", None, "missing"),
]


@pytest.mark.parametrize("make", [pl.DataFrame, pa.table, pd.DataFrame])
@pytest.mark.parametrize(("column", "value", "message"), WRONG)
def test_a_wrong_value_is_named_by_row_and_column(make: Any, column: str, value: Any, message: str) -> None:
    rows = table()
    rows[column] = [*list(rows[column])[:411], value, *list(rows[column])[412:]]
    if isinstance(value, float):
        rows[column] = [float(v) for v in rows[column]]
    with pytest.raises(BadInput) as caught:
        analyze(make(rows), load_spec(SPEC))
    assert caught.value.field == f"row 412, column {column}"
    assert message in caught.value.message


def test_variants_keep_the_order_in_which_rows_show_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where one of them appears late."""
    monkeypatch.setattr(unit_groups, "_HEAD", 10)
    rows = table(variant=["b"] * 300 + ["c", "a"] * 150)
    text = SPEC.replace("  variant: variant\n", "  variant: variant\n  control: first\n")
    evidence = evidence_of(pl.DataFrame(rows), replace(load_spec(text)))
    assert evidence.subjects[0].variants == ("b", "c", "a")
