"""Processes of models are killed while predictions are asked: somebody's model answers every one."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from switchpoint.router.serving.launch import ServingProcess
from tests.e2e.test_chaos import workers_of
from tests.router.conftest import Project
from tests.router.http import get, post
from tests.waiting import until

US = {"country": "US"}


def runners_of(serving: ServingProcess) -> list[int]:
    """What the fork server of the service has forked."""
    children = Path(f"/proc/{serving.pid}/task/{serving.pid}/children").read_text().split()
    [server] = [p for p in children if int(p) not in workers_of(serving.pid)]
    return [int(p) for p in Path(f"/proc/{server}/task/{server}/children").read_text().split()]


def ready(serving: ServingProcess) -> bool:
    return get(serving, "/readyz")[0] == 200


def test_a_killed_model_takes_no_worker_along_and_comes_back(project: Project) -> None:
    """Two models: their processes are killed twice and come back; the third end quarantines.

    One worker: where it is ready both are loaded, and an end while loading is not what is counted here.
    """
    with project.serving(workers=1) as serving:
        until(lambda: ready(serving) and len(runners_of(serving)) == 2, every=0.1)
        workers = workers_of(serving.pid)
        for _ in range(2):
            before = set(runners_of(serving))
            for pid in before:
                os.kill(pid, signal.SIGKILL)
            until(lambda dead: not set(runners_of(serving)) & dead, before)
            for unit in range(8):  # nobody falls back: nothing is sent to a process that is gone
                body = {"unit": f"u{unit}", "attributes": US, "inputs": [[1, 2]]}
                status, _, answer = post(serving, "/v1/predict/ranker", body)
                assert status == 200, answer
                assert answer["served"] == answer["variant"], answer
            until(lambda dead: len(set(runners_of(serving)) - dead) == 2, before, every=0.1)
            until(lambda: ready(serving), every=0.1)
        assert workers_of(serving.pid) == workers
        crashes = [
            line for line in get(serving, "/metrics")[2].decode().splitlines()
            if line.startswith("switchpoint_model_crashes_total")
        ]  # fmt: skip
        assert sum(float(line.split()[-1]) for line in crashes) == 2 * 2
        for pid in runners_of(serving):
            os.kill(pid, signal.SIGKILL)
        until(
            lambda: get(serving, "/readyz")[2]["models"]["quarantined"] == ["ranker@1", "ranker@2"], every=0.1
        )
        assert ready(serving)
        assert post(serving, "/v1/assign", {"unit": "u1", "attributes": US})[0] == 200
