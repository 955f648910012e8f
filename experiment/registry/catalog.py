"""The use cases of a project's records, shared by the command line, the console and serving.

Every change is one optimistic transaction: read the project's revision, read what the change depends on,
commit for that revision. When somebody else committed in between, the whole step is done again on fresh
records, so rules that span several records (layers, the project's unit, one experiment per model) hold
whatever runs at the same time. Times and actors are arguments; nothing here reads a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, Protocol, TypeVar

from switchpoint.experiment.definition.state import Change, ExperimentState, Status
from switchpoint.experiment.definition.types import Experiment, ModelRef
from switchpoint.experiment.errors import Conflict, NotFound, Superseded
from switchpoint.experiment.language.experiment import digest
from switchpoint.experiment.ledger.plan import LedgerPlan, ledger_plan
from switchpoint.experiment.registry import lifecycle, stored
from switchpoint.experiment.registry.admission import (
    check_definition,
    check_start,
    usable_version,
    variant_digests,
)
from switchpoint.experiment.registry.audit import Note
from switchpoint.experiment.registry.champion import Champion, Grounds, Move, promote, rollback
from switchpoint.experiment.registry.decision import DecisionRecord, VerdictKind
from switchpoint.experiment.registry.diff import PlannedChange, plan_change
from switchpoint.experiment.registry.model import Content, Lineage, ModelVersion, State, register
from switchpoint.experiment.registry.promotion import Promotion, promoted, promoted_model, require_reason
from switchpoint.experiment.registry.records import Put, Records

T = TypeVar("T")

_OPEN = frozenset({VerdictKind.CONTINUE, VerdictKind.INVALID})
_ATTEMPTS = 50  # each lost race means that somebody else's commit went through


@dataclass(frozen=True, slots=True)
class _Step(Generic[T]):
    """What a change came to: its note, the records to write (none: nothing to do), the answer."""

    note: Note
    puts: list[Put]
    answer: T


class _Transition(Protocol):
    def __call__(self, state: ExperimentState, /, *, at: int, actor: str, reason: str) -> ExperimentState: ...


class Catalog:
    """A project's experiments, models, champions and decisions."""

    def __init__(self, records: Records) -> None:
        """The catalog of one project's records."""
        self._records = records

    def revision(self) -> int:
        """The project's revision: the number of commits so far."""
        return self._records.revision()

    def experiments(self) -> list[ExperimentState]:
        """All experiments, in order of creation."""
        return stored.experiments(self._records)

    def experiment(self, key: str) -> ExperimentState:
        """One experiment; raises NotFound."""
        return stored.experiment(self._records, key)

    def plan(self) -> LedgerPlan:
        """What the ledger counts: every experiment that was ever started."""
        return ledger_plan(self.experiments())

    def models(self, name: str | None = None) -> list[ModelVersion]:
        """Registered versions, of one model or of all, by name and number."""
        found = stored.models(self._records).values()
        return [version for version in found if name is None or version.name == name]

    def model(self, ref: ModelRef) -> ModelVersion:
        """One registered version; raises NotFound."""
        return stored.model(self._records, ref)

    def champion(self, name: str) -> Champion:
        """The champion of a model; one without history when there is none yet."""
        return stored.champion(self._records, name)

    def champions(self) -> list[Champion]:
        """The champions of all models that have one, by name."""
        return stored.champions(self._records)

    def decisions(self, key: str | None = None) -> list[DecisionRecord]:
        """The decisions of one experiment or of all, by experiment and oldest first."""
        return stored.decisions(self._records, key)

    def plan_change(self, definition: Experiment) -> PlannedChange:
        """What `apply` would change; raises what it would raise, but a touched frozen part is in the plan."""
        others, models = self.experiments(), stored.models(self._records)
        check_definition(definition, others, models)
        digests = variant_digests(definition, models)
        return plan_change(_find(others, definition.key), definition, digests=digests)

    def apply(self, definition: Experiment, *, at: int, actor: str, reason: str = "") -> ExperimentState:
        """Create an experiment as a draft, or revise it. Applying the same definition again does nothing.

        Raises:
            NotFound, Refused: a variant's model is unknown or may not be used.
            DefinitionError: it cannot live beside the other experiments.
            LifecycleError: it changes what is frozen.
        """

        def step() -> _Step[ExperimentState]:
            others, models = self.experiments(), stored.models(self._records)
            check_definition(definition, others, models)
            known = _find(others, definition.key)
            if known is None:
                ordinal = 1 + max((state.ordinal for state in others), default=0)
                after = lifecycle.create(definition, ordinal=ordinal, at=at, actor=actor)
            else:
                digests = variant_digests(definition, models)
                after = lifecycle.revise(
                    known, definition, digests=digests, at=at, actor=actor, reason=reason
                )
            puts = [] if after == known else [stored.put_experiment(self._records, after)]
            return _Step(_note(at, actor, "apply", definition.key, reason), puts, after)

        return self._commit(step)

    def start(self, key: str, *, at: int, actor: str, reason: str = "") -> ExperimentState:
        """Freeze the rule and begin to enrol.

        When the model has no champion yet, control becomes it: that is what was in production, and what
        units outside the experiment and after its end must get.

        Raises:
            LifecycleError: it is not a draft, or another experiment runs on its model.
        """

        def step() -> _Step[ExperimentState]:
            others, models = self.experiments(), stored.models(self._records)
            state = self.experiment(key)
            check_definition(state.definition, others, models)
            check_start(state.definition, others)
            digests = variant_digests(state.definition, models)
            after = lifecycle.start(state, digests=digests, at=at, actor=actor, reason=reason)
            puts = [stored.put_experiment(self._records, after)]
            control = state.definition.control.model
            champion = self.champion(control.name) if control else None
            if control and champion and not champion.history:
                grounds = Grounds(at=at, actor=actor, reason=f"control of {key}")
                first = promote(champion, control.version, grounds=grounds, move=Move.START)
                puts.append(stored.put_champion(self._records, first))
            return _Step(_note(at, actor, "start", key, reason), puts, after)

        return self._commit(step)

    def pause(self, key: str, *, at: int, actor: str, reason: str = "") -> ExperimentState:
        """Stop enrolling for a while."""
        when = Change(at=at, actor=actor, action="pause", reason=reason)
        return self._transition(key, when, lifecycle.pause)

    def resume(self, key: str, *, at: int, actor: str, reason: str = "") -> ExperimentState:
        """Enrol again; refused while another experiment runs on the model."""
        when = Change(at=at, actor=actor, action="resume", reason=reason)

        def resumed(state: ExperimentState, *, at: int, actor: str, reason: str) -> ExperimentState:
            check_start(state.definition, self.experiments())
            return lifecycle.resume(state, at=at, actor=actor, reason=reason)

        return self._transition(key, when, resumed)

    def ramp(
        self, key: str, traffic: Mapping[str, int], *, at: int, actor: str, reason: str = ""
    ) -> ExperimentState:
        """Set the traffic of segments (out of BUCKETS), by segment key."""
        when = Change(at=at, actor=actor, action="ramp", reason=reason)
        return self._transition(key, when, partial(lifecycle.ramp, traffic=traffic))

    def stop(self, key: str, *, at: int, actor: str, reason: str = "") -> ExperimentState:
        """Stop for good; outcomes inside the window still count."""
        when = Change(at=at, actor=actor, action="stop", reason=reason)
        return self._transition(key, when, lifecycle.stop)

    def register_model(
        self, name: str, content: Content, *, lineage: Lineage | None = None, at: int, actor: str
    ) -> ModelVersion:
        """Register a version; the same content again answers the version it already is.

        Raises:
            BadInput: see `experiment.registry.model.register`.
        """

        def step() -> _Step[ModelVersion]:
            known = self.models(name)
            version = register(known, name, content, lineage=lineage or Lineage(), at=at, actor=actor)
            puts = [] if version in known else [stored.put_model(self._records, version)]
            return _Step(_note(at, actor, "register", str(version.ref)), puts, version)

        return self._commit(step)

    def mark_model(self, ref: ModelRef, state: State, *, at: int, actor: str, reason: str) -> ModelVersion:
        """Quarantine or archive a version, or admit it again; where it is champion it stays so."""

        def step() -> _Step[ModelVersion]:
            version = replace(self.model(ref), state=state)
            puts = [stored.put_model(self._records, version)]
            return _Step(_note(at, actor, f"mark {state}", str(ref), reason), puts, version)

        return self._commit(step)

    def record_decision(self, record: DecisionRecord) -> DecisionRecord:
        """Keep a decision under the experiment's next number.

        A stopped experiment becomes decided, unless the verdict waits for more (`continue`, `invalid`).

        Args:
            record: as the judgement made it; its `number` is replaced.

        Raises:
            Superseded: the definition or a model behind it changed since the evidence was read.
        """

        def step() -> _Step[DecisionRecord]:
            state = self.experiment(record.experiment)
            if record.definition_digest != digest(state.definition):
                raise Superseded(f"{state.key} was revised since this evidence was read: decide again")
            if record.digests != (state.epoch.digests if state.epoch else {}):
                raise Superseded(f"a model of {state.key} changed since this evidence was read: decide again")
            numbered = replace(record, number=len(self.decisions(state.key)) + 1)
            puts = [stored.put_decision(self._records, numbered)]
            said = f"{record.finding.kind} {record.finding.variant or ''}".strip()
            if state.status is Status.STOPPED and record.finding.kind not in _OPEN:
                decided = lifecycle.decide(
                    state, action=said, at=record.at, actor=record.actor, reason=record.why
                )
                puts.append(stored.put_experiment(self._records, decided))
            return _Step(_note(record.at, record.actor, "decide", numbered.id, said), puts, numbered)

        return self._commit(step)

    def promote(self, key: str, request: Promotion) -> Champion:
        """Make a variant's model the champion of an experiment's segments.

        Raises:
            Refused: the latest decision does not say so and there is no override, or it is champion already.
            Superseded: the decision is about other models, or somebody else promoted there meanwhile.
        """

        def step() -> _Step[Champion]:
            state = self.experiment(key)
            ref = promoted_model(state, request.variant)
            version = usable_version(ref, stored.models(self._records))
            latest = self.decisions(key)[-1:]
            before = self.champion(ref.name)
            after = promoted(state, before, latest[0] if latest else None, request, content=version.digest)
            place = ", ".join(after.history[-1].segments)
            note = _note(request.at, request.actor, "promote", f"{ref} in {place}", request.override or "")
            return _Step(note, [stored.put_champion(self._records, after)], after)

        return self._commit(step)

    def crown(
        self, ref: ModelRef, *, expected: int | None = None, reason: str, at: int, actor: str
    ) -> Champion:
        """Make a version the champion everywhere without an experiment: the first one, or in an emergency.

        Raises:
            Refused: no reason is given.
            Superseded: the champion outside all segments is not `expected` (None does not ask).
        """
        require_reason(reason, "reason")

        def step() -> _Step[Champion]:
            usable_version(ref, stored.models(self._records))
            grounds = Grounds(at=at, actor=actor, reason=reason, override=reason)
            after = promote(self.champion(ref.name), ref.version, expected=expected, grounds=grounds)
            puts = [stored.put_champion(self._records, after)]
            return _Step(_note(at, actor, "crown", str(ref), reason), puts, after)

        return self._commit(step)

    def rollback(
        self, name: str, *, segments: Sequence[str] = (), reason: str = "", at: int, actor: str
    ) -> Champion:
        """Return a model to its previous champion, everywhere or in some segments. Needs no files, no fit.

        Raises:
            NotFound: there is no such model.
            Refused: there is no earlier champion.
            Superseded: the champion changed while this was under way; it may be somebody else's rollback.
        """
        seen = self.champion(name)
        if not self.models(name):
            known = ", ".join(dict.fromkeys(version.name for version in self.models()))
            raise NotFound(
                f"unknown model {name}",
                field="model",
                value=name,
                fix=f"known: {known}" if known else "register it with `switchpoint model register`",
            )

        def step() -> _Step[Champion]:
            before = self.champion(name)
            if before != seen:
                raise Superseded(f"champion {name} has just been changed: look at it and decide anew")
            grounds = Grounds(at=at, actor=actor, reason=reason)
            after = rollback(before, segments=segments, grounds=grounds)
            place = ", ".join(segments) or "everywhere"
            puts = [stored.put_champion(self._records, after)]
            return _Step(_note(at, actor, "rollback", f"{name} in {place}", reason), puts, after)

        return self._commit(step)

    def _transition(self, key: str, when: Change, change: _Transition) -> ExperimentState:
        def step() -> _Step[ExperimentState]:
            after = change(self.experiment(key), at=when.at, actor=when.actor, reason=when.reason)
            puts = [stored.put_experiment(self._records, after)]
            done = after.history[-1].action  # says what a ramp ramped
            return _Step(_note(when.at, when.actor, when.action, key, when.reason or done), puts, after)

        return self._commit(step)

    def _commit(self, make: Callable[[], _Step[T]]) -> T:
        lost = Conflict("no attempt was made")
        for _ in range(_ATTEMPTS):
            revision = self._records.revision()
            step = make()
            if not step.puts:
                return step.answer
            try:
                self._records.commit(step.puts, step.note, revision=revision)
            except Conflict as conflict:
                lost = conflict
            else:
                return step.answer
        raise lost


def _find(states: Sequence[ExperimentState], key: str) -> ExperimentState | None:
    return next((state for state in states if state.key == key), None)


def _note(at: int, actor: str, action: str, subject: str, reason: str = "") -> Note:
    return Note(at=at, actor=actor, action=action, subject=subject, reason=reason)
