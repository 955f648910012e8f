"""Comparison of JSON values as every GrowthBook SDK does it: by JSON type first, never by coercion."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

_LINE_ENDS = "\n\r\u2028\u2029"


def kind(value: Any) -> str:
    """The JSON type, so that True is never 1 and 1.0 is 1."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    if isinstance(value, list | tuple):
        return "array"
    return "object" if isinstance(value, Mapping) else "unknown"


def deep_equal(a: Any, b: Any) -> bool:
    """Equal as JSON texts: same types, values and order at every depth."""
    common = kind(a)
    if common != kind(b) or common == "unknown":
        return False
    if common == "array":
        return len(a) == len(b) and all(map(deep_equal, a, b))
    if common == "object":
        # the SDKs compare JSON text, so the order of keys counts
        return list(a) == list(b) and all(deep_equal(a[key], b[key]) for key in a)
    return bool(a == b)


def same(a: Any, b: Any) -> bool:
    """JavaScript's `===` on values from separate JSON texts: containers are never the same."""
    common = kind(a)
    return common == kind(b) and common not in {"array", "object", "unknown"} and bool(a == b)


def sortable(value: Any) -> Any:
    """Text orders by UTF-16 code units, as in JavaScript."""
    return value.encode("utf-16-be", "surrogatepass") if isinstance(value, str) else value


def padded(version: str | float) -> str:
    """Text whose plain order is version order: numbers padded, releases after their pre-releases."""
    if isinstance(version, float):
        version = int(version) if math.isfinite(version) and version == int(version) else version
    return _padded_text(str(version) or "0")


@lru_cache(maxsize=512)
def _padded_text(version: str) -> str:
    # /(^v|\+.*$)/ of the SDKs, which tries every plus sign of a long text to its end
    line = max(version.rfind(sign) for sign in _LINE_ENDS) + 1
    build = version.find("+", line)
    parts = re.split(r"[-.]", (version if build < 0 else version[:build]).removeprefix("v"))
    if len(parts) == 3:
        parts.append("~")  # the largest ASCII sign: 1.0.0 sorts after 1.0.0-beta
    return "-".join(part.rjust(5) if part.isdigit() else part for part in parts)
