"""How tables are understood without a spec: what is suggested is read, and what is not known is said."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from switchpoint.analysis.frame import analyze
from switchpoint.analysis.tables.suggest import suggest
from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.language.experiment import load_spec
from switchpoint.router.tables import suggested

ROWS = 60


def units(**columns: list[object]) -> pa.Table:
    """Visitors of two groups with further columns, each repeated as often as needed."""
    named = {"visitor_id": [f"u{i}" for i in range(ROWS)], "group": ["control", "treatment"] * (ROWS // 2)}
    return pa.table(
        named | {name: [values[i % len(values)] for i in range(ROWS)] for name, values in columns.items()}
    )


def roles(table: object) -> dict[str, str]:
    return {one.column: one.role for one in suggest(table).roles}


def test_a_table_of_units_is_understood() -> None:
    table = units(
        country=["US", "CA", "MX"], date=[date(2026, 3, 1), date(2026, 3, 2)], converted=[0, 1, 0], revenue=[1.5, 0.0, 20.25],
        pre_revenue=[1, 2, 3], age=[30, 40],
    )  # fmt: skip
    found = suggest(table)
    assert roles(table) == {
        "visitor_id": "unit", "group": "variant", "country": "segment", "date": "day", "converted": "metric converted",
        "revenue": "metric revenue", "pre_revenue": "covariate of revenue", "age": "not used",
    }  # fmt: skip
    assert (found.shape, found.variants, found.metrics) == (
        "units",
        ("control", "treatment"),
        ("converted", "revenue"),
    )
    spec = load_spec(found.spec)
    assert [(m.type.value, m.decimals) for m in spec.metrics] == [("proportion", 0), ("mean", 2)]
    assert spec.source is not None
    assert spec.source.covariate == {"revenue": {"value": "pre_revenue"}}
    assert analyze(table, spec).to_dict()["verdict"]["kind"] != "promote"


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_every_kind_of_frame_is_understood_alike(library: str) -> None:
    table = units(converted=[0, 1, 0])
    frame = table.to_pandas() if library == "pandas" else pl.from_arrow(table)
    assert isinstance(frame, pd.DataFrame | pl.DataFrame)
    assert suggest(frame).spec == suggest(table).spec


def test_a_column_of_which_every_row_has_its_own_value_is_the_unit() -> None:
    table = units(converted=[0, 1]).rename_columns(["ref", "group", "converted"])
    assert roles(table)["ref"] == "unit"
    numbered = table.set_column(0, "ref", pa.array([f"{i:05}" for i in range(ROWS)]))
    assert suggest(numbered).metrics == ("converted",)


def test_counts_and_moments_are_told_by_their_rows() -> None:
    counts = pa.table(
        {"variant": ["b", "a"], "users": [900, 1000], "clicks": [40, 50], "revenue": [2000.5, 1900.0]}
    )
    found = suggest(counts)
    assert (found.shape, found.variants, found.metrics) == ("counts", ("a", "b"), ("clicks",))
    assert any(line.startswith("revenue: a sum does not say how it varies") for line in found.doubtful)
    moments = pa.table({
        "arm": ["x", "y"], "n": [10, 12], "sale_mean": [1.5, 1.6], "sale_var": [0.2, 0.1], "net_mean": [1.0, 1.1],
        "net_var": [2.0, 2.1],
    })  # fmt: skip
    found = suggest(moments)
    assert (found.shape, found.variants, found.metrics) == ("moments", ("x", "y"), ("sale", "net"))
    assert "Which variant is control: x was taken, the first of x, y." in found.doubtful
    for table in (counts, moments):
        assert analyze(table, load_spec(suggest(table).spec)).to_dict()["header"]["assignment"] == "unknown"


def test_many_experiments_are_told_by_their_column_or_their_rows() -> None:
    named = pa.table({
        "experiment": ["e1", "e1", "e2", "e2"], "variant": ["a", "b"] * 2, "users": [10, 10, 20, 20], "buys": [1, 2, 3, 4],
    })  # fmt: skip
    assert roles(named)["experiment"] == "experiment"
    rows = pa.table(
        {"test_id": ["e1", "e1", "e2", "e2"], "views": [100, 110, 20, 30], "clicks": [9, 8, 3, 4]}
    )
    found = suggest(rows)
    assert (found.variants, load_spec(found.spec).source.control) == ((), "first")
    for table in (named, rows):
        assert len(analyze(table, load_spec(suggest(table).spec)).to_dict()["rows"]) == 2


def test_texts_of_another_country_are_numbers_and_dates() -> None:
    table = units(Datum=["08.03.2026", "25.03.2026"], revenue=["1,50", "", "20,25"], bought=["ja", "nein"])
    assert {"Datum": "day", "revenue": "metric revenue", "bought": "metric bought"}.items() <= roles(
        table
    ).items()
    assert any("`empty: {revenue: 0}`" in line for line in suggest(table).doubtful)


@pytest.mark.parametrize(
    ("columns", "asked"),
    [({"revenue": ["1.234", "5.678", "9.999"]}, "`decimal:"), ({"revenue": [1, 2, 3], "date": ["03/08/2026"]}, "`date_format:")],
)  # fmt: skip
def test_what_is_open_is_doubtful(columns: dict[str, list[object]], asked: str) -> None:
    assert any(asked in line for line in suggest(units(**columns)).doubtful)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (pa.table({"group": pa.array([], pa.string())}), "no rows to look at"),
        (pa.table({"x": ["p", "q"], "y": [1, 2]}), "no column tells the variants apart"),
        (pa.table({"group": ["a", "b"], "note": ["x", "y"]}), "no column looks like a metric"),
    ],
)
def test_what_is_not_understood_is_said(table: pa.Table, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        suggest(table)


def test_names_that_yaml_would_read_otherwise_are_quoted() -> None:
    table = pa.table({"Campaign Name": ["No", "Yes"], "# of users": [10, 12], "# of Purchase": [1, 2]})
    source = load_spec(suggest(table).spec).source
    assert source is not None
    assert (source.variant, source.control) == ("Campaign Name", "No")


def test_every_table_of_the_project_is_understood_or_refused_with_a_reason(shared: Path) -> None:
    """And what is suggested of it can be read as a spec."""
    refused = []
    files = [*(shared / "cases").glob("*/*.csv"), *(shared / "data").glob("obd_small_men.parquet")]
    for file in files:
        try:
            found = suggested(str(file))
        except BadInput as error:
            refused.append(error.message)
        else:
            assert load_spec(found.spec).metrics
    assert len(refused) < len(files) / 2
    assert {message.split(":")[0] for message in refused} <= {
        "no column tells the variants apart", "no column looks like a metric",
    }  # fmt: skip
