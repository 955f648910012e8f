"""Fixtures of the router's tests: an embedded server with a started experiment, and gunicorn over it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from switchpoint.experiment.registry.catalog import Catalog
from switchpoint.experiment.store.embedded.server import EmbeddedServer
from switchpoint.experiment.store.redis.ledger import RedisLedger
from switchpoint.experiment.store.redis.records import RedisRecords
from switchpoint.router.serving.launch import ServingProcess, free_port
from tests.router import world
from tests.waiting import patient, until


class WarmServing(ServingProcess):
    """Waits for the models of every worker: on a busy machine they may load after the first request came,
    which then rightly falls back, and that is not what most tests are about."""

    def start(self, *, ready: bool = True) -> None:
        """Start, then ask until some answers in a row (any worker may give one) have loaded all models."""
        super().start(ready=ready)
        until(lambda: all(self._loaded() for _ in range(8)))

    def _loaded(self) -> bool:
        models = self.ready_facts()["models"]
        assert isinstance(models, dict)
        return bool(models["loaded"] and not models["not_loaded"])


@dataclass
class Project:
    """A store with the test world in it."""

    server: EmbeddedServer
    data: Path
    catalog: Catalog
    ledger: RedisLedger

    def serving(self, *, environ: Mapping[str, str] | None = None, **options: object) -> ServingProcess:
        """gunicorn over this project on a free port, not started; it starts with its models loaded.

        Its deadline is generous: on a busy machine a fallback would be the machine's fault.
        """
        patient = {"SWITCHPOINT_DEADLINE_MS": "30000", **(environ or {})}
        return WarmServing(
            redis_url=self.server.url, data=self.data, port=free_port(), environ=patient, **options  # type: ignore[arg-type]
        )  # fmt: skip


def make_project(data: Path) -> Iterator[Project]:
    with EmbeddedServer.start(data) as server:
        client = patient(server.url)
        catalog = world.build(RedisRecords(client), data)
        yield Project(server, data, catalog, RedisLedger(client))
        client.close()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A store of one test's own."""
    yield from make_project(tmp_path)


@pytest.fixture(scope="module")
def shared_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A store for the tests of one module that leave it running."""
    yield from make_project(tmp_path_factory.mktemp("shared"))
