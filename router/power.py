"""How many units and days a test needs: from typed-in figures, an experiment's history, or an earlier report.

The command line and the console plan through here. Errors name the figures as `Figures` does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from math import isfinite
from typing import TYPE_CHECKING, Any

from switchpoint.experiment.definition.looks import planned_days
from switchpoint.experiment.definition.types import Belief, DecisionRule, Design, Size
from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.ledger.protocol import Ledger
from switchpoint.experiment.registry.catalog import Catalog
from switchpoint.router.judging import look

if TYPE_CHECKING:
    from switchpoint.analysis.planning.curves import Curve, Planned
    from switchpoint.analysis.report.report import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What somebody types in; None: not said. Texts are shares (`10%`, 0.1) or, for `mde`, an effect: `5%` of
    control, or absolute."""

    rate: str | None = None
    mean: float | None = None
    sd: float | None = None
    correlation: float | None = None
    mde: str | None = None
    alpha: float | None = None
    power: float | None = None
    design: str | None = None
    looks: int | None = None
    prior_sd: str | None = None
    treatment_share: str | None = None
    per_day: float | None = None


FIGURES = frozenset(field.name for field in fields(Figures))
"""Their names."""
_SENSIBLE: Mapping[str, tuple[Callable[[float], bool], str]] = {
    "mean": (lambda _: True, "a finite number"),
    "sd": (lambda sd: sd > 0, "a number above 0"),
    "correlation": (lambda r: abs(r) <= 0.9999, "a number between -1 and 1"),
    "alpha": (lambda alpha: 1e-9 <= alpha <= 0.5, "a number above 0, of 0.5 at most"),
    "power": (lambda power: 0.5 <= power <= 1 - 1e-9, "a number from 0.5 to below 1"),
    "looks": (lambda looks: 1 <= looks <= 100, "a whole number from 1 to 100"),
    "per_day": (lambda units: units > 0, "a number above 0"),
}
_LEAST, _MOST, _SHARE = 1e-12, 1e15, 1e-9
"""Figures of tests lie between these; beyond them (1e-300) the arithmetic of floats has no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What the plan starts from: control's mean, the variance of one unit, units a day (None: unknown)."""

    mean: float
    variance: float | None
    per_day: float | None
    source: str


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A plan with its answer: what the curves are drawn from, and what is needed."""

    planned: Planned
    needed: Needed

    def curves(self) -> list[Curve]:
        """Power and visible effect by units, under the plan's design and the usual ones."""
        from switchpoint.analysis.planning.curves import curve

        designs = (Design.FIXED, Design.SEQUENTIAL, Design.GROUP_SEQUENTIAL)
        return [curve(self.planned, d) for d in dict.fromkeys((*designs, Design(self.needed.design)))]

    def document(self) -> dict[str, Any]:
        """The answer with its curves as plain values."""
        from switchpoint.analysis.results.json import to_plain

        return {**asdict(self.needed), "curves": to_plain(self.curves())}

    def facts(self) -> list[tuple[str, str]]:
        """What the plan asks for and needs, as names and formatted values."""
        from switchpoint.analysis.results import format as fmt

        said = self.needed
        lift = "" if said.lift is None else f" ({fmt.share(said.lift, signed=True)})"
        return [
            ("from", said.source),
            ("control", fmt.amount(said.baseline)),
            ("effect to see", fmt.amount(said.effect, signed=True) + lift),
            ("design", f"{fmt.design(said.design)}, alpha {said.alpha:g}, power {said.power:g}"),
            ("units, control", fmt.count(said.units_control)),
            ("units, treatment", fmt.count(said.units_treatment)),
            ("units, both", fmt.count(said.units)),
            ("days", fmt.count(said.days) if said.days else "unknown without units a day"),
            ("whole weeks", fmt.count(said.weeks) if said.weeks else fmt.ABSENT),
        ]


def plan(figures: Figures, history: Baseline | None = None, rule: DecisionRule | None = None) -> Plan:
    """What a test needs, from `history` (None: from the figures), by `rule` where the figures say nothing.

    Raises:
        BadInput: a figure that makes no sense, or none to start from.
    """
    for name, (sensible, words) in _SENSIBLE.items():
        value = getattr(figures, name)
        if value is not None and not (_measured(value) and sensible(value)):
            size = "" if not isfinite(value) or _measured(value) else f", {_LEAST:g} to {_MOST:g} in size"
            raise BadInput(f"{value} makes no sense here", field=name, value=value, fix=f"give {words}{size}")
    baseline = _with_covariate(history or typed(figures), figures.correlation)
    design = _design(figures, rule)
    planned = _planned(figures, baseline, rule)
    if design is Design.BAYESIAN and not baseline.mean:
        raise BadInput(
            "its prior is of the lift, which a control of 0 does not have",
            field="design", value=design.value, fix="plan with another design",
        )  # fmt: skip
    return Plan(planned=planned, needed=_needed(planned, design, figures.per_day, baseline))


def typed(figures: Figures) -> Baseline:
    """What was typed in: a rate, or a mean with the standard deviation of one unit.

    Raises:
        BadInput: neither, both, or half of the second.
    """
    mean, sd = figures.mean, figures.sd
    if figures.rate is not None and mean is None and sd is None:
        rate = share_of(figures.rate, "rate")
        return Baseline(mean=rate, variance=None, per_day=None, source="typed in")
    if figures.rate is None and mean is not None and sd is not None:
        return Baseline(mean=mean, variance=sd * sd, per_day=None, source="typed in")
    unsaid = "rate"
    if figures.rate is None and (mean is None) is not (sd is None):
        unsaid = "sd" if sd is None else "mean"
    raise BadInput(
        "what control does is not said, or said twice",
        field=unsaid,
        fix="give a rate, or a mean with its sd (standard deviation of one unit), or an earlier test",
    )


