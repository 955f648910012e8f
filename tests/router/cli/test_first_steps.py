"""The README's path command by command, what may be registered as a model, and records back from a journal."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from switchpoint.experiment.store.embedded.server import EmbeddedServer
from switchpoint.experiment.store.journal import journal_path
from tests.router.cli.conftest import DEFINITION, ROOT, Cli, call, run


def save(folder: Path, number: int) -> Path:
    path = folder / f"m{number}.skops"
    skops.io.dump(LogisticRegression(C=number).fit([[0.0], [1.0]], [0, 1]), path)
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two model files."""
    folder = tmp_path_factory.mktemp("models")
    for number in (1, 2):
        save(folder, number)
    return folder


@pytest.fixture(scope="module")
def started(cli: Cli, models: Path) -> None:
    """Two versions, and the experiment `home` on them."""
    for number in (1, 2):
        assert cli("model", "register", "ranker", str(models / f"m{number}.skops")).code == 0
    (models / "home.yaml").write_text(DEFINITION)
    assert cli("apply", str(models / "home.yaml")).code == 0
    assert cli("start", "home").code == 0


def test_the_readme_works_as_it_is_written(server: EmbeddedServer, models: Path) -> None:
    """Every line does what it says; without data the rule says no, which is exit code 1."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("## One experiment, start to end")[2]
    (block, *_) = re.findall(r"```sh\n(.*?)```", section, flags=re.DOTALL)
    lines = [part for line in block.splitlines() for part in line.partition("#")[0].split("&&")]
    for line in lines:
        words = shlex.split(line)[1:]
        done = run("--project", "readme", *words, data=server.data, cwd=models)
        assert done.code == (1 if words[0] in {"decide", "promote"} else 0), (line, done)


def test_a_file_that_is_no_model_is_refused_before_it_is_registered(cli: Cli, tmp_path: Path) -> None:
    junk = tmp_path / "junk.skops"
    junk.write_text("junk")
    done = cli("model", "register", "scrap", str(junk))
    assert done.code == 2
    assert str(junk) in done.err
    assert "not a loadable skops file" in done.err
    assert cli("model", "list", "scrap", "--json").json() == []


def test_a_model_with_types_that_serving_refuses_is_named_with_them(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "near.skops"
    skops.io.dump(KNeighborsClassifier(1, algorithm="kd_tree").fit([[0.0], [1.0]], [0, 1]), path)
    done = cli("model", "register", "near", str(path))
    assert done.code == 2
    assert str(path) in done.err
    assert "sklearn.neighbors._kd_tree.KDTree" in done.err
    assert "SWITCHPOINT_MODEL_PROFILES=linear,trees,calibrated,neighbors" in done.err
    assert done.err.count("Fix:") == 1
    assert cli("model", "list", "near", "--json").json() == []
    every = "linear,trees,calibrated,neighbors"
    assert cli("model", "register", "near", str(path), SWITCHPOINT_MODEL_PROFILES=every).code == 0


def test_an_unknown_profile_is_bad_input(cli: Cli, models: Path) -> None:
    done = cli("model", "register", "x", str(models / "m1.skops"), SWITCHPOINT_MODEL_PROFILES="magic")
    assert (done.code, "magic" in done.err) == (2, True)


@pytest.mark.parametrize("url", ["ftp://host/rank", "host:80/rank", "http://", "http://h:x/", "http://[x/"])
def test_an_upstream_is_an_http_address(cli: Cli, url: str) -> None:
    done = cli("model", "register", "remote", "--url", url)
    assert done.code == 2
    assert url in done.err
    assert cli("model", "list", "remote", "--json").json() == []


def test_show_says_when_a_version_was_registered(cli: Cli, started: None) -> None:
    assert re.search(r"created_at +20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d", cli("model", "show", "ranker@1").out)


def test_what_is_champion_already_is_refused_and_not_a_fault_of_the_platform(cli: Cli, started: None) -> None:
    arguments = ("promote", "home", "control", "--override", "--reason", "again")
    done = cli(*arguments)
    assert done.code == 1
    assert "already champion" in done.err


def test_restore_rebuilds_the_records_in_an_empty_project(
    cli: Cli, server: EmbeddedServer, started: None, tmp_path: Path
) -> None:
    copy = tmp_path / "journal.jsonl"
    cli("list")
    shutil.copy(journal_path(server.data, "default"), copy)
    done = call("--project", "copy", "restore", str(copy), "--json", data=server.data)
    assert done.code == 0, done.err
    assert done.json()["written"] == done.json()["revision"] == len(copy.read_text().splitlines())
    for command in (("list", "--json"), ("model", "list", "--json")):
        assert call("--project", "copy", *command, data=server.data).json() == cli(*command).json()
    assert call("--project", "copy", "verify", data=server.data).code == 0


def test_restore_refuses_a_store_that_holds_something_else(
    cli: Cli, server: EmbeddedServer, started: None, models: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "journal.jsonl"
    cli("list")
    shutil.copy(journal_path(server.data, "default"), copy)
    other = ("--project", "other")
    assert call(*other, "model", "register", "own", str(models / "m1.skops"), data=server.data).code == 0
    done = call(*other, "restore", str(copy), data=server.data)
    assert done.code == 1
    assert "not empty" in done.err
    assert [v["ref"] for v in call(*other, "model", "list", "--json", data=server.data).json()] == ["own@1"]


def test_restore_without_a_journal_is_bad_input_and_a_damaged_one_a_fault(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    missing = call("--project", "new", "restore", str(tmp_path / "none.jsonl"), data=server.data)
    assert (missing.code, "none.jsonl" in missing.err) == (2, True)
    (tmp_path / "bad.jsonl").write_text("{}\n")
    assert call("--project", "new", "restore", str(tmp_path / "bad.jsonl"), data=server.data).code == 3
