"""validate, plan, apply: definitions from files into the store."""

from __future__ import annotations

from pathlib import Path

import click

from experiment.planned import PlannedChange
from router.cli.context import Context, json_option, now_ms, pass_context, print_json
from router.cli.failure import Exit

_file = click.argument("file", type=click.Path(path_type=Path))


@click.command()
@click.argument("files", type=click.Path(path_type=Path), nargs=-1)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of a definition (for editors and CI).")
@json_option
def validate(files: tuple[Path, ...], *, schema: bool, as_json: bool) -> None:
    """Check definition FILES without any server; every error names file, line and fix.

    \b
    Examples:
      switchpoint validate experiments/home.yaml
      switchpoint validate --schema > definition.schema.json
    """
    from experiment.canonical import digest
    from experiment.parsing import load_file

    if schema:
        from experiment.schema import json_schema

        print_json(json_schema())
        return
    if not files:
        raise click.UsageError("give at least one file, or --schema")
    found = [(path, load_file(path)) for path in files]
    if as_json:
        print_json([{"file": str(path), "key": e.key, "digest": digest(e)} for path, e in found])
        return
    for path, definition in found:
        click.echo(f"{path}: {definition.key} is valid ({digest(definition)})")


@click.command()
@_file
@json_option
@pass_context
@click.pass_context
def plan(ctx: click.Context, context: Context, file: Path, *, as_json: bool) -> None:
    """Show what applying FILE would change, and how many units would change variant.

    \b
    Example:
      switchpoint plan experiments/home.yaml
    """
    from experiment.parsing import load_file

    change = context.catalog.plan_change(load_file(file))
    if as_json:
        print_json({
            "key": change.key, "action": change.action, "lines": list(change.lines),
            "opens_epoch": change.opens_epoch, "refused": change.refused,
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
    from experiment.parsing import load_file

    state = context.catalog.apply(load_file(file), at=now_ms(), actor=context.actor)
    if as_json:
        print_json({"key": state.key, "revision": state.revision, "status": state.status.value})
        return
    click.echo(f"{state.key}: revision {state.revision}, {state.status.value}")
