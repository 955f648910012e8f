"""Faults of the store and of models, through real processes: who keeps answering, what is kept."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import skops.io
from sklearn.neighbors import KNeighborsClassifier

from switchpoint.experiment.language import experiment as parsing
from switchpoint.experiment.registry.model import Content, Format
from switchpoint.experiment.store.artifacts import Artifacts
from switchpoint.experiment.store.embedded.server import EmbeddedServer
from switchpoint.router.serving.launch import ServingProcess, free_port
from tests.router import world
from tests.router.conftest import Project
from tests.router.http import get, post
from tests.waiting import HUNG, patient, until

US = {"country": "US", "device": "ios"}


def click(name: str, unit: str = "u1", at: int | None = None) -> dict[str, object]:
    return {"id": name, "type": "click", "unit": unit, "at": at or world.now_ms()}


def statuses(answer: dict[str, list[dict[str, str]]]) -> list[str]:
    return [item["status"] for item in answer["items"]]


def _metric(serving: ServingProcess, name: str) -> float:
    text = get(serving, "/metrics")[2].decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


def test_a_frozen_store_loses_nothing(project: Project) -> None:
    """SIGSTOP: right variants, events spooled, predictions answered; afterwards counted once.

    One worker, because each learns by its own calls whether the store is there, and any may answer.
    """
    with project.serving(workers=1) as serving:
        before = post(serving, "/v1/assign", {"unit": "u1", "attributes": US})[2]
        os.kill(project.server.pid, signal.SIGSTOP)
        try:
            for i in range(12):
                assert post(serving, "/v1/assign", {"unit": "u1", "attributes": US})[2] == before
                assert statuses(post(serving, "/v1/events", [click(f"f{i}")])[2]) == ["spooled"]
                answer = post(
                    serving, "/v1/predict/ranker", {"unit": "u1", "attributes": US, "inputs": [1, 2]}
                )[2]
                assert answer["recorded"] == "spooled"
            ready = get(serving, "/readyz")[2]
            assert (ready["ready"], ready["store"]["up"]) == (True, False)
            assert ready["spool"]["batches"] > 0
        finally:
            os.kill(project.server.pid, signal.SIGCONT)
        _await_drained(serving)
        assert statuses(post(serving, "/v1/events", [click("f0"), click("f-new")])[2]) == [
            "duplicate",
            "stored",
        ]
    ids = [e.id for e in project.ledger.events() if e.type == "click"]
    assert sorted(ids) == sorted([f"f{i}" for i in range(12)] + ["f-new"])


def test_assignments_never_wait_for_the_store(project: Project) -> None:
    """Whoever asked a frozen store here would wait for longer than this test runs."""
    patient = f"{project.server.url}?socket_timeout={HUNG}"
    with ServingProcess(redis_url=patient, data=project.data, port=free_port(), workers=1) as serving:
        before = post(serving, "/v1/assign", {"unit": "u1", "attributes": US})[2]
        os.kill(project.server.pid, signal.SIGSTOP)
        try:
            for _ in range(12):
                assert post(serving, "/v1/assign", {"unit": "u1", "attributes": US})[2] == before
            assert get(serving, "/healthz")[0] == 200
        finally:
            os.kill(project.server.pid, signal.SIGCONT)


def test_dead_store_and_restart_of_serving(project: Project) -> None:
    """kill -9 of the store, then of serving: a fresh process answers from the copy and spools."""
    with project.serving() as serving:
        before = post(serving, "/v1/assign", {"unit": "u1", "attributes": US})[2]
        os.kill(project.server.pid, signal.SIGKILL)
        assert post(serving, "/v1/assign", {"unit": "u1", "attributes": US})[2] == before
    with project.serving() as serving:
        assert post(serving, "/v1/assign", {"unit": "u1", "attributes": US})[2] == before
        assert statuses(post(serving, "/v1/events", [click("d1"), click("d2")])[2]) == ["spooled", "spooled"]
        answer = post(serving, "/v1/predict/ranker", {"unit": "u1", "attributes": US, "inputs": [1, 2]})[2]
        assert (answer["recorded"], answer["prediction"] is not None) == ("spooled", True)
        assert get(serving, "/readyz")[2]["snapshot"]["stale"]
        project.server.relaunch()
        _await_drained(serving)
    kinds = sorted(e.type for e in project.ledger.events())
    assert kinds == ["click", "click", "exposure", "prediction"]


def test_process_that_never_saw_its_store_says_so(tmp_path: Path) -> None:
    """No store, no copy: 503 with Retry-After for assignments, events are spooled all the same."""
    serving = ServingProcess(
        redis_url="unix:///nowhere/redis.sock", data=tmp_path, port=free_port(), workers=1
    )
    with serving:
        status, headers, answer = post(serving, "/v1/assign", {"unit": "u"})
        assert (status, answer["code"], headers["retry-after"]) == (503, "store_unavailable", "2")
        assert post(serving, "/v1/predict/ranker", {"unit": "u", "inputs": []})[0] == 503
        assert get(serving, "/v1/snapshot")[0] == 503
        assert get(serving, "/readyz")[0] == 503
        assert get(serving, "/healthz")[0] == 200
        assert statuses(post(serving, "/v1/events", [click("x")])[2]) == ["spooled"]


def test_no_durable_place_is_never_acknowledged(project: Project) -> None:
    """Store dead and spool full: events get 503, a prediction is answered and says that it is unrecorded."""
    with project.serving(workers=1, environ={"SWITCHPOINT_SPOOL_BYTES": "0"}) as serving:
        os.kill(project.server.pid, signal.SIGKILL)
        status, headers, answer = post(serving, "/v1/events", [click("x")])
        assert (status, answer["code"], headers["retry-after"]) == (503, "spool_full", "2")
        status, headers, answer = post(
            serving, "/v1/predict/ranker", {"unit": "u", "attributes": US, "inputs": [1, 2]}
        )
        assert (status, answer["recorded"], headers["x-switchpoint-unrecorded"]) == (200, None, "1")
        assert _metric(serving, "switchpoint_unrecorded_total") == 1


def test_slow_model_falls_back_and_stalls_nobody(project: Project) -> None:
    """A model that computes for several deadlines: control answers meanwhile, and so do assignments."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(20_000, 2))
    neighbours = KNeighborsClassifier(1000, algorithm="brute").fit(rows, rng.random(20_000) < 0.5)
    artifacts = Artifacts(project.data / "models")
    for content in (world.model_bytes(1), skops.io.dumps(neighbours)):
        made = Content(format=Format.SKOPS, artifact={"m.skops": artifacts.put_bytes(content)})
        project.catalog.register_model("mixed", made, at=world.now_ms(), actor="t")
    text = world.DEFINITION.replace("ranker@", "mixed@").replace("model: ranker", "model: mixed")
    project.catalog.apply(parsing.load(text.replace("home-ranker", "mix")), at=world.now_ms(), actor="t")
    project.catalog.start("mix", at=world.now_ms(), actor="t")
    body = {"attributes": US, "inputs": rng.normal(size=(10_000, 2)).round(2).tolist()}
    with project.serving(
        workers=1, environ={"SWITCHPOINT_DEADLINE_MS": "1000", "OMP_NUM_THREADS": "1"}
    ) as serving:
        entry = post(serving, "/v1/assign", {"unit": "x", "attributes": US, "experiments": ["mix"]})
        assert entry[0] == 200
        treated = [
            f"s{i}"
            for i in range(60)
            if post(serving, "/v1/assign", {"unit": f"s{i}", "attributes": US, "experiments": ["mix"]})[2][
                "assignments"
            ][0]["variant"]
            == "treatment"
        ][:4]
        with ThreadPoolExecutor(4) as pool:
            slow = [
                pool.submit(post, serving, "/v1/predict/mixed", body | {"unit": unit}, timeout=HUNG)
                for unit in treated
            ]
            meanwhile = 0
            while not any(future.done() for future in slow):
                assert post(serving, "/v1/assign", {"unit": "x", "attributes": US})[0] == 200
                meanwhile += 1
            answers = [future.result() for future in slow]
    assert {status for status, _, _ in answers} <= {200, 503}
    served = [answer for status, _, answer in answers if status == 200]
    assert served
    assert {(a["served"], a["variant"], a["reason"]) for a in served} == {
        ("control", "treatment", "FALLBACK")
    }
    assert {a["cause"] for a in served} <= {"timeout", "busy"}
    assert meanwhile > 1
    causes = [e.exposure.cause for e in project.ledger.events() if e.exposure]
    assert set(causes) <= {"timeout", "busy"}


def _await_drained(serving: ServingProcess) -> None:
    def drained() -> bool:
        ready = get(serving, "/readyz")[2]
        return bool(ready["store"]["up"] and ready["spool"]["batches"] == 0)

    until(drained)


def test_eviction_policy_makes_a_store_unfit(project: Project) -> None:
    """A store that may forget counts is not ready, and says what to change."""
    assert isinstance(project.server, EmbeddedServer)
    with patient(project.server.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    with project.serving(workers=1) as serving:
        status, _, ready = get(serving, "/readyz")
        assert (status, ready["ready"]) == (503, False)
        assert "noeviction" in ready["store"]["wrong"][0]
