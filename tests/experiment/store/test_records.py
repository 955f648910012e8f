"""One suite for both stores of records, then what only Redis can get wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from switchpoint.experiment.errors import BadInput, Conflict, Corrupt, StoreUnavailable
from switchpoint.experiment.registry.audit import Head, Note, check_chain
from switchpoint.experiment.registry.records import Kind, Put, Records, check
from switchpoint.experiment.store.memory import MemoryRecords
from switchpoint.experiment.store.redis.connection import connect
from switchpoint.experiment.store.redis.keys import ProjectKeys
from switchpoint.experiment.store.redis.records import RedisRecords

NOTE = Note(at=1_700_000_000_000, actor="ana", action="test", subject="something", reason="because")


def put(key: str, body: dict[str, Any], expected: int = 0, kind: str = Kind.EXPERIMENT) -> Put:
    return Put(kind=kind, key=key, body=body, expected_version=expected)


def test_a_commit_is_read_back_with_its_version(records: Records) -> None:
    assert records.get(Kind.EXPERIMENT, "a") is None
    assert records.commit([put("a", {"x": 1})], NOTE) == 1
    assert records.commit([put("a", {"x": 2}, expected=1)], NOTE) == 2
    found = records.get(Kind.EXPERIMENT, "a")
    assert found is not None
    assert (found.kind, found.key, dict(found.body), found.version) == ("experiment", "a", {"x": 2}, 2)
    assert records.revision() == 2


def test_list_gives_one_kind_sorted_by_key(records: Records) -> None:
    records.commit([put("b", {}), put("a", {}), put("m@1", {}, kind=Kind.MODEL)], NOTE)
    assert [d.key for d in records.list(Kind.EXPERIMENT)] == ["a", "b"]
    assert [d.key for d in records.list(Kind.MODEL)] == ["m@1"]
    assert records.list(Kind.DECISION) == []


@pytest.mark.parametrize("expected", [0, 2])
def test_a_conflict_names_the_document_and_writes_nothing(records: Records, expected: int) -> None:
    records.commit([put("a", {"x": 1})], NOTE)
    before = records.head()
    with pytest.raises(Conflict, match=rf"experiment a is at version 1, .* version {expected}"):
        records.commit([put("new", {}), put("a", {"x": 9}, expected=expected)], NOTE)
    assert records.get(Kind.EXPERIMENT, "new") is None
    assert records.head() == before
    assert len(list(records.audit())) == 1


def test_a_commit_for_an_older_project_revision_is_refused(records: Records) -> None:
    records.commit([put("a", {})], NOTE, revision=0)
    with pytest.raises(Conflict, match="project is at revision 1, this change was made for 0"):
        records.commit([put("b", {})], NOTE, revision=0)
    assert records.commit([put("b", {})], NOTE, revision=1) == 2


def test_the_audit_log_holds_every_commit_with_its_documents(records: Records) -> None:
    records.commit([put("a", {"x": 1}), put("b", {"y": 2})], NOTE)
    records.commit([], Note(at=5, actor="bo", action="look", subject="nothing"))
    first, second = records.audit()
    assert [(d.key, dict(d.body), d.version) for d in first.changes] == [
        ("a", {"x": 1}, 1),
        ("b", {"y": 2}, 1),
    ]
    assert first.note == NOTE
    assert (second.seq, second.actor, second.changes) == (2, "bo", ())
    assert list(records.audit(after=1)) == [second]
    assert records.head() == Head(2, second.hash)
    assert check(records) == []


def test_two_changes_of_one_document_in_one_commit_are_a_mistake(records: Records) -> None:
    with pytest.raises(ValueError, match="two changes"):
        records.commit([put("a", {}), put("a", {}, expected=1)], NOTE)


def test_nan_is_refused_before_anything_is_written(records: Records) -> None:
    with pytest.raises(BadInput, match="JSON"):
        records.commit([put("a", {"x": float("nan")})], NOTE)
    assert records.revision() == 0


def test_what_is_stored_cannot_be_changed_through_what_was_given_or_read(records: Records) -> None:
    body: dict[str, Any] = {"list": [1]}
    records.commit([put("a", body)], NOTE)
    body["list"].append(2)
    found = records.get(Kind.EXPERIMENT, "a")
    assert found is not None
    found.body["list"].append(3)
    again = records.get(Kind.EXPERIMENT, "a")
    assert again is not None
    assert again.body == {"list": [1]}
    assert check(records) == []


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
_COMMITS = st.lists(
    st.tuples(
        st.lists(
            st.tuples(
                st.sampled_from("abc"), st.integers(0, 3), st.dictionaries(st.text(), _VALUES, max_size=2)
            ),
            max_size=3,
            unique_by=lambda change: change[0],
        ),
        st.sampled_from([None, 0, 1, 2]),
        st.text(),
    ),
    max_size=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(commits=_COMMITS)
def test_memory_and_redis_answer_alike_whatever_is_committed(
    new_records: Callable[[], RedisRecords], commits: list[Any]
) -> None:
    """Any commits leave the same documents, audit entries and hashes, or the same refusal, in both stores."""
    stores: list[Records] = [MemoryRecords(), new_records()]

    def attempt(records: Records, changes: list[Put], reason: str, revision: int | None) -> object:
        note = Note(at=1, actor="ana", action="test", subject="s", reason=reason)
        try:
            return records.commit(changes, note, revision=revision)
        except Conflict as conflict:
            return str(conflict)

    for documents, revision, reason in commits:
        changes = [put(key, body, expected) for key, expected, body in documents]
        memory, real = (attempt(records, changes, reason, revision) for records in stores)
        assert memory == real
    memory_log, real_log = (list(records.audit()) for records in stores)
    assert memory_log == real_log
    assert stores[0].list(Kind.EXPERIMENT) == stores[1].list(Kind.EXPERIMENT)
    assert check(stores[0]) == check(stores[1]) == []


def test_racing_commits_on_one_document_lose_nothing(records: Records) -> None:
    """Eight threads add up in one document by read, commit and retry: every addition is there, once."""
    records.commit([put("sum", {"x": 0})], NOTE)

    def add(_: int) -> int:
        lost = 0
        while True:
            found = records.get(Kind.EXPERIMENT, "sum")
            assert found is not None
            try:
                records.commit([put("sum", {"x": found.body["x"] + 1}, expected=found.version)], NOTE)
            except Conflict:
                lost += 1
            else:
                return lost

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(80)))
    found = records.get(Kind.EXPERIMENT, "sum")
    assert found is not None
    assert (found.body["x"], found.version) == (80, 81)
    assert check(records) == []


def test_racing_commits_on_different_documents_never_conflict(records: Records) -> None:
    """The audit head is shared by all commits; losing the race for it is nobody's conflict."""
    with ThreadPoolExecutor(8) as pool:
        revisions = list(pool.map(lambda n: records.commit([put(f"k{n}", {"n": n})], NOTE), range(60)))
    assert sorted(revisions) == list(range(1, 61))
    assert check_chain(records.audit()) is None


