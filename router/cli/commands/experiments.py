"""list and explain: what runs, and why a unit gets what it gets."""

from __future__ import annotations

import click

from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.ledger.event import unit_id
from switchpoint.experiment.registry.lifecycle import facts
from switchpoint.router.cli.context import Context, json_option, pass_context, print_json


@click.command("list")
@json_option
@pass_context
def list_(context: Context, *, as_json: bool) -> None:
    """List experiments with status, revision and traffic.

    \b
    Example:
      switchpoint list
    """
    states = context.catalog.experiments()
    if as_json:
        print_json([facts(state) for state in states])
        return
    from switchpoint.router.cli.render import show_table

    if not states:
        click.echo("no experiments yet; `switchpoint init` writes a first definition")
        return
    show_table(
        ("experiment", "status", "revision", "model", "variants", "traffic", "owner"),
        [
            (
                s.key, s.status.value, str(s.revision), s.definition.model or "–",
                ", ".join(v.key for v in s.definition.variants),
                ", ".join(f"{g.key} {g.traffic / 100:g}%" for g in s.definition.segments), s.definition.owner,
            )
            for s in states
        ],
        labels=7,
    )  # fmt: skip


@click.command()
@click.argument("experiment")
@click.argument("unit")
@click.option(
    "--attr", "attributes", multiple=True, metavar="NAME=VALUE", help="An attribute of the unit; repeatable."
)
@json_option
@pass_context
def explain(
    context: Context, experiment: str, unit: str, attributes: tuple[str, ...], *, as_json: bool
) -> None:
    """Say which variant UNIT gets in EXPERIMENT, and every rule on the way there.

    \b
    Example:
      switchpoint explain home-ranker u-17 --attr country=US --attr returning=true
    """
    from switchpoint.experiment.assignment.assign import compile as compile_assignment
    from switchpoint.experiment.registry.champion import compile_champion

    found = dict(_attribute(text) for text in attributes)
    unit_id(unit)
    state = context.catalog.experiment(experiment)
    compiled = compile_assignment(state)
    assignment, steps = compiled.assign(unit, found), compiled.explain(unit, found)
    name = state.definition.model
    # units outside the experiment get the champion of their segment
    outside = compile_champion(context.catalog.champion(name))(found) if name else None
    served = assignment.model if assignment.enrolled else outside
    if as_json:
        print_json({
            "experiment": assignment.experiment,
            "variant": assignment.variant,
            "model": str(served) if served else None,
            "segment": assignment.segment,
            "propensity": assignment.propensity,
            "reason": assignment.reason.value,
            "revision": assignment.revision,
            "epoch": assignment.epoch,
            "enrolled": assignment.enrolled,
            "steps": [{"rule": s.rule, "passed": s.passed, "detail": s.detail} for s in steps],
        })  # fmt: skip
        return
    from switchpoint.router.cli.render import show_table

    show_table(
        ("rule", "", "detail"), [(s.rule, "yes" if s.passed else "no", s.detail) for s in steps], labels=3
    )
    by = f" by {served}" if served else ""
    if assignment.enrolled:
        click.echo(f"{unit} is in {assignment.variant} and served{by}")
    else:
        click.echo(
            f"{unit} is not enrolled ({assignment.reason.value}) and served{by or ' by nobody'}, the champion"
        )


def _attribute(text: str) -> tuple[str, object]:
    """`returning=true` → ("returning", True): values are JSON where they parse as JSON scalars, else text."""
    import json

    name, equals, value = text.partition("=")
    if not name or not equals:
        raise BadInput("is not an attribute", field="--attr", value=text, fix="write --attr country=US")
    try:
        parsed = json.loads(value)
    except ValueError:
        return name, value
    return name, parsed if isinstance(parsed, bool | int | float | str) else value
