"""What a report is about: the question, the rule, the instant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from switchpoint.experiment.definition.looks import first_look
from switchpoint.experiment.definition.types import DAY_MS, DecisionRule, Design, Spending


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantHeader:
    """One variant of the experiment; `model` is `name@version`, `digest` its model digest, where known."""

    key: str
    control: bool
    model: str | None
    digest: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A day (ISO date) on which allocation, traffic or models of a running experiment changed, and how."""

    day: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What was asked, under which rule, and when it was looked at.

    `source` is "ledger" or "table". `mde` and the runtimes are the frozen rule's; `rule_digest` is None for
    tables. `assignment` is "randomised" or "unknown". `at` is the instant of this look ("" for a closed table
    without days). `plan` says in words what a group sequential or Bayesian design adds to the rule.
    `control_named`: nobody said which variant is control, so the one that is called so was taken.
    `reading`: what is not plain in how a table was read (separator, decimal sign, order of dates), a sentence
    each. `changes`: what happened to a running experiment that a series of its days may show, in order.
    """

    key: str
    hypothesis: str
    owner: str
    unit: str
    status: str
    source: str
    assignment: str
    revision: int | None
    epoch: int | None
    definition_digest: str | None
    rule_digest: str | None
    at: str
    started_at: str | None
    variants: tuple[VariantHeader, ...]
    design: str
    alpha: float
    power: float
    mde: float
    mde_relative: bool
    min_runtime_days: int
    max_runtime_days: int
    evidence_required: str
    window_days: float
    plan: str = ""
    control_named: bool = False
    reading: tuple[str, ...] = ()
    changes: tuple[Changed, ...] = ()


def instant(ms: int) -> str:
    """Milliseconds since 1970 as an ISO date-time in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds")


def blank(rule: DecisionRule, window_ms: int) -> Header:
    """A header that only knows the rule; callers fill in the rest with `dataclasses.replace`."""
    return Header(
        key="", hypothesis="", owner="", unit="", status="", source="", assignment="", revision=None,
        epoch=None, definition_digest=None, rule_digest=None, at="", started_at=None, variants=(),
        design=rule.design.value, alpha=rule.alpha, power=rule.power, mde=rule.mde.value,
        mde_relative=rule.mde.relative, min_runtime_days=rule.min_runtime_days,
        max_runtime_days=rule.max_runtime_days, evidence_required=rule.evidence.value,
        window_days=window_ms / DAY_MS, plan=_plan(rule),
    )  # fmt: skip


def _plan(rule: DecisionRule) -> str:
    looks, belief = rule.looks, rule.belief
    match rule.design:
        case Design.GROUP_SEQUENTIAL:
            power = f" with gamma {looks.gamma:g}" if looks.spending is Spending.POWER else ""
            units = f", {looks.units:,} units planned" if looks.units is not None else ""
            return (
                f"a look every {looks.every_days} days from day {first_look(rule)}, {looks.spending.value} "
                f"spending{power}{units}"
            )
        case Design.BAYESIAN:
            loss = f", expected loss below {belief.loss:.3g}" if belief.loss is not None else ""
            return (
                f"prior of the lift N({belief.mean:.3g}, {belief.sd:.3g}²){loss}; errors are not held at "
                "alpha when it is watched"
            )
        case _:
            return ""


def iso_day(day: int) -> str:
    """A UTC day number as an ISO date."""
    return datetime.fromtimestamp(day * DAY_MS / 1000, UTC).date().isoformat()
