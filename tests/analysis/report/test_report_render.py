"""Renderings of a report: every number in the text stands in the JSON, HTML is self-contained and escaped."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from jinja2 import UndefinedError

from switchpoint.analysis.report import terms
from switchpoint.analysis.report.charts import charts
from switchpoint.analysis.report.html import environment
from switchpoint.analysis.report.marks import theme
from switchpoint.analysis.report.page import page_of, summary_of
from switchpoint.analysis.report.report import Report, escape
from switchpoint.analysis.report.section import Cell, Table, transposed
from switchpoint.analysis.report.sections import report_sections, status_sections
from switchpoint.analysis.results.judgement import ExperimentResult
from switchpoint.experiment.language.document import from_body, to_body
from switchpoint.router.cli import render

_NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?%?(?: pp)?")


def numbers_of(text: str) -> list[str]:
    return [match.strip() for match in _NUMBER.findall(text)]


def json_numbers(value: object) -> list[float]:
    """Every number of a JSON document, also those inside its sentences."""
    if isinstance(value, bool) or value is None:
        return []
    if isinstance(value, int | float):
        return [float(value)]
    if isinstance(value, str):
        return [
            float(re.sub(r"[^\d.e+-]", "", n)) / (100 if n.endswith(("%", "pp")) else 1)
            for n in numbers_of(value)
        ]
    items = value.values() if isinstance(value, dict) else value
    return [number for item in items for number in json_numbers(item)]  # type: ignore[attr-defined]


def shown_in(token: str, known: np.ndarray) -> bool:
    """Whether some number of the JSON rounds to this token."""
    digits = token.replace(",", "").removesuffix(" pp").rstrip("%")
    value = float(digits)
    scale = 100.0 if token.endswith(("%", "pp")) else 1.0
    mantissa, _, exponent = digits.partition("e")
    decimals = len(mantissa.partition(".")[2])
    half = 0.5 * 10.0 ** (int(exponent or 0) - decimals)
    # integers of at least 1,000 are rounded amounts or counts
    return bool((np.abs(np.abs(known) * scale - abs(value)) <= half * (1 + 1e-9)).any())


def text_of(report: Report) -> str:
    lines = []
    for section in report_sections(report):
        lines += [section.title, *section.lines, *section.notes]
        if section.table:
            lines += ["  ".join(cell.text for cell in row) for row in section.table.rows]
    return "\n".join(lines)


def test_every_design_has_its_headline_in_every_rendering(designed: Report) -> None:
    """Text, Markdown, HTML and JSON of one report say the same design, interval and expected loss."""
    name, design = designed.header.design, designed.header.design.replace("_", " ")
    comparison = designed.matured.metrics[0].comparisons[0]
    words = {
        "fixed": "interval", "sequential": "confidence sequence", "group_sequential": "repeated interval",
        "bayesian": "credible interval",
    }  # fmt: skip
    for text in (text_of(designed), designed.to_markdown(), designed.to_html()):
        assert f"{design} design" in text
        assert words[name] in text
        assert "Expected loss" in text
    keys = [section.key for section in report_sections(designed)]
    assert ("looks" in keys) == (name == "group_sequential")
    assert set(charts(designed)) == {"cumulative", "segments", "metrics", "ratio", "arrivals"}
    found = json.loads(json.dumps(designed.to_dict(), allow_nan=False))
    held = found["matured"]["metrics"][0]["comparisons"][0]
    assert held["headline"] == comparison.headline
    assert held["posterior"]["loss_variant"] == comparison.posterior.loss_variant  # type: ignore[union-attr]
    assert (held["planned"] is not None) == (name == "group_sequential")
    others = [c.headline for m in designed.matured.metrics[1:] for c in m.comparisons]
    assert set(others) == ({"interval"} if name == "fixed" else {"sequence"})


@pytest.mark.parametrize(("name", "least"), [("report", 80), ("young", 40)])
def test_the_json_carries_every_number_the_text_shows(
    name: str, least: int, request: pytest.FixtureRequest
) -> None:
    report = request.getfixturevalue(name)
    known = np.array(json_numbers(json.loads(json.dumps(report.to_dict(), allow_nan=False))))
    text = text_of(report)
    # intervals in points are written [+1.20, +3.40] pp: the unit belongs to both sides
    text = re.sub(r"\[([^,\]]+), ([^\]]+)\] pp", r"\1 pp \2 pp", text)
    tokens = [t for t in numbers_of(text.replace("-∞", "").replace("+∞", "")) if not re.match(r"\d{4}$", t)]
    assert len(tokens) > least
    assert [t for t in tokens if not shown_in(t, known)] == []


def test_a_report_is_its_result_and_renders_it(report: Report) -> None:
    """The result tree renders nothing; what the doors return is one of the same fields that does."""
    held = {field.name: getattr(report, field.name) for field in fields(ExperimentResult)}
    assert Report.of(ExperimentResult(**held)) == report
    assert [field.name for field in fields(Report)] == [*held]
    assert replace(report, late=4).to_dict()["late"] == 4
    assert not [name for name in vars(ExperimentResult) if name.startswith(("to_", "_repr_markdown"))]


def test_the_text_shows_verdict_effect_sufficiency_and_sample_ratio(report: Report) -> None:
    keys = [section.key for section in status_sections(report)]
    assert keys == ["verdict", "effect", "live", "sufficiency", "sample-ratio"]
    full = {section.key for section in report_sections(report)}
    assert {"segments", "metrics", "guardrails", "checks", "variants", "pooled", "live", "thresholds"} <= full


@pytest.mark.parametrize("width", [80, 100])
def test_a_report_fits_the_terminal_without_breaking_a_number(
    report: Report, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only sentences wrap; an interval stands on one line."""
    monkeypatch.setattr(render, "_PIPE_WIDTH", width)
    sections = [s for s in report_sections(report) if s.key not in {"verdict", "experiment", "checks"}]
    lines = [line for s in sections for line in render.as_text([replace(s, lines=(), notes=())]).splitlines()]
    assert max(map(len, lines)) <= width
    assert all(line.count("[") == line.count("]") for line in lines)
    assert sum("[" in line for line in lines) >= 8


