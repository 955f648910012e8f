"""Run every oracle case of a directory through the product: `python -m tests.oracles DIRECTORY`.

Prints one JSON object: passed, failed, unsupported, declined, contested, and the failures. Of the passed
cases, those of methods that no command, door or client reaches are counted apart as well: they say that the
library is right, not that a user gets its answer. Exit 1 when a case failed.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.oracles.adapter import CONTESTED, DECLINED, METHODS
from tests.oracles.reach import called, reached
from tests.oracles.shared import Declined

SPECIAL = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def cases(directory: Path) -> Iterator[dict[str, Any]]:
    """All cases of all files, in order."""
    for path in sorted(directory.glob("*.json")):
        yield from json.loads(path.read_text(encoding="utf-8"))["cases"]


def differences(case: dict[str, Any], got: dict[str, Any]) -> list[dict[str, Any]]:
    """The expected keys that are not met within the case's tolerance.

    Where a case expects a series only at the places `at_index`, the series given is read there.
    """
    found = []
    places = case["expected"].get("at_index")
    for key, expected in case["expected"].items():
        if key == "at_index":
            continue
        value = plain(got.get(key))
        if places is not None and isinstance(value, list):
            value = [value[place] for place in places]
        if not agrees(value, expected, rel=case["tolerance"]["rel"], abs_=case["tolerance"]["abs"]):
            found.append(
                {"id": case["id"], "method": case["method"], "key": key, "got": value, "expected": expected}
            )
    return found


def agrees(got: Any, expected: Any, *, rel: float, abs_: float) -> bool:
    """|got − expected| ≤ abs + rel·|expected|, element-wise and through dictionaries."""
    if isinstance(expected, dict):
        return isinstance(got, dict) and all(
            agrees(got.get(k), v, rel=rel, abs_=abs_) for k, v in expected.items()
        )
    if isinstance(expected, list):
        same = isinstance(got, list) and len(got) == len(expected)
        return same and all(agrees(g, e, rel=rel, abs_=abs_) for g, e in zip(got, expected, strict=True))
    if isinstance(expected, str) and expected in SPECIAL:
        expected = SPECIAL[expected]
    if isinstance(expected, bool | str) or expected is None or got is None or isinstance(got, str):
        return bool(got == expected)
    if math.isnan(expected) or math.isinf(expected):
        return bool(got == expected or (math.isnan(expected) and math.isnan(got)))
    return math.fabs(got - expected) <= abs_ + rel * math.fabs(expected)


def plain(value: Any) -> Any:
    """Arrays as lists and numpy scalars as Python numbers."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value


def run(directory: Path) -> dict[str, Any]:
    """Counts and failures over every case of a directory."""
    counts = {"passed": 0, "failed": 0, "unsupported": 0, "declined": 0}
    failures: list[dict[str, Any]] = []
    contested: list[dict[str, str]] = []
    declined: list[dict[str, str]] = []
    unsupported: dict[str, int] = {}
    apart: dict[str, int] = {}
    for case in cases(directory):
        method = case["method"]
        if method in DECLINED:
            declined.append({"id": case["id"], "reason": DECLINED[method]})
        elif method not in METHODS:
            counts["unsupported"] += 1
            unsupported[method] = unsupported.get(method, 0) + 1
        elif case["id"] in CONTESTED:
            contested.append({"id": case["id"], "proof": CONTESTED[case["id"]]})
        else:
            try:
                got, used = called(partial(METHODS[method], case["inputs"]))
                wrong = differences(case, got)
            except Declined as refusal:
                declined.append({"id": case["id"], "reason": str(refusal)})
                continue
            counts["failed" if wrong else "passed"] += 1
            failures += wrong
            if not wrong and not used <= reached():
                apart[method] = apart.get(method, 0) + 1
    counts["declined"] = len(declined)
    return {
        **counts, "contested": contested, "failures": failures, "unsupported_methods": unsupported,
        "declined_cases": declined, "passed_without_a_command": sum(apart.values()),
        "methods_without_a_command": apart,
    }  # fmt: skip


def main() -> int:
    """Entry point; the directory is the only argument."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        print("usage: python -m tests.oracles DIRECTORY", file=sys.stderr)
        return 2
    result = run(Path(sys.argv[1]))
    print(json.dumps(result, default=str))
    return 1 if result["failed"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
