"""Definitions and specs from text: strict, with every error under its file, line, field and fix.

    experiment = load_file("home-ranker.yaml")

The language is YAML 1.2 core (`experiment.language.yaml` says what is left out); design and defaults are
documented in `experiment.language.schema`, which describes the same language to editors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path as FilePath
from typing import Any, TypeVar

from switchpoint.experiment.definition.source import Shape, Source
from switchpoint.experiment.definition.types import (
    Experiment,
    Layer,
    Metric,
    ModelRef,
    Segment,
    Spec,
    Variant,
)
from switchpoint.experiment.errors import DefinitionError
from switchpoint.experiment.language.canonical import digest, rule_digest, to_document
from switchpoint.experiment.language.decision import parse_decision
from switchpoint.experiment.language.fields import (
    DefinitionErrors,
    Fields,
    Place,
    Problems,
    duration,
    each,
    key,
    name,
    share,
    text,
    unique,
)
from switchpoint.experiment.language.metrics import parse_metrics
from switchpoint.experiment.language.segments import everyone, parse_segments
from switchpoint.experiment.language.source import parse_source
from switchpoint.experiment.wording import Lines, show

__all__ = [
    "digest",
    "from_document",
    "load",
    "load_file",
    "load_spec",
    "parse_decision",
    "parse_metrics",
    "parse_source",
    "rule_digest",
    "to_document",
]

T = TypeVar("T")

MAX_WINDOW_MS = 366 * 86_400_000
MAX_VARIANTS = 32
MAX_DIMENSIONS = 20

_KEYS = (
    "$schema", "key", "hypothesis", "owner", "unit", "model", "layer", "variants", "segments", "dimensions",
    "metrics", "window", "decision", "source",
)  # fmt: skip

_ASSIGNED = ("key", "unit", "variants", "segments")
"""Keys by which a file is a definition, not a spec of somebody else's table."""


def load(text: str, *, file: str = "<text>") -> Experiment:
    """The experiment a YAML text defines. Raises DefinitionErrors with everything that is wrong."""
    return _load(text, file, _experiment)


def load_file(path: FilePath | str) -> Experiment:
    """The experiment a UTF-8 file defines. Raises DefinitionErrors."""
    return _load(_text(FilePath(path)), str(path), _experiment)


def load_spec(text: str, *, file: str = "<text>") -> Spec:
    """A spec: metrics, decision, source and, where outcomes are timed, a window. Raises DefinitionErrors."""
    return _load(text, file, _spec)


def load_spec_file(path: FilePath | str) -> Spec:
    """The spec a UTF-8 file holds. Raises DefinitionErrors."""
    return _load(_text(FilePath(path)), str(path), _spec)


def load_either_file(path: FilePath | str) -> Experiment | Spec:
    """The experiment or the spec a UTF-8 file holds: a spec has nothing that is assigned by Switchpoint.

    Raises:
        DefinitionErrors: everything that is wrong, with file, line and fix.
    """
    text = _text(FilePath(path))
    return _load(text, str(path), lambda place: _experiment(place) if _assigns(place.value) else _spec(place))


def _assigns(document: object) -> bool:
    return not isinstance(document, dict) or not document.keys().isdisjoint(_ASSIGNED)


def from_document(document: Mapping[str, Any]) -> Experiment:
    """The experiment of a canonical document. Raises DefinitionErrors."""
    return _run(dict(document), {}, "", _experiment)


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


def _load(text: str, file: str, read: Callable[[Place], T]) -> T:
    # the YAML reader is loaded only where text is read: serving and the client start without it
    from switchpoint.experiment.language.yaml import read as read_yaml

    try:
        value, lines = read_yaml(text, file)
    except DefinitionError as error:
        raise DefinitionErrors([error]) from None
    return _run(value, lines, file, read)


def _run(value: Any, lines: Lines, file: str, read: Callable[[Place], T]) -> T:
    problems = Problems(file=file, lines=lines)
    return problems.run(read, Place(value, (), problems))


def _spec(place: Place) -> Spec:
    block = Fields(place, ("$schema", "metrics", "window", "decision", "source"))
    events = _shape(place) == Shape.EVENTS
    metrics = block.need("metrics", lambda p: parse_metrics(p, events=events), "[...]")
    window = block.take("window", _window, None)
    decision = block.need("decision", parse_decision, "{mde: 2%}")
    if block.failed:
        block.done()
    known = [metric.key for metric in metrics]
    source = block.need("source", lambda p: parse_source(p, metrics=known, variants=None), "{shape: counts}")
    block.done()
    _check_covariates(block, metrics, source)
    block.done()
    return Spec(metrics=metrics, decision=decision, window_ms=window, source=source)


def _shape(place: Place) -> object:
    source = place.value.get("source") if isinstance(place.value, dict) else None
    return source.get("shape") if isinstance(source, dict) else None


