"""The command line, called in this process or run as one, attached to one embedded server per module."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from switchpoint.experiment.store.embedded.server import EmbeddedServer
from switchpoint.router.cli.main import main
from tests.waiting import HUNG

ROOT = Path(__file__).resolve().parents[3]
COMMAND = [sys.executable, "-c", "from switchpoint.router.cli.main import main; main()"]


@dataclass(frozen=True)
class Ran:
    """What a command left: its exit code and its two streams."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """The environment of this process without its SWITCHPOINT variables, and what is given."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("SWITCHPOINT_")}
    return {**own, "SWITCHPOINT_ACTOR": "tester", **given}


def run(*arguments: str, data: Path, cwd: Path = ROOT, encoding: str = "utf-8", **environ: str) -> Ran:
    """Run `switchpoint --data DATA ARGUMENTS...` as a process."""
    done = subprocess.run(
        [*COMMAND, "--data", str(data), *arguments],
        check=False,
        cwd=cwd,
        env=environment({"PYTHONPATH": str(ROOT), **environ}),
        capture_output=True,
        encoding=encoding,
        errors="replace",
        timeout=HUNG,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def call(*arguments: str, data: Path, **environ: str) -> Ran:
    """What `run` does, in this process: it need not start Python and import the product once more."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with (
        patch.dict(os.environ, environment(environ), clear=True),
        patch.object(sys, "argv", ["switchpoint", "--data", str(data), *arguments]),
        # the command sets up its own logging, as in a process of its own
        patch.multiple(logging.root, handlers=[], level=logging.WARNING),
        contextlib.chdir(ROOT),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    code, said = ended.value.code, [stream.buffer.getvalue().decode() for stream in (out, err)]
    assert isinstance(code, int)
    return Ran(code, *said)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    with EmbeddedServer.start(tmp_path_factory.mktemp("data")) as running:
        yield running


Cli = Callable[..., Ran]


@pytest.fixture(scope="module")
def cli(server: EmbeddedServer) -> Cli:
    """Commands on the module's server."""
    return functools.partial(call, data=server.data)


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
