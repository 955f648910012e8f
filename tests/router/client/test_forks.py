"""A client made before a fork: every child follows the service and delivers by itself, however it was forked."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from switchpoint.router.client import Client
from switchpoint.router.serving.launch import free_port
from tests.router import world
from tests.router.client.service import Answer, Service, serving, snapshot, stored
from tests.router.conftest import Project
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[3]
FORKS = {"python": "os.fork()", "c": "fork_in_c()"}
BEGIN = """
import ctypes, os, sys, time
from pathlib import Path
from switchpoint.router.client import Client
url, folder, go = sys.argv[1:]
client = Client(url, data=folder, refresh_seconds=0.05, timeout=5)
def enrolled():
    return client.assign("u1", {"country": "US"}, experiment="home-ranker").enrolled
libc, told = ctypes.PyDLL(None), []
def fork_in_c():
    # As uWSGI does it: no hook runs before, Python is told in the child, before any of its code goes on there;
    # SQLite's own locks cannot be helped.
    if not told:
        child = ctypes.cast(ctypes.pythonapi.PyOS_AfterFork_Child, ctypes.c_void_p)
        told.append(libc["__register_atfork"](None, None, child, None))
    with client._spool._file._lock:
        return libc.fork()
def until(state):
    end = time.monotonic() + 20
    while not state():
        if time.monotonic() > end:
            os._exit(3)
        time.sleep(0.005)
