"""The console as a command: its link, its pages over http, and users from the command line."""

from __future__ import annotations

import http.cookiejar
import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import skops.io
from sklearn.linear_model import LogisticRegression

from switchpoint.experiment.store.embedded.server import EmbeddedServer
from switchpoint.router.serving.launch import free_port
from tests.e2e.test_demo import await_end_of
from tests.router.cli.conftest import COMMAND, DEFINITION, ROOT, Cli, run
from tests.waiting import HUNG, until

PASSWORD = "correct horse battery"


@contextmanager
def console(data: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A console of a data directory, and the link that it prints."""
    process = subprocess.Popen(
        [*COMMAND, "--data", str(data), "console", "--port", str(free_port()), *options],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        link = re.search(r"http://\S+/login/\S+", said)
        assert link, said
        yield process, link.group()
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=HUNG)


class Browser:
    """A browser without scripts: keeps cookies and follows redirections."""

    def __init__(self) -> None:
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(cookies)

    def get(self, url: str) -> str:
        with self._opener.open(url, timeout=HUNG) as answer:
            return str(answer.read().decode())

    def post(self, url: str, **fields: str) -> str:
        with self._opener.open(url, data=urllib.parse.urlencode(fields).encode(), timeout=HUNG) as answer:
            return str(answer.read().decode())


def test_the_link_opens_the_pages_once_and_ctrl_c_ends_everything(tmp_path: Path) -> None:
    with console(tmp_path, "--no-worker") as (process, link):
        browser = Browser()
        text = _patiently(browser, link)
        assert "No experiment yet" in text
        assert "The worker has not reported yet" in text
        with pytest.raises(urllib.error.HTTPError) as again:
            Browser().get(link)
        assert again.value.code == 403
        again.value.close()
        base = link.partition("/login/")[0]
        described = browser.get(f"{base}/api/v1/openapi.json")
        assert "experiment_promote" in described
    assert process.returncode == 0
    await_end_of(tmp_path)


def test_the_consoles_own_worker_fills_its_pages(tmp_path: Path) -> None:
    """Also where serving opened it: pages, service and store are of one command, and end with it."""
    definition = tmp_path / "home.yaml"
    definition.write_text(DEFINITION)
    port, console_port = free_port(), free_port()
    process = subprocess.Popen(
        [*COMMAND, "--data", str(tmp_path), "serve", "--port", str(port), "--workers", "1",
         "--console", "--console-port", str(console_port)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        link = next(
            found.group() for line in process.stderr if (found := re.search(r"http://\S+/login/\S+", line))
        )
        browser = Browser()
        _patiently(browser, link)
        base = link.partition("/login/")[0]
        assert run("model", "register", "ranker", _model(tmp_path, 1), data=tmp_path).code == 0
        assert run("model", "register", "ranker", _model(tmp_path, 2), data=tmp_path).code == 0
        assert run("apply", str(definition), data=tmp_path).code == 0
        until(lambda: "Not started yet" in browser.get(base), every=0.2)
        assert run("start", "home", data=tmp_path).code == 0
        until(lambda: "Continue" in browser.get(base), every=0.2)
        page = browser.get(f"{base}/experiments/home")
        assert "Can the numbers be trusted?" in page
        shown = json.loads(browser.get(f"{base}/api/v1/experiments/home/report"))
        said = run("report", "home", "--json", data=tmp_path).json()
        at = {"at": None}
        assert {**shown, "header": {**shown["header"], **at}} == {**said, "header": {**said["header"], **at}}
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=HUNG)
    assert process.returncode == 0
    await_end_of(tmp_path)


def test_users_are_made_listed_logged_out_and_removed_and_all_of_it_is_audited(
    cli: Cli, server: EmbeddedServer
) -> None:
    added = subprocess.run(
        [*COMMAND, "--data", str(server.data), "user", "add", "anna", "--role", "analyst", "--password-stdin"],
        input=PASSWORD + "\n", text=True, capture_output=True, timeout=HUNG, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SWITCHPOINT_ACTOR": "tester"},
    )  # fmt: skip
    assert (added.returncode, added.stdout) == (0, "anna is analyst\n")
    assert cli("user", "list", "--json").json() == [{"name": "anna", "role": "analyst", "sessions": 0}]
    assert "analyst" in cli("user", "list").out
    assert cli("user", "log-out", "anna").out == "0 sessions of anna ended\n"
    assert cli("user", "remove", "anna").code == 0
    gone = cli("user", "remove", "anna")
    assert gone.code == 2
    assert "unknown user" in gone.err
    assert "no users yet" in cli("user", "list").out
    journal = (server.data / "journal-default.jsonl").read_text()
    for action in ("add user", "end sessions", "remove user"):
        assert f'"action":"{action}"' in journal
    assert PASSWORD not in journal


def test_passwords_never_cross_a_network_in_the_open(cli: Cli) -> None:
    refused = cli("console", "--host", "0.0.0.0")
    assert refused.code == 2
    assert "--https" in refused.err


def _model(folder: Path, number: int) -> str:
    path = folder / f"ranker{number}.skops"
    skops.io.dump(LogisticRegression(C=number).fit([[0.0], [1.0]], [0, 1]), path)
    return str(path)


def _patiently(browser: Browser, link: str) -> str:
    """The first page; the console may still be starting."""
    texts: list[str] = []

    def asked() -> bool:
        try:
            texts.append(browser.get(link))
        except ConnectionError:
            return False
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionError):
                raise
            return False
        return True

    until(asked, every=0.1)
    return texts[-1]