@pytest.fixture
def filled(redis_client: redis.Redis, project: str) -> RedisRecords:
    """Three commits in Redis."""
    records = RedisRecords(redis_client, project)
    for number in range(3):
        records.commit([put(f"k{number}", {"n": number})], NOTE)
    return records


@pytest.mark.parametrize("seq", [1, 2, 3])
def test_an_altered_audit_entry_is_found(
    filled: RedisRecords, redis_client: redis.Redis, project: str, seq: int
) -> None:
    key = ProjectKeys(project).audit()
    entry = json.loads(cast("bytes", redis_client.lindex(key, seq - 1)))
    entry["actor"] = "mallory"
    redis_client.lset(key, seq - 1, json.dumps(entry))
    assert check(filled)[0] == f"audit entry {seq} was altered, removed or inserted"


def test_a_removed_and_an_inserted_audit_entry_are_found(
    filled: RedisRecords, redis_client: redis.Redis, project: str
) -> None:
    key = ProjectKeys(project).audit()
    second: Any = redis_client.lindex(key, 1)
    third: Any = redis_client.lindex(key, 2)
    redis_client.lrem(key, 1, second)
    assert check(filled)[0].startswith("audit entry 2 ")
    redis_client.linsert(key, "BEFORE", third, second)
    assert check(filled) == []
    redis_client.rpush(key, second)
    assert check(filled)[0].startswith("audit entry 4 ")
    with pytest.raises(Corrupt, match="audit log holds 4 entries"):
        filled.commit([], NOTE)


def test_a_cut_off_end_of_the_audit_log_is_found_by_the_head(
    filled: RedisRecords, redis_client: redis.Redis, project: str
) -> None:
    redis_client.rpop(ProjectKeys(project).audit())
    assert "head" in check(filled)[0]


def test_a_document_changed_behind_the_log_is_named(
    filled: RedisRecords, redis_client: redis.Redis, project: str
) -> None:
    redis_client.hset(ProjectKeys(project).documents("experiment"), "k1", '1 {"n":7}')
    assert check(filled) == ["experiment k1 is not what the audit log says was written"]
    redis_client.hset(ProjectKeys(project).documents("experiment"), "k1", "garbage")
    with pytest.raises(Corrupt, match="experiment k1"):
        filled.get(Kind.EXPERIMENT, "k1")


def test_a_foreign_key_of_the_wrong_type_stops_a_commit_before_it_writes(
    filled: RedisRecords, redis_client: redis.Redis, project: str
) -> None:
    redis_client.set(ProjectKeys(project).documents("model"), "not a hash")
    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        filled.commit([put("new", {}), put("m@1", {}, kind=Kind.MODEL)], NOTE)
    assert filled.get(Kind.EXPERIMENT, "new") is None
    assert filled.revision() == 3


def test_a_commit_works_after_the_server_forgot_its_scripts(
    filled: RedisRecords, redis_client: redis.Redis
) -> None:
    redis_client.script_flush()
    assert filled.commit([put("later", {})], NOTE) == 4


def test_projects_on_one_server_do_not_see_each_other(redis_client: redis.Redis, project: str) -> None:
    mine, other = RedisRecords(redis_client, project), RedisRecords(redis_client, f"{project}-other")
    mine.commit([put("a", {})], NOTE)
    assert other.get(Kind.EXPERIMENT, "a") is None
    assert other.revision() == 0


@pytest.mark.parametrize("name", ["", "a}b", "a:b", "A", "x" * 65, "a\n"])
def test_a_project_name_cannot_leave_its_namespace(redis_client: redis.Redis, name: str) -> None:
    with pytest.raises(BadInput, match="project"):
        RedisRecords(redis_client, name)


def test_an_absent_server_is_store_unavailable() -> None:
    with connect("unix:///nonexistent/redis.sock") as client:
        records = RedisRecords(client)
        with pytest.raises(StoreUnavailable):
            records.revision()
        with pytest.raises(StoreUnavailable):
            records.commit([], NOTE)
