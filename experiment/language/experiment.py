"""Definitions and specs from text, strict, with every error under its file, line, field and fix; and back.

    experiment = load_file("home-ranker.yaml")

The language is YAML 1.2 core (`experiment.language.yaml` says what is left out). Its keys stand in tables of
fields: here those of a definition and of a spec, beside it those of metrics, segments, decision and source.
Parser, JSON Schema and canonical form are all read from these tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any, TypeVar

from switchpoint.experiment.definition.source import Shape, Source
from switchpoint.experiment.definition.types import Experiment, Layer, Metric, Spec, Variant
from switchpoint.experiment.errors import DefinitionError, suggest
from switchpoint.experiment.language.decision import DECISION
from switchpoint.experiment.language.document import digest_of
from switchpoint.experiment.language.kinds import (
    ATTRIBUTE,
    KEY,
    MODEL,
    SHARE,
    TEXT,
    Kind,
    Schema,
    duration,
    list_of,
)
from switchpoint.experiment.language.metrics import METRICS, METRICS_OF_TABLES
from switchpoint.experiment.language.node import DefinitionErrors, Node, read_document, unique
from switchpoint.experiment.language.record import Block, Field, record, said
from switchpoint.experiment.language.segments import SEGMENTS, everyone, with_variants, without_variants
from switchpoint.experiment.language.source import NESTED_WEIGHTS, SOURCE, with_metrics

T = TypeVar("T")

SCHEMA_ID = "https://switchpoint.invalid/schemas/experiment.json"

_ASSIGNED = ("key", "unit", "variants", "segments")
"""Keys by which a file is a definition, not a spec of somebody else's table."""

_FROZEN = ("metrics", "dimensions", "window", "decision")
"""What may not change after the start."""


# -- the tables ----------------------------------------------------------------------------------------------


def _layer(block: Block) -> Layer:
    start, end = block.values["slice"]
    if not start < end:
        block.record("a slice is [start, end) with start below end", "write [0.0, 0.5].", "slice")
    return Layer(key=block.values["key"], start=start, end=end)


_START_END = "[start, end) of the layer, as shares."
_LAYER = record(
    "Layer",
    "Experiments with disjoint slices of one layer share no units.",
    Field("key", KEY, "Name of the layer.", needed=True, example="home"),
    Field("slice", list_of(SHARE, "bound", least=2, most=2), _START_END, needed=True, example=[0.0, 0.5]),
    build=_layer,
    parts=lambda layer: {"slice": (layer.start, layer.end)},
)

_VARIANT = record(
    "Variant",
    "One treatment.",
    Field("key", KEY, "Name of the variant.", needed=True, example="control"),
    Field("model", MODEL, "name@version.", example="ranker@1"),
    build=lambda block: Variant(**block.values),
)


def _unique_keys(node: Node, variants: tuple[Variant, ...]) -> None:
    unique(node, [variant.key for variant in variants], "variant")


_VARIANTS = list_of(_VARIANT, "variant", least=2, most=32, check=_unique_keys)
_DIMENSIONS = list_of(ATTRIBUTE, "dimension", most=20, distinct=True)
_PAIR = [{"key": "control"}, {"key": "treatment"}]

_SCHEMA = Field("$schema", TEXT, "Where editors find this schema.")
_WINDOW = Field("window", duration(366), "Outcomes count this long after the first exposure.", example="7d")
_DECISION = Field("decision", DECISION, "The rule, frozen at start.", needed=True, example={"mde": "2%"})


def _compare(block: Block) -> None:
    """What the fields of a definition say of each other."""
    values = block.values
    variants, metrics, source = values.get("variants"), values.get("metrics"), values.get("source")
    if not block.has("segments") and not block.has("source"):
        block.record("'segments' is missing", "add a list; a segment without `when` takes every unit.")
    if variants is not None:
        names = [variant.key for variant in variants]
        if values.get("segments") is not None:
            values["segments"] = with_variants(block, values["segments"], names)
        if source is not None:
            _compare_variants(block, source, names)
        if "model" in values and "source" in values:
            _compare_models(block, variants, values["model"], outside=source is not None)
    if metrics is not None and source is not None:
        _compare_metrics(block, metrics, source)


def _compare_variants(block: Block, source: Source, names: list[str]) -> None:
    if source.weights_by:
        message = "a definition has its allocation per segment, and a new epoch for another one"
        block.record(message, "give one share per variant, or leave `weights` out.", "source", "weights")
    if isinstance(source.weights, Mapping) and set(source.weights) != set(names):
        message, fix = "weights must name every variant", f"name {', '.join(names)}."
        block.record(message, fix, "source", "weights")
    for variant in source.served_map:
        if variant not in names:
            block.record(f"no variant {variant!r}", suggest(variant, names), "source", "served_map", variant)


