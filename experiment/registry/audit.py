"""The hash-chained audit log: who changed what, when and why, and the documents as they were written.

Each entry carries the hash of the one before, so an entry cannot be altered, removed or inserted without
breaking every hash after it. Because the documents travel with the entry, the log alone rebuilds the
records (`experiment.store.journal`). Everything here is pure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from switchpoint.experiment.errors import BadInput, Corrupt
from switchpoint.experiment.language.document import Document, canonical, from_body, to_body

GENESIS = "0" * 64
"""`prev` of the first entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What a commit says about itself: when (ms), who, what (`promote`), of what, and why."""

    at: int
    actor: str
    action: str
    subject: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One link of the chain. `seq` counts from 1 and is the project's revision after this commit."""

    seq: int
    at: int
    actor: str
    action: str
    subject: str
    reason: str
    changes: tuple[Document, ...]
    prev: str
    hash: str

    @property
    def note(self) -> Note:
        """The part of the entry that the committer wrote."""
        return Note(
            at=self.at, actor=self.actor, action=self.action, subject=self.subject, reason=self.reason
        )


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain: the last sequence number and hash (0 and GENESIS when empty)."""

    seq: int = 0
    hash: str = GENESIS


def chain(head: Head, note: Note, changes: Sequence[Document]) -> AuditEntry:
    """The entry that follows `head`."""
    entry = AuditEntry(
        seq=head.seq + 1,
        at=note.at,
        actor=note.actor,
        action=note.action,
        subject=note.subject,
        reason=note.reason,
        changes=tuple(changes),
        prev=head.hash,
        hash="",
    )
    return replace(entry, hash=entry_hash(entry))


def entry_hash(entry: AuditEntry) -> str:
    """SHA-256 (hex) of the canonical text of everything but the hash itself."""
    body = to_body(entry)
    del body["hash"]
    return hashlib.sha256(canonical(body).encode("ascii")).hexdigest()


def check_chain(entries: Iterable[AuditEntry], head: Head | None = None) -> int | None:
    """The sequence number of the first entry that is altered or out of place, or None.

    Args:
        entries: in order, starting right after `head`.
        head: the trusted end of what came before; default: the beginning. Entries cut off at the *end* can
            only be noticed by somebody who kept a later head, which is what the exported journal is for.
    """
    last = head or Head()
    for entry in entries:
        if entry.seq != last.seq + 1 or entry.prev != last.hash or entry.hash != entry_hash(entry):
            return last.seq + 1
        last = Head(entry.seq, entry.hash)
    return None


def encode_entry(entry: AuditEntry) -> str:
    """One line of canonical JSON."""
    return canonical(to_body(entry))


def decode_entry(text: str | bytes) -> AuditEntry:
    """Read `encode_entry` back; the hash is not checked here.

    Raises:
        Corrupt: the text is not an audit entry.
    """
    try:
        return from_body(AuditEntry, json.loads(text))
    except (ValueError, RecursionError, BadInput) as error:
        raise Corrupt(f"not an audit entry: {error}") from error


def written_documents(entries: Iterable[AuditEntry]) -> dict[tuple[str, str], Document]:
    """What the records must hold after these entries: the last document written under each (kind, key)."""
    return {(change.kind, change.key): change for entry in entries for change in entry.changes}
