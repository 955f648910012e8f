"""analyze and import: somebody else's data, judged in place or brought into the live ledger."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from switchpoint.experiment.errors import BadInput
from switchpoint.router.cli.context import Context, json_option, now_ms, pass_context, print_json
from switchpoint.router.cli.failure import Exit
from switchpoint.router.cli.options import at_option, compare_option, format_options, instant
from switchpoint.router.cli.output import write_report

if TYPE_CHECKING:
    from switchpoint.analysis.tables.suggest import Suggestion
    from switchpoint.experiment.definition.types import Experiment
    from switchpoint.experiment.ledger.event import Event

_BATCH = 500

_spec = click.option(
    "--spec",
    "spec_file",
    type=click.Path(path_type=Path),
    required=True,
    help="Spec with metrics, decision and source; or a definition with a source.",
)


@click.command()
@click.argument("file")
@click.option(
    "--spec",
    "spec_file",
    type=click.Path(path_type=Path),
    help="Spec with metrics, decision and source; or a definition with a source. Without one: what the table "
    "seems to hold.",
)
@click.option("--suggest-spec", is_flag=True, help="Write the spec that says how the table is understood.")
@click.option("--judge", is_flag=True, help="Judge under the suggested spec, which never promotes.")
@click.option("--table", "table_name", help="The table, view or sheet to read, of a database or spreadsheet.")
@click.option("--sql", help="A query to read instead of a table, of a database.")
@compare_option
@at_option
@format_options
def analyze(  # noqa: PLR0913 - one parameter per option
    file: str, spec_file: Path | None, table_name: str | None, sql: str | None,
    compare: tuple[tuple[str, str], ...], at_text: str | None, form: str, output: Path | None, *,
    suggest_spec: bool, judge: bool, as_json: bool,
) -> None:  # fmt: skip
    """Judge FILE under a spec; needs no server.

    Without a spec it says how the table is understood (shape, roles, variants, metrics, what is doubtful);
    --suggest-spec writes that down as a spec to correct, --judge judges by it with the assignment unknown.

    FILE is a CSV or Parquet file, a spreadsheet (--table names the sheet), or a SQLite database
    (sqlite:///log.db, or a file ending in .db, .sqlite or .sqlite3) with --table or --sql. The shape `events`
    finds its second table beside the first: a file in the same folder, a table of the same database. A table
    of many experiments gives a batch report: a summary, then a row per experiment.

    Exit code 1 when the verdict on one experiment is neither promote nor keep; 0 for a table of many.

    \b
    Examples:
      switchpoint analyze counts.csv
      switchpoint analyze counts.csv --suggest-spec > spec.yaml
      switchpoint analyze upworthy.parquet --spec docs/examples/upworthy.yaml
      switchpoint analyze counts.csv --spec spec.yaml --format html --output report.html
      switchpoint analyze counts.csv --spec spec.yaml --compare B C
      switchpoint analyze sqlite:///log.db --table units --spec spec.yaml
    """
    from switchpoint.analysis.report.report import Report
    from switchpoint.experiment.language.experiment import load_either_file, load_spec
    from switchpoint.router.tables import judged, suggested

    if spec_file is not None and (suggest_spec or judge):
        raise BadInput(
            "a spec is given", field="--suggest-spec" if suggest_spec else "--judge", value=str(spec_file),
            fix="leave out one of the two.",
        )  # fmt: skip
    spec = None if spec_file is None else load_either_file(spec_file)
    if spec is None:
        suggestion = suggested(file, table_name, sql)
        if not judge:
            form = "spec" if suggest_spec else "json" if as_json else form
            _say(suggestion, form, output)
            return
        spec = load_spec(suggestion.spec, file="the suggested spec")
    found = judged(file, spec, at=instant(at_text), table=table_name, sql=sql, compare=compare)
    write_report(found, "json" if as_json else form, output)
    if isinstance(found, Report) and not found.verdict.kind.settled:
        click.get_current_context().exit(Exit.RULE_SAYS_NO)


def _say(found: Suggestion, form: str, output: Path | None) -> None:
    """Write a suggestion: as the spec, as JSON, or in words."""
    from switchpoint.router.cli.output import deliver
    from switchpoint.router.cli.render import show_table

    if form == "spec":
        deliver(found.spec, output)
        return
    if form == "json":
        deliver(json.dumps(asdict(found), indent=2, ensure_ascii=False) + "\n", output)
        return
    variants = ", ".join(found.variants)
    click.echo(f"Understood as {_SHAPES[found.shape]}; variants {variants} (the first is control).")
    rows = [(one.column, one.role, one.why) for one in found.roles]
    show_table(("column", "taken for", "because"), rows, labels=3)
    click.echo("\n".join(["Doubtful:", *(f"  - {line}" for line in found.doubtful)]))
    click.echo("--suggest-spec writes the spec to correct; --judge judges by it, the assignment unknown.")


_SHAPES = {
    "units": "a row per unit",
    "counts": "a row per variant with counts",
    "moments": "a row per variant with means and variances",
}


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@_spec
@json_option
@pass_context
def import_(context: Context, file: Path, spec_file: Path, *, as_json: bool) -> None:
    """Bring FILE (a row per unit) into the live ledger, for an experiment assigned elsewhere.

    With a definition the experiment is applied and started if it is not there yet. Event ids are made of
    the rows, so importing a file again changes nothing.

    \b
    Example:
      switchpoint import obd_small_men.parquet --spec docs/examples/open_bandit.yaml
    """
    from switchpoint.experiment.ledger.columns import (
        check_columns,
        notation_of,
        number_columns,
        text_columns,
        time_columns,
    )
    from switchpoint.experiment.ledger.importing import events
    from switchpoint.experiment.store.tables import rows, values
    from switchpoint.router.tables import dialect_of, named

    definition = _collecting(context, spec_file)
    source = definition.source
    if source is None:
        raise BadInput(
            f"{spec_file} has no source", field="--spec", value=str(spec_file), fix="add a `source` block"
        )
    state = context.catalog.experiment(definition.key)
    choose = partial(check_columns, source)
    form = dialect_of(file, source, choose)
    texts = text_columns(source, numbers=form is not None and form.grouping)
    table = rows(file, columns=choose, labels=texts, form=form)
    asked = number_columns(source) | time_columns(source)
    notation = notation_of(source, values(file, asked, texts, form))
    epoch = state.epoch.number if state.epoch else 1
    with named(file):
        found = _record(context, events(definition, table, notation, revision=state.revision, epoch=epoch))
    if as_json:
        print_json({"experiment": definition.key, "events": dict(found)})
        return
    said = ", ".join(f"{n:,} {status}" for status, n in sorted(found.items()))
    click.echo(f"{definition.key}: {found.total():,} events: {said}")
    click.echo(f"next: switchpoint report {definition.key}")


def _collecting(context: Context, spec_file: Path) -> Experiment:
    """The definition that reads the table; with a whole definition the experiment runs afterwards."""
    from dataclasses import replace

    from switchpoint.experiment.definition.state import Status
    from switchpoint.experiment.definition.types import Experiment
    from switchpoint.experiment.language.experiment import load_either_file

    spec = load_either_file(spec_file)
    if not isinstance(spec, Experiment):
        if spec.source.experiment_key is None:
            raise BadInput(
                f"{spec_file} does not say into which experiment",
                field="source.experiment",
                value=str(spec_file),
                fix="write experiment: {key: ...}",
            )
        return replace(context.catalog.experiment(spec.source.experiment_key).definition, source=spec.source)
    state = context.catalog.apply(spec, at=now_ms(), actor=context.actor, reason=f"import with {spec_file}")
    if state.status is Status.DRAFT:
        context.catalog.start(spec.key, at=now_ms(), actor=context.actor, reason=f"import with {spec_file}")
    return spec


def _record(context: Context, found: Iterator[Event]) -> Counter[str]:
    """Record events as history, in batches, with a progress line; counts by what became of them."""
    from itertools import islice

    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    from switchpoint.router.cli.render import console

    plan, statuses = context.catalog.plan(), Counter[str]()
    columns = (TextColumn("importing"), TextColumn("{task.completed:,} events"), TimeElapsedColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        while batch := list(islice(found, _BATCH)):
            statuses.update(s.value for s in context.ledger.record(batch, plan, history=True))
            bar.update(task, completed=statuses.total())
    return statuses