def _compare_models(block: Block, variants: tuple[Variant, ...], model: str | None, *, outside: bool) -> None:
    """Variants are versions of the one model that callers ask for; only foreign assignments have none."""
    for index, variant in enumerate(variants):
        if variant.model is None:
            if model is not None or not outside:
                message = f"{variant.key!r} names no model version"
                block.record(message, "add `model: ranker@1`.", "variants", index)
        elif model is None:
            block.record("'model' is missing", f"add `model: {variant.model.name}`: what callers ask for.")
            return
        elif variant.model.name != model:
            message = f"{variant.model} is not a version of {model}"
            block.record(message, f"use {model}@N.", "variants", index, "model")


_ALL_MODELS_OR_NONE: Schema = {
    "if": said("model"),
    "then": {"properties": {"variants": {"items": said("model")}}},
    "else": {
        **said("source"),
        "allOf": [{"properties": {"variants": {"items": {"properties": {"model": {"type": "null"}}}}}}],
    },
}


def _compare_metrics(block: Block, metrics: tuple[Metric, ...], source: Source) -> None:
    """A source names known metrics; where a table is read, a covariate is one of its columns."""
    known = [metric.key for metric in metrics]
    block.values["source"] = source = with_metrics(source, known)
    named_in = {"columns": source.columns, "covariate": source.covariate, "empty": source.empty}
    for part, named in named_in.items():
        for key in named:
            if key not in known:
                block.record(f"no metric {key!r}", suggest(key, known), "source", part, key)
    for index, metric in enumerate(metrics):
        if metric.covariate is not None and metric.key not in source.covariate:
            fix = "name it in the source's `covariate`."
            if source.shape in {Shape.COUNTS, Shape.MOMENTS}:
                fix = f"remove it: rows of the shape {source.shape} do not say how units varied together."
            message = f"no column for the covariate of {metric.key!r}"
            block.record(message, fix, "metrics", index, "covariate")


def _experiment(block: Block) -> Experiment:
    values = dict(block.values)
    del values["$schema"]
    names = [variant.key for variant in values["variants"]]
    segments = values.pop("segments") or (everyone(names, values["source"]),)
    window = values.pop("window")
    return Experiment(**values, window_ms=window, segments=segments)


def _parts(experiment: Experiment) -> Mapping[str, Any]:
    names = [variant.key for variant in experiment.variants]
    segments = [without_variants(segment, names) for segment in experiment.segments]
    return {"segments": segments, "window": experiment.window_ms}


EXPERIMENT = record(
    "Experiment",
    "One experiment definition.",
    _SCHEMA,
    Field("key", KEY, "Identity of the experiment.", needed=True, example="home-ranker"),
    Field("hypothesis", TEXT, "What you expect, and why.", default="", example="Model 2 raises CTR."),
    Field("owner", TEXT, "Who answers for it.", default="", example="search-team"),
    Field("unit", ATTRIBUTE, "Attribute that is randomised; text.", needed=True, example="user_id"),
    Field("model", KEY, "What callers ask for; variants name its versions.", example="ranker"),
    Field("layer", _LAYER, "Slice of traffic that experiments share out between them."),
    Field("variants", _VARIANTS, "The first is control.", needed=True, example=_PAIR),
    Field("segments", SEGMENTS, "The first that matches routes the unit; not needed with a source."),
    Field("dimensions", _DIMENSIONS, "Attributes for breakdowns only.", default=()),
    Field("metrics", METRICS, "Exactly one has the role primary.", needed=True),
    replace(_WINDOW, needed=True),
    _DECISION,
    Field("source", SOURCE, "Where the data stand, if units are assigned elsewhere."),
    build=_experiment,
    parts=_parts,
    check=_compare,
    rules=(
        {"anyOf": [said("segments"), said("source")]},
        {"not": {"required": ["source"], "properties": {"source": NESTED_WEIGHTS}}},
        _ALL_MODELS_OR_NONE,
    ),
)  # fmt: skip
"""A definition."""


