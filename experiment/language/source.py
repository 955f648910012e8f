"""Strict parsing of the `source` block (the columns of somebody else's table) and of conditions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from decimal import Decimal
from typing import Any

from switchpoint.experiment.definition.condition import ConditionError, compile_condition
from switchpoint.experiment.definition.source import (
    AS_WRITTEN,
    COLUMN_ROLES,
    DECIMAL_SIGNS,
    TIDY,
    UNKNOWN,
    Shape,
    Source,
    Table,
)
from switchpoint.experiment.definition.types import BUCKETS
from switchpoint.experiment.language.fields import Fields, Place, choice, each, key, mapping_of, share, text
from switchpoint.experiment.wording import show, suggest

_KEYS = tuple(f.name for f in dataclass_fields(Source) if f.name not in {"experiment_key", "weights_by"})


def parse_source(place: Place, *, metrics: Collection[str], variants: Collection[str] | None) -> Source:
    """The `source` block.

    `metrics` are the keys its `columns` and `covariate` may name; `variants` those `weights` and
    `served_map` may name (None: any, the table decides). Raises DefinitionError, or Recorded when the
    errors are already noted.
    """
    block = Fields(place, _KEYS)
    nowhere: tuple[str | None, str | None] = (None, None)
    unknown: _Weights = (None, {})
    intended = block.take("weights", _weights, unknown)
    column, experiment_key = block.take("experiment", _experiment, nowhere)
    source = Source(
        shape=block.need("shape", choice(Shape), "counts"),
        assignment=block.take("assignment", text, UNKNOWN),
        experiment=column,
        experiment_key=experiment_key,
        variant=block.take("variant", text, None),
        control=block.take("control", scalar, None),
        unit=block.take("unit", text, None),
        cluster=block.take("cluster", text, None),
        day=block.take("day", text, None),
        segment=block.take("segment", text, None),
        epoch=block.take("epoch", text, None),
        dimensions=block.take("dimensions", lambda p: each(p, text), ()),
        cumulative=block.take("cumulative", flag, default=False),
        covariate=block.take("covariate", mapping_of(_roles), {}),
        served=block.take("served", text, None),
        served_map=block.take("served_map", mapping_of(scalar), {}),
        columns=block.take("columns", mapping_of(_roles), {}),
        eligible=block.take("eligible", condition, None),
        exposures=block.take("exposures", _table, None),
        outcomes=block.take("outcomes", _table, None),
        separator=block.take("separator", _separator, None),
        encoding=block.take("encoding", _encoding, None),
        decimal=block.take("decimal", _decimal, None),
        date_format=block.take("date_format", _date_format, None),
        empty=block.take("empty", _empty, ()),
        labels=block.take("labels", _labels, AS_WRITTEN),
    )
    block.done()
    source = replace(source, weights=intended[0], weights_by=intended[1])
    if source.empty == _EVERY_METRIC:
        source = replace(source, empty=tuple(metrics))
    _check_names(block, source, metrics, variants)
    _check_shape(block, source)
    block.done()
    return source


def condition(place: Place) -> dict[str, Any]:
    """A condition that compiles, with numbers as JSON has them."""
    raw = _plain(place.value)
    try:
        compile_condition(raw)
    except ConditionError as error:
        raise place.error(error.message, error.fix, *error.path) from None
    found: dict[str, Any] = raw
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, Mapping):
        return {part: _plain(item) for part, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def weights(place: Place) -> Mapping[str, int] | str:
    """`equal`, or shares by variant that sum to one."""
    if place.value == "equal":
        return "equal"
    shares = mapping_of(share)(place)
    if sum(shares.values()) != BUCKETS:
        place.fail(
            f"the shares sum to {Decimal(sum(shares.values())) / BUCKETS}, not 1",
            "change one of them, or write `equal`.",
        )
    return shares


_Weights = tuple[Mapping[str, int] | str | None, Mapping[str, Mapping[str, int]]]


def _weights(place: Place) -> _Weights:
    """The same for every row, or by epoch, by day or by segment."""
    if (
        isinstance(place.value, dict)
        and place.value
        and all(isinstance(v, dict) for v in place.value.values())
    ):
        return None, {str(name): dict(found) for name, found in mapping_of(_shares)(place).items()}
    return weights(place), {}


def _shares(place: Place) -> Mapping[str, int]:
    found = weights(place)
    if isinstance(found, str):
        place.fail(f"{show(found)} is not a share per variant", "write {control: 0.9, treatment: 0.1}.")
    return found


def scalar(place: Place) -> str:
    """A value of a column, as text: `control`, `1`."""
    if isinstance(place.value, bool) or not isinstance(place.value, str | int):
        place.fail(f"{show(place.value)} is not a value", "write text or a whole number.")
    return str(place.value)


def flag(place: Place) -> bool:
    """`true` or `false`."""
    if not isinstance(place.value, bool):
        place.fail(f"{show(place.value)} is neither true nor false", "write `true` or `false`.")
    return bool(place.value)


_EVERY_METRIC = ("*",)


def _separator(place: Place) -> str:
    if not isinstance(place.value, str) or len(place.value) != 1 or place.value in '"\r\n':
        place.fail(f"{show(place.value)} is not a separator", "write one character, such as ';' or \"\\t\".")
    return str(place.value)


def _encoding(place: Place) -> str:
    name = text(place)
    try:
        "".encode(name)
    except LookupError:
        place.fail(f"no encoding is called {show(name)}", "write utf-8, utf-16, cp1252 or another known one.")
    return name


def _decimal(place: Place) -> str:
    if place.value not in DECIMAL_SIGNS:
        place.fail(f"{show(place.value)} is not a decimal sign", "write '.' or ','.")
    return str(place.value)


def _date_format(place: Place) -> str:
    form = text(place)
    if "%" not in form:
        place.fail(f"{show(form)} is not a form of dates", "write it as strptime has it: '%d.%m.%Y'.")
    return form


def _empty(place: Place) -> tuple[str, ...]:
    """`0`, or the metrics of which an empty cell is 0: `{revenue: 0}`."""
    if place.value == 0 and not isinstance(place.value, bool):
        return _EVERY_METRIC
    return tuple(mapping_of(_zero)(place))


def _zero(place: Place) -> int:
    if isinstance(place.value, bool) or place.value != 0:
        place.fail(f"an empty cell cannot be {show(place.value)}", "write 0, or leave the metric out.")
    return 0


def _labels(place: Place) -> str:
    if place.value not in {AS_WRITTEN, TIDY}:
        place.fail(f"{show(place.value)} is no way to read names", f"write {TIDY!r} or {AS_WRITTEN!r}.")
    return str(place.value)


def _experiment(place: Place) -> tuple[str | None, str | None]:
    """A column, or `{key: home-ranker}` for the one live experiment all rows belong to."""
    if isinstance(place.value, dict):
        block = Fields(place, ("key",))
        found = block.need("key", key, "home-ranker")
        block.done()
        return None, found
    return text(place), None


def _roles(place: Place) -> dict[str, str]:
    """A metric's columns by role; plain text is short for `{value: text}`."""
    if isinstance(place.value, str):
        return {"value": text(place)}
    return mapping_of(text)(place)


