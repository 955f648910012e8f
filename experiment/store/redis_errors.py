"""Redis failures as Switchpoint errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import (
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

from experiment.errors import Corrupt, StoreUnavailable

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
    "NOAUTH": "the URL needs a password",
    "WRONGPASS": "the URL's password is wrong",
    "NOPERM": "the user of the URL lacks a permission",
}
# errors that redis-py knows lose their word; others keep it, scripts of Redis 6 wrap it in their own text
_WORDS: dict[type[RedisError], str] = {
    OutOfMemoryError: "OOM",
    ReadOnlyError: "READONLY",
    MasterDownError: "MASTERDOWN",
    ClusterDownError: "CLUSTERDOWN",
    TryAgainError: "TRYAGAIN",
    NoPermissionError: "NOPERM",
}
_UNAVAILABLE = re.compile(r"\b(" + "|".join(_REMEDIES) + r")\b")


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn every redis-py error into StoreUnavailable, or Corrupt where the stored data is at fault."""
    try:
        yield
    except RedisTimeoutError as error:
        raise StoreUnavailable(
            f"Redis did not answer in time; what was sent may have arrived ({error})"
        ) from error
    except RedisConnectionError as error:
        raise StoreUnavailable(f"Redis cannot be reached: {error}") from error
    except RedisError as error:
        found = _UNAVAILABLE.search(str(error))
        word = _WORDS.get(type(error)) or (found and found[1])
        if word:
            raise StoreUnavailable(f"Redis refused: {_REMEDIES[word]} ({error})") from error
        raise Corrupt(f"Redis holds something else than this ledger wrote: {error}") from error
