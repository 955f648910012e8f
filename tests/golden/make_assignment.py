"""Writes assignment.json beside it from the official GrowthBook Python SDK, never from our own code.

Run by hand: `python tests/golden/make_assignment.py`. The rules below were written by hand from DEFINITION,
which tests/experiment/assignment/test_assignment.py compiles with our own code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from growthbook import GrowthBook
from growthbook.core import gbhash

DEFINITION = """\
key: golden
unit: id
model: ranker
layer: {key: shop, slice: [0.1, 0.85]}
variants: [{key: control, model: ranker@1}, {key: a, model: ranker@2}, {key: b, model: ranker@3}]
segments:
  - {key: us, when: {country: US}, traffic: 100%, allocation: {control: 0.5, a: 0.25, b: 0.25}}
  - {key: adult, when: {age: {$gte: 18}, country: {$in: [CA, GB]}}, traffic: 40%, allocation: equal}
  - {key: rest, traffic: 12.5%, allocation: {control: 0.9, a: 0.1, b: 0}}
metrics: [{key: ctr, type: proportion, event: click, role: primary}]
window: 7d
decision: {mde: 2%}
"""

US = {"country": "US"}
ADULT = {"age": {"$gte": 18}, "country": {"$in": ["CA", "GB"]}}


def rule(ranges: list[list[float]], condition: dict[str, Any]) -> dict[str, Any]:
    return {
        "key": "golden",
        "seed": "golden/1",
        "hashVersion": 2,
        "hashAttribute": "id",
        "variations": ["control", "a", "b"],
        "meta": [{"key": "control"}, {"key": "a"}, {"key": "b"}],
        "ranges": ranges,
        "condition": condition,
        "filters": [{"seed": "layer/shop", "ranges": [[0.1, 0.85]], "hashVersion": 2, "attribute": "id"}],
    }


FEATURE = {
    "defaultValue": None,
    "rules": [
        rule([[0, 0.5], [0.5, 0.75], [0.75, 1]], US),
        rule([[0, 0.1333], [0.3334, 0.4667], [0.6667, 0.8]], {"$and": [ADULT, {"$nor": [US]}]}),
        rule([[0, 0.1125], [0.9, 0.9125], [1, 1]], {"$nor": [US, ADULT]}),
    ],
}

ATTRIBUTES: list[dict[str, Any]] = [
    {"country": "US", "age": 30},
    {"country": "CA", "age": 30},
    {"country": "CA", "age": 17},
    {"country": "DE"},
    {},
]
UNITS = [
    *(f"user-{n}" for n in range(60)),
    *(str(n * 7919) for n in range(40)),
    "é",
    "Ω-1",
    "用户",
    "😀",
    "a" * 256,
]
SEEDS = ["", "golden/1", "layer/shop", "home-ranker/2", "сид"]


def main() -> None:
    assignments = []
    for unit in UNITS:
        for attributes in ATTRIBUTES:
            sdk = GrowthBook(attributes={**attributes, "id": unit}, features={"golden": FEATURE})
            result = sdk.eval_feature("golden")
            enrolled = result.experimentResult is not None and result.experimentResult.inExperiment
            assignments.append([unit, attributes, result.value if enrolled else None])
    buckets = [[seed, unit, gbhash(seed, unit, 2)] for seed in SEEDS for unit in UNITS]
    golden = {"definition": DEFINITION, "buckets": buckets, "assignments": assignments}
    text = json.dumps(golden, ensure_ascii=True, separators=(",", ":")).replace("],[", "],\n[")
    Path(__file__).with_name("assignment.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
