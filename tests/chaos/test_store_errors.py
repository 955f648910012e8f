"""Redis answers with an error, one that somebody listed or not: what was sent waits, nothing is refused for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from switchpoint.experiment.definition.state import Status
from switchpoint.experiment.errors import Corrupt, StoreUnavailable
from switchpoint.experiment.ledger.event import Event, Exposure
from switchpoint.experiment.ledger.verify import verify
from switchpoint.experiment.registry.catalog import Catalog
from switchpoint.experiment.store.redis.ledger import RedisLedger
from switchpoint.experiment.store.redis.records import RedisRecords
from switchpoint.router.judging import look
from switchpoint.router.serving.launch import ServingProcess, free_port
from tests.chaos.proxy import Proxy, scripts
from tests.router import world
from tests.router.conftest import Project
from tests.router.http import get, post
from tests.waiting import patient, until

ANSWERS = """
ERR upstream failure | ERR max number of clients reached | MOVED 1234 127.0.0.1:7001 | ASK 1234 127.0.0.1:7001
TRYAGAIN x | UNKILLABLE x | ERR Error running script: Script killed by user with SCRIPT KILL...
ERR Error running script (call to f_0): @user_script:1: Script killed by user with SCRIPT KILL.
LOADING x | MISCONF x | NOREPLICAS x | READONLY x | FAILOVER x | IOERR x | EXECABORT x | CLUSTERDOWN x
ERR DENIED Redis is running in protected mode | ERR Command temporarily unavailable during failover | BUSYKEY x
INPROG x | UNBLOCKED x | UNAVAILABLE x | ERR invalid password | NOAUTH x | ERR unknown command 'EVALSHA'
NOPERM x | NOSCRIPT x | MASTERDOWN x | BUSY x | CROSSSLOT x | NOTBUSY x | NOGOODSLAVE x | ERR
"""
TEXTS = [text.strip() for line in ANSWERS.strip().splitlines() for text in line.split(" | ")]


def click(name: str, unit: str = "u") -> dict[str, object]:
    return {"id": name, "type": "click", "unit": unit, "at": world.now_ms()}


@pytest.mark.parametrize("text", TEXTS)
def test_no_error_says_anything_about_an_event(project: Project, proxy: Proxy, text: str) -> None:
    with patient(proxy.url) as client:
        ledger, event = RedisLedger(client), Event(id="e", type="click", unit="u", at=world.now_ms())
        plan = project.catalog.plan()
        ledger.record([event], plan)
        proxy.set(f"error:{text}", scripts)
        with pytest.raises(StoreUnavailable, match="Redis "):
            ledger.record([event], plan)


def test_damage_is_told_from_refusal(project: Project) -> None:
    """A key of another type, a unit's record cut short: stored data, whatever the server calls it."""
    plan, event = project.catalog.plan(), Event(id="e", type="click", unit="u", at=world.now_ms())
    with patient(project.server.url) as client:
        ledger = RedisLedger(client)
        ledger.record([event], plan)
        [bucket] = client.keys("un:*")
        client.hset(bucket, "u", b"\x01\x02")
        with pytest.raises(Corrupt):
            ledger.record([Event(id="f", type="click", unit="u", at=world.now_ms())], plan)
        client.delete(bucket)
        client.set(bucket, "text")
        with pytest.raises(Corrupt, match="WRONGTYPE"):
            ledger.record([Event(id="f", type="click", unit="u", at=world.now_ms())], plan)


@pytest.mark.parametrize("text", ["ERR upstream failure", "UNKILLABLE x"])
def test_spooled_events_outlive_an_unknown_error(
    project: Project, proxy: Proxy, tmp_path: Path, text: str
) -> None:
    """An outage, then a store that answers every script with an error, then peace: all are counted, once."""
    with ServingProcess(redis_url=proxy.url, data=tmp_path, port=free_port(), workers=1) as serving:
        until(lambda: get(serving, "/readyz")[2]["store"]["up"])
        proxy.set("hole")
        sent = {f"s{i}-{j}" for i in range(10) for j in range(20)}
        for i in range(10):
            answer = post(serving, "/v1/events", [click(f"s{i}-{j}", f"u{i}") for j in range(20)])[2]
            assert {item["status"] for item in answer["items"]} == {"spooled"}
        proxy.set(f"error:{text}", scripts)
        until(lambda: proxy.errors >= 3)
        assert get(serving, "/readyz")[2]["spool"]["batches"] == 10
        proxy.set("pass")
        until(lambda: get(serving, "/readyz")[2]["spool"]["batches"] == 0)
        assert post(serving, "/v1/events", [click("s0-0", "u0")])[2]["items"][0]["status"] == "duplicate"
    ids = [event.id for event in project.ledger.events()]
    assert (sorted(ids), project.ledger.dead_letters()) == (sorted(sent), [])
    assert verify(project.ledger, project.catalog.plan()) == []


def test_a_full_memory_takes_neither_reports_nor_the_pause_away(project: Project) -> None:
    """Nor do units that wait for a refold; events do wait."""
    at = world.now_ms()
    clicks = [Event(id=f"c{i}", type="click", unit=f"u{i}", at=at) for i in range(50)]
    exposed = Exposure(
        experiment=world.EXPERIMENT,
        variant="control",
        segment="us",
        epoch=1,
        revision=2,
        propensity=0.5,
        served="control",
    )
    late = [Event(id=f"x{i}", type="exposure", unit=f"u{i}", at=at - 1, exposure=exposed) for i in range(50)]
    for events in (clicks, late):
        project.ledger.record(events, project.catalog.plan())
    assert project.ledger.pending() == 50
    with patient(project.server.url) as client:
        client.config_set("maxmemory", 1)
        ledger, catalog = RedisLedger(client), Catalog(RedisRecords(client))
        with pytest.raises(StoreUnavailable, match="raise maxmemory"):
            ledger.record([Event(id="c", type="click", unit="u", at=at)], catalog.plan())
        catalog.pause(world.EXPERIMENT, at=at, actor="t", reason="memory is full")
        assert look(catalog, ledger, world.EXPERIMENT, at=at).state.status is Status.PAUSED
        assert verify(ledger, catalog.plan()) == []
        client.config_set("maxmemory", 0)
