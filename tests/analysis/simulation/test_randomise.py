"""Vectorised assignment gives the integers of the scalar reference, for any text and any salt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from switchpoint.analysis.simulation.randomise import allocate, unit_ids
from switchpoint.experiment.assignment.assign import compile as compile_experiment
from switchpoint.experiment.assignment.hashing import hash_bucket
from switchpoint.experiment.language.experiment import load
from switchpoint.experiment.registry.lifecycle import create, start

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "assignment.json").read_text())
TEXTS = st.lists(st.text(st.characters(codec=None), max_size=40), max_size=30)


def test_buckets_are_those_of_the_official_sdk() -> None:
    """Vectors of the GrowthBook Python SDK: (seed, value, bucket share)."""
    by_seed: dict[str, list[tuple[str, float]]] = {}
    for seed, value, share in GOLDEN["buckets"]:
        by_seed.setdefault(seed, []).append((value, share))
    for seed, rows in by_seed.items():
        found = unit_ids([value for value, _ in rows]).buckets(seed)
        assert (found / 10_000).tolist() == [share for _, share in rows]


@given(ids=TEXTS, salt=st.text(max_size=20))
@settings(max_examples=300)
def test_buckets_equal_the_scalar_hash_for_any_text(ids: list[str], salt: str) -> None:
    assert unit_ids(ids).buckets(salt).tolist() == [hash_bucket(salt, one) for one in ids]


def test_short_and_long_inner_hashes_agree_with_the_scalar_hash() -> None:
    """300,000 ids meet inner hashes of few digits, which take another path through the tables."""
    ids = [f"u{number}" for number in range(300_000)]
    found = unit_ids(ids).buckets("rare")
    assert found.tolist() == [hash_bucket("rare", one) for one in ids]


def test_no_ids_give_no_buckets() -> None:
    assert unit_ids([]).buckets("s").tolist() == []


def test_variants_equal_the_scalar_assignment_in_every_segment() -> None:
    """Uneven allocation, partial traffic and a weight of zero, unit by unit as the service would assign."""
    definition = load(GOLDEN["definition"].replace("layer: {key: shop, slice: [0.1, 0.85]}\n", ""))
    state = start(
        create(definition, ordinal=1, at=0, actor="a"),
        digests={"control": "1", "a": "2", "b": "3"},
        at=0,
        actor="a",
    )
    assert state.epoch is not None
    attributes: list[dict[str, Any]] = [{"country": "US"}, {"country": "CA", "age": 30}, {}]
    ids = [f"unit-{number}" for number in range(3_000)]
    segment_of = np.arange(len(ids)) % 3
    found = allocate(unit_ids(ids).buckets(state.epoch.salt), state.epoch.segments, segment_of)
    compiled = compile_experiment(state)
    names = [variant.key for variant in definition.variants]
    for one, place, variant in zip(ids, segment_of.tolist(), found.tolist(), strict=True):
        expected = compiled.assign(one, attributes[place])
        assert (variant >= 0) == expected.enrolled
        assert names[max(variant, 0)] == expected.variant
