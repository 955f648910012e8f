"""The ledger tests run on every Redis and Valkey binary of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import redis

from switchpoint.experiment.ledger.protocol import Ledger
from switchpoint.experiment.store.embedded import binary
from switchpoint.experiment.store.embedded.server import EmbeddedServer
from switchpoint.experiment.store.memory import MemoryLedger
from switchpoint.experiment.store.redis.ledger import RedisLedger
from tests.waiting import patient


def installed() -> list[binary.ServerBinary]:
    """Every server that can be embedded here."""
    found = (binary._probe(path, origin) for path, origin in binary._candidates())
    return [server for server in found if server]


ENGINES = {f"{found.engine}-{found.origin}": found for found in installed()}


@pytest.fixture(scope="session")
def ledger_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], EmbeddedServer]]:
    """Starts the server of an engine, once per session."""
    started: dict[str, EmbeddedServer] = {}
    with ExitStack() as stack:

        def start(engine: str) -> EmbeddedServer:
            if engine not in started:
                server = EmbeddedServer.start(
                    tmp_path_factory.mktemp("ledger"), binary=ENGINES[engine], maxmemory=512 << 20
                )
                started[engine] = stack.enter_context(server)
            return started[engine]

        yield start


@pytest.fixture(params=ENGINES)
def ledger_client(
    request: pytest.FixtureRequest, ledger_servers: Callable[[str], EmbeddedServer]
) -> Iterator[redis.Redis]:
    """A client of an empty server, each engine in turn."""
    with patient(ledger_servers(request.param).url) as client:
        client.flushall()
        yield client


@pytest.fixture(params=["memory", *(f"{engine} x{shards}" for engine in ENGINES for shards in (1, 3))])
def make_ledger(
    request: pytest.FixtureRequest, ledger_servers: Callable[[str], EmbeddedServer]
) -> Iterator[Callable[[], Ledger]]:
    """Opens a ledger on one and the same empty store: memory, and each engine with 1 and 3 shards."""
    if request.param == "memory":
        memory = MemoryLedger()
        yield lambda: memory
        return
    engine, shards = request.param.split(" x")
    with patient(ledger_servers(engine).url) as client:
        client.flushall()
        yield lambda: RedisLedger(client, shards=int(shards), unit_buckets=64, id_buckets=16)
