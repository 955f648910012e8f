"""Strict parsing of the decision rule, which definitions and specs share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from statistics import NormalDist

from switchpoint.experiment.definition.types import Belief, DecisionRule, Design, Grade, LookPlan, Spending
from switchpoint.experiment.language.fields import Fields, Place, choice, days, fraction, number, whole
from switchpoint.experiment.language.metrics import size
from switchpoint.experiment.wording import show

MAX_UNITS = 10**12
_COMMON = ("design", "alpha", "power", "mde", "min_runtime", "max_runtime", "evidence")
_OWN: Mapping[Design, tuple[str, ...]] = {
    Design.GROUP_SEQUENTIAL: ("looks_every", "spending", "gamma", "units"),
    Design.BAYESIAN: ("prior", "loss"),
}


def parse_decision(place: Place) -> DecisionRule:
    """The `decision` block. Defaults: sequential, alpha 0.05, power 0.8, 7 to 42 days, randomised."""
    block = Fields(place, (*_COMMON, *(name for names in _OWN.values() for name in names)))
    design = block.take("design", choice(Design), Design.SEQUENTIAL)
    _refuse_others(block, design)
    rule = DecisionRule(
        design=design,
        alpha=block.take("alpha", _between(Decimal(0), Decimal("0.5")), 0.05),
        power=block.take("power", _between(Decimal("0.5"), Decimal(1)), 0.8),
        mde=block.need("mde", size, "2%"),
        min_runtime_days=block.take("min_runtime", days, 7),
        max_runtime_days=block.take("max_runtime", days, 42),
        evidence=block.take("evidence", choice(Grade), Grade.RANDOMISED),
        looks=_looks(block),
        belief=_belief(block),
    )
    block.done()
    if rule.min_runtime_days > rule.max_runtime_days:
        block.record(
            f"min_runtime {rule.min_runtime_days}d is longer than max_runtime {rule.max_runtime_days}d",
            "raise max_runtime.",
            "max_runtime" if block.has("max_runtime") else "min_runtime",
        )
    if abs(rule.belief.mean) >= NormalDist().inv_cdf(1 - rule.alpha / 2) * rule.belief.sd:
        block.record(
            "this prior alone would decide, without any data", "widen its sd, or move its mean to 0.", "prior"
        )
    block.done()
    return rule


def _refuse_others(block: Fields, design: Design | None) -> None:
    """A key that only another design reads would be silently without effect."""
    for other, names in _OWN.items():
        for name in names:
            if design is not None and other is not design and block.has(name):
                block.record(
                    f"{name!r} belongs to the design {other.value}, this one is {design.value}",
                    f"write `design: {other.value}`, or remove {name!r}.",
                    name,
                )


def _looks(block: Fields) -> LookPlan:
    spending = block.take("spending", choice(Spending), Spending.OBRIEN_FLEMING)
    if block.has("gamma") and spending not in {None, Spending.POWER}:
        block.record(
            f"'gamma' is the exponent of the spending function power, this one is {spending.value}",
            "write `spending: power`, or remove 'gamma'.",
            "gamma",
        )
    return LookPlan(
        every_days=block.take("looks_every", _step, LookPlan().every_days),
        spending=spending,
        gamma=block.take("gamma", _between(Decimal(0), Decimal(20)), LookPlan().gamma),
        units=block.take("units", _units, None),
    )


def _belief(block: Fields) -> Belief:
    prior = block.take("prior", _prior, Belief())
    loss = block.take("loss", _between(Decimal(0), Decimal(1)), None)
    block.done()
    return replace(prior, loss=loss)


def _prior(place: Place) -> Belief:
    block = Fields(place, ("mean", "sd"))
    found = Belief(
        mean=block.take("mean", _between(Decimal(-1), Decimal(10)), Belief().mean),
        sd=block.need("sd", _between(Decimal(0), Decimal(10)), "30%"),
    )
    block.done()
    return found


def _step(place: Place) -> int:
    found = days(place)
    if not 1 <= found <= 366:
        place.fail(f"{show(place.value)} between two looks", "write 7d: whole weeks, at most 366d.")
    return found


def _units(place: Place) -> int:
    found = whole(place)
    if not 4 <= found <= MAX_UNITS:
        place.fail(
            f"{found} planned units", "give the units of control and one other variant, 4 to 1000000000000."
        )
    return found


def _between(low: Decimal, high: Decimal) -> Callable[[Place], float]:
    def reader(place: Place) -> float:
        exact = fraction(place) if isinstance(place.value, str) else number(place)
        if not low < exact < high:
            place.fail(f"{show(place.value)} is out of range", f"between {low} and {high}.")
        return float(exact)

    return reader
