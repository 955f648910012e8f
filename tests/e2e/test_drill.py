"""A drill: what happens to a service in a bad week, and whether everything that is asked tells the truth.

At each moment /readyz, `doctor`, `verify` and `status` are asked, and their answers and exit codes are compared
with what has been done to the service.
"""

from __future__ import annotations

import http.client
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis

from switchpoint.experiment.definition.types import ModelRef
from switchpoint.experiment.registry.catalog import Catalog
from switchpoint.experiment.store.embedded.server import EmbeddedServer, attach
from switchpoint.experiment.store.redis.ledger import RedisLedger
from switchpoint.experiment.store.redis.records import RedisRecords
from switchpoint.router.serving.launch import ServingProcess, free_port
from tests.e2e.test_demo import await_end_of, kill_all_of
from tests.router import world
from tests.router.cli.conftest import COMMAND, ROOT, Ran, run
from tests.router.http import get, post
from tests.waiting import patient, until

pytestmark = pytest.mark.slow

PATIENT = {"SWITCHPOINT_DEADLINE_MS": "60000"}  # a slow machine is not what the drill is about
US = {"country": "US", "device": "ios"}


@dataclass
class Service:
    """`switchpoint serve` on a data directory, as an operator runs it."""

    data: Path
    environ: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    workers: int = 2
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What the service wrote on standard error."""
        return self.data.parent / "serve.log"

    @property
    def door(self) -> ServingProcess:
        """A handle to ask it."""
        return ServingProcess(redis_url="", data=self.data, port=self.port)

    def start(self) -> None:
        """Start and wait for the first answer."""
        arguments = ["--data", str(self.data), "serve", "--port", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*COMMAND, *arguments, "--workers", str(self.workers)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), **PATIENT, **self.environ},
                stderr=log,
            )
        until(lambda: self.door.status("/healthz") == 200)

    def kill(self) -> None:
        """kill -9 of the command, gunicorn, its workers and the embedded server."""
        kill_all_of(self.data)
        assert self.process is not None
        self.process.wait()
        await_end_of(self.data)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait()

    def readyz(self) -> tuple[int, list[str]]:
        """Status and reasons of /readyz; a connection that a dying worker cut is asked again."""
        while True:
            try:
                status, _, facts = get(self.door, "/readyz")
            except (OSError, http.client.HTTPException):
                continue
            assert (status == 200) is facts["ready"] is (facts["reasons"] == [])
            return status, facts["reasons"]

    def await_reasons(self, *beginnings: str) -> None:
        """Wait until these and no others are what /readyz says is missing, whichever worker answers."""

        def said() -> bool:
            for _ in range(4 * self.workers):
                _, reasons = self.readyz()
                if reasons == ["another worker of this service is not ready"] and beginnings:
                    continue
                if len(reasons) != len(beginnings):
                    return False
                if not all(r.startswith(b) for r, b in zip(reasons, beginnings, strict=True)):
                    return False
            return True

        until(said, every=0.1)

    def refused_start(self, said: str) -> None:
        """`serve` ends at once, with the code of a platform failure and one sentence."""
        done = self.run("serve", "--port", str(self.port))
        assert (done.code, len(done.err.splitlines())) == (3, 1), done
        assert said in done.err

    @contextmanager
    def store(self) -> Iterator[redis.Redis]:
        """A client of its own server."""
        url = attach(self.data)
        assert url is not None
        with patient(url) as client:
            yield client

    def run(self, *arguments: str) -> Ran:
        environ: dict[str, Any] = {**self.environ}
        return run(*arguments, data=self.data, **environ)

    def told(self, command: str, code: int, *texts: str) -> None:
        """A command's exit code, and what it says on either stream."""
        arguments = {"doctor": ("doctor", "--json"), "status": ("status", world.EXPERIMENT)}
        done = self.run(*arguments.get(command, (command,)))
        assert done.code == code, (command, done)
        for text in texts:
            assert text in done.out + done.err, (command, text, done)
        assert "Traceback" not in done.err

    def all_is_well(self) -> None:
        """Every worker is ready, nobody falls back, and the three commands find nothing."""
        self.await_reasons()
        for i in range(8):
            until(self.well, f"well{i}")
        self.told("doctor", 0, "the audit chain holds", "2 versions, as registered")
        self.told("verify", 0, "integer for integer", "the model files are what their digests say")
        self.told("status", 0, "Verdict:")

    def well(self, unit: str) -> bool:
        """Whether the unit, who is served what it is assigned, is counted: on a busy machine a store may take
        longer than an answer waits for it."""
        answer = self.predict(unit)
        assert answer.get("reason") not in {None, "FALLBACK"}, answer
        return answer["recorded"] in {"stored", "duplicate"}

    def predict(self, unit: str) -> dict[str, object]:
        body = {"unit": unit, "attributes": US, "inputs": [1, 2]}
        answer: dict[str, object] = post(self.door, "/v1/predict/ranker", body)[2]
        return answer

    def assignment(self, unit: str) -> object:
        return post(self.door, "/v1/assign", {"unit": unit, "attributes": US})[2]

    def send(self, name: str) -> tuple[int, str]:
        """One event: the HTTP status and what became of it."""
        event = {"id": name, "type": "click", "unit": "u1", "at": world.now_ms()}
        status, _, answer = post(self.door, "/v1/events", [event])
        return status, answer["items"][0]["status"] if status == 200 else answer["code"]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    running = Service(tmp_path / "data")
    with EmbeddedServer.start(running.data) as server, patient(server.url) as client:
        world.build(RedisRecords(client), running.data)
    assert running.run("list").code == 0  # every command exports the journal
    yield running
    running.stop()
    kill_all_of(running.data)


