"""JSON documents: canonical text, digests, and frozen dataclasses to and from their plain JSON form.

Canonical text has sorted keys, no spaces, ASCII only and no NaN; Python prints the shortest decimal that
reads back as the same float, so equal values always have equal text and equal digests.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from switchpoint.experiment.definition.types import ModelRef
from switchpoint.experiment.errors import BadInput

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One record of a project: a JSON body under (`kind`, `key`); `version` counts its writes from 1."""

    kind: str
    key: str
    body: Mapping[str, Any]
    version: int


def canonical(value: object) -> str:
    """The one text of a JSON value.

    Raises:
        BadInput: it holds NaN, an infinity, or something JSON has no form for.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadInput(f"not a JSON value: {error}", fix="use finite numbers, text and lists") from error


def digest_of(value: object) -> str:
    """`sha256:<hex>` of the canonical text."""
    return "sha256:" + hashlib.sha256(canonical(value).encode("ascii")).hexdigest()


def parse_ref(text: object, field: str = "model") -> ModelRef:
    """Read `ranker@2`.

    Raises:
        BadInput: it has another form.
    """
    name, at, version = text.rpartition("@") if isinstance(text, str) else ("", "", "")
    if not (name and at and version.isascii() and version.isdigit()):
        raise BadInput("not a model version", field=field, value=text, fix="write it as ranker@2")
    return ModelRef(name, int(version))


def to_body(value: object) -> Any:
    """The plain JSON form of a dataclass (by field name), mapping, sequence, enum or scalar."""
    if isinstance(value, ModelRef):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_body(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_body(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_body(item) for item in value]
    return value.value if isinstance(value, Enum) else value


def from_body(cls: type[T], raw: object, field: str = "") -> T:
    """Read a dataclass back, strictly: unknown keys and wrong types are refused, defaults may be left out.

    Raises:
        BadInput: names the dotted path of the field and what was found.
    """
    if not isinstance(raw, Mapping):
        raise _wrong("a map", raw, field)
    hints, known = _shape(cls)
    for key in raw:
        if key not in known:
            raise BadInput(
                "unknown key", field=_join(field, str(key)), value=raw[key], fix=f"known: {', '.join(known)}"
            )
    values = {}
    for name, spec in known.items():
        if name in raw:
            values[name] = _read(hints[name], raw[name], _join(field, name))
        elif spec.default is MISSING and spec.default_factory is MISSING:
            raise BadInput("is missing", field=_join(field, name), fix="add it")
    return cls(**values)


def _shape(cls: type) -> _Shape:
    if cls not in _SHAPES:
        _SHAPES[cls] = get_type_hints(cls), {f.name: f for f in fields(cls)}
    return _SHAPES[cls]


def _join(field: str, name: str) -> str:
    return f"{field}.{name}" if field else name


def _wrong(wanted: str, raw: object, field: str) -> BadInput:
    return BadInput(f"found {raw!r}", field=field, value=raw, fix=f"give {wanted}")


def _read(hint: Any, raw: object, field: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        [inner] = [arm for arm in get_args(hint) if arm is not NoneType]
        return None if raw is None else _read(inner, raw, field)
    if origin is not None:
        return _CONTAINERS[origin](get_args(hint), raw, field)
    if hint in _SCALARS:
        return _read_scalar(hint, raw, field)
    if hint is Any:
        return raw
    if hint is ModelRef:
        return parse_ref(raw, field)
    return _read_enum(hint, raw, field) if issubclass(hint, Enum) else from_body(hint, raw, field)


def _read_tuple(arms: tuple[Any, ...], raw: object, field: str) -> tuple[Any, ...]:
    if not isinstance(raw, list | tuple):
        raise _wrong("a list", raw, field)
    return tuple(_read(arms[0], item, f"{field}[{index}]") for index, item in enumerate(raw))


def _read_map(arms: tuple[Any, ...], raw: object, field: str) -> dict[str, Any]:
    if not isinstance(raw, Mapping) or not all(isinstance(key, str) for key in raw):
        raise _wrong("a map with text keys", raw, field)
    return {key: _read(arms[1], item, _join(field, key)) for key, item in raw.items()}


def _read_scalar(hint: type, raw: object, field: str) -> Any:
    if type(raw) is hint or (hint is float and type(raw) is int):
        return float(raw) if hint is float else raw  # type: ignore[arg-type]  # an int or float by now
    raise _wrong(_SCALARS[hint], raw, field)


def _read_enum(hint: type[Enum], raw: object, field: str) -> Enum:
    try:
        return hint(raw)
    except ValueError:
        raise _wrong(f"one of {', '.join(str(e.value) for e in hint)}", raw, field) from None


# types and fields of a class by name: resolving its annotations takes longer than reading a body
_Shape = tuple[dict[str, Any], dict[str, Field[Any]]]
_SHAPES: dict[type, _Shape] = {}
_SCALARS: dict[type, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
_Reader = Callable[[tuple[Any, ...], object, str], Any]
_CONTAINERS: dict[Any, _Reader] = {tuple: _read_tuple, Mapping: _read_map}
