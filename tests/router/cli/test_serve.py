"""`switchpoint serve` as a process: it answers, commands attach to its server, Ctrl-C ends all of it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from router.serving.launch import free_port
from tests.e2e.test_demo import processes_of
from tests.router.cli.conftest import COMMAND, ROOT, run


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_serve_answers_until_it_is_asked_to_stop(tmp_path: Path, ending: signal.Signals) -> None:
    port = free_port()
    serving = subprocess.Popen(
        [*COMMAND, "--data", str(tmp_path), "serve", "--port", str(port), "--workers", "1"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert _status(port, "/healthz", seconds=30) == 200
        event = {"id": "e1", "type": "click", "unit": "u", "at": int(time.time() * 1000)}
        assert _post(port, "/v1/events", {"events": [event]})["items"][0]["status"] == "stored"
        # a command attaches to the running server instead of starting one
        assert run("verify", "--json", data=tmp_path).json()["events"] == 1
    finally:
        serving.send_signal(ending)
        _, log = serving.communicate(timeout=30)
    assert serving.returncode == 0, log
    assert "Ctrl-C stops" in log
    assert processes_of(tmp_path) == []


def _status(port: int, path: str, *, seconds: float) -> int | None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
                connection.request("GET", path)
                return connection.getresponse().status
        except OSError:
            time.sleep(0.1)
    return None


def _post(port: int, path: str, body: object) -> dict[str, list[dict[str, str]]]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer: dict[str, list[dict[str, str]]] = json.loads(connection.getresponse().read())
        return answer
