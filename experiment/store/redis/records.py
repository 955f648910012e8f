"""Records in Redis: one hash per kind, the audit log as a list, every commit one Lua script."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import redis
from redis.exceptions import RedisError

from switchpoint.experiment.errors import Corrupt
from switchpoint.experiment.language.document import Document, canonical
from switchpoint.experiment.registry.audit import AuditEntry, Head, Note, chain, decode_entry, encode_entry
from switchpoint.experiment.registry.records import (
    Put,
    document_conflict,
    planned_documents,
    revision_conflict,
)
from switchpoint.experiment.store.redis.connection import SmallScript
from switchpoint.experiment.store.redis.errors import unavailable
from switchpoint.experiment.store.redis.keys import ProjectKeys

_SCRIPT = Path(__file__).with_name("records.lua").read_text(encoding="ascii")
_PAGE = 200


class RedisRecords:
    """`Records` in Redis or Valkey. `client` comes from `experiment.store.redis.connection.connect`."""

    def __init__(self, client: redis.Redis, project: str = "default") -> None:
        """Records of one project; nothing is written before the first commit."""
        self._client = client
        self._keys = ProjectKeys(project)
        self._script = SmallScript(client, _SCRIPT)

    def get(self, kind: str, key: str) -> Document | None:
        """See `Records.get`."""
        with _unavailable():
            stored = self._client.hget(self._keys.documents(kind), key)
        return None if stored is None else _document(kind, key, _bytes(stored))

    def list(self, kind: str) -> list[Document]:
        """See `Records.list`."""
        with _unavailable():
            stored = dict(self._client.hgetall(self._keys.documents(kind)))
        found = ((_bytes(key).decode(), _bytes(value)) for key, value in stored.items())
        return [_document(kind, key, value) for key, value in sorted(found)]

    def commit(self, changes: Sequence[Put], note: Note, *, revision: int | None = None) -> int:
        """See `Records.commit`.

        The entry's hash needs the head before it, and Lua has no SHA-256: the script refuses an entry that
        was chained to an older head, and it is chained again to the head the script answers with.
        """
        documents = planned_documents(changes)
        values = [f"{d.version} {canonical(d.body)}" for d in documents]
        head = self.head()
        while True:
            entry = chain(head, note, documents)
            answer = self._run(head, entry, changes, values, revision)
            if answer[0] == b"ok":
                return entry.seq
            if answer[0] == b"document":
                raise document_conflict(changes[int(answer[1])], int(answer[2]))
            if answer[0] == b"corrupt":
                raise Corrupt(f"the audit log holds {answer[1]!r} entries, not the {head.seq} of its head")
            head = _head(_bytes(answer[1]))
            if answer[0] == b"revision" and revision is not None:
                raise revision_conflict(head.seq, revision)

    def head(self) -> Head:
        """See `Records.head`."""
        with _unavailable():
            stored = self._client.get(self._keys.head())
        return Head() if stored is None else _head(_bytes(stored))

    def identity(self) -> str | None:
        """See `Records.identity`."""
        with _unavailable():
            stored = self._client.get(self._keys.identity())
        return None if stored is None else _bytes(stored).decode()

    def revision(self) -> int:
        """See `Records.revision`."""
        return self.head().seq

    def audit(self, after: int = 0) -> Iterator[AuditEntry]:
        """See `Records.audit`; read in pages."""
        while True:
            with _unavailable():
                page = self._client.lrange(self._keys.audit(), after, after + _PAGE - 1)
            yield from (decode_entry(_bytes(text)) for text in page)
            after += len(page)
            if len(page) < _PAGE:
                return

    def _run(
        self,
        head: Head,
        entry: AuditEntry,
        changes: Sequence[Put],
        values: Sequence[str],
        revision: int | None,
    ) -> Sequence[bytes | int]:
        hashes = [self._keys.documents(put.kind) for put in changes]
        arguments: list[str | int] = [
            f"{head.seq} {head.hash}",
            f"{entry.seq} {entry.hash}",
            encode_entry(entry),
            "" if revision is None else revision,
            uuid4().hex,
        ]
        for put, value in zip(changes, values, strict=True):
            arguments += [put.key, put.expected_version, value]
        with _unavailable():
            answer: Sequence[bytes | int] = self._script(
                keys=[self._keys.head(), self._keys.audit(), self._keys.identity(), *hashes], args=arguments
            )
        return answer


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise unavailable(error) from error


def _bytes(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError("RedisRecords needs a client with decode_responses=False")
    return value


def _head(stored: bytes) -> Head:
    seq, _, text = stored.decode().partition(" ")
    return Head(int(seq), text)


def _document(kind: str, key: str, stored: bytes) -> Document:
    version, _, body = stored.partition(b" ")
    try:
        return Document(kind=kind, key=key, body=json.loads(body), version=int(version))
    except ValueError as error:
        raise Corrupt(f"{kind} {key} is not a stored document: {error}") from error
