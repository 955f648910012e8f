"""Every Redis key of the records and the ledger, built in one place. docs/redis.md says what each holds.

Keys of one shard carry the hash tag `{project:shard}`, so one call stays in one cluster slot; keys of the
whole project carry `{project}`.
"""

from __future__ import annotations

import re
from hashlib import blake2b

from switchpoint.experiment.errors import BadInput

_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def check_project(project: str) -> str:
    """The name, if it may appear in keys.

    Raises:
        BadInput: it is not [a-z0-9][a-z0-9_-]{0,62}.
    """
    if not _PROJECT.fullmatch(project):
        raise BadInput(
            f"not a project name: {project!r}",
            field="project",
            value=project,
            fix="use lower-case letters, digits, _ and -, at most 63",
        )
    return project


class ProjectKeys:
    """Keys of the whole project."""

    def __init__(self, project: str) -> None:
        """Keys of `project`; raises BadInput for an unusable name."""
        self._tag = f"{{{check_project(project)}}}"

    def settings(self) -> str:
        """Hash: what is fixed at creation."""
        return f"lm:{self._tag}"

    def dimension(self, ordinal: int, position: int) -> str:
        """Hash: value → number, for the dimension at `position` (from 1) of an experiment; 0, 0: types."""
        return f"dv:{self._tag}:{ordinal}:{position}"

    def dead_letters(self) -> str:
        """Stream: refused events."""
        return f"dl:{self._tag}"

    def refusals(self) -> str:
        """Hash: cause → how many events were refused for it."""
        return f"rf:{self._tag}"

    def refusal_token(self, token: str) -> str:
        """String: a call that counted refused events; it expires."""
        return f"rt:{self._tag}:{token}"

    def head(self) -> str:
        """String "<seq> <hash>": the last audit entry; its number is the project's revision."""
        return f"hd:{self._tag}"

    def identity(self) -> str:
        """String: the store's random name, written once."""
        return f"id:{self._tag}"

    def audit(self) -> str:
        """List: audit entries as canonical JSON, one per commit."""
        return f"au:{self._tag}"

    def documents(self, kind: str) -> str:
        """Hash: key → "<version> <body>" of one kind of record."""
        return f"rc:{self._tag}:{kind}"


class ShardKeys:
    """Keys of one shard of the ledger."""

    def __init__(self, project: str, shard: int) -> None:
        """Keys of shard `shard` of `project`."""
        self._tag = f"{{{check_project(project)}:{shard}}}"

    def facts(self) -> str:
        """Hash: newest event day, number of late events."""
        return f"sh:{self._tag}"

    def log(self) -> str:
        """Stream: one entry per batch."""
        return f"ev:{self._tag}"

    def arrivals(self) -> str:
        """Hash: what arrived, counted whether it counts or not."""
        return f"ar:{self._tag}"

    def dirty(self) -> str:
        """Set: units that wait for a refold."""
        return f"dy:{self._tag}"

    def days(self) -> str:
        """Set: days with ids of live events."""
        return f"da:{self._tag}"

    def history_days(self) -> str:
        """Set: days an import wrote to; their ids are kept for ever."""
        return f"hi:{self._tag}"

    def swept_days(self) -> str:
        """Set: days whose ids were removed."""
        return f"sw:{self._tag}"

    def cells(self, ordinal: int) -> str:
        """Hash: the cells of one experiment."""
        return f"ce:{self._tag}:{ordinal}"

    def units(self, bucket: int) -> str:
        """Hash: the records of the units of one bucket."""
        return f"un:{self._tag}:{bucket}"

    def ids(self, day: int, bucket: int) -> str:
        """Set: hashes of the event ids of one day in one bucket."""
        return f"dd:{self._tag}:{day}:{bucket}"


def unit_digest(unit: str) -> bytes:
    """16 bytes that place a unit: its shard, its bucket, and the name space of its event ids."""
    return blake2b(unit.encode(), digest_size=16).digest()


def shard_of(digest: bytes, shards: int) -> int:
    """The shard of a unit: the first 8 bytes of its digest, modulo the number of shards."""
    return int.from_bytes(digest[:8], "big") % shards


def bucket_of(digest: bytes, buckets: int) -> int:
    """The record bucket of a unit: the last 8 bytes of its digest, modulo the number of buckets."""
    return int.from_bytes(digest[8:], "big") % buckets


def event_hash(digest: bytes, event_id: str) -> int:
    """63 bits of (unit, id), so that Redis keeps it as an integer."""
    return int.from_bytes(blake2b(event_id.encode(), key=digest, digest_size=8).digest(), "big") >> 1
