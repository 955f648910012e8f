"""Registered model versions: what they are made of, where they come from, and how they are numbered.

A version is immutable and is identified by its digest, not by its name: the digest covers the content of
every file (or the upstream and its declared identity), so the same content is the same version. Who is
champion is said in `experiment.registry.champion`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from switchpoint.experiment.definition.types import KEY_PATTERN, ModelRef
from switchpoint.experiment.errors import BadInput, NotFound
from switchpoint.experiment.language.document import canonical, digest_of, to_body

_NAME = re.compile(KEY_PATTERN)
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Format(StrEnum):
    """How a version is loaded."""

    SKOPS = "skops"  # scikit-learn, files from the artifact store
    HTTP = "http"  # somebody else's server answers


class State(StrEnum):
    """Whether a version may be given new traffic."""

    REGISTERED = "registered"
    QUARANTINED = "quarantined"  # known to be harmful or broken: no experiment, no promotion
    ARCHIVED = "archived"  # out of use


class Relation(StrEnum):
    """How a version came from its parent."""

    RETRAIN = "retrain"
    FINETUNE = "finetune"
    RECALIBRATE = "recalibrate"
    IMPORT = "import"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Data a version was trained or measured on; `role` is train, valid, test or calibration.

    `start` and `end` bound the events' times [start, end) in ms UTC; `position` is where the event log
    stood (stream cursor per shard); `counts` are rows per segment or group.
    """

    role: str
    name: str
    digest: str | None = None
    rows: int | None = None
    units: int | None = None
    schema: str | None = None
    start: int | None = None
    end: int | None = None
    position: Mapping[str, str] = field(default_factory=dict)
    filter: str | None = None
    label: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One offline figure: `metric` on `dataset` (within `part`, a segment or group), with its interval."""

    metric: str
    value: float
    dataset: str | None = None
    part: str | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Where a version comes from. Everything is optional: record what is known, never guess."""

    parent: ModelRef | None = None
    relation: Relation | None = None
    datasets: tuple[Dataset, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)
    entry_point: str | None = None
    git_commit: str | None = None
    git_dirty: bool | None = None
    python: str | None = None
    packages: Mapping[str, str] = field(default_factory=dict)
    metrics: tuple[Evaluation, ...] = ()
    notes: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a version is made of: files by name with their digests, or an upstream URL.

    `identity` is what the owner of an upstream declares it to be (an image digest, a build number); without
    it two deployments behind one URL cannot be told apart.
    """

    format: Format
    artifact: Mapping[str, str] = field(default_factory=dict)
    upstream: str | None = None
    identity: str | None = None

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of the canonical manifest."""
        return digest_of(to_body(self))

    def check(self) -> None:
        """Raise BadInput unless the parts fit the format."""
        if self.format is Format.HTTP:
            self._check_upstream()
            return
        if self.upstream is not None or not self.artifact:
            raise BadInput(
                f"{self.format} versions are files", field="artifact", value=self.artifact, fix="give a file"
            )
        for name, digest in self.artifact.items():
            if not _FILE.fullmatch(name) or not _DIGEST.fullmatch(digest):
                raise BadInput(
                    "not a file name with its digest",
                    field=f"artifact.{name}",
                    value=digest,
                    fix="name: digest as sha256:<64 hex>",
                )

    def _check_upstream(self) -> None:
        parts = urlsplit(self.upstream or "")
        if self.artifact or parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadInput(
                "an http version needs an upstream URL and no files",
                field="upstream",
                value=self.upstream,
                fix="give https://host/path",
            )
        if parts.username or parts.password:
            raise BadInput(
                "credentials do not belong into the registry",
                field="upstream",
                value=f"{parts.scheme}://…@{parts.hostname}",
                fix="leave them out of the URL",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """One registered version. Only `state` may change after registration."""

    name: str
    version: int
    digest: str
    format: Format
    artifact: Mapping[str, str] = field(default_factory=dict)
    upstream: str | None = None
    identity: str | None = None
    state: State = State.REGISTERED
    lineage: Lineage = field(default_factory=Lineage)
    created_at: int
    created_by: str

    @property
    def ref(self) -> ModelRef:
        """`name@version`."""
        return ModelRef(self.name, self.version)


def check_name(name: str) -> str:
    """The model's name if it is one.

    Raises:
        BadInput: it is empty, too long, or holds other characters.
    """
    if not _NAME.fullmatch(name):
        raise BadInput(
            "not a model name", field="model", value=name, fix="use 1-64 letters, digits, dots, - or _"
        )
    return name


def register(
    existing: Sequence[ModelVersion], name: str, content: Content, *, lineage: Lineage, at: int, actor: str
) -> ModelVersion:
    """The version of this content: the existing one with the same digest, else the next number.

    Args:
        existing: all versions of this name.
        name: the model's name.
        content: what it is made of.
        lineage: where it comes from; an existing version keeps its own.
        at: ms UTC.
        actor: who registers.

    Raises:
        BadInput: the name, the content or the lineage cannot be used.
        NotFound: the parent is a version of this name that does not exist.
    """
    check_name(name)
    content.check()
    canonical(to_body(lineage))
    digest = content.digest
    for known in existing:
        if known.digest == digest:
            return known
    parent = lineage.parent
    if parent and parent.name == name and parent.version not in {known.version for known in existing}:
        raise NotFound("no such version", field="lineage.parent", value=str(parent), fix="register it first")
    return ModelVersion(
        name=name,
        version=1 + max((known.version for known in existing), default=0),
        digest=digest,
        format=content.format,
        artifact=dict(content.artifact),
        upstream=content.upstream,
        identity=content.identity,
        lineage=lineage,
        created_at=at,
        created_by=actor,
    )
