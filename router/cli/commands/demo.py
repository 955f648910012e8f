"""demo: the whole path on a simulated shop whose truth is known."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from switchpoint.router.cli.commands.console import console_and_worker, login_link
from switchpoint.router.cli.context import Context, pass_context
from switchpoint.router.cli.failure import Exit

if TYPE_CHECKING:
    from switchpoint.router.demo.door import Sent
    from switchpoint.router.demo.folder import Progress
    from switchpoint.router.demo.run import Decided, Prepared
    from switchpoint.router.serving.launch import ServingProcess, WebProcess


_SAID = {True: "RIGHT", False: "WRONG", None: "undecided: it neither meets nor contradicts the truth"}


@click.command()
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Draws the world.")
@click.option("--aa", is_flag=True, help="An A/A test: both variants serve the same version.")
@click.option(
    "--shoppers", type=click.IntRange(200, 200_000), default=None, help="Units to send. Default: 9000."
)
@click.option(
    "--fresh/--continue",
    "fresh",
    default=True,
    help="Start clean (default), or go on with an interrupted run.",
)
@click.option("--once", is_flag=True, help="End after the report instead of serving until Ctrl-C.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to serve on. Default: a free one.")
@pass_context
@click.pass_context
def demo(
    ctx: click.Context,
    context: Context,
    *,
    seed: int,
    aa: bool,
    shoppers: int | None,
    fresh: bool,
    once: bool,
    port: int | None,
) -> None:
    """Train two recommenders, serve them, send two simulated weeks of shoppers, judge, promote.

    Everything happens in the folder `demo` of the data directory, on a clock of its own. Ends with exit
    code 1 if the verdict contradicts the truth of the simulated world.

    \b
    Examples:
      switchpoint demo --once
      switchpoint demo --aa --seed 7
      switchpoint demo --continue
    """
    from switchpoint.router.cli.own_store import own_store, terminable
    from switchpoint.router.demo.folder import open_folder
    from switchpoint.router.demo.plan import SHOPPERS, DemoPlan
    from switchpoint.router.serving.launch import require_free

    folder = context.data / "demo"
    if port is not None:
        require_free("127.0.0.1", port, data=folder)
    plan = DemoPlan(seed=seed, aa=aa, shoppers=shoppers or SHOPPERS)
    with terminable():
        progress = open_folder(folder, plan, resume=not fresh)
        # closed in this order: the context writes the journal from the server's records
        with own_store(folder) as url, closing(_within(context, folder, url)) as inner:
            right = _run(inner, progress, folder, url, port=port, once=once)
    ctx.exit(Exit.DONE if right else Exit.RULE_SAYS_NO)


def _within(context: Context, folder: Path, url: str) -> Context:
    """A context of the demo's own folder and server."""
    return Context(folder, context.project, debug=context.debug, redis_url=url)


def _run(
    context: Context, progress: Progress, folder: Path, url: str, *, port: int | None, once: bool
) -> bool:
    from switchpoint.router.demo.run import conclude, prepare, send, serving

    click.echo("training two recommenders on the shop's past …")
    prepared = prepare(progress.plan, context.catalog, context.artifacts)
    _say_prepared(prepared)
    with (
        serving(url, folder, project=context.project, port=port) as process,
        nullcontext() if once else _watched(context, url) as console,
    ):
        click.echo(f"serving on {process.url} with a simulated clock; data in {folder}")
        if console is not None:
            click.echo(f"watch it: {login_link(context, console)}")
        with _bar(prepared, progress) as show:
            send(prepared, progress, process, folder, show)
        decided = conclude(prepared, context.catalog, context.ledger)
        _say_decided(decided)
        files = _write_files(decided, folder)
        same = _say_verified(context)
        _say_next(folder, files)
        if console is not None:
            click.echo(f"console: {login_link(context, console)}")
            click.echo("open it (once, within 10 minutes) and click home-ranker: what to do, and why")
            _stay(process)
    return decided.judgement.right is not False and same


@contextmanager
def _watched(context: Context, url: str) -> Iterator[WebProcess]:
    """A console and its worker beside the demo, on its clock."""
    from switchpoint.router.serving.launch import free_port

    console, worker = console_and_worker(context, url, port=free_port(), simulated=True)
    try:
        worker.start()
        console.start()
        yield console
    finally:
        worker.stop()
        console.stop()


