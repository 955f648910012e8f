"""How often a rule errs: of a plan before it runs, and of an experiment on its own units (aa-check)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from switchpoint.experiment.definition.types import Design, Experiment
from switchpoint.experiment.errors import BadInput, NotFound
from switchpoint.experiment.ledger.protocol import settle
from switchpoint.router.cli.context import Context, json_option, now_ms, pass_context, print_json
from switchpoint.router.cli.failure import Exit
from switchpoint.router.cli.options import at_option, instant

if TYPE_CHECKING:
    from switchpoint.analysis.numerics.rates import Rate
    from switchpoint.analysis.simulation.aa import AACheck, MetricCheck
    from switchpoint.analysis.simulation.operating import Characteristic, Operating
    from switchpoint.analysis.simulation.runs import Baseline, World
    from switchpoint.experiment.ledger.protocol import Ledger


F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options of `operating_options`."""

    wanted: bool
    per_day: float | None
    baseline: tuple[str, ...]
    share: tuple[str, ...]
    runs: int
    seed: int


def operating_options(command: F) -> F:
    """`--operating` and what it simulates from; the command takes them together as `operating: Asked`."""

    @wraps(command)
    def gathered(
        *args: Any, operating: bool, per_day: float | None, baseline: tuple[str, ...], share: tuple[str, ...],
        runs: int, seed: int, **kwargs: Any,
    ) -> object:  # fmt: skip
        asked = Asked(wanted=operating, per_day=per_day, baseline=baseline, share=share, runs=runs, seed=seed)
        return command(*args, operating=asked, **kwargs)

    options = (
        click.option("--operating", is_flag=True, help="Simulate the rule: false and missed promotions."),
        click.option("--per-day", type=click.FloatRange(0, min_open=True), help="Units enrolled a day."),
        click.option(
            "--baseline", multiple=True, metavar="METRIC=VALUE[:SD]",
            help="Control's value of a metric: buyers=4%, revenue=12.5:40 (with the sd of one unit).",
        ),
        click.option(
            "--share", multiple=True, metavar="SEGMENT=SHARE", help="Share of the units in a segment: us=70%."
        ),
        click.option(
            "--runs", type=click.IntRange(100, 100_000), default=1_000, show_default=True,
            help="Simulated runs.",
        ),
        click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Draws the runs."),
    )  # fmt: skip
    for option in reversed(options):
        gathered = option(gathered)
    return gathered  # type: ignore[return-value]  # the same command with its options gathered


