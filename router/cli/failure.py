"""The one place that turns what went wrong into an exit code and a message without a traceback."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable
from enum import IntEnum
from typing import NoReturn

import click

from switchpoint.experiment.errors import (
    BadInput,
    Conflict,
    PlatformError,
    Refused,
    StoreReverted,
    Superseded,
    SwitchpointError,
)


class Exit(IntEnum):
    """What the exit code says."""

    DONE = 0
    RULE_SAYS_NO = 1
    BAD_INPUT = 2
    PLATFORM = 3
    INTERRUPTED = 128 + signal.SIGINT


def exit_code(error: BaseException) -> Exit:
    """The exit code of an exception. Unknown ones are the platform's fault, not the caller's."""
    if isinstance(error, Refused | Superseded | StoreReverted):
        return Exit.RULE_SAYS_NO
    if isinstance(error, PlatformError | Conflict):
        return Exit.PLATFORM
    if isinstance(
        error, BadInput | SwitchpointError | click.ClickException | FileNotFoundError | IsADirectoryError
    ):
        return Exit.BAD_INPUT
    return Exit.PLATFORM


_SPELT = {
    "─": "-", "━": "-", "…": "...", "→": "->", "×": "x", "·": "-", "–": "-", "−": "-", "±": "+/-", "≥": ">=",
    "≤": "<=", "∞": "inf", "²": "^2",
}  # fmt: skip
"""What a terminal prints for our own signs where its encoding lacks them; others are escaped, so that two
labels stay two."""


def _spelt(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    return "".join(_SPELT.get(s) or s.encode("ascii", "backslashreplace").decode() for s in signs), error.end


def _print_anything() -> None:
    """No sign of a report or a label stops a command on a terminal that is not UTF-8."""
    codecs.register_error("switchpoint", _spelt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="switchpoint")


def run(command: Callable[..., object]) -> NoReturn:
    """Run a click command and leave the process with its exit code."""
    _print_anything()
    debug = "--debug" in sys.argv[1:]
    try:
        # click returns the code of ctx.exit(code) here, and None from a command that ran to its end
        code = command(standalone_mode=False)
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.flush()
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(Exit.INTERRUPTED)
    except BrokenPipeError:  # `switchpoint report | head`
        # the interpreter would flush the broken pipe again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.DONE)
    except click.ClickException as error:
        error.show()
        sys.exit(Exit.BAD_INPUT)
    except Exception as error:  # noqa: BLE001 - the last line of defence of a command line
        if debug:
            traceback.print_exc()
        click.echo(message(error), err=True)
        sys.exit(exit_code(error))
    sys.exit(code if isinstance(code, int) else Exit.DONE)


def message(error: BaseException) -> str:
    """What is printed on stderr."""
    if isinstance(error, Refused | Superseded):
        return f"refused: {error}"
    if isinstance(error, SwitchpointError | OSError):
        return f"error: {error}"
    return f"internal error: {type(error).__name__}: {error} (run again with --debug for the traceback)"
