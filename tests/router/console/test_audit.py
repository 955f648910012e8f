"""The audit log on pages: sought by who, what and of what; each entry as a diff; and whether the chain holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from switchpoint.experiment.registry.audit import Note
from switchpoint.router.console.access import Role
from switchpoint.router.console.project import Project as Behind
from switchpoint.router.console.views import audit as page
from tests.router import world
from tests.router.conftest import Project
from tests.router.console.conftest import Browser
from tests.waiting import patient

LogIn = Callable[[Role], Browser]
AUDIT = "au:{default}"


@pytest.fixture
def viewer(log_in: LogIn) -> Browser:
    return log_in(Role.VIEWER)


@pytest.fixture
def ramped(project: Project) -> int:
    """The number of an entry that changed a traffic of 20% to 50%."""
    project.catalog.ramp(world.EXPERIMENT, {"rest": 5000}, at=1_000, actor="anna", reason="more")
    project.catalog.pause(world.EXPERIMENT, at=2_000, actor="Bert", reason="a look")
    return project.catalog.revision() - 1


def found(viewer: Browser, query: str = "") -> dict[str, Any]:
    answer = viewer.json(f"/audit?{query}")
    assert isinstance(answer, dict)
    return answer


def numbers(viewer: Browser, query: str) -> list[int]:
    return [entry["seq"] for entry in found(viewer, query)["entries"]]


@pytest.mark.parametrize(
    ("query", "actions"),
    [
        ("actor=anna", ["ramp"]),
        ("actor=BER", ["pause"]),
        ("action=ramp&actor=bert", []),
        ("subject=home-ranker&action=pause", ["pause"]),
        ("after=5", ["pause"]),
    ],
)
def test_entries_are_sought_by_who_what_and_of_what(
    viewer: Browser, ramped: int, query: str, actions: list[str]
) -> None:
    assert ramped == 5
    assert [entry["action"] for entry in found(viewer, query)["entries"]] == actions
    text = viewer.get(f"/audit?{query}")
    assert text.count('href="/audit/') - text.count('href="/audit/?') == len(actions)


def test_pages_go_back_to_the_first_entry_and_each_is_checked(
    viewer: Browser, behind: Behind, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        behind.records.commit([], Note(at=1, actor="x", action="note", subject=str(number)))
    for name, value in (("ENTRIES", 4), ("_BLOCK", 3)):
        monkeypatch.setattr(page, name, value)
    total, before, seen = behind.records.head().seq, "", list[int]()
    while before != "before=1":
        answer = found(viewer, before)
        assert answer["checked"]["broken"] is None
        seen = [entry["seq"] for entry in answer["entries"]] + seen
        before = f"before={answer['checked']['first']}"
    assert seen == list(range(1, total + 1))
    assert f"/audit?before={total - 3}" in viewer.get("/audit")
    monkeypatch.setattr(page, "SEARCHED", 5)
    assert found(viewer, "subject=0")["entries"] == []  # it goes on where this search ended
    assert "Search earlier entries" in viewer.get("/audit?subject=0")
    assert numbers(viewer, f"subject=0&before={total - 4}") == [total - 6]


def test_an_entry_shows_what_differs_of_each_document(viewer: Browser, ramped: int) -> None:
    answer = viewer.json(f"/audit/entries/{ramped}")
    assert isinstance(answer, dict)
    [change] = answer["entry"]["changes"]
    assert (change["kind"], change["key"]) == ("experiment", world.EXPERIMENT)
    assert change["before"] != change["after"]
    values = {one["path"]: (one["before"], one["after"]) for one in change["differences"]}
    assert ("2000", "5000") in values.values() or ("20%", "50%") in values.values(), values
    text = viewer.get(f"/audit/{ramped}")
    assert "<del>" in text
    assert "<ins>" in text
    assert "<q>more</q>" in text
    first = viewer.get("/audit/1")
    assert "written first" in first
    assert "<del>" not in first
    for number in ("0", "999", "x", "-1"):
        viewer.json(f"/audit/entries/{number}", 404)
        assert "There is no such thing" in viewer.get(f"/audit/{number}", 404)


def test_a_chain_that_holds_is_said_to_hold(viewer: Browser, ramped: int) -> None:
    assert f"Entries 1 to {ramped + 1} of {ramped + 1} were read" in viewer.get("/audit")
    answer = viewer.json("/audit/check")
    assert isinstance(answer, dict)
    assert answer["findings"] == []
    assert "The whole chain holds" in viewer.get("/audit?check=true")


def test_an_entry_that_was_altered_is_named(viewer: Browser, project: Project, ramped: int) -> None:
    with patient(project.server.url) as client:
        stored = client.lindex(AUDIT, ramped - 1)
        assert isinstance(stored, bytes)
        client.lset(AUDIT, ramped - 1, json.dumps(json.loads(stored) | {"actor": "nobody"}))
    assert found(viewer)["checked"]["broken"] == ramped
    assert f"Entry {ramped} was altered" in viewer.get("/audit")
    assert f"audit entry {ramped} was altered" in viewer.get("/audit?check=true")
    # on a page that begins after it, the entry that follows does not hang on what is there
    assert found(viewer, f"after={ramped - 1}")["checked"]["broken"] == ramped


@pytest.mark.parametrize("query", ["before=x", "after=-1", "check=maybe", "color=red"])
def test_bad_input_is_told(viewer: Browser, query: str) -> None:
    name = query.partition("=")[0]
    text = viewer.get(f"/audit?{query}", 400)
    assert f"<strong>{name}</strong>" in text
    viewer.json(f"/audit?{query}", 400)


def test_texts_of_others_are_shown_and_never_run(viewer: Browser, project: Project) -> None:
    evil = "<script>alert(1)</script>"
    project.catalog.pause(world.EXPERIMENT, at=1, actor=evil, reason=evil)
    for path in ("/audit", f"/audit/{project.catalog.revision()}", f"/audit?actor={evil}"):
        text = viewer.get(path)
        assert "<script>alert" not in text
        assert "&lt;script&gt;" in text


def test_while_the_store_is_away_the_page_says_so(viewer: Browser, project: Project) -> None:
    project.server.stop()
    viewer.json("/audit", 503)
    viewer.get("/audit", 503)
    viewer.get("/audit/1", 503)
