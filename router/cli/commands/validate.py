"""validate, plan, apply: definitions from files into the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from switchpoint.experiment.errors import BadInput, DefinitionError, Refused
from switchpoint.experiment.registry.diff import PlannedChange
from switchpoint.router.cli.commands.calibrate import Asked, documents, measure, operating_options, show
from switchpoint.router.cli.context import Context, json_option, now_ms, pass_context, print_json
from switchpoint.router.cli.failure import Exit, message

if TYPE_CHECKING:
    from switchpoint.experiment.language.node import DefinitionErrors

_file = click.argument("file", type=click.Path(path_type=Path))


@click.command()
@click.argument("files", type=click.Path(path_type=Path), nargs=-1)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of a definition (for editors and CI).")
@json_option
@click.pass_context
def validate(ctx: click.Context, files: tuple[Path, ...], *, schema: bool, as_json: bool) -> None:
    """Check definitions, and specs of `analyze`, without any server; every error names file, line and fix.

    Every file is checked and answered for, whatever is wrong with the others.

    \b
    Examples:
      switchpoint validate experiments/home.yaml
      switchpoint validate --schema > definition.schema.json
    """
    if schema:
        from switchpoint.experiment.language.experiment import json_schema

        print_json(json_schema())
        return
    if not files:
        raise click.UsageError("give at least one file, or --schema")
    found = [_checked(path) for path in files]
    if as_json:
        print_json(found)
    for result in found if not as_json else ():
        if result["valid"]:
            click.echo(f"{result['file']}: {result['message']}")
        else:
            click.echo(result["message"], err=True)
    if not all(result["valid"] for result in found):
        ctx.exit(Exit.BAD_INPUT)


def _checked(path: Path) -> dict[str, object]:
    """What there is to say about one file: what it defines, or what is wrong with it."""
    from switchpoint.experiment.definition.types import Spec
    from switchpoint.experiment.language.experiment import digest, load_either_file
    from switchpoint.experiment.language.node import DefinitionErrors

    try:
        definition = load_either_file(path)
    except DefinitionErrors as error:
        return {"file": str(path), "valid": False, "errors": _errors(error), "message": message(error)}
    if isinstance(definition, Spec):
        text = f"the spec of a table ({definition.source.shape.value}) is valid"
        return {"file": str(path), "valid": True, "kind": "spec", "message": text}
    key, version = definition.key, digest(definition)
    text = f"{key} is valid ({version})"
    known = {"kind": "definition", "key": key, "digest": version, "message": text}
    return {"file": str(path), "valid": True, **known}


def _errors(found: DefinitionErrors) -> list[dict[str, object]]:
    return [
        {"line": e.line or None, "field": e.field, "message": e.message, "fix": e.fix} for e in found.errors
    ]


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """Bad input that the project finds in a readable definition names its file and line too."""
    from switchpoint.experiment.errors import dotted
    from switchpoint.experiment.language.yaml import read

    try:
        yield
    except Refused:
        raise
    except BadInput as error:
        _, lines = read(file.read_text(encoding="utf-8"), str(file))
        places = {dotted(path): line for path, line in lines.items()}
        raise DefinitionError(
            error.message,
            field=error.field,
            value=error.value,
            fix=error.fix,
            file=str(file),
            line=places.get(error.field, 0),
        ) from error


@click.command()
@_file
@operating_options
@json_option
@pass_context
@click.pass_context
def plan(ctx: click.Context, context: Context, file: Path, *, operating: Asked, as_json: bool) -> None:
    """Show what applying FILE would change, and how many units would change variant.

    With --operating the rule is simulated on baselines that are typed in, or taken from the experiment's own
    history: how often it would promote falsely, miss the MDE, and how long it would run.

    \b
    Examples:
      switchpoint plan experiments/home.yaml
      switchpoint plan experiments/home.yaml --operating --per-day 4000 --baseline ctr=10%:30%
    """
    from switchpoint.experiment.language.experiment import load_file

    definition = load_file(file)
    with _named(file):
        change = context.catalog.plan_change(definition)
    found = measure(context, definition, operating) if operating.wanted else ()
    if as_json:
        print_json({
            **({"operating": documents(found)} if found else {}),
            "key": change.key, "action": change.action, "lines": list(change.lines),
            "opens_epoch": change.opens_epoch, "refused": change.refused, "outdated": list(change.outdated),
            "movements": [
                {
                    "segment": m.segment, "entering": float(m.entering), "leaving": float(m.leaving),
                    "moving": float(m.moving),
                }
                for m in change.movements
            ],
        })  # fmt: skip
    else:
        _show_plan(change)
        if found:
            show(found)
    if change.refused:
        ctx.exit(Exit.RULE_SAYS_NO)


def _show_plan(change: PlannedChange) -> None:
    for line in change.lines:
        click.echo(line)
    if change.action == "none":
        click.echo(f"{change.key}: nothing would change")
        return
    for m in change.movements:
        click.echo(
            f"segment {m.segment}: {float(m.moving):.2%} of its units would change variant, "
            f"{float(m.entering):.2%} would enter, {float(m.leaving):.2%} would leave"
        )
    if change.opens_epoch:
        click.echo("a new epoch would open: units are randomised again and counted apart from earlier ones")
    if change.outdated:
        click.echo(
            f"another model: what was measured of {', '.join(change.outdated)} so far would be history, not "
            "evidence"
        )
    click.echo(
        f"refused: {change.refused}" if change.refused else f"{change.key}: apply would {change.action} it"
    )


@click.command()
@_file
@json_option
@pass_context
def apply(context: Context, file: Path, *, as_json: bool) -> None:
    """Store FILE as a new experiment or a new revision; nothing runs until `start`.

    \b
    Example:
      switchpoint apply experiments/home.yaml && switchpoint start home-ranker
    """
    from switchpoint.experiment.language.experiment import load_file

    definition = load_file(file)
    with _named(file):
        state = context.catalog.apply(definition, at=now_ms(), actor=context.actor)
    if as_json:
        print_json({"key": state.key, "revision": state.revision, "status": state.status.value})
        return
    click.echo(f"{state.key}: revision {state.revision}, {state.status.value}")
