"""Frozen results as JSON-safe documents."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def fields_of(value: DataclassInstance) -> dict[str, Any]:
    """A dataclass as a JSON-safe dict, nested."""
    return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}


def to_plain(value: object) -> object:
    """Dataclasses, mappings and tuples as dicts and lists of JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return fields_of(value)
    if isinstance(value, Mapping):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(v) for v in value]
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(
            f"{value!r} in a report: a number that cannot be estimated must be None with a reason"
        )
    return value
