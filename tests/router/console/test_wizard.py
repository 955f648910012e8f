"""An experiment built step by step: written as YAML, checked and planned as the command line does, applied."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

import pytest

from switchpoint.experiment.language.experiment import load
from switchpoint.router.console.access import Role
from tests.router import world
from tests.router.conftest import Project
from tests.router.console.conftest import Browser

LogIn = Callable[[Role], Browser]
STEPS: dict[str, object] = {
    "key": "new-ranker", "hypothesis": 'Model 2: "better" # really', "owner": "search-team", "unit": "user_id",
    "control": "ranker@1", "treatment": ["ranker@2"],
    "segment_1_key": "us", "segment_1_attribute": "country", "segment_1_values": "US, CA", "segment_1_traffic": "50%",
    "segment_2_key": "rest",
    "metric_1_key": "ctr", "metric_1_type": "ratio", "metric_1_role": "primary", "metric_1_event": "click",
    "metric_1_denominator": "impression",
    "metric_2_key": "revenue", "metric_2_type": "mean", "metric_2_event": "purchase", "metric_2_value": "amount",
    "metric_2_decimals": "2",
    "metric_3_key": "latency", "metric_3_type": "ratio", "metric_3_role": "guardrail", "metric_3_event": "prediction",
    "metric_3_value": "latency_ms", "metric_3_denominator": "prediction", "metric_3_direction": "decrease",
    "metric_3_margin": "5%",
    "design": "fixed", "mde": "2%", "alpha": "0.05", "power": "0.9", "min_runtime": "14d", "max_runtime": "28d",
    "window": "7d",
}  # fmt: skip


@pytest.fixture
def analyst(log_in: LogIn) -> Browser:
    return log_in(Role.ANALYST)


@pytest.fixture
def operator(log_in: LogIn) -> Browser:
    return log_in(Role.OPERATOR)


def post(browser: Browser, form: dict[str, Any]) -> str:
    return browser.send("/design/new", form, 200)


def text_of(page: str) -> str:
    """The YAML that the page holds."""
    found = re.search(r'name="definition" rows[^>]*>\n(.*?)</textarea>', page, re.DOTALL)
    assert found
    return html.unescape(found.group(1))


def test_the_steps_become_a_definition_that_is_applied_as_a_draft(
    operator: Browser, project: Project
) -> None:
    page = post(operator, {**STEPS, "write": "1"})
    text = text_of(page)
    made = load(text)
    assert made.hypothesis == STEPS["hypothesis"]
    assert [(v.key, str(v.model)) for v in made.variants] == [
        ("control", "ranker@1"),
        ("treatment", "ranker@2"),
    ]
    assert made.segments[0].when == {"country": {"$in": ["US", "CA"]}}
    assert [m.key for m in made.metrics] == ["ctr", "revenue", "latency"]
    assert made.decision.power == 0.9
    assert "Applying it would create new-ranker" in page
    assert "no unit enters before it is started" in page
    before = project.catalog.revision()
    done = operator.send("/api/v1/experiments", {"definition": text, "reason": "a wizard"})
    assert "Done: apply new-ranker" in done
    assert project.catalog.revision() == before + 1
    assert project.catalog.experiment("new-ranker").status == "draft"


def test_the_text_is_the_truth_and_what_is_typed_into_it_stays(analyst: Browser) -> None:
    text = text_of(post(analyst, {**STEPS, "write": "1"})).replace("window: 7d", "# a week\nwindow: 7d")
    again = text_of(post(analyst, {"definition": text, "owner": "others", "write": "1"}))
    assert "# a week" in again
    assert load(again).owner == "others"
    assert load(again).metrics == load(text).metrics
    assert text_of(post(analyst, {"definition": text, "owner": "others", "check": "1"})) == text


def test_checking_says_what_validate_and_plan_say_and_changes_nothing(
    analyst: Browser, project: Project
) -> None:
    before = project.catalog.revision()
    wider = world.DEFINITION.replace("rest, traffic: 20%", "rest, traffic: 40%")
    page = post(analyst, {"definition": wider})
    planned = analyst.call("/plan", {"definition": wider})
    assert isinstance(planned, dict)
    assert "Applying it would revise home-ranker" in page
    assert planned["lines"]
    for line in planned["lines"]:
        assert line in html.unescape(page)
    assert "needs the role operator" in page
    frozen = post(analyst, {"definition": world.DEFINITION.replace("window: 7d", "window: 8d")})
    assert "would be refused" in frozen or "Not valid yet" in frozen
    wrong = post(
        analyst,
        {"definition": world.DEFINITION.replace("mde: 2%", "mde: lots").replace("unit: user_id", "unti: x")},
    )
    assert "Not valid yet" in wrong
    assert wrong.count("line ") >= 2
    assert "unti" in wrong
    assert project.catalog.revision() == before


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"control": "ranker@1"}, "treatment"),
        ({"treatment": ["ranker@2"]}, "control"),
        ({"segment_2_traffic": "5%"}, "segment_2_key"),
        ({"segment_1_key": "us", "segment_1_attribute": "country"}, "segment_1_values"),
        ({"segment_1_key": "us", "segment_1_values": "US"}, "segment_1_attribute"),
        ({"definition": '{"key": "x"}', "owner": "me"}, "definition"),
    ],
)
def test_half_a_step_is_told_beside_its_field(analyst: Browser, form: dict[str, Any], field: str) -> None:
    page = post(analyst, {**form, "write": "1"})
    assert re.findall(r'class="mistake" id="wrong-([^"]*)"', page) == [field]


def test_what_is_typed_is_shown_and_never_run_nor_a_key_of_its_own(analyst: Browser) -> None:
    evil = "x}]\nkey: other\n<script>alert(1)</script></textarea>"
    for name in STEPS:
        page = post(analyst, {**STEPS, name: evil, "write": "1"})
        assert "<script>alert" not in page
        if name not in {"control", "treatment"}:
            assert text_of(page).count("\nkey: ") == 0
    page = post(analyst, {"definition": evil})
    assert "<script>alert" not in page


def test_the_design_pages_figures_become_the_rule(analyst: Browser) -> None:
    page = analyst.get("/design?rate=10%25&mde=5%25&per_day=20000&design=fixed")
    address = re.search(r'href="(/design/new\?[^"]+)"', page)
    assert address
    wizard = analyst.get(html.unescape(address.group(1)))
    assert 'name="mde" value="5%"' in wizard
    assert "<option selected>fixed</option>" in wizard
    assert 'name="max_runtime" value="7d"' in wizard
    assert "Event types this project has seen: none yet" in wizard
