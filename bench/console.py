"""What the console costs: its pages over HTTP, their size and first paint, and tabs that stay open.

`python -m bench.console [--json] [--experiments 1000]` fills a board as a worker of a thousand running
experiments would (one with 60 exposure days and a million units: fifty times the sums of 20,000), starts the
console over it and asks as a browser does. `/healthz`, which shows nothing, stands beside as the floor.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.report import DAYS as TRAFFIC_DAYS
from bench.report import START, running, traffic
from switchpoint.analysis.analyze import analyze_ledger
from switchpoint.analysis.report.report import Report
from switchpoint.experiment.definition.types import DAY_MS
from switchpoint.experiment.ledger.fold import ledger_plan
from switchpoint.experiment.ledger.moments import Cell, Moments
from switchpoint.experiment.registry.catalog import Catalog
from switchpoint.experiment.registry.model import Content, Format
from switchpoint.experiment.store.accounts import Accounts, accounts_path
from switchpoint.experiment.store.board import Board, Kept, board_path
from switchpoint.experiment.store.embedded.server import EmbeddedServer, connect
from switchpoint.experiment.store.memory import MemoryLedger
from switchpoint.experiment.store.redis.records import RedisRecords
from switchpoint.router.cli.commands.console import console_process
from switchpoint.router.serving.launch import WebProcess, free_port
from switchpoint.router.worker.documents import judged

UNITS, TIMES, DAYS = 20_000, 50, 60
REPEATS, TABS, SECONDS = 30, 50, 20
KEY = "home-ranker"


def large_report() -> Report:
    """One experiment with 60 exposure days and a million units."""
    state = running()
    plan, ledger = ledger_plan([state]), MemoryLedger()
    start, stretch = state.started_at or 0, DAYS / TRAFFIC_DAYS
    spread = (replace(event, at=start + int((event.at - start) * stretch)) for event in traffic(state, UNITS))
    ledger.record(list(spread), plan)
    moments: Moments = {key: _times(cell) for key, cell in ledger.moments(state.key, plan).items()}
    return analyze_ledger(state, moments, at=start + (DAYS + 8) * DAY_MS)


def _times(cell: Cell) -> Cell:
    """The cell of as many times its units."""
    metrics = tuple(type(sums)(*(TIMES * value for value in sums)) for sums in cell.metrics)
    return replace(cell, n=TIMES * cell.n, exposures=TIMES * cell.exposures, metrics=metrics)


def fill(board: Board, report: Report, experiments: int) -> None:
    """The board of so many running experiments."""
    state, now = running(), time.time_ns() // 1_000_000
    documents = judged(state, report)
    rows = [Kept(kind=kind, key=state.key, at=now, body=body) for kind, body in documents.items()]
    for number in range(experiments - 1):
        summary = documents["summary"]
        body = {**summary, "state": {**summary["state"], "key": f"experiment-{number:04}"}}
        rows.append(Kept(kind="summary", key=f"experiment-{number:04}", at=now, body=body))
    rows.append(Kept(kind="worker", key="heartbeat", at=now, body={"clock": now, "problems": []}))
    board.put_many(rows)


def register(catalog: Catalog) -> None:
    """The one experiment that is looked at, on record."""
    for number in (1, 2):
        content = Content(format=Format.HTTP, upstream=f"https://models.example/{number}")
        catalog.register_model("ranker", content, at=START, actor="bench")
    catalog.apply(running().definition, at=START, actor="bench")
    catalog.start(KEY, at=START, actor="bench")


@contextmanager
def site(experiments: int) -> Iterator[tuple[WebProcess, str]]:
    """A console over such a board, and the cookie of somebody who is logged in."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer.start(Path(folder)) as server:
        data = Path(folder)
        register(Catalog(RedisRecords(connect(server.url))))
        fill(Board(board_path(data, "default")), large_report(), experiments)
        token = Accounts(accounts_path(data, "default")).open_session(
            "bench", "admin", at=time.time_ns() // 1_000_000
        )
        environ = {
            "SWITCHPOINT_REDIS_URL": server.url,
            "SWITCHPOINT_DATA": folder,
            "SWITCHPOINT_PROJECT": "default",
        }
        with console_process(environ, host="127.0.0.1", port=free_port()) as process:
            yield process, f"switchpoint={token}"


