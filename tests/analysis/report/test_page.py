"""A page and a summary are plain data: they come back from JSON as they were, and name what has to be done."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from switchpoint.analysis.analyze import analyze_ledger
from switchpoint.analysis.report.charts import charts
from switchpoint.analysis.report.html import environment, report_html
from switchpoint.analysis.report.page import Page, Summary, page_of, summary_of
from switchpoint.analysis.report.report import Report
from switchpoint.analysis.report.section import Tone
from switchpoint.analysis.report.sections import report_sections
from switchpoint.analysis.results.judgement import Check, Severity, Shown
from switchpoint.analysis.results.numbers import Finding
from switchpoint.experiment.definition.state import Change
from switchpoint.experiment.language.document import canonical, from_body, to_body
from switchpoint.experiment.registry.decision import VerdictKind
from tests.analysis.cases import DAY, counts, definition, running
from tests.analysis.test_report import BETTER, SAME
from tests.analysis.test_report import report as of


def checked(*found: tuple[str, Severity]) -> tuple[Check, ...]:
    return tuple(Check(name=n, severity=s, message=n, numbers={}) for n, s in found)


@pytest.fixture(params=["report", "young", "empty", "designed"])
def any_report(
    request: pytest.FixtureRequest, report: Report, young: Report, empty: Report, designed: Report
) -> Report:
    return {"report": report, "young": young, "empty": empty, "designed": designed}[request.param]


def test_a_page_and_a_summary_come_back_from_json_as_they_were(any_report: Report) -> None:
    page, summary = page_of(any_report), summary_of(any_report)
    assert from_body(Page, json.loads(canonical(to_body(page)))) == page
    assert from_body(Summary, json.loads(canonical(to_body(summary)))) == summary


def test_a_stored_page_is_laid_out_as_the_report(report: Report) -> None:
    stored = from_body(Page, json.loads(json.dumps(to_body(page_of(report)))))
    assert environment().get_template("report.html.j2").render(page=stored) == report_html(report)


def test_a_page_holds_every_section_of_the_report_once_in_reading_order(report: Report) -> None:
    keys = [section.key for section in page_of(report).sections]
    assert len(set(keys)) == len(keys)
    assert {s.key for s in report_sections(report)} - {"verdict"} <= set(keys)
    order = ["checks", "effect", "sufficiency", "metrics", "segments", "experiment"]
    assert [key for key in keys if key in order] == order


def test_the_sentence_names_models_and_a_summary_says_how_far_it_is() -> None:
    found = of(counts(BETTER))
    page, summary = page_of(found), summary_of(found)
    assert (page.label, page.sentence) == ("PROMOTE treatment", "Promote ranker@2 (treatment).")
    assert (page.tone, page.lines[0]) == (Tone.GOOD, found.verdict.reasons[0])
    assert f"<h1>{page.sentence}</h1>" in report_html(found)
    assert (summary.metric, summary.lift) == ("buyers", "+20.0%")
    assert (summary.health.tone, summary.attention) == (Tone.GOOD, 1)
    assert summary.interval.startswith("[+")


def test_every_reason_stands_on_the_page_once_and_what_is_worse_beside_the_sentence(report: Report) -> None:
    worse = Shown(metric="m", variant="treatment", finding=Finding.WORSE, sentence="it is worse")
    verdict = replace(
        report.verdict,
        reasons=("a", "b", "c", "d", worse.sentence),
        worse=(worse,),
        what_would_change=("more.",),
    )
    page = page_of(replace(report, verdict=verdict, warnings=("a warning", report.checks[0].message)))
    assert page.lines == ("a", "b", "c", "it is worse", "What would change it: more.")
    rest = next(section for section in page.sections if section.key == "reasons")
    assert (rest.lines, rest.notes) == (("d",), ("a warning",))


def test_a_list_is_sorted_by_what_needs_somebody() -> None:
    """Broken first, then what waits for a person, then warnings; that it is too early is no fault."""
    going = of(counts(SAME, days=10))
    assert going.verdict.kind is VerdictKind.CONTINUE
    early = replace(going, checks=checked(("runtime", Severity.GATE), ("rows", Severity.OK)))
    warned = replace(going, checks=checked(("novelty", Severity.WARN), ("jump", Severity.WARN)))
    broken = replace(going, checks=checked(("sample ratio", Severity.INVALID), ("jump", Severity.WARN)))
    found = [summary_of(one) for one in (broken, of(counts(BETTER)), warned, early)]
    assert [one.attention for one in found] == [0, 1, 2, 3]
    says = [one.health.says for one in found]
    assert says[0] == "sample ratio"
    assert says[2:] == ["novelty and 1 more", "2 checks found nothing"]


def test_what_changed_while_it_ran_is_marked_in_every_chart_of_days() -> None:
    state = running(definition())
    later = replace(
        state, history=(*state.history, Change(at=9 * DAY, actor="a", action="ramp all 50% -> 100%"))
    )
    found = analyze_ledger(later, counts(BETTER), at=100 * DAY)
    assert [(c.day, c.what) for c in found.header.changes] == [("1970-01-10", "ramp all 50% -> 100%")]
    drawn = charts(found)
    for name in ("cumulative", "ratio", "arrivals"):
        marks = [layer["data"]["values"] for layer in drawn[name]["layer"] if "data" in layer]
        assert marks == [[{"day": "1970-01-10", "what": "ramp all 50% -> 100%"}]] * 2
    assert not any("data" in layer for layer in charts(of(counts(BETTER)))["cumulative"]["layer"])
    assert "ramp all 50% -&gt; 100%" in found.to_html()
    assert "1970-01-10 ramp all" in found.to_markdown()


def test_arrivals_are_the_units_of_every_variant_and_day() -> None:
    found = of(counts(BETTER))
    rows = charts(found)["arrivals"]["data"]["values"]
    assert [row["variant"] for row in rows] == ["control"] * 21 + ["treatment"] * 21
    assert sum(row["units"] for row in rows) == found.live.n


@pytest.mark.parametrize(
    ("fast", "slow", "enough", "said"),
    [
        (2, 3, False, "2 to 3 weeks"),
        (1, 1, False, "1 week"),
        (2, None, False, "2 weeks"),
        (None, None, False, "–"),
        (0, 0, True, "enough units"),
    ],
)
def test_the_time_that_is_left_has_its_unit_and_its_range(
    fast: int | None, slow: int | None, enough: bool, said: str
) -> None:
    found = of(counts(BETTER))
    [metric] = found.matured.metrics
    [c] = metric.comparisons
    assert c.sufficiency is not None
    far = replace(c.sufficiency, weeks_left=fast, weeks_left_slow=slow, enough=enough)
    reading = replace(metric, comparisons=(replace(c, sufficiency=far),))
    assert summary_of(replace(found, matured=replace(found.matured, metrics=(reading,)))).left == said
