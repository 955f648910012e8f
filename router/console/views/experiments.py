"""Experiments, definitions, models: what is on record, what may be done, as the command line does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from switchpoint.analysis.report.report import Report
from switchpoint.experiment.definition.state import ExperimentState
from switchpoint.experiment.errors import BadInput, NotFound
from switchpoint.experiment.language.document import to_body
from switchpoint.experiment.language.experiment import load, to_document
from switchpoint.experiment.registry.catalog import Catalog
from switchpoint.experiment.registry.champion import model_documents
from switchpoint.experiment.registry.lifecycle import facts
from switchpoint.experiment.registry.promotion import Promotion
from switchpoint.experiment.store.board import REPORT, SUMMARY
from switchpoint.router import judging
from switchpoint.router.console.access import Role
from switchpoint.router.console.operation import Call, Field, Form, Object, Operation
from switchpoint.router.console.project import Project

_REASON = Field("reason", Form.TEXT, "Why, for the audit log.")
_DEFINITION = Field(
    "definition", Form.TEXT, "An experiment's definition as YAML or JSON text.", required=True
)


def experiments(call: Call) -> object:
    """Every experiment with its state and the short reading the worker made of it last."""
    return [{"key": kept.key, "at": kept.at, **kept.body} for kept in call.project.board.all(SUMMARY)]


def experiment(call: Call) -> Object:
    """One experiment: its definition as it is now, and the worker's last short reading."""
    state, kept = call.project.catalog.experiment(call.key), call.project.board.get(SUMMARY, call.key)
    return {
        **facts(state),
        "definition": to_document(state.definition),
        "reading": None if kept is None else {"at": kept.at, **kept.body},
    }


def report(call: Call) -> object:
    """The last report, as `switchpoint report --json` prints it; with `compare`, one made now."""
    pairs = call.names("compare")
    if pairs:
        return compared(call.project, call.key, [_pair(pair) for pair in pairs]).to_dict()
    kept = call.project.board.get(REPORT, call.key)
    if kept is None:
        call.project.catalog.experiment(call.key)
        raise NotFound(
            "no report yet", field="key", value=call.key, fix="start it; the worker reports within a minute"
        )
    return kept.body


def compared(project: Project, key: str, pairs: Sequence[tuple[str, str]]) -> Report:
    """A report made now, with pairs of variants compared with each other.

    Raises:
        BadInput: a pair names a variant that there is not, or one twice.
    """
    with project.ledger() as ledger:
        return judging.look(project.catalog, ledger, key, at=project.now(), compare=pairs).report


def _pair(text: str) -> tuple[str, str]:
    first, comma, second = (part.strip() for part in text.partition(","))
    if not (first and comma and second):
        raise BadInput("is no pair of variants", field="compare", value=text, fix="write compare=B,C")
    return first, second


def timeline(call: Call) -> Object:
    """What was done to an experiment by whom, what was decided, and which reports were kept."""
    catalog, board = call.project.catalog, call.project.board
    state = catalog.experiment(call.key)
    return {
        "history": to_body(state.history),
        "decisions": to_body(catalog.decisions(call.key)),
        "reports": [to_body(kept) for kept in board.reports(call.key)],
    }


def kept_report(call: Call) -> object:
    """A report as it was shown then, by its digest."""
    return call.project.board.report(call.path["digest"])[1]


def validate(call: Call) -> Object:
    """Check a definition; what is wrong is the error."""
    definition = load(call.text("definition"), file="definition")
    return {"valid": True, "key": definition.key}


def plan(call: Call) -> Object:
    """What applying a definition would change."""
    change = call.project.catalog.plan_change(load(call.text("definition"), file="definition"))
    moved = [
        {
            "segment": m.segment,
            "entering": float(m.entering),
            "leaving": float(m.leaving),
            "moving": float(m.moving),
        }
        for m in change.movements
    ]
    return {
        "key": change.key,
        "action": change.action,
        "lines": list(change.lines),
        "opens_epoch": change.opens_epoch,
        "refused": change.refused,
        "movements": moved,
        "outdated": list(change.outdated),
    }


def apply(call: Call) -> Object:
    """Create an experiment as a draft, or revise it."""
    definition = load(call.text("definition"), file="definition")
    state = call.project.catalog.apply(
        definition, at=call.project.now(), actor=call.actor, reason=call.text("reason")
    )
    return facts(state)


def _transition(change: Callable[..., ExperimentState]) -> Callable[[Call], Object]:
    def run(call: Call) -> Object:
        state = change(
            call.project.catalog,
            call.key,
            at=call.project.now(),
            actor=call.actor,
            reason=call.text("reason"),
        )
        return facts(state)

    return run


def ramp(call: Call) -> Object:
    """Set the traffic of segments."""
    state = call.project.catalog.ramp(
        call.key, call.given["traffic"], at=call.project.now(), actor=call.actor, reason=call.text("reason")
    )
    return facts(state)


def decide(call: Call) -> Object:
    """Record the verdict of now as a decision."""
    catalog, at = call.project.catalog, call.project.now()
    with call.project.ledger() as ledger:
        seen = judging.look(catalog, ledger, call.key, at=at)
        decision = judging.decide(catalog, ledger, seen, at=at, actor=call.actor, why=call.text("why"))
    return dict(to_body(decision))


