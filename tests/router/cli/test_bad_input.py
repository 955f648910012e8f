"""What goes wrong ends in one clear message, the right exit code, and no traceback."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from switchpoint.experiment.errors import (
    BadInput,
    Conflict,
    LifecycleError,
    NotFound,
    PlatformError,
    Refused,
    StoreUnavailable,
    Superseded,
)
from switchpoint.router.cli.failure import Exit, exit_code, message
from tests.router.cli.conftest import DEFINITION, Cli, call, run
from tests.router.models import bad_trees


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
    done = call("validate", path, data=tmp_path)
    assert done.code == 2
    assert f"{path}:{line}" in done.err
    assert said in done.err
    assert "Traceback" not in done.err
    assert done.out == ""


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"", b"\x00"])
def test_a_file_that_is_no_text_is_bad_input(tmp_path: Path, content: bytes) -> None:
    done = call("validate", _write(tmp_path, content), data=tmp_path)
    assert done.code == 2
    assert "bad.yaml" in done.err


def test_a_missing_file_is_bad_input(tmp_path: Path) -> None:
    done = call("validate", str(tmp_path / "none.yaml"), data=tmp_path)
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


def test_a_file_whose_object_cannot_predict_is_not_registered(cli: Cli, tmp_path: Path) -> None:
    import skops.io
    from sklearn.preprocessing import StandardScaler

    file = tmp_path / "scaler.skops"
    skops.io.dump(StandardScaler().fit([[0.0], [1.0]]), file)
    done = cli("model", "register", "scaler", str(file))
    assert done.code == 2
    assert "StandardScaler, which has no predict" in done.err
    assert "a pipeline that ends in one" in done.err
    assert cli("model", "show", "scaler@1").code == 2


@pytest.mark.parametrize("child", [bad_trees.FAR, bad_trees.ITSELF], ids=["far", "itself"])
def test_a_tree_that_would_crash_or_never_end_is_not_registered(cli: Cli, tmp_path: Path, child: int) -> None:
    file = tmp_path / "tree.skops"
    file.write_bytes(bad_trees.content(child))
    done = cli("model", "register", "ranker", str(file))
    assert done.code == 2
    assert "a decision tree in the file points outside of itself or back" in done.err
    assert "Fix: save the fitted model anew" in done.err
    assert cli("model", "show", "ranker@1").code == 2


def test_a_definition_the_project_cannot_take_is_named_with_file_and_line(cli: Cli, definition: Path) -> None:
    """Known only beside the other records, but said as validate would say it."""
    for command in ("plan", "apply"):
        done = cli(command, str(definition))
        assert done.code == 2
        assert f"{definition}:6: variants[0].model: unknown model ranker@1" in done.err


def test_a_slice_that_is_taken_is_bad_input_with_file_and_line(cli: Cli, tmp_path: Path) -> None:
    upstream = ("--url", "https://models.example.com/rank", "--identity")
    for build in ("a", "b"):
        assert cli("model", "register", "layered", *upstream, build).code == 0
    layered = DEFINITION.replace("ranker", "layered").replace("home", "first")
    layered = layered.replace("owner: team", "owner: team\nlayer: {key: home, slice: [0.0, 0.6]}")
    assert cli("apply", _write(tmp_path, layered)).code == 0
    path = _write(tmp_path, layered.replace("first", "second"))
    done = cli("plan", path)
    assert done.code == 2
    assert f"{path}:4: layer.slice: overlaps first (draft)" in done.err


def test_validate_answers_for_every_file_when_one_is_bad(tmp_path: Path, definition: Path) -> None:
    bad = _write(tmp_path, DEFINITION.replace("owner: team", "ownr: team"))
    done = call("validate", bad, str(definition), "--json", data=tmp_path)
    assert done.code == 2
    first, second = done.json()
    assert (first["file"], first["valid"]) == (bad, False)
    assert {(e["line"], e["field"]) for e in first["errors"]} >= {(3, "ownr")}
    assert (second["file"], second["valid"], second["key"]) == (str(definition), True, "home")
    plain = call("validate", bad, str(definition), data=tmp_path)
    assert (plain.code, bad in plain.err, "home is valid" in plain.out) == (2, True, True)


SPEC = """\
metrics: [{key: buyers, type: proportion, role: primary}]
decision: {design: fixed, mde: 10%, min_runtime: 7d, max_runtime: 42d}
source: {shape: counts, assignment: randomised, variant: variant, control: old, weights: equal, columns: {buyers: {n: users, sum: buyers}}}
"""


def test_validate_knows_the_specs_of_tables(tmp_path: Path) -> None:
    good = call("validate", _write(tmp_path, SPEC), "--json", data=tmp_path)
    assert (good.code, good.json()[0]["kind"], good.json()[0]["valid"]) == (0, "spec", True)
    bad = call(
        "validate", _write(tmp_path, SPEC.replace("variant: variant", "varint: variant")), data=tmp_path
    )
    assert bad.code == 2
    assert ":3: source.varint" in bad.err
    missing = call("validate", _write(tmp_path, SPEC.partition("source")[0]), data=tmp_path)
    assert (missing.code, "source" in missing.err) == (2, True)


@pytest.mark.parametrize(
    ("buyers", "verdict", "code"), [(1000, "continue", 1), (2000, "keep", 0), (4000, "promote", 0)]
)
def test_analyze_answers_with_the_exit_code_of_its_verdict(
    tmp_path: Path, buyers: int, verdict: str, code: int
) -> None:
    table = tmp_path / "counts.csv"
    table.write_text(f"variant,users,buyers\nold,20000,2000\nnew,20000,{buyers}\n")
    done = call("analyze", str(table), "--spec", _write(tmp_path, SPEC), "--json", data=tmp_path)
    assert (done.json()["verdict"]["kind"], done.code) == (verdict, code)


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "cp437", "ascii", "utf-8"])
def test_a_terminal_that_is_not_utf_8_gets_the_whole_report(tmp_path: Path, encoding: str) -> None:
    table = tmp_path / "counts.csv"
    table.write_text(
        "variant,users,buyers\nold,20000,2000\nnew 🙂,20000,4000\nмодель,20000,4001\n", encoding="utf-8"
    )
    arguments = ("analyze", str(table), "--spec", _write(tmp_path, SPEC))
    # click writes UTF-8 to an ASCII terminal, which it takes for one that is not configured
    read = "utf-8" if encoding == "ascii" else encoding
    done = run(*arguments, data=tmp_path, encoding=read, PYTHONIOENCODING=encoding)
    assert (done.code, "internal error" in done.err) == (0, False)
    assert "Thresholds in force" in done.out  # to the last section
    assert ("модель" if read == "utf-8" else r"\u043c\u043e\u0434\u0435\u043b\u044c") in done.out
    page = tmp_path / "report.md"
    assert (
        run(
            *arguments, "--format", "md", "--output", str(page), data=tmp_path, PYTHONIOENCODING=encoding
        ).code
        == 0
    )
    assert "модель" in page.read_text(encoding="utf-8")


def test_a_percentage_is_not_taken_for_a_fraction(tmp_path: Path) -> None:
    def said(traffic: str) -> str:
        text = DEFINITION.replace("traffic: 20%", f"traffic: {traffic}")
        return call("validate", _write(tmp_path, text), data=tmp_path).err

    assert "'120%' is not a share. Fix: write 0% to 100%, or 0 to 1." in said("120%")
    assert "Fix: write 20% or 0.2." in said("20")


@pytest.mark.parametrize("end", ["", ".", ". ", " ."])
def test_one_full_stop_stands_before_the_fix(end: str) -> None:
    assert str(BadInput(f"it is wrong{end}", field="x", fix="do y")) == "x: it is wrong. Fix: do y"
    assert str(BadInput("it is wrong")) == "it is wrong"


@pytest.mark.parametrize("arguments", [("model", "register", "ranker", "FILE"), ("init", "FILE")])
def test_a_refused_file_is_named(cli: Cli, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    path = tmp_path / "model.pickle"
    path.write_text("x")
    done = cli(*(str(path) if word == "FILE" else word for word in arguments))
    assert done.code == 2
    assert f"FILE: {path} " in done.err
    assert ". Fix: " in done.err


def test_an_error_of_a_table_names_the_table(cli: Cli, tmp_path: Path) -> None:
    table = tmp_path / "counts.csv"
    table.write_text("a,b\n1,2\n")
    spec = "docs/examples/lecture_randomised.yaml"
    done = cli("analyze", str(table), "--spec", spec)
    assert done.code == 2
    assert f"error: {table}: source." in done.err
    assert "the table has no column" in done.err


def test_a_store_that_cannot_be_reached_is_a_platform_failure(tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/nobody.sock"
    done = call("list", data=tmp_path, SWITCHPOINT_REDIS_URL=url)
    assert done.code == 3
    assert "Traceback" not in done.err
    assert done.err.startswith("error: ")
    debug = call("--debug", "list", data=tmp_path, SWITCHPOINT_REDIS_URL=url)
    assert (debug.code, "Traceback" in debug.err) == (3, True)


def test_embedded_mode_refuses_to_listen_on_other_addresses(tmp_path: Path) -> None:
    done = call("serve", "--host", "0.0.0.0", data=tmp_path)
    assert done.code == 2
    assert "loopback" in done.err


def test_init_does_not_overwrite_a_file(tmp_path: Path) -> None:
    target = tmp_path / "e.yaml"
    assert call("init", str(target), data=tmp_path).code == 0
    assert call("validate", str(target), data=tmp_path).code == 0
    target.write_text("mine")
    assert call("init", str(target), data=tmp_path).code == 2
    assert target.read_text() == "mine"


def test_the_demo_never_touches_a_directory_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "precious.txt").write_text("keep")
    done = call("demo", "--once", data=tmp_path)
    assert done.code == 2
    assert (tmp_path / "demo" / "precious.txt").read_text() == "keep"
    assert call("demo", "--continue", "--once", data=tmp_path / "none").code == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refused("no"), Exit.RULE_SAYS_NO), (NotFound("x"), Exit.BAD_INPUT), (BadInput("x"), Exit.BAD_INPUT),
        (LifecycleError("x"), Exit.BAD_INPUT), (Conflict("x"), Exit.PLATFORM), (Superseded("x"), Exit.RULE_SAYS_NO), (PlatformError("x"), Exit.PLATFORM),
        (StoreUnavailable("x"), Exit.PLATFORM), (ZeroDivisionError("x"), Exit.PLATFORM),
    ],
)  # fmt: skip
def test_every_error_has_its_exit_code(error: Exception, code: Exit) -> None:
    assert exit_code(error) is code
    assert message(error)


def test_a_model_that_is_no_file_is_refused_by_its_kind(cli: Cli, tmp_path: Path) -> None:
    """A pipe was waited for without an end, and a device read without one."""
    os.mkfifo(tmp_path / "pipe.skops")
    (tmp_path / "directory.skops").mkdir()
    (tmp_path / "device.skops").symlink_to("/dev/zero")
    for path in sorted(tmp_path.glob("*.skops")):
        done = cli("model", "register", "ranker", str(path))
        assert done.code == 2
        said = f"FILE: {path} cannot be read: it is a {path.stem}, not a file. Fix: give a .skops file"
        assert said in done.err
