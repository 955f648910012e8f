"""events, verify, repair: what arrived and what was refused, the log folded again, and what can be mended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from switchpoint.router.cli.context import Context, json_option, now_ms, pass_context, print_json
from switchpoint.router.cli.failure import Exit

if TYPE_CHECKING:
    from switchpoint.experiment.ledger.verify import Mismatch
    from switchpoint.experiment.store.redis.days import ShardClock


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


@click.command()
@json_option
@pass_context
@click.pass_context
def verify(ctx: click.Context, context: Context, *, as_json: bool) -> None:
    """Fold the event log with the reference fold and compare it with the live moments.

    Names every cell that differs, and where a unit's record differs from the log, the unit and its first
    event. Also checks the audit chain of the records, that the store is the one this data directory knows,
    and the model files of this directory by their digests. Exit code 1 on any difference.

    \b
    Example:
      switchpoint verify
    """
    from switchpoint.experiment.ledger.verify import verify as compare
    from switchpoint.experiment.registry.records import check
    from switchpoint.experiment.store.artifacts import check_files

    if context.contradiction is not None:
        # an empty ledger folds to empty moments: that proves nothing about a store that went back
        if as_json:
            print_json({"store": context.contradiction, "same": False})
        else:
            click.echo(context.contradiction)
        ctx.exit(Exit.RULE_SAYS_NO)
    differences = compare(context.ledger, context.catalog.plan())
    broken = check(context.records)
    files = check_files(context.artifacts, context.catalog.models())
    events = sum(1 for _ in context.ledger.events())
    if as_json:
        print_json({
            "events": events,
            "ledger": [_document(d) for d in differences],
            "records": broken,
            "models": files,
            "same": not (differences or broken or files),
        })  # fmt: skip
    else:
        for difference in (*(d.problem for d in differences), *broken, *files):
            click.echo(difference)
        if not differences:
            click.echo(f"the log of {events:,} events folds to the live moments, integer for integer")
        if not broken:
            click.echo("the audit chain holds and the records agree with it")
        if not files:
            click.echo("the model files are what their digests say")
    if differences or broken or files:
        ctx.exit(Exit.RULE_SAYS_NO)


def _document(difference: Mismatch) -> dict[str, object]:
    from switchpoint.experiment.ledger.codec import to_document

    first = difference.first_event
    return {
        "problem": difference.problem,
        "experiment": difference.experiment,
        "cell": difference.cell._asdict() if difference.cell else None,
        "unit": difference.unit,
        "first_event": to_document(first) if first else None,
    }


@click.group()
def repair() -> None:
    """Mend what went wrong; without --apply only say what would be done."""


@repair.command()
@click.option("--apply", "wanted", is_flag=True, help="Do it. Left out, nothing is changed.")
@click.option("--reason", default="", help="Why, for the audit log.")
@json_option
@pass_context
def clock(context: Context, reason: str, *, wanted: bool, as_json: bool) -> None:
    """Take back a newest event day that is ahead of the server's clock, and count what was late for it alone.

    Reads the whole log. Refused (exit code 1) where this machine's clock and the server's differ by more than
    five minutes, because nobody could say then what is ahead. Safe to repeat.

    \b
    Examples:
      switchpoint repair clock
      switchpoint repair clock --apply --reason "the gateway's clock was 30 days ahead"
    """
    from switchpoint.experiment.registry.audit import Note

    _require_one_clock(context)
    plan, shards = context.catalog.plan(), context.ledger.clocks()
    wrong = [shard for shard in shards if shard.newest != shard.right]
    late, counted = sum(shard.late for shard in shards), 0
    if wanted and (wrong or late):
        said = reason or "; ".join(_sentences(wrong, late))
        note = Note(at=now_ms(), actor=context.actor, action="repair", subject="clock", reason=said)
        context.records.commit([], note)
        counted = context.ledger.repair_clock(plan)
    if as_json:
        days = [{"newest": _day(shard.newest), "right": _day(shard.right)} for shard in wrong]
        print_json({"newest_days": days, "late": late, "applied": wanted, "counted": counted})
        return
    for sentence in _sentences(wrong, late) or ["nothing to repair: no newest day is ahead"]:
        click.echo(sentence)
    if wanted and late:
        click.echo(f"{counted:,} of them are counted now")
    if (wrong or late) and not wanted:
        click.echo("nothing was changed; `switchpoint repair clock --apply` does it")


def _require_one_clock(context: Context) -> None:
    """Raises Refused."""
    from switchpoint.experiment.errors import Refused
    from switchpoint.experiment.ledger.codec import AHEAD_MS
    from switchpoint.experiment.store.redis.connection import clock_finding, server_time
    from switchpoint.router.recording.clock import Clock

    one = Clock(lambda: server_time(context.client))
    one.look()
    drift = one.drift or 0.0
    if abs(drift) * 1000 > AHEAD_MS:
        raise Refused(
            f"the server's clock is {clock_finding(drift).value}",
            field="clock",
            fix="set the one that is wrong, then repeat",
        )


def _sentences(wrong: list[ShardClock], late: int) -> list[str]:
    """What is wrong, newest days first."""
    found = sorted({(_day(shard.newest), _day(shard.right)) for shard in wrong})
    said = [f"the newest event day is {newest} and should be {right}" for newest, right in found]
    return said + ([f"{late:,} events were late only because it was ahead"] if late else [])


def _day(number: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(number * 86_400, UTC).date().isoformat()
