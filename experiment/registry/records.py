"""The records of a project: small JSON documents with versions, changed only by atomic, audited commits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from switchpoint.experiment.errors import Conflict
from switchpoint.experiment.language.document import Document
from switchpoint.experiment.registry.audit import AuditEntry, Head, Note, check_chain, written_documents


class Kind(StrEnum):
    """The kinds of documents a project keeps."""

    EXPERIMENT = "experiment"  # key: the experiment's key
    MODEL = "model"  # key: name@version
    CHAMPION = "champion"  # key: the model's name
    DECISION = "decision"  # key: experiment/number


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Write `body` under (`kind`, `key`) if it still has `expected_version` there (0: nothing yet)."""

    kind: str
    key: str
    body: dict[str, Any]
    expected_version: int


class Records(Protocol):
    """A store of documents. Every commit appends one audit entry; its number is the project's revision."""

    def get(self, kind: str, key: str) -> Document | None:
        """The document as last written, or None."""
        ...

    def list(self, kind: str) -> list[Document]:
        """All documents of one kind, sorted by key."""
        ...

    def commit(self, changes: Sequence[Put], note: Note, *, revision: int | None = None) -> int:
        """Write all changes and one audit entry, or nothing; returns the new revision.

        Args:
            changes: at most one per document; none is allowed (the entry alone is kept).
            note: who, when, what and why.
            revision: refuse unless the project is still at this revision, for rules over several documents.

        Raises:
            Conflict: a document or the project moved on; names the document and both versions.
            StoreUnavailable: the store did not answer. The commit may or may not have happened: read again.
        """
        ...

    def head(self) -> Head:
        """The last audit entry's number and hash."""
        ...

    def identity(self) -> str | None:
        """The random name that the store got with its first commit; None before it."""
        ...

    def revision(self) -> int:
        """The number of commits so far."""
        ...

    def audit(self, after: int = 0) -> Iterator[AuditEntry]:
        """The audit entries with `seq` > `after`, in order."""
        ...


def planned_documents(changes: Sequence[Put]) -> list[Document]:
    """The documents as they will be once the changes are written."""
    seen = {(put.kind, put.key) for put in changes}
    if len(seen) != len(changes):
        raise ValueError(f"two changes of one document in a commit: {[(p.kind, p.key) for p in changes]}")
    return [Document(kind=p.kind, key=p.key, body=p.body, version=p.expected_version + 1) for p in changes]


def document_conflict(put: Put, found: int) -> Conflict:
    """The error of a document that is not at the version its writer had read."""
    return Conflict(
        f"{put.kind} {put.key} is at version {found}, this change was made for version "
        f"{put.expected_version}: read it again and retry"
    )


def revision_conflict(found: int, expected: int) -> Conflict:
    """The error of a project that is not at the revision the writer had read."""
    return Conflict(
        f"the project is at revision {found}, this change was made for {expected}: read it again and retry"
    )


def check(records: Records) -> list[str]:
    """What is wrong with stored records, one sentence each: a broken chain, documents that differ from it."""
    entries = list(records.audit())
    broken = check_chain(entries)
    findings = [] if broken is None else [f"audit entry {broken} was altered, removed or inserted"]
    if records.head() != (Head(entries[-1].seq, entries[-1].hash) if entries else Head()):
        findings.append("the last audit entry is not the one the store names as its head")
    expected = written_documents(entries)
    found = {(d.kind, d.key): d for kind in Kind for d in records.list(kind)}
    for kind, key in sorted(expected.keys() | found.keys()):
        if found.get((kind, key)) != expected.get((kind, key)):
            findings.append(f"{kind} {key} is not what the audit log says was written")
    return findings
