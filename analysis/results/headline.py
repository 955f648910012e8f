"""The reading that decides a comparison, whatever the design: its interval, p and lift."""

from __future__ import annotations

from dataclasses import dataclass

from switchpoint.analysis.results.numbers import Comparison, Interval

NAMES = {
    "interval": "interval", "sequence": "confidence sequence", "planned": "repeated interval",
    "posterior": "credible interval of the lift",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Deciding:
    """The numbers the design decides by; `interval` is None where there is none, and for a posterior, which
    is of the lift. `better`: the posterior probability, None for every other design."""

    effect: float
    lift: float | None
    interval: Interval | None
    lift_interval: Interval | None
    p: float | None
    control_value: float | None
    variant_value: float | None
    better: float | None = None
    log10_p: float | None = None


def deciding(c: Comparison) -> Deciding | None:
    """The deciding numbers of a comparison; None where nothing was estimated, or no look was taken yet."""
    found, planned, posterior = c.estimate, c.planned, c.posterior
    if found is None:
        return None
    if c.headline == "planned":
        if planned is None or planned.effect is None:
            return None
        return Deciding(
            effect=planned.effect, lift=planned.lift, interval=planned.interval,
            lift_interval=planned.lift_interval, p=planned.p, control_value=planned.control_value,
            variant_value=planned.variant_value,
        )  # fmt: skip
    interval: Interval | None = found.interval
    log10_p = found.log10_p
    lift_interval: Interval | None = found.lift_interval
    p: float | None = found.p
    better: float | None = None
    if c.headline == "sequence":
        interval, lift_interval, p = found.sequence, found.lift_sequence, found.anytime_p
        log10_p = found.log10_anytime_p
    elif c.headline == "posterior":
        interval, p = None, None
        lift_interval = None if posterior is None else posterior.interval
        better = None if posterior is None else posterior.better
    return Deciding(
        effect=found.effect, lift=found.lift, interval=interval, lift_interval=lift_interval, p=p,
        control_value=found.control_value, variant_value=found.variant_value, better=better,
        log10_p=log10_p,
    )  # fmt: skip
