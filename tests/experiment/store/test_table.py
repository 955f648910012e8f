"""Tables in files: only what was asked for is read, and what is wrong is named."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.store import table

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
