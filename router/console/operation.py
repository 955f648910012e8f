"""One operation of the console's API: its route, the role it needs, what it takes, and what does it.

The table of operations (`api.py`) is the only list there is: routes, forms, the description and the tests'
matrix of roles come from it. JSON bodies and the pages' forms are read into the same values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

import orjson
from flask import Request
from werkzeug.datastructures import CombinedMultiDict, FileStorage

from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.language.kinds import SHARE
from switchpoint.experiment.language.node import read_document
from switchpoint.router.console.access import CSRF_FIELD, Role
from switchpoint.router.console.project import Project
from switchpoint.router.http.body import BodyReader

Object = dict[str, Any]
FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})
_body = BodyReader()


class Form(StrEnum):
    """What a field may be."""

    TEXT = "text"
    FLAG = "flag"
    WHOLE = "whole number"
    NUMBER = "number"
    NAMES = "list of names"
    SHARES = "shares by name"
    OBJECT = "object"
    FILE = "file"


_SHARE: Object = {"anyOf": [{"type": "string", "examples": ["50%"]}, {"type": "number"}]}
SCHEMAS: Mapping[Form, Object] = {
    Form.TEXT: {"type": "string"},
    Form.FLAG: {"type": "boolean"},
    Form.WHOLE: {"type": "integer", "minimum": 0},
    Form.NUMBER: {"type": "number"},
    Form.NAMES: {"type": "array", "items": {"type": "string"}},
    Form.SHARES: {"type": "object", "minProperties": 1, "additionalProperties": _SHARE},
    Form.OBJECT: {"type": "object"},
    Form.FILE: {"type": "string", "format": "binary"},
}
"""The JSON Schema of each."""
_TYPES: Mapping[Form, type | tuple[type, ...]] = {
    Form.TEXT: str,
    Form.FLAG: bool,
    Form.WHOLE: int,
    Form.NUMBER: (int, float),
    Form.NAMES: list,
    Form.SHARES: dict,
    Form.OBJECT: dict,
    Form.FILE: FileStorage,
}


@dataclass(frozen=True, slots=True)
class Field:
    """One value that an operation takes, in its body or, of a GET, in its query."""

    name: str
    form: Form
    says: str
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One use of an operation: the project, who asks, what the path names, what was given."""

    project: Project
    actor: str
    path: Mapping[str, str]
    given: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The experiment that the path names."""
        return self.path["key"]

    def text(self, name: str) -> str:
        """A text without white space around it, empty where it was left out."""
        return str(self.given.get(name, "")).strip()

    def names(self, name: str) -> tuple[str, ...]:
        """A list of names, empty where it was left out."""
        names = self.given.get(name, ())
        if not all(isinstance(each, str) for each in names):
            raise BadInput("is a list of names", field=name, value=names, fix='write ["us"]')
        return tuple(names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A route of the API. `run` answers a JSON value; `back` is the page shown after a form.

    What is `audited` changes the records, and the page after a form says what was done; `back` of another
    names what it answered.
    """

    name: str
    method: str
    path: str
    role: Role
    says: str
    run: Callable[[Call], object]
    fields: tuple[Field, ...] = ()
    back: str = "/experiments/{key}"
    audited: bool = True

    @property
    def changes(self) -> bool:
        """Whether it may change what is on record."""
        return self.method != "GET"


def given(operation: Operation, asked: Request) -> Object:
    """What a request gives an operation, checked against its fields.

    Raises:
        BadInput: a key that there is not, one that is missing, or a value of another form.
    """
    if not operation.changes:
        return of_form(operation.fields, asked.args)
    if asked.mimetype in FORMS:
        return of_form(operation.fields, CombinedMultiDict([asked.form, asked.files]))
    return _checked(operation.fields, _of_json(asked))


def of_form(fields: Sequence[Field], values: Any) -> Object:
    """What a form or a query gives these fields: its texts as the values they stand for; raises as `given`.

    Empty texts of optional fields are left out.
    """
    raw: Object = {}
    known = {field.name: field for field in fields}
    for name in values:
        if name == CSRF_FIELD:
            continue
        head, dot, tail = name.partition(".")
        if dot and head in known and known[head].form is Form.SHARES:
            # a page's field stands before its own per cent sign; one that was left empty changes nothing
            share = str(values[name]).strip().removesuffix("%")
            raw.setdefault(head, {}).update({tail: f"{share}%"} if share else {})
        elif name in known:
            raw[name] = _of_text(known[name], values.getlist(name))
        else:
            raw[name] = values[name]
    return _checked(fields, {name: value for name, value in raw.items() if value != "" or name not in known})


def _checked(fields: Sequence[Field], raw: Object) -> Object:
    known = {field.name: field for field in fields}
    for name in raw:
        if name not in known:
            said = f"known: {', '.join(known)}" if known else "this takes nothing"
            raise BadInput("unknown key", field=name, value=raw[name], fix=said)
    values = {name: _valued(known[name], value) for name, value in raw.items()}
    for name, field in known.items():
        if field.required and not values.get(name):
            raise BadInput("is missing", field=name, fix=field.says)
    return values


def _of_json(asked: Request) -> Object:
    if not asked.content_length and not asked.environ.get("wsgi.input_terminated"):
        return {}
    body = _body.json(asked.environ)
    if not isinstance(body, dict):
        raise BadInput("is a JSON object", field="body", value=body, fix="send an object")
    return body


def _of_text(field: Field, texts: list[Any]) -> object:
    if field.form is Form.NAMES:
        return [text for text in texts if text]
    text = texts[-1]
    if not isinstance(text, str):
        return text  # a file
    if field.form is Form.FLAG:
        return {"on": True, "true": True, "1": True, "false": False, "0": False, "": False}.get(text, text)
    if field.form is Form.WHOLE and text.isdecimal() and len(text) <= 15:
        return int(text)
    if field.form in {Form.NUMBER, Form.OBJECT}:
        with suppress(ValueError):
            return float(text) if field.form is Form.NUMBER else orjson.loads(text)
    return text


def _valued(field: Field, value: object) -> object:
    right = isinstance(value, _TYPES[field.form]) and (field.form is Form.FLAG or not isinstance(value, bool))
    if not right:
        raise BadInput(f"is no {field.form.value}", field=field.name, value=value, fix=field.says)
    if field.form is Form.SHARES:
        assert isinstance(value, dict)  # noqa: S101 - as its type above says
        return {key: _buckets(field.name, key, share) for key, share in value.items()}
    return value


def _buckets(name: str, key: str, share: object) -> int:
    """`50%`, or 0.5, in ten-thousandths."""
    exact = Decimal(repr(share)) if isinstance(share, float) else share
    return read_document({name: {key: exact}}, {}, "", lambda node: SHARE.read(node.child(name).child(key)))
