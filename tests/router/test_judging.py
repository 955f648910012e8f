"""A look reads the records once, of one moment, and refuses an instant before the start."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from switchpoint.experiment.definition.types import DAY_MS
from switchpoint.experiment.errors import BadInput, NotFound
from switchpoint.experiment.registry.catalog import Catalog
from switchpoint.experiment.registry.model import Content, Format
from switchpoint.experiment.registry.records import Kind
from switchpoint.experiment.store.memory import MemoryLedger, MemoryRecords
from switchpoint.router.judging import Experiments, Survey, look
from tests.experiment.definitions import experiment


class Counted(MemoryRecords):
    """Records that count how often documents are read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: Counter[str] = Counter()

    def list(self, kind: str) -> Any:
        self.read[kind] += 1
        return super().list(kind)

    def get(self, kind: str, key: str) -> Any:
        self.read[kind] += 1
        return super().get(kind, key)


@pytest.fixture
def records() -> Counted:
    """Two versions and two experiments, one of them running since day 3."""
    made = Counted()
    catalog = Catalog(made)
    for letter in "ab":
        content = Content(format=Format.SKOPS, artifact={"model.skops": "sha256:" + letter * 64})
        catalog.register_model("ranker", content, at=0, actor="ana")
    for key, part in (("home", [0.0, 0.5]), ("other", [0.5, 1.0])):
        layer = {"key": "shop", "slice": part}
        catalog.apply(experiment(key=key, layer=layer), at=1, actor="ana")
    catalog.start("home", at=3 * DAY_MS, actor="ana")
    made.read.clear()
    return made


def test_every_record_is_read_once(records: Counted) -> None:
    found = look(Catalog(records), MemoryLedger(), "home", at=4 * DAY_MS)
    assert found.state.key == found.report.header.key == "home"
    assert records.read == {Kind.EXPERIMENT: 1, Kind.MODEL: 1}


class CountedLedger(MemoryLedger):
    """A ledger that counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()

    def __getattribute__(self, name: str) -> Any:
        if name in {"pending", "late", "arrivals", "moments"}:
            self.asked[name] += 1
        return super().__getattribute__(name)


def test_one_reading_serves_any_number_of_looks(records: Counted) -> None:
    """And each is the look that reads everything anew."""
    catalog, ledger = Catalog(records), CountedLedger()
    catalog.start("other", at=3 * DAY_MS, actor="ana")
    records.read.clear()
    ledger.asked.clear()
    survey = Survey(Experiments.read(catalog), ledger)
    found = {key: survey.case(key).look(at=4 * DAY_MS) for key in ("home", "other", "home")}
    assert records.read == {Kind.EXPERIMENT: 1, Kind.MODEL: 1}
    assert ledger.asked == {"pending": 1, "late": 1, "arrivals": 1, "moments": 3}
    for key, one in found.items():
        assert one == look(catalog, ledger, key, at=4 * DAY_MS)


def test_a_look_before_the_start_is_refused_and_one_at_the_start_is_not(records: Counted) -> None:
    catalog = Catalog(records)
    with pytest.raises(BadInput, match=r"home had not started yet.*after 1970-01-04T00:00:00") as caught:
        look(catalog, MemoryLedger(), "home", at=3 * DAY_MS - 1)
    assert caught.value.field == "--at"
    assert look(catalog, MemoryLedger(), "home", at=3 * DAY_MS).report.live.n == 0
    with pytest.raises(NotFound, match="start it first"):
        look(catalog, MemoryLedger(), "other", at=0)


def test_an_experiment_nobody_knows_is_said(records: Counted) -> None:
    with pytest.raises(NotFound, match="unknown experiment nothing"):
        look(Catalog(records), MemoryLedger(), "nothing", at=0)
