"""What the routes take and answer, as JSON Schema 2020-12; every limit is the constant that is checked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from switchpoint.experiment.assignment.assign import Reason
from switchpoint.experiment.definition.types import EVENT_PATTERN, EXPOSURE
from switchpoint.experiment.language.experiment import json_schema
from switchpoint.experiment.ledger.codec import (
    EARLIEST,
    ENTRIES,
    LATEST,
    PROPERTIES_DEPTH,
    PROPERTIES_LENGTH,
)
from switchpoint.experiment.ledger.event import (
    ATTRIBUTE_DEPTH,
    ATTRIBUTE_LENGTH,
    ATTRIBUTES,
    NAME_LENGTH,
    NUMBER_BOUND,
    TEXT_PATTERN,
    VALUE_LENGTH,
    Status,
)
from switchpoint.router.models.model import Cause
from switchpoint.router.recording.recorder import MAX_EVENTS
from switchpoint.router.serving.doors.requests import EXPERIMENTS

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
_TEXTS: Schema = {"type": "array", "items": TEXT}
_OBJECT: Schema = {"type": "object"}
_OBJECTS: Schema = {"type": "array", "items": _OBJECT}


def schemas() -> dict[str, Schema]:
    """The schemas by name, as `components/schemas` has them."""
    definition = {key: value for key, value in json_schema().items() if not key.startswith("$")}
    return {
        **_requests(),
        **_answers(),
        "Problem": _problem(),
        "Readiness": _readiness(),
        "Definition": definition,
    }


def ref(name: str) -> Schema:
    """A reference to one of them."""
    return {"$ref": f"#/components/schemas/{name}"}


def record(properties: Schema, *, optional: Iterable[str] = (), **more: object) -> Schema:
    """An object that has all of `properties` but perhaps the optional ones."""
    required = sorted(properties.keys() - set(optional))
    return {"type": "object", "properties": properties, "required": required, **more}


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _text(longest: int, *, shortest: int = 1, **more: object) -> Schema:
    return {
        "type": "string",
        "minLength": shortest,
        "maxLength": longest,
        "pattern": TEXT_PATTERN,
        **more,
    }


def _choice(names: Iterable[str]) -> Schema:
    return {"type": "string", "enum": [str(name) for name in names]}


def _requests() -> dict[str, Schema]:
    asked = {"unit": ref("Unit"), "attributes": ref("Attributes")}
    return {
        "Unit": _text(NAME_LENGTH, description="The id of what is randomised.", examples=["u1"]),
        "Attributes": {
            "type": ["object", "null"],
            "maxProperties": ATTRIBUTES,
            "propertyNames": {"maxLength": VALUE_LENGTH},
            "description": f"What conditions, dimensions and covariates read. One attribute has at most "
            f"{ATTRIBUTE_LENGTH} characters of texts and keys, every other value counted as one, and at most "
            f"{ATTRIBUTE_DEPTH} levels of lists and objects.",
            "examples": [{"country": "US"}],
        },
        "Covariates": {
            "type": ["object", "null"],
            "maxProperties": ENTRIES,
            "propertyNames": _text(VALUE_LENGTH),
            "additionalProperties": _number(),
            "description": "Numbers known of the unit before it met the treatment.",
        },
        "AssignRequest": record(
            {
                **asked,
                "experiments": {
                    "type": ["array", "null"],
                    "maxItems": EXPERIMENTS,
                    "items": TEXT,
                    "description": "Left out: all that run.",
                },
            },
            optional=["attributes", "experiments"],
            additionalProperties=False,
        ),
        "PredictRequest": record(
            {
                **asked,
                "inputs": {"description": "What the model reads."},
                "covariates": ref("Covariates"),
            },
            optional=["attributes", "covariates"],
            additionalProperties=False,
        ),
        "OutcomeEvent": record(_event(), optional=["properties"], additionalProperties=False),
        "ExposureEvent": _exposure_event(),
        "Events": {
            "type": "array",
            "maxItems": MAX_EVENTS,
            "items": {"anyOf": [ref("OutcomeEvent"), ref("ExposureEvent")]},
            "description": "Each is judged by itself: what is not as described is `rejected` alone.",
        },
        "EventsRequest": {
            "anyOf": [record({"events": ref("Events")}, additionalProperties=False), ref("Events")]
        },
    }


def _number() -> Schema:
    return {"type": "number", "minimum": -NUMBER_BOUND, "maximum": NUMBER_BOUND}


def _event() -> dict[str, Schema]:
    return {
        "id": _text(NAME_LENGTH, description="Counted once per unit and event day."),
        "type": {"type": "string", "pattern": f"^{EVENT_PATTERN}$", "not": {"const": EXPOSURE}},
        "unit": ref("Unit"),
        "at": {
            "anyOf": [
                {"type": "integer", "minimum": EARLIEST, "exclusiveMaximum": LATEST},
                {"type": "string", "format": "date-time"},
            ],
            "description": "Milliseconds since 1970, or ISO 8601 with a zone.",
        },
        "properties": {
            "type": ["object", "null"],
            "propertyNames": _text(VALUE_LENGTH),
            "description": f"At most {PROPERTIES_LENGTH} characters of JSON, {PROPERTIES_DEPTH} levels.",
        },
    }


def _exposure_event() -> Schema:
    name, count = _text(VALUE_LENGTH), {"type": "integer", "minimum": 1, "exclusiveMaximum": 2**31}
    return record(
        {
            **_event(),
            "type": {"const": EXPOSURE},
            "experiment": name,
            "variant": name,
            "segment": name,
            "epoch": count,
            "revision": count,
            "propensity": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            "served": name,
            "cause": _or_null(name),
            "dimensions": {
                "type": ["object", "null"],
                "maxProperties": ENTRIES,
                "propertyNames": name,
                "additionalProperties": {
                    "anyOf": [
                        _text(VALUE_LENGTH, shortest=0),
                        {**_number(), "type": "integer"},
                        FLAG,
                    ]
                },
            },
            "covariates": ref("Covariates"),
        },
        optional=["properties", "served", "cause", "dimensions", "covariates"],
        additionalProperties=False,
    )


def _answers() -> dict[str, Schema]:
    reason = _choice(Reason)
    return {
        "Assignment": record(
            {
                "experiment": TEXT,
                "variant": TEXT,
                "model": _or_null(TEXT),
                "segment": _or_null(TEXT),
                "propensity": _or_null({"type": "number", "exclusiveMinimum": 0, "maximum": 1}),
                "reason": reason,
                "revision": COUNT,
                "epoch": COUNT,
                "enrolled": FLAG,
            }
        ),
        "Assignments": record({"assignments": {"type": "array", "items": ref("Assignment")}}),
        "Prediction": record(
            {
                "prediction": {"description": "What the model answered."},
                "model": TEXT,
                "experiment": _or_null(TEXT),
                "variant": _or_null(TEXT),
                "enrolled": FLAG,
                "served": _or_null(TEXT),
                "reason": reason,
                "recorded": {
                    "enum": [*map(str, Status), None],
                    "description": "The worst of what became of the events; null: they could not be kept.",
                },
                "cause": _choice(Cause),
                "exposure_id": TEXT,
            },
            optional=["cause", "exposure_id"],
        ),
        "EventsAnswer": record(
            {
                "items": {
                    "type": "array",
                    "items": record(
                        {"id": _or_null(TEXT), "status": _choice(Status), "reason": TEXT}, optional=["reason"]
                    ),
                },
                "refused": {"type": "object", "additionalProperties": COUNT},
            }
        ),
        "Snapshot": record(
            {
                "revision": COUNT,
                "experiments": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"definition": ref("Definition"), "status": TEXT, "revision": COUNT},
                        "required": ["definition", "revision", "status"],
                        "additionalProperties": True,
                    },
                },
                "champions": _OBJECTS,
                "models": {"type": "array", "maxItems": 0},
            }
        ),
        "Health": record({"status": {"const": "ok"}}),
    }


def _problem() -> Schema:
    return record(
        {
            "type": {"const": "about:blank"},
            "title": TEXT,
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": TEXT,
            "code": {"type": "string", "pattern": "^[a-z_]+$", "description": "Stable; to be tested for."},
            "message": TEXT,
            "errors": {
                "type": "array",
                "items": record({"field": TEXT, "value": _or_null(TEXT), "message": TEXT, "fix": TEXT}),
            },
        },
        description="RFC 9457. `message` repeats `detail`.",
    )


def _readiness() -> Schema:
    return record(
        {
            "ready": FLAG,
            "reasons": _TEXTS,
            "store": record(
                {
                    "up": FLAG,
                    "server": TEXT,
                    "durability": TEXT,
                    "wrong": _TEXTS,
                    "warnings": _TEXTS,
                    "clock_drift_seconds": {"type": "number"},
                }
            ),
            "snapshot": record(
                {
                    "loaded": FLAG,
                    "revision": COUNT,
                    "stale": FLAG,
                    "stale_seconds": {"type": "number", "minimum": 0},
                }
            ),
            "spool": record({"available": FLAG, "batches": _or_null(COUNT), "held_back": COUNT}),
            "models": record(dict.fromkeys(("loaded", "not_loaded", "quarantined", "held_back"), _TEXTS)),
            "simulated_clock": FLAG,
        }
    )