def _experiment(place: Place) -> Experiment:
    block = Fields(place, _KEYS)
    outside = block.has("source")
    variants = block.need("variants", _variants, "[{key: control}, {key: treatment}]")
    names = [variant.key for variant in variants] if variants else []
    metrics = block.need("metrics", parse_metrics, "[...]")
    known = [metric.key for metric in metrics] if metrics else []
    nothing: tuple[Segment, ...] = ()
    source = None
    if names and known:
        source = block.take("source", lambda p: parse_source(p, metrics=known, variants=names), None)
    segments = block.take("segments", lambda p: parse_segments(p, names), nothing) if names else nothing
    if not block.has("segments") and not outside:
        block.record("'segments' is missing", "add a list; a segment without `when` takes every unit.")
    experiment = Experiment(
        key=block.need("key", key, "home-ranker"),
        hypothesis=block.take("hypothesis", text, ""),
        owner=block.take("owner", text, ""),
        unit=block.need("unit", name, "user_id"),
        model=block.take("model", key, None),
        layer=block.take("layer", _layer, None),
        variants=variants,
        segments=segments or (everyone(len(names), names, source),),
        dimensions=block.take("dimensions", _dimensions, ()),
        metrics=metrics,
        window_ms=block.need("window", _window, "7d"),
        decision=block.need("decision", parse_decision, "{mde: 2%}"),
        source=source,
    )
    block.done()
    _check_models(block, experiment)
    _check_covariates(block, metrics, source)
    block.done()
    return experiment


def _check_covariates(block: Fields, metrics: tuple[Metric, ...], source: Source | None) -> None:
    """Where a table is read, a covariate is one of its columns."""
    for index, metric in enumerate(metrics):
        if source is None or metric.covariate is None or metric.key in source.covariate:
            continue
        message, fix = (
            f"no column for the covariate of {metric.key!r}",
            "name it in the source's `covariate`.",
        )
        if source.shape in {Shape.COUNTS, Shape.MOMENTS}:
            fix = f"remove it: rows of the shape {source.shape} do not say how units varied together."
        block.record(message, fix, "metrics", index, "covariate")


def _check_models(block: Fields, experiment: Experiment) -> None:
    """Variants are versions of the one model that callers ask for; only foreign assignments have none."""
    model = experiment.model
    for index, variant in enumerate(experiment.variants):
        if variant.model is None:
            if model is not None or experiment.source is None:
                block.record(
                    f"{variant.key!r} names no model version", "add `model: ranker@1`.", "variants", index
                )
        elif model is None:
            block.record("'model' is missing", f"add `model: {variant.model.name}`: what callers ask for.")
            return
        elif variant.model.name != model:
            block.record(
                f"{variant.model} is not a version of {model}", f"use {model}@N.", "variants", index, "model"
            )


def _variants(place: Place) -> tuple[Variant, ...]:
    variants = each(place, _variant)
    if not 2 <= len(variants) <= MAX_VARIANTS:
        place.fail(f"{len(variants)} variants", f"give 2 to {MAX_VARIANTS}; the first is control.")
    unique(place, [variant.key for variant in variants], "variant")
    return variants


def _variant(place: Place) -> Variant:
    block = Fields(place, ("key", "model"))
    variant = Variant(key=block.need("key", key, "treatment"), model=block.take("model", _model_ref, None))
    block.done()
    return variant


def _model_ref(place: Place) -> ModelRef:
    model, _, version = text(place).rpartition("@")
    if not (model and version.isascii() and version.isdigit() and 0 < int(version[:10]) < 10**9):
        place.fail(f"{show(place.value)} is not a model version", "write it as ranker@2.")
    key(Place(model, place.path, place.problems))
    return ModelRef(model, int(version))


def _layer(place: Place) -> Layer:
    block = Fields(place, ("key", "slice"))
    layer_key = block.need("key", key, "home")
    bounds = block.need("slice", lambda p: each(p, share), "[0.0, 0.5]")
    block.done()
    if len(bounds) != 2 or not bounds[0] < bounds[1]:
        block.record("a slice is [start, end) with start below end", "write [0.0, 0.5].", "slice")
    block.done()
    return Layer(key=layer_key, start=bounds[0], end=bounds[1])


def _dimensions(place: Place) -> tuple[str, ...]:
    dimensions = each(place, name)
    if len(dimensions) > MAX_DIMENSIONS:
        place.fail(f"{len(dimensions)} dimensions", f"give at most {MAX_DIMENSIONS}.")
    unique(place, list(dimensions), "dimension")
    return dimensions


def _window(place: Place) -> int:
    ms = duration(place)
    if ms > MAX_WINDOW_MS:
        place.fail(f"{show(place.value)} is too long", "at most 366d.")
    return ms