def of_experiment(
    catalog: Catalog, ledger: Ledger, key: str, *, metric: str | None, at: int
) -> tuple[Baseline, DecisionRule]:
    """What an experiment's live ledger says by now, and its rule.

    Raises:
        BadInput: there is no such experiment or metric, or nothing is known of it yet.
        StoreUnavailable: the store is away.
    """
    seen = look(catalog, ledger, key, at=at)
    return of_report(seen.report, metric, key), seen.state.definition.decision


def of_report(report: Report, metric: str | None, name: str) -> Baseline:
    """Control's value, one unit's variance and the pace, as a report tells them; `metric` None: the primary.

    Raises:
        BadInput: there is no such metric, or nothing is known of it yet.
    """
    reading = report.matured if report.matured.n else report.live
    readings = [m for m in reading.metrics if (m.key == metric if metric else m.role == "primary")]
    if not readings:
        known = ", ".join(m.key for m in reading.metrics)
        raise BadInput(
            f"{metric!r} is not a metric of {name}", field="metric", value=metric, fix=f"use one of {known}"
        )
    comparison = next((c for c in readings[0].comparisons if c.estimate is not None), None)
    if comparison is None or comparison.estimate is None or not comparison.estimate.control_value:
        raise BadInput(
            f"{name} has no estimate to learn from yet", field="experiment", value=name, fix="give a rate"
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


def share_of(text: str, field: str) -> float:
    """A share between 0 and 1, written `10%` or `0.1`.

    Raises:
        BadInput: for anything else, with the field's name.
    """
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not _SHARE <= value <= 1 - _SHARE:
        raise BadInput(f"{text!r} is not a share", field=field, value=text, fix="write 10% or 0.1")
    return value


def _measured(value: float) -> bool:
    """Whether a number may be a figure of a test; nan is none."""
    return value == 0 or _LEAST <= abs(value) <= _MOST


def _pace(report: Report) -> float | None:
    """Units a day of the experiment: as the report projects them, whichever metric it says it with."""
    comparisons = [
        c for reading in (report.matured, report.live) for m in reading.metrics for c in m.comparisons
    ]
    known = [c.sufficiency.units_per_day for c in comparisons if c.sufficiency is not None]
    if told := [pace for pace in known if pace]:
        return told[0]
    return report.live.n / report.live.days if report.live.days and report.live.n else None


def _with_covariate(baseline: Baseline, correlation: float | None) -> Baseline:
    """The same units with the variance that adjustment by a covariate leaves."""
    from switchpoint.analysis.planning.power import covariate_spread

    if not correlation:
        return baseline
    variance = baseline.mean * (1 - baseline.mean) if baseline.variance is None else baseline.variance
    return replace(baseline, variance=float(covariate_spread(variance, correlation).control))


def _design(figures: Figures, rule: DecisionRule | None) -> Design:
    if not figures.design:
        return rule.design if rule else Design.SEQUENTIAL
    if figures.design not in list(Design):
        raise BadInput(
            "is no design", field="design", value=figures.design, fix=f"one of {', '.join(Design)}"
        )
    return Design(figures.design)


def _planned(figures: Figures, baseline: Baseline, rule: DecisionRule | None) -> Planned:
    """What was typed in, completed by the rule of what is learnt from."""
    from switchpoint.analysis.planning.curves import Planned

    effect = _effect(figures.mde or (_size(rule.mde) if rule else "5%"), baseline.mean)
    if baseline.variance is None and not 0 < baseline.mean + effect < 1:
        raise BadInput(
            f"an effect of {effect:g} leads from {baseline.mean:g} to a rate outside 0 to 1",
            field="mde", value=effect, fix="choose a smaller one",
        )  # fmt: skip
    share = share_of(figures.treatment_share or "50%", "treatment_share")
    believed = figures.prior_sd and Belief(sd=share_of(figures.prior_sd, "prior_sd"))
    return Planned(
        mean=baseline.mean,
        variance=baseline.variance,
        effect=effect,
        ratio=share / (1 - share),
        alpha=figures.alpha or (rule.alpha if rule else 0.05),
        power=figures.power or (rule.power if rule else 0.8),
        looks=figures.looks or (len(planned_days(rule)) if rule else 5),
        belief=believed or (rule.belief if rule else Belief()),
    )


def _size(mde: Size) -> str:
    return f"{100 * mde.value!r}%" if mde.relative else repr(mde.value)


def _effect(text: str, baseline: float) -> float:
    if text.endswith("%"):
        share = share_of(text, "mde")
        if not baseline:
            raise BadInput(
                "is relative to a control of 0", field="mde", value=text, fix="write it absolute: 0.5"
            )
        return share * baseline
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not _measured(value) or value == 0:
        raise BadInput(
            f"{text!r} is not an effect", field="mde", value=text,
            fix="write 5% (relative) or 0.5 (absolute)",
        )  # fmt: skip
    return value


def _needed(planned: Planned, design: Design, per_day: float | None, baseline: Baseline) -> Needed:
    from switchpoint.analysis.planning.curves import units

    try:
        control, treatment = units(planned, planned.effect, planned.power, design)
    except BadInput as error:
        raise BadInput(error.message, field="mde", value=planned.effect, fix=error.fix) from error
    pace = per_day or baseline.per_day
    days = math.ceil((control + treatment) / pace) if pace else None
    return Needed(
        baseline=planned.mean,
        effect=planned.effect,
        lift=planned.lift(planned.effect),
        design=design.value,
        alpha=planned.alpha,
        power=planned.power,
        units_control=control,
        units_treatment=treatment,
        units=control + treatment,
        days=days,
        weeks=math.ceil(days / 7) if days else None,
        source=baseline.source,
    )
