"""Does one unit carry the effect? The result with it and without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from switchpoint.analysis.evidence.facts import Unseen
from switchpoint.analysis.results import format as fmt
from switchpoint.analysis.results.judgement import Check, Severity
from switchpoint.analysis.results.thresholds import Thresholds
from switchpoint.analysis.validity.gates import unchecked


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """A comparison with all units and without the most extreme one of `side`, whose total is `value`."""

    metric: str
    variant: str
    side: str
    value: float
    effect: float
    p: float
    without: float
    error_without: float
    p_without: float


def check(found: Sequence[Carried] | Unseen, alpha: float, limits: Thresholds) -> Check:
    """A single unit that moves the effect by a standard error, or by half of one and decides by it whether
    the effect is significant."""
    if isinstance(found, Unseen):
        return unchecked("outlier", found)
    carrying = [one for one in found if _carries(one, alpha, limits)]
    worst = max(carrying or found, key=_shift, default=None)
    numbers: dict[str, float | int | str | None] = {}
    if worst is not None:
        numbers = {
            "metric": worst.metric, "variant": worst.variant, "unit": worst.value, "effect": worst.effect,
            "without": worst.without, "p": worst.p, "p_without": worst.p_without,
        }  # fmt: skip
    if worst is None or not carrying:
        return Check(
            name="outlier", severity=Severity.OK, message="No single unit carries an effect.", numbers=numbers
        )
    text = (
        f"{worst.metric}, {worst.variant}: one unit of {worst.side} "
        f"({fmt.amount(worst.value)}) carries the effect, "
        f"{fmt.amount(worst.effect, signed=True)} ({fmt.p_is(worst.p)}) with it and "
        f"{fmt.amount(worst.without, signed=True)} ({fmt.p_is(worst.p_without)}) without it. A "
        "cap on the unit's "
        "total, fixed before the start, keeps one unit from deciding."
    )
    return Check(name="outlier", severity=Severity.WARN, message=text, numbers=numbers)


def _shift(found: Carried) -> float:
    """Standard errors by which the unit moves the effect."""
    return abs(found.effect - found.without) / found.error_without if found.error_without > 0 else 0.0


def _carries(found: Carried, alpha: float, limits: Thresholds) -> bool:
    decides = (found.p < alpha) != (found.p_without < alpha)
    return _shift(found) > limits.outlier_shift or (decides and _shift(found) > limits.outlier_shift / 2)
