"""power: how many units and days a test needs, from typed-in figures, an experiment's history or a file."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from switchpoint.experiment.definition.types import WEAK_LIFT, Belief, DecisionRule, Design, Size
from switchpoint.experiment.errors import BadInput
from switchpoint.router.cli.commands.baseline import (
    Baseline,
    of_experiment,
    of_file,
    share_of,
    typed,
    with_covariate,
)
from switchpoint.router.cli.context import Context, json_option, pass_context
from switchpoint.router.cli.output import deliver

if TYPE_CHECKING:
    from switchpoint.analysis.planning.curves import Planned


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """The answer: units of each variant and of both, days and whole weeks (None: pace unknown)."""

    baseline: float
    effect: float
    lift: float | None
    design: str
    alpha: float
    power: float
    units_control: int
    units_treatment: int
    units: int
    days: int | None
    weeks: int | None
    source: str


class _Finite(click.FloatRange):
    """A number within its bounds; infinity and nan are none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number, or a usage error that names the option."""
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return found


@click.command()
@click.argument("experiment", required=False)
@click.option("--metric", help="Metric of EXPERIMENT; default: its primary metric.")
@click.option("--file", "file", help="A table to learn from, with --spec: as `analyze` reads it.")
@click.option("--spec", "spec_file", type=click.Path(path_type=Path), help="How to read --file.")
@click.option("--rate", help="Control's rate, for a proportion: 10%.")
@click.option("--mean", type=_Finite(), help="Control's mean per unit; with --sd.")
@click.option("--sd", type=_Finite(0, min_open=True), help="Standard deviation of one unit.")
@click.option(
    "--correlation",
    type=_Finite(-1, 1, min_open=True, max_open=True),
    default=0.0,
    help="Of a unit's value with its covariate from before exposure, which removes that share, squared.",
)
@click.option(
    "--mde",
    help="Smallest effect to see: 5% is relative, 0.5 absolute. Default: as --alpha's, else 5%.",
)
@click.option(
    "--alpha", type=_Finite(0, 0.5, min_open=True), help="Default: that of the spec or EXPERIMENT, else 0.05."
)
@click.option(
    "--power", "target", type=_Finite(0.5, 1, max_open=True), help="Default: as --alpha's, else 0.8."
)
@click.option(
    "--design",
    type=click.Choice([design.value for design in Design]),
    help="Default: as --alpha's, else sequential.",
)
@click.option(
    "--looks", type=click.IntRange(1, 100), help="Looks of group_sequential. Default: as --alpha's, else 5."
)
@click.option(
    "--prior-sd",
    help=f"bayesian: sd of the lift's prior, mean 0. Default: the prior as --alpha's, else {WEAK_LIFT:.0%}.",
)
@click.option(
    "--treatment-share", default="50%", show_default=True, help="Share of units that get the treatment."
)
@click.option("--per-day", type=_Finite(0, min_open=True), help="Units a day, for the runtime.")
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
def power(  # noqa: PLR0913 - one parameter per option
    context: Context,
    experiment: str | None,
    metric: str | None,
    file: str | None,
    spec_file: Path | None,
    rate: str | None,
    mean: float | None,
    sd: float | None,
    *,
    as_json: bool,
    correlation: float,
    mde: str | None,
    alpha: float | None,
    target: float | None,
    design: str | None,
    looks: int | None,
    prior_sd: str | None,
    treatment_share: str,
    per_day: float | None,
    form: str,
    output: Path | None,
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
    given = None
    if experiment is not None:
        baseline = of_experiment(context, experiment, metric)
        given = context.catalog.experiment(experiment).definition.decision
    elif file is not None:
        baseline, given = of_file(file, spec_file, metric)
    else:
        baseline = typed(rate, mean, sd)
    baseline = with_covariate(baseline, correlation)
    rule = _rule(
        given, alpha, target, design, looks, prior_sd, share_of(treatment_share, "--treatment-share")
    )
    effect = _effect(mde or (_size(given.mde) if given else "5%"), baseline.mean)
    found = _needed(baseline, effect, rule, per_day or baseline.per_day)
    form = "json" if as_json else form
    if form == "text" and output is None:
        _show(found)
        return
    deliver(_rendered(found, Plot(baseline=baseline, effect=effect, rule=rule), form), output)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    alpha: float
    power: float
    design: Design
    looks: int
    belief: Belief
    share: float


def _rule(
    given: DecisionRule | None,
    alpha: float | None,
    target: float | None,
    design: str | None,
    looks: int | None,
    prior_sd: str | None,
    share: float,
) -> _Rule:
    """What was typed in, completed by the rule of the spec or experiment that is learnt from."""
    from switchpoint.experiment.definition.looks import planned_days

    belief = Belief(sd=share_of(prior_sd, "--prior-sd")) if prior_sd is not None else None
    return _Rule(
        alpha=alpha or (given.alpha if given else 0.05),
        power=target or (given.power if given else 0.8),
        design=Design(design) if design else given.design if given else Design.SEQUENTIAL,
        looks=looks or (len(planned_days(given)) if given else 5),
        belief=belief or (given.belief if given else Belief()),
        share=share,
    )


def _size(mde: Size) -> str:
    return f"{100 * mde.value!r}%" if mde.relative else repr(mde.value)


def _needed(baseline: Baseline, effect: float, rule: _Rule, per_day: float | None) -> Needed:
    if baseline.variance is None and not 0 < baseline.mean + effect < 1:
        raise BadInput(
            f"an effect of {effect:g} leads from {baseline.mean:g} to a rate outside 0 to 1",
            field="--mde",
            value=effect,
            fix="choose a smaller one",
        )
    if rule.design is Design.BAYESIAN and not baseline.mean:
        raise BadInput(
            "its prior is of the lift, which a control of 0 does not have",
            field="--design",
            value=rule.design.value,
            fix="plan with another design",
        )
    plan = _plan(baseline, effect, rule)
    control, treatment = _units(plan, rule.design)
    days = math.ceil((control + treatment) / per_day) if per_day else None
    return Needed(
        baseline=baseline.mean,
        effect=effect,
        lift=plan.lift(effect),
        design=rule.design.value,
        alpha=rule.alpha,
        power=rule.power,
        units_control=control,
        units_treatment=treatment,
        units=control + treatment,
        days=days,
        weeks=math.ceil(days / 7) if days else None,
        source=baseline.source,
    )


def _units(plan: Planned, design: Design) -> tuple[int, int]:
    from switchpoint.analysis.planning.curves import units

    try:
        return units(plan, plan.effect, plan.power, design)
    except BadInput as error:
        raise BadInput(error.message, field="--mde", value=plan.effect, fix=error.fix) from error


def _plan(baseline: Baseline, effect: float, rule: _Rule) -> Planned:
    from switchpoint.analysis.planning.curves import Planned

    return Planned(
        mean=baseline.mean, variance=baseline.variance, effect=effect, ratio=rule.share / (1 - rule.share),
        alpha=rule.alpha, power=rule.power, looks=rule.looks, belief=rule.belief,
    )  # fmt: skip


def _effect(text: str, baseline: float) -> float:
    if text.endswith("%"):
        share = share_of(text, "--mde")
        if not baseline:
            raise BadInput(
                "is relative to a control of 0", field="--mde", value=text, fix="write it absolute: 0.5"
            )
        return share * baseline
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not math.isfinite(value) or value == 0:
        raise BadInput(
            f"{text!r} is not an effect",
            field="--mde",
            value=text,
            fix="write 5% (relative) or 0.5 (absolute)",
        )
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """What the power curves are drawn from."""

    baseline: Baseline
    effect: float
    rule: _Rule


def _rendered(found: Needed, plot: Plot, form: str) -> str:
    """The answer with its power curves as the text of a file."""
    from switchpoint.analysis.planning.curves import curve
    from switchpoint.analysis.report.html import power_html
    from switchpoint.analysis.results.json import to_plain

    if form == "text":
        return "".join(f"{name}: {value}\n" for name, value in _facts(found))
    plan = _plan(plot.baseline, plot.effect, plot.rule)
    designs = (Design.FIXED, Design.SEQUENTIAL, Design.GROUP_SEQUENTIAL)
    curves = [curve(plan, design) for design in dict.fromkeys((*designs, plot.rule.design))]
    if form == "html":
        return power_html(plan, curves, _facts(found))
    document = {**asdict(found), "curves": to_plain(curves)}
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _facts(found: Needed) -> list[tuple[str, str]]:
    from switchpoint.analysis.results import format as fmt

    lift = "" if found.lift is None else f" ({fmt.share(found.lift, signed=True)})"
    return [
        ("from", found.source),
        ("control", fmt.amount(found.baseline)),
        ("effect to see", fmt.amount(found.effect, signed=True) + lift),
        ("design", f"{fmt.design(found.design)}, alpha {found.alpha:g}, power {found.power:g}"),
        ("units, control", fmt.count(found.units_control)),
        ("units, treatment", fmt.count(found.units_treatment)),
        ("units, both", fmt.count(found.units)),
        ("days", fmt.count(found.days) if found.days else "unknown: give --per-day"),
        ("whole weeks", fmt.count(found.weeks) if found.weeks else fmt.ABSENT),
    ]


def _show(found: Needed) -> None:
    from switchpoint.router.cli.render import show_table

    show_table(("", ""), _facts(found), labels=2)
