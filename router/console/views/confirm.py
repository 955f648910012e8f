"""Before something is done: what it will do, to whom, in words; and which actions a state allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from switchpoint.experiment.definition.state import ExperimentState, Status
from switchpoint.experiment.definition.types import Segment
from switchpoint.experiment.errors import NotFound
from switchpoint.experiment.registry.champion import Champion, Incumbents
from switchpoint.experiment.registry.decision import DecisionRecord, VerdictKind
from switchpoint.router.console.access import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something that may be done to an experiment now; `ready`: nothing but a person stands in its way."""

    name: str
    label: str
    role: Role
    ready: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A field of the form: one of several, some of several, a share or a text. Nothing is chosen before."""

    name: str
    kind: str
    label: str
    options: tuple[tuple[str, str], ...] = ()
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """A form and what sending it means; `post` is the operation's route below /api/v1."""

    title: str
    says: tuple[str, ...]
    post: str
    button: str
    role: Role
    choices: tuple[Choice, ...] = ()
    grave: bool = False


_REASON = Choice(name="reason", kind="text", label="Reason, for the audit log")


def offered(state: ExperimentState, latest: DecisionRecord | None, champion: Champion | None) -> list[Action]:
    """What the state allows, in the order of an experiment's life; no promotion that changes nothing."""
    status, routed = state.status, state.definition.source is None
    decided = latest is not None and _to_promote(state, latest, champion)
    begun = status is not Status.DRAFT
    possible = (
        (status is Status.DRAFT, Action(name="start", label="Start", role=Role.OPERATOR)),
        (begun, Action(name="decide", label="Decide", role=Role.ANALYST)),
        (
            begun and routed and decided,
            Action(name="promote", label="Promote", role=Role.OPERATOR, ready=True),
        ),
        (
            begun and routed and not decided,
            Action(name="override", label="Promote against the rule", role=Role.OPERATOR),
        ),
        (
            status in {Status.RUNNING, Status.PAUSED},
            Action(name="ramp", label="Change traffic", role=Role.OPERATOR),
        ),
        (status is Status.RUNNING, Action(name="pause", label="Pause", role=Role.OPERATOR)),
        (status is Status.PAUSED, Action(name="resume", label="Resume", role=Role.OPERATOR)),
        (status in {Status.RUNNING, Status.PAUSED}, Action(name="stop", label="Stop", role=Role.OPERATOR)),
    )
    return [action for may, action in possible if may]


def _to_promote(state: ExperimentState, latest: DecisionRecord, champion: Champion | None) -> bool:
    """Whether the decision promotes a model that is not champion yet in some segment of the experiment."""
    models = {variant.key: variant.model for variant in state.definition.variants}
    model = models.get(latest.finding.variant or "")
    if latest.finding.kind is not VerdictKind.PROMOTE or model is None:
        return False
    standing = champion.incumbents if champion else Incumbents()
    return any(standing.version_for(segment.key) != model.version for segment in state.definition.segments)


def confirmation(
    action: str, state: ExperimentState, *, champion: Champion | None, latest: DecisionRecord | None
) -> Confirmation:
    """What an action on an experiment will do.

    Raises:
        NotFound: there is no such action.
    """
    if action not in _ASKED:
        raise NotFound("no such action", field="action", value=action, fix=f"known: {', '.join(_ASKED)}")
    return _ASKED[action](_Subject(state, champion, latest))


def rollback(champion: Champion) -> Confirmation:
    """What returning a model to its previous champion will do."""
    now = ", ".join(_standing(champion))
    last = champion.history[-1] if champion.history else None
    return Confirmation(
        title=f"Roll {champion.model} back",
        says=(
            f"Champion now: {now}." if now else f"{champion.model} has no champion yet.",
            "The champion before it takes over at once, in every segment or in those you choose.",
            *([f"The change that is undone: {last.grounds.reason or last.move.value}."] if last else []),
            "Running experiments go on; only units outside them, and fallbacks, get another version.",
        ),
        post=f"/models/{champion.model}/rollback",
        button="Roll back",
        role=Role.OPERATOR,
        choices=(
            Choice(
                name="segments",
                kind="some",
                label="Only in these segments (none chosen: everywhere)",
                options=tuple((rule.segment, rule.segment) for rule in champion.assignments),
            ),
            _REASON,
        ),
        grave=True,
    )


@dataclass(frozen=True, slots=True)
class _Subject:
    state: ExperimentState
    champion: Champion | None
    latest: DecisionRecord | None

    @property
    def key(self) -> str:
        return self.state.key

    @property
    def segments(self) -> tuple[Segment, ...]:
        return self.state.definition.segments

    def traffic(self) -> str:
        return ", ".join(f"{s.key} {s.traffic / 100:g} %" for s in self.segments)

    def variants(self) -> str:
        return ", ".join(f"{v.key} ({v.model})" if v.model else v.key for v in self.state.definition.variants)


def _start(on: _Subject) -> Confirmation:
    return Confirmation(
        title=f"Start {on.key}",
        says=(
            f"From now on units are assigned to {on.variants()}, of the traffic {on.traffic()}.",
            "Metrics and the rule of decision freeze; changing them later needs a new experiment.",
        ),
        post=f"/experiments/{on.key}/start",
        button="Start",
        role=Role.OPERATOR,
        choices=(_REASON,),
    )


