"""repair clock: what it says, what it does only when told to, and when it refuses."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import redis

from switchpoint.experiment.definition.types import DAY_MS
from switchpoint.experiment.ledger.event import Event, Status
from switchpoint.experiment.ledger.fold import LedgerPlan
from switchpoint.experiment.store.embedded.server import EmbeddedServer
from switchpoint.experiment.store.redis import connection
from switchpoint.experiment.store.redis.keys import ShardKeys
from switchpoint.experiment.store.redis.ledger import RedisLedger
from switchpoint.experiment.store.redis.records import RedisRecords
from tests.router.cli.conftest import Cli
from tests.waiting import patient


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[redis.Redis]:
    with patient(server.url) as made:
        made.flushall()
        yield made


def clicks(*days: int) -> list[Event]:
    now = int(time.time()) * 1000
    return [Event(id=f"c{day}", type="click", unit="u", at=now - day * DAY_MS) for day in days]


def test_a_ledger_poisoned_by_an_older_version_is_shown_and_then_mended(
    cli: Cli, client: redis.Redis
) -> None:
    ledger, keys = RedisLedger(client), ShardKeys("default", 0)
    ledger.record(clicks(1), LedgerPlan(()))
    newest = int(client.hget(keys.facts(), "newest") or 0)
    client.hset(keys.facts(), "newest", newest + 31)
    assert ledger.record(clicks(0, 2, 9), LedgerPlan(())) == [Status.LATE] * 3
    (line,) = [line for line in cli("doctor", "--json").json() if line["name"] == "newest day"]
    assert (line["severity"], line["value"]) == ("warn", "31 days ahead")
    assert "switchpoint repair clock" in line["fix"]

    shown = cli("repair", "clock")
    assert shown.code == 0
    assert "2 events were late only because it was ahead" in shown.out
    assert "nothing was changed" in shown.out
    found = cli("repair", "clock", "--json").json()
    assert (found["late"], found["applied"], found["counted"], len(found["newest_days"])) == (2, False, 0, 1)
    assert (ledger.late(), list(RedisRecords(client).audit())) == (3, [])

    done = cli("repair", "clock", "--apply", "--reason", "the gateway was wrong")
    assert (done.code, "2 of them are counted now" in done.out) == (0, True)
    assert (ledger.late(), len(list(ledger.events()))) == (1, 3)
    (entry,) = RedisRecords(client).audit()
    assert (entry.actor, entry.action, entry.subject) == ("tester", "repair", "clock")
    assert entry.reason == "the gateway was wrong"
    assert cli("verify").code == 0

    again = cli("repair", "clock", "--apply", "--json").json()
    assert again == {"newest_days": [], "late": 0, "applied": True, "counted": 0}
    assert "nothing to repair" in cli("repair", "clock").out
    assert len(list(RedisRecords(client).audit())) == 1
    (line,) = [line for line in cli("doctor", "--json").json() if line["name"] == "newest day"]
    assert line["severity"] == "ok"


@pytest.mark.parametrize("ahead", [-3600, 3600])
def test_it_refuses_while_the_clocks_of_machine_and_server_differ(
    cli: Cli, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    monkeypatch.setattr(connection, "server_time", lambda _: time.time() + ahead)
    refused = cli("repair", "clock", "--apply")
    assert refused.code == 1
    assert "3600.0 s " + ("behind" if ahead < 0 else "ahead of") in refused.err
    assert "set the one that is wrong" in refused.err
    (line,) = [line for line in cli("doctor", "--json").json() if line["name"] == "clock"]
    assert (line["severity"], "NTP" in line["fix"]) == ("warn", True)
