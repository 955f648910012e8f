"""What a project admits beside what it already has: rules over several records at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from switchpoint.experiment.definition.state import ExperimentState, Status
from switchpoint.experiment.definition.types import BUCKETS, Experiment, Layer, ModelRef
from switchpoint.experiment.errors import DefinitionError, LifecycleError, NotFound, Refused
from switchpoint.experiment.registry.model import ModelVersion, State

_LIVE = frozenset({Status.DRAFT, Status.RUNNING, Status.PAUSED})


def check_definition(
    definition: Experiment, others: Iterable[ExperimentState], models: Mapping[ModelRef, ModelVersion]
) -> None:
    """Refuse a definition that cannot live beside the project's other experiments.

    Args:
        definition: what is about to be applied.
        others: the project's experiments; one of the same key is passed over.
        models: every registered version.

    Raises:
        NotFound: a variant's model version is not registered.
        DefinitionError: another unit type than the project's, or a layer slice that is taken.
        Refused: a variant's model version is quarantined or archived.
    """
    others = [state for state in others if state.key != definition.key]
    _check_unit(definition, others)
    variant_digests(definition, models)
    for state in others:
        theirs = state.definition.layer
        if definition.layer and theirs and state.status in _LIVE and _overlap(definition.layer, theirs):
            raise DefinitionError(
                f"overlaps {state.key} ({state.status}), which has {_show(theirs)}",
                field="layer.slice",
                value=_show(definition.layer),
                fix="choose a free slice, or stop that experiment",
            )


def check_start(definition: Experiment, others: Iterable[ExperimentState]) -> None:
    """Refuse a second running experiment on one model, unless disjoint slices of one layer keep them apart.

    Raises:
        LifecycleError: names the other experiment.
    """
    for state in others:
        other = state.definition
        running = state.status is Status.RUNNING and state.key != definition.key
        if running and definition.model is not None and other.model == definition.model:
            mine, theirs = definition.layer, other.layer
            if mine and theirs and mine.key == theirs.key and not _overlap(mine, theirs):
                continue
            raise LifecycleError(
                f"{state.key} already runs on model {definition.model}, which must decide who routes a call",
                field="model",
                value=definition.model,
                fix="stop that experiment, or put both into disjoint slices of one layer",
            )


def variant_digests(definition: Experiment, models: Mapping[ModelRef, ModelVersion]) -> dict[str, str]:
    """Digest of every variant's model, by variant key; variants without a model are left out.

    Raises:
        NotFound: a version is not registered.
        Refused: a version is quarantined or archived.
    """
    digests = {}
    for index, variant in enumerate(definition.variants):
        if variant.model is not None:
            version = usable_version(variant.model, models, field=f"variants[{index}].model")
            digests[variant.key] = version.digest
    return digests


def usable_version(
    ref: ModelRef, models: Mapping[ModelRef, ModelVersion], *, field: str = "model"
) -> ModelVersion:
    """A registered version that may get traffic.

    Raises:
        NotFound: it is not registered.
        Refused: it is quarantined or archived.
    """
    version = models.get(ref)
    if version is None:
        known = ", ".join(str(other) for other in models if other.name == ref.name)
        raise NotFound(
            f"unknown model {ref}" + (f", known: {known}" if known else ""),
            field=field,
            value=str(ref),
            fix=f"register it with `switchpoint model register {ref.name}`",
        )
    if version.state is not State.REGISTERED:
        raise Refused(f"{ref} is {version.state}", field=field, value=str(ref), fix="use another version")
    return version


def _check_unit(definition: Experiment, others: Iterable[ExperimentState]) -> None:
    for state in others:
        if state.definition.unit != definition.unit:
            raise DefinitionError(
                f"this project randomises {state.definition.unit} (set by {state.key})",
                field="unit",
                value=definition.unit,
                fix=f"use unit: {state.definition.unit}, or another project",
            )


def _overlap(a: Layer, b: Layer) -> bool:
    return a.key == b.key and a.start < b.end and b.start < a.end


def _show(layer: Layer) -> str:
    return f"{layer.key} [{layer.start / BUCKETS:g}, {layer.end / BUCKETS:g})"