def promote(call: Call) -> Object:
    """Make a variant's model champion, on a matching decision or against the rule with a reason."""
    request = Promotion(
        variant=call.text("variant"),
        segments=call.names("segments"),
        expected=call.given.get("expected"),
        override=call.text("override") or None,
        at=call.project.now(),
        actor=call.actor,
    )
    return dict(to_body(call.project.catalog.promote(call.key, request)))


def models(call: Call) -> object:
    """Every model: its versions, and who is champion where."""
    return every_model(call.project.catalog)


def model(call: Call) -> Object:
    """One model: its versions with their lineage, and its champions with their history."""
    name = call.path["name"]
    shown = next((one for one in every_model(call.project.catalog) if one["name"] == name), None)
    if shown is None:
        raise NotFound("unknown model", field="model", value=name, fix="see /api/v1/models")
    return shown


def rollback(call: Call) -> Object:
    """Return a model to the champion before, everywhere or in some segments."""
    champion = call.project.catalog.rollback(
        call.path["name"],
        segments=call.names("segments"),
        reason=call.text("reason"),
        at=call.project.now(),
        actor=call.actor,
    )
    return dict(to_body(champion))


def every_model(catalog: Catalog) -> list[Object]:
    """Every model as the API says it."""
    return model_documents(catalog.models(), catalog.champions())


def _of_experiment(
    name: str, method: str, role: Role, says: str, run: Callable[[Call], object], *fields: Field
) -> Operation:
    path = "/experiments/{key}" + (f"/{name}" if name != "show" else "")
    return Operation(
        name=f"experiment_{name}", method=method, path=path, role=role, says=says, run=run, fields=fields
    )


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="experiments",
        method="GET",
        path="/experiments",
        role=Role.VIEWER,
        says="Every experiment with its last short reading.",
        run=experiments,
    ),
    Operation(
        name="apply",
        method="POST",
        path="/experiments",
        role=Role.OPERATOR,
        says="Create an experiment as a draft, or revise it.",
        run=apply,
        fields=(_DEFINITION, _REASON),
    ),
    _of_experiment("show", "GET", Role.VIEWER, "One experiment as it is now.", experiment),
    _of_experiment(
        "report",
        "GET",
        Role.VIEWER,
        "The last report; with `compare`, one made now.",
        report,
        Field("compare", Form.NAMES, "Pairs of variants, each `B,C`."),
    ),
    _of_experiment(
        "timeline", "GET", Role.VIEWER, "What was done and decided, by whom; the reports kept.", timeline
    ),
    _of_experiment(
        "start",
        "POST",
        Role.OPERATOR,
        "Freeze the rule and begin to enrol.",
        _transition(Catalog.start),
        _REASON,
    ),
    _of_experiment(
        "pause", "POST", Role.OPERATOR, "Stop enrolling for a while.", _transition(Catalog.pause), _REASON
    ),
    _of_experiment("resume", "POST", Role.OPERATOR, "Enrol again.", _transition(Catalog.resume), _REASON),
    _of_experiment("stop", "POST", Role.OPERATOR, "Stop for good.", _transition(Catalog.stop), _REASON),
    _of_experiment(
        "ramp",
        "POST",
        Role.OPERATOR,
        "Set the traffic of segments.",
        ramp,
        Field("traffic", Form.SHARES, 'Traffic by segment: {"us": "50%"}.', required=True),
        _REASON,
    ),
    _of_experiment(
        "decide",
        "POST",
        Role.ANALYST,
        "Record the verdict of now as a decision.",
        decide,
        Field("why", Form.TEXT, "The decider's words."),
    ),
    _of_experiment(
        "promote",
        "POST",
        Role.OPERATOR,
        "Make a variant's model champion.",
        promote,
        Field("variant", Form.TEXT, "The variant whose model is promoted.", required=True),
        Field("segments", Form.NAMES, "Only in these segments; none: in all of the experiment."),
        Field("expected", Form.WHOLE, "The version that must be champion there now."),
        Field("override", Form.TEXT, "The reason to promote without a matching decision."),
    ),
    Operation(
        name="kept_report",
        method="GET",
        path="/reports/{digest}",
        role=Role.VIEWER,
        says="A report as it was shown then.",
        run=kept_report,
    ),
    Operation(
        name="validate",
        method="POST",
        path="/validate",
        role=Role.ANALYST,
        says="Check a definition.",
        run=validate,
        fields=(_DEFINITION,),
        back="/design/new",
    ),
    Operation(
        name="plan",
        method="POST",
        path="/plan",
        role=Role.ANALYST,
        says="What applying a definition would change.",
        run=plan,
        fields=(_DEFINITION,),
        back="/design/new",
    ),
    Operation(
        name="models",
        method="GET",
        path="/models",
        role=Role.VIEWER,
        says="Every model with its versions and champions.",
        run=models,
    ),
    Operation(
        name="model", method="GET", path="/models/{name}", role=Role.VIEWER, says="One model.", run=model
    ),
    Operation(
        name="rollback",
        method="POST",
        path="/models/{name}/rollback",
        role=Role.OPERATOR,
        says="Return to the champion before.",
        run=rollback,
        fields=(Field("segments", Form.NAMES, "Only in these segments."), _REASON),
        back="/models/{name}",
    ),
)
