"""The definition language as JSON Schema, for editors and for `GET /schemas/experiment.json`.

A draft-07 subset that every editor understands. It describes form; what needs arithmetic (shares that sum to
one, unreachable segments) only `parsing` knows.
"""

from __future__ import annotations

from typing import Any

from switchpoint.experiment.definition.condition import OPERATORS
from switchpoint.experiment.definition.source import AS_WRITTEN, DECIMAL_SIGNS, TIDY, Shape, Table
from switchpoint.experiment.definition.types import Design, Direction, Grade, MetricType, Role, Spending

SCHEMA_ID = "https://switchpoint.invalid/schemas/experiment.json"

Schema = dict[str, Any]

_DESIGNS = (
    "group_sequential: planned looks share alpha; sequential: valid at every look; fixed: one look; "
    "bayesian: posterior probability, error not controlled when watched."
)

_KEY_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_NAME_PATTERN = "^[A-Za-z_][A-Za-z0-9_-]{0,63}$"
_EVENT_PATTERN = "^[a-z][a-z0-9_.-]{0,63}$"
_DURATION_PATTERN = "^[0-9]{1,9}(ms|s|m|h|d|w)$"
_PERCENT_PATTERN = "^[0-9]{1,9}(\\.[0-9]{1,9})? ?%$"


def json_schema() -> Schema:
    """The schema of an experiment definition."""
    properties: Schema = {
        "$schema": _text("Schema", "Where editors find this schema."),
        "key": _pattern("Key", "Identity of the experiment.", _KEY_PATTERN, "home-ranker"),
        "hypothesis": _text("Hypothesis", "What you expect, and why it matters.", "Model 2 raises CTR."),
        "owner": _text("Owner", "Who answers for it.", "search-team"),
        "unit": _pattern("Unit", "Attribute that is randomised; text.", _NAME_PATTERN, "user_id"),
        "model": _pattern(
            "Model", "What callers ask for; variants name its versions.", _KEY_PATTERN, "ranker"
        ),
        "layer": _layer(),
        "variants": _list("Variants", "The first is control.", _variant(), least=2),
        "segments": _list("Segments", "The first that matches routes the unit.", _segment()),
        "dimensions": _list("Dimensions", "Attributes for breakdowns only.", {"type": "string"}, least=0),
        "metrics": _list("Metrics", "Exactly one has the role primary.", _metric()),
        "window": _duration("Window", "Outcomes count this long after first exposure.", "7d"),
        "decision": _decision(),
        "source": _source(),
    }
    schema = _object(
        "Experiment", "One experiment definition.", properties, ["key", "unit", "variants", "metrics"]
    )
    schema["required"] += ["window", "decision"]
    return {"$schema": "http://json-schema.org/draft-07/schema#", "$id": SCHEMA_ID, **schema}


def _object(title: str, description: str, properties: Schema, required: list[str]) -> Schema:
    return {
        "title": title,
        "description": description,
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": list(required),
    }


def _list(title: str, description: str, items: Schema, *, least: int = 1) -> Schema:
    return {"title": title, "description": description, "type": "array", "minItems": least, "items": items}


def _map(title: str, description: str, values: Schema) -> Schema:
    return {"title": title, "description": description, "type": "object", "additionalProperties": values}


def _text(title: str, description: str, *examples: str) -> Schema:
    found: Schema = {"title": title, "description": description, "type": "string", "minLength": 1}
    return found | ({"examples": list(examples)} if examples else {})


def _pattern(title: str, description: str, pattern: str, *examples: str) -> Schema:
    return _text(title, description, *examples) | {"pattern": pattern}


def _choice(title: str, description: str, kind: Any) -> Schema:
    return {"title": title, "description": description, "enum": [member.value for member in kind]}


def _duration(title: str, description: str, *examples: str) -> Schema:
    return _pattern(title, description, _DURATION_PATTERN, *examples)


def _number_or_percent(title: str, description: str, numbers: Schema, *examples: object) -> Schema:
    forms = [{"type": "number", **numbers}, {"type": "string", "pattern": _PERCENT_PATTERN}]
    return {"title": title, "description": description, "anyOf": forms, "examples": list(examples)}


def _share(title: str, description: str, *examples: object) -> Schema:
    return _number_or_percent(title, description, {"minimum": 0, "maximum": 1}, *examples)


def _layer() -> Schema:
    bounds = _list("Slice", "[start, end) of the layer.", _share("Bound", "0 to 1.", 0.5), least=2)
    properties = {
        "key": _pattern("Key", "Name of the layer.", _KEY_PATTERN, "home"),
        "slice": bounds | {"maxItems": 2, "examples": [[0.0, 0.5]]},
    }
    return _object(
        "Layer", "Experiments with disjoint slices of one layer share no units.", properties, ["key", "slice"]
    )


