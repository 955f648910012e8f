"""Starting and stopping gunicorn: clean on SIGTERM, nothing left behind when its owner is killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from switchpoint.experiment.errors import BadInput, PlatformError
from switchpoint.experiment.store.embedded.process import alive
from switchpoint.router.serving import launch
from switchpoint.router.serving.launch import ServingProcess, free_port, metrics_folder, require_free
from tests.e2e.test_chaos import workers_of
from tests.waiting import HUNG, replace_time, until

SERVE = """
import sys
from pathlib import Path
from switchpoint.router.serving.launch import ServingProcess, attend
data, port = Path(sys.argv[1]), int(sys.argv[2])
sys.exit(attend(ServingProcess(redis_url="unix:///nowhere.sock", data=data, port=port, workers=1)))
"""


def owner(data: Path, port: int) -> tuple[subprocess.Popen[bytes], ServingProcess]:
    """A process that serves, and a handle to ask it."""
    process = subprocess.Popen([sys.executable, "-c", SERVE, str(data), str(port)])
    asked = ServingProcess(redis_url="", data=data, port=port)
    await_status(asked, 200)
    return process, asked


def await_status(serving: ServingProcess, wanted: int | None) -> None:
    until(lambda: serving.status("/healthz") == wanted, every=0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_service_in_order(tmp_path: Path, number: signal.Signals) -> None:
    process, serving = owner(tmp_path, free_port())
    process.send_signal(number)
    assert process.wait(HUNG) == 0
    assert serving.status("/healthz") is None
    assert not list(tmp_path.glob("serving/metrics-*"))


def test_killed_owner_leaves_no_service_behind(tmp_path: Path) -> None:
    """The master gets SIGTERM from the kernel and takes its workers along."""
    process, serving = owner(tmp_path, free_port())
    process.kill()
    process.wait()
    await_status(serving, None)


def test_killed_master_takes_its_workers_along(tmp_path: Path) -> None:
    """No orphan keeps the port: a new service can bind it."""
    port = free_port()
    serving = ServingProcess(redis_url="unix:///nowhere.sock", data=tmp_path, port=port, workers=1)
    serving.start()
    os.kill(serving.pid, signal.SIGKILL)
    await_status(serving, None)
    serving.stop()
    with ServingProcess(redis_url="unix:///nowhere.sock", data=tmp_path, port=port, workers=1) as again:
        assert again.status("/healthz") == 200


def test_service_that_cannot_start_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A wrong setting ends the start at once; the log names the variable and the fix."""
    environ = {"SWITCHPOINT_DEADLINE_MS": "soon"}
    serving = ServingProcess(redis_url="unix:///x", data=tmp_path, port=free_port(), environ=environ)
    with pytest.raises(PlatformError, match="ended while starting"):
        serving.start()
    assert "SWITCHPOINT_DEADLINE_MS" in capfd.readouterr().err


def test_an_address_that_cannot_be_listened_on_is_named_before_anything_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=rf"cannot listen on 127.0.0.1:{port}: .*another --port"):
            require_free("127.0.0.1", port)
    require_free("127.0.0.1", port)
    with pytest.raises(BadInput, match="--host"):
        require_free("no such host", 8000)


def test_a_master_that_stops_leaves_the_folder_to_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service killed and started again: the old master may stop while the new one's workers start."""
    from switchpoint.router.serving import gunicorn_conf

    folder = tmp_path / "metrics-8000"
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(folder))
    gunicorn_conf.on_starting(None)
    (folder / "counter_1.db").write_bytes(b"")
    gunicorn_conf.on_starting(None)  # counts from zero
    assert not list(folder.glob("*.db"))
    (folder / "master").write_text("1 1", encoding="ascii")  # another master's now
    gunicorn_conf.on_exit(None)
    assert folder.is_dir()
    gunicorn_conf.on_starting(None)
    gunicorn_conf.on_exit(None)
    assert not folder.exists()


def test_a_service_is_started_again_in_the_moment_in_which_all_of_it_was_killed(tmp_path: Path) -> None:
    """No orphan has the port: not while the master takes its leave, and not where a worker hangs."""
    port = free_port()
    for hung in (False, True):
        process, serving = owner(tmp_path, port)
        master, _ = map(int, (metrics_folder(tmp_path, port) / "master").read_text().split())
        [worker] = workers_of(master)
        if hung:
            os.kill(worker, signal.SIGSTOP)
        process.kill()
        process.wait()
        require_free("127.0.0.1", port, data=tmp_path)
        until(lambda *pids: not any(map(alive, pids)), master, worker)
        assert serving.status("/healthz") is None


def test_a_killed_master_takes_a_hung_worker_along(tmp_path: Path) -> None:
    port = free_port()
    serving = ServingProcess(redis_url="unix:///nowhere.sock", data=tmp_path, port=port, workers=1)
    serving.start()
    [worker] = workers_of(serving.pid)
    os.kill(worker, signal.SIGSTOP)
    os.kill(serving.pid, signal.SIGKILL)
    until(lambda: not alive(worker))
    serving.stop()
    require_free("127.0.0.1", port)


def test_what_ends_at_once_is_started_again_after_longer_and_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """And at once again when it had lived."""
    now, starts, alive = [100.0], list[float](), [False]
    replace_time(monkeypatch, launch, monotonic=lambda: now[0])

    class Ending(launch.Child):
        def start(self, *, ready: bool = True) -> None:
            starts.append(now[0])

        def alive(self) -> bool:
            return alive[0]

    rest = launch._Rest(Ending(()))
    for _ in range(200):
        rest.start_again()
        now[0] += 0.5
    assert [later - earlier for earlier, later in pairwise(starts)] == [1, 2, 4, 8, 16, 30, 30]
    alive[0] = True
    now[0] += 100
    rest.start_again()
    alive[0] = False
    rest.start_again()
    assert starts[-1] == now[0]
