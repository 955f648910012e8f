"""What a promotion may rest on, and the digest of what it was decided on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchpoint.experiment.errors import Refused, Superseded
from switchpoint.experiment.language.document import from_body, to_body
from switchpoint.experiment.ledger.moments import Cell, CellKey, Moments, Sums
from switchpoint.experiment.registry.decision import (
    DecisionRecord,
    Finding,
    InForce,
    VerdictKind,
    moments_digest,
    require_promotion,
)

PROMOTE = Finding(kind=VerdictKind.PROMOTE, variant="treatment", reasons=("ctr +4 %",))
MODELS = {"control": "sha256:one", "treatment": "sha256:two", "other": "sha256:other"}
NOW = InForce(
    definition_digest="sha256:def", digests=MODELS, control="control",
    models={"control": "ranker@1", "treatment": "ranker@2"},
)  # fmt: skip
KEEP = Finding(kind=VerdictKind.KEEP, reasons=("latency is worse",))


def decision(finding: Finding = PROMOTE, **segments: Finding) -> DecisionRecord:
    return DecisionRecord(
        experiment="home-ranker",
        number=3,
        definition_digest="sha256:def",
        rule_digest="sha256:rule",
        code_version="0.1.0",
        position={"0": "17-0"},
        moments_digest="sha256:moments",
        finding=finding,
        segments=segments,
        digests=MODELS,
        at=5,
        actor="ana",
        why="weekly review",
    )


def require(
    record: DecisionRecord | None, *segments: str, variant: str = "treatment", now: InForce = NOW
) -> None:
    require_promotion(record, variant, segments, now)


def test_a_matching_verdict_allows_the_promotion() -> None:
    require(decision())
    require(decision(), "us", "ca")


def test_a_segment_may_be_promoted_on_its_own_verdict_alone() -> None:
    record = decision(KEEP, us=PROMOTE)
    require(record, "us")
    with pytest.raises(Refused, match=r"home-ranker/3 says keep \(latency is worse\)"):
        require(record)
    with pytest.raises(Refused, match="says keep for segment ca"):
        require(record, "us", "ca")


def test_a_segments_own_verdict_wins_over_the_experiments() -> None:
    with pytest.raises(Refused, match="says keep for segment us"):
        require(decision(PROMOTE, us=KEEP), "us")


@pytest.mark.parametrize("kind", [kind for kind in VerdictKind if kind is not VerdictKind.PROMOTE])
def test_no_other_verdict_promotes(kind: VerdictKind) -> None:
    with pytest.raises(Refused, match=f"says {kind}.*override with a reason"):
        require(decision(Finding(kind=kind, variant="treatment")))


def test_a_verdict_for_another_variant_does_not_promote_this_one() -> None:
    with pytest.raises(Refused, match="says promote treatment"):
        require(decision(), variant="other")


def test_no_decision_and_one_on_an_older_definition_do_not_promote() -> None:
    with pytest.raises(Refused, match="no decision is on record"):
        require(None)
    with pytest.raises(Refused, match="earlier definition"):
        require(replace(decision(), definition_digest="sha256:older"))


@pytest.mark.parametrize(
    ("variant", "said"),
    [
        ("treatment", r"treatment was sha256:two, it is sha256:new \(ranker@2\) now"),
        ("control", r"control was sha256:one, it is sha256:new \(ranker@1\) now"),
    ],
)
def test_a_decision_about_other_models_promotes_nothing(variant: str, said: str) -> None:
    """Control's model counts as much as the variant's: the comparison was of the pair."""
    changed = replace(NOW, digests=MODELS | {variant: "sha256:new"}, definition_digest="sha256:newer")
    with pytest.raises(Superseded, match=rf"home-ranker/3 is not about the models in force: {said}\. Fix: "):
        require(decision(), now=changed)


def test_another_variants_new_model_is_no_reason_to_refuse_this_one() -> None:
    require(decision(), now=replace(NOW, digests=MODELS | {"other": "sha256:new"}))


def test_a_decision_that_names_no_models_promotes_none() -> None:
    with pytest.raises(Superseded, match="control was no model on record, it is sha256:one"):
        require(replace(decision(), digests={}))


def test_without_models_there_is_nothing_to_compare() -> None:
    require(replace(decision(), digests={}), now=replace(NOW, digests={}, models={}))


def test_only_promote_and_keep_name_a_model_to_go_on_with() -> None:
    assert {kind for kind in VerdictKind if kind.settled} == {VerdictKind.PROMOTE, VerdictKind.KEEP}


def test_a_decision_is_read_back_as_it_was_written() -> None:
    record = decision(PROMOTE, us=KEEP)
    assert from_body(DecisionRecord, to_body(record)) == record
    assert record.id == "home-ranker/3"


_KEYS = st.builds(
    CellKey,
    experiment=st.sampled_from("ab"),
    epoch=st.integers(1, 2),
    segment=st.sampled_from(["us", "ca"]),
    variant=st.sampled_from(["c", "t"]),
    day=st.integers(0, 3),
    dimension=st.just(""),
    value=st.just(""),
    contaminated=st.booleans(),
)
_CELLS = st.builds(
    lambda n, x: Cell(n, n, 0, 0, 0, (Sums(x, x * x),)), st.integers(1, 2**40), st.integers(-(2**60), 2**60)
)


@given(moments=st.dictionaries(_KEYS, _CELLS, min_size=1, max_size=5))
def test_the_digest_depends_on_every_number_and_on_nothing_else(moments: Moments) -> None:
    digest = moments_digest(moments)
    assert moments_digest(dict(reversed(moments.items()))) == digest
    empty = Cell(0, 0, 0, 0, 0, (Sums(),))
    assert moments_digest({**moments, CellKey("z", 1, "us", "c", 0): empty}) == digest
    key, cell = next(iter(moments.items()))
    one_more = replace(cell, metrics=(cell.metrics[0]._replace(xx=cell.metrics[0].xx + 1),))
    assert moments_digest({**moments, key: one_more}) != digest
    assert moments_digest({k: c for k, c in moments.items() if k != key}) != digest


@pytest.mark.parametrize(
    "change",
    [
        {"n": 4}, {"exposures": 6}, {"fallbacks": 3}, {"mismatches": 2}, {"carried": 3},
        {"metrics": (Sums(1, 1, 0, 0, 1),)}, {"covariates": ((1, 3),)}, {"covariates": ()},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_the_digest_sees_every_count_of_a_cell(change: dict[str, Any]) -> None:
    key = CellKey("home", 1, "us", "control", 3)
    cell = Cell(3, 5, 2, 1, 2, (Sums(1, 1),), ((1, 2),))
    assert moments_digest({key: replace(cell, **change)}) != moments_digest({key: cell})
    assert moments_digest({key._replace(epoch=2): cell}) != moments_digest({key: cell})


@pytest.mark.parametrize("counted", ["n", "exposures", "carried"])
def test_a_cell_that_counts_anything_is_in_the_digest(counted: str) -> None:
    nothing = Cell(0, 0, 0, 0, 0, (Sums(),))
    key = CellKey("home", 1, "us", "control", 3)
    assert moments_digest({key: nothing}) == moments_digest({})
    one: dict[str, Any] = {counted: 1}
    assert moments_digest({key: replace(nothing, **one)}) != moments_digest({})
