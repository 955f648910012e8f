"""The snapshot: compiled once, swapped whole, kept on disk, still served when the store is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from switchpoint.experiment.definition.types import ModelRef
from switchpoint.experiment.errors import NotFound, StoreUnavailable
from switchpoint.experiment.store.memory import MemoryRecords
from switchpoint.router.serving.wsgi import RecordsSource
from switchpoint.router.snapshot import Document, Snapshot, SnapshotHolder, load_copy
from tests.router import world


class Source:
    """A source that can be switched off."""

    def __init__(self, records: MemoryRecords) -> None:
        self.inner, self.away, self.reads = RecordsSource(records), False, 0

    def stamp(self) -> str:
        if self.away:
            raise StoreUnavailable("away")
        return self.inner.stamp()

    def document(self) -> Document:
        self.reads += 1
        return self.inner.document()


@pytest.fixture
def records(tmp_path: Path) -> MemoryRecords:
    records = MemoryRecords()
    world.build(records, tmp_path)
    return records


def snapshot(records: MemoryRecords) -> Snapshot:
    return Snapshot.from_document(RecordsSource(records).document())


def test_running_experiment_routes_its_model(records: MemoryRecords) -> None:
    """An enrolled unit of the model goes to its variant's version."""
    current = snapshot(records)
    assignment, ref = current.route("ranker", "u1", {"country": "US"})
    assert assignment is not None
    assert assignment.enrolled
    assert ref == assignment.model


def test_unit_left_out_gets_the_champion_and_is_not_enrolled(records: MemoryRecords, tmp_path: Path) -> None:
    """Outside the traffic share the champion answers, whatever control is."""
    from switchpoint.experiment.registry.catalog import Catalog

    Catalog(records).crown(ModelRef("ranker", 2), reason="test", at=world.now_ms(), actor="t")
    current = snapshot(records)
    found = [current.entry(world.EXPERIMENT).assign(f"u{i}", {"country": "FR"}) for i in range(200)]
    left_out = [a for a in found if not a.enrolled]
    assert 120 < len(left_out) < 195
    assert {a.model for a in left_out} == {ModelRef("ranker", 2)}
    assert {a.variant for a in left_out} == {"control"}


def test_paused_experiment_leaves_the_champion(records: MemoryRecords) -> None:
    """Nobody is enrolled while paused; the model's champion serves."""
    from switchpoint.experiment.registry.catalog import Catalog

    Catalog(records).pause(world.EXPERIMENT, at=world.now_ms(), actor="t")
    current = snapshot(records)
    assert current.running == ()
    assert current.route("ranker", "u1", {}) == (None, ModelRef("ranker", 1))
    assert not current.entry(world.EXPERIMENT).assign("u1", {}).enrolled


def test_unknown_experiment_is_named(records: MemoryRecords) -> None:
    with pytest.raises(NotFound, match="no experiment 'nope'"):
        snapshot(records).entry("nope")


def test_live_versions_are_what_a_call_may_need(records: MemoryRecords) -> None:
    assert {str(v.ref) for v in snapshot(records).live_versions()} == {"ranker@1", "ranker@2"}


def test_refresh_reads_only_on_a_new_revision(records: MemoryRecords) -> None:
    """The stamp is asked each time, the documents only when it moved."""
    from switchpoint.experiment.registry.catalog import Catalog

    source = Source(records)
    holder = SnapshotHolder(source)
    assert holder.refresh()
    assert holder.refresh()
    assert source.reads == 1
    Catalog(records).pause(world.EXPERIMENT, at=world.now_ms(), actor="t")
    assert holder.refresh()
    assert source.reads == 2
    assert holder.current.running == ()


def test_outage_keeps_the_last_snapshot_and_says_stale(records: MemoryRecords) -> None:
    clock = [0.0]
    source = Source(records)
    holder = SnapshotHolder(source, clock=lambda: clock[0])
    holder.refresh()
    source.away, clock[0] = True, 5.0
    assert not holder.refresh()
    clock[0] = 8.0
    assert holder.current.running == (world.EXPERIMENT,)
    assert holder.stale_seconds == 3.0
    source.away = False
    assert holder.refresh()
    assert holder.stale_seconds == 0.0


def test_starts_from_the_copy_on_disk_when_the_store_is_away(records: MemoryRecords, tmp_path: Path) -> None:
    """A restarted process assigns exactly as before although it never reached the store."""
    path = tmp_path / "copy" / "snapshot.json"
    first = SnapshotHolder(Source(records), path)
    first.refresh()
    gone = Source(records)
    gone.away = True
    second = SnapshotHolder(gone, path)
    assert second.loaded
    assert not second.refresh()
    assert path.stat().st_mode & 0o077 == 0
    for i in range(100):
        before = first.current.entry(world.EXPERIMENT).assign(f"u{i}", {"country": "US"})
        assert second.current.entry(world.EXPERIMENT).assign(f"u{i}", {"country": "US"}) == before


def test_damaged_copy_is_ignored(records: MemoryRecords, tmp_path: Path) -> None:
    """A flipped byte is found by the digest; the process starts empty instead of wrong."""
    path = tmp_path / "snapshot.json"
    SnapshotHolder(Source(records), path).refresh()
    path.write_text(path.read_text().replace('"US"', '"UK"'))
    assert load_copy(path) is None
    path.write_bytes(b"\xff\x00")
    assert load_copy(path) is None
    assert load_copy(tmp_path / "none.json") is None


def test_copy_of_another_store_is_replaced(records: MemoryRecords, tmp_path: Path) -> None:
    """A wiped and rebuilt store may have the same revision number; its content still wins."""
    path = tmp_path / "snapshot.json"
    SnapshotHolder(Source(records), path).refresh()
    other = MemoryRecords()
    world.build(other, tmp_path / "other")
    assert other.revision() == records.revision()
    holder = SnapshotHolder(Source(other), path)
    assert holder.refresh()
    assert holder.current.document == RecordsSource(other).document()


def test_revision_that_cannot_be_compiled_leaves_the_last_good_one(records: MemoryRecords) -> None:
    source = Source(records)
    holder = SnapshotHolder(source)
    holder.refresh()
    broken = {**RecordsSource(records).document(), "experiments": [{"nonsense": 1}]}
    source.inner = type("Broken", (), {"stamp": lambda _: "x", "document": lambda _: broken})()
    assert not holder.refresh()
    assert holder.current.running == (world.EXPERIMENT,)


def test_prepare_runs_before_the_swap(records: MemoryRecords) -> None:
    """Models of a new revision are loaded while the old one still answers."""
    seen: list[tuple[int, int]] = []
    holder = SnapshotHolder(
        Source(records), prepare=lambda new: seen.append((new.revision, holder.current.revision))
    )
    holder.refresh()
    assert seen == [(records.revision(), 0)]