def measure(context: Context, definition: Experiment, asked: Asked) -> tuple[Operating, ...]:
    """The rule's own behaviour first, then that of the other designs on the same traffic."""
    from dataclasses import replace

    from rich.progress import BarColumn, Progress, TextColumn

    from switchpoint.analysis.simulation.operating import operating, seeded
    from switchpoint.router.cli.render import console

    world = world_of(context, definition, asked)
    own = definition.decision.design
    others = [design for design in Design if design is not own]
    found = []
    with Progress(TextColumn("simulating"), BarColumn(), console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        for design in (own, *others):
            decision = replace(definition.decision, design=design)
            found.append(
                operating(
                    replace(definition, decision=decision), world, rng=seeded(asked.seed), runs=asked.runs,
                    progress=lambda finished: bar.advance(task, finished),
                )
            )  # fmt: skip
    return tuple(found)


def world_of(context: Context, definition: Experiment, asked: Asked) -> World:
    """From what was typed in, completed by the experiment's own history where it has one."""
    from switchpoint.analysis.simulation.runs import World

    past = None if _complete(definition, asked) else _past(context.catalog.experiment, context, definition)
    typed = dict(_named(text, "--baseline") for text in asked.baseline)
    baselines: dict[str, Baseline] = dict(past.baselines) if past is not None else {}
    known = {metric.key: metric for metric in definition.metrics}
    for key, value in typed.items():
        if key not in known:
            raise BadInput(
                "is not a metric of the definition", field="--baseline", value=key, fix=", ".join(known)
            )
        baselines[key] = _baseline(value)
    per_day = asked.per_day or (past.per_day if past is not None else None)
    if per_day is None:
        raise BadInput(
            "is not known", field="--per-day", fix="give the units enrolled a day over all segments"
        )
    return World(per_day=per_day, shares=_shares(definition, asked, past), baselines=baselines)


def _complete(definition: Experiment, asked: Asked) -> bool:
    """Whether everything needed was typed in, so that no store has to be asked."""
    from switchpoint.analysis.simulation.runs import judged_metrics

    named = {text.partition("=")[0] for text in asked.baseline}
    return asked.per_day is not None and {m.key for m in judged_metrics(definition)} <= named


def _past(find: Callable[[str], Any], context: Context, definition: Experiment) -> World | None:
    """The world of the experiment of this key in the store; None where there is none or it has no units."""
    from switchpoint.analysis.evidence.ledger import from_ledger
    from switchpoint.analysis.simulation.runs import from_history

    try:
        state = find(definition.key)
        ledger: Ledger = context.ledger
        moments = ledger.moments(definition.key, context.catalog.plan())
        return from_history(from_ledger(state, moments, at=now_ms()), definition)
    except NotFound:
        return None
    except BadInput as error:
        if error.field == "history":
            return None
        raise


def _shares(definition: Experiment, asked: Asked, past: World | None) -> tuple[float, ...]:
    """Typed-in shares, else those of the past, else by traffic as if the segments were equally large."""
    given = dict(_named(text, "--share") for text in asked.share)
    keys = [segment.key for segment in definition.segments]
    if given:
        if set(given) != set(keys):
            raise BadInput(
                "name every segment once", field="--share", value=sorted(given), fix=", ".join(keys)
            )
        return tuple(_number(given[key], "--share") for key in keys)
    if past is not None:
        return past.shares
    traffic = [segment.traffic for segment in definition.segments]
    return tuple(one / (sum(traffic) or 1) for one in traffic)


def _named(text: str, option: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key or not value:
        raise BadInput("is not NAME=VALUE", field=option, value=text, fix="write buyers=4%")
    return key, value


def _baseline(text: str) -> Baseline:
    from switchpoint.analysis.simulation.runs import Baseline

    mean, colon, sd = text.partition(":")
    spread = _number(sd, "--baseline") if colon else None
    return Baseline(mean=_number(mean, "--baseline"), variance=None if spread is None else spread * spread)


def _number(text: str, option: str) -> float:
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise BadInput("is not a number", field=option, value=text, fix="write 4% or 0.04") from None


def show(found: tuple[Operating, ...]) -> None:
    """The rule's behaviour as a table by what is true, then the other designs in a line each."""
    from switchpoint.router.cli.render import show_table

    own = found[0]
    click.echo("")
    click.echo(
        f"operating characteristics of this rule ({_named_design(own)}, alpha {own.alpha:g}, "
        f"power {own.power:g}, MDE {_size(own)}): {own.runs:,} simulated runs at {own.per_day:,.0f} units "
        "a day"
    )
    click.echo(
        f"it asks for {own.units_needed:,} units of control and the first other variant: about "
        f"{own.days_needed} days"
    )
    show_table(
        ("what is true", "promotes", "keeps control", "rolls back", "stops", "undecided", "days, mean",
         "95 % by day", "longest", "units, mean"),
        [_row(row) for row in own.scenarios],
    )  # fmt: skip
    click.echo("the same test under other designs:")
    show_table(
        (
            "design",
            "false promotion",
            "missed promotion",
            "days with no effect",
            "days with the MDE",
            "longest",
        ),
        [_line(one) for one in found],
    )


def _line(found: Operating) -> tuple[str, ...]:

    from switchpoint.analysis.numerics.rates import rate_of

    null, mde = found.scenarios[0], found.scenarios[1]
    missed = rate_of(mde.promoted.trials - mde.promoted.count, mde.promoted.trials)
    longest = max(null.longest_days, mde.longest_days)
    days = (null.mean_days, mde.mean_days, longest)
    return (
        _named_design(found),
        rate_text(null.promoted),
        rate_text(missed),
        *(f"{day:.0f}" for day in days),
    )


def _row(row: Characteristic) -> tuple[str, ...]:

    ends = (row.promoted, row.kept, row.rolled_back, row.stopped, row.undecided)
    numbers = (row.mean_days, row.late_days, row.longest_days, row.mean_units)
    return (row.scenario.value, *map(rate_text, ends), *(f"{number:,.0f}" for number in numbers))


def _named_design(found: Operating) -> str:
    return found.design.replace("_", " ")


def _size(found: Operating) -> str:
    return f"{100 * found.mde:g}%" if found.mde_relative else f"{found.mde:g}"


def documents(found: tuple[Operating, ...]) -> list[Mapping[str, Any]]:
    """JSON-safe, in the order of `measure`."""
    from switchpoint.analysis.results.json import fields_of

    return [fields_of(one) for one in found]


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
        [
            _rates(m, m.passes, m.fixed, m.sequential, m.sequential_daily, m.fixed_daily)
            for m in found.metrics
        ],
        labels=2,
    )  # fmt: skip
    click.echo("intervals that hold the true zero, and guardrails:")
    show_table(
        ("metric", "role", "effect", "lift", "sequence, all looks", "shown safe", "called harmed"),
        [
            _rates(m, m.effect_covers, m.lift_covers, m.sequence_covers, m.safe, m.harmed)
            for m in found.metrics
        ],
        labels=2,
    )  # fmt: skip


def _rates(metric: MetricCheck, *rates: Rate | None) -> tuple[str, ...]:
    return (metric.metric, metric.role, *map(rate_text, rates))


def rate_text(found: Rate | None) -> str:
    """A measured rate with its Monte Carlo error."""
    from switchpoint.analysis.results import format as fmt

    if found is None or found.share is None or found.error is None:
        return fmt.ABSENT
    return f"{found.share:.1%} ± {found.error:.1%}"
