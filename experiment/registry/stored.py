"""Experiments, models, champions and decisions as the documents of `Records`, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from switchpoint.experiment.definition.state import ExperimentState
from switchpoint.experiment.definition.types import ModelRef
from switchpoint.experiment.errors import BadInput, Corrupt, NotFound
from switchpoint.experiment.language.document import Document, from_body, to_body
from switchpoint.experiment.registry import lifecycle
from switchpoint.experiment.registry.champion import Champion
from switchpoint.experiment.registry.decision import DecisionRecord
from switchpoint.experiment.registry.model import ModelVersion
from switchpoint.experiment.registry.records import Kind, Put, Records

T = TypeVar("T")


def experiments(records: Records) -> list[ExperimentState]:
    """All experiments, in order of creation."""
    found = [_read(lifecycle.from_document, d) for d in records.list(Kind.EXPERIMENT)]
    return sorted(found, key=lambda state: state.ordinal)


def experiment(records: Records, key: str) -> ExperimentState:
    """One experiment; raises NotFound."""
    document = records.get(Kind.EXPERIMENT, key)
    if document is None:
        raise NotFound(
            f"unknown experiment {key}", field="experiment", value=key, fix="see `switchpoint list`"
        )
    return _read(lifecycle.from_document, document)


def models(records: Records) -> dict[ModelRef, ModelVersion]:
    """All registered versions, by name and number."""
    found = [_read(_version, d) for d in records.list(Kind.MODEL)]
    return {version.ref: version for version in sorted(found, key=lambda v: (v.name, v.version))}


def model(records: Records, ref: ModelRef) -> ModelVersion:
    """One registered version; raises NotFound."""
    document = records.get(Kind.MODEL, str(ref))
    if document is None:
        raise NotFound(
            f"unknown model {ref}", field="model", value=str(ref), fix="see `switchpoint model list`"
        )
    return _read(_version, document)


def champion(records: Records, name: str) -> Champion:
    """The champion of a model; one without history when there is none yet."""
    document = records.get(Kind.CHAMPION, name)
    return Champion(model=name) if document is None else _read(_champion, document)


def champions(records: Records) -> list[Champion]:
    """The champions of all models that have one, by name."""
    return [_read(_champion, d) for d in records.list(Kind.CHAMPION)]


def decisions(records: Records, key: str | None = None) -> list[DecisionRecord]:
    """The decisions of one experiment or of all, by experiment and oldest first."""
    mine = "" if key is None else f"{key}/"
    found = [_read(_decision, d) for d in records.list(Kind.DECISION) if d.key.startswith(mine)]
    return sorted(found, key=lambda decision: (decision.experiment, decision.number))


def put_experiment(records: Records, state: ExperimentState) -> Put:
    """Write an experiment over the version that is stored now."""
    return _put(records, Kind.EXPERIMENT, state.key, lifecycle.to_document(state))


def put_model(records: Records, version: ModelVersion) -> Put:
    """Write a model version over the one that is stored now."""
    return _put(records, Kind.MODEL, str(version.ref), to_body(version))


def put_champion(records: Records, champion: Champion) -> Put:
    """Write a champion over the one that is stored now."""
    return _put(records, Kind.CHAMPION, champion.model, to_body(champion))


def put_decision(records: Records, decision: DecisionRecord) -> Put:
    """Write a decision."""
    return _put(records, Kind.DECISION, decision.id, to_body(decision))


def _put(records: Records, kind: Kind, key: str, body: dict[str, Any]) -> Put:
    known = records.get(kind, key)
    return Put(kind=kind, key=key, body=body, expected_version=known.version if known else 0)


def _version(body: object) -> ModelVersion:
    return from_body(ModelVersion, body)


def _champion(body: object) -> Champion:
    return from_body(Champion, body)


def _decision(body: object) -> DecisionRecord:
    return from_body(DecisionRecord, body)


def _read(read: Callable[[dict[str, Any]], T], document: Document) -> T:
    try:
        return read(dict(document.body))
    except BadInput as error:
        raise Corrupt(f"stored {document.kind} {document.key} cannot be read: {error}") from error
