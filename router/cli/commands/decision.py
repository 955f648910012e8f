"""decide, promote, rollback: acting on a verdict."""

from __future__ import annotations

import click

from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.registry.champion import Champion
from switchpoint.router.cli.context import Context, json_option, now_ms, pass_context, print_json
from switchpoint.router.cli.failure import Exit
from switchpoint.router.cli.options import at_option, instant


@click.command()
@click.argument("experiment")
@click.option("--why", default="", help="The decider's words, kept with the record.")
@at_option
@json_option
@pass_context
@click.pass_context
def decide(
    ctx: click.Context, context: Context, experiment: str, why: str, at_text: str | None, *, as_json: bool
) -> None:
    """Record the present verdict of EXPERIMENT as a decision, with what it takes to derive it again.

    Exit code 1 when the verdict is neither promote nor keep.

    \b
    Example:
      switchpoint decide home-ranker --why "reviewed with the search team"
    """
    from switchpoint.experiment.language.document import to_body
    from switchpoint.router.judging import decide as record
    from switchpoint.router.judging import look

    at = instant(at_text)
    found = look(context.catalog, context.ledger, experiment, at=at)
    decision = record(context.catalog, context.ledger, found, at=at, actor=context.actor, why=why)
    if as_json:
        print_json(to_body(decision))
    else:
        said = f"{decision.finding.kind.value} {decision.finding.variant or ''}".strip()
        click.echo(f"decision {decision.id}: {said}")
        for reason in decision.finding.reasons:
            click.echo(f"  {reason}")
    if not decision.finding.kind.settled:
        ctx.exit(Exit.RULE_SAYS_NO)


@click.command()
@click.argument("experiment")
@click.argument("variant")
@click.option("--segment", "segments", multiple=True, help="Only in this segment; repeatable.")
@click.option("--override", is_flag=True, help="Promote without a matching decision; needs --reason.")
@click.option("--reason", default="", help="Why the rule is overridden; kept for ever.")
@json_option
@pass_context
def promote(
    context: Context,
    experiment: str,
    variant: str,
    segments: tuple[str, ...],
    reason: str,
    *,
    override: bool,
    as_json: bool,
) -> None:
    """Make VARIANT's model the champion, if the latest decision on EXPERIMENT says so.

    Exit code 1 when it does not, or when that model is champion there already.

    \b
    Examples:
      switchpoint promote home-ranker treatment
      switchpoint promote home-ranker treatment --segment us
      switchpoint promote home-ranker treatment --override --reason "model 1 is withdrawn"
    """
    if override and not reason.strip():
        raise BadInput("an override needs a reason", field="--reason", fix="say why with --reason")
    if reason and not override:
        raise BadInput(
            f"{reason!r} is for overrides",
            field="--reason",
            value=reason,
            fix="add --override, or leave it out",
        )
    from switchpoint.experiment.registry.promotion import Promotion

    request = Promotion(
        variant=variant,
        segments=segments,
        override=reason if override else None,
        at=now_ms(),
        actor=context.actor,
    )
    champion = context.catalog.promote(experiment, request)
    _show(champion, as_json=as_json)


@click.command()
@click.argument("model")
@click.option("--segment", "segments", multiple=True, help="Only in this segment; repeatable.")
@click.option("--reason", default="", help="Why, for the history.")
@json_option
@pass_context
def rollback(context: Context, model: str, segments: tuple[str, ...], reason: str, *, as_json: bool) -> None:
    """Return MODEL to its previous champion, everywhere or in some segments.

    \b
    Example:
      switchpoint rollback ranker --reason "complaints from support"
    """
    champion = context.catalog.rollback(
        model, segments=segments, reason=reason, at=now_ms(), actor=context.actor
    )
    _show(champion, as_json=as_json)


def _show(champion: Champion, *, as_json: bool) -> None:
    from switchpoint.experiment.language.document import to_body

    if as_json:
        print_json(to_body(champion))
        return
    for rule in champion.assignments:
        click.echo(f"{champion.model}: {rule.segment} → {champion.model}@{rule.version}")
    if champion.default is not None:
        click.echo(f"{champion.model}: everybody else → {champion.model}@{champion.default}")