def _table(place: Place) -> Table:
    block = Fields(place, ("table", "id", "type", "at", "value"))
    table = Table(
        table=block.need("table", text, "events.parquet"),
        id=block.take("id", text, None),
        type=block.take("type", text, None),
        at=block.need("at", text, "time"),
        value=block.take("value", text, None),
    )
    block.done()
    return table


def _check_names(
    block: Fields, source: Source, metrics: Collection[str], variants: Collection[str] | None
) -> None:
    named = [("columns", source.columns), ("covariate", source.covariate), ("empty", source.empty)]
    for part, found in named:
        for metric in found:
            if metric not in metrics:
                block.record(f"no metric {metric!r}", suggest(metric, metrics), part, metric)
    if source.weights_by and variants is not None:
        block.record(
            "a definition has its allocation per segment, and a new epoch for another one",
            "give one share per variant, or leave `weights` out.", "weights",
        )  # fmt: skip
    if variants is None:
        return
    if isinstance(source.weights, Mapping) and set(source.weights) != set(variants):
        block.record("weights must name every variant", f"name {', '.join(variants)}.", "weights")
    for variant in source.served_map:
        if variant not in variants:
            block.record(f"no variant {variant!r}", suggest(variant, variants), "served_map", variant)


_NEEDED = {
    Shape.EVENTS: ("exposures", "outcomes", "unit", "variant"),
    Shape.UNITS: ("variant", "columns"),
    Shape.MOMENTS: ("variant", "columns"),
    Shape.COUNTS: ("columns",),
}
_REFUSED = {
    Shape.EVENTS: ("columns", "cumulative"),
    Shape.UNITS: ("exposures", "outcomes", "cumulative"),
    Shape.MOMENTS: ("exposures", "outcomes", "unit", "cluster", "served", "covariate"),
    Shape.COUNTS: ("exposures", "outcomes", "unit", "cluster", "served", "covariate"),
}


def _check_shape(block: Fields, source: Source) -> None:
    shape = source.shape
    for part in _NEEDED[shape]:
        if not getattr(source, part):
            block.record(f"{part!r} is missing", f"the shape {shape} needs it.")
    for part in _REFUSED[shape]:
        if getattr(source, part):
            block.record(
                f"{part!r} does not go with the shape {shape}", "remove it or change the shape.", part
            )
    _check_roles(block, source)
    if source.outcomes is not None and source.outcomes.type is None:
        block.record("'type' is missing", "name the column of the event type.", "outcomes")
    if source.cumulative and source.day is None:
        block.record("'day' is missing", "cumulative rows need the day they run up to.", "cumulative")
    if source.weights_by and source.cumulative:
        block.record("cumulative rows hold the units of all weights before", "give one set.", "weights")
    if source.weights_by and not (source.epoch or source.day or source.segment):
        block.record(
            "nothing says which weights a row has", "name the column `epoch`, `day` or `segment`.", "weights"
        )
    if source.served_map and source.served is None:
        block.record("'served' is missing", "name the column of what was shown.", "served_map")


def _check_roles(block: Fields, source: Source) -> None:
    allowed, shape = COLUMN_ROLES[source.shape], source.shape
    for metric, roles in source.columns.items():
        if allowed and not any(set(roles) == set(complete) for complete in allowed):
            options = " or ".join("{" + ", ".join(complete) + "}" for complete in allowed)
            message = f"{metric!r} has the columns {', '.join(roles)}"
            block.record(message, f"the shape {shape} needs {options}.", "columns", metric)
    for metric, roles in source.covariate.items():
        if set(roles) not in ({"value"}, {"numerator", "denominator"}):
            message = f"the covariate of {metric!r} has the columns {', '.join(roles)}"
            block.record(message, "name one column, or {numerator, denominator}.", "covariate", metric)
