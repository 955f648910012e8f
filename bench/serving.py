"""Requests per second of POST /v1/assign beside an empty Flask route under the same gunicorn settings.

`python -m bench.serving [--json] [--seconds S] [--workers N]` starts an embedded server, a project with one
running experiment, and two services in turn. Load comes from `wrk` where it is on the PATH, else from a
small Python generator, which then is the slower part and pulls the ratio towards 1. One worker by default,
which leaves the second core of a small machine to the generator.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from flask import Flask

from switchpoint.experiment.language import experiment as parsing
from switchpoint.experiment.registry.catalog import Catalog
from switchpoint.experiment.registry.model import Content, Format
from switchpoint.experiment.store.embedded.server import EmbeddedServer, connect
from switchpoint.experiment.store.redis.records import RedisRecords
from switchpoint.router.serving.launch import ServingProcess, free_port

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

from bench.assignment import DEFINITION

GOAL = 0.8
ROUNDS = 3
CONNECTIONS = 16
_SCRIPT = """
local n = 0
request = function()
  n = n + 1
  local body = string.format('{"unit": "user-%d", "attributes": {"country": "US"}}', n)
  return wrk.format("POST", "/v1/assign", {["Content-Type"] = "application/json"}, body)
end
"""


class Line(NamedTuple):
    """One line of the table."""

    what: str
    per_second: float


def empty() -> WSGIApplication:
    """The floor: a Flask application whose route answers {}."""
    app = Flask("empty", static_folder=None)

    @app.get("/")
    @app.get("/healthz")
    def nothing() -> dict[str, str]:
        return {}

    return app


def prepare(server: EmbeddedServer) -> None:
    """A running experiment; its versions are upstreams nobody calls here."""
    with connect(server.url) as client:
        catalog = Catalog(RedisRecords(client))
        for version in (1, 2):
            made = Content(format=Format.HTTP, upstream=f"http://model.invalid/{version}")
            catalog.register_model("ranker", made, at=1, actor="bench")
        catalog.apply(parsing.load(DEFINITION), at=2, actor="bench")
        catalog.start("home-ranker", at=3, actor="bench")


def rate(serving: ServingProcess, seconds: float, *, assign: bool, folder: Path) -> float:
    """Requests per second of one run."""
    wrk = shutil.which("wrk")
    if wrk is None:
        return _generate(serving, seconds, assign=assign)
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s"]
    if assign:
        script = folder / "assign.lua"
        script.write_text(_SCRIPT)
        command += ["-s", str(script)]
    said = subprocess.run([*command, serving.url + "/"], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said:
        raise SystemExit(f"errors under load:\n{said}")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])  # type: ignore[index]  # wrk always prints it


def _generate(serving: ServingProcess, seconds: float, *, assign: bool) -> float:
    """Keep-alive connections of a few threads, one request at a time each."""
    body = b'{"unit": "user-1", "attributes": {"country": "US"}}'
    post = b"POST /v1/assign HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    request = post if assign else b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
    counts: list[int] = []
    end = time.monotonic() + seconds

    def one() -> None:
        done = 0
        with socket.create_connection((serving.host, serving.port)) as sock:
            while time.monotonic() < end:
                sock.sendall(request)
                if not sock.recv(65536).startswith(b"HTTP/1.1 200"):
                    raise SystemExit("errors under load")
                done += 1
        counts.append(done)

    threads = [threading.Thread(target=one) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def measure(seconds: float, workers: int) -> list[Line]:
    """Both services up at once, loaded in turn, the best of some rounds each."""
    best = {"empty Flask route": 0.0, "POST /v1/assign": 0.0}
    with tempfile.TemporaryDirectory() as temporary, EmbeddedServer.start(Path(temporary) / "data") as server:
        folder = Path(temporary)
        prepare(server)
        floor = ServingProcess(
            redis_url=server.url,
            data=folder / "empty",
            port=free_port(),
            workers=workers,
            application="bench.serving:empty()",
        )
        assign = ServingProcess(redis_url=server.url, data=folder / "data", port=free_port(), workers=workers)
        with floor, assign:
            for _ in range(ROUNDS):
                for name, serving in zip(best, (floor, assign), strict=True):
                    found = rate(serving, seconds, assign=serving is assign, folder=folder)
                    best[name] = max(best[name], found)
    return [Line(name, found) for name, found in best.items()]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="machine-readable")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one run")
    parser.add_argument("--workers", type=int, default=1, help="gunicorn workers of each service")
    asked = parser.parse_args()
    lines = measure(asked.seconds, asked.workers)
    ratio = lines[1].per_second / lines[0].per_second
    generator = "wrk" if shutil.which("wrk") else "python"
    if asked.json:
        ratios = {"assign_to_empty": ratio, "goal": GOAL, "met": ratio >= GOAL}
        print(
            json.dumps(
                {"lines": [line._asdict() for line in lines], "generator": generator, "ratios": ratios}
            )
        )
        return 0
    print("| under gunicorn gevent | requests/s |\n|---|---|")
    print("\n".join(f"| {line.what} | {line.per_second:,.0f} |" for line in lines))
    verdict = "met" if ratio >= GOAL else "missed"
    print(f"\n/v1/assign / empty route: {ratio:.2f} (goal {GOAL:g}: {verdict}); load: {generator}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
