"""How every room talks to Redis, and whether a given server can keep the promise of exactly-once counting."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from switchpoint.experiment.errors import AccessDenied, BadInput, PlatformError, StoreUnavailable
from switchpoint.experiment.ledger.codec import DRIFT_SECONDS
from switchpoint.experiment.store.redis.errors import unavailable

URL_VARIABLE = "SWITCHPOINT_REDIS_URL"
CONNECT_SECONDS = 0.25
COMMAND_SECONDS = 0.5
_MINIMUM_VERSION = (6, 2)  # SMISMEMBER


def configured_url(explicit: str | None = None) -> str | None:
    """The URL the operator gave: the argument, else SWITCHPOINT_REDIS_URL, else None (embedded server)."""
    return explicit or os.environ.get(URL_VARIABLE) or None


def connect(url: str, *, timeout: float = COMMAND_SECONDS) -> redis.Redis:
    """A client that fails fast: .25 s to connect, `timeout` seconds per answer, no retries.

    redis-py's own defaults (5 s, ten retries) hold a worker for more than 20 s on a frozen server; callers
    spool and send again instead, which event ids make safe. RESP2, because with RESP3 redis-py lets a
    managed server's maintenance notifications raise the timeout to 10 s. Replies are bytes.

    Raises:
        BadInput: the URL has no scheme that redis-py knows.
    """
    try:
        return redis.Redis.from_url(
            url,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=timeout,
            retry=None,  # given explicitly, None means no retry; left out, it means ten
            decode_responses=False,
            protocol=2,
            # the pool's default of 100 is fewer than the greenlets of one serving worker
            max_connections=1000,
        )
    except ValueError as error:
        raise BadInput(
            f"not a Redis URL: {error}",
            field=URL_VARIABLE,
            value=_without_secret(url),
            fix="use redis://host:6379/0, rediss://host:6379/0 or unix:///path/to/redis.sock",
        ) from None


def _without_secret(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class SmallScript:
    """A script that adds little and bounds it: it runs although the server's memory is full.

    A pause must not wait for memory. Servers before Redis 7 know no such scripts; their refusal stands.
    """

    def __init__(self, client: redis.Redis, text: str) -> None:
        """Nothing is sent before the first call."""
        self._script = client.register_script(text)
        self._beyond = client.register_script(f"#!lua flags=allow-oom\n{text}")

    def __call__(self, *, keys: Sequence[str], args: Sequence[str | int]) -> Any:
        """The script's reply; raises redis-py's errors."""
        try:
            return self._script(keys=keys, args=args)
        except OutOfMemoryError as full:  # before the first write: nothing was done
            try:
                return self._beyond(keys=keys, args=args)
            except ResponseError:
                raise full from None


class Severity(StrEnum):
    """How much a finding matters: with `error` acknowledged counts get lost, `warn` weakens the promise."""

    OK = "ok"
    WARN = "warn"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFinding:
    """One checked setting of a server; `fix` is empty when the severity is ok."""

    name: str
    value: str
    severity: Severity
    fix: str = ""


def check_server(client: redis.Redis) -> list[ServerFinding]:
    """Check version, eviction, persistence, role and cluster mode of a running server.

    Raises:
        StoreUnavailable: it does not answer.
    """
    try:
        info = {str(key): str(value) for key, value in dict(client.info()).items()}
        fsync = _setting(client, "appendfsync")
        policy = info.get("maxmemory_policy") or _setting(client, "maxmemory-policy")
    except RedisError as error:
        raise unavailable(error) from error
    return [
        _version(info),
        _eviction(policy),
        _append_only(info),
        _fsync(fsync),
        _role(info),
        _cluster(info),
    ]


def server_time(client: redis.Redis) -> float:
    """The server's clock, in seconds since 1970. Raises StoreUnavailable."""
    try:
        seconds, microseconds = client.time()
    except RedisError as error:
        raise unavailable(error) from error
    return float(seconds) + microseconds / 1_000_000


