"""What a plan starts from: typed-in figures, an experiment's own history, or the table of an earlier test."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from switchpoint.experiment.errors import BadInput
from switchpoint.router.cli.context import Context, now_ms

if TYPE_CHECKING:
    from switchpoint.analysis.report.report import Report
    from switchpoint.experiment.definition.types import DecisionRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What the plan starts from: control's mean, the variance of one unit, units a day (None: unknown)."""

    mean: float
    variance: float | None
    per_day: float | None
    source: str


def typed(rate: str | None, mean: float | None, sd: float | None) -> Baseline:
    """What was typed in: a rate, or a mean with the standard deviation of one unit."""
    if rate is not None and mean is None and sd is None:
        return Baseline(mean=share_of(rate, "--rate"), variance=None, per_day=None, source="typed in")
    if rate is None and mean is not None and sd is not None:
        return Baseline(mean=mean, variance=sd * sd, per_day=None, source="typed in")
    raise click.UsageError("give --rate, or --mean with --sd, or an EXPERIMENT or --file to learn from")


def of_experiment(context: Context, experiment: str, metric: str | None) -> Baseline:
    """What an experiment's live ledger says by now."""
    from switchpoint.router.judging import look

    report = look(context.catalog, context.ledger, experiment, at=now_ms()).report
    return _history(report, metric, experiment, "EXPERIMENT")


def of_file(file: str, spec_file: Path | None, metric: str | None) -> tuple[Baseline, DecisionRule]:
    """What a table of somebody's earlier test says, and the rule of its spec."""
    from switchpoint.analysis.report.report import BatchReport
    from switchpoint.experiment.language.experiment import load_either_file
    from switchpoint.router.cli.commands.analyze import judged

    if spec_file is None:
        raise click.UsageError("--file needs --spec, which says how to read it")
    spec = load_either_file(spec_file)
    report = judged(file, spec, at=now_ms())
    if isinstance(report, BatchReport):
        raise BadInput(
            "a table of many experiments has no single history", field="--file", value=file,
            fix="leave `experiment` out of the source, or take the rows of one experiment.",
        )  # fmt: skip
    return _history(report, metric, Path(file).name, "--file"), spec.decision


def with_covariate(baseline: Baseline, correlation: float) -> Baseline:
    """The same units with the variance that adjustment by a covariate leaves."""
    from switchpoint.analysis.planning.power import covariate_spread

    if not correlation:
        return baseline
    variance = baseline.mean * (1 - baseline.mean) if baseline.variance is None else baseline.variance
    return replace(baseline, variance=float(covariate_spread(variance, correlation).control))


def _history(report: Report, key: str | None, name: str, field: str) -> Baseline:
    """Control's value, one unit's variance and the pace, from a report."""
    reading = report.matured if report.matured.n else report.live
    readings = [m for m in reading.metrics if (m.key == key if key else m.role == "primary")]
    if not readings:
        raise BadInput(
            f"{key!r} is not a metric of {name}",
            field="--metric",
            value=key,
            fix=f"use one of {', '.join(m.key for m in reading.metrics)}",
        )
    comparison = next((c for c in readings[0].comparisons if c.estimate is not None), None)
    if comparison is None or comparison.estimate is None or not comparison.estimate.control_value:
        raise BadInput(
            f"{name} has no estimate to learn from yet", field=field, value=name, fix="give --rate"
        )
    estimate = comparison.estimate
    # the standard error of the effect, undone: both variants share one unit variance
    variance = estimate.standard_error**2 / (1 / estimate.n_control + 1 / estimate.n_variant)
    return Baseline(
        mean=float(estimate.control_value or 0.0),
        variance=variance,
        per_day=_pace(report),
        source=f"{name}, {readings[0].key}, {reading.n:,} units",
    )


def _pace(report: Report) -> float | None:
    """Units a day of the experiment: as the report projects them, whichever metric it says it with."""
    comparisons = [
        c for reading in (report.matured, report.live) for m in reading.metrics for c in m.comparisons
    ]
    known = [c.sufficiency.units_per_day for c in comparisons if c.sufficiency is not None]
    if found := [pace for pace in known if pace]:
        return found[0]
    return report.live.n / report.live.days if report.live.days and report.live.n else None


def share_of(text: str, field: str) -> float:
    """A share between 0 and 1, written `10%` or `0.1`.

    Raises:
        BadInput: for anything else, with the option's name.
    """
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise BadInput(f"{text!r} is not a share", field=field, value=text, fix="write 10% or 0.1")
    return value
