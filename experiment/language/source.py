"""The `source` block, the columns of somebody else's table: the table of its fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

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
from switchpoint.experiment.errors import show
from switchpoint.experiment.language.kinds import (
    CONDITION,
    EQUAL_OR_WEIGHTS,
    FLAG,
    KEY,
    LABEL,
    TEXT,
    WEIGHTS,
    Kind,
    Schema,
    choice,
    list_of,
    map_of,
    one_of,
    text_or,
)
from switchpoint.experiment.language.node import Node
from switchpoint.experiment.language.record import Block, Field, record, said

COUNTS, UNITS, MOMENTS, EVENTS = Shape.COUNTS, Shape.UNITS, Shape.MOMENTS, Shape.EVENTS
_EVERY_METRIC = ("*",)


# -- the forms only a source has -----------------------------------------------------------------------------


def _columns(complete: tuple[tuple[str, ...], ...], of: str) -> Kind[dict[str, dict[str, str]]]:
    """Columns by metric and role, in complete sets of roles; plain text is short for `{value: text}`."""
    options = " or ".join("{" + ", ".join(roles) + "}" for roles in complete)
    by_role = map_of(TEXT)

    def read(node: Node) -> dict[str, str]:
        columns = {"value": TEXT.read(node)} if isinstance(node.value, str) else by_role.read(node)
        if not any(columns.keys() == set(roles) for roles in complete):
            node.fail(f"{node.path[-1]!r} has the columns {', '.join(columns)}", f"{of} {options}.")
        return columns

    forms: list[Schema] = [TEXT.schema] if ("value",) in complete else []
    for roles in complete:
        columns = dict.fromkeys(roles, TEXT.schema)
        forms.append({"type": "object", "properties": columns, "required": list(roles)})
        forms[-1]["additionalProperties"] = False
    return map_of(Kind(read, {"anyOf": forms}))


def _columns_of(shape: Shape) -> Field:
    complete = COLUMN_ROLES[shape]
    kind = _columns(complete, f"the shape {shape} needs")
    example = {"ctr": {role: f"the_{role}" for role in complete[0]}}
    return Field("columns", kind, "Metric to its columns.", {}, example, only=(shape,), needed=True)


def _table(*, typed: bool) -> Kind[Table]:
    return record(
        "Table",
        "One table of events.",
        Field("table", TEXT, "File or table.", needed=True, example="events.parquet"),
        Field("id", TEXT, "Column that identifies a row; left out: its content and position."),
        Field("type", TEXT, "Column of the event type.", needed=typed, example="type"),
        Field("at", TEXT, "Column of the time.", needed=True, example="time"),
        Field("value", TEXT, "Column of the value property of every metric."),
        build=lambda block: Table(**block.values),
    )


_LIVE: Kind[dict[str, str]] = record(
    "Live experiment",
    "All rows belong to it.",
    Field("key", KEY, "Key of the experiment.", needed=True, example="home-ranker"),
)
_COVARIATE = _columns((("value",), ("numerator", "denominator")), "name")

NESTED_WEIGHTS: Schema = {
    "required": ["weights"],
    "properties": {"weights": {"type": "object", "additionalProperties": {"type": "object"}}},
}
"""The schema of a source whose weights are not the same for every row."""

_BY_ROW = map_of(WEIGHTS)


def _nested(weights: object) -> bool:
    return isinstance(weights, Mapping) and all(isinstance(shares, Mapping) for shares in weights.values())


_WEIGHTS: Kind[Any] = Kind(
    lambda node: (_BY_ROW if _nested(node.value) else EQUAL_OR_WEIGHTS).read(node),
    {"anyOf": [*EQUAL_OR_WEIGHTS.schema["anyOf"], _BY_ROW.schema]},
    lambda weights: (_BY_ROW if _nested(weights) else EQUAL_OR_WEIGHTS).write(weights),
)


def _separator(node: Node) -> str:
    if not isinstance(node.value, str) or len(node.value) != 1 or node.value in '"\r\n':
        node.fail(f"{show(node.value)} is not a separator", "write one character, such as ';' or \"\\t\".")
    return node.value


def _encoding(node: Node) -> str:
    name = TEXT.read(node)
    try:
        "".encode(name)
    except (LookupError, ValueError):
        node.fail(f"no encoding is called {show(name)}", "write utf-8, utf-16, cp1252 or another known one.")
    return name


def _date_format(node: Node) -> str:
    form = TEXT.read(node)
    if "%" not in form:
        node.fail(f"{show(form)} is not a form of dates", "write it as strptime has it: '%d.%m.%Y'.")
    return form


def _zero(node: Node) -> int:
    if isinstance(node.value, bool) or node.value != 0:
        node.fail(f"an empty cell cannot be {show(node.value)}", "write 0, or leave the metric out.")
    return 0


_ZERO = Kind(_zero, {"const": 0})
_ZEROS = map_of(_ZERO)


def _empty(node: Node) -> tuple[str, ...]:
    """`0`, or the metrics of which an empty cell is 0: `{revenue: 0}`."""
    if isinstance(node.value, dict):
        return tuple(_ZEROS.read(node))
    _zero(node)
    return _EVERY_METRIC


# -- the table -----------------------------------------------------------------------------------------------


def _check_weights(block: Block) -> None:
    if _nested(block.values.get("weights")):
        if block.has("cumulative"):
            block.record("cumulative rows hold the units of all weights before", "give one set.", "weights")
        if not any(block.has(column) for column in ("epoch", "day", "segment")):
            fix = "name the column `epoch`, `day` or `segment`."
            block.record("nothing says which weights a row has", fix, "weights")


def _build(block: Block) -> Source:
    values = dict(block.values)
    experiment, weights = values.pop("experiment"), values["weights"]
    if isinstance(experiment, Mapping):
        values["experiment_key"] = experiment["key"]
    else:
        values["experiment"] = experiment
    if _nested(weights):
        values |= {"weights": None, "weights_by": weights}
    return Source(**values)


def _parts(source: Source) -> Mapping[str, Any]:
    return {
        "experiment": {"key": source.experiment_key} if source.experiment_key else source.experiment,
        "cumulative": source.cumulative or None,
        "weights": source.weights_by or source.weights,
        "empty": dict.fromkeys(source.empty, 0),
        "labels": source.labels if source.labels == TIDY else None,
    }


SOURCE = record(
    "Source",
    "Where the data of units assigned elsewhere stand; texts name columns unless said otherwise.",
    Field("shape", choice(Shape), "What one row is.", needed=True),
    Field("assignment", TEXT, "randomised, unknown, or a column.", default=UNKNOWN, example="randomised"),
    Field("experiment", text_or(TEXT, _LIVE), "A column, or {key: ...} of the live experiment of all rows."),
    Field("variant", TEXT, "Column of the variant.", needed=(EVENTS, UNITS, MOMENTS), example="variant"),
    Field("control", LABEL, "A value of variant, or first | largest. Left out: by name.", example="control"),
    Field("unit", TEXT, "Column of the unit.", needed=(EVENTS,), only=(EVENTS, UNITS), example="user_id"),
    Field("cluster", TEXT, "Column of what was randomised instead of units.", only=(EVENTS, UNITS)),
    Field("day", TEXT, "Column of the day."),
    Field("segment", TEXT, "Column of the segment."),
    Field("epoch", TEXT, "Column of the epoch."),
    Field("dimensions", list_of(TEXT, "dimension"), "Columns for breakdowns.", default=()),
    Field(
        "cumulative", FLAG, "A row of a day holds all days up to it.", default=False, only=(COUNTS, MOMENTS),
        needs=("day",), because="cumulative rows need the day they run up to",
    ),
    Field("covariate", _COVARIATE, "Metric to its columns from before exposure.", {}, only=(EVENTS, UNITS)),
    Field("served", TEXT, "Column of what was shown.", only=(EVENTS, UNITS)),
    Field(
        "served_map", map_of(LABEL), "Variant to its value in the column `served`.", default={},
        needs=("served",), because="no column of what was shown",
    ),
    Field("weights", _WEIGHTS, "Intended shares, also by epoch, first day or segment; left out: unknown."),
    *(_columns_of(shape) for shape in (COUNTS, UNITS, MOMENTS)),
    Field("eligible", CONDITION, "Rows that count."),
    Field("exposures", _table(typed=False), "Table of exposures.", only=(EVENTS,), needed=True),
    Field("outcomes", _table(typed=True), "Table of outcome events.", only=(EVENTS,), needed=True),
    Field("separator", Kind(_separator, {"type": "string", "pattern": '^[^"\\r\\n]$'}), "Of a text file."),
    Field("encoding", Kind(_encoding, TEXT.schema), "Of a text file; left out: read off it."),
    Field("decimal", one_of(DECIMAL_SIGNS, "a decimal sign"), "Sign; left out: read off the columns."),
    Field("date_format", Kind(_date_format, {**TEXT.schema, "pattern": "%"}), "As strptime has it."),
    Field(
        "empty", Kind(_empty, {"anyOf": [_ZERO.schema, _ZEROS.schema]}),
        "0, or the metrics whose empty cells are 0.", default=(), example={"revenue": 0},
    ),
    Field(
        "labels", one_of((AS_WRITTEN, TIDY), "a way to read names"),
        "tidy: names that differ in case or white space alone are one.", default=AS_WRITTEN,
    ),
    build=_build,
    parts=_parts,
    check=_check_weights,
    rules=(
        {
            "if": NESTED_WEIGHTS,
            "then": {"anyOf": [said("epoch"), said("day"), said("segment")], "not": said("cumulative")},
        },
    ),
)  # fmt: skip
"""The `source` block."""


def with_metrics(source: Source, metrics: list[str]) -> Source:
    """The source with the names of these metrics where it means all of them."""
    return replace(source, empty=tuple(metrics)) if source.empty == _EVERY_METRIC else source
