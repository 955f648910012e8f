"""Redis failures as Switchpoint errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from switchpoint.experiment.errors import AccessDenied, Corrupt, StoreUnavailable

_REMEDIES = {
    "OOM": "the server's memory limit is reached: raise maxmemory",
    "MISCONF": "the server cannot write its file: free disk space",
    "LOADING": "the server is still loading its file: try again",
    "READONLY": "this server is a replica: point the URL to the primary",
    "MASTERDOWN": "the primary is away",
    "CLUSTERDOWN": "the cluster has no quorum",
    "TRYAGAIN": "slots are moving: try again",
    "NOREPLICAS": "too few replicas are connected",
    "BUSY": "a script blocks the server",
    "NOAUTH": "the password of SWITCHPOINT_REDIS_URL is missing or wrong",
    "NOPERM": "the user of SWITCHPOINT_REDIS_URL lacks a permission",
    "OTHERSTORE": "another store answers than the one whose records were seen",
    "MOVED": "this node does not own the slot: use one that owns all",
}
_DENIED = frozenset({"NOAUTH", "NOPERM"})
# errors that redis-py knows lose their word; others keep it, scripts of Redis 6 wrap it in their own text
_WORDS: dict[type[RedisError], str] = {
    OutOfMemoryError: "OOM",
    ReadOnlyError: "READONLY",
    MasterDownError: "MASTERDOWN",
    ClusterDownError: "CLUSTERDOWN",
    TryAgainError: "TRYAGAIN",
    NoPermissionError: "NOPERM",
    MovedError: "MOVED",
    AskError: "MOVED",
    AuthenticationError: "NOAUTH",
}
_LISTED = re.compile(r"\b(" + "|".join(_REMEDIES) + r")\b")
# what Lua says of data it cannot read, and Redis of a key of another type; SCRIPT KILL is said the same way
_DAMAGE = re.compile(r"WRONGTYPE|user_script: ?\d+: (?!Script killed)")


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn every redis-py error into StoreUnavailable, or Corrupt where stored data is proven at fault."""
    try:
        yield
    except RedisError as error:
        raise (_damage(error) or unavailable(error)) from error


def unavailable(error: RedisError) -> StoreUnavailable:
    """What a server that is away, busy or refuses this client comes to; so does an error nobody has listed:
    it says nothing about what was sent."""
    if isinstance(error, RedisTimeoutError):
        return StoreUnavailable(f"Redis did not answer in time; what was sent may have arrived ({error})")
    word = _word(error)
    if word:
        kind = AccessDenied if word in _DENIED else StoreUnavailable
        return kind(f"Redis refused: {_REMEDIES[word]} ({error})")
    if isinstance(error, RedisConnectionError):
        return StoreUnavailable(f"Redis cannot be reached: {error}")
    return StoreUnavailable(f"Redis answered with an error: {error or type(error).__name__}")


def _word(error: RedisError) -> str | None:
    listed = _LISTED.search(str(error))
    return _WORDS.get(type(error)) or (listed[1] if listed else None)


def _damage(error: RedisError) -> Corrupt | None:
    if _word(error) or not _DAMAGE.search(str(error)):
        return None
    return Corrupt(f"Redis holds something else than this ledger wrote: {error}")
