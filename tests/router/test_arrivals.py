"""What the live report knows of events that arrived and do not count."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from switchpoint.analysis.results.judgement import Check, Severity
from switchpoint.experiment.ledger.event import Event, Status
from switchpoint.experiment.ledger.protocol import Ledger
from switchpoint.experiment.store.embedded.server import EmbeddedServer
from switchpoint.experiment.store.memory import MemoryLedger, MemoryRecords
from switchpoint.experiment.store.redis.ledger import RedisLedger
from switchpoint.router.judging import look
from tests.experiment.store.ledgers import exposure, outcome, purchase
from tests.router import world
from tests.waiting import patient

UNITS = 120


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    with EmbeddedServer.start(tmp_path_factory.mktemp("look")) as running:
        yield running


@pytest.fixture(params=["memory", "redis"])
def ledger(request: pytest.FixtureRequest, server: EmbeddedServer) -> Iterator[Ledger]:
    if request.param == "memory":
        yield MemoryLedger()
        return
    with patient(server.url) as client:
        client.flushall()
        yield RedisLedger(client, unit_buckets=8, id_buckets=4)


Checks = Callable[[list[Event]], dict[str, Check]]


@pytest.fixture
def checks(ledger: Ledger, tmp_path: Path) -> Checks:
    """The checks of the report after some events, from a project whose experiment has just started."""
    catalog = world.build(MemoryRecords(), tmp_path)

    def report(sent: list[Event]) -> dict[str, Check]:
        assert set(ledger.record(sent, catalog.plan())) == {Status.STORED}
        found = look(catalog, ledger, world.EXPERIMENT, at=world.now_ms() + 30 * 86_400_000).report
        return {check.name: check for check in found.checks}

    return report


def shown(unit: str, at: int) -> Event:
    return exposure("x", unit, at, experiment=world.EXPERIMENT, dimensions={})


def test_a_clock_five_seconds_behind_is_said_and_holds_the_verdict(checks: Checks) -> None:
    """Every purchase is stored and none counts: the report names them all."""
    now = world.now_ms()
    sent = [shown(f"u{i}", now) for i in range(UNITS)]
    sent += [purchase("p", f"u{i}", now - 5000, 5) for i in range(UNITS)]
    check = checks(sent)["early outcomes"]
    assert check.severity is Severity.GATE
    assert check.message.startswith(
        "120 outcomes (100.0%) lie within the hour before their unit's first exposure"
    )
    assert "clocks of the two senders differ" in check.message
    assert (check.numbers["early"], check.numbers["counted"], check.numbers["share"]) == (120, 0, 1.0)


def test_outcomes_in_time_are_no_early_ones(checks: Checks) -> None:
    now = world.now_ms()
    found = checks([shown("u", now), purchase("p", "u", now, 5), purchase("q", "v", now - 1, 5)])
    assert found["early outcomes"].severity is Severity.OK
    assert found["outcomes"].message == "1 of 2 outcomes (50.0%) are of units never exposed."


def test_outcomes_under_other_ids_than_exposures_hold_the_verdict(checks: Checks) -> None:
    now = world.now_ms()
    sent = [shown(f"u{i}", now) for i in range(UNITS)]
    sent += [purchase("p", f"U{i}", now, 5) for i in range(UNITS)]
    check = checks(sent)["outcomes"]
    assert check.severity is Severity.GATE
    assert "None of the 120 outcomes of click, impression, purchase" in check.message
    assert "120 are of units that were never exposed" in check.message


def test_a_type_that_no_metric_reads_is_named_where_the_right_one_is_missing(checks: Checks) -> None:
    now = world.now_ms()
    sent = [shown(f"u{i}", now) for i in range(UNITS)]
    sent += [
        outcome(kind, f"u{i}", now, kind) for i in range(UNITS) for kind in ("click", "impression", "buy")
    ]
    check = checks(sent)["outcomes"]
    assert check.severity is Severity.WARN
    assert check.message == ("No outcome has the type purchase; no metric reads what came instead: buy 120.")


@pytest.mark.parametrize(("units", "severity"), [(2, Severity.WARN), (20, Severity.GATE)])
def test_events_of_undefined_units_are_counted_with_their_share(
    checks: Checks, units: int, severity: Severity
) -> None:
    now = world.now_ms()
    sent = [shown(f"u{i}", now) for i in range(UNITS)]
    sent += [
        outcome(f"c{i}", ["undefined", "null", "[object Object]", " "][i % 4], now) for i in range(units)
    ]
    check = checks(sent)["ids"]
    assert check.severity is severity
    assert check.message.startswith(
        f"{units} of {UNITS + units} events of the project ({units / (UNITS + units):.1%})"
    )
    assert check.numbers["placeholders"] == units
