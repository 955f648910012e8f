"""The `switchpoint` command: global options and the commands by noun, loaded when they are asked for."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from switchpoint.router.cli.context import Context
from switchpoint.router.cli.failure import run

# command → (module, attribute, one line of help). The help stands here so that `--help` loads no module.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "init": ("project", "init", "Write a commented experiment definition to start from."),
    "demo": ("demo", "demo", "Train, serve, send two simulated weeks, decide: the whole path in a minute."),
    "serve": ("project", "serve", "Serve assignments, predictions and events over HTTP."),
    "console": ("console", "console", "Open the pages: what to do now, why, and the buttons that do it."),
    "user": ("console", "user", "Users of a shared console, and what they may do."),
    "doctor": ("project", "doctor", "Check the environment, the server and the stored records."),
    "validate": ("validate", "validate", "Check definition files; needs no server."),
    "plan": ("validate", "plan", "Show what applying a definition would change."),
    "apply": ("validate", "apply", "Store a definition as a new revision."),
    "start": ("lifecycle", "start", "Start an experiment: freezes metrics and rule."),
    "pause": ("lifecycle", "pause", "Pause: every unit gets the champion, nothing is exposed."),
    "resume": ("lifecycle", "resume", "Resume a paused experiment."),
    "ramp": ("lifecycle", "ramp", "Change a segment's traffic while it runs."),
    "stop": ("lifecycle", "stop", "Stop an experiment for good."),
    "list": ("experiments", "list_", "List experiments."),
    "explain": ("experiments", "explain", "Say which variant a unit gets, and by which rule."),
    "status": ("report", "status", "Verdict, units, sufficiency and sample ratio in short."),
    "report": ("report", "report", "The full report as text, Markdown, HTML or JSON."),
    "worker": ("worker", "worker", "Judge what changes, for the console: its board and its kept reports."),
    "power": ("power", "power", "How many units and days a test needs."),
    "analyze": ("analyze", "analyze", "Judge a table of somebody else's data; needs no server."),
    "import": ("analyze", "import_", "Bring a log into the live ledger."),
    "events": ("ledger", "events", "The events that were refused, by cause, and the last ones."),
    "decide": ("lifecycle", "decide", "Record the verdict as a decision."),
    "promote": ("lifecycle", "promote", "Make a version champion, on a matching decision."),
    "rollback": ("lifecycle", "rollback", "Return a model's champion to the one before."),
    "aa-check": ("calibrate", "aa_check", "Randomise the logged units again: the rule's error rates."),
    "restore": ("project", "restore", "Rebuild the records from an exported journal."),
    "verify": ("ledger", "verify", "Fold the log again and compare it with the live moments."),
    "repair": ("ledger", "repair", "Mend what a wrong clock did to the ledger."),
    "model": ("model", "model", "Register, list and show model versions."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module only to run it or to show its own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The commands in the order of an experiment's life."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return a command; None when there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(f"switchpoint.router.cli.commands.{module}"), attribute)
        assert isinstance(command, click.Command)  # noqa: S101 - the table above names commands only
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list of commands from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, _, summary) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 done, 1 the rule says no, 2 bad input, 3 platform failure.",
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Data directory. Default: SWITCHPOINT_DATA, else the user's data directory.",
)
@click.option(
    "--project", envvar="SWITCHPOINT_PROJECT", default="default", show_default=True, help="Project name."
)
@click.option("--debug", is_flag=True, help="Show tracebacks and log to stderr.")
@click.version_option(package_name="switchpoint", prog_name="switchpoint")
@click.pass_context
def cli(ctx: click.Context, *, data: Path | None, project: str, debug: bool) -> None:
    """When should we switch models? Route units to variants, count exactly once, decide with evidence."""
    ctx.obj = Context.create(data=data, project=project, debug=debug)
    ctx.call_on_close(ctx.obj.close)


def main() -> None:
    """Entry point: run and leave with the exit code of the outcome."""
    run(cli)
