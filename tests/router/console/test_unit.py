"""One unit, explained: its assignments with every rule, what is on record of it, and the cells it moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from switchpoint.experiment.ledger.codec import parse_event
from switchpoint.router.console.access import Role
from switchpoint.router.console.views import unit as page
from tests.router import world
from tests.router.conftest import Project
from tests.router.console.conftest import Browser

LogIn = Callable[[Role], Browser]


@pytest.fixture
def viewer(log_in: LogIn) -> Browser:
    return log_in(Role.VIEWER)


def record(project: Project, *raws: dict[str, Any]) -> None:
    """Events as a door would have taken them."""
    plan = project.catalog.plan()
    events = [parse_event(raw, now=None) for raw in raws]
    assert set(project.ledger.record(events, plan)) == {"stored"}


def exposed(unit: str, variant: str, at: int, name: str = "x") -> dict[str, Any]:
    return {
        "id": name, "type": "exposure", "unit": unit, "at": at, "experiment": world.EXPERIMENT, "variant": variant,
        "segment": "us", "epoch": 1, "revision": 1, "propensity": 0.5, "dimensions": {"device": "ios"},
    }  # fmt: skip


def answer(viewer: Browser, query: str) -> dict[str, Any]:
    found = viewer.json(f"/explain?{query}")
    assert isinstance(found, dict)
    return found


def test_a_unit_is_explained_with_its_record_and_the_cells_it_moved(
    viewer: Browser, project: Project
) -> None:
    at = world.now_ms() - 10_000
    bought = {"id": "p", "type": "purchase", "unit": "u-1", "at": at + 5, "properties": {"amount": 19.99}}
    record(project, exposed("u-1", "treatment", at), bought)
    found = answer(viewer, "unit=u-1&attributes=country%3DUS")
    [assigned] = found["assignments"]
    assert (assigned["experiment"], assigned["segment"], assigned["enrolled"]) == (
        world.EXPERIMENT,
        "us",
        True,
    )
    assert [step["rule"] for step in assigned["steps"]]
    [standing] = found["record"]["experiments"]
    assert (standing["variant"], standing["first_exposure"], standing["epoch"]) == ("treatment", at, 1)
    assert {total["metric"]: total["total"] for total in standing["totals"]} == {
        "ctr": 0, "buyers": 1, "revenue": 19.99,
    }  # fmt: skip
    assert found["record"]["waits_for_refold"] is False
    assert [event["id"] for event in found["events"]] == ["p", "x"]
    assert [(cell["dimension"], cell["value"]) for cell in found["cells"]] == [(None, ""), ("device", "ios")]
    moments = project.ledger.moments(world.EXPERIMENT, project.catalog.plan())
    assert len(moments) == len(found["cells"])
    text = viewer.get("/explain?unit=u-1&attributes=country%3DUS")
    for said in ("In <strong>", "19.99", "device ios", "2 events", "Its events"):
        assert said in text


def test_the_page_says_of_a_unit_what_is_wrong_with_it(viewer: Browser, project: Project) -> None:
    at = world.now_ms() - 10_000
    record(project, exposed("u-2", "treatment", at), exposed("u-2", "control", at + 1, "y"))
    assert answer(viewer, "unit=u-2")["record"]["experiments"][0]["seen_in_two_variants"] is True
    assert "seen in two variants" in viewer.get("/explain?unit=u-2")
    record(project, {"id": "c", "type": "click", "unit": "u-3", "at": at})
    record(project, exposed("u-3", "control", at - 1))
    assert answer(viewer, "unit=u-3")["record"]["waits_for_refold"] is True
    assert "waits for a refold" in viewer.get("/explain?unit=u-3")


def test_of_many_events_the_last_are_shown_and_the_page_says_so(
    viewer: Browser, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "EVENTS", 3)
    at = world.now_ms() - 10_000
    record(
        project,
        *({"id": f"c{n}", "type": "click", "unit": "u-4", "at": at + n} for n in range(5)),
    )
    assert [event["id"] for event in answer(viewer, "unit=u-4")["events"]] == ["c4", "c3", "c2"]
    assert "The last 3 of 5" in viewer.get("/explain?unit=u-4")


def test_of_many_experiments_some_are_explained_and_the_rest_counted(
    viewer: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "_EXPERIMENTS", 0)
    assert answer(viewer, "unit=u")["left_out"] == 1
    assert "1 more runs; name one to see it" in viewer.get("/explain?unit=u")
    assert answer(viewer, "unit=u&experiment=home-ranker")["left_out"] == 0


def test_a_unit_of_which_nothing_is_known_is_explained_all_the_same(viewer: Browser) -> None:
    found = answer(viewer, "unit=nobody&experiment=home-ranker")
    assert found["record"] is None
    assert len(found["assignments"]) == 1
    assert "No event of this unit was accepted" in viewer.get("/explain?unit=nobody")
    assert "Explain a unit" in viewer.get("/explain")


@pytest.mark.parametrize(
    ("query", "field", "status"),
    [
        ("unit=", "unit", 400),
        ("unit=a%00b", "unit", 400),
        ("unit=u&attributes=country", "attributes", 400),
        ("unit=u&experiment=none", "experiment", 404),
    ],
)
def test_what_is_wrong_stands_in_the_form(viewer: Browser, query: str, field: str, status: int) -> None:
    text = viewer.get(f"/explain?{query}")
    assert 'role="alert"' in text
    assert f'id="wrong-{field}"' in text
    assert "What to do" in text
    assert 'name="unit"' in text
    viewer.json(f"/explain?{query}", status)


def test_texts_of_events_are_shown_and_never_run(viewer: Browser, project: Project) -> None:
    evil = "<script>alert(1)</script>"
    record(
        project,
        {"id": evil, "type": "click", "unit": evil, "at": world.now_ms(), "properties": {evil: evil}},
    )
    text = viewer.get("/explain?unit=%3Cscript%3Ealert(1)%3C/script%3E&attributes=a%3D%3Cscript%3Ealert(1)")
    assert "&lt;script&gt;alert" in text
    assert "<script>alert" not in text


def test_while_the_store_is_away_nothing_is_explained(viewer: Browser, project: Project) -> None:
    project.server.stop()
    assert "Nothing was changed" in viewer.get("/explain?unit=u", 503)
    viewer.json("/explain?unit=u", 503)
