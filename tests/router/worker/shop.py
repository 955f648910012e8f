"""A project of many experiments in a real store, with a worker whose clock the test sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from switchpoint.experiment.definition.types import DAY_MS
from switchpoint.experiment.ledger.event import Event, Exposure
from switchpoint.experiment.registry.catalog import Catalog
from switchpoint.experiment.registry.model import Content, Format
from switchpoint.experiment.store.board import Board, board_path
from switchpoint.experiment.store.embedded.server import EmbeddedServer
from switchpoint.experiment.store.known import StoreMemory
from switchpoint.experiment.store.redis.ledger import RedisLedger
from switchpoint.experiment.store.redis.records import RedisRecords
from switchpoint.router.worker.reading import Reading
from switchpoint.router.worker.worker import Worker
from tests.experiment.definitions import experiment
from tests.waiting import patient

START = 20_000 * DAY_MS
"""When experiments start: a midnight in the past."""


@dataclass
class Shop:
    """A project whose time is `now` (ms)."""

    server: EmbeddedServer
    client: redis.Redis
    data: Path
    now: int = START
    board: Board = field(init=False)
    units: int = 0

    def __post_init__(self) -> None:
        self.records = RedisRecords(self.client)
        self.catalog, self.ledger = Catalog(self.records), RedisLedger(self.client)
        self.board = Board(board_path(self.data, "default"))

    def worker(self, *, every: float = 1.0, simulated: bool = False) -> Worker:
        """A worker as a process of its own has it."""
        reading = Reading(
            RedisRecords(self.client), RedisLedger(self.client), StoreMemory(self.data, "default"),
            now=lambda: self.now, simulated=simulated,
        )  # fmt: skip
        return Worker(reading, self.board, every=every)

    def open(self, *keys: str, start: bool = True) -> None:
        """Experiments on one model, in slices of one layer."""
        if not self.catalog.models():
            for letter in "ab":
                content = Content(format=Format.SKOPS, artifact={"model.skops": "sha256:" + letter * 64})
                self.catalog.register_model("ranker", content, at=self.now, actor="ana")
        for key in keys:
            place = len(self.catalog.experiments())
            layer = {"key": "shop", "slice": [place / 100, (place + 1) / 100]}
            self.catalog.apply(experiment(key=key, layer=layer, owner="ana"), at=self.now, actor="ana")
            if start:
                self.catalog.start(key, at=self.now, actor="ana")

    def expose(self, key: str, count: int = 6) -> None:
        """New units of an experiment, every second of which clicks."""
        state, plan = self.catalog.experiment(key), self.catalog.plan()
        events = []
        for _ in range(count):
            self.units += 1
            exposure = Exposure(
                experiment=key, variant=("control", "treatment")[self.units % 2], segment="all", epoch=1,
                revision=state.revision, propensity=0.5, served="control", dimensions={},
            )  # fmt: skip
            unit = f"u{self.units}"
            events.append(Event(id="x", type="exposure", unit=unit, at=self.now, exposure=exposure))
            if self.units % 4 < 2:
                events.append(Event(id="c", type="click", unit=unit, at=self.now + 1))
        self.ledger.record(events, plan)

    def body(self, kind: str, key: str) -> Any:
        """What the board says."""
        found = self.board.get(kind, key)
        assert found is not None
        return found.body

    def at(self, kind: str, key: str) -> int:
        """Of which instant a document of the board is."""
        found = self.board.get(kind, key)
        assert found is not None
        return found.at

    def calls(self) -> Counter[str]:
        """How often the server was asked, by command."""
        stats = self.client.info("commandstats")
        return Counter({name.removeprefix("cmdstat_"): int(found["calls"]) for name, found in stats.items()})


@contextmanager
def shop(folder: Path) -> Iterator[Shop]:
    """A shop on an empty server of its own."""
    with EmbeddedServer.start(folder) as server, patient(server.url) as client:
        made = Shop(server, client, folder)
        yield made
        made.board.close()