def test_a_service_on_its_own_server(service: Service) -> None:
    """Start, kill -9 of everything, FLUSHALL and restore, a flipped and a lost model file."""
    service.environ["SWITCHPOINT_SHARDS"] = "3"  # of a new project; said once
    service.start()
    service.all_is_well()
    before = service.assignment("u1")
    said = service.log.read_text()
    assert not [word for word in ("ERROR", "CRITICAL", "Traceback") if word in said], said

    service.kill()
    del service.environ["SWITCHPOINT_SHARDS"]
    service.told("verify", 0)  # on a server that the command starts for itself
    service.start()
    service.all_is_well()
    assert service.assignment("u1") == before
    assert service.send("kept") == (200, "stored")

    emptied(service, before)
    model_file(service)


def emptied(service: Service, before: object) -> None:
    """FLUSHALL: seen at once and after a restart, until the records are restored."""
    empty = "the store is empty, but this data directory has seen it at revision 4"
    copy = service.data / "serving" / "default" / "snapshot.json"
    kept = copy.read_bytes()
    with service.store() as client:
        client.flushall()
    service.await_reasons(empty)
    for command in ("doctor", "verify", "status", "list"):
        service.told(command, 1, empty, "switchpoint restore", "journal-default.jsonl")
    done = service.run("pause", world.EXPERIMENT)  # nothing is written to it either
    assert (done.code, empty in done.err) == (1, True)
    for _ in range(2):
        service.await_reasons(empty)
        assert service.assignment("u1") == before
        until(lambda: service.predict("u1").get("prediction") is not None)  # a worker's models load beside
        assert service.send("waits") == (200, "spooled")
        assert copy.read_bytes() == kept
        service.stop()
        service.start()
    assert service.run("restore", str(service.data / "journal-default.jsonl")).code == 0
    service.all_is_well()
    assert service.assignment("u1") == before
    until(lambda: service.send("waits") == (200, "duplicate"))  # what waited was counted, once
    with service.store() as client:
        assert RedisLedger(client).settings()["shards"] == 3