def test_a_young_report_shows_the_live_units_and_calls_nothing_checked(young: Report) -> None:
    shown = {section.key: section for section in report_sections(young)}
    assert not {"segments", "metrics", "guardrails", "pooled"} & set(shown)
    live = shown["live"]
    assert any("control 117, treatment 91" in line for line in live.lines)
    assert any("2026-05-29 00:00 UTC" in line for line in live.lines)
    ratio = shown["sample-ratio"].table
    assert ratio is not None
    assert [row[-1].text for row in ratio.rows] == ["not checked", "ok"]
    assert "none has matured" in shown["sufficiency"].lines[0]
    page = young.to_html()
    assert "Units, live" in page
    assert "Sample ratio, live" in page


def test_a_report_without_data_says_so_in_every_rendering(empty: Report) -> None:
    effect = next(s for s in report_sections(empty) if s.key == "effect")
    assert "matured" in " ".join((effect.title, *effect.lines, *effect.notes))
    assert charts(empty) == {}
    assert "<script>" not in empty.to_html()
    assert empty.to_markdown().startswith("# Experiment home")


class _Page(HTMLParser):
    """Collects what a browser would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts: list[str | None] = []
        self.outside: list[str] = []
        self.handlers: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "script":
            self.scripts.append(found.get("type"))
        self.outside += [v for k, v in attrs if k in {"src", "href", "action"} and v]
        self.handlers += [k for k, _ in attrs if k.startswith("on")]
        self.ids += [v for k, v in attrs if k == "id" and v]


def test_the_html_is_self_contained_and_escapes_everything(report: Report) -> None:
    page = report.to_html()
    parsed = _Page()
    parsed.feed(page)
    assert parsed.outside == []
    assert parsed.handlers == []
    assert parsed.scripts == [*["application/json"] * (len(charts(report)) + 1), None, None]
    assert "alert(1)</script>" not in page
    assert "default-src 'none'" in page
    assert "unsafe-eval" not in page
    assert "https://cdn" not in page


def test_every_script_of_the_page_is_allowed_by_its_hash(report: Report) -> None:
    from base64 import b64encode
    from hashlib import sha256

    page = report.to_html()
    policy = re.search(r"script-src ([^\"]+)\"", page)
    assert policy is not None
    for code in re.findall(r"<script>(.*?)</script>", page, re.DOTALL):
        assert f"'sha256-{b64encode(sha256(code.encode()).digest()).decode()}'" in policy.group(1)


def test_a_page_of_ones_own_extends_the_base_and_escapes_and_refuses_what_is_not_there() -> None:
    text = """{% extends "page.html.j2" %}
    {% block title %}{{ name }}{% endblock %}{% block body %}<p>{{ name|typeset }}</p>{% endblock %}
    {% block footer %}a footer{% endblock %}"""
    own = environment().from_string(text)
    page = own.render(name="<b> -3")
    assert "<title>&lt;b&gt; -3</title>" in page
    assert "<p>&lt;b&gt; −3</p>" in page
    assert "script-src 'none'" in page
    with pytest.raises(UndefinedError, match="name"):
        own.render()


def test_every_chart_has_its_place_and_its_table_in_the_page(report: Report) -> None:
    page = report.to_html()
    parsed = _Page()
    parsed.feed(page)
    assert set(charts(report)) == {"cumulative", "segments", "metrics", "ratio", "arrivals"}
    for key in charts(report):
        assert f"chart-{key}" in parsed.ids
    assert page.count("<table") >= 8


def test_a_page_and_a_summary_are_stored_and_read_back_as_they_were(report: Report) -> None:
    for made in (page_of(report), summary_of(report)):
        assert from_body(type(made), json.loads(json.dumps(to_body(made), allow_nan=False))) == made


def test_charts_compile_as_vega_lite_in_both_themes(report: Report) -> None:
    import vl_convert

    for spec in charts(report).values():
        for dark in (False, True):
            drawn = {**spec, "width": 400, "config": theme(dark=dark)}
            assert vl_convert.vegalite_to_svg(drawn).startswith("<svg")


def test_chart_points_are_the_numbers_of_the_report(report: Report) -> None:
    comparison = report.matured.metrics[0].comparisons[0]
    rows = charts(report)["segments"]["data"]["values"]
    assert [row["where"] for row in rows] == ["all segments", "us", "rest"]
    assert comparison.estimate is not None
    assert rows[0]["point"] == pytest.approx(100 * comparison.estimate.effect)
    assert len(charts(report)["cumulative"]["data"]["values"]) == report.matured.days


def test_markdown_escapes_what_would_be_markup(report: Report) -> None:
    text = report.to_markdown()
    assert "<script>" not in text.replace("\\<", "")
    assert escape("a|b\n*c*") == "a\\|b \\*c\\*"


def test_a_transposed_table_holds_the_same_cells() -> None:
    table = Table(columns=("a", "b"), rows=((Cell("1"), Cell("2")), (Cell("3"), Cell("4"))))
    turned = transposed(table)
    assert turned.columns == ("a", "1", "3")
    assert [[c.text for c in row] for row in turned.rows] == [["b", "2", "4"]]


def test_a_column_whose_name_does_not_say_it_says_what_it_means(report: Report) -> None:
    page = report.to_html()
    shown = set(re.findall(r'<abbr title="[^"]+">([^<]+)</abbr>', page))
    assert {"confidence sequence", "anytime p", "needed", "visible effect", "fallbacks"} <= shown
    sources = "".join(
        file.read_text() for file in Path(terms.__file__).parent.glob("*.py") if file.name != "terms.py"
    )
    assert [name for name in terms.MEANINGS if f'"{name}"' not in sources] == []
