"""The Python client: the server's assignments in process, durable events, never an exception for the host."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from switchpoint.experiment.errors import BadInput
from switchpoint.router.client import Client
from switchpoint.router.serving.doors.assign import assignment_document
from switchpoint.router.serving.launch import ServingProcess, free_port
from tests.router import world
from tests.router.conftest import Project
from tests.router.http import post

NOBODY = "http://127.0.0.1:1"
US = {"country": "US", "device": "ios"}


@pytest.fixture(scope="module")
def service(shared_project: Project) -> Iterator[ServingProcess]:
    with shared_project.serving(workers=1) as serving:
        yield serving


def logged(project: Project, *, unit: str) -> list[str]:
    """The ids of a unit's events in the ledger's log."""
    return sorted(event.id for event in project.ledger.events() if event.unit == unit)


def test_assignments_equal_the_servers(service: ServingProcess, tmp_path: Path) -> None:
    """Every field, units in and out of the experiment."""
    with Client(service.url, data=tmp_path) as client:
        for i in range(150):
            unit, attributes = f"u{i}", {"country": ["US", "CA", "FR"][i % 3]}
            _, _, answer = post(service, "/v1/assign", {"unit": unit, "attributes": attributes})
            mine = client.assign_all(unit, attributes)
            assert [assignment_document(choice.assignment) for choice in mine.values()] == answer[
                "assignments"
            ]


def test_events_are_delivered_and_counted_once(
    service: ServingProcess, shared_project: Project, tmp_path: Path
) -> None:
    """An exposure told twice and an event with one id sent twice are one each."""
    with Client(service.url, data=tmp_path) as client:
        choice = client.assign("once", US, experiment=world.EXPERIMENT)
        assert choice.enrolled
        assert client.expose(choice)
        assert client.expose(choice)
        assert client.track("purchase", "once", {"amount": 12.5}, id="p1")
        assert client.track("purchase", "once", {"amount": 12.5}, id="p1")
        assert client.flush()
        assert client.waiting() == 0
    events = [e for e in shared_project.ledger.events() if e.unit == "once"]
    assert sorted(e.type for e in events) == ["exposure", "purchase"]
    exposure = next(e.exposure for e in events if e.exposure)
    assert (exposure.variant, exposure.dimensions) == (choice.variant, {"device": "ios"})


def test_covariates_go_with_the_exposure(
    service: ServingProcess, shared_project: Project, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Through the client's exposure and through the predict door; bad ones cost nothing but themselves."""
    told: dict[str, dict[str, float]] = {"z1": {"past_spend": 3.5}, "z2": {"past_spend": float("nan")}}
    with Client(service.url, data=tmp_path) as client:
        for unit, known in told.items():
            choice = client.assign(unit, US | {"past_spend": 7}, experiment=world.EXPERIMENT)
            assert client.expose(choice, covariates=known)
        answer = client.predict("ranker", "z3", [0.5, 0.5], US, covariates={"past_spend": 9})
        assert answer["recorded"] == "stored"
        refused = client.predict("ranker", "z4", [0.5, 0.5], US, covariates={"past_spend": 1e16}, default=0)
        assert "covariates.past_spend" in refused["error"]
        assert client.flush()
    seen = {e.unit: e.exposure.covariates for e in shared_project.ledger.events() if e.exposure}
    found = {unit: seen[unit] for unit in ("z1", "z2", "z3")}
    assert found == {"z1": {"past_spend": 3.5}, "z2": {"past_spend": 7}, "z3": {"past_spend": 9}}
    assert "z4" not in seen
    assert "covariates are left out" in caplog.text


def test_prediction_and_client_report_the_same_exposure(
    service: ServingProcess, shared_project: Project, tmp_path: Path
) -> None:
    """The door logs the exposure at answer time; a client that tells it too changes nothing."""
    with Client(service.url, data=tmp_path) as client:
        answer = client.predict("ranker", "both", [0.5, 0.5], US)
        assert answer["recorded"] == "stored"
        assert client.expose(client.assign("both", US, experiment=world.EXPERIMENT))
        assert client.flush()
    exposures = [e for e in shared_project.ledger.events() if e.unit == "both" and e.exposure]
    assert [e.id for e in exposures] == [answer["exposure_id"]]


