"""Frozen results as JSON-safe documents."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def fields_of(value: DataclassInstance) -> dict[str, Any]:
    """A dataclass as a JSON-safe dict, nested."""
    return {name: to_plain(getattr(value, name)) for name in _names(type(value))}


def to_plain(value: object) -> object:
    """Dataclasses, mappings and tuples as dicts and lists of JSON values."""
    # a large report is nearly all numbers, texts and None: they are looked at first
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(
                f"{value!r} in a report: a number that cannot be estimated must be None with a reason"
            )
        return value
    if value is None or type(value) in {str, int, bool}:
        return value
    if isinstance(value, tuple | list):
        return [to_plain(v) for v in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return fields_of(value)
    if isinstance(value, Mapping):
        return {str(k): to_plain(v) for k, v in value.items()}
    return value.value if isinstance(value, StrEnum) else value


@cache
def _names(kind: type[DataclassInstance]) -> tuple[str, ...]:
    return tuple(f.name for f in dataclasses.fields(kind))
