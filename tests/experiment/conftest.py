"""A real Redis server for the tests of the record, and projects of their own on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest
import redis

from switchpoint.experiment.registry.records import Records
from switchpoint.experiment.store.embedded.server import EmbeddedServer
from switchpoint.experiment.store.memory import MemoryRecords
from switchpoint.experiment.store.redis.records import RedisRecords
from tests.waiting import patient

_numbers = count(1)


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an embedded server, with its shipped settings, that lives as long as the test session."""
    with EmbeddedServer.start(tmp_path_factory.mktemp("redis"), maxmemory=256 * 1024 * 1024) as server:
        yield server.url


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[redis.Redis]:
    """A client with a patient timeout, as test machines stall."""
    with patient(redis_url) as client:
        yield client


@pytest.fixture
def project() -> str:
    """The name of a project nobody has used."""
    return f"p{next(_numbers)}"


@pytest.fixture(params=["memory", "redis"])
def records(request: pytest.FixtureRequest, project: str) -> Records:
    """Empty records, in memory and in Redis in turn."""
    if request.param == "memory":
        return MemoryRecords()
    return RedisRecords(request.getfixturevalue("redis_client"), project)


@pytest.fixture
def new_records(redis_url: str) -> Iterator[Callable[[], RedisRecords]]:
    """Makes empty Redis records, each of a project of its own."""
    with patient(redis_url) as client:
        yield lambda: RedisRecords(client, f"p{next(_numbers)}")
