"""Tables in files: only what was asked for is read, and what is wrong is named."""

from __future__ import annotations

import gzip
import sys
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from openpyxl import Workbook
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
        ("table.doc", b"x", "not a table this reads"),
        ("table.xlsx", b"x", "cannot be read as a spreadsheet"),
        ("broken.parquet", b"PAR1 no", "cannot be read as a table"),
        ("ragged.csv", b"a,b\n1\n", "cannot be read as a table"),
        ("latin.csv", b"a,b\n1,\x81\n", "cannot be read as a table"),
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


SHEET = [
    ["user", "v", "paid", "when", ""],
    ["007", "a", 12.5, date(2026, 3, 8), None],
    [8, "b", None, date(2026, 3, 9), None],
]


def book(path: Path) -> Path:
    """A spreadsheet whose table begins below an empty row, beside an empty sheet."""
    made = Workbook()
    made.active.append([])
    for row in SHEET:
        made.active.append(row)
    made.create_sheet("other").append(["x"])
    made.save(path)
    return path


def test_a_spreadsheet_is_a_table(tmp_path: Path) -> None:
    """Numbers and dates by their cells, names as text, an empty cell is a missing value."""
    path = book(tmp_path / "t.xlsx")
    found = table.read(path, columns=lambda _: ["user", "paid", "when"], labels=["user"])
    assert found.to_pylist() == [
        {"user": "007", "paid": 12.5, "when": date(2026, 3, 8)},
        {"user": "8", "paid": None, "when": date(2026, 3, 9)},
    ]
    assert list(table.rows(path, columns=lambda _: ["v"])) == [{"v": "a"}, {"v": "b"}]
    assert table.read(path, sheet="other").column_names == ["x"]
    with pytest.raises(BadInput, match=r"no such sheet.*known: Sheet, other"):
        table.read(path, sheet="third")


def test_a_spreadsheet_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(BadInput, match=r"pip install 'switchpoint\[xlsx\]'"):
        table.read(book(tmp_path / "t.xlsx"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a;b\n1;x,y\n", ("t.csv: cells are separated by a semicolon.",)),
        (b"a\tb\n1\tx,y\n", ("t.csv: cells are separated by a tab.",)),
        (b"sep=|\r\na|b\r\n1|x,y\r\n", ("t.csv: cells are separated by a bar.",)),
        (b"a, b\n1, 'x,y'\n", None),
        (b"'a','b'\n'1','x,y'\n", ("t.csv: cells are quoted by '.",)),
        (b'"a","b"\n"1","x,y"\n', ()),
        ("a;b\n1;x,y\n".encode("utf-16"), ("t.csv: cells are separated by a semicolon, the encoding is utf-16.",)),
        ("a;b\n1;x,y\n".encode("utf-16-le"), ("t.csv: cells are separated by a semicolon, the encoding is utf-16-le.",)),
        ("\ufeffa;b\n1;x,y\n".encode(), ("t.csv: cells are separated by a semicolon.",)),
    ],
)  # fmt: skip
def test_a_text_file_is_read_as_it_is_written(
    tmp_path: Path, content: bytes, said: tuple[str, ...] | None
) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    form = table.dialect(path, columns=lambda names: names)
    assert form is not None
    if said is not None:
        assert form.said(path.name) == said
        assert table.read(path, labels=["b"], form=form).to_pylist() == [{"a": 1, "b": "x,y"}]


def test_padded_cells_lose_their_spaces(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"variant, n, day\na, 1, 2026-03-08\nb, 2, 2026-03-08\n")
    form = table.dialect(path)
    assert form is not None
    assert form.said("t.csv") == ("t.csv: white space around cells is left out.",)
    found = table.read(path, columns=lambda names: [n for n in names if n != "day"], labels=["variant"])
    assert found.to_pylist() == [{"variant": "a", "n": 1}, {"variant": "b", "n": 2}]


def test_a_letter_late_in_the_file_tells_its_encoding(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"v,n\n" + b"a,1\n" * 1_500_000 + "Köln,2\n".encode("cp1252"))
    assert table.read(path, labels=["v"])["v"][-1].as_py() == "Köln"
    with pytest.raises(BadInput, match=r"cannot be read as a table"):
        table.read(path, form=table.dialect(path, encoding="utf-8"))


def test_cells_may_hold_line_breaks(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("v,n\n" + '"two\nlines",1\n' * 200_000)
    assert table.read(path).num_rows == 200_000
