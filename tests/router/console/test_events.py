"""The events as they arrive, the refused ones, and a test event: marked, and counted only where that was meant."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest

from switchpoint.experiment.ledger.codec import parse_event
from switchpoint.experiment.ledger.protocol import DeadLetter
from switchpoint.router.console.access import Role
from switchpoint.router.console.live import changes
from switchpoint.router.console.project import Project as Behind
from switchpoint.router.console.views import events as page
from tests.router import world
from tests.router.conftest import Project
from tests.router.console.conftest import Browser

LogIn = Callable[[Role], Browser]
TEST = "/events/test"


@pytest.fixture
def operator(log_in: LogIn) -> Browser:
    return log_in(Role.OPERATOR)


def clicked(project: Project, number: int, **properties: object) -> None:
    """A click, as a door would have taken it."""
    raw = {"id": f"c{number}", "type": "click", "unit": "u", "at": world.now_ms(), "properties": properties}
    assert project.ledger.record([parse_event(raw, now=None)], project.catalog.plan()) == ["stored"]


def sent(browser: Browser, **body: object) -> dict[str, Any]:
    answer = browser.call(TEST, {"unit": "u", **body})
    assert isinstance(answer, dict)
    return answer


def test_the_last_events_are_shown_newest_first_and_no_more(
    operator: Browser, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "LAST", 3)
    for number in range(5):
        clicked(project, number, where="home")
    answer = operator.json("/events")
    assert isinstance(answer, dict)
    assert [event["id"] for event in answer["events"]] == ["c4", "c3", "c2"]
    text = operator.get("/events")
    assert text.index(">c4<") < text.index(">c2<")
    assert ">c1<" not in text
    assert "&#34;where&#34;: &#34;home&#34;" in text
    assert 'data-stream="/live?events=1"' in text
    held = operator.get("/events?hold")
    assert "data-stream" not in held
    assert "Follow again" in held


def test_refused_events_are_counted_by_cause_with_the_last_ones(operator: Browser, project: Project) -> None:
    letter = DeadLetter(raw='{"id": 5}', reason="id: not a text", cause="id")
    project.ledger.refuse([letter, letter], token="t", uncounted={"unit": 7})
    answer = operator.json("/events/refused")
    assert isinstance(answer, dict)
    assert answer["refused"] == {"id": 2, "unit": 7}
    assert answer["last"][0]["reason"] == "id: not a text"
    text = operator.get("/events")
    for said in ("<strong>7</strong> for <code>unit</code>", "id: not a text", "{&#34;id&#34;: 5}"):
        assert said in text


def test_a_test_event_is_marked_and_counts_for_nobody(operator: Browser, project: Project) -> None:
    before = project.catalog.revision()
    answer = sent(operator)
    assert answer["status"] == "stored"
    assert "on the log" in answer["says"]
    assert (answer["type"], answer["properties"]) == ("test", {"test": True})
    [event] = project.ledger.events()
    assert (event.id, event.properties) == (answer["id"], {"test": True})
    assert project.catalog.revision() == before  # an event changes no record
    page = operator.send(f"/api/v1{TEST}", {"unit": "u", "type": "", "properties": '{"test": false, "a": 1}'})
    assert ": stored. It is on the log" in page
    assert "&#34;test&#34;: true, &#34;a&#34;: 1" in page or "&#34;a&#34;: 1, &#34;test&#34;: true" in page


def test_the_same_test_event_again_is_a_duplicate_and_one_of_long_ago_is_late(operator: Browser) -> None:
    assert [sent(operator, id="t")["status"] for _ in range(2)] == ["stored", "duplicate"]
    assert "nothing was counted again" in operator.send(f"/api/v1{TEST}", {"unit": "u", "id": "t"})
    late = sent(operator, at="2001-01-01T00:00:00Z")
    assert (late["status"], "never summed" in late["says"]) == ("late", True)


def test_a_type_that_is_counted_is_sent_only_where_that_is_meant(operator: Browser, project: Project) -> None:
    text = operator.get("/events")
    assert "Metrics count these types" in text
    assert "<strong>purchase</strong> (home-ranker)" in text
    refused = operator.send(f"/api/v1{TEST}", {"unit": "u", "type": "click"}, 409)
    assert "metrics of home-ranker count the type click" in refused
    assert list(project.ledger.events()) == []
    assert sent(operator, type="click", counts=True)["status"] == "stored"
    assert "stored" in operator.send(f"/api/v1{TEST}", {"unit": "u", "type": "click", "counts": "on"})


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        ({"unit": ""}, "unit", "is missing"),
        ({"unit": "a\x00b"}, "unit", "control character"),
        ({"type": "Not A Type"}, "type", "not an event type"),
        ({"type": "exposure"}, "type", "never a test"),
        ({"at": "yesterday"}, "at", "not a time"),
        ({"at": "2190-01-01T00:00:00Z"}, "at", "ahead"),
        ({"properties": "x"}, "properties", "is no object"),
        ({"type": "purchase", "counts": True}, "properties.amount", "missing or not a number"),
        ({"color": "red"}, "color", "unknown key"),
    ],
)
def test_what_is_wrong_with_a_test_event_is_told_and_nothing_is_recorded(
    operator: Browser, project: Project, body: dict[str, object], field: str, said: str
) -> None:
    answer = operator.call(TEST, {"unit": "u", **body}, 400)
    assert isinstance(answer, dict)
    [error] = answer["errors"]
    assert error["field"] == field
    assert said in error["message"]
    assert error["fix"]
    assert list(project.ledger.events()) == []


def test_a_viewer_sees_no_form(log_in: LogIn) -> None:
    assert "Send a test event" not in log_in(Role.ANALYST).get("/events")


def test_texts_of_others_are_shown_and_never_run(operator: Browser, project: Project) -> None:
    evil = "<script>alert(1)</script>"
    project.ledger.refuse([DeadLetter(raw=evil, reason=evil, cause=evil)], token="t")
    text = operator.send(f"/api/v1{TEST}", {"unit": evil, "id": evil, "properties": f'{{"a": "{evil}"}}'})
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;alert(1)") >= 5
    assert "Test event" not in operator.get("/events?sent=x&status=%3Cscript%3E")


def test_the_stream_of_the_page_tells_of_events_and_of_a_store_that_goes(
    behind: Behind, project: Project
) -> None:
    """Every look of the stream follows something that happened, or nothing."""
    happens = iter([
        lambda: None,
        lambda: clicked(project, 1),
        lambda: project.ledger.refuse([], token="t", uncounted={"id": 1}),
        project.server.stop,
    ])  # fmt: skip
    stream = changes(
        behind.board, also=page.arrivals(behind), sleep=lambda _: next(happens)(), clock=lambda: 0.0
    )
    told = list(islice(stream, 4))
    assert told[0].startswith("retry")
    assert [line.partition("\n")[0] for line in told[1:]] == ["event: changed"] * 3


def test_while_the_store_is_away_the_page_says_so_and_waits(operator: Browser, project: Project) -> None:
    project.server.stop()
    assert "The store is away" in operator.get("/events")
    operator.json("/events", 503)
    operator.call(TEST, {"unit": "u"}, 503)
