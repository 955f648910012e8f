"""events: what arrived and what the doors refused, and the last refused ones as they came."""

from __future__ import annotations

from collections.abc import Mapping

import click

from switchpoint.router.cli.context import Context, json_option, pass_context, print_json


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
    """Count what arrived, and the events that were refused, by cause; with --refused show the last of those.

    Of outcomes the list says how many are of units that were never exposed, of experiments how many outcomes
    count and how many lie before their exposure. All refused events are counted, about 10,000 are kept, each
    cut to 16,384 characters.

    \b
    Example:
      switchpoint events --refused --limit 5
    """
    counts = context.ledger.refusals()
    arrived = sorted(context.ledger.arrivals(context.catalog.plan()).items())
    letters = context.ledger.dead_letters(limit) if refused else []
    if as_json:
        shown = [{"cause": x.cause, "reason": x.reason, "event": x.raw} for x in letters]
        print_json({
            "arrived": [{"count": key[0], "of": key[1:], "events": number} for key, number in arrived],
            "refused": counts,
            **({"last": shown} if refused else {}),
        })  # fmt: skip
        return
    for key, number in arrived:
        click.echo(f"{' '.join(key)}: {number:,}")
    click.echo(f"refused events: {refused_text(counts)}")
    for letter in letters:
        click.echo(f"{letter.reason}\n  {letter.raw}")
