"""Frozen results whose fields are arrays of one leading axis: put after one another, or cut by rows; and
numbers as plain values, None where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from math import isfinite
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Index = slice | NDArray[np.int64] | tuple[int | slice, ...]


def joined(parts: Sequence[T]) -> T:
    """The parts as one, array by array along the first axis; what is no array is the first part's."""
    if len(parts) == 1:
        return parts[0]
    found = _joined(parts)
    return found if found is not None else parts[0]


def rows(value: T, index: Index) -> T:
    """The same with every array cut to these rows."""
    found = _rows(value, index)
    return found if found is not None else value


def _joined(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    if isinstance(parts[0], tuple) and parts[0] and isinstance(parts[0][0], np.ndarray):
        return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))
    if is_dataclass(parts[0]) and not isinstance(parts[0], type):
        columns = {f.name: _joined([getattr(part, f.name) for part in parts]) for f in fields(parts[0])}
        changed = {name: column for name, column in columns.items() if column is not None}
        return replace(parts[0], **changed) if changed else None
    return None


def _rows(value: Any, index: Index) -> Any:
    if isinstance(value, np.ndarray):
        return value[index]
    if isinstance(value, tuple) and value and isinstance(value[0], np.ndarray):
        return tuple(column[index] for column in value)
    if is_dataclass(value) and not isinstance(value, type):
        columns = {f.name: _rows(getattr(value, f.name), index) for f in fields(value)}
        changed = {name: column for name, column in columns.items() if column is not None}
        return replace(value, **changed) if changed else None
    return None


Numbers = list[list[float | None]]


def finite(value: float | NDArray[np.float64]) -> float | None:
    """The value, or None where it is not finite."""
    return float(value) if isfinite(value) else None


def listed(values: NDArray[np.float64]) -> Numbers:
    """Nested lists with None where a number is not finite: of many numbers faster than one by one."""
    known = np.isfinite(values)
    if known.all():
        plain: Numbers = values.tolist()
        return plain
    column = values.astype(object)
    column[~known] = None
    found: Numbers = column.tolist()
    return found
