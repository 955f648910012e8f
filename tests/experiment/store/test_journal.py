"""The exported journal rebuilds the records, and refuses to hide that something is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from switchpoint.experiment.errors import Corrupt, NotFound, Refused
from switchpoint.experiment.registry.audit import Note
from switchpoint.experiment.registry.records import Kind, Put, Records, check
from switchpoint.experiment.store.journal import export, read_journal, restore
from switchpoint.experiment.store.memory import MemoryRecords
from switchpoint.experiment.store.redis.records import RedisRecords


def write(records: Records, *numbers: int) -> None:
    for number in numbers:
        key = f"k{number % 3}"
        known = records.get(Kind.EXPERIMENT, key)
        change = Put(
            kind=Kind.EXPERIMENT,
            key=key,
            body={"n": number, "share": number / 7, "text": "é\u2028"},
            expected_version=known.version if known else 0,
        )
        records.commit([change], Note(at=number, actor="ana", action="write", subject=key, reason="test"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "journal.jsonl"


def test_a_restored_store_equals_the_exported_one(
    records: Records, new_records: Callable[[], RedisRecords], path: Path
) -> None:
    """Documents, versions, revision, and every audit entry with its hash."""
    write(records, *range(10))
    assert export(records, path) == 10
    for target in (MemoryRecords(), new_records()):
        assert restore(path, target) == 10
        assert target.list(Kind.EXPERIMENT) == records.list(Kind.EXPERIMENT)
        assert list(target.audit()) == list(records.audit())
        assert target.head() == records.head()
        assert check(target) == []
        write(target, 11)


def test_export_appends_only_what_is_new(records: Records, path: Path) -> None:
    assert export(records, path) == 0
    write(records, 1, 2)
    assert export(records, path) == 2
    first = path.read_bytes()
    assert export(records, path) == 0
    write(records, 3)
    assert export(records, path) == 1
    assert path.read_bytes().startswith(first)
    assert read_journal(path) == list(records.audit())


def test_what_is_to_be_there_before_the_records_is(records: Records, path: Path) -> None:
    """Not where nothing is restored."""
    write(records, 1)
    export(records, path)
    fresh, seen = MemoryRecords(), list[int]()
    restore(path, fresh, prepare=lambda: seen.append(fresh.head().seq))
    assert seen == [0]
    write(fresh, 2)
    with pytest.raises(Refused):
        restore(path, fresh, prepare=lambda: seen.append(fresh.head().seq))
    assert seen == [0]


def test_a_restored_store_goes_on_with_the_same_journal(records: Records, path: Path) -> None:
    write(records, 1, 2)
    export(records, path)
    rebuilt = MemoryRecords()
    restore(path, rebuilt)
    write(rebuilt, 3)
    assert export(rebuilt, path) == 1
    assert len(read_journal(path)) == 3


@pytest.mark.parametrize("cut", [1, 10, 200])
def test_a_line_cut_short_by_a_crash_is_written_again(records: Records, path: Path, cut: int) -> None:
    write(records, 1, 2, 3)
    export(records, path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with pytest.raises(Corrupt, match="line 3 is cut short"):
        restore(path, MemoryRecords())
    assert export(records, path) == 1
    assert path.read_bytes() == whole


def test_a_first_line_cut_short_is_written_again(records: Records, path: Path) -> None:
    write(records, 1)
    export(records, path)
    whole = path.read_bytes()
    path.write_bytes(whole[:20])
    assert export(records, path) == 1
    assert path.read_bytes() == whole


def test_lines_longer_than_the_tail_that_is_read_are_found(path: Path) -> None:
    records = MemoryRecords()
    note = Note(at=1, actor="ana", action="write", subject="big")
    for number in range(3):
        records.commit(
            [Put(kind="model", key=f"m@{number}", body={"x": "y" * 300_000}, expected_version=0)], note
        )
        assert export(records, path) == 1
    assert export(records, path) == 0


@pytest.mark.parametrize("line", [0, 1, 2])
def test_an_altered_line_is_not_restored(path: Path, line: int) -> None:
    records = MemoryRecords()
    write(records, 1, 2, 3)
    export(records, path)
    lines = path.read_text().splitlines()
    entry = json.loads(lines[line])
    entry["changes"][0]["body"]["n"] = 99
    lines[line] = json.dumps(entry, sort_keys=True, separators=(",", ":"))
    path.write_text("\n".join(lines) + "\n")
    target = MemoryRecords()
    with pytest.raises(Corrupt, match=f"entry {line + 1} was altered"):
        restore(path, target)
    assert target.revision() == 0


def test_records_that_lost_commits_are_noticed_by_export(path: Path) -> None:
    records = MemoryRecords()
    write(records, 1, 2, 3)
    export(records, path)
    before = path.read_bytes()
    lost, other = MemoryRecords(), MemoryRecords()
    write(lost, 1, 2)
    write(other, 4, 5, 6, 7)
    for wrong in (lost, other, MemoryRecords()):
        with pytest.raises(Corrupt, match="restore the journal into an empty store"):
            export(wrong, path)
    assert path.read_bytes() == before


def test_a_store_with_other_records_is_not_overwritten(path: Path) -> None:
    records, other = MemoryRecords(), MemoryRecords()
    write(records, 1, 2)
    export(records, path)
    write(other, 5)
    with pytest.raises(Refused, match="not empty"):
        restore(path, other)
    write(records, 3)
    with pytest.raises(Refused, match="not empty"):
        restore(path, records)


def test_an_interrupted_restore_is_finished_by_the_next(path: Path) -> None:
    records, target = MemoryRecords(), MemoryRecords()
    write(records, 1, 2, 3)
    export(records, path)
    write(target, 1)
    assert restore(path, target) == 2
    assert target.head() == records.head()
    assert restore(path, target) == 0


def test_several_exporters_write_every_entry_once(path: Path) -> None:
    records = MemoryRecords()

    def work(number: int) -> int:
        records.commit([], Note(at=number, actor="ana", action="write", subject="s"))
        return export(records, path)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(40))) == 40
    assert read_journal(path) == list(records.audit())


def test_a_missing_journal_is_said_to_be_missing(path: Path) -> None:
    with pytest.raises(NotFound, match=str(path)):
        restore(path, MemoryRecords())
