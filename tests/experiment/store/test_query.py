"""The query engine: exact integers, sessions of their own, a memory limit, nothing but what was loaded."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from switchpoint.experiment.store.query import session


def test_sums_of_products_beyond_64_bits_are_whole() -> None:
    with session(threads=1) as engine:
        engine.load("rows", {"x": pa.array([2**62, 2**62 - 1])})
        found = engine.values("select sum(cast(x as hugeint) * x) as xx, count(*) as n from rows")
    assert found == {"xx": [2**124 + (2**62 - 1) ** 2], "n": [2]}


def test_products_in_64_bits_are_refused_rather_than_wrong() -> None:
    with session(threads=1) as engine:
        engine.load("rows", {"x": np.array([2**62])})
        with pytest.raises(duckdb.OutOfRangeException):
            engine.values("select sum(x * x) as xx from rows")


def test_sessions_do_not_see_each_other() -> None:
    with session(threads=1) as one, session(threads=1) as other:
        for number, engine in enumerate((one, other)):
            engine.load("rows", {"x": np.array([number])})
            engine.run("create or replace temp table kept as select x + 1 as x from rows")
        assert [engine.values("select x from kept")["x"] for engine in (one, other)] == [[1], [2]]


def test_a_query_reads_no_file(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("x\n1\n")
    with session(threads=1) as engine, pytest.raises(duckdb.Error):
        engine.values(f"select * from '{tmp_path / 'rows.csv'}'")


def test_a_variable_of_ours_is_no_relation() -> None:
    rows = pa.table({"x": [1]})
    with session(threads=1) as engine, pytest.raises(duckdb.CatalogException):
        engine.values("select x from rows")
    assert rows.num_rows == 1


def test_what_does_not_fit_into_the_memory_limit_is_written_to_disk() -> None:
    """Groups of 2,000,000 units need some 150 MB."""
    size = 2_000_000
    with session(threads=1, memory_limit="64MB") as engine:
        engine.load("rows", {"unit": np.arange(size), "x": np.ones(size, dtype=np.int64)})
        engine.run(
            "create or replace temp table units as select unit, sum(x) as x, min(x) as y from rows group by unit"
        )
        assert engine.values("select sum(x) as x, count(*) as n from units") == {"x": [size], "n": [size]}


def _asked(answers: multiprocessing.Queue[list[int]]) -> None:
    with session(threads=2) as engine:
        answers.put(engine.values("select 1 as x")["x"])


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_has_an_engine_of_its_own() -> None:
    with session(threads=2) as engine:
        engine.values("select 1 as x")
    fork = multiprocessing.get_context("fork")
    answers: multiprocessing.Queue[list[int]] = fork.Queue()
    process = fork.Process(target=_asked, args=(answers,))
    process.start()
    assert answers.get(timeout=60) == [1]
    process.join(timeout=60)
    assert process.exitcode == 0
