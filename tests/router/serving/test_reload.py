"""SIGHUP: new workers take over under load, and where they cannot the old ones stay."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from switchpoint.router.serving.launch import ServingProcess, free_port
from tests.e2e.test_chaos import workers_of
from tests.router import world
from tests.router.conftest import Project
from tests.router.http import get
from tests.waiting import until

US = {"country": "US", "device": "ios"}
CONNECTIONS, RELOADS = 8, 2


class Caller(threading.Thread):
    """Asks the three doors in turn on one connection for as long as it is kept; counts what went wrong."""

    def __init__(self, serving: ServingProcess, number: int, ended: threading.Event) -> None:
        super().__init__(daemon=True)
        self.serving, self.number, self.ended = serving, number, ended
        self.failures: Counter[str] = Counter()
        self.asked = self.closed = 0
        self._connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        while not self.ended.is_set():
            self.asked += 1
            path, body = self._request(f"{self.number}-{self.asked}")
            try:
                self._ask(path, body)
            except (OSError, http.client.HTTPException) as error:
                self.failures[f"{path}: {error!r}"] += 1
                self._hang_up()
            time.sleep((0, 0.001, 0.02, 0.3)[self.number % 4])
        self._hang_up()

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _request(self, name: str) -> tuple[str, object]:
        event = {"id": name, "type": "click", "unit": name, "at": world.now_ms()}
        return (
            ("/v1/assign", {"unit": name, "attributes": US}),
            ("/v1/predict/ranker", {"unit": name, "attributes": US, "inputs": [1, 2]}),
            ("/v1/events", [event]),
        )[self.asked % 3]

    def _ask(self, path: str, body: object) -> None:
        self._connection = self._connection or http.client.HTTPConnection("127.0.0.1", self.serving.port)
        self._connection.request("POST", path, json.dumps(body).encode())
        answer = self._connection.getresponse()
        said = json.loads(answer.read())
        if answer.status != 200 or said.get("reason") == "FALLBACK":
            self.failures[f"{path}: {answer.status} {said.get('cause')}"] += 1
        if answer.getheader("Connection") == "close":
            self.closed += 1
            self._hang_up()


def two_others(serving: ServingProcess, elders: set[int]) -> bool:
    workers = set(workers_of(serving.pid))
    return len(workers) == 2 and not elders & workers


@pytest.mark.slow
def test_no_request_fails_while_workers_are_replaced_under_load(project: Project) -> None:
    with project.serving(workers=2) as serving:
        ended = threading.Event()
        callers = [Caller(serving, number, ended) for number in range(CONNECTIONS)]
        for caller in callers:
            caller.start()
        try:
            for _ in range(RELOADS):
                elders = set(workers_of(serving.pid))
                serving.reload()
                until(two_others, serving, elders)
                until(lambda: serving.status("/readyz") == 200)
        finally:
            ended.set()
            for caller in callers:
                caller.join()
        assert sum((caller.failures for caller in callers), Counter()) == {}
        assert sum(caller.closed for caller in callers) >= CONNECTIONS  # an answer said so, every time


APPLICATION = """
import os
from pathlib import Path

HERE = Path(__file__).parent

class Application:
    def ready(self):
        return not (HERE / "loading").exists()

    def open(self):
        pass

    def __call__(self, environ, start):
        start("200 OK", [("Content-Type", "application/json")])
        return [b"%d" % os.getpid()]

def create():
    if (HERE / "broken").exists():
        (HERE / "tried").touch()
        raise RuntimeError("cannot be started")
    return Application()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "scripted.py").write_text(APPLICATION)
    return tmp_path


@pytest.fixture
def scripted(folder: Path) -> Iterator[ServingProcess]:
    """A service whose new workers are not ready while there is a file `loading`, and end over one `broken`."""
    serving = ServingProcess(
        redis_url="",
        data=folder,
        port=free_port(),
        workers=2,
        application="scripted:create()",
        environ={"PYTHONPATH": f"{folder}:{Path(__file__).parents[3]}"},
    )
    with serving:
        yield serving


def workers(serving: ServingProcess) -> set[int]:
    return set(workers_of(serving.pid))


def answering(serving: ServingProcess) -> set[int]:
    return {get(serving, "/")[2] for _ in range(20)}


def test_old_workers_serve_until_the_new_ones_are_ready(scripted: ServingProcess, folder: Path) -> None:
    until(lambda: len(answering(scripted)) == 2)
    elders = workers(scripted)
    (folder / "loading").touch()
    scripted.reload()
    until(lambda: len(workers(scripted)) == 4)
    assert answering(scripted) <= elders
    first = workers(scripted) - elders
    scripted.reload()  # again, from the beginning
    until(lambda: len(workers(scripted) - first) == 4)
    until(lambda: not workers(scripted) & first)
    assert answering(scripted) <= elders
    (folder / "loading").unlink()
    until(lambda: not workers(scripted) & elders)
    assert not answering(scripted) & (elders | first)


def test_where_a_new_worker_does_not_start_the_old_ones_stay(scripted: ServingProcess, folder: Path) -> None:
    until(lambda: len(answering(scripted)) == 2)
    elders = workers(scripted)
    (folder / "broken").touch()
    scripted.reload()
    until((folder / "tried").exists)
    until(lambda: workers(scripted) == elders)
    assert answering(scripted) <= elders
    (folder / "broken").unlink()
    scripted.reload()
    until(lambda: workers(scripted) and not workers(scripted) & elders)
    assert not answering(scripted) & elders


def test_a_worker_with_nobody_beside_it_serves_before_it_is_ready(
    scripted: ServingProcess, folder: Path
) -> None:
    until(lambda: len(answering(scripted)) == 2)
    (folder / "loading").touch()
    for pid in workers(scripted):
        os.kill(pid, signal.SIGKILL)
    until(lambda: scripted.status("/") == 200)
    (folder / "loading").unlink()
    until(lambda: len(answering(scripted)) == 2)
