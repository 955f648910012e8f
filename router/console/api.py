"""The console's API: everything that can be asked and told, and its description (OpenAPI 3.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from switchpoint.router.console.access import CSRF_HEADER, Role
from switchpoint.router.console.operation import SCHEMAS, Field, Form, Operation
from switchpoint.router.console.views import audit, design, events, experiments, files, unit, users

Object = dict[str, Any]
_PROBLEMS = {
    400: "The input cannot be used: `errors` names field, value and fix.",
    401: "Nobody is logged in.",
    403: "The role does not allow it, or the CSRF token is missing.",
    404: "No such experiment, model or report.",
    409: "The rule or the state does not allow it, or somebody else was quicker.",
    413: "The body is too large.",
    415: "The body is compressed.",
    503: "The store is away.",
}


PREFIX = "/api/v1"
OPERATIONS: tuple[Operation, ...] = (
    *experiments.OPERATIONS,
    *design.OPERATIONS,
    *audit.OPERATIONS,
    *events.OPERATIONS,
    *files.OPERATIONS,
    *unit.OPERATIONS,
    *users.OPERATIONS,
)


def document() -> Object:
    """The description; `x-role` of an operation is the least role that may use it."""
    paths: dict[str, Object] = {}
    for operation in OPERATIONS:
        paths.setdefault(PREFIX + operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Switchpoint console",
            "version": version("switchpoint"),
            "description": (
                "What the pages show and do. A session's cookie opens it; a change carries the session's "
                f"token in {CSRF_HEADER}. Roles, each with the rights of those before: {', '.join(Role)}. "
                "Answers that are no success are application/problem+json (RFC 9457)."
            ),
        },
        "paths": paths,
        "components": {
            "securitySchemes": {"session": {"type": "apiKey", "in": "cookie", "name": "switchpoint"}},
            "schemas": {"Problem": _PROBLEM},
        },
        "security": [{"session": []}],
    }


def _operation(operation: Operation) -> Object:
    described: Object = {
        "operationId": operation.name,
        "summary": operation.says,
        "x-role": operation.role.value,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
            for name in re.findall(r"{(\w+)}", operation.path)
        ],
        "responses": {
            "200": {"description": "Done.", "content": {"application/json": {"schema": {}}}},
            **{str(status): _problem(says) for status, says in _PROBLEMS.items()},
        },
    }
    if not operation.changes:
        described["parameters"] += [_query(field) for field in operation.fields]
        return described
    token = {"name": CSRF_HEADER, "in": "header", "required": True, "schema": {"type": "string"}}
    described["parameters"].append({**token, "description": "The session's token, as the pages carry it."})
    uploads = any(field.form is Form.FILE for field in operation.fields)
    kind = "multipart/form-data" if uploads else "application/json"
    described["requestBody"] = {"content": {kind: {"schema": _body(operation.fields)}}}
    return described


def _query(field: Field) -> Object:
    return {"name": field.name, "in": "query", "description": field.says, "schema": SCHEMAS[field.form]}


def _body(fields: Sequence[Field]) -> Object:
    return {
        "type": "object",
        "properties": {field.name: {**SCHEMAS[field.form], "description": field.says} for field in fields},
        "required": [field.name for field in fields if field.required],
        "additionalProperties": False,
    }


def _problem(says: str) -> Object:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": says, "content": {"application/problem+json": {"schema": schema}}}


_PROBLEM: Object = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "errors"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "message": {"type": "string"},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
}
