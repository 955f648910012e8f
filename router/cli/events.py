"""events: what the doors refused, by cause, and the last ones as they came."""

from __future__ import annotations

from collections.abc import Mapping

import click

from router.cli.context import Context, json_option, pass_context, print_json


def refused_text(refusals: Mapping[str, int]) -> str:
    """Refused events by cause, most frequent first: `12 (unit 10, at 2)`."""
    if not refusals:
        return "none"
    ordered = sorted(refusals.items(), key=lambda pair: (-pair[1], pair[0]))
    return f"{sum(refusals.values()):,} ({', '.join(f'{cause} {count:,}' for cause, count in ordered)})"


@click.command()
@click.option("--refused", is_flag=True, help="Show the last refused events with their reasons.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many to show."
)
@json_option
@pass_context
def events(context: Context, *, refused: bool, limit: int, as_json: bool) -> None:
    """Count the events that were refused, by cause; with --refused show the last ones, newest first.

    About 10,000 refused events are kept, each cut to 16,384 characters; all of them are counted.

    \b
    Example:
      switchpoint events --refused --limit 5
    """
    counts = context.ledger.refusals()
    letters = context.ledger.dead_letters(limit) if refused else []
    if as_json:
        shown = [{"cause": x.cause, "reason": x.reason, "event": x.raw} for x in letters]
        print_json({"refused": counts, "last": shown} if refused else {"refused": counts})
        return
    click.echo(f"refused events: {refused_text(counts)}")
    for letter in letters:
        click.echo(f"{letter.reason}\n  {letter.raw}")
