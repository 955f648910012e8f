"""`switchpoint worker` as people start, end and kill it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from switchpoint.router.judging import look
from tests.router.cli.conftest import COMMAND, ROOT, environment, run
from tests.router.worker.shop import Shop
from tests.router.worker.shop import shop as opened
from tests.waiting import HUNG, until


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with opened(tmp_path) as made:
        made.open("home")
        made.expose("home")
        yield made


Worker = subprocess.Popen[bytes]
Start = Callable[..., Worker]


@pytest.fixture
def start(shop: Shop) -> Iterator[Start]:
    """Starts workers of the shop, none of which outlives the test; returns when the board has heard of it, or
    when it says that it waits for another."""
    with ExitStack() as stack:

        def started(waits_for: Worker | None = None) -> Worker:
            command = [*COMMAND, "--data", str(shop.data), "worker", "--every", "0.1"]
            environ = environment({"PYTHONPATH": str(ROOT)})
            pipe = None if waits_for is None else subprocess.PIPE
            process = stack.enter_context(subprocess.Popen(command, env=environ, cwd=ROOT, stderr=pipe))
            stack.callback(process.kill)
            if waits_for is None:
                until(lambda: pid(shop) == process.pid)
            else:
                assert process.stderr is not None
                assert f"(pid {waits_for.pid})" in process.stderr.readline().decode()
            return process

        yield started


def pid(shop: Shop) -> int | None:
    beat = shop.board.get("worker", "heartbeat")
    return None if beat is None else beat.body["pid"]


def test_once_writes_the_board_with_the_numbers_of_report(shop: Shop) -> None:
    done = run("worker", "--once", data=shop.data)
    assert (done.code, done.out, done.err) == (0, "", "")
    document = shop.body("report", "home")
    said = run("report", "home", "--json", "--at", document["header"]["at"], data=shop.data)
    assert document == json.loads(said.out)


def test_a_running_worker_sees_events_and_changes_and_ends_when_it_is_told(shop: Shop, start: Start) -> None:
    worker = start()
    until(lambda: shop.board.get("report", "home") is not None)
    shop.expose("home")
    until(lambda: shop.body("report", "home")["live"]["n"] == 12)
    shop.catalog.pause("home", at=shop.now, actor="ana")
    until(lambda: shop.body("summary", "home")["state"]["status"] == "paused")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(HUNG) == 0
    assert shop.client.ping()  # the server is somebody else's


def test_a_second_worker_goes_on_where_a_killed_one_ends(shop: Shop, start: Start) -> None:
    first = start()
    refused = run("worker", "--once", data=shop.data)
    assert refused.code == 2
    assert f"another worker (pid {first.pid}) keeps this project's board. Fix: stop pid" in refused.err
    assert run("--project", "other", "worker", "--once", data=shop.data).code == 0
    second = start(waits_for=first)
    assert pid(shop) == first.pid
    first.kill()
    until(lambda: pid(shop) == second.pid)
    shop.expose("home")
    until(lambda: shop.body("report", "home")["live"]["n"] == 12)
    kept = shop.board.get("report", "home")
    assert kept is not None
    assert kept.body == look(shop.catalog, shop.ledger, "home", at=kept.at).report.to_dict()
    second.send_signal(signal.SIGTERM)
    assert second.wait(HUNG) == 0


def test_a_worker_that_waits_for_a_frozen_store_ends_as_well(shop: Shop, start: Start) -> None:
    worker = start()
    server = shop.server._process
    assert server is not None
    server.send_signal(signal.SIGSTOP)
    try:
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(HUNG) == 0
    finally:
        os.kill(server.pid, signal.SIGCONT)


def test_a_store_that_cannot_be_reached_fails_a_single_round(tmp_path: Path) -> None:
    done = run("worker", "--once", data=tmp_path, SWITCHPOINT_REDIS_URL=f"unix://{tmp_path / 'nobody.sock'}")
    assert done.code == 3
    assert "cannot be reached" in done.err