"""


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as running:
        running.document = snapshot(running=True)
        yield running


class Host:
    """A host's process that runs `script` after it made a client."""

    def __init__(self, service: Service, folder: Path, script: str) -> None:
        self.go = folder / "go"
        self.process = subprocess.Popen(
            [sys.executable, "-c", BEGIN + script, service.url, str(folder / "data"), str(self.go)],
            stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip

    def said(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.mark.parametrize("fork", FORKS)
def test_a_child_that_only_assigns_follows(service: Service, tmp_path: Path, fork: str) -> None:
    script = f"""
if not (pid := {FORKS[fork]}):
    until(enrolled)
    print("enrolled", flush=True)
    until(lambda: not enrolled())
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    with Host(service, tmp_path, script) as host:
        assert host.said() == "enrolled"
        service.document = snapshot(running=False, revision=2)
        assert host.process.wait(30) == 0


@pytest.mark.parametrize("fork", FORKS)
def test_the_first_use_of_a_child_is_as_fresh_as_its_parents(
    service: Service, tmp_path: Path, fork: str
) -> None:
    """A worker that waits for its first request must not answer it from before the fork."""
    script = f"""
if not (pid := {FORKS[fork]}):
    print("forked", flush=True)
    until(Path(go).exists)
    os._exit(enrolled())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    with Host(service, tmp_path, script) as host:
        assert host.said() == "forked"
        service.document = snapshot(running=False, revision=2)
        looks = service.looks
        until(lambda: service.looks > looks + 3)  # the parent's: more than an interval went by
        host.go.touch()
        assert host.process.wait(30) == 0


@pytest.mark.parametrize("fork", FORKS)
def test_a_child_forked_while_its_parent_looks_looks_by_itself(
    service: Service, tmp_path: Path, fork: str
) -> None:
    script = f"""
import threading
looking, answered = threading.Event(), threading.Event()
ask = client._remote.stamp
def wait():
    looking.set()
    answered.wait()
    return ask()
client._remote.stamp = wait
looking.wait()
if not (pid := {FORKS[fork]}):
    client._remote.stamp = ask
    time.sleep(0.1)
    os._exit(not enrolled())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    with Host(service, tmp_path, script) as host:
        assert host.process.wait(30) == 0


@pytest.mark.parametrize("fork", FORKS)
def test_children_forked_in_the_thick_of_it_deliver(service: Service, tmp_path: Path, fork: str) -> None:
    """Threads of the parent hold every lock there is at one fork or another; grandchildren count too."""
    script = f"""
import threading
forked = threading.Event()
def busy():
    while not forked.is_set():
        client.track("click", "parent")
        enrolled()
for _ in range(2):
    threading.Thread(target=busy, daemon=True).start()
children = []
for n in range(8):
    if not (pid := {FORKS[fork]}):
        ok = enrolled() and client.track("click", "child", id=f"child-{{n}}")
        grandchild = {FORKS[fork]} if n == 3 else None
        if grandchild == 0:
            ok = enrolled() and client.track("click", "child", id="grandchild")
        elif grandchild:
            ok = os.waitpid(grandchild, 0)[1] == 0 and ok
        os._exit(0 if ok and client.flush(20) else 1)
    children.append(pid)
forked.set()
codes = [os.waitpid(pid, 0)[1] for pid in children]
os._exit(any(codes))
"""
    with Host(service, tmp_path, script) as host:
        assert host.process.wait(60) == 0
    with Client(service.url, data=tmp_path / "data") as client:
        assert client.flush(20)
    found = {event["id"] for event in service.events if event["unit"] == "child"}
    assert found == {*(f"child-{n}" for n in range(8)), "grandchild"}


@pytest.mark.parametrize("fork", FORKS)
def test_a_child_has_its_own_handle_of_the_queue(service: Service, tmp_path: Path, fork: str) -> None:
    """SQLite connections must not cross a fork, nor a lock that a thread of the parent may hold."""
    script = f"""
client.waiting()
connection = client._spool._file._connection
if not (pid := {FORKS[fork]}):
    client.waiting()
    with client._spool._file._lock:
        os._exit(client._spool._file._connection is connection)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    with Host(service, tmp_path, script) as host:
        assert host.process.wait(30) == 0


def test_a_child_does_not_keep_its_killed_parents_lock(service: Service, tmp_path: Path) -> None:
    """Forked while the parent was sending, the child would hold the queue as long as it lives."""
    gate = threading.Event()

    def slow(events: list[dict[str, object]]) -> Answer:
        assert gate.wait(60)
        return stored(events)

    service.on_events = slow
    script = """
client.track("click", "u", id="c")
until(Path(go).exists)
if not (pid := os.fork()):
    print("forked", os.getpid(), flush=True)
    time.sleep(60)
time.sleep(60)
"""
    with Host(service, tmp_path, script) as host:
        until(lambda: service.batches)
        host.go.touch()
        child = int(host.said().split()[1])
        host.process.kill()
        host.process.wait()
        try:
            gate.set()
            with Client(service.url, data=tmp_path / "data") as client:
                assert client.flush(20)
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_client_closed_before_the_fork_stays_closed(service: Service, tmp_path: Path) -> None:
    script = """
client.close()
if not (pid := os.fork()):
    enrolled()
    import threading
    os._exit(threading.active_count() - 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    with Host(service, tmp_path, script) as host:
        assert host.process.wait(30) == 0


@pytest.mark.parametrize("worker", ["sync", "gevent"])
def test_gunicorn_preload_with_the_readmes_app(project: Project, tmp_path: Path, worker: str) -> None:
    """The app of the README, made in the master: its workers hear of the pause."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    port = free_port()
    with project.serving(workers=1) as platform:
        app = example.replace("http://127.0.0.1:8000", platform.url)
        (tmp_path / "shop.py").write_text(app.replace("shop-events", str(tmp_path / "events")))
        shop = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--preload", "-w", "2", "-k", worker, "-b", f"127.0.0.1:{port}", "shop:app"],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL,
        )  # fmt: skip

        def ranked(unit: str) -> str:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/home/{unit}", timeout=30) as answer:
                    return str(answer.read().decode())
            except urllib.error.URLError:
                return ""

        try:
            until(lambda: ranked("u1"), seconds=60)
            treated = next(f"u{n}" for n in range(99) if ranked(f"u{n}") == "ranked by ranker@2")
            project.catalog.pause(world.EXPERIMENT, at=world.now_ms(), actor="test")
            until(lambda: {ranked(treated) for _ in range(20)} == {"ranked by ranker@1"}, seconds=60)
        finally:
            shop.terminate()
            shop.wait(30)
