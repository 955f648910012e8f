"""Harm that shows in the first events, long before a comparison of rates may speak.

Given that a unit converted (or met an error), the variant it is in is a coin with the allocation as its bias,
if the variants are alike. That coin is tested exactly at every event, so a canary of 1 % that breaks is seen
after a handful of errors, when no normal approximation holds yet. It warns and does not judge: the frozen
rule keeps its own error rates.
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
from switchpoint.analysis.results.judgement import Check, Severity
from switchpoint.analysis.validity.gates import unchecked


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


def check(found: Sequence[Canary] | Unseen, alpha: float) -> Check:
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
