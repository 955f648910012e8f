"""From two model files to a promotion and back, command by command, as a team would do it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from switchpoint.experiment.store.embedded.server import EmbeddedServer
from tests.router.cli.conftest import Cli


@pytest.fixture(scope="module", autouse=True)
def models(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Two registered versions."""
    import skops.io
    from sklearn.linear_model import LogisticRegression

    folder = tmp_path_factory.mktemp("models")
    for number, parent in (
        (1, []),
        (2, ["--parent", "ranker@1", "--relation", "retrain", "--param", "C=0.5"]),
    ):
        path = folder / f"ranker{number}.skops"
        skops.io.dump(LogisticRegression(C=number).fit([[0.0], [1.0]], [0, 1]), path)
        done = cli("model", "register", "ranker", str(path), *parent)
        assert done.code == 0, done.err
        assert done.out.startswith(f"ranker@{number}: skops, sha256:")


@pytest.fixture(scope="module")
def started(cli: Cli, definition: Path, models: None) -> None:
    assert cli("apply", str(definition)).code == 0
    assert cli("start", "home").code == 0


def test_models_are_listed_and_shown_with_their_lineage(cli: Cli) -> None:
    versions = cli("model", "list", "--json").json()
    assert [v["ref"] for v in versions] == ["ranker@1", "ranker@2"]
    shown = cli("model", "show", "ranker@2", "--json").json()
    assert shown["lineage"]["parameters"] == {"C": "0.5"}
    assert shown["lineage"]["relation"] == "retrain"
    assert "ranker@2" in cli("model", "list").out


def test_every_command_exports_its_changes_to_the_journal(server: EmbeddedServer, started: None) -> None:
    """The journal alone rebuilds the records: it holds each commit with the documents it wrote."""
    from switchpoint.experiment.store.journal import journal_path, read_journal

    entries = read_journal(journal_path(server.data, "default"))
    assert {"register", "apply", "start"} <= {entry.note.action.split()[0] for entry in entries}