def _variant() -> Schema:
    properties = {
        "key": _pattern("Key", "Name of the variant.", _KEY_PATTERN, "control"),
        "model": _pattern(
            "Model version", "name@version.", "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}@[0-9]{1,9}$", "ranker@1"
        ),
    }
    return _object("Variant", "One treatment.", properties, ["key"])


def _shares(title: str, description: str) -> Schema:
    shares = _map(title, description, _share("Share", "Finer than 0.01 % is refused.", 0.5, "50%"))
    return {"title": title, "description": description, "anyOf": [{"const": "equal"}, shares]}


def _weights() -> Schema:
    every = _shares("Weights", "Intended shares; left out: unknown.")
    by = _map("By epoch, day or segment", "A day's shares hold until the next one's.", every["anyOf"][1])
    return {**every, "anyOf": [*every["anyOf"], by]}


def _condition(title: str, description: str) -> Schema:
    known = ", ".join(OPERATORS)
    return {
        "title": title,
        "description": f"{description} Operators: {known}; $and, $or, $nor, $not join conditions.",
        "type": "object",
        "examples": [{"country": "US"}, {"country": {"$in": ["US", "CA"]}, "age": {"$gte": 18}}],
    }


def _segment() -> Schema:
    properties = {
        "key": _pattern("Key", "Name of the segment.", _KEY_PATTERN, "us"),
        "when": _condition("Condition", "Which units belong here; left out: all the rest."),
        "traffic": _share("Traffic", "Share of the segment's units that take part (default 100%).", "20%"),
        "allocation": _shares("Allocation", "Share of each variant, summing to 1, or `equal`."),
    }
    return _object(
        "Segment", "A routing condition with traffic and allocation.", properties, ["key", "allocation"]
    )


def _measure(title: str, description: str) -> Schema:
    properties = {
        "event": _pattern("Event", "Type of the event.", _EVENT_PATTERN, "prediction"),
        "value": _text("Value", "Property that holds a number; left out: events are counted.", "latency_ms"),
        "cap": {
            "title": "Cap",
            "description": "Clips each event's value.",
            "type": "number",
            "examples": [2000],
        },
    }
    full = _object(title, description, properties, ["event"])
    return {
        "title": title,
        "description": description,
        "anyOf": [{"type": "string", "pattern": _EVENT_PATTERN}, full],
    }


def _size(title: str, description: str) -> Schema:
    return _number_or_percent(title, description, {"exclusiveMinimum": 0}, "2%", 0.01)


def _metric() -> Schema:
    properties = {
        "key": _pattern("Key", "Name of the metric.", _KEY_PATTERN, "ctr"),
        "type": _choice("Type", "How a unit's events become numbers.", MetricType),
        "event": _pattern("Event", "Proportion and mean: type of the event.", _EVENT_PATTERN, "purchase"),
        "value": _text("Value", "Mean: property that holds the amount.", "amount"),
        "numerator": _measure("Numerator", "Ratio: summed above the line."),
        "denominator": _measure("Denominator", "Ratio: summed below the line."),
        "decimals": {
            "title": "Decimals",
            "description": "Amounts are rounded half-even to this many (default 0).",
            "type": "integer",
            "minimum": 0,
            "maximum": 6,
        },
        "cap": {
            "title": "Cap",
            "description": "Mean: clips the unit's total; default 2^40 minor units.",
            "type": "number",
            "exclusiveMinimum": 0,
            "examples": [500],
        },
        "currency": _pattern("Currency", "ISO 4217; one per event value.", "^[A-Z]{3}$", "EUR"),
        "direction": _choice("Direction", "Which way is better (default increase).", Direction),
        "role": _choice("Role", "What the metric is for (default secondary).", Role),
        "margin": _size("Margin", "Guardrail: the harm you would tolerate; 5% is relative."),
        "covariate": _covariate(),
    }
    return _object("Metric", "One metric.", properties, ["key", "type"])


def _covariate() -> Schema:
    title, description = "Covariate", "What exposures carry of the unit from before, to remove variance."
    digits: Schema = {"title": "Decimals", "description": "Default: the metric's.", "type": "integer"}
    digits |= {"minimum": 0, "maximum": 6}

    def names(*roles: str) -> Schema:
        found = {role: _pattern("Name", "A number exposures carry.", _NAME_PATTERN) for role in roles}
        return _object(title, description, {**found, "decimals": digits}, list(roles))

    short = _pattern(title, description, _NAME_PATTERN, "past_spend")
    forms = [short, names("value"), names("numerator", "denominator")]
    return {"title": title, "description": description, "anyOf": forms}


