"""The demo: right about its known truth, resumable, and nothing is left running whatever ends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from switchpoint.experiment.registry.catalog import Catalog
from switchpoint.experiment.registry.decision import VerdictKind
from switchpoint.experiment.store.artifacts import Artifacts
from switchpoint.experiment.store.board import Board, board_path
from switchpoint.experiment.store.memory import MemoryLedger, MemoryRecords
from switchpoint.router.demo.plan import DemoPlan
from tests.router.cli.conftest import COMMAND, ROOT, run
from tests.router.demo.offline import Offline, run_offline
from tests.waiting import HUNG, until

SHOPPERS = "5000"


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    left = kill_all_of(tmp_path)
    assert not left, "processes were left running"


def processes_of(folder: Path) -> list[int]:
    """Processes that name the folder in their command line or environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            known = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            gone = (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            continue
        if not gone and str(folder).encode() in known:
            found.append(int(entry.name))
    return found


def await_end_of(folder: Path) -> None:
    """Wait for the last processes of the folder: a model's process sees that its worker has gone, and ends."""
    until(lambda: not processes_of(folder), every=0.1)


def kill_all_of(folder: Path) -> list[int]:
    """kill -9 of every process of the folder; those that were there."""
    there = processes_of(folder)
    for pid in there:
        with suppress(ProcessLookupError):  # it ended with the one before it
            os.kill(pid, signal.SIGKILL)
    return there


def start_and_await_day(data: Path, day: int, *options: str, once: bool = True) -> subprocess.Popen[bytes]:
    """A demo under way whose first `day` days are sent."""
    ending = ["--once"] if once else []
    arguments = [*COMMAND, "--data", str(data), "demo", *ending, "--shoppers", SHOPPERS, *options]
    demo = subprocess.Popen(
        arguments,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: demo.poll() is not None or days_sent(data) >= day)
    assert demo.poll() is None, "the demo ended too early"
    return demo


def days_sent(data: Path) -> int:
    try:
        return int(json.loads((data / "demo" / "demo.json").read_text())["next_day"])
    except (OSError, ValueError):
        return 0


@pytest.mark.slow
def test_a_run_killed_with_9_leaves_nothing_running_and_continues_to_the_right_verdict(data: Path) -> None:
    demo = start_and_await_day(data, 2)
    demo.send_signal(signal.SIGKILL)
    demo.wait()
    await_end_of(data)
    sent = days_sent(data)
    assert 2 <= sent < 14

    done = run("demo", "--once", "--continue", "--shoppers", SHOPPERS, data=data)
    assert done.code == 0, done.err + done.out
    assert "The verdict is RIGHT." in done.out
    assert "Verdict: PROMOTE treatment" in done.out
    assert "folds to the live moments, integer for integer" in done.out
    await_end_of(data)

    folder = data / "demo"
    report = json.loads((folder / "report.json").read_text())
    assert report["verdict"]["kind"] == "promote"
    assert report["pending"] == report["late"] == 0
    counts = report["live"]["variants"]
    assert all(v["fallbacks"] == v["mismatches"] == v["contaminated"] == 0 for v in counts)
    assert (folder / "report.html").read_text().startswith("<!doctype html>")
    assert days_sent(data) == 14

    # what the same events come to without HTTP: every event was counted once, in spite of kill -9
    same = offline(DemoPlan(seed=1, shoppers=int(SHOPPERS)), data / "offline")
    assert [v["n"] for v in counts] == [v.n for v in same.look.report.live.variants]
    live = {m["key"]: m["values"] for m in report["live"]["metrics"]}
    for metric in same.look.report.live.metrics:
        if metric.key != "latency":  # measured at the door
            assert [v["numerator"] for v in live[metric.key]] == [v.numerator for v in metric.values]

    champions = {v["ref"]: v["champion_of"] for v in run("model", "list", "--json", data=folder).json()}
    assert champions == {"ranker@1": ["default"], "ranker@2": ["us", "ca", "rest"]}
    assert run("verify", data=folder).code == 0


@pytest.mark.slow
def test_a_run_too_small_for_a_verdict_is_undecided_and_ends_quietly(data: Path) -> None:
    """An honest `continue` or `invalid` is no contradiction, and nothing is left to say on standard error."""
    done = run("demo", "--once", "--shoppers", "300", data=data)
    assert done.code == 0, done.err + done.out
    assert "The verdict is undecided" in done.out
    assert done.err == ""
    assert list((data / "demo").rglob("journal*"))
    await_end_of(data)


@pytest.mark.slow
def test_ctrl_c_in_the_middle_ends_everything(data: Path) -> None:
    demo = start_and_await_day(data, 1, "--seed", "2", "--aa", once=False)
    board = Board(board_path(data / "demo", "default"))
    until(lambda: board.get("report", "home-ranker"))  # its console has something to show
    board.close()
    demo.send_signal(signal.SIGINT)
    assert demo.wait(timeout=HUNG) == 130
    await_end_of(data)


def offline(plan: DemoPlan, folder: Path) -> Offline:
    return run_offline(plan, Catalog(MemoryRecords()), MemoryLedger(), Artifacts(folder / "models"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_the_verdict_is_right_about_a_true_difference(seed: int, tmp_path: Path) -> None:
    found = offline(DemoPlan(seed=seed), tmp_path)
    assert found.judgement.right, found.judgement.sentence
    assert found.look.report.verdict.kind is VerdictKind.PROMOTE
    assert found.look.report.verdict.variant == "treatment"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 21))
def test_an_a_a_run_does_not_promote(seed: int, tmp_path: Path) -> None:
    found = offline(DemoPlan(seed=seed, aa=True), tmp_path)
    assert found.look.report.verdict.kind is not VerdictKind.PROMOTE
    assert all(row.effect == 0.0 for row in found.judgement.rows)
