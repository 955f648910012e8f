"""aa-check: randomise an experiment's own units again and count what its rule finds that is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from switchpoint.experiment.ledger.protocol import settle
from switchpoint.router.cli.context import Context, json_option, pass_context, print_json
from switchpoint.router.cli.failure import Exit
from switchpoint.router.cli.options import at_option, instant

if TYPE_CHECKING:
    from switchpoint.analysis.numerics.rates import Rate
    from switchpoint.analysis.simulation.aa import AACheck, MetricCheck


@click.command("aa-check")
@click.argument("experiment")
@click.option(
    "--rounds", type=click.IntRange(100, 1_000_000), default=1_000, show_default=True,
    help="Times the units are randomised again.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Draws the fresh salts.")
@at_option
@json_option
@pass_context
@click.pass_context
def aa_check(
    ctx: click.Context, context: Context, experiment: str, rounds: int, seed: int, at_text: str | None,
    *, as_json: bool,
) -> None:  # fmt: skip
    """Randomise the logged units of EXPERIMENT again and count false alarms: error rates on your own traffic.

    Every round assigns the matured units with a fresh salt, same segments and allocation, and keeps what
    they did, so the true effect is zero. Ends with exit code 1 when an error rate is higher than the rule
    promises, or when there are not enough units to say.

    \b
    Examples:
      switchpoint aa-check home-ranker
      switchpoint aa-check home-ranker --rounds 5000 --json
    """
    from switchpoint.analysis.simulation.aa import Outcome
    from switchpoint.analysis.simulation.aa import aa_check as check
    from switchpoint.analysis.simulation.units import unit_log
    from switchpoint.router.judging import refuse_before_start

    at = instant(at_text)
    state, plan = context.catalog.experiment(experiment), context.catalog.plan()
    settle(context.ledger, plan)
    own = plan.by_key.get(experiment)
    if own is None:
        raise click.UsageError(f"{experiment} has not started, so it has no units")
    refuse_before_start(state, at)
    log = unit_log(context.ledger.units(plan), state, own, at=at)
    with _bar(rounds) as progress:
        found = check(log, rounds=rounds, seed=seed, progress=progress)
    if as_json:
        print_json(found.to_dict())
    else:
        _show(found)
    if found.outcome is not Outcome.OK:
        ctx.exit(Exit.RULE_SAYS_NO)


@contextmanager
def _bar(rounds: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr over the rounds."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from switchpoint.router.cli.render import console

    columns = (TextColumn("randomising again"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=rounds)
        yield lambda finished: bar.advance(task, finished)


def _show(found: AACheck) -> None:
    from switchpoint.router.cli.render import show_table

    click.secho(f"{found.experiment}: {found.outcome.value}. {found.sentence}", bold=True)
    for finding in found.findings:
        click.echo(f"  {finding}")
    left = found.left_out
    apart = [
        f"{n:,} {what}"
        for n, what in (
            (left.contaminated, "seen in several variants"), (left.immature, "not matured"),
            (left.unreadable, "unreadable"), (left.history, "of models no longer in force"),
        )
        if n
    ]  # fmt: skip
    click.echo(
        f"{found.units:,} units randomised again {found.rounds:,} times (seed {found.seed}), read at "
        f"{found.looks} looks over {found.days} days" + (f"; left out: {', '.join(apart)}" if apart else "")
    )
    click.echo(
        f"whole rule ({found.design.replace('_', ' ')}): promotes falsely in {rate_text(found.promoted)}, "
        f"rolls back in {rate_text(found.rolled_back)}; sample-ratio alarms {rate_text(found.alarms)} ("
        f"tested at {found.srm_level:g})"
    )
    click.echo(f"called different although nothing is (level {found.alpha:g}, ± is one standard error):")
    show_table(
        ("metric", "role", "enough events", "fixed, last look", "sequential, last look",
         "sequential, daily", "fixed if read daily"),
        [_row(m, m.passes, m.fixed, m.sequential, m.sequential_daily, m.fixed_daily) for m in found.metrics],
        labels=2,
    )  # fmt: skip
    click.echo("intervals that hold the true zero, and guardrails:")
    show_table(
        ("metric", "role", "effect", "lift", "sequence, all looks", "shown safe", "called harmed"),
        [_row(m, m.effect_covers, m.lift_covers, m.sequence_covers, m.safe, m.harmed) for m in found.metrics],
        labels=2,
    )  # fmt: skip


def _row(metric: MetricCheck, *rates: Rate | None) -> tuple[str, ...]:
    return (metric.metric, metric.role, *map(rate_text, rates))


def rate_text(found: Rate | None) -> str:
    """A measured rate with its Monte Carlo error."""
    from switchpoint.analysis.results import format as fmt

    if found is None or found.share is None or found.error is None:
        return fmt.ABSENT
    return f"{found.share:.1%} ± {found.error:.1%}"
