"""Events as they arrive: the last accepted ones, those refused and why, and a test event of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

from switchpoint.experiment.definition.types import EXPOSURE
from switchpoint.experiment.errors import BadInput, PlatformError, Refused
from switchpoint.experiment.language.document import to_body
from switchpoint.experiment.ledger.codec import parse_event, to_document
from switchpoint.experiment.ledger.event import Status
from switchpoint.experiment.ledger.plan import LedgerPlan
from switchpoint.router.console.access import Role
from switchpoint.router.console.operation import Call, Field, Form, Object, Operation
from switchpoint.router.console.project import Project

LAST = 100
"""Events, and refused ones, that are shown."""
TEST = "test"
"""The type of a test event, and the property that marks every one."""

SAYS: Mapping[str, str] = {
    Status.STORED: "It is on the log, and the store has it on disk.",
    Status.DUPLICATE: "An event of this unit with this id and day was there: nothing was counted again.",
    Status.LATE: "Its time is too long ago to check its id: it is logged apart, and never summed.",
    Status.REJECTED: "The ledger refused it: it would push a sum beyond its bound.",
}
"""What became of an event, in words."""


def newest(call: Call) -> Object:
    """The events accepted last."""
    return {"events": _newest(call.project)}


def refused(call: Call) -> Object:
    """How many events were refused, by cause, and the last ones with their reason."""
    with call.project.ledger() as ledger:
        return {"refused": ledger.refusals(), "last": to_body(ledger.dead_letters(LAST))}


def send_test(call: Call) -> Object:
    """Record one event as the service would, marked as a test."""
    project, kind = call.project, call.text("type") or TEST
    plan = project.catalog.plan()
    _refuse_counting(plan, kind, agreed=bool(call.given.get("counts")))
    now = project.now()
    raw = {
        "id": call.text("id") or f"{TEST}-{uuid4().hex}",
        "type": kind,
        "unit": call.text("unit"),
        "at": call.text("at") or now,
        "properties": {**call.given.get("properties", {}), TEST: True},
    }
    checked = plan.check(parse_event(raw, now=now))
    with project.ledger() as ledger:
        [status] = ledger.record([checked], plan)
    return {**to_document(checked.event), "status": status.value, "says": SAYS[status]}


def page(project: Project, _path: Mapping[str, str], query: Mapping[str, str]) -> dict[str, Any]:
    """All three; while the store is away the page says so and waits for it."""
    sent = {"id": query.get("sent", ""), "status": query.get("status", "")}
    content: dict[str, Any] = {
        "events": [],
        "refused": {},
        "letters": [],
        "counted": {},
        "away": None,
        "held": "hold" in query,
        "sent": {**sent, "says": SAYS[sent["status"]]} if sent["status"] in SAYS else None,
        "test": TEST,
        "last": LAST,
    }
    try:
        content |= {"events": _newest(project), "counted": counted(project.catalog.plan())}
        with project.ledger() as ledger:
            return content | {"refused": ledger.refusals(), "letters": ledger.dead_letters(LAST)}
    except PlatformError as error:
        return content | {"away": str(error)}


def arrivals(project: Project) -> Callable[[], object]:
    """What is another one after every event, accepted or refused, and None while the store is away."""

    def seen() -> object:
        try:
            with project.ledger() as ledger:
                return ledger.position(), ledger.refusals()
        except PlatformError:
            return None

    return seen


def counted(plan: LedgerPlan) -> dict[str, list[str]]:
    """The event types that metrics read, each with its experiments."""
    found: dict[str, list[str]] = {}
    for experiment in plan.experiments:
        for kind in sorted(experiment.events):
            found.setdefault(kind, []).append(experiment.key)
    return dict(sorted(found.items()))


def _newest(project: Project) -> list[Object]:
    with project.ledger() as ledger:
        return [to_document(event) for event in ledger.newest(LAST)]


def _refuse_counting(plan: LedgerPlan, kind: str, *, agreed: bool) -> None:
    """A test must not move an experiment by mistake."""
    if kind == EXPOSURE:
        raise BadInput(
            "an exposure enrols its unit and is never a test",
            field="type",
            value=kind,
            fix="have the service answer for a unit of your own: POST /v1/predict/MODEL",
        )
    experiments = counted(plan).get(kind, [])
    if experiments and not agreed:
        shown = ", ".join(experiments[:3]) + (" and others" if len(experiments) > 3 else "")
        raise Refused(
            f"metrics of {shown} count the type {kind}: this event would count if its unit is exposed",
            field="type",
            value=kind,
            fix=f"send the type {TEST}, which nobody counts, or say that it may count (counts)",
        )


OPERATIONS = (
    Operation(
        name="events",
        method="GET",
        path="/events",
        role=Role.VIEWER,
        says="The events accepted last, the last one first.",
        run=newest,
    ),
    Operation(
        name="refused_events",
        method="GET",
        path="/events/refused",
        role=Role.VIEWER,
        says="Refused events by cause, and the last ones.",
        run=refused,
    ),
    Operation(
        name="send_test_event",
        method="POST",
        path="/events/test",
        role=Role.OPERATOR,
        says="Record an event that is marked as a test, and say what became of it.",
        run=send_test,
        fields=(
            Field("unit", Form.TEXT, "The unit's id.", required=True),
            Field("type", Form.TEXT, f"The event's type; left out: {TEST}, which nobody counts."),
            Field("properties", Form.OBJECT, f'Facts of the event as JSON; "{TEST}": true is added.'),
            Field("id", Form.TEXT, "The event's id; left out: a new one."),
            Field("at", Form.TEXT, "When, as ISO 8601 with a zone; left out: now."),
            Field("counts", Form.FLAG, "Let it count where metrics read its type."),
        ),
        back="/events?sent={id}&status={status}",
        audited=False,
    ),
)