def clock_finding(drift: float) -> ServerFinding:
    """What it means that this machine's clock is `drift` seconds ahead of the server's."""
    return _finding(
        "clock",
        f"{abs(drift):.1f} s {'behind' if drift > 0 else 'ahead of'} this machine's",
        Severity.OK if abs(drift) <= DRIFT_SECONDS else Severity.WARN,
        "synchronise this machine and the server (NTP)",
    )


def require_fit(client: redis.Redis) -> None:
    """Refuse a server that would lose what it acknowledged, or that refuses this client.

    A server that is away is not judged: what serves from the last good snapshot may start without it.

    Raises:
        AccessDenied: the password or a permission is missing or wrong.
        PlatformError: a setting is of severity `error`; names it and the fix.
    """
    try:
        wrong = [f for f in check_server(client) if f.severity is Severity.ERROR]
    except AccessDenied:
        raise
    except StoreUnavailable:
        return
    if wrong:
        said = "; ".join(f"{f.name} is {f.value}. Fix: {f.fix}" for f in wrong)
        raise PlatformError(f"this server would lose acknowledged events: {said}")


def _setting(client: redis.Redis, name: str) -> str | None:
    """One value of CONFIG GET; None when the server refuses to say, as managed ones do."""
    try:
        answer = dict(client.config_get(name))
    except ResponseError:  # unknown command, or NOPERM
        return None
    values = [v.decode() if isinstance(v, bytes) else str(v) for v in answer.values()]
    return values[0] if values else None


def _finding(name: str, value: str | None, severity: Severity, fix: str) -> ServerFinding:
    return ServerFinding(
        name=name,
        value="unknown" if value is None else value,
        severity=severity,
        fix="" if severity is Severity.OK else fix,
    )


def _version(info: Mapping[str, str]) -> ServerFinding:
    engine = "valkey" if "valkey_version" in info else "redis"
    version = info.get(f"{engine}_version", "0.0")
    fits = version_of(version) >= _MINIMUM_VERSION
    return _finding(
        "version",
        f"{engine} {version}",
        Severity.OK if fits else Severity.ERROR,
        "use Redis >= 6.2 or Valkey",
    )


def _eviction(policy: str | None) -> ServerFinding:
    severity = {"noeviction": Severity.OK, None: Severity.WARN}.get(policy, Severity.ERROR)
    return _finding(
        "maxmemory-policy",
        policy,
        severity,
        "set maxmemory-policy noeviction: any other policy deletes counts while writes still answer OK",
    )


def _append_only(info: Mapping[str, str]) -> ServerFinding:
    value = {"1": "yes", "0": "no"}.get(info.get("aof_enabled", ""))
    return _finding(
        "appendonly",
        value,
        {"yes": Severity.OK, None: Severity.WARN}.get(value, Severity.ERROR),
        "set appendonly yes: without it acknowledged events since the last snapshot are lost in a crash",
    )


def _fsync(value: str | None) -> ServerFinding:
    return _finding(
        "appendfsync",
        value,
        Severity.OK if value == "always" else Severity.WARN,
        "set appendfsync always (or ask the provider): with everysec about 1 s of acknowledged events may be "
        "lost on power loss",
    )


def _role(info: Mapping[str, str]) -> ServerFinding:
    role = info.get("role")
    severity = {"master": Severity.OK, None: Severity.WARN}.get(role, Severity.ERROR)
    return _finding(
        "role", role, severity, "point SWITCHPOINT_REDIS_URL to the primary: a replica refuses writes"
    )


def _cluster(info: Mapping[str, str]) -> ServerFinding:
    value = {"1": "yes", "0": "no"}.get(info.get("cluster_enabled", ""))
    return _finding(
        "cluster",
        value,
        Severity.WARN if value == "yes" else Severity.OK,
        "this client talks to one node and does not follow redirects: use a node that owns all slots",
    )


def version_of(text: str) -> tuple[int, int]:
    """(major, minor) of a version string."""
    numbers = re.match(r"(\d+)\.(\d+)", text)
    return (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
