"""worker: judge what changes in the background, for the console."""

from __future__ import annotations

import contextlib

import click

from switchpoint.router.cli.context import Context, now_ms, pass_context

_ANSWER_SECONDS = 10.0
"""How long one answer of the store may take; a frozen one is then said to be away."""


@click.command()
@click.option("--once", is_flag=True, help="Judge everything, write it down and end.")
@click.option(
    "--every", type=click.FloatRange(0.1, 30), default=1.0, show_default=True, metavar="SECONDS",
    help="Look for changes this often.",
)  # fmt: skip
@click.option(
    "--simulated-clock", is_flag=True, envvar="SWITCHPOINT_SIMULATED_CLOCK",
    help="Judge as of the newest event: for a service whose requests set the clock.",
)  # fmt: skip
@click.option("--quiet", is_flag=True, help="Say nothing unless something is wrong.")
@pass_context
def worker(context: Context, *, once: bool, every: float, simulated_clock: bool, quiet: bool) -> None:
    """Judge what changes, for the console: its board, and the reports of days and decisions for ever.

    A running experiment is judged again within a minute of new events, whatever somebody changes at once.
    One worker a project: a second one waits, and goes on where the first ends. The console starts its own.

    \b
    Examples:
      switchpoint worker
      switchpoint worker --once
      switchpoint worker --every 5
    """
    from switchpoint.experiment.errors import StoreUnavailable
    from switchpoint.experiment.store.board import Board, board_path
    from switchpoint.experiment.store.redis.connection import connect
    from switchpoint.experiment.store.redis.ledger import RedisLedger
    from switchpoint.experiment.store.redis.records import RedisRecords
    from switchpoint.router.cli.own_store import own_store, terminable
    from switchpoint.router.worker.reading import Reading
    from switchpoint.router.worker.worker import Worker, only_worker

    path = board_path(context.data, context.project)
    with (
        terminable(),
        contextlib.suppress(KeyboardInterrupt),
        only_worker(path.parent, waiting=None if once else _waiting),
        own_store(context.data, join=True) as url,
        connect(url, timeout=_ANSWER_SECONDS) as client,
        contextlib.closing(Board(path)) as board,
    ):
        reading = Reading(
            RedisRecords(client, context.project), RedisLedger(client, context.project), context.memory,
            now=now_ms, simulated=simulated_clock,
        )  # fmt: skip
        one = Worker(reading, board, every=every)
        if once:
            while one.step():
                pass
            if one.away is not None:
                raise StoreUnavailable(one.away)
            return
        if not quiet:
            click.echo(f"keeping {path} until Ctrl-C")
        one.run()


def _waiting(holder: str) -> None:
    click.echo(f"waiting for the worker of this project (pid {holder}) to end", err=True)
