"""The decision rule, which definitions and specs share: the table of its fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from statistics import NormalDist
from typing import Any

from switchpoint.experiment.definition.types import Belief, DecisionRule, Design, Grade, LookPlan, Spending
from switchpoint.experiment.language.kinds import SIZE, between, choice, duration, whole
from switchpoint.experiment.language.record import Block, Field, record


def _build(block: Block) -> DecisionRule:
    values = block.values
    looks = LookPlan(
        every_days=values["looks_every"],
        spending=values["spending"],
        gamma=values["gamma"],
        units=values["units"],
    )
    rule = DecisionRule(
        **{name: values[name] for name in ("design", "alpha", "power", "mde", "evidence")},
        min_runtime_days=values["min_runtime"],
        max_runtime_days=values["max_runtime"],
        looks=looks,
        belief=replace(values["prior"], loss=values["loss"]),
    )
    if rule.min_runtime_days > rule.max_runtime_days:
        block.record(
            f"min_runtime {rule.min_runtime_days}d is longer than max_runtime {rule.max_runtime_days}d",
            "raise max_runtime.",
            "max_runtime" if block.has("max_runtime") else "min_runtime",
        )
    if abs(rule.belief.mean) >= NormalDist().inv_cdf(1 - rule.alpha / 2) * rule.belief.sd:
        message = "this prior alone would decide, without any data"
        block.record(message, "widen its sd, or move its mean to 0.", "prior")
    return rule


def _parts(rule: DecisionRule) -> Mapping[str, Any]:
    return {
        "min_runtime": rule.min_runtime_days,
        "max_runtime": rule.max_runtime_days,
        "looks_every": rule.looks.every_days,
        "spending": rule.looks.spending,
        "gamma": rule.looks.gamma,
        "units": rule.looks.units,
        "prior": rule.belief,
        "loss": rule.belief.loss,
    }


_PRIOR = record(
    "Prior",
    "A normal prior of the lift.",
    Field("mean", between("-1", "10"), "Expected lift.", default=Belief().mean),
    Field("sd", between("0", "10"), "Standard deviation of the lift.", needed=True, example="30%"),
    build=lambda block: Belief(**block.values),
)

_DESIGNS = (
    "group_sequential: planned looks share alpha; sequential: valid at every look; fixed: one look; "
    "bayesian: posterior probability, error not controlled when watched."
)
_DAYS, _EVERY = duration(3_650, whole=True), duration(366, whole=True)
_PLANNED = whole(4, 10**12, "planned units", "give the units of control and one other variant, 4 to 10^12.")
_LOOKS, _BELIEF = (Design.GROUP_SEQUENTIAL,), (Design.BAYESIAN,)
_PLAN = LookPlan()

DECISION = record(
    "Decision",
    "The rule, frozen at start.",
    Field("design", choice(Design), _DESIGNS, default=Design.SEQUENTIAL),
    Field("alpha", between("0", "0.5"), "False alarms tolerated.", default=0.05),
    Field("power", between("0.5", "1"), "Chance to see the MDE.", default=0.8),
    Field("mde", SIZE, "Smallest effect worth knowing; 2% is relative.", needed=True, example="2%"),
    Field("min_runtime", _DAYS, "Whole days.", default=7, example="14d"),
    Field("max_runtime", _DAYS, "Whole days.", default=42, example="8w"),
    Field("evidence", choice(Grade), "Weakest grade that may promote.", default=Grade.RANDOMISED),
    Field("looks_every", _EVERY, "Days between looks.", default=_PLAN.every_days, only=_LOOKS),
    Field("spending", choice(Spending), "Alpha spent over the plan.", default=_PLAN.spending, only=_LOOKS),
    Field(
        "gamma", between("0", "20"), "Exponent of the fraction.", default=_PLAN.gamma, only=(Spending.POWER,)
    ),
    Field("units", _PLANNED, "Of control and one other variant; left out: what the MDE needs.", only=_LOOKS),
    Field("prior", _PRIOR, "What is believed before any data.", default=Belief(), only=_BELIEF),
    Field("loss", between("0", "1"), "Most a promotion may cost on average.", only=_BELIEF, example="0.1%"),
    build=_build,
    parts=_parts,
)
"""The `decision` block."""
