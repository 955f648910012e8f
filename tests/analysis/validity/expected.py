"""Checks as a test expects them: everything of one, said in full."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from switchpoint.analysis.results.judgement import Check, Severity

Numbers = Mapping[str, Any]  # floats approximately
Case = tuple[Callable[[], Check], Check]


def fine(name: str, message: str, numbers: Numbers) -> Check:
    return Check(name=name, severity=Severity.OK, message=message, numbers=dict(numbers))


def warned(name: str, message: str, numbers: Numbers) -> Check:
    return Check(name=name, severity=Severity.WARN, message=message, numbers=dict(numbers))


def gate(name: str, message: str, numbers: Numbers) -> Check:
    return Check(name=name, severity=Severity.GATE, message=message, numbers=dict(numbers))


def void(name: str, message: str, numbers: Numbers) -> Check:
    return Check(name=name, severity=Severity.INVALID, message=message, numbers=dict(numbers))


def unseen(name: str, why: str) -> Check:
    return Check(name=name, severity=Severity.OK, message=f"Not checked: {why}.", numbers={}, checked=False)