def test_unit_left_out_is_never_exposed(service: ServingProcess, tmp_path: Path) -> None:
    with Client(service.url, data=tmp_path) as client:
        found = (client.assign(f"u{i}", {"country": "FR"}, experiment=world.EXPERIMENT) for i in range(99))
        left_out = next(choice for choice in found if not choice.enrolled)
        assert left_out.variant == "control"
        assert not client.expose(left_out)
        assert client.waiting() == 0


def test_absent_service_costs_nothing(tmp_path: Path) -> None:
    """No snapshot, no service: control with ERROR, events kept, defaults for predictions, no exception."""
    client = Client(NOBODY, data=tmp_path, timeout=0.2)
    choice = client.assign("u", US, experiment="home-ranker")
    assert (choice.variant, choice.enrolled, choice.assignment.reason) == ("control", False, "ERROR")
    assert client.assign_all("u") == {}
    assert client.predict("ranker", "u", [1], default=0.5)["prediction"] == 0.5
    assert client.track("click", "u")
    begin = time.monotonic()
    assert not client.flush(0.3)
    assert not client.close(0.3)
    assert time.monotonic() - begin < 2.0


def test_events_wait_for_the_service_and_snapshot_for_none(project: Project, tmp_path: Path) -> None:
    """Service down: assignments go on from the copy on disk, events arrive once when it is back."""
    folder, port = tmp_path / "client", free_port()
    first = ServingProcess(redis_url=project.server.url, data=project.data, port=port, workers=1)
    with first, Client(first.url, data=folder) as client:
        before = client.assign("u1", US, experiment=world.EXPERIMENT)
    with Client(first.url, data=folder, timeout=0.3) as client:
        assert client.assign("u1", US, experiment=world.EXPERIMENT) == before
        client.expose(before)
        client.track("click", "u1", id="c1")
        with ServingProcess(redis_url=project.server.url, data=project.data, port=port, workers=1):
            assert client.flush(10)
    assert len(logged(project, unit="u1")) == 2


def test_events_survive_kill_9_of_the_host(
    service: ServingProcess, shared_project: Project, tmp_path: Path
) -> None:
    """Every event whose `track` returned is delivered by the next client on the folder, exactly once."""
    script = f"""
import sys
from switchpoint.router.client import Client
client = Client({service.url!r}, data={str(tmp_path)!r})
for i in range(100_000):
    if client.track("click", "killed", id=f"k{{i}}"):
        print(f"k{{i}}", flush=True)
"""
    host = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None
    acknowledged = [host.stdout.readline().strip() for _ in range(150)]
    host.send_signal(signal.SIGKILL)
    acknowledged += [line.strip() for line in host.stdout if line.endswith("\n")]
    host.stdout.close()
    host.wait()
    with Client(service.url, data=tmp_path) as client:
        assert client.flush(10)
    found = logged(shared_project, unit="killed")
    assert len(found) == len(set(found))
    assert set(acknowledged) <= set(found)
    assert len(found) - len(acknowledged) <= 1  # the one under way when the signal came


