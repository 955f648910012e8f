"""Renderings of many experiments: the rule's own numbers, a page that needs nothing, a table that fits."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import pyarrow as pa
import pytest

from switchpoint.analysis.frame import analyze
from switchpoint.analysis.report.charts import verdicts_by_group
from switchpoint.analysis.report.html import SHOWN, batch_html
from switchpoint.analysis.report.marks import theme
from switchpoint.analysis.report.report import BatchReport
from switchpoint.analysis.report.section import Section, Table
from switchpoint.analysis.report.sections import batch_sections
from switchpoint.experiment.language.experiment import load_spec
from switchpoint.router.cli import render

SPEC = """
metrics: [{key: ctr, type: proportion, role: primary}]
decision: {design: %s, mde: 20%%, min_runtime: 7d, max_runtime: 60d}
source:
  shape: counts
  assignment: randomised
  experiment: test
  variant: version
  day: day
  control: first
  weights: equal
  columns: {ctr: {n: seen, sum: clicked}}
"""
EVIL = '</td><script>alert("x")</script>'


def judged(design: str = "fixed", tests: int = 130) -> BatchReport:
    """Tests of three variants over two quarters: every fourth has a winner, every fifth a broken ratio."""
    rows: list[tuple[str, str, str, int, int]] = []
    for test in range(tests):
        name = f"{test:024d}" if test else EVIL
        for version in range(3):
            n = 9000 if version < 2 or test % 5 else 8000
            rate = 0.13 if version == 2 and not test % 4 else 0.1
            for day in range(14):
                month = 3 + 3 * (test % 2)
                n_day = n * (day + 1) // 14 - n * day // 14
                rows.append(
                    (name, f"v{version}", f"2026-{month:02d}-{day + 1:02d}", n_day, round(n_day * rate))
                )
    columns = dict(zip(("test", "version", "day", "seen", "clicked"), zip(*rows, strict=True), strict=True))
    found = analyze(pa.table({k: list(v) for k, v in columns.items()}), load_spec(SPEC % design))
    assert isinstance(found, BatchReport)
    return found


@pytest.fixture(scope="module")
def report() -> BatchReport:
    return judged()


def rows_of(report: BatchReport, **options: int) -> Table:
    table = batch_sections(report, **options)[1].table  # type: ignore[arg-type]  # test shorthand
    assert table is not None
    return table


def test_a_row_shows_the_interval_and_p_its_rule_decides_by_and_holm_beside_it(report: BatchReport) -> None:
    sequential = judged("sequential", tests=3)
    assert rows_of(report).columns[5:8] == ("lift interval", "p", "Holm p")
    assert rows_of(sequential).columns[5:8] == ("lift interval", "anytime p", "Holm p")
    row = report.rows[4]
    assert row.headline == "interval"
    assert row.p is not None
    assert row.adjusted_p == pytest.approx(min(1, 2 * row.p))
    assert row.headline_lift == row.lift_interval
    looked = sequential.rows[1]
    assert (looked.headline_p, looked.headline_lift) == (looked.anytime_p, looked.lift_sequence)


def test_units_and_needed_are_those_of_the_same_pair(report: BatchReport) -> None:
    row = report.rows[1]
    assert (row.n, row.n_compared) == (27_000, 18_000)
    columns = rows_of(report).columns
    cells = dict(zip(columns, (cell.text for cell in rows_of(report).rows[1]), strict=True))
    assert (cells["units"], cells["all units"]) == ("18,000", "27,000")
    assert cells["needed"] == f"{row.n_needed:,}"


def test_a_short_list_shows_decided_experiments_first(report: BatchReport) -> None:
    verdicts = [row[2].text for row in rows_of(report, rows=20).rows]
    assert verdicts == ["promote"] * 20
    assert [row[0].text for row in rows_of(report).rows] == [row.experiment for row in report.rows]


@pytest.mark.parametrize("width", [80, 100])
def test_the_terminal_tables_fit(report: BatchReport, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "_PIPE_WIDTH", width)
    lines = render.as_text(batch_sections(report, rows=20, reasons=False)).splitlines()
    assert max(map(len, lines)) <= width
    shown = [line for line in lines if re.match(r"\s*0{20}", line)]
    assert len(shown) == 20 or len(shown) == 19  # the evil name is shorter
    assert all(line.split()[1] == "promote" for line in shown)  # nothing wraps: name and verdict share a line


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[dict[str, str | None]] = []
        self.outside: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "tbody" and "data-verdict" in found:
            self.bodies.append(found)
        self.outside += [
            v for k, v in attrs if k in {"src", "href", "action"} and v and not v.startswith("#")
        ]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_holds_every_experiment_and_reason_without_scripts(report: BatchReport) -> None:
    page = batch_html(report)
    read = Page()
    read.feed(page)
    assert [body["data-verdict"] for body in read.bodies] == [row.verdict.value for row in report.rows]
    assert sum("class" in body for body in read.bodies) == len(report.rows) - SHOWN
    words = "".join(read.text).replace("−", "-")
    assert all(row.reason in words for row in report.rows)
    assert all(row.experiment in words for row in report.rows)
    # rows are hidden by the script's own class only
    assert ".js .many tbody.off" in page


def test_the_page_is_self_contained_and_runs_only_its_own_scripts(report: BatchReport) -> None:
    page = batch_html(report)
    read = Page()
    read.feed(page)
    assert read.outside == []
    assert 'alert("x")' not in page
    policy = re.search(r"script-src ([^\"]+)\"", page)
    assert policy is not None
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 1
    assert policy.group(1) == f"'sha256-{b64encode(sha256(scripts[0].encode()).digest()).decode()}'"


def test_the_page_stays_small_with_thousands_of_rows(report: BatchReport) -> None:
    """A row with its reason and the sentences of its checks costs under a kilobyte."""
    empty = batch_html(judged(tests=2))
    assert (len(batch_html(report)) - len(empty)) / 128 < 1000


def test_the_picture_counts_every_experiment_once_and_draws_in_both_themes(report: BatchReport) -> None:
    import vl_convert

    spec = verdicts_by_group(report)
    assert spec is not None
    assert sum(row["experiments"] for row in spec["data"]["values"]) == len(report.rows)
    for dark in (False, True):
        assert vl_convert.vegalite_to_svg({**spec, "width": 400, "config": theme(dark=dark)}).startswith(
            "<svg"
        )


def test_sections_say_what_their_columns_mean(report: BatchReport) -> None:
    experiments: Section = batch_sections(report)[1]
    assert any("fixed design" in note and "Holm" in note for note in experiments.notes)
    assert any("control and the variant" in note for note in experiments.notes)
