"""Tables summed by queries hold the integers of a fold in plain Python, whatever the values and the roles."""

from __future__ import annotations

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

from switchpoint.analysis.evidence.evidence import Evidence
from switchpoint.analysis.evidence.facts import Copies, Unseen
from switchpoint.analysis.frame import analyze, evidence_of
from switchpoint.experiment.definition.types import TOTAL_BOUND
from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.language.experiment import load_spec
from switchpoint.experiment.ledger import sql
from switchpoint.experiment.ledger.columns import label_of
from switchpoint.experiment.store.query import session
from tests.analysis.tables.oracle import expected, held

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


METRICS = {
    "buyers": ("type: proportion, event: buy", "bought"),
    "revenue": ("type: mean, event: buy, value: amount, decimals: 2", "amount"),
    "capped": ("type: mean, event: buy, value: amount, decimals: 2, cap: 9", "amount"),
    "exact": ("type: mean, event: buy, value: amount, decimals: 6", "amount"),
    "whole": ("type: mean, event: buy, value: amount", "amount"),
    "adjusted": (
        "type: mean, event: buy, value: amount, decimals: 2, covariate: {value: before, decimals: 1}", "amount",
    ),
    "ctr": ("type: ratio, numerator: click, denominator: view", "{numerator: clicks, denominator: views}"),
    "basket": (
        "type: ratio, numerator: {event: buy, value: amount, cap: 8}, denominator: view, decimals: 2",
        "{numerator: amount, denominator: views}",
    ),
}  # fmt: skip
ROLES = {
    "segment: country": 0.5, "served: shown": 0.5, "cluster: shop": 0.25, "experiment: test": 0.35, "day: day": 0.7,
    "unit: user": 0.8,
}  # fmt: skip
TIES = [0.0, 0.005, 1.125, 2.675, 7.5, 12.0, -3.335, 0.29, 1.1, 1_048_575.995]
AMOUNTS: dict[str, st.SearchStrategy[Any]] = {
    "ties": st.sampled_from(TIES),
    "beside ties": st.integers(-(10**7), 10**7).map(lambda n: float(np.nextafter((2 * n + 1) / 200, np.inf))),
    "doubles": st.floats(-1e5, 1e5, allow_nan=False),
    "integers": st.integers(-50, 2**20),
    "decimals": st.integers(-5000, 5000).map(lambda n: Decimal(n) / 1000),
    "truths": st.booleans(),
}
LABELS: dict[str, Any] = {"text": "u{}".format, "number": int, "double": float}
WHEN: dict[str, Any] = {
    "date": lambda hours: date(2020, 1, 1) + timedelta(days=hours // 24),
    "time": lambda hours: datetime(1969, 12, 30, tzinfo=UTC).replace(tzinfo=None) + timedelta(hours=hours),
    "time with zone": lambda hours: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(hours=hours),
    "text": lambda hours: (date(2020, 1, 1) + timedelta(days=hours // 24)).isoformat(),
    "number": lambda hours: 20200101 + hours // 24,
    "milliseconds": lambda hours: 1_600_000_000_000 + hours * 3_600_000,
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[dict[str, Any]], str]:
    """Rows and a spec that reads them: some metrics, some roles, one type per column."""
    size = draw(st.integers(1, 40))
    chosen = draw(st.lists(st.sampled_from(sorted(METRICS)), min_size=1, max_size=4, unique=True))
    roles = [role for role, share in ROLES.items() if draw(st.floats(0, 1)) < share]
    label, when = LABELS[draw(st.sampled_from(sorted(LABELS)))], WHEN[draw(st.sampled_from(sorted(WHEN)))]
    variants: list[Any] = draw(st.sampled_from([["a", "b"], ["x", "control", "y"], [2, 1], [True, False]]))
    most = draw(st.sampled_from([9, 2**20, 2**33]))
    row = st.fixed_dictionaries(
        {
            "user": st.integers(0, draw(st.sampled_from([2, 10, 10**6]))).map(label),
            "variant": st.sampled_from(variants), "shown": st.sampled_from(variants),
            "country": st.sampled_from(["us", "ca", "mx"]), "shop": st.sampled_from(["s1", "s2", "s3"]),
            "test": st.sampled_from(["e2", "e1"]), "day": st.integers(0, 90).map(when),
            "clicks": st.integers(0, 3), "views": st.integers(0, most), "bought": st.integers(0, 2),
            "amount": AMOUNTS[draw(st.sampled_from(sorted(AMOUNTS)))],
            "before": st.none() | st.sampled_from([0.0, 0.25, 3.0, -100.05]),
        }
    )  # fmt: skip
    window = draw(st.sampled_from(["", "window: 1d\n"]))
    metrics = [f"  - {{key: {key}, {METRICS[key][0]}" for key in chosen]
    text = (
        f"metrics:\n{metrics[0]}, role: primary}}\n"
        + "".join(f"{metric}}}\n" for metric in metrics[1:])
        + window
    )
    text += (
        "decision: {design: fixed, mde: 20%, min_runtime: 1d, max_runtime: 60d}\nsource:\n  shape: units\n"
    )
    text += "  assignment: randomised\n  variant: variant\n  control: first\n"
    text += "".join(f"  {role}\n" for role in roles)
    text += "  columns: {" + ", ".join(f"{key}: {METRICS[key][1]}" for key in chosen) + "}\n"
    text += "  covariate: {adjusted: before}\n" if "adjusted" in chosen else ""
    return draw(st.lists(row, min_size=size, max_size=size)), text


def agrees(frame: Any, rows: list[dict[str, Any]], text: str) -> Evidence:
    """The evidence of a frame, after its integers have been compared with those of its rows."""
    spec = load_spec(text)
    evidence = evidence_of(frame, spec)
    cells, met = expected(rows, spec)
    assert held(evidence, evidence.cells) == cells
    assert held(evidence, evidence.as_served) == met
    return evidence


def pandas(columns: Any) -> pd.DataFrame:
    """With times as pandas has them; it keeps dates as Python objects."""
    frame = pd.DataFrame(columns)
    if isinstance(frame["day"].iloc[0], date):
        frame["day"] = pd.to_datetime(frame["day"])
    return frame


LIBRARIES = (pl.DataFrame, pa.Table.from_pylist, pandas)


@settings(max_examples=250, deadline=None)
@given(tables(), st.sampled_from(LIBRARIES))
def test_a_table_holds_the_integers_of_its_units(table: tuple[list[dict[str, Any]], str], make: Any) -> None:
    """Ties of decimals, caps, refunds, products beyond 64 bits, visits and windows, contaminated units, what was
    served, clusters, covariates, several experiments; and names in the order in which rows show them."""
    rows, text = table
    evidence = agrees(make(rows), rows, text)
    if "experiment: test" in text:
        assert [subject.key for subject in evidence.subjects] == list(
            dict.fromkeys(row["test"] for row in rows)
        )
    for subject in evidence.subjects:
        own = [row for row in rows if subject.key in ("table", row["test"])]
        assert subject.variants == tuple(dict.fromkeys(label_of(row["variant"]) for row in own))


@pytest.mark.parametrize("make", LIBRARIES)
def test_units_with_several_rows_are_found_among_many_others(make: Any) -> None:
    """In tables of more rows than are all grouped, and whatever names units."""
    rng = np.random.default_rng(2)
    for label in LABELS.values():
        rows = [
            {"user": label(n if n % 50 else 7), "variant": "ab"[int(v)], "country": "us", "shown": "a",
             "day": date(2020, 1, 1), "clicks": n % 3, "views": 3, "bought": n % 2, "amount": n / 8}
            for n, v in enumerate(rng.integers(0, 2, 11_000))
        ]  # fmt: skip
        evidence = agrees(make(rows), rows, SPEC)
        copies = evidence.facts[0].copies
        assert isinstance(copies, Copies)
        assert copies.copies == 0


@pytest.mark.parametrize("make", LIBRARIES)
@pytest.mark.parametrize("amounts", [(1.125, 2.675), (2.675, 1.125)])
def test_one_unit_per_variant_has_no_spread_and_is_looked_at(make: Any, amounts: tuple[float, float]) -> None:
    """What rounding leaves of its squares is above zero in one variant and below in the other."""
    rows = [
        {"user": variant, "variant": variant, "country": "us", "day": date(2020, 1, 1), "shown": variant,
         "clicks": 0, "views": 3, "bought": 0, "amount": amount}
        for variant, amount in zip("ab", amounts, strict=True)
    ]  # fmt: skip
    evidence = agrees(make(rows), rows, SPEC)
    assert not isinstance(evidence.facts[0].extremes, Unseen)
    extreme = {(one.metric, one.variant): one.x for one in evidence.facts[0].extremes}
    assert (extreme["basket", 0], extreme["basket", 1]) == tuple(
        round(Decimal(repr(amount)) * 100) for amount in amounts
    )


def table(size: int = 600, **columns: Any) -> dict[str, Any]:
    rng = np.random.default_rng(size)
    return {
        "user": [f"u{number}" for number in range(size)], "variant": rng.choice(["b", "a"], size),
        "country": rng.choice(["us", "ca", "mx"], size), "shown": ["a"] * size,
        "day": [date(2020, 1, 1) + timedelta(days=int(d)) for d in rng.integers(0, 3, size)],
        "clicks": rng.integers(0, 3, size), "views": rng.integers(1, 9, size), "bought": rng.integers(0, 2, size),
        "amount": rng.integers(-50, 5000, size) / 100,
    } | columns  # fmt: skip


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


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.integers(-(10**12), 10**12).map(lambda n: n / 1000)
        | st.floats(-1e9, 1e9, allow_nan=False)
        | st.integers(-(10**9), 10**9).map(lambda n: float(np.nextafter((2 * n + 1) / 200, np.inf))),
        min_size=1,
        max_size=20,
    ),
    st.sampled_from(range(7)),
)
def test_amounts_are_rounded_on_their_decimal_digits(values: list[float], digits: int) -> None:
    """Oracle: `decimal`. Amounts beyond the bound of a unit's total never come here: a tie of more than 15
    digits need not be the shortest way to write its double."""
    assume(all(abs(value) * 10**digits <= TOTAL_BOUND for value in values))
    with session(threads=1) as engine:
        engine.load("rows", {"x": np.array(values)})
        found = engine.values(sql.of_rows({"whole": sql.half_even("x", 10**digits)}))["whole"]
    assert found == [int(Decimal(repr(v)).scaleb(digits).to_integral_value(ROUND_HALF_EVEN)) for v in values]


def test_sums_beyond_64_bits_are_exact() -> None:
    """Amounts at the bound of 2^40 minor units: their squares need 80 bits."""
    rows = [
        {"user": n, "variant": "ab"[n % 2], "country": "us", "shown": "a", "day": date(2020, 1, 1), "clicks": 0,
         "views": 2**40 - n, "bought": 0, "amount": (2.0**40 - 1 - n) / 100 * (-1) ** n}
        for n in range(600)
    ]  # fmt: skip
    assert agrees(pl.DataFrame(rows), rows, SPEC).cells.totals[2].xx.dtype == object


@pytest.mark.parametrize("make", [pl.DataFrame, pa.table, pandas])
def test_copies_and_nested_columns_are_found_in_tables_of_many_rows(make: Any) -> None:
    """More rows than are all looked at: 60 of them are there twice, seven times, and one differs in an unnamed
    column alone; every session has two units."""
    size = 12_000
    rows = table(size, note=[None if n % 3 else "seen" for n in range(size)])
    again = [n for n in range(60) for _ in range(2 if n else 7)]
    several = {name: [*column, *(column[n] for n in again), column[77]] for name, column in rows.items()}
    several["note"][-1] = "otherwise"
    several["session_id"] = [f"s{n // 2}" if n < size else f"s{size}" for n in range(len(several["note"]))]
    for n, place in enumerate(again):
        several["session_id"][size + n] = several["session_id"][place]
    facts = evidence_of(make(several), load_spec(SPEC)).facts[0]
    assert isinstance(facts.copies, Copies)
    assert facts.copies.copies == len(again)
    assert isinstance(facts.nesting, tuple)
    assert [(nested.column, nested.values) for nested in facts.nesting] == [("session_id", size // 2)]