def _decision() -> Schema:
    fraction = {"exclusiveMinimum": 0, "exclusiveMaximum": 1}
    properties = {
        "design": _choice("Design", _DESIGNS, Design),
        "alpha": _number_or_percent("Alpha", "False alarms tolerated (default 0.05).", fraction, 0.05),
        "power": _number_or_percent("Power", "Chance to see the MDE (default 0.8).", fraction, 0.8),
        "mde": _size("MDE", "Smallest effect worth knowing; 2% is relative."),
        "min_runtime": _duration("Minimum runtime", "Whole days (default 7d).", "14d"),
        "max_runtime": _duration("Maximum runtime", "Whole days (default 42d).", "42d", "8w"),
        "evidence": _choice("Evidence", "Weakest grade that may promote (default randomised).", Grade),
        "looks_every": _duration("Looks", "group_sequential: days between looks (default 7d).", "7d"),
        "spending": _choice(
            "Spending", "group_sequential: alpha spent over the plan (default obrien-fleming).", Spending
        ),
        "gamma": {
            "title": "Gamma",
            "description": "spending power: alpha is spent as fraction^gamma (default 2).",
            "type": "number",
            "exclusiveMinimum": 0,
            "exclusiveMaximum": 20,
        },
        "units": {
            "title": "Units",
            "description": "group_sequential: planned maximum of control and one other variant; left out: "
            "what the MDE needs.",
            "type": "integer",
            "minimum": 4,
            "examples": [120_000],
        },
        "prior": _prior(),
        "loss": _number_or_percent(
            "Loss", "bayesian: most a promotion may give up on average.", fraction, "0.1%"
        ),
    }
    return _object("Decision", "The rule, frozen at start.", properties, ["mde"])


def _prior() -> Schema:
    properties = {
        "mean": _number_or_percent("Mean", "Expected lift (default 0).", {"minimum": -1}, 0),
        "sd": _number_or_percent("Standard deviation", "Of the lift.", {"exclusiveMinimum": 0}, "30%", 0.05),
    }
    return _object(
        "Prior", "bayesian: normal prior of the lift (default mean 0, sd 30%).", properties, ["sd"]
    )


def _source() -> Schema:
    column = _text("Column", "Name of a column.")
    value = {"type": ["string", "integer"]}
    table = _object(
        "Table",
        "One table of events.",
        dict.fromkeys(Table.__dataclass_fields__, column),
        ["table", "at"],
    )
    live = _object("Live experiment", "All rows belong to it.", {"key": column}, ["key"])
    roles = {"anyOf": [column, _map("Columns", "Role to column.", column)]}
    properties = {
        "shape": _choice("Shape", "What one row is.", Shape),
        "assignment": _text("Assignment", "randomised, unknown, or a column.", "randomised"),
        "experiment": {
            "title": "Experiment",
            "description": "A column, or {key: ...}.",
            "anyOf": [column, live],
        },
        **dict.fromkeys(("variant", "unit", "cluster", "day", "segment", "epoch", "served"), column),
        "control": {
            "title": "Control",
            "description": "A value of variant, or first | largest. Left out: by name.",
            **value,
        },
        "dimensions": _list("Dimensions", "Columns for breakdowns.", column, least=0),
        "cumulative": {
            "title": "Cumulative",
            "description": "Counts and moments: a row of a day holds all days up to it.",
            "type": "boolean",
        },
        "covariate": _map("Covariate", "Metric to its columns measured before exposure.", roles),
        "served_map": _map("Served map", "Variant to the value of the served column.", value),
        "weights": _weights(),
        "columns": _map("Columns", "Metric to its columns.", roles),
        "eligible": _condition("Eligible", "Rows that count."),
        "exposures": table,
        "outcomes": table,
        "separator": {**_text("Separator", "Of a text file; left out: read off it."), "maxLength": 1},
        "encoding": _text("Encoding", "Of a text file; left out: read off it."),
        "decimal": {"title": "Decimal", "description": "Decimal sign.", "enum": list(DECIMAL_SIGNS)},
        "date_format": _text("Date format", "As strptime has it.", "%d.%m.%Y"),
        "empty": {
            "title": "Empty",
            "description": "0, or the metrics of which an empty cell is 0.",
            "anyOf": [{"const": 0}, _map("Metrics", "Metric to 0.", {"const": 0})],
        },
        "labels": {
            "title": "Labels",
            "description": "Whether names that differ in case or white space alone are one (tidy).",
            "enum": [AS_WRITTEN, TIDY],
        },
    }
    return _object("Source", "Where the data of units assigned elsewhere stand.", properties, ["shape"])