def test_plan_shows_what_apply_would_do_and_writes_nothing(
    cli: Cli, tmp_path: Path, definition: Path
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(definition.read_text().replace("key: home\n", "key: other\n"))
    plan = cli("plan", str(other), "--json").json()
    assert plan["action"] == "create"
    assert "other" not in [e["key"] for e in cli("list", "--json").json()]


def test_plan_says_how_many_units_would_change_variant(
    cli: Cli, started: None, tmp_path: Path, definition: Path
) -> None:
    changed = tmp_path / "home.yaml"
    changed.write_text(
        definition.read_text().replace("{control: 0.5, treatment: 0.5}", "{control: 0.2, treatment: 0.8}")
    )
    plan = cli("plan", str(changed), "--json").json()
    assert plan["opens_epoch"] is True
    us = next(m for m in plan["movements"] if m["segment"] == "us")
    # a new epoch re-randomises: .5·.8 of the units move from control, .5·.2 from treatment
    assert us["moving"] == pytest.approx(0.5)
    assert "would change variant" in cli("plan", str(changed)).out


def test_plan_says_no_to_a_changed_metric(cli: Cli, started: None, tmp_path: Path, definition: Path) -> None:
    changed = tmp_path / "home.yaml"
    changed.write_text(definition.read_text().replace("key: ctr", "key: clicks"))
    done = cli("plan", str(changed))
    assert done.code == 1
    assert "refused" in done.out


def test_explain_traces_the_rules_and_names_the_model(cli: Cli, started: None) -> None:
    found = cli("explain", "home", "u-1", "--attr", "country=US", "--json").json()
    assert found["enrolled"] is True
    assert found["segment"] == "us"
    assert found["model"] in {"ranker@1", "ranker@2"}
    assert [step["rule"] for step in found["steps"]]
    outside = [cli("explain", "home", f"u-{n}", "--attr", "country=DE", "--json").json() for n in range(4)]
    assert {o["model"] for o in outside if not o["enrolled"]} <= {"ranker@1"}
    assert "u-1" in cli("explain", "home", "u-1", "--attr", "country=US").out


def test_traffic_is_ramped_paused_and_resumed(cli: Cli, started: None) -> None:
    assert cli("ramp", "home", "rest=50%", "--json").json()["traffic"] == {"us": 1.0, "rest": 0.5}
    assert cli("pause", "home", "--reason", "incident", "--json").json()["status"] == "paused"
    assert cli("resume", "home", "--json").json()["status"] == "running"


def test_status_and_report_of_an_experiment_without_data_say_so(cli: Cli, started: None) -> None:
    assert "CONTINUE" in cli("status", "home").out
    assert cli("status", "home", "--json").json()["verdict"]["kind"] == "continue"
    assert cli("report", "home", "--json").json()["matured"]["n"] == 0


def test_report_comes_in_every_format(cli: Cli, started: None, tmp_path: Path) -> None:
    at = ("--at", "2027-01-01T00:00:00Z")
    assert cli("report", "home", *at).out.startswith("Verdict: CONTINUE")
    assert cli("report", "home", *at, "--format", "md").out.startswith("# Experiment home")
    assert json.loads(cli("report", "home", *at, "--format", "json").out)["header"]["key"] == "home"
    target = tmp_path / "home.html"
    done = cli("report", "home", *at, "--format", "html", "--output", str(target))
    assert done.out == ""
    assert target.read_text().startswith("<!doctype html>")


def test_a_promotion_needs_a_matching_decision_or_an_override(cli: Cli, started: None) -> None:
    refused = cli("promote", "home", "treatment")
    assert refused.code == 1
    assert "no decision" in refused.err
    decided = cli("decide", "home", "--why", "too early, on purpose")
    assert decided.code == 1, "the verdict is continue"
    assert "continue" in decided.out
    assert cli("promote", "home", "treatment").code == 1
    assert cli("promote", "home", "treatment", "--override").code == 2, "an override needs a reason"
    done = cli("promote", "home", "treatment", "--override", "--reason", "model 1 is withdrawn", "--json")
    assert done.code == 0, done.err
    assert {rule["version"] for rule in done.json()["history"][-1]["rules"]} == {2}
    assert cli("rollback", "ranker", "--reason", "complaints").code == 0
    champions = {v["ref"]: v["champion_of"] for v in cli("model", "list", "--json").json()}
    assert "default" in champions["ranker@1"]
    assert champions["ranker@2"] == []


def test_an_unknown_variant_or_segment_is_bad_input(cli: Cli, started: None) -> None:
    assert cli("promote", "home", "nobody", "--override", "--reason", "x").code == 2
    assert cli("ramp", "home", "mars=10%").code == 2


def test_verify_finds_the_ledger_and_the_records_sound(cli: Cli, started: None) -> None:
    done = cli("verify", "--json")
    assert done.code == 0
    assert done.json()["same"] is True


def test_doctor_finds_the_embedded_server_durable(cli: Cli) -> None:
    done = cli("doctor", "--json")
    assert done.code == 0
    findings = {line["name"]: line["severity"] for line in done.json()}
    assert findings["appendfsync"] == findings["maxmemory-policy"] == "ok"


def test_output_to_a_pipe_has_no_colour_and_no_trailing_blanks(cli: Cli, started: None) -> None:
    for done in (cli("report", "home"), cli("list"), cli("doctor")):
        assert "\x1b" not in done.out
        assert not [line for line in done.out.splitlines() if line != line.rstrip()]


def test_a_command_starts_a_server_for_itself_and_leaves_nothing_running(tmp_path: Path) -> None:
    from switchpoint.experiment.store.embedded.server import attach
    from tests.router.cli.conftest import run

    assert run("list", data=tmp_path / "own").code == 0
    assert attach(tmp_path / "own") is None
