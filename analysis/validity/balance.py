"""Were the variants alike where the treatment cannot have changed them, or should not have?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from switchpoint.analysis.evidence.facts import Unseen
from switchpoint.analysis.results import format as fmt
from switchpoint.analysis.results.judgement import Check, Severity
from switchpoint.analysis.results.thresholds import Thresholds
from switchpoint.analysis.validity.gates import unchecked


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A comparison of something that is not the metric itself: `what` of a metric, per unit."""

    metric: str
    what: str
    variant: str
    control: str
    control_value: float
    variant_value: float
    p: float


def _worst(found: Sequence[Difference]) -> tuple[Difference, float]:
    """The smallest p, after Bonferroni over all looked at."""
    worst = min(found, key=lambda d: d.p)
    return worst, min(1.0, worst.p * len(found))


def before_exposure(found: Sequence[Difference] | Unseen, limits: Thresholds, *, randomised: bool) -> Check:
    """Covariates measured before exposure: under randomisation they differ by chance only."""
    name = "before exposure"
    if isinstance(found, Unseen):
        return unchecked(name, found)
    d, p = _worst(found)
    numbers: dict[str, float | int | str | None] = {"p": p, "metric": d.metric, "variant": d.variant}
    if p >= limits.imbalance_warn:
        text = f"Variants were alike before exposure (smallest {fmt.p_is(p)})."
        return Check(name=name, severity=Severity.OK, message=text, numbers=numbers)
    text = (
        f"Before any exposure {d.variant} already differed from {d.control} in {d.what}: "
        f"{fmt.amount(d.variant_value)} against {fmt.amount(d.control_value)} per unit ({fmt.p_is(p)}). "
        "Either assignment was not random, an earlier experiment left its mark, or the "
        "covariate was measured "
        "after exposure."
    )
    void = randomised and p < limits.imbalance_invalid
    return Check(
        name=name, severity=Severity.INVALID if void else Severity.WARN, message=text, numbers=numbers
    )


def denominators(found: Sequence[Difference] | Unseen, limits: Thresholds) -> Check:
    """Ratios whose denominator the treatment moved: the ratio then mixes two changes."""
    name = "denominator"
    if isinstance(found, Unseen):
        return unchecked(name, found)
    d, p = _worst(found)
    numbers: dict[str, float | int | str | None] = {"p": p, "metric": d.metric, "variant": d.variant}
    if p >= limits.denominator_p:
        text = "Denominators of ratios are alike in the variants."
        return Check(name=name, severity=Severity.OK, message=text, numbers=numbers)
    text = (
        f"{d.metric}: its denominator moved too, {d.what} per unit "
        f"{fmt.amount(d.control_value)} in {d.control} and "
        f"{fmt.amount(d.variant_value)} in {d.variant} ({fmt.p_is(p)}). The ratio mixes both changes; read "
        "the numerator per unit as a metric of its own."
    )
    return Check(name=name, severity=Severity.WARN, message=text, numbers=numbers)
