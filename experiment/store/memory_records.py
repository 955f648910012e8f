"""Records in one process's memory: for tests, notebooks and simulations. Nothing survives the process."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from threading import Lock
from uuid import uuid4

from switchpoint.experiment.language.document import Document, canonical
from switchpoint.experiment.registry.audit import AuditEntry, Head, Note, chain, decode_entry, encode_entry
from switchpoint.experiment.registry.records import (
    Put,
    document_conflict,
    planned_documents,
    revision_conflict,
)


class MemoryRecords:
    """`Records` behind one lock. Bodies are kept as text, so no caller can change what is stored."""

    def __init__(self) -> None:
        """An empty project."""
        self._lock = Lock()
        self._documents: dict[tuple[str, str], tuple[int, str]] = {}
        self._entries: list[str] = []
        self._head = Head()
        self._identity: str | None = None

    def get(self, kind: str, key: str) -> Document | None:
        """See `Records.get`."""
        stored = self._documents.get((kind, key))
        return None if stored is None else _document(kind, key, stored)

    def list(self, kind: str) -> list[Document]:
        """See `Records.list`."""
        with self._lock:
            found = [(key, stored) for (of, key), stored in self._documents.items() if of == kind]
        return [_document(kind, key, stored) for key, stored in sorted(found)]

    def commit(self, changes: Sequence[Put], note: Note, *, revision: int | None = None) -> int:
        """See `Records.commit`."""
        documents = planned_documents(changes)
        texts = [canonical(put.body) for put in changes]
        with self._lock:
            for put in changes:
                found, _ = self._documents.get((put.kind, put.key), (0, ""))
                if found != put.expected_version:
                    raise document_conflict(put, found)
            if revision is not None and revision != self._head.seq:
                raise revision_conflict(self._head.seq, revision)
            entry = chain(self._head, note, documents)
            self._entries.append(encode_entry(entry))
            self._head = Head(entry.seq, entry.hash)
            self._identity = self._identity or uuid4().hex
            for document, text in zip(documents, texts, strict=True):
                self._documents[document.kind, document.key] = (document.version, text)
            return entry.seq

    def head(self) -> Head:
        """See `Records.head`."""
        return self._head

    def identity(self) -> str | None:
        """See `Records.identity`."""
        return self._identity

    def revision(self) -> int:
        """See `Records.revision`."""
        return self._head.seq

    def audit(self, after: int = 0) -> Iterator[AuditEntry]:
        """See `Records.audit`."""
        yield from map(decode_entry, self._entries[after:])


def _document(kind: str, key: str, stored: tuple[int, str]) -> Document:
    version, text = stored
    return Document(kind=kind, key=key, body=json.loads(text), version=version)