def model_file(service: Service) -> None:
    """One bit of a file flips: what is loaded answers, what starts cannot load it; then the file is lost."""
    with service.store() as client:
        version = Catalog(RedisRecords(client)).model(ModelRef("ranker", 2))
    digits = version.artifact["model.skops"].removeprefix("sha256:")
    path = service.data / "models" / "sha256" / digits[:2] / digits
    sound = path.read_bytes()
    path.unlink()
    path.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    changed = f"{path} was changed, it holds sha256:"
    service.await_reasons()
    for command in ("doctor", "verify"):
        service.told(command, 1, f"ranker@2, model.skops: {changed}", "register the model file again")
    service.told("status", 0)

    service.stop()
    service.start()
    service.await_reasons(f"ranker@2 cannot be loaded: {changed}")
    answers = [service.predict(f"f{i}") for i in range(20)]
    assert {answer["model"] for answer in answers} == {"ranker@1"}
    assert {a["cause"] for a in answers if a["reason"] == "FALLBACK"} <= {"load_failed", "breaker_open"}
    path.unlink()
    for command in ("doctor", "verify"):
        service.told(command, 1, f"ranker@2, model.skops: artifact: {path} is missing", "register the model")

    again = service.data.parent / "model.skops"
    again.write_bytes(sound)
    done = service.run("model", "register", "ranker", str(again))
    assert (done.code, "ranker@2" in done.out) == (0, True), done
    service.all_is_well()  # without a restart


@pytest.fixture
def configured(tmp_path: Path) -> Iterator[tuple[Service, redis.Redis]]:
    """A service whose data directory is a file system of its own, and the server it is configured for."""
    data = tmp_path / "disk"
    data.mkdir()
    with (
        EmbeddedServer.start(tmp_path / "server") as server,
        patient(server.url) as client,
        small_disk(data),
    ):
        world.build(RedisRecords(client), data)
        running = Service(data, {"SWITCHPOINT_REDIS_URL": server.url}, workers=1)
        try:
            yield running, client
        finally:
            running.stop()
            kill_all_of(data)


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of 40 MB there; skips where a test may not mount one."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40m", "none", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"NO FULL DISK HERE: a test may not mount a file system ({mounted.stderr.decode()})")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(path: Path) -> None:
    """Write until the disk has no byte left."""
    with path.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass


def test_a_service_on_a_configured_server(configured: tuple[Service, redis.Redis]) -> None:
    """A full disk, a server that would lose counts, a wrong password: at the start and while it runs."""
    service, client = configured
    service.start()
    service.all_is_well()
    before = service.assignment("u1")

    full = f"no room on the disk for spool {service.data}"
    fill(service.data / "filler")
    service.await_reasons(full)
    assert service.assignment("u1") == before
    assert service.send("full") == (200, "stored")
    service.told("doctor", 1, "No space left on device", "make room")
    service.told("verify", 0)  # the counts are what they were
    service.told("status", 0)
    service.stop()
    service.start()
    service.await_reasons(full)
    assert service.assignment("u1") == before
    (service.data / "filler").unlink()
    service.all_is_well()

    for name, wrong, right in (
        ("maxmemory-policy", "allkeys-lru", "noeviction"),
        ("appendonly", "no", "yes"),
    ):
        service.stop()
        client.config_set(name, wrong)
        service.refused_start(
            f"this server would lose acknowledged events: {name} is {wrong}. Fix: set {name} {right}"
        )
        service.told("doctor", 1, name, wrong, f"set {name} {right}")
        client.config_set(name, right)
        service.start()
    service.all_is_well()

    client.config_set("requirepass", "secret")
    client.client_kill_filter(_type="normal", skipme=True)
    denied = "Redis refused: the password of SWITCHPOINT_REDIS_URL is missing or wrong"
    service.await_reasons(denied)
    assert service.assignment("u1") == before
    assert service.send("denied") == (200, "spooled")
    for command in ("doctor", "verify", "status"):
        service.told(command, 3, denied)
    service.stop()
    service.refused_start(denied)
    service.environ["SWITCHPOINT_REDIS_URL"] += "?password=secret"
    service.start()
    service.all_is_well()
    until(lambda: service.send("denied") == (200, "duplicate"))
