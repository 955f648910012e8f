"""The design page: how many units a test needs, from its project's own history or from typed-in figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from switchpoint.analysis.report.page import plan_page
from switchpoint.experiment.definition.types import Design
from switchpoint.experiment.errors import BadInput
from switchpoint.experiment.store.board import SUMMARY
from switchpoint.router import power
from switchpoint.router.console.access import Role
from switchpoint.router.console.operation import Call, Field, Form, Object, Operation, of_form
from switchpoint.router.console.project import Project

FIELDS = (
    Field("experiment", Form.TEXT, "An experiment to learn from."),
    Field("metric", Form.TEXT, "Its metric; none: the primary one."),
    Field("rate", Form.TEXT, "Control's rate, for a proportion: 10%."),
    Field("mean", Form.NUMBER, "Control's mean per unit, with `sd`."),
    Field("sd", Form.NUMBER, "Standard deviation of one unit."),
    Field("correlation", Form.NUMBER, "Of a unit's value with its covariate from before the exposure."),
    Field("mde", Form.TEXT, "Smallest effect to see: 5% of control, or absolute."),
    Field("alpha", Form.NUMBER, "None: that of the experiment, else 0.05."),
    Field("power", Form.NUMBER, "None: that of the experiment, else 0.8."),
    Field("design", Form.TEXT, f"One of {', '.join(Design)}."),
    Field("looks", Form.WHOLE, "Looks of group_sequential."),
    Field("prior_sd", Form.TEXT, "Of bayesian: standard deviation of the lift's prior."),
    Field("treatment_share", Form.TEXT, "Share of units that get the treatment."),
    Field("per_day", Form.NUMBER, "Units a day, for the runtime."),
)
"""What is asked: an experiment to learn from, or the figures themselves."""


def needed(call: Call) -> Object:
    """What `switchpoint power --json` prints."""
    return _planned(call.project, call.given).document()


def page(project: Project, _path: Mapping[str, str], query: Mapping[str, str]) -> dict[str, Any]:
    """The form as it was sent, with what is wrong with it, or the plan."""
    content: dict[str, Any] = {
        "asked": query,
        "fields": [field.name for field in FIELDS],
        "designs": list(Design),
        "experiments": [kept.key for kept in project.board.all(SUMMARY)],
        "error": None,
        "page": None,
    }
    if not any(query.values()):
        return content
    try:
        plan = _planned(project, of_form(FIELDS, query))
        drawn = plan_page(plan.planned, plan.curves(), plan.facts())
    except BadInput as error:
        return {**content, "error": error}
    return {**content, "page": drawn, "rule": _rule(plan, query)}


def _rule(plan: power.Plan, query: Mapping[str, str]) -> dict[str, object]:
    """What of a plan the rule of an experiment says."""
    needed, runtime = plan.needed, {}
    if needed.weeks is not None:
        # whole weeks: every day of the week counts alike
        runtime = {"min_runtime": f"{7 * min(needed.weeks, 2)}d", "max_runtime": f"{7 * needed.weeks}d"}
    mde = query.get("mde") or f"{needed.effect:g}"
    return {"design": needed.design, "mde": mde, "alpha": needed.alpha, "power": needed.power, **runtime}


def _planned(project: Project, given: Mapping[str, Any]) -> power.Plan:
    figures = power.Figures(**{name: value for name, value in given.items() if name in power.FIGURES})
    if "experiment" not in given:
        if "metric" in given:
            raise BadInput(
                "is a metric of no experiment", field="experiment", fix="name one, or leave the metric out"
            )
        return power.plan(figures)
    if typed := [name for name in ("rate", "mean", "sd") if name in given]:
        raise BadInput(
            "is learnt from the experiment", field=typed[0], value=given[typed[0]],
            fix="leave it out, or leave the experiment out",
        )  # fmt: skip
    with project.ledger() as ledger:
        learnt = power.of_experiment(
            project.catalog, ledger, given["experiment"], metric=given.get("metric"), at=project.now()
        )
    return power.plan(figures, *learnt)


OPERATIONS = (
    Operation(
        name="power",
        method="GET",
        path="/power",
        role=Role.VIEWER,
        says="Units and days a test needs, with its power curves.",
        run=needed,
        fields=FIELDS,
    ),
)