def page(process: WebProcess, cookie: str, path: str) -> dict[str, Any]:
    """Median time of a page over a kept connection, and its size."""
    connection = http.client.HTTPConnection(process.host, process.port, timeout=30)
    times, size = [], 0
    for _ in range(REPEATS):
        begun = time.perf_counter()
        connection.request("GET", path, headers={"Cookie": cookie})
        answer = connection.getresponse()
        size = len(answer.read())
        times.append((time.perf_counter() - begun) * 1e3)
        assert answer.status == http.client.OK, (path, answer.status)
    connection.close()
    return {"path": path, "ms": statistics.median(times), "kB": size / 1000}


def processor_seconds(process: WebProcess) -> float:
    """Of the console's master and worker."""
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == process.pid:  # its process group
            total += (int(fields[11]) + int(fields[12])) / 100
    return total


def tabs(process: WebProcess, cookie: str) -> dict[str, float]:
    """What so many pages that follow changes cost while nothing does."""
    opened = []
    for _ in range(TABS):
        connection = http.client.HTTPConnection(process.host, process.port, timeout=60)
        connection.request("GET", "/live", headers={"Cookie": cookie})
        opened.append((connection, connection.getresponse()))
    before = processor_seconds(process)
    time.sleep(SECONDS)
    spent = processor_seconds(process) - before
    for connection, _ in opened:
        connection.close()
    return {"tabs": TABS, "percent_of_a_core": 100 * spent / SECONDS}


def first_paint(process: WebProcess, cookie: str) -> dict[str, float]:
    """Median first contentful paint in Chromium, ms; empty without one."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return {}
    from playwright.sync_api import sync_playwright

    name, _, value = cookie.partition("=")
    painted: dict[str, float] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context()
        context.add_cookies([{"name": name, "value": value, "url": process.url}])
        for path in ("/", f"/experiments/{KEY}"):
            times = []
            for _ in range(5):
                opened = context.new_page()
                opened.goto(process.url + path)
                opened.wait_for_load_state("load")
                times.append(opened.evaluate(_PAINT))
                opened.close()
            painted[path] = statistics.median(times)
        browser.close()
    return painted


_PAINT = """() => new Promise(resolve => {
  const look = () => {
    const paint = performance.getEntriesByName('first-contentful-paint')[0];
    paint ? resolve(paint.startTime) : setTimeout(look, 20);
  };
  look();
})"""


def measure(experiments: int) -> dict[str, Any]:
    """Everything, in one run."""
    with site(experiments) as (process, cookie):
        pages = [
            page(process, cookie, path)
            for path in ("/healthz", "/", "/?q=0042", f"/experiments/{KEY}", "/tv", "/models")
        ]
        return {"pages": pages, "paint_ms": first_paint(process, cookie), "tabs": tabs(process, cookie)}


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--experiments", type=int, default=1000)
    arguments = parser.parse_args()
    found = measure(arguments.experiments)
    if arguments.json:
        print(json.dumps({"console": found}))
        return 0
    print("| page | time | size | first paint |\n|---|---:|---:|---:|")
    for row in found["pages"]:
        paint = found["paint_ms"].get(row["path"])
        shown = "" if paint is None else f"{paint:.0f} ms"
        print(f"| {row['path']} | {row['ms']:.0f} ms | {row['kB']:.0f} kB | {shown} |")
    open_tabs = found["tabs"]
    print(f"\n{open_tabs['tabs']} tabs that follow changes: {open_tabs['percent_of_a_core']:.1f} % of a core")
    return 0


if __name__ == "__main__":
    sys.exit(main())
