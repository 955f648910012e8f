"""docs/cli.md and the command agree: every documented line parses, every command and option is documented."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from switchpoint.router.cli.main import COMMANDS, cli
from tests.router.cli.conftest import ROOT

PAGES = ("docs/cli.md", "docs/getting-started.md")


def documented() -> list[str]:
    """Every `$ switchpoint ...` line of the pages, without redirections."""
    lines = [line.strip() for page in PAGES for line in (ROOT / page).read_text().splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ switchpoint")]


def leaves(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, f"{name} ")
        else:
            yield prefix + name, command


def parse(line: str) -> None:
    """Parse a line as click would, without running the command."""
    words = shlex.split(line.partition(">")[0])[1:]
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group):
        while words and words[0].startswith("--") and command is cli:
            words = words[2:] if words[0] in {"--data", "--project"} else words[1:]
        if not words:
            return
        found = command.get_command(context, words[0])
        assert found is not None, f"no command {words[0]}"
        command, words = found, words[1:]
    command.make_context(command.name, words)


@pytest.mark.parametrize("line", documented())
def test_every_documented_line_parses(line: str) -> None:
    parse(line)


def test_a_wrong_line_would_be_noticed() -> None:
    with pytest.raises(click.UsageError):
        parse("switchpoint report home-ranker --formatt md")


@pytest.mark.parametrize(("name", "command"), list(leaves(cli)))
def test_every_command_and_option_is_documented(name: str, command: click.Command) -> None:
    page = (ROOT / "docs/cli.md").read_text()
    section = re.search(rf"^### {re.escape(name)}\n(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL)
    assert section is not None, f"{name} has no section"
    for parameter in command.params:
        flags = [flag for flag in (*parameter.opts, *parameter.secondary_opts) if flag.startswith("--")]
        if flags:
            assert any(flag in section.group(1) for flag in flags), f"{name} {flags[0]}"


@pytest.mark.parametrize(("name", "command"), list(leaves(cli)))
def test_every_help_text_has_a_summary_and_an_example(name: str, command: click.Command) -> None:
    text = command.get_help(click.Context(command, info_name=name))
    assert "Example" in text
    assert f"switchpoint {name}" in text


def test_the_table_of_commands_names_real_ones() -> None:
    context = click.Context(cli)
    assert [name for name in COMMANDS if cli.get_command(context, name) is None] == []


def test_help_loads_neither_numerics_nor_stores() -> None:
    code = (
        "import sys; from switchpoint.router.cli.main import cli; cli(['--help'], standalone_mode=False); "
        "print([m for m in ('numpy', 'scipy', 'pyarrow', 'flask', 'gevent', 'rich', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("[]")
