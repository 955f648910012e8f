"""Redis failures as Switchpoint errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import (
    AuthenticationError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from experiment.errors import AccessDenied, Corrupt, StoreUnavailable

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
    AuthenticationError: "NOAUTH",
}
_UNAVAILABLE = re.compile(r"\b(" + "|".join(_REMEDIES) + r")\b")


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn every redis-py error into StoreUnavailable, or Corrupt where the stored data is at fault."""
    try:
        yield
    except RedisError as error:
        raise (
            unavailable(error) or Corrupt(f"Redis holds something else than this ledger wrote: {error}")
        ) from error


def unavailable(error: RedisError) -> StoreUnavailable | None:
    """What a server that is away, busy or refuses this client comes to; None where it is none of these."""
    found = _UNAVAILABLE.search(str(error))
    word = _WORDS.get(type(error)) or (found and found[1])
    if word:
        kind = AccessDenied if word in _DENIED else StoreUnavailable
        return kind(f"Redis refused: {_REMEDIES[word]} ({error})")
    if isinstance(error, RedisTimeoutError):
        return StoreUnavailable(f"Redis did not answer in time; what was sent may have arrived ({error})")
    if isinstance(error, RedisConnectionError):
        return StoreUnavailable(f"Redis cannot be reached: {error}")
    return None
