"""Registering versions: identity by content, consecutive numbers, lineage that is typed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest

from switchpoint.experiment.definition.types import ModelRef
from switchpoint.experiment.errors import BadInput, NotFound
from switchpoint.experiment.language.document import from_body, to_body
from switchpoint.experiment.registry.model import (
    Content,
    Dataset,
    Evaluation,
    Format,
    Lineage,
    ModelVersion,
    Relation,
    State,
    register,
)

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def files(**artifact: str) -> Content:
    return Content(format=Format.SKOPS, artifact={name.replace("_", "."): d for name, d in artifact.items()})


def add(known: list[ModelVersion], content: Content, lineage: Lineage | None = None) -> ModelVersion:
    version = register(
        known, "ranker", content, lineage=lineage or Lineage(), at=1000 + len(known), actor="ana"
    )
    if version not in known:
        known.append(version)
    return version


def test_versions_are_numbered_one_after_the_other() -> None:
    known: list[ModelVersion] = []
    first, second = add(known, files(model_skops=A)), add(known, files(model_skops=B))
    assert (first.version, second.version) == (1, 2)
    assert first.ref == ModelRef("ranker", 1)
    assert (first.state, first.created_at, first.created_by) == (State.REGISTERED, 1000, "ana")


def test_the_same_content_is_the_same_version() -> None:
    known: list[ModelVersion] = []
    first = add(known, files(model_skops=A), Lineage(git_commit="abc"))
    add(known, files(model_skops=B))
    again = add(known, files(model_skops=A), Lineage(git_commit="other"))
    assert again == first
    assert len(known) == 2


def test_the_digest_covers_names_contents_and_format() -> None:
    digests = {
        files(model_skops=A).digest,
        files(model_skops=B).digest,
        files(other_skops=A).digest,
        files(model_skops=A, extra_json=B).digest,
        Content(format=Format.HTTP, upstream="https://host/m").digest,
        Content(format=Format.HTTP, upstream="https://host/m", identity="build 7").digest,
        Content(format=Format.HTTP, upstream="https://host/n").digest,
    }
    assert len(digests) == 7
    assert files(a=A, b=B).digest == Content(format=Format.SKOPS, artifact={"b": B, "a": A}).digest


def test_the_digest_is_the_sha256_of_the_sorted_manifest() -> None:
    """The outside check: what docs/registry.md states, with hashlib and json alone."""
    manifest = {"artifact": {"model.skops": A}, "format": "skops", "identity": None, "upstream": None}
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    assert files(model_skops=A).digest == "sha256:" + hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "content",
    [
        Content(format=Format.SKOPS),
        Content(format=Format.SKOPS, artifact={"model.skops": "abc"}),
        Content(format=Format.SKOPS, artifact={"../model.skops": A}),
        Content(format=Format.SKOPS, artifact={"model.skops": A}, upstream="https://host/"),
        Content(format=Format.HTTP),
        Content(format=Format.HTTP, upstream="host/path"),
        Content(format=Format.HTTP, upstream="ftp://host/path"),
        Content(format=Format.HTTP, upstream="https://host/", artifact={"model.skops": A}),
    ],
)
def test_content_that_does_not_fit_its_format_is_refused(content: Content) -> None:
    with pytest.raises(BadInput, match="Fix:"):
        add([], content)


def test_credentials_in_an_upstream_are_refused_and_not_repeated() -> None:
    with pytest.raises(BadInput) as caught:
        add([], Content(format=Format.HTTP, upstream="https://user:hunter2@host/"))
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in str(caught.value.value)


@pytest.mark.parametrize("name", ["", "a@1", "a/b", "a b", "x" * 65, ".hidden", "a\n"])
def test_a_name_that_could_not_be_referred_to_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="model name"):
        register([], name, files(model_skops=A), lineage=Lineage(), at=1, actor="ana")


def test_a_parent_must_exist() -> None:
    known = [add([], files(model_skops=A))]
    with pytest.raises(NotFound, match="parent"):
        add(known, files(model_skops=B), Lineage(parent=ModelRef("ranker", 7), relation=Relation.RETRAIN))
    child = add(known, files(model_skops=B), Lineage(parent=ModelRef("ranker", 1), relation=Relation.RETRAIN))
    assert child.lineage.parent == ModelRef("ranker", 1)


FULL = Lineage(
    parent=ModelRef("ranker", 1),
    relation=Relation.FINETUNE,
    datasets=(
        Dataset(
            role="train",
            name="clicks",
            digest=A,
            rows=1000,
            units=90,
            schema=B,
            start=0,
            end=5,
            position={"0": "17-0"},
            filter="country in (US, CA)",
            label="click within 7d",
            counts={"us": 600, "ca": 400},
        ),
    ),
    parameters={"C": 0.1, "solver": "lbfgs", "layers": [1, 2]},
    seeds={"split": 7},
    entry_point="train.py",
    git_commit="0" * 40,
    git_dirty=False,
    python="3.11.7",
    packages={"scikit-learn": "1.9.1"},
    metrics=(Evaluation(metric="auc", value=0.71, dataset="clicks", part="us", low=0.69, high=0.73, n=200),),
    notes="ranks the home page",
)


def test_lineage_is_kept_as_it_was_given() -> None:
    version = add([], files(model_skops=A), replace(FULL, parent=None))
    assert from_body(ModelVersion, json.loads(json.dumps(to_body(version)))) == version


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ({"seeds": {"split": "seven"}}, "seeds.split"),
        ({"datasets": [{"role": "train"}]}, r"datasets\[0\].name"),
        ({"relation": "cousin"}, "relation"),
        ({"parent": "ranker"}, "parent"),
        ({"git": "abc"}, "git"),
    ],
)
def test_lineage_from_a_file_is_checked_field_by_field(raw: dict[str, Any], path: str) -> None:
    with pytest.raises(BadInput, match=rf"^{path}: "):
        from_body(Lineage, raw)


def test_a_parameter_that_json_cannot_say_is_refused() -> None:
    with pytest.raises(BadInput, match="JSON"):
        add([], files(model_skops=A), Lineage(parameters={"missing": float("nan")}))
