"""Tables in files: only what was asked for is read, and what is wrong is named."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.store import tables as table

ROWS = [{"group": "a", "n": 1}, {"group": "NA", "n": 2}]


@pytest.fixture(params=["csv", "csv.gz", "tsv", "parquet"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"table.{request.param}"
    if request.param == "parquet":
        parquet.write_table(pa.Table.from_pylist([row | {"rest": 0} for row in ROWS]), path)
        return path
    comma = "\t" if request.param == "tsv" else ","
    text = (
        "\n".join(comma.join(row) for row in (["group", "n", "rest"], ["a", "1", "0"], ["NA", "2", "0"]))
        + "\n"
    )
    path.write_bytes(gzip.compress(text.encode()) if request.param == "csv.gz" else text.encode())
    return path


def test_only_the_columns_asked_for_are_read(file: Path) -> None:
    assert table.read(file, columns=lambda _: ["group", "n"]).to_pylist() == ROWS
    assert table.read(file).column_names == ["group", "n", "rest"]


def test_rows_are_streamed_in_the_order_of_the_file(file: Path) -> None:
    assert list(table.rows(file, columns=lambda names: [n for n in names if n != "rest"])) == ROWS


def test_the_chooser_sees_the_columns_and_its_refusal_comes_through(file: Path) -> None:
    def refuse(names: object) -> list[str]:
        raise BadInput(f"had {names}", field="source.variant")

    with pytest.raises(BadInput, match=r"had \['group', 'n', 'rest'\]"):
        table.read(file, columns=refuse)


def test_labels_are_text_as_the_file_writes_them(tmp_path: Path) -> None:
    """A blank one is missing; numbers stay numbers."""
    path = tmp_path / "t.csv"
    path.write_text("a,b,n\n1.10,True,1\n007,NA,2\n, ,3\n")
    expected = [
        {"a": "1.10", "b": "True", "n": 1},
        {"a": "007", "b": "NA", "n": 2},
        {"a": None, "b": None, "n": 3},
    ]
    assert table.read(path, labels=("a", "b", "other")).to_pylist() == expected
    assert list(table.rows(path, labels=("a", "b"))) == expected


def test_rows_have_the_types_that_the_whole_file_says(tmp_path: Path) -> None:
    """However late a number with decimals comes."""
    path = tmp_path / "t.csv"
    path.write_text("n\n" + "1\n" * 1_000_000 + "12.5\n")
    assert {type(row["n"]) for row in table.rows(path)} == {float}


def test_a_wanted_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b,b,,\n1,2,3,,\n")
    assert table.read(path, columns=lambda _: ["a"]).to_pylist() == [{"a": 1}]
    with pytest.raises(BadInput, match="2 columns are called 'b'"):
        table.read(path, columns=lambda _: ["b"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.csv", None, "no such file"),
        ("table.xls", b"x", "not a table this reads"),
        ("broken.parquet", b"PAR1 no", "cannot be read as a table"),
        ("ragged.csv", b"a,b\n1\n", "cannot be read as a table"),
        ("latin.csv", b"a,b\n1,\xff\n", "cannot be read as a table"),
        ("empty.csv", b"", "cannot be read as a table"),
    ],
)
def test_a_file_that_is_no_table_is_named(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    for reader in (table.read, lambda p: list(table.rows(p))):
        with pytest.raises(BadInput, match=message) as caught:
            reader(path)
        assert caught.value.field == str(path)