def _spec(metrics: Kind[tuple[Metric, ...]]) -> Kind[Spec]:
    def compare(block: Block) -> None:
        if block.values.keys() >= {"metrics", "source"}:
            _compare_metrics(block, block.values["metrics"], block.values["source"])

    def build(block: Block) -> Spec:
        parts = {name: block.values[name] for name in ("metrics", "decision", "source")}
        return Spec(**parts, window_ms=block.values["window"])

    return record(
        "Spec",
        "How to read and judge somebody else's table.",
        _SCHEMA,
        Field("metrics", metrics, "Exactly one has the role primary.", needed=True),
        _WINDOW,
        _DECISION,
        Field("source", SOURCE, "Where the data stand.", needed=True, example={"shape": "counts"}),
        build=build,
        check=compare,
    )


SPECS = {True: _spec(METRICS), False: _spec(METRICS_OF_TABLES)}
"""A spec, by whether its rows are events: then its metrics say which they read."""


def json_schema() -> Schema:
    """The JSON Schema (draft-07) of a definition, for editors and for `openapi.json`.

    It says everything the parser checks but comparisons of one value with another and arithmetic.
    """
    return {"$schema": "http://json-schema.org/draft-07/schema#", "$id": SCHEMA_ID, **EXPERIMENT.schema}


# -- reading -------------------------------------------------------------------------------------------------


def load(text: str, *, file: str = "<text>") -> Experiment:
    """The experiment a YAML text defines. Raises DefinitionErrors with everything that is wrong."""
    return _load(text, file, EXPERIMENT.read)


def load_file(path: FilePath | str) -> Experiment:
    """The experiment a UTF-8 file defines. Raises DefinitionErrors."""
    return _load(_text(FilePath(path)), str(path), EXPERIMENT.read)


def load_spec(text: str, *, file: str = "<text>") -> Spec:
    """A spec: metrics, decision, source and, where outcomes are timed, a window. Raises DefinitionErrors."""
    return _load(text, file, _read_spec)


def load_spec_file(path: FilePath | str) -> Spec:
    """The spec a UTF-8 file holds. Raises DefinitionErrors."""
    return _load(_text(FilePath(path)), str(path), _read_spec)


def load_either_file(path: FilePath | str) -> Experiment | Spec:
    """The experiment or the spec a UTF-8 file holds: a spec has nothing that is assigned by Switchpoint.

    Raises:
        DefinitionErrors: everything that is wrong, with file, line and fix.
    """

    def read(node: Node) -> Experiment | Spec:
        assigns = not isinstance(node.value, dict) or not node.value.keys().isdisjoint(_ASSIGNED)
        return EXPERIMENT.read(node) if assigns else _read_spec(node)

    return _load(_text(FilePath(path)), str(path), read)


def from_document(document: Mapping[str, Any]) -> Experiment:
    """The experiment of a canonical document. Raises DefinitionErrors."""
    return read_document(dict(document), {}, "", EXPERIMENT.read)


def _read_spec(node: Node) -> Spec:
    source = node.value.get("source") if isinstance(node.value, dict) else None
    events = isinstance(source, dict) and source.get("shape") == Shape.EVENTS
    return SPECS[events].read(node)


def _text(path: FilePath) -> str:
    from switchpoint.experiment.language.yaml import MAX_BYTES, decode

    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
        return decode(raw, str(path))
    except OSError as error:
        unread = DefinitionError(f"cannot be read: {error.strerror}", fix="check the path.", file=str(path))
        raise DefinitionErrors([unread]) from error
    except DefinitionError as error:
        raise DefinitionErrors([error]) from None


def _load(text: str, file: str, read: Callable[[Node], T]) -> T:
    # the YAML reader is loaded only where text is read: serving and the client start without it
    from switchpoint.experiment.language.yaml import read as read_yaml

    try:
        value, lines = read_yaml(text, file)
    except DefinitionError as error:
        raise DefinitionErrors([error]) from None
    return read_document(value, lines, file, read)


# -- the canonical form --------------------------------------------------------------------------------------


def to_document(experiment: Experiment) -> dict[str, Any]:
    """The definition as JSON values, written out in full; keys with nothing to say are left out.

    `from_document` reads it with the parser that reads YAML, so stored definitions are held to the same rules
    as written ones, and the digest covers what a definition means, not how it was typed.
    """
    document: dict[str, Any] = EXPERIMENT.write(experiment)
    return document


def digest(experiment: Experiment) -> str:
    """`sha256:...` of the canonical form."""
    return digest_of(to_document(experiment))


def rule_digest(experiment: Experiment) -> str:
    """`sha256:...` of what freezes at start: metrics, dimensions, window and decision rule."""
    document = to_document(experiment)
    return digest_of({part: document.get(part) for part in _FROZEN})
