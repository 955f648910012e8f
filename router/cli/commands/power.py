"""power: how many units and days a test needs, from typed-in figures, an experiment's history or a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from switchpoint.experiment.definition.types import WEAK_LIFT, Design
from switchpoint.experiment.errors import BadInput
from switchpoint.router.cli.context import Context, json_option, now_ms, pass_context
from switchpoint.router.cli.output import deliver

if TYPE_CHECKING:
    from switchpoint.experiment.definition.types import DecisionRule
    from switchpoint.router.power import Baseline, Plan


@click.command()
@click.argument("experiment", required=False)
@click.option("--metric", help="Metric of EXPERIMENT; default: its primary metric.")
@click.option("--file", "file", help="A table to learn from, with --spec: as `analyze` reads it.")
@click.option("--spec", "spec_file", type=click.Path(path_type=Path), help="How to read --file.")
@click.option("--rate", help="Control's rate, for a proportion: 10%.")
@click.option("--mean", type=float, help="Control's mean per unit; with --sd.")
@click.option("--sd", type=float, help="Standard deviation of one unit.")
@click.option(
    "--correlation",
    type=float,
    help="Of a unit's value with its covariate from before exposure, which removes that share, squared.",
)
@click.option(
    "--mde",
    help="Smallest effect to see: 5% is relative, 0.5 absolute. Default: as --alpha's, else 5%.",
)
@click.option("--alpha", type=float, help="Default: that of the spec or EXPERIMENT, else 0.05.")
@click.option("--power", type=float, help="Default: as --alpha's, else 0.8.")
@click.option(
    "--design",
    type=click.Choice([design.value for design in Design]),
    help="Default: as --alpha's, else sequential.",
)
@click.option("--looks", type=int, help="Looks of group_sequential. Default: as --alpha's, else 5.")
@click.option(
    "--prior-sd",
    help=f"bayesian: sd of the lift's prior, mean 0. Default: the prior as --alpha's, else {WEAK_LIFT:.0%}.",
)
@click.option(
    "--treatment-share", default="50%", show_default=True, help="Share of units that get the treatment."
)
@click.option("--per-day", type=float, help="Units a day, for the runtime.")
@json_option
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "html", "json"]),
    default="text",
    show_default=True,
    help="html: a page with the power curves.",
)
@pass_context
def power(
    context: Context,
    /,
    experiment: str | None,
    metric: str | None,
    file: str | None,
    spec_file: Path | None,
    *,
    as_json: bool,
    form: str,
    output: Path | None,
    **figures: Any,
) -> None:
    """Units and days a test needs to see an effect, from figures, from EXPERIMENT's own history or a file.

    \b
    Examples:
      switchpoint power --rate 10% --mde 5% --per-day 4000
      switchpoint power --mean 12.5 --sd 40 --mde 3% --design group_sequential --looks 4
      switchpoint power --mean 12.5 --sd 40 --mde 3% --correlation 0.6
      switchpoint power home-ranker --mde 1%
      switchpoint power --file units.parquet --spec spec.yaml --mde 2%
      switchpoint power --rate 10% --mde 5% --format html --output power.html
    """
    from switchpoint.router.power import Figures, of_experiment, plan

    history, rule = None, None
    with _options():
        if experiment is not None:
            history, rule = of_experiment(
                context.catalog, context.ledger, experiment, metric=metric, at=now_ms()
            )
        elif file is not None:
            history, rule = _of_file(file, spec_file, metric)
        made = plan(Figures(**figures), history, rule)
    form = "json" if as_json else form
    if form == "text" and output is None:
        _show(made)
        return
    deliver(_rendered(made, form), output)


@contextmanager
def _options() -> Iterator[None]:
    """What the plan calls a figure is an option here."""
    from switchpoint.router.power import FIGURES

    try:
        yield
    except BadInput as error:
        if error.field not in FIGURES | {"metric"}:
            raise
        option = f"--{error.field.replace('_', '-')}"
        raise BadInput(error.message, field=option, value=error.value, fix=error.fix) from error


def _of_file(file: str, spec_file: Path | None, metric: str | None) -> tuple[Baseline, DecisionRule]:
    """What a table of somebody's earlier test says, and the rule of its spec."""
    from switchpoint.analysis.report.report import BatchReport
    from switchpoint.experiment.language.experiment import load_either_file
    from switchpoint.router.power import of_report
    from switchpoint.router.tables import judged

    if spec_file is None:
        raise click.UsageError("--file needs --spec, which says how to read it")
    spec = load_either_file(spec_file)
    report = judged(file, spec, at=now_ms())
    if isinstance(report, BatchReport):
        raise BadInput(
            "a table of many experiments has no single history", field="--file", value=file,
            fix="leave `experiment` out of the source, or take the rows of one experiment.",
        )  # fmt: skip
    return of_report(report, metric, Path(file).name), spec.decision


def _rendered(made: Plan, form: str) -> str:
    """The answer with its power curves as the text of a file."""
    from switchpoint.analysis.report.html import power_html

    if form == "text":
        return "".join(f"{name}: {value}\n" for name, value in made.facts())
    if form == "html":
        return power_html(made.planned, made.curves(), made.facts())
    return json.dumps(made.document(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _show(made: Plan) -> None:
    from switchpoint.router.cli.render import show_table

    show_table(("", ""), made.facts(), labels=2)
