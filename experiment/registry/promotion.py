"""From a decision to a champion: what a promotion must rest on, and where it applies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from switchpoint.experiment.definition.state import ExperimentState
from switchpoint.experiment.definition.types import ModelRef
from switchpoint.experiment.errors import LifecycleError, NotFound, Refused
from switchpoint.experiment.language.experiment import digest
from switchpoint.experiment.registry.champion import Champion, Grounds, promote, rules_for
from switchpoint.experiment.registry.decision import DecisionRecord, InForce, require_promotion


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """What somebody asks for: a variant's model as champion of these segments (empty: all of them).

    `expected` is the version that must be champion there now (None: control's, which the evidence compares
    with); `override` is the reason to promote without a matching decision.
    """

    variant: str
    segments: tuple[str, ...] = ()
    expected: int | None = None
    override: str | None = None
    at: int
    actor: str


def promoted_model(state: ExperimentState, variant: str) -> ModelRef:
    """The model version a variant stands for.

    Raises:
        NotFound: there is no such variant.
        Refused: its units were assigned elsewhere, so there is no model to promote.
        LifecycleError: the experiment was never started.
    """
    found = next((v for v in state.definition.variants if v.key == variant), None)
    if found is None:
        known = ", ".join(v.key for v in state.definition.variants)
        raise NotFound("no such variant", field="variant", value=variant, fix=f"known: {known}")
    if found.model is None:
        raise Refused(
            "this variant has no model", field="variant", value=variant, fix="promote where it runs"
        )
    if not state.epochs:
        raise LifecycleError(
            f"{state.key} was never started", field="status", value=state.status, fix="start it and decide"
        )
    return found.model


def promoted(
    state: ExperimentState,
    champion: Champion,
    latest: DecisionRecord | None,
    request: Promotion,
    *,
    content: str,
) -> Champion:
    """The champion after a promotion that the latest decision, or an override, allows.

    Segments that have this champion already are left as they are.

    Args:
        content: the digest of the variant's model as it is registered now.

    Raises:
        Refused: the latest decision does not say so and there is no override, or one without a reason; or
            this version is champion already in every segment, so that there is nothing to put on record.
        Superseded: the decision is about other models than those in force, or the champion is not `expected`
            in one of the segments.
    """
    ref = promoted_model(state, request.variant)
    definition = state.definition
    if request.override is None:
        require_promotion(latest, request.variant, request.segments, _in_force(state, request, content))
    else:
        require_reason(request.override, "override")
    standing = champion.incumbents
    asked: Sequence[str] = request.segments or [segment.key for segment in definition.segments]
    chosen = [segment for segment in asked if standing.version_for(segment) != ref.version]
    if not chosen:
        raise Refused(
            f"{ref} is already champion of {', '.join(asked)}", field="variant", value=request.variant
        )
    control = definition.control.model
    return promote(
        champion,
        ref.version,
        rules=rules_for(definition.segments, chosen, ref.version),
        expected=control.version if request.expected is None and control else request.expected,
        grounds=Grounds(
            at=request.at,
            actor=request.actor,
            reason=f"{state.key}: {request.variant}",
            decision=latest.id if latest and request.override is None else None,
            override=request.override,
        ),
    )


def _in_force(state: ExperimentState, request: Promotion, content: str) -> InForce:
    definition, epoch = state.definition, state.epoch
    digests = {} if epoch is None else dict(epoch.digests)
    return InForce(
        definition_digest=digest(definition),
        digests=digests | {request.variant: content},
        control=definition.control.key,
        models={v.key: str(v.model) for v in definition.variants if v.model is not None},
    )


def require_reason(reason: str, field: str) -> None:
    """Refuse an empty reason where evidence is set aside."""
    if not reason.strip():
        raise Refused(
            "acting without a matching decision needs a reason", field=field, value=reason, fix="say why"
        )