def test_forked_workers_go_on_by_themselves(
    service: ServingProcess, shared_project: Project, tmp_path: Path
) -> None:
    """A pre-forking server makes one client before it forks; every child delivers its own events."""
    script = f"""
import os, sys
from switchpoint.router.client import Client
client = Client({service.url!r}, data={str(tmp_path)!r})
client.track("click", "forked", id="parent-before")
children = []
for n in range(3):
    pid = os.fork()
    if pid == 0:
        ok = client.assign("u", {{"country": "US"}}, experiment="home-ranker").enrolled
        ok = ok and client.track("click", "forked", id=f"child-{{n}}") and client.flush(10)
        os._exit(0 if ok else 1)
    children.append(pid)
codes = [os.waitpid(pid, 0)[1] for pid in children]
client.track("click", "forked", id="parent-after")
sys.exit(0 if client.close(10) and not any(codes) else 1)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0
    assert logged(shared_project, unit="forked") == [
        "child-0", "child-1", "child-2", "parent-after", "parent-before",
    ]  # fmt: skip


def test_bad_events_are_refused_without_an_exception(tmp_path: Path) -> None:
    client = Client(NOBODY, data=tmp_path, timeout=0.2)
    assert not client.track("Click!", "u")
    assert not client.track("click", "")
    assert not client.track("click", "u", at="yesterday")
    assert client.waiting() == 0
    client.close(0.1)


def test_bad_arguments_reach_the_log_and_not_the_host(
    service: ServingProcess, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One line a call, control of the experiment, nothing queued, no exception."""
    bad: Any = ["x"]
    calls: list[tuple[Any, Any, Any]] = [
        ("u", bad, world.EXPERIMENT),
        ("u", {"a": "x" * 4097}, world.EXPERIMENT),
        (bad, US, world.EXPERIMENT),
        ("", US, world.EXPERIMENT),
        ("u", US, bad),
    ]
    with Client(service.url, data=tmp_path) as client:
        for unit, attributes, experiment in calls:
            caplog.clear()
            choice = client.assign(unit, attributes, experiment=experiment)
            assert (choice.variant, choice.enrolled, choice.assignment.reason) == ("control", False, "ERROR")
            assert not client.expose(choice)
            [line] = caplog.records
            assert line.exc_info is None
            assert "control is served: " in line.getMessage()
        assert not client.track("click", "u", bad)
        assert not client.track(bad, bad, None)
        assert client.predict("ranker", "u", [0.5, 0.5], bad, default=7)["prediction"] == 7
        assert client.waiting() == 0


def test_unreachable_service_is_what_the_log_says(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody is sent to `switchpoint list` for an experiment that nobody could be asked about."""
    client = Client(NOBODY, data=tmp_path, timeout=0.2)
    client.assign("u", US, experiment="home-ranker")
    assert f"the service at {NOBODY} cannot be reached" in caplog.text
    assert "no experiment" not in caplog.text
    client.close(0.1)


def test_rejected_events_do_not_block_the_queue(service: ServingProcess, tmp_path: Path) -> None:
    """The service's final no for one event lets the others pass."""
    with Client(service.url, data=tmp_path) as client:
        client.track("purchase", "u", {"amount": "much"})
        client.track("click", "u")
        assert client.flush(5)


def test_two_clients_may_share_a_folder(
    service: ServingProcess, shared_project: Project, tmp_path: Path
) -> None:
    with Client(service.url, data=tmp_path) as one, Client(service.url, data=tmp_path) as two:
        for i in range(20):
            (one, two)[i % 2].track("click", "shared", id=f"s{i}")
        assert one.flush(5)
        assert two.flush(5)
    assert len(logged(shared_project, unit="shared")) == 20


def test_wrong_address_is_an_error_at_construction(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="base_url"):
        Client("localhost:8000", data=tmp_path)


def test_import_brings_no_framework_and_no_engine() -> None:
    """`import switchpoint.router.client` in a user's own application costs the standard library and a YAML reader."""
    script = """
import sys, switchpoint.router.client
heavy = {"flask", "werkzeug", "gevent", "gunicorn", "orjson", "redis", "numpy", "scipy", "sklearn", "click", "prometheus_client"}
print(sorted(heavy & set(sys.modules)))
"""
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_ten_lines_in_a_users_flask_app(
    service: ServingProcess, shared_project: Project, tmp_path: Path
) -> None:
    """The example of the README."""
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    example = example.replace("http://127.0.0.1:8000", service.url).replace("shop-events", str(tmp_path))
    names: dict[str, Any] = {"__name__": "shop"}
    exec(example, names)
    browser, client = names["app"].test_client(), names["switchpoint"]
    assert browser.get("/home/flask-user").text.startswith("ranked by ranker@")
    assert browser.post("/buy/flask-user").text == "thanks"
    assert client.close()
    assert len(logged(shared_project, unit="flask-user")) == 2
