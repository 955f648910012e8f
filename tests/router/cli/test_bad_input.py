"""What goes wrong ends in one clear message, the right exit code, and no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiment.errors import (
    BadInput,
    Conflict,
    LifecycleError,
    NotFound,
    PlatformError,
    Refused,
    StoreUnavailable,
)
from router.cli.failure import Exit, exit_code, message
from tests.router.cli.conftest import DEFINITION, Cli, run


def _write(folder: Path, text: str | bytes) -> str:
    path = folder / "bad.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


@pytest.mark.parametrize(
    ("broken", "line", "said"),
    [
        (DEFINITION.replace("owner: team", "owner: team\nowner: again"), 4, "owner"),
        (DEFINITION.replace("owner: team", "ownr: team"), 3, "ownr"),
        (
            DEFINITION.replace("{control: 0.9, treatment: 0.1}", "{control: 0.9, treatment: 0.2}"),
            9,
            "allocation",
        ),
        (DEFINITION.replace("numerator: click, ", ""), 11, "numerator"),
        ("key: [home\n", 2, ""),
    ],
)
def test_a_malformed_definition_names_file_and_line(
    tmp_path: Path, broken: str, line: int, said: str
) -> None:
    path = _write(tmp_path, broken)
    done = run("validate", path, data=tmp_path)
    assert done.code == 2
    assert f"{path}:{line}" in done.err
    assert said in done.err
    assert "Traceback" not in done.err
    assert done.out == ""


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"", b"\x00"])
def test_a_file_that_is_no_text_is_bad_input(tmp_path: Path, content: bytes) -> None:
    done = run("validate", _write(tmp_path, content), data=tmp_path)
    assert done.code == 2
    assert "bad.yaml" in done.err


def test_a_missing_file_is_bad_input(tmp_path: Path) -> None:
    done = run("validate", str(tmp_path / "none.yaml"), data=tmp_path)
    assert (done.code, "none.yaml" in done.err) == (2, True)


def test_apply_names_an_unregistered_model_and_stores_nothing(cli: Cli, definition: Path) -> None:
    done = cli("apply", str(definition))
    assert done.code == 2
    assert "ranker@1" in done.err
    assert "model register" in done.err
    assert cli("list", "--json").json() == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", "nope"), ("report", "nope"), ("start", "nope"), ("explain", "nope", "u"), ("decide", "nope"),
        ("promote", "nope", "treatment"), ("model", "show", "ranker@9"), ("model", "show", "ranker"),
        ("model", "register", "ranker", "missing.skops"), ("model", "register", "ranker", "model.pickle"),
        ("ramp", "home", "us"), ("ramp", "home", "us=200%"), ("power",), ("power", "--rate", "1.5"),
        ("power", "--rate", "10%", "--mde", "0"), ("report", "nope", "--at", "yesterday"), ("nonsense",),
        ("promote", "home", "treatment", "--reason", "without override"), ("validate",),
        ("analyze", "missing.csv", "--spec", "docs/examples/upworthy.yaml"), ("rollback", "nope"),
    ],
)  # fmt: skip
def test_bad_input_exits_with_2_and_one_clear_message(cli: Cli, arguments: tuple[str, ...]) -> None:
    done = cli(*arguments)
    assert done.code in (1, 2), done
    if arguments[0] != "rollback":
        assert done.code == 2, done
    assert done.err.strip()
    assert "Traceback" not in done.err
    assert done.out == ""


def test_a_store_that_cannot_be_reached_is_a_platform_failure(tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/nobody.sock"
    done = run("list", data=tmp_path, SWITCHPOINT_REDIS_URL=url)
    assert done.code == 3
    assert "Traceback" not in done.err
    assert done.err.startswith("error: ")
    debug = run("--debug", "list", data=tmp_path, SWITCHPOINT_REDIS_URL=url)
    assert (debug.code, "Traceback" in debug.err) == (3, True)


def test_embedded_mode_refuses_to_listen_on_other_addresses(tmp_path: Path) -> None:
    done = run("serve", "--host", "0.0.0.0", data=tmp_path)
    assert done.code == 2
    assert "loopback" in done.err


def test_init_does_not_overwrite_a_file(tmp_path: Path) -> None:
    target = tmp_path / "e.yaml"
    assert run("init", str(target), data=tmp_path).code == 0
    assert run("validate", str(target), data=tmp_path).code == 0
    target.write_text("mine")
    assert run("init", str(target), data=tmp_path).code == 2
    assert target.read_text() == "mine"


def test_the_demo_never_touches_a_directory_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "precious.txt").write_text("keep")
    done = run("demo", "--once", data=tmp_path)
    assert done.code == 2
    assert (tmp_path / "demo" / "precious.txt").read_text() == "keep"
    assert run("demo", "--continue", "--once", data=tmp_path / "none").code == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refused("no"), Exit.RULE_SAYS_NO), (NotFound("x"), Exit.BAD_INPUT), (BadInput("x"), Exit.BAD_INPUT),
        (LifecycleError("x"), Exit.BAD_INPUT), (Conflict("x"), Exit.PLATFORM), (PlatformError("x"), Exit.PLATFORM),
        (StoreUnavailable("x"), Exit.PLATFORM), (ZeroDivisionError("x"), Exit.PLATFORM),
    ],
)  # fmt: skip
def test_every_error_has_its_exit_code(error: Exception, code: Exit) -> None:
    assert exit_code(error) is code
    assert message(error)