def _pause(on: _Subject) -> Confirmation:
    return Confirmation(
        title=f"Pause {on.key}",
        says=(
            "Every unit gets the champion of its segment within two seconds.",
            "Nobody is enrolled and no exposure is logged until it is resumed.",
            "Every unit keeps its variant; outcomes inside the window still count.",
        ),
        post=f"/experiments/{on.key}/pause",
        button="Pause",
        role=Role.OPERATOR,
        choices=(_REASON,),
    )


def _resume(on: _Subject) -> Confirmation:
    return Confirmation(
        title=f"Resume {on.key}",
        says=(f"Units are enrolled again, of the traffic {on.traffic()}; each gets the variant it had.",),
        post=f"/experiments/{on.key}/resume",
        button="Resume",
        role=Role.OPERATOR,
        choices=(_REASON,),
    )


def _stop(on: _Subject) -> Confirmation:
    return Confirmation(
        title=f"Stop {on.key}",
        says=(
            "For good: every unit gets the champion of its segment, and it cannot be started again.",
            "Its data stay, and can be reported and decided on.",
        ),
        post=f"/experiments/{on.key}/stop",
        button="Stop for good",
        role=Role.OPERATOR,
        choices=(_REASON,),
        grave=True,
    )


def _ramp(on: _Subject) -> Confirmation:
    return Confirmation(
        title=f"Change the traffic of {on.key}",
        says=("Nobody who is in moves: a segment's share widens or narrows for units to come.",),
        post=f"/experiments/{on.key}/ramp",
        button="Change traffic",
        role=Role.OPERATOR,
        choices=(
            *(
                Choice(name=f"traffic.{s.key}", kind="share", label=f"{s.key}: {s.traffic / 100:g} % now")
                for s in on.segments
            ),
            _REASON,
        ),
    )


def _decide(on: _Subject) -> Confirmation:
    return Confirmation(
        title=f"Decide on {on.key}",
        says=(
            "The rule is applied to what is counted at this moment.",
            "Its verdict goes on record, with what it takes to derive it again; nothing is promoted by this.",
            *(
                ["A stopped experiment is decided thereby, unless the verdict waits for more."]
                if on.state.status is Status.STOPPED
                else []
            ),
        ),
        post=f"/experiments/{on.key}/decide",
        button="Record the decision",
        role=Role.ANALYST,
        choices=(Choice(name="why", kind="text", label="Your words, kept with the record"),),
    )


def _promote(on: _Subject) -> Confirmation:
    said = "No decision is on record: promoting will be refused."
    if on.latest is not None:
        kind = f"{on.latest.finding.kind.value} {on.latest.finding.variant or ''}".strip()
        said = f"The latest decision, {on.latest.id} by {on.latest.actor}, says: {kind}."
    return Confirmation(
        title=f"Promote a model of {on.key}",
        says=(said, *_meaning(on)),
        post=f"/experiments/{on.key}/promote",
        button="Promote",
        role=Role.OPERATOR,
        choices=(_variants(on), _places(on)),
        grave=True,
    )


def _override(on: _Subject) -> Confirmation:
    reason = Choice(name="override", kind="text", label="Why the rule is overridden", required=True)
    return Confirmation(
        title=f"Promote a model of {on.key} against the rule",
        says=(
            "No decision on record says so.",
            "Your reason is kept for ever, in the audit log and in the champion's history.",
            *_meaning(on),
        ),
        post=f"/experiments/{on.key}/promote",
        button="Promote against the rule",
        role=Role.OPERATOR,
        choices=(_variants(on), _places(on), reason),
        grave=True,
    )


def _meaning(on: _Subject) -> tuple[str, ...]:
    now = ", ".join(_standing(on.champion)) if on.champion else ""
    return (
        "Its model becomes champion: every unit of the segments that no experiment routes gets it at once.",
        "Units of this experiment get it once the experiment is stopped.",
        f"Champion now: {now}." if now else "There is no champion yet.",
        "If somebody else changes the champion before you, nothing is done and you are told.",
    )


def _variants(on: _Subject) -> Choice:
    options = tuple((v.key, f"{v.key}: {v.model}") for v in on.state.definition.variants if v.model)
    return Choice(name="variant", kind="one", label="Which variant's model", options=options, required=True)


def _places(on: _Subject) -> Choice:
    options = tuple((s.key, s.key) for s in on.segments)
    return Choice(
        name="segments", kind="some", label="Only in these segments (none chosen: in all)", options=options
    )


def _standing(champion: Champion) -> list[str]:
    named = [f"{champion.model}@{rule.version} in {rule.segment}" for rule in champion.assignments]
    if champion.otherwise is not None:
        named.append(
            f"{champion.model}@{champion.otherwise} for everybody else"
            if named
            else f"{champion.model}@{champion.otherwise} for everybody"
        )
    return named


_ASKED: dict[str, Callable[[_Subject], Confirmation]] = {
    "start": _start,
    "pause": _pause,
    "resume": _resume,
    "stop": _stop,
    "ramp": _ramp,
    "decide": _decide,
    "promote": _promote,
    "override": _override,
}
