"""`verify` proves that ledger and log agree, or names the cell, or the unit and its first event."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping

import pytest
import redis

from switchpoint.experiment.errors import Conflict
from switchpoint.experiment.ledger.event import Event
from switchpoint.experiment.ledger.moments import Cell
from switchpoint.experiment.ledger.verify import verify
from switchpoint.experiment.store.memory import MemoryLedger
from switchpoint.experiment.store.redis.keys import ShardKeys, bucket_of, unit_digest
from switchpoint.experiment.store.redis.ledger import RedisLedger
from tests.experiment.store.ledgers import ONE, START, exposure, hash_of, log_of, outcome, purchase, traffic

BUCKETS = 8


@pytest.fixture
def ledger(redis_client: redis.Redis, project: str) -> RedisLedger:
    """A ledger with made-up traffic."""
    found = RedisLedger(redis_client, project, unit_buckets=BUCKETS, id_buckets=4, batch=20)
    found.record(traffic(3, 50)[::-1], ONE)
    found.record(
        [exposure("x", "unit", START), outcome("o", "unit", START + 5), purchase("p", "unit", START + 9, 3)],
        ONE,
    )
    return found


def _bucket(project: str) -> str:
    return ShardKeys(project, 0).units(bucket_of(unit_digest("unit"), BUCKETS))


def _a_cell(client: redis.Redis, key: str) -> bytes:
    """The name of a cell that units are in; cells that all have left stay behind as zeros."""
    return min(field for field, blob in hash_of(client, key).items() if blob.strip(b"\0"))


def test_an_untouched_ledger_is_proved(ledger: RedisLedger) -> None:
    assert ledger.pending() > 0
    assert verify(ledger, ONE) == []
    assert ledger.pending() == 0


def test_a_changed_cell_is_named_with_both_values(
    ledger: RedisLedger, redis_client: redis.Redis, project: str
) -> None:
    ledger.refold(ONE)
    key = ShardKeys(project, 0).cells(1)
    field = _a_cell(redis_client, key)
    blob = hash_of(redis_client, key)[field]
    n, *rest = struct.unpack(f"<{len(blob) // 8}d", blob)
    redis_client.hset(key, field, struct.pack(f"<{len(blob) // 8}d", n + 1, *rest))
    (found,) = verify(ledger, ONE)
    assert found.cell is not None
    assert isinstance(found.live, Cell)
    assert isinstance(found.folded, Cell)
    assert found.live.n == found.folded.n + 1
    assert "cell experiment home · epoch 1 · segment " in found.problem
    assert found.problem.endswith(f": units: ledger {int(n) + 1}, log {int(n)}"), "and nothing that agrees"


def test_a_missing_cell_is_named(ledger: RedisLedger, redis_client: redis.Redis, project: str) -> None:
    ledger.refold(ONE)
    key = ShardKeys(project, 0).cells(1)
    redis_client.hdel(key, _a_cell(redis_client, key))
    (found,) = verify(ledger, ONE)
    assert found.live is None
    assert "not in the ledger; log: units " in found.problem


@pytest.mark.parametrize("blob", [b"", b"x" * 7, b"\xff" * 200])
def test_an_unreadable_cell_is_named(
    ledger: RedisLedger, redis_client: redis.Redis, project: str, blob: bytes
) -> None:
    ledger.refold(ONE)
    key = ShardKeys(project, 0).cells(1)
    field = _a_cell(redis_client, key)
    redis_client.hset(key, field, blob)
    (found,) = verify(ledger, ONE)
    assert found.experiment == "home"
    assert f"cell {field.decode()} (epoch:segment:variant:day:" in found.problem
    assert "b'" not in found.problem


def test_a_broken_cell_that_stops_the_refold_is_named_too(
    ledger: RedisLedger, redis_client: redis.Redis, project: str
) -> None:
    key = ShardKeys(project, 0).cells(1)
    redis_client.hset(key, mapping=dict.fromkeys(redis_client.hkeys(key), b"x"))
    stuck, cell, *units = verify(ledger, ONE)
    assert "pending units cannot be refolded" in stuck.problem
    assert re.match(r"cell \d+:", cell.problem)
    assert all(found.unit or found.problem.startswith("count ") for found in units)


def test_a_changed_record_names_the_unit_and_its_first_event(
    ledger: RedisLedger, redis_client: redis.Redis, project: str
) -> None:
    raw = hash_of(redis_client, _bucket(project))[b"unit"]
    totals = struct.pack("<6i", 1, 0, 1, 300, 0, 0)
    assert raw.endswith(totals)
    redis_client.hset(
        _bucket(project), "unit", raw.removesuffix(totals) + struct.pack("<6i", 1, 0, 1, 299, 0, 0)
    )
    (found,) = verify(ledger, ONE)
    assert (found.unit, found.first_event) == ("unit", exposure("x", "unit", START))
    assert "unit unit, first event x at 2026-02-16T00:00:00.000+00:00" in found.problem
    (change,) = found.problem.partition("+00:00: ")[2].split("; ")
    assert change == "in home: total of purchase.amount: ledger 299, log 300"


@pytest.mark.parametrize("raw", [b"", b"short", b"\xff" * 61])
def test_an_unreadable_record_names_the_unit_and_its_first_event(
    ledger: RedisLedger, redis_client: redis.Redis, project: str, raw: bytes
) -> None:
    redis_client.hset(_bucket(project), "unit", raw)
    (found,) = verify(ledger, ONE)
    assert (found.unit, found.live, found.first_event) == ("unit", None, exposure("x", "unit", START))
    assert "cannot be read" in found.problem


def test_a_lost_record_and_a_record_without_events_are_named(
    ledger: RedisLedger, redis_client: redis.Redis, project: str
) -> None:
    raw = hash_of(redis_client, _bucket(project))[b"unit"]
    redis_client.hdel(_bucket(project), "unit")
    redis_client.hset(_bucket(project), "ghost", raw)
    problems = [found.problem for found in verify(ledger, ONE)]
    assert [p.partition(",")[0] for p in problems] == [
        "unit unit",
        "unit ghost has a record but no event on the log",
    ]
    assert problems[0].endswith("it has no record")


def test_a_log_that_lost_an_entry_is_noticed(
    ledger: RedisLedger, redis_client: redis.Redis, project: str
) -> None:
    assert verify(ledger, ONE) == []
    log = ShardKeys(project, 0).log()
    redis_client.xdel(log, log_of(redis_client, log)[-1][0])
    assert {found.unit for found in verify(ledger, ONE) if found.unit} >= {"unit"}


class Busy(MemoryLedger):
    """A ledger that gets an event whenever its cells are read."""

    def __init__(self, calm_after: int) -> None:
        super().__init__()
        self.left = calm_after

    def events(self, after: Mapping[str, str] | None = None) -> Iterator[Event]:
        found = list(super().events(after))
        if self.left:
            self.left -= 1
            self.record([outcome(f"o{self.left}", "u", START)], ONE)
        return iter(found)


def test_events_that_arrive_meanwhile_are_read_as_well() -> None:
    ledger = Busy(calm_after=5)
    ledger.record([exposure("x", "u", START)], ONE)
    assert verify(ledger, ONE) == []


def test_a_ledger_that_never_stands_still_is_no_proof() -> None:
    with pytest.raises(Conflict, match="less traffic"):
        verify(Busy(calm_after=10**6), ONE)


@pytest.mark.parametrize("field", ["x", "t:3", "e:1:0", "c:1:1", "d:1"])
def test_a_changed_count_of_arrivals_is_named_with_both_values(
    ledger: RedisLedger, redis_client: redis.Redis, project: str, field: str
) -> None:
    assert verify(ledger, ONE) == []
    key = ShardKeys(project, 0).arrivals()
    was = int(redis_client.hget(key, field) or 0)
    redis_client.hset(key, field, was + 2)
    (found,) = verify(ledger, ONE)
    assert found.problem.startswith("count ")
    assert found.problem.endswith(f": ledger {was + 2}, log {was}")
