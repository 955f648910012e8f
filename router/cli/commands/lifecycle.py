"""start, pause, resume, ramp, stop: an experiment's way through its life."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate

import click

from switchpoint.experiment.definition.state import ExperimentState
from switchpoint.experiment.errors import BadInput
from switchpoint.router.cli.context import Context, json_option, now_ms, pass_context, print_json

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
