"""list and explain: what runs, and why a unit gets what it gets."""

from __future__ import annotations

import click

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
    from switchpoint.experiment.registry import explanation

    state = context.catalog.experiment(experiment)
    name = state.definition.model
    champion = context.catalog.champion(name) if name else None
    found = explanation.explain(state, champion, unit, explanation.attributes_of(attributes, field="--attr"))
    if as_json:
        print_json(found.document())
        return
    from switchpoint.router.cli.render import show_table

    show_table(
        ("rule", "", "detail"),
        [(s.rule, "yes" if s.passed else "no", s.detail) for s in found.steps],
        labels=3,
    )
    by, assigned = f" by {found.served}" if found.served else "", found.assignment
    if assigned.enrolled:
        click.echo(f"{unit} is in {assigned.variant} and served{by}")
    else:
        click.echo(
            f"{unit} is not enrolled ({assigned.reason.value}) and served{by or ' by nobody'}, the champion"
        )
