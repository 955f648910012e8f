"""A data directory knows its store again: empty, older and foreign ones are refused, continued ones are not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchpoint.experiment.errors import StoreReverted
from switchpoint.experiment.registry.audit import Note
from switchpoint.experiment.registry.records import Kind, Put, Records
from switchpoint.experiment.store.journal import export, journal_head, journal_path, restore
from switchpoint.experiment.store.known import KnownStore, StoreMemory
from switchpoint.experiment.store.memory import MemoryRecords
from switchpoint.experiment.store.redis.records import RedisRecords

KNOWN = Path("serving") / "default" / "store.json"


def write(records: Records, *words: str) -> None:
    for word in words:
        known = records.get(Kind.EXPERIMENT, "k")
        version = known.version if known else 0
        put = Put(kind=Kind.EXPERIMENT, key="k", body={"word": word}, expected_version=version)
        records.commit([put], Note(at=1, actor="ana", action="write", subject="k"))


def test_a_store_gets_its_identity_with_its_first_commit_and_keeps_it(records: Records) -> None:
    assert records.identity() is None
    write(records, "a")
    identity = records.identity()
    assert identity is not None
    assert len(identity) == 32
    write(records, "b")
    assert records.identity() == identity


def test_two_stores_have_two_identities(new_records: Callable[[], RedisRecords]) -> None:
    first, second = MemoryRecords(), new_records()
    write(first, "a")
    write(second, "a")
    assert first.head() == second.head()  # the chain cannot tell them apart
    assert first.identity() != second.identity()


def test_a_new_directory_knows_nothing_and_takes_any_store(records: Records, tmp_path: Path) -> None:
    memory = StoreMemory(tmp_path, "default")
    memory.remember(records)  # nothing was committed: nothing to know
    assert memory.known() is None
    write(records, "a", "b")
    assert memory.contradiction(records) is None
    memory.remember(records)
    assert memory.known() == KnownStore(identity=records.identity(), revision=2, hash=records.head().hash)
    assert (tmp_path / KNOWN).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "the store is empty, but this data directory has seen it at revision 3"),
        ("a", "the store is at revision 1, but this data directory has seen it at revision 3"),
        ("ab", "the store is at revision 2, but this data directory has seen it at revision 3"),
        ("abx", "the store has another history: this data directory has seen it at revision 3"),
        ("xyzabc", "the store has another history: this data directory has seen it at revision 3"),
    ],
    ids=["empty", "older", "one behind", "other at the same revision", "other and longer"],
)
def test_a_store_that_went_back_is_named(records: Records, tmp_path: Path, words: str, said: str) -> None:
    known, memory = MemoryRecords(), StoreMemory(tmp_path, "default")
    write(known, *"abc")
    memory.remember(known)
    write(records, *words)
    with pytest.raises(StoreReverted) as refusal:
        memory.require(records)
    assert str(refusal.value).startswith(said)
    assert "`switchpoint restore JOURNAL`" in str(refusal.value)
    export(known, journal_path(tmp_path, "default"))
    assert f"`switchpoint restore {journal_path(tmp_path, 'default')}`" in str(memory.contradiction(records))


@given(seen=st.text("ab", min_size=1, max_size=6), kept=st.integers(0, 6), more=st.text("ab", max_size=6))
def test_a_store_is_known_again_exactly_when_it_continues_what_was_seen(
    seen: str, kept: int, more: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    memory, before, now = (
        StoreMemory(tmp_path_factory.mktemp("d"), "default"),
        MemoryRecords(),
        MemoryRecords(),
    )
    write(before, *seen)
    memory.remember(before)
    history = seen[:kept] + more
    write(now, *history)
    assert (memory.contradiction(now) is None) == history.startswith(seen)


def test_a_restored_store_continues_what_was_seen(
    records: Records, new_records: Callable[[], RedisRecords], tmp_path: Path
) -> None:
    memory, path = StoreMemory(tmp_path, "default"), journal_path(tmp_path, "default")
    write(records, *"abc")
    export(records, path)
    memory.remember(records)
    target = new_records()
    assert memory.contradiction(target) is not None
    restore(path, target)
    assert memory.contradiction(target) is None
    memory.remember(target)
    known = memory.known()
    assert known is not None
    assert known.identity == target.identity() != records.identity()


def test_the_journal_knows_where_the_directory_has_no_file_of_its_own(
    records: Records, tmp_path: Path
) -> None:
    """Also beside a file that a crash cut short."""
    write(records, *"ab")
    export(records, journal_path(tmp_path, "default"))
    memory = StoreMemory(tmp_path, "default")
    for text in (None, "", "{", '{"identity": null}', "[]", "\x00" * 90):
        if text is not None:
            (tmp_path / KNOWN).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / KNOWN).write_text(text)
        assert memory.known() == KnownStore(identity=None, revision=2, hash=records.head().hash)
    assert memory.contradiction(MemoryRecords()) is not None
    assert memory.contradiction(records) is None
    journal_path(tmp_path, "default").write_text("damaged\n")
    assert memory.known() is None


def test_another_project_of_the_directory_is_another_store(tmp_path: Path) -> None:
    records = MemoryRecords()
    write(records, "a")
    StoreMemory(tmp_path, "default").remember(records)
    assert StoreMemory(tmp_path, "other").contradiction(MemoryRecords()) is None


def test_what_is_known_is_written_only_when_it_changed(records: Records, tmp_path: Path) -> None:
    memory = StoreMemory(tmp_path, "default")
    write(records, "a")
    memory.remember(records)
    before = (tmp_path / KNOWN).stat().st_ino
    memory.remember(records)
    assert (tmp_path / KNOWN).stat().st_ino == before
    write(records, "b")
    memory.remember(records)
    assert json.loads((tmp_path / KNOWN).read_text())["revision"] == 2
    assert [path.name for path in (tmp_path / KNOWN).parent.iterdir()] == ["store.json"]


def test_the_ledgers_settings_stay_known_with_the_store_that_comes_after(
    records: Records, tmp_path: Path
) -> None:
    memory = StoreMemory(tmp_path, "default")
    memory.remember_ledger({"shards": 2})  # of no store that is known
    assert memory.known() is None
    write(records, "a")
    memory.remember(records)
    memory.remember_ledger({"shards": 3})
    write(records, "b")
    memory.remember(records)
    memory.remember_ledger({})
    assert memory.known() == KnownStore(
        identity=records.identity(), revision=2, hash=records.head().hash, ledger={"shards": 3}
    )


def test_the_journals_head_is_read_without_cutting_what_is_being_written(
    records: Records, tmp_path: Path
) -> None:
    path = journal_path(tmp_path, "default")
    write(records, *"ab")
    export(records, path)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"seq": 3, "act')
    assert journal_head(path) == records.head()
    assert path.read_bytes() == whole + b'{"seq": 3, "act'
    write(records, "c")
    assert export(records, path) == 1
    assert path.read_bytes().startswith(whole)
    assert journal_head(path) == records.head()