@contextmanager
def _bar(prepared: Prepared, progress: Progress) -> Iterator[Callable[[int, Sent], None]]:
    """A progress bar over the visits that are still to be sent; plain lines where there is no terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    from switchpoint.experiment.definition.types import DAY_MS
    from switchpoint.router.cli.render import console

    at = prepared.trained.world.visits.at
    total = int((at >= progress.next_day * DAY_MS).sum())
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("visits"))
    out = console()
    with Bar(*columns, TextColumn("{task.fields[events]:,} events"), TimeElapsedColumn(), console=out) as bar:
        task = bar.add_task("day  1", total=total, events=0)

        def show(day: int, sent: Sent) -> None:
            bar.update(
                task, completed=sent.visits, events=sent.events.total(), description=f"day {day + 1:2}"
            )

        yield show


def _say_prepared(prepared: Prepared) -> None:
    fitted = (prepared.trained.control, prepared.trained.treatment)
    for version, model in zip(prepared.versions, fitted, strict=False):
        click.echo(f"  {version.ref}: offline AUC {model.metrics['auc']:.3f}, {version.digest[:19]}…")
    traffic = ", ".join(f"{s.key} {s.traffic / 100:g}%" for s in prepared.state.definition.segments)
    click.echo(f"experiment {prepared.state.key} runs: {traffic}")


def _say_decided(decided: Decided) -> None:
    from switchpoint.analysis.report.section import verdict_tone
    from switchpoint.analysis.report.sections import status_sections
    from switchpoint.analysis.results import format as fmt
    from switchpoint.router.cli.render import show, show_table

    report, judgement = decided.look.report, decided.judgement
    click.echo("")
    show(status_sections(report), tone=verdict_tone(report.verdict))
    click.echo(f"The truth, which only the simulation knows: {judgement.sentence}.")
    show_table(
        (
            "segment",
            "true control",
            "true treatment",
            "true effect",
            "estimated",
            "confidence sequence",
            "covered",
        ),
        [
            (
                row.segment,
                fmt.share(row.control, digits=2),
                fmt.share(row.treatment, digits=2),
                f"{100 * row.effect:+.2f} pp",
                fmt.ABSENT if row.estimate is None else f"{100 * row.estimate:+.2f} pp",
                fmt.points(row.interval),
                {True: "yes", False: "no", None: fmt.ABSENT}[row.covered],
            )
            for row in judgement.rows
        ],
    )
    click.secho(f"The verdict is {_SAID[judgement.right]}.", bold=True)
    said = f"{decided.decision.finding.kind.value} {decided.decision.finding.variant or ''}".strip()
    click.echo(f"decision {decided.decision.id} recorded: {said}")
    if decided.champion is not None:
        where = ", ".join(
            f"{r.segment} → {decided.champion.model}@{r.version}" for r in decided.champion.assignments
        )
        click.echo(f"champion: {where}")


def _write_files(decided: Decided, folder: Path) -> list[Path]:
    from switchpoint.router.cli.output import rendered

    files = []
    for form in ("html", "json"):
        path = folder / f"report.{form}"
        path.write_text(rendered(decided.look.report, form), encoding="utf-8")
        files.append(path)
    return files


def _say_verified(context: Context) -> bool:
    from switchpoint.experiment.ledger.verify import verify

    plan = context.catalog.plan()
    differences = verify(context.ledger, plan)
    events = sum(1 for _ in context.ledger.events())
    for difference in differences:
        click.echo(difference.problem)
    if not differences:
        click.echo(f"verified: the log of {events:,} events folds to the live moments, integer for integer")
    return not differences


def _say_next(folder: Path, files: list[Path]) -> None:
    click.echo(f"report: {', '.join(map(str, files))}")
    click.echo(f"look again: switchpoint --data {folder} report home-ranker --at 2026-06-16T01:00:00Z")


def _stay(process: ServingProcess) -> None:
    click.echo(f"serving on {process.url} until Ctrl-C")
    never = threading.Event()
    try:
        while process.alive():
            never.wait(0.5)
    except KeyboardInterrupt:
        click.echo("stopping")
