"""Files that people bring: read and judged by a process of their own, kept for a day, whoever closes the tab."""

from __future__ import annotations

import html
import json
import os
import signal
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from switchpoint.router.cli.main import cli
from switchpoint.router.console.access import Role
from switchpoint.router.console.project import Project as Behind
from switchpoint.router.console.views import files
from tests.router.console.conftest import Browser
from tests.waiting import until

LogIn = Callable[[Role], Browser]
EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
TABLE = b"variant,users,buyers\ncontrol,10000,1000\ntreatment,10000,1200\n"
EVIL = '"><script>alert(1)</script><img src=x onerror=alert(1)>'


@pytest.fixture
def analyst(log_in: LogIn) -> Browser:
    return log_in(Role.ANALYST)


def bring(browser: Browser, content: bytes, name: str, status: int = 303) -> str:
    """Upload by the page's form; the id of the file, or the text of the page that says what is wrong."""
    quoted = name.replace('"', "%22")  # as browsers send it
    head = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{quoted}"\r\n\r\n'
    word = f'\r\n--x\r\nContent-Disposition: form-data; name="csrf"\r\n\r\n{browser.csrf}\r\n--x--\r\n'
    answer = browser.client.post(
        "/api/v1/files",
        data=head.encode() + content + word.encode(),
        content_type="multipart/form-data; boundary=x",
        headers={"Origin": "http://localhost"},
    )
    assert answer.status_code == status, answer.text
    return answer.headers["Location"].rpartition("/")[2] if status == 303 else str(answer.text)


def state(browser: Browser, key: str) -> dict[str, Any]:
    answer = browser.json(f"/files/{key}")
    assert isinstance(answer, dict)
    return answer


def settled(browser: Browser, key: str) -> dict[str, Any]:
    until(lambda: state(browser, key)["status"] != "running")
    return state(browser, key)


def judged(browser: Browser, key: str, spec: str) -> dict[str, Any]:
    browser.send(f"/api/v1/files/{key}/judge", {"spec": spec})
    return settled(browser, key)


def hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that begin and never end by themselves."""
    monkeypatch.setattr(files, "_WORK", "import time; time.sleep(10_000)")


def test_a_table_is_read_corrected_and_judged_as_analyze_does_it(
    analyst: Browser, tmp_path: Path, behind: Behind
) -> None:
    key = bring(analyst, TABLE, "test.csv")
    file = settled(analyst, key)
    assert file["status"] == "done", file
    (tmp_path / "table.csv").write_bytes(TABLE)
    command = CliRunner().invoke(cli, ["analyze", str(tmp_path / "table.csv"), "--json"])
    assert file["suggestion"] == json.loads(command.output)
    page = html.unescape(analyst.get(f"/file/{key}"))
    for line in (*file["suggestion"]["doubtful"], file["spec"]):
        assert line in page
    spec = file["spec"].replace("assignment: unknown", "assignment: randomised")
    file = judged(analyst, key, spec)
    assert file["status"] == "done", file
    (tmp_path / "spec.yaml").write_text(file["spec"])
    at = datetime.fromtimestamp(behind.board.reports(f"file {key}")[0].at / 1000, UTC).isoformat()
    options = ["analyze", str(tmp_path / "table.csv"), "--spec", str(tmp_path / "spec.yaml"), "--at", at]
    command = CliRunner().invoke(cli, [*options, "--json"])
    assert analyst.json(f"/reports/{file['report']}") == json.loads(command.output)
    assert f"/reports/{file['report']}/page" in analyst.get(f"/file/{key}")
    assert "brought as a file" in analyst.get(f"/reports/{file['report']}")


def test_many_experiments_in_one_table_give_the_batch_report(analyst: Browser) -> None:
    rows = [
        f"e{e},{v},{1000 + 7 * e},{n + e}"
        for e in (1, 2, 3)
        for v, n in (("control", 100), ("treatment", 130))
    ]
    key = bring(analyst, ("experiment,variant,users,buyers\n" + "\n".join(rows)).encode(), "many.csv")
    file = settled(analyst, key)
    file = judged(analyst, key, file["spec"])
    assert file["status"] == "done", file
    assert "brought as a file" in analyst.get(f"/reports/{file['report']}")
    assert "e3" in analyst.get(f"/reports/{file['report']}/page")


def test_names_of_files_and_columns_are_shown_and_never_run(analyst: Browser) -> None:
    quoted = EVIL.replace('"', '""')
    content = f'variant,users,"{quoted}"\n"a{quoted}",10000,1000\nb,10000,1200\n'
    key = bring(analyst, content.encode(), f"../../etc/{EVIL}.csv")
    file = settled(analyst, key)
    file = judged(analyst, key, file["spec"])
    assert file["report"], file
    for path in ("/file", f"/file/{key}", f"/reports/{file['report']}", f"/reports/{file['report']}/page"):
        page = analyst.get(path)
        assert "<script>alert" not in page
        assert "<img src=x" not in page


def test_what_is_no_table_is_refused_and_nothing_is_kept(analyst: Browser, behind: Behind) -> None:
    assert "not a table this reads" in bring(analyst, b"MZ", "setup.exe", 400)
    assert "is missing" in bring(analyst, b"", "", 400)
    key = bring(analyst, b"\x00\x01\x02", "broken.parquet")
    file = settled(analyst, key)
    assert file["status"] == "failed"
    assert file["problem"]["fix"]
    assert "It cannot be read" in analyst.get(f"/file/{key}")
    analyst.json("/files/none", 404)
    analyst.json("/files/..", 404)
    assert [one.name for one in files.files_folder(behind.data, behind.name).iterdir()] == [key]


def test_a_spec_that_is_wrong_is_told_before_anything_starts(analyst: Browser) -> None:
    key = bring(analyst, TABLE, "test.csv")
    before = settled(analyst, key)
    page = analyst.send(f"/api/v1/files/{key}/judge", {"spec": "metrics: [1"}, 400)
    assert "What to do" in page
    assert state(analyst, key) == before
    file = judged(analyst, key, before["spec"].replace("buyers", "nothing"))
    assert file["status"] == "failed"
    assert "nothing" in file["problem"]["field"] + file["problem"]["message"]
    assert file["suggestion"] == before["suggestion"]


def test_a_file_that_is_too_large_is_refused_in_words(
    analyst: Browser, monkeypatch: pytest.MonkeyPatch, behind: Behind
) -> None:
    answer = analyst.client.post(
        "/api/v1/files",
        content_type="multipart/form-data; boundary=x",
        environ_overrides={"CONTENT_LENGTH": str(2 * 10**9)},
    )
    assert answer.status_code == 413
    assert "500 MB" in answer.text
    monkeypatch.setattr("switchpoint.router.console.app.MAX_FILE_BYTES", 2_000_000)
    page = bring(analyst, b"x" * 3_000_000, "large.csv", 413)
    assert "it may have 2 MB" in page
    assert not list(files.files_folder(behind.data, behind.name).glob("*"))
    bring(analyst, TABLE + b"other,1,1\n" * 120_000, "allowed.csv")  # other forms may have 1 MB


def test_files_are_private_and_are_deleted_after_a_day_and_on_request(
    analyst: Browser, behind: Behind, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, asked, kept = (bring_settled(analyst, f"{name}.csv") for name in ("old", "asked", "kept"))
    folder = files.files_folder(behind.data, behind.name)
    assert stat.S_IMODE((folder / old).stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    analyst.send(f"/api/v1/files/{asked}/remove", {})
    analyst.json(f"/files/{asked}", 404)
    body = state(analyst, old)
    behind.board.put(files.KIND, old, body, at=body["at"] - files.LIFE_MS - 1)
    assert "old.csv" not in analyst.get("/file")
    assert [one.name for one in folder.iterdir()] == [kept]


def bring_settled(browser: Browser, name: str) -> str:
    key = bring(browser, TABLE, name)
    settled(browser, key)
    return key


def test_work_is_cancelled(analyst: Browser, monkeypatch: pytest.MonkeyPatch, behind: Behind) -> None:
    hold(monkeypatch)
    key = bring(analyst, TABLE, "slow.csv")
    assert state(analyst, key)["status"] == "running"
    assert "Cancel" in analyst.get(f"/file/{key}")
    refused = analyst.client.post(
        f"/api/v1/files/{key}/judge", json={"spec": (EXAMPLES / "lecture_randomised.yaml").read_text()},
        headers={"X-CSRF-Token": analyst.csrf},
    )  # fmt: skip
    assert refused.status_code == 409
    analyst.send(f"/api/v1/files/{key}/cancel", {})
    assert state(analyst, key)["status"] == "cancelled"
    until(lambda: not files._held(files.files_folder(behind.data, behind.name) / key))


def test_who_is_killed_half_way_is_said_to_be(
    analyst: Browser, monkeypatch: pytest.MonkeyPatch, behind: Behind
) -> None:
    hold(monkeypatch)
    key = bring(analyst, TABLE, "killed.csv")
    os.kill(int((files.files_folder(behind.data, behind.name) / key / "lock").read_text()), signal.SIGKILL)
    assert "ended half-way" in settled(analyst, key)["problem"]["message"]
    assert "ended half-way" in analyst.get(f"/file/{key}")


def test_only_so_many_are_worked_on_at_once(analyst: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    hold(monkeypatch)
    keys = [bring(analyst, TABLE, f"{number}.csv") for number in range(files.AT_ONCE)]
    assert "are being worked on" in bring(analyst, TABLE, "more.csv", 409)
    assert "more.csv" not in analyst.get("/file")
    for key in keys:
        analyst.send(f"/api/v1/files/{key}/remove", {})
    assert "None." in analyst.get("/file")
