"""The command line as processes, attached to one embedded server per module."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from experiment.store.server import EmbeddedServer
from tests.waiting import HUNG

ROOT = Path(__file__).resolve().parents[3]
COMMAND = [sys.executable, "-c", "from router.cli.main import main; main()"]


@dataclass(frozen=True)
class Ran:
    """What a command left: its exit code and its two streams."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


def run(*arguments: str, data: Path, cwd: Path = ROOT, encoding: str = "utf-8", **environ: str) -> Ran:
    """Run `switchpoint --data DATA ARGUMENTS...`."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("SWITCHPOINT_")}
    env |= {"SWITCHPOINT_ACTOR": "tester", "PYTHONPATH": str(ROOT), **environ}
    done = subprocess.run(
        [*COMMAND, "--data", str(data), *arguments],
        check=False,
        cwd=cwd,
        env=env,
        capture_output=True,
        encoding=encoding,
        errors="replace",
        timeout=HUNG,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    with EmbeddedServer.start(tmp_path_factory.mktemp("data")) as running:
        yield running


Cli = Callable[..., Ran]


@pytest.fixture(scope="module")
def cli(server: EmbeddedServer) -> Cli:
    """Commands on the module's server."""

    def call(*arguments: str, **environ: str) -> Ran:
        return run(*arguments, data=server.data, **environ)

    return call


DEFINITION = """\
key: home
hypothesis: Model 2 is better.
owner: team
unit: user_id
model: ranker
variants: [{key: control, model: ranker@1}, {key: treatment, model: ranker@2}]
segments:
  - {key: us, when: {country: US}, traffic: 100%, allocation: {control: 0.5, treatment: 0.5}}
  - {key: rest, traffic: 20%, allocation: {control: 0.9, treatment: 0.1}}
metrics:
  - {key: ctr, type: ratio, numerator: click, denominator: impression, role: primary}
window: 1d
decision: {design: sequential, alpha: 0.05, power: 0.8, mde: 10%, min_runtime: 14d, max_runtime: 42d, evidence: randomised}
"""


@pytest.fixture(scope="module")
def definition(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("definitions") / "home.yaml"
    path.write_text(DEFINITION)
    return path
