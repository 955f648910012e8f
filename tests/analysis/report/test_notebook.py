"""What a notebook shows: the page in a frame of its own, charts by name, numbers as data frames."""

from __future__ import annotations

import html
import math
import sys

import pandas as pd
import polars as pl
import pytest

from switchpoint import load_spec
from switchpoint.analysis.frame import analyze
from switchpoint.analysis.report.charts import charts
from switchpoint.analysis.report.report import BatchReport, Report
from switchpoint.analysis.results.sentences import deciding
from switchpoint.experiment.errors import BadInput


@pytest.fixture(scope="module")
def batch() -> BatchReport:
    spec = load_spec(
        "metrics: [{key: ctr, type: proportion, role: primary}]\n"
        "decision: {design: fixed, mde: 10%}\n"
        "source: {shape: counts, assignment: randomised, experiment: e, variant: v, control: a, weights: equal,"
        " columns: {ctr: {n: n, sum: x}}}\n"
    )
    frame = pd.DataFrame(
        {"e": ["1", "1", "2", "2"], "v": ["a", "b"] * 2, "n": [9000] * 4, "x": [900, 1100, 0, 0]}
    )
    found = analyze(frame, spec)
    assert isinstance(found, BatchReport)
    return found


def test_a_notebook_shows_the_whole_page_apart_from_its_own(report: Report) -> None:
    shown = report._repr_html_()
    assert shown.startswith("<iframe ")
    assert 'sandbox="allow-scripts"' in shown
    page = shown.partition('srcdoc="')[2].partition('"></iframe>')[0]
    assert '"' not in page
    assert html.unescape(page) == report.to_html()


def test_charts_are_drawn_by_their_name(report: Report, empty: Report) -> None:
    for name, spec in charts(report).items():
        found = report.plot(name)
        assert found.spec["data"] == spec["data"]
        shown = found._repr_mimebundle_()
        assert set(shown) == {"application/vnd.vegalite.v6+json", "image/svg+xml"}
        assert str(shown["image/svg+xml"]).startswith("<svg")
    assert report.plot().spec == report.plot(next(iter(charts(report)))).spec
    with pytest.raises(BadInput, match="no such chart"):
        report.plot("segment")
    with pytest.raises(BadInput, match="nothing to draw yet"):
        empty.plot()


def test_a_data_frame_has_the_numbers_of_the_report(report: Report) -> None:
    pandas, polars = report.to_pandas(), report.to_polars()
    assert isinstance(pandas, pd.DataFrame)
    assert isinstance(polars, pl.DataFrame)
    assert list(pandas.columns) == polars.columns
    for row, metric in zip(polars.iter_rows(named=True), report.matured.metrics, strict=True):
        [c] = metric.comparisons
        read = deciding(c)
        assert read is not None
        assert read.interval is not None
        assert (row["metric"], row["finding"]) == (metric.key, c.finding.value)
        assert (row["effect"], row["lift"], row["p"]) == (read.effect, read.lift, read.p)
        assert (row["effect_lower"], row["effect_upper"]) == (read.interval.lower, read.interval.upper)
    assert pandas["effect"].tolist() == polars["effect"].to_list()


def test_what_cannot_be_estimated_is_missing(empty: Report) -> None:
    [value] = {math.isnan(v) for v in empty.to_pandas()["effect"]}
    assert value
    assert empty.to_polars()["effect"].null_count() == 3


def test_many_experiments_have_a_row_each(batch: BatchReport) -> None:
    found = batch.to_polars()
    assert found["experiment"].to_list() == [row.experiment for row in batch.rows]
    assert found["lift"].to_list() == [row.lift for row in batch.rows]
    assert batch.to_pandas()["verdict"].tolist() == [row.verdict.value for row in batch.rows]
    assert batch._repr_html_().startswith("<iframe ")
    with pytest.raises(BadInput, match="nothing to draw"):
        batch.plot()


def test_a_library_that_is_not_there_is_named(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(BadInput, match=r"switchpoint\[polars\]"):
        report.to_polars()
