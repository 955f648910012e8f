"""repair: what went wrong outside of the platform and can be mended, shown before it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from switchpoint.router.cli.context import Context, json_option, now_ms, pass_context, print_json

if TYPE_CHECKING:
    from switchpoint.experiment.store.redis.clock import ShardClock


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
