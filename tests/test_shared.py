"""Without the shared data a run says what it did not test, and fails where CI=true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ABSENT, ROOT
from tests.waiting import HUNG


@pytest.mark.parametrize(("ci", "code", "outcome"), [("", 0, "skipped"), ("true", 1, "errors")])
def test_a_run_without_the_shared_data_is_not_simply_green(
    tmp_path: Path, ci: str, code: int, outcome: str
) -> None:
    environ = {**os.environ, "SWITCHPOINT_SHARED": str(tmp_path), "CI": ci}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/oracles", "-k", "case"]
    done = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=HUNG
    )
    assert done.returncode == code, done.stdout
    assert ABSENT in done.stdout
    counted = re.search(rf"(\d+) {outcome}", done.stdout)
    assert counted is not None, done.stdout
    assert "passed" not in done.stdout
    assert (f"{counted[1]} tests were NOT run" in done.stdout) == (not ci)
