"""`switchpoint serve` as a process: it answers, commands attach to its server, Ctrl-C ends all of it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

from switchpoint.experiment.store.embedded.server import EmbeddedServer, attach
from switchpoint.router.serving.launch import free_port
from tests.e2e.test_demo import await_end_of
from tests.router.cli.conftest import COMMAND, ROOT, run
from tests.waiting import HUNG, until


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_serve_answers_until_it_is_asked_to_stop(tmp_path: Path, ending: signal.Signals) -> None:
    port = free_port()
    serving = _serve(tmp_path, port)
    try:
        assert _status(port, "/healthz") == 200
        event = {"id": "e1", "type": "click", "unit": "u", "at": int(time.time() * 1000)}
        assert _post(port, "/v1/events", {"events": [event]})["items"][0]["status"] == "stored"
        # a command attaches to the running server instead of starting one
        assert run("verify", "--json", data=tmp_path).json()["events"] == 1
    finally:
        serving.send_signal(ending)
        _, log = serving.communicate(timeout=HUNG)
    assert serving.returncode == 0, log
    assert "Ctrl-C stops" in log
    await_end_of(tmp_path)


def test_refused_events_are_seen_in_the_answer_the_metrics_and_every_command(tmp_path: Path) -> None:
    port = free_port()
    serving = _serve(tmp_path, port)
    try:
        assert _status(port, "/healthz") == 200
        good = {"id": "e1", "type": "click", "unit": "u", "at": int(time.time() * 1000)}
        bad = [good | {"unit": f"tab\t{number}"} for number in range(3)]
        answer = _post(port, "/v1/events", {"events": [good, *bad, good | {"at": 1}, 7]})
        expected = {"unit": 3, "at": 1, "event": 1}
        assert answer["refused"] == expected
        until(lambda: run("events", "--json", data=tmp_path).json()["refused"] == expected)
        (arrived, nobodys) = run("events", "--json", data=tmp_path).json()["arrived"]
        assert arrived == {"count": "outcomes", "of": ["click"], "events": 1}
        assert nobodys == {"count": "unexposed", "of": ["click"], "events": 1}
        shown = run("events", "--refused", "--limit", "2", "--json", data=tmp_path).json()["last"]
        assert [(x["cause"], x["event"]) for x in shown] == [
            ("event", "7"),
            ("at", json.dumps(good | {"at": 1})),
        ]
        text = run("events", "--refused", data=tmp_path).out
        assert text.startswith(
            "outcomes click: 1\nunexposed click: 1\nrefused events: 5 (unit 3, at 1, event 1)\nan event"
        )
        assert "U+0009, character 4 of 'tab\\t2', is a control character" in text
        doctor = {line["name"]: line for line in run("doctor", "--json", data=tmp_path).json()}
        assert doctor["refused events"]["value"] == "5 (unit 3, at 1, event 1)"
        assert doctor["refused events"]["severity"] == "warn"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as found:
            assert 'switchpoint_refused_events_total{cause="unit"} 3.0' in found.read().decode()
    finally:
        serving.terminate()
        _, log = serving.communicate(timeout=HUNG)
    assert serving.returncode == 0, log


def test_a_second_service_on_one_directory_is_refused_with_the_pid_and_the_fix(tmp_path: Path) -> None:
    """It would lose its store for good when the first one ends."""
    port = free_port()
    first = _serve(tmp_path, port)
    try:
        assert _status(port, "/healthz") == 200
        second = run("serve", "--port", str(free_port()), data=tmp_path)
        assert (second.code, second.out) == (2, "")
        assert f"another service (pid {first.pid}) runs on {tmp_path}" in second.err
        assert "SWITCHPOINT_REDIS_URL" in second.err
    finally:
        first.terminate()
        first.communicate(timeout=HUNG)
    await_end_of(tmp_path)


def test_serve_keeps_its_store_when_a_command_that_had_started_one_ends(tmp_path: Path) -> None:
    """It waits for the command instead of joining a server that ends with it."""
    port = free_port()
    with EmbeddedServer.start(tmp_path):  # what a short command does
        serving = _serve(tmp_path, port)
        assert serving.stderr is not None
        assert serving.stderr.readline() == f"waiting for pid {os.getpid()}, which uses {tmp_path}, to end\n"
    try:
        assert _status(port, "/healthz") == 200
        event = {"id": "e1", "type": "click", "unit": "u", "at": int(time.time() * 1000)}
        assert _post(port, "/v1/events", {"events": [event]})["items"][0]["status"] == "stored"
        state = json.loads((tmp_path / "server.json").read_text())
        assert attach(tmp_path) is not None
        os.kill(state["pid"], signal.SIGKILL)
        until(lambda: attach(tmp_path) is not None)
        assert json.loads((tmp_path / "server.json").read_text())["pid"] != state["pid"]
    finally:
        serving.terminate()
        _, log = serving.communicate(timeout=HUNG)
    assert serving.returncode == 0, log


def test_a_busy_port_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("serve", "--port", str(port), data=tmp_path)
    assert done.code == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.err
    assert len(done.err.splitlines()) == 1


def _serve(data: Path, port: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "--data", str(data), "serve", "--port", str(port), "--workers", "1"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def _status(port: int, path: str) -> int:
    """The first status anybody answers."""
    statuses: list[int] = []

    def asked() -> bool:
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=HUNG)) as connection:
                connection.request("GET", path)
                statuses.append(connection.getresponse().status)
        except OSError:
            return False
        return True

    until(asked, every=0.1)
    return statuses[-1]


def _post(port: int, path: str, body: object) -> dict[str, list[dict[str, str]]]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=HUNG)) as connection:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer: dict[str, list[dict[str, str]]] = json.loads(connection.getresponse().read())
        return answer
