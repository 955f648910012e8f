"""What the API does, through programs and through the pages' forms: the functions of the command line, audited."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from switchpoint.experiment.definition.types import BUCKETS
from switchpoint.router.console.access import Role
from switchpoint.router.console.project import Project as Behind
from tests.router import world
from tests.router.conftest import Project
from tests.router.console.conftest import Browser

LogIn = Callable[[Role], Browser]
KEY = f"/experiments/{world.EXPERIMENT}"


@pytest.fixture
def operator(log_in: LogIn) -> Browser:
    return log_in(Role.OPERATOR)


def document(browser: Browser) -> dict[str, Any]:
    answer = browser.json(KEY)
    assert isinstance(answer, dict)
    return answer


def problem(answer: object) -> dict[str, Any]:
    assert isinstance(answer, dict)
    [error] = answer["errors"]
    return {"code": answer["code"], **error}


def test_an_experiment_goes_through_its_life(operator: Browser, project: Project) -> None:
    assert document(operator)["status"] == "running"
    operator.call(f"{KEY}/pause", {"reason": "a look"})
    assert document(operator)["status"] == "paused"
    operator.call(f"{KEY}/resume")
    operator.call(f"{KEY}/ramp", {"traffic": {"rest": "50%", "us": 0.5}, "reason": "more"})
    assert document(operator)["traffic"] == {"us": 0.5, "ca": 1.0, "rest": 0.5}
    operator.call(f"{KEY}/decide", {"why": "to see"})
    operator.call(f"{KEY}/stop")
    timeline = operator.json(f"{KEY}/timeline")
    assert isinstance(timeline, dict)
    assert [one["action"].split()[0] for one in timeline["history"]][-4:] == [
        "pause",
        "resume",
        "ramp",
        "stop",
    ]
    assert timeline["decisions"][0]["why"] == "to see"
    assert {one["actor"] for one in timeline["history"][-4:]} == {"operator"}
    audit = operator.json("/audit")
    assert isinstance(audit, dict)
    assert [entry["action"] for entry in audit["entries"]][-5:] == [
        "pause",
        "resume",
        "ramp",
        "decide",
        "stop",
    ]
    assert audit["entries"][-1]["seq"] == audit["head"]["seq"] == project.catalog.revision()
    assert (project.data / "journal-default.jsonl").read_text().count("\n") == project.catalog.revision()


def test_a_form_does_the_same_and_shows_what_was_done(operator: Browser) -> None:
    page = operator.send(f"/api/v1{KEY}/ramp", {"traffic.rest": "50", "traffic.us": "", "reason": "more"})
    assert "Done: ramp home-ranker" in page
    assert document(operator)["traffic"] == {"us": 1.0, "ca": 1.0, "rest": 0.5}
    page = operator.send(f"/api/v1{KEY}/pause", {"reason": ""})
    assert ">paused<" in page
    assert "Resume" in page


def test_every_action_says_before_what_it_will_do(operator: Browser) -> None:
    page = operator.get(KEY)
    for action in ("decide", "override", "ramp", "pause", "stop"):
        assert f"{KEY}/do/{action}" in page
        asked = operator.get(f"{KEY}/do/{action}")
        assert 'name="csrf"' in asked
        assert " checked" not in asked  # nothing is chosen before
    assert f"{KEY}/do/promote" not in page  # no decision says so
    assert "ranker@1 for everybody" in operator.get(f"{KEY}/do/override")
    assert "no such action" in operator.get(f"{KEY}/do/fly", 404)


def test_a_promotion_rests_on_a_decision_or_on_a_reason(operator: Browser, project: Project) -> None:
    refused = problem(operator.call(f"{KEY}/promote", {"variant": "treatment"}, 409))
    assert refused["code"] == "refused"
    assert "no decision is on record" in refused["message"]
    page = operator.send(f"/api/v1{KEY}/promote", {"variant": "treatment", "override": " "}, 409)
    assert "no decision is on record" in page
    assert "Nothing was changed" in page
    page = operator.send(
        f"/api/v1{KEY}/promote",
        {"variant": "treatment", "override": "model 1 is withdrawn", "segments": ["us"]},
    )
    assert "Done: promote ranker@2 in us" in page
    assert project.catalog.champion("ranker").incumbents.version_for("us") == 2
    assert project.catalog.champion("ranker").incumbents.version_for("ca") == 1


def test_who_comes_second_with_a_promotion_is_told_and_nothing_is_done(
    operator: Browser, project: Project
) -> None:
    project.catalog.crown(
        project.catalog.models("ranker")[1].ref, reason="somebody else", at=world.now_ms(), actor="else"
    )
    before = project.catalog.revision()
    page = operator.send(
        f"/api/v1{KEY}/promote", {"variant": "control", "override": "back", "expected": "1"}, 409
    )
    assert "Nothing was changed" in page
    assert project.catalog.revision() == before


def test_a_rollback_takes_the_last_promotion_back(operator: Browser, project: Project) -> None:
    operator.call(f"{KEY}/promote", {"variant": "treatment", "override": "to see"})
    assert "The change that is undone" in operator.get("/models/ranker/do/rollback")
    operator.send("/api/v1/models/ranker/rollback", {"reason": "complaints"})
    assert project.catalog.champion("ranker").incumbents.version_for("us") == 1


def test_a_definition_is_checked_planned_and_applied(operator: Browser) -> None:
    text = world.DEFINITION.replace("rest, traffic: 20%", "rest, traffic: 40%")
    assert operator.call("/validate", {"definition": text}) == {"valid": True, "key": "home-ranker"}
    plan = operator.call("/plan", {"definition": text})
    assert isinstance(plan, dict)
    assert plan["action"] == "revise"
    assert any("traffic" in line for line in plan["lines"])
    operator.call("/experiments", {"definition": text, "reason": "wider"})
    assert document(operator)["traffic"]["rest"] == 4000 / BUCKETS
    broken = operator.call("/validate", {"definition": "key: [1"}, 400)
    assert isinstance(broken, dict)
    assert broken["code"] == "bad_definition"


@pytest.mark.parametrize(
    ("path", "body", "field", "said"),
    [
        ("/ramp", {}, "traffic", "is missing"),
        ("/ramp", {"traffic": {"us": "120%"}}, "traffic.us", "is not a share"),
        ("/ramp", {"traffic": {"us": True}}, "traffic.us", ""),
        ("/ramp", {"traffic": {"moon": "5%"}}, "segment", ""),
        ("/ramp", {"traffic": []}, "traffic", "is no shares by name"),
        ("/pause", {"why": "x"}, "why", "unknown key"),
        ("/pause", {"reason": 5}, "reason", "is no text"),
        ("/promote", {"variant": "third"}, "variant", "no such variant"),
        ("/promote", {"variant": "treatment", "segments": [1]}, "segments", "is a list of names"),
    ],
)
def test_bad_input_names_field_and_fix_and_changes_nothing(
    operator: Browser, project: Project, path: str, body: object, field: str, said: str
) -> None:
    before = project.catalog.revision()
    answer = operator.client.post(f"/api/v1{KEY}{path}", json=body, headers={"X-CSRF-Token": operator.csrf})
    assert answer.status_code in {400, 404}
    found = problem(answer.get_json(force=True))
    assert found["field"].startswith(field)
    assert said in found["message"]
    assert found["fix"]
    assert project.catalog.revision() == before


def test_what_is_no_json_and_what_there_is_not(operator: Browser) -> None:
    headers = {"X-CSRF-Token": operator.csrf}
    answer = operator.client.post(f"/api/v1{KEY}/pause", data=b"[", headers=headers)
    assert answer.status_code == 400
    assert answer.content_type == "application/problem+json"
    for path in (
        "/experiments/none",
        "/experiments/none/report",
        "/models/none",
        "/reports/none",
        "/nothing",
    ):
        operator.json(path, 404)
    assert "There is no such thing" in operator.get("/experiments/none", 404)
    assert "unknown experiment none" in operator.get("/experiments/none", 404)


def test_texts_of_others_are_shown_and_never_run(operator: Browser, behind: Behind) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    operator.call(f"{KEY}/pause", {"reason": evil})
    state = {
        "key": world.EXPERIMENT, "status": "paused", "owner": evil, "model": "ranker", "hypothesis": evil,
    }  # fmt: skip
    behind.board.put("summary", world.EXPERIMENT, {"state": state, "summary": None, "problem": evil}, at=1)
    for path in ("/", KEY, "/audit", f"/?q={evil}", "/experiments/<script>alert(1)<script>"):
        text = operator.client.get(path).get_data(as_text=True)
        assert "<script>alert" not in text
        assert "<img" not in text
        assert "&lt;script&gt;" in text


def test_while_the_store_is_away_pages_show_the_last_known_state(
    operator: Browser, behind: Behind, project: Project
) -> None:
    state = {
        "key": world.EXPERIMENT,
        "status": "running",
        "owner": "search-team",
        "model": "ranker",
        "hypothesis": "",
    }
    behind.board.put("summary", world.EXPERIMENT, {"state": state, "summary": None, "problem": None}, at=1)
    project.server.stop()
    assert "search-team" in operator.get("/")
    page = operator.get(f"{KEY}?done=1")
    assert "The store is away" in page
    assert "/do/" not in page
    refused = operator.client.post(f"/api/v1{KEY}/pause", json={}, headers={"X-CSRF-Token": operator.csrf})
    assert refused.status_code == 503


def test_any_two_variants_are_compared_in_a_report_made_now(operator: Browser) -> None:
    asked = operator.get(f"{KEY}/compare")
    assert asked.count("<option>control") == 2
    page = operator.get(f"{KEY}/compare?a=treatment&b=control")
    assert "Made now" in page
    report = operator.json(f"{KEY}/report?compare=treatment,control")
    assert isinstance(report, dict)
    assert report["header"]["key"] == world.EXPERIMENT
    for query, said in (
        ("a=treatment&b=treatment", ""),
        ("a=treatment&b=moon", "moon"),
        ("a=treatment&b=", ""),
    ):
        refused = operator.client.get(f"{KEY}/compare?{query}")
        assert refused.status_code in {400, 404}
        assert said in refused.get_data(as_text=True)
    assert problem(operator.json(f"{KEY}/report?compare=treatment", 400))["field"] == "compare"


def test_what_was_done_is_what_this_caller_did(operator: Browser, project: Project) -> None:
    """Applying the same again does nothing, whatever somebody else did last."""
    page = operator.send("/api/v1/experiments", {"definition": world.DEFINITION, "reason": ""})
    assert "Done:" not in page
    page = operator.send(f"/api/v1{KEY}/pause", {"reason": ""})
    assert "Done: pause home-ranker" in page
