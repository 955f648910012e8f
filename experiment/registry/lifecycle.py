"""The life of an experiment: draft → running → paused → stopped → decided, and what may change on the way.

Metrics, dimensions, window and decision rule freeze at `start` (their digest is stored). While an experiment
runs only traffic may be ramped without consequence; a new allocation or a changed model digest opens a new
epoch with a new salt, so that units of earlier epochs are never silently mixed with re-randomised ones.
Every function is pure: state in, state out; time and actor are arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from switchpoint.experiment.definition.state import Change, Epoch, ExperimentState, Status
from switchpoint.experiment.definition.types import BUCKETS, Experiment, Segment
from switchpoint.experiment.errors import BadInput, LifecycleError
from switchpoint.experiment.language.document import from_body, to_body
from switchpoint.experiment.language.experiment import from_document as definition_from_document
from switchpoint.experiment.language.experiment import rule_digest
from switchpoint.experiment.language.experiment import to_document as definition_document


def facts(state: ExperimentState) -> dict[str, Any]:
    """What lists of experiments say of one, as JSON: traffic as shares by segment, times in ms UTC."""
    definition = state.definition
    return {
        "key": state.key,
        "status": state.status.value,
        "revision": state.revision,
        "epoch": state.epoch.number if state.epoch else None,
        "owner": definition.owner,
        "hypothesis": definition.hypothesis,
        "model": definition.model,
        "variants": [variant.key for variant in definition.variants],
        "traffic": {segment.key: segment.traffic / BUCKETS for segment in definition.segments},
        "started_at": state.started_at,
        "stopped_at": state.stopped_at,
    }


def create(definition: Experiment, *, ordinal: int, at: int, actor: str) -> ExperimentState:
    """A new draft at revision 1."""
    return ExperimentState(
        definition=definition,
        status=Status.DRAFT,
        revision=1,
        ordinal=ordinal,
        history=(Change(at=at, actor=actor, action="create"),),
    )


def start(
    state: ExperimentState, *, digests: Mapping[str, str], at: int, actor: str, reason: str = ""
) -> ExperimentState:
    """Freeze the rule and open epoch 1. `digests` must name the model of every variant that has one."""
    _require(state, "start", Status.DRAFT)
    started = replace(state, status=Status.RUNNING, rule_digest=rule_digest(state.definition), started_at=at)
    return _changed(_open_epoch(started, digests, at), at, actor, "start", reason)


def pause(state: ExperimentState, *, at: int, actor: str, reason: str = "") -> ExperimentState:
    """Stop enrolling; outcomes of enrolled units still count."""
    _require(state, "pause", Status.RUNNING)
    return _changed(replace(state, status=Status.PAUSED), at, actor, "pause", reason)


def resume(state: ExperimentState, *, at: int, actor: str, reason: str = "") -> ExperimentState:
    """Enrol again, in the same epoch."""
    _require(state, "resume", Status.PAUSED)
    return _changed(replace(state, status=Status.RUNNING), at, actor, "resume", reason)


def stop(state: ExperimentState, *, at: int, actor: str, reason: str = "") -> ExperimentState:
    """End enrolment for good."""
    _require(state, "stop", Status.RUNNING, Status.PAUSED)
    return _changed(replace(state, status=Status.STOPPED, stopped_at=at), at, actor, "stop", reason)


def decide(state: ExperimentState, *, action: str, at: int, actor: str, reason: str = "") -> ExperimentState:
    """Close the experiment with a decision (`promote treatment`); enrolment ends if it had not."""
    _require(state, "decide", Status.RUNNING, Status.PAUSED, Status.STOPPED)
    stopped_at = at if state.stopped_at is None else state.stopped_at
    return _changed(replace(state, status=Status.DECIDED, stopped_at=stopped_at), at, actor, action, reason)


def ramp(
    state: ExperimentState, traffic: Mapping[str, int], *, at: int, actor: str, reason: str = ""
) -> ExperimentState:
    """Change the traffic (out of BUCKETS) of the segments named; no enrolled unit changes its variant."""
    _require(state, "ramp", Status.DRAFT, Status.RUNNING, Status.PAUSED)
    by_key = {segment.key: segment for segment in state.definition.segments}
    for key, share in traffic.items():
        if key not in by_key:
            raise BadInput(
                f"no segment {key!r}", field="segment", value=key, fix=f"known: {', '.join(by_key)}."
            )
        if not 0 <= share <= BUCKETS:
            raise BadInput(
                f"{share} is not a traffic share",
                field=f"segments.{key}.traffic",
                value=share,
                fix="0 to 10000.",
            )
        by_key[key] = replace(by_key[key], traffic=share)
        _refuse_starved(state.definition, by_key[key])
    segments = tuple(by_key.values())
    if segments == state.definition.segments:
        raise LifecycleError("nothing to ramp", field="traffic", fix="name a traffic other than today's.")
    old = {segment.key: segment.traffic for segment in state.definition.segments}
    steps = [f"{key} {old[key] / 100:g}% -> {share / 100:g}%" for key, share in traffic.items()]
    ramped = _with_segments(state, segments)
    return _changed(ramped, at, actor, f"ramp {', '.join(steps)}", reason)


def revise(
    state: ExperimentState,
    definition: Experiment,
    *,
    digests: Mapping[str, str],
    at: int,
    actor: str,
    reason: str = "",
) -> ExperimentState:
    """Take a new text of the definition; the same state if nothing changed.

    A draft takes anything. While running or paused, hypothesis, owner and traffic change freely; a changed
    allocation, or a changed digest of a variant's model, opens a new epoch; everything else is frozen.
    Raises LifecycleError naming the first frozen part that differs.
    """
    opens = opens_epoch(state, definition, digests)
    if definition == state.definition and not opens:
        return state
    refuse_frozen(state, definition)
    revised = replace(state, definition=definition)
    if opens:
        number = len(state.epochs) + 1
        return _changed(_open_epoch(revised, digests, at), at, actor, f"open epoch {number}", reason)
    return _changed(_with_segments(revised, definition.segments), at, actor, "revise", reason)


def opens_epoch(state: ExperimentState, definition: Experiment, digests: Mapping[str, str]) -> bool:
    """Whether taking `definition`, where nothing frozen differs, would re-randomise.

    It does with a new allocation or another model behind a variant.
    """
    epoch = state.epoch
    if epoch is None or state.status not in {Status.RUNNING, Status.PAUSED}:
        return False
    before, after = ([s.allocation for s in segments] for segments in (epoch.segments, definition.segments))
    return before != after or any(epoch.digests.get(key) != digest for key, digest in digests.items())


_FROZEN = ("unit", "model", "layer", "dimensions", "metrics", "window_ms", "decision", "source")


def refuse_frozen(state: ExperimentState, definition: Experiment) -> None:
    """Raise LifecycleError if `definition` touches a part that is frozen in this state."""
    old = state.definition
    if definition.key != old.key:
        raise LifecycleError(
            f"the key was {old.key!r}",
            field="key",
            value=definition.key,
            fix="a new key is a new experiment.",
        )
    if state.status is Status.DRAFT:
        return
    _require(state, "change", Status.RUNNING, Status.PAUSED)
    fix = "keep it; a different one needs a new experiment with its own key."
    for part in _FROZEN:
        if getattr(old, part) != getattr(definition, part):
            field = "window" if part == "window_ms" else part
            raise LifecycleError("frozen since start", field=field, value=getattr(definition, part), fix=fix)
    if [variant.key for variant in old.variants] != [variant.key for variant in definition.variants]:
        raise LifecycleError("the set of variants is frozen since start", field="variants", fix=fix)
    routes = [[(s.key, s.when) for s in each.segments] for each in (old, definition)]
    if routes[0] != routes[1]:
        raise LifecycleError(
            "segments and their conditions are frozen since start", field="segments", fix=fix
        )


def to_document(state: ExperimentState) -> dict[str, Any]:
    """The state as JSON values, the definition in its canonical form."""
    epochs = to_body(state.epochs)
    return {
        "definition": definition_document(state.definition),
        "status": state.status.value,
        "revision": state.revision,
        "ordinal": state.ordinal,
        "epochs": epochs,
        "rule_digest": state.rule_digest,
        "started_at": state.started_at,
        "stopped_at": state.stopped_at,
        "history": to_body(state.history),
    }


def from_document(document: Mapping[str, Any]) -> ExperimentState:
    """The state of a stored document. Raises BadInput naming the field that does not fit."""
    stored = from_body(_Stored, document)
    return ExperimentState(
        definition=definition_from_document(stored.definition),
        status=stored.status,
        revision=stored.revision,
        ordinal=stored.ordinal,
        epochs=stored.epochs,
        rule_digest=stored.rule_digest,
        started_at=stored.started_at,
        stopped_at=stored.stopped_at,
        history=stored.history,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """The stored form of a state: the definition still as a document."""

    definition: Mapping[str, Any]
    status: Status
    revision: int
    ordinal: int
    epochs: tuple[Epoch, ...]
    rule_digest: str | None
    started_at: int | None
    stopped_at: int | None
    history: tuple[Change, ...]


def _require(state: ExperimentState, action: str, *allowed: Status) -> None:
    if state.status not in allowed:
        raise LifecycleError(
            f"cannot {action} {state.key!r}: it is {state.status}",
            field="status",
            value=state.status.value,
            fix=f"possible while {' or '.join(allowed)}.",
        )


def _changed(state: ExperimentState, at: int, actor: str, action: str, reason: str) -> ExperimentState:
    entry = Change(at=at, actor=actor, action=action, reason=reason)
    return replace(state, revision=state.revision + 1, history=(*state.history, entry))


def _open_epoch(state: ExperimentState, digests: Mapping[str, str], at: int) -> ExperimentState:
    for variant in state.definition.variants:
        if variant.model is not None and variant.key not in digests:
            raise LifecycleError(
                f"no digest for {variant.model}",
                field=f"variants.{variant.key}.model",
                fix="register the model version first.",
            )
    number = len(state.epochs) + 1
    epoch = Epoch(
        number=number,
        salt=f"{state.key}/{number}",
        started_at=at,
        segments=state.definition.segments,
        digests=dict(digests),
    )
    return replace(state, epochs=(*state.epochs, epoch))


def _with_segments(state: ExperimentState, segments: tuple[Segment, ...]) -> ExperimentState:
    definition = replace(state.definition, segments=segments)
    if state.epoch is None:
        return replace(state, definition=definition)
    current = replace(state.epoch, segments=segments)
    return replace(state, definition=definition, epochs=(*state.epochs[:-1], current))


def _refuse_starved(definition: Experiment, segment: Segment) -> None:
    for index in segment.starved:
        raise BadInput(
            f"{definition.variants[index].key!r} would get no bucket",
            field=f"segments.{segment.key}.traffic",
            value=segment.traffic,
            fix="raise the traffic.",
        )
