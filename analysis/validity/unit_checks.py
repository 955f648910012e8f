"""What units say: what they got, how alike they were, whether one of them carries the effect, early harm.

Harm shows in the first events, long before a comparison of rates may speak: given that a unit converted (or
met an error), the variant it is in is a coin with the allocation as its bias, if the variants are alike. That
coin is tested exactly at every event, so a canary of 1 % that breaks is seen after a handful of errors, when
no normal approximation holds yet. It warns and does not judge: the frozen rule keeps its own error rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from switchpoint.analysis.evidence.facts import Unseen
from switchpoint.analysis.inference.sequential import anytime_p
from switchpoint.analysis.inference.shares import TUNED_EVENTS, concentration, log_e_share
from switchpoint.analysis.numerics.estimates import Alternative
from switchpoint.analysis.results import format as fmt
from switchpoint.analysis.results.judgement import Check, Comparison, Severity
from switchpoint.analysis.results.thresholds import Thresholds
from switchpoint.analysis.validity.gates import unchecked

_NOBODY = Unseen("no unit has come")


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """The primary comparisons with the units that were seen in several variants (under their first one), and
    with every unit under the variant it was first served; empty where that is the same, or not known."""

    with_them: tuple[Comparison, ...] = ()
    as_served: tuple[Comparison, ...] = ()


def contamination(
    units: int, contaminated: int, limits: Thresholds, shown: tuple[str, str], *, what: str = "unit"
) -> Check:
    """Units (`what` they are) seen in several variants of one epoch, out of all `units` (these included).

    Args:
        shown: the effects without them and with them, in words; empty where there are none.
    """
    if not units:
        return unchecked("contamination", _NOBODY)
    share = contaminated / units
    numbers = {"units": contaminated, "share": share}
    if share > limits.contamination_invalid:
        level, text = Severity.INVALID, (
            f"{contaminated:,} {what}s ({share:.2%}) were seen in several variants, more than "
            f"{limits.contamination_invalid:.0%}: the variants are mixed and cannot be compared."
        )  # fmt: skip
    elif contaminated:
        level, text = Severity.WARN, (
            f"{contaminated:,} {what}s ({share:.2%}) were seen in several variants and are left out"
            f"{_beside('with them', shown)}."
        )  # fmt: skip
    else:
        level, text = Severity.OK, f"No {what} was seen in several variants."
    return Check(name="contamination", severity=level, message=text, numbers=numbers)


def _beside(other: str, shown: tuple[str, str]) -> str:
    """The effect as judged and the `other` one."""
    judged, beside = shown
    return f"; effect as judged: {judged}; {other}: {beside}" if judged and beside else ""


def served(
    every: tuple[int, int], kept: tuple[int, int], limits: Thresholds, shown: tuple[str, str]
) -> Check:
    """Exposures that were served another variant than assigned, without a cause on record.

    Args:
        every: such exposures of all units, and all exposures. kept: the same without units that were seen in
            several variants, which the results leave out; serving is judged before they are. shown: the
            effects as assigned and by what was served, in words; empty where there are none.
    """
    (wrong, exposures), (left, rest) = every, kept
    if not exposures:
        return unchecked("served", _NOBODY)
    share, kept_share = wrong / exposures, left / rest if rest else 0.0
    numbers = {"mismatches": wrong, "share": share, "kept_mismatches": left, "kept_share": kept_share}
    without = (
        f" Without the units seen in several variants it is {left:,} ({kept_share:.2%})."
        if exposures != rest
        else ""
    )
    if share > limits.mismatch_invalid:
        level, text = Severity.INVALID, (
            f"{wrong:,} of {exposures:,} exposures ({share:.2%}) were served another variant than assigned "
            f"without a cause on record, more than {limits.mismatch_invalid:.0%}: assignment and treatment "
            f"disagree.{without}"
        )  # fmt: skip
    elif wrong:
        level, text = Severity.WARN, (
            f"{wrong:,} of {exposures:,} exposures ({share:.2%}) were served another variant than assigned "
            f"without a cause on record{_beside('by what was served', shown)}.{without}"
        )  # fmt: skip
    else:
        level, text = Severity.OK, "Every unit was served what it was assigned, or the cause is on record."
    return Check(name="served", severity=level, message=text, numbers=numbers)


def fallbacks(exposures: int, fallen: int, limits: Thresholds) -> Check:
    """Exposures answered by a fallback: the effect is that of assignment (intention to treat), diluted."""
    if not exposures:
        return unchecked("fallback", _NOBODY)
    share = fallen / exposures
    level = Severity.WARN if share > limits.fallback_warn else Severity.OK
    text = (
        f"{fallen:,} exposures ({share:.2%}) fell back to control; the effect shown is that of assignment."
        if fallen
        else "No exposure fell back."
    )
    return Check(name="fallback", severity=level, message=text, numbers={"fallbacks": fallen, "share": share})


def carry_over(units: int, carried: int, limits: Thresholds) -> Check:
    """Units that came back in a later epoch; they stay counted in their first one."""
    if not units:
        return unchecked("carry-over", _NOBODY)
    share = carried / units
    level = Severity.WARN if share > limits.carried_warn else Severity.OK
    text = (
        f"{carried:,} units ({share:.2%}) came back in a later epoch; they count in their first epoch only."
        if carried
        else "No unit came back in a later epoch."
    )
    return Check(name="carry-over", severity=level, message=text, numbers={"units": carried, "share": share})


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


def outlier(found: Sequence[Carried] | Unseen, alpha: float, limits: Thresholds) -> Check:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """Units with an event in control and one other variant, and `p` of their being this many by chance.

    `expected`: the variant's share of these events if rates were equal. `margin`: the loss the rule allows.
    """

    metric: str
    variant: str
    control: str
    control_events: int
    variant_events: int
    expected: float
    margin: float
    p: float


def harm_p(
    control_events: ArrayLike, variant_events: ArrayLike, ratio: ArrayLike, *, margin: float, fewer: bool
) -> float:
    """Anytime-valid p that the variant's event rate is within `margin` of control's, over strata.

    Args:
        control_events, variant_events: units with the event per stratum, each unit once.
        ratio: intended variant units per control unit of each stratum.
        margin: the tolerated loss, relative to control's rate.
        fewer: events are good and fewer are harm; else more are.

    Log e-values of strata add: each stratum's events are a coin of their own. Lindon & Malek (2022).
    """
    c, t = np.asarray(control_events), np.asarray(variant_events)
    tolerated = np.asarray(ratio) * (1 - margin if fewer else 1 + margin)
    log_e = log_e_share(
        t, c + t, tolerated / (1 + tolerated), weight=concentration(TUNED_EVENTS),
        alternative=Alternative.LESS if fewer else Alternative.GREATER,
    )  # fmt: skip
    p, _ = anytime_p(np.asarray(log_e.sum()))
    return float(p)


def early_harm(found: Sequence[Canary] | Unseen, alpha: float) -> Check:
    """The strongest sign of early harm; all comparisons share alpha."""
    if isinstance(found, Unseen):
        return unchecked("early harm", found)
    worst = min(found, key=lambda canary: canary.p)
    p = min(1.0, worst.p * len(found))
    numbers: dict[str, float | int | str | None] = {
        "p": p, "metric": worst.metric, "variant": worst.variant, "events": worst.variant_events,
        "control_events": worst.control_events,
    }  # fmt: skip
    if p >= alpha:
        text = (
            f"The first events do not speak against any variant (exact sequence, p = {fmt.probability(p)})."
        )
        return Check(name="early harm", severity=Severity.OK, message=text, numbers=numbers)
    both = worst.control_events + worst.variant_events
    allowed = f" beyond its margin of {fmt.share(worst.margin)}" if worst.margin else ""
    text = (
        f"{worst.variant} is harmed in {worst.metric}{allowed}: {worst.variant_events:,} of {both:,} units "
        f"with the event are in it, where its allocation gives it {fmt.share(worst.expected)} of them. "
        f"The test is exact from the first event on (p = {fmt.probability(p)}); pause or ramp down rather "
        "than wait."
    )
    return Check(name="early harm", severity=Severity.WARN, message=text, numbers=numbers)
