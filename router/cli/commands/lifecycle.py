"""start to stop, decide, promote, rollback: an experiment on its way, and acting on its verdict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate

import click

from switchpoint.experiment.definition.state import ExperimentState
from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.registry.champion import Champion
from switchpoint.router.cli.context import Context, json_option, now_ms, pass_context, print_json
from switchpoint.router.cli.failure import Exit
from switchpoint.router.cli.options import at_option, instant

_key = click.argument("experiment")
_reason = click.option("--reason", default="", help="Why, for the audit log.")


def _step(function: Callable[Concatenate[Context, ...], None]) -> click.Command:
    """A command that takes EXPERIMENT, --reason and --json."""
    return click.command()(_key(_reason(json_option(pass_context(function)))))


@_step
def start(context: Context, experiment: str, reason: str, *, as_json: bool) -> None:
    """Start EXPERIMENT. Metrics, dimensions, window and the decision rule freeze now.

    \b
    Example:
      switchpoint start home-ranker
    """
    _show(context.catalog.start(experiment, at=now_ms(), actor=context.actor, reason=reason), as_json=as_json)


@_step
def pause(context: Context, experiment: str, reason: str, *, as_json: bool) -> None:
    """Pause EXPERIMENT: units get the champion and are not exposed.

    \b
    Example:
      switchpoint pause home-ranker --reason "checkout incident"
    """
    state = context.catalog.pause(experiment, at=now_ms(), actor=context.actor, reason=reason)
    _show(state, as_json=as_json)


@_step
def resume(context: Context, experiment: str, reason: str, *, as_json: bool) -> None:
    """Resume a paused EXPERIMENT; every unit keeps its variant.

    \b
    Example:
      switchpoint resume home-ranker
    """
    state = context.catalog.resume(experiment, at=now_ms(), actor=context.actor, reason=reason)
    _show(state, as_json=as_json)


@_step
def stop(context: Context, experiment: str, reason: str, *, as_json: bool) -> None:
    """Stop EXPERIMENT for good. Its data stays and can still be reported and decided on.

    \b
    Example:
      switchpoint stop home-ranker --reason "season is over"
    """
    state = context.catalog.stop(experiment, at=now_ms(), actor=context.actor, reason=reason)
    _show(state, as_json=as_json)


@click.command()
@_key
@click.argument("segments", nargs=-1, required=True, metavar="SEGMENT=PERCENT...")
@_reason
@json_option
@pass_context
def ramp(context: Context, experiment: str, segments: tuple[str, ...], reason: str, *, as_json: bool) -> None:
    """Change the traffic of segments of a running EXPERIMENT. Nobody already in moves.

    \b
    Example:
      switchpoint ramp home-ranker us=50% rest=20%
    """
    traffic = dict(_share(text) for text in segments)
    state = context.catalog.ramp(experiment, traffic, at=now_ms(), actor=context.actor, reason=reason)
    _show(state, as_json=as_json)


def _share(text: str) -> tuple[str, int]:
    """`us=50%` → ("us", 5000)."""
    from decimal import Decimal, InvalidOperation

    from switchpoint.experiment.definition.types import BUCKETS

    segment, _, number = text.partition("=")
    try:
        buckets = Decimal(number.strip().removesuffix("%")) * BUCKETS / 100
    except InvalidOperation:
        buckets = Decimal(-1)
    if not segment or not number.strip().endswith("%") or not 0 <= buckets <= BUCKETS or buckets % 1:
        raise BadInput(
            f"{text!r} is not a segment and its traffic",
            field="SEGMENT=PERCENT",
            value=text,
            fix="write us=50%",
        )
    return segment, int(buckets)


def _show(state: ExperimentState, *, as_json: bool) -> None:
    if as_json:
        epoch = state.epoch.number if state.epoch else None
        print_json({
            "key": state.key, "status": state.status.value, "revision": state.revision, "epoch": epoch,
            "traffic": {s.key: s.traffic / 10_000 for s in state.definition.segments},
        })  # fmt: skip
        return
    traffic = ", ".join(f"{s.key} {s.traffic / 100:g}%" for s in state.definition.segments)
    click.echo(f"{state.key}: {state.status.value}, revision {state.revision}, traffic {traffic}")


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
    _show_champion(champion, as_json=as_json)


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
    _show_champion(champion, as_json=as_json)


def _show_champion(champion: Champion, *, as_json: bool) -> None:
    from switchpoint.experiment.language.document import to_body

    if as_json:
        print_json(to_body(champion))
        return
    for rule in champion.assignments:
        click.echo(f"{champion.model}: {rule.segment} → {champion.model}@{rule.version}")
    if champion.default is not None:
        click.echo(f"{champion.model}: everybody else → {champion.model}@{champion.default}")
