"""Which tests share which correction: one family per kind of question, stated in the report.

Primary × variants: Holm, family-wise at alpha. Guardrails: each at full alpha, because all have to pass
(intersection-union). Secondary metrics × variants: Benjamini-Hochberg at alpha, with intervals at the
false-coverage level of those selected, so that flags and intervals agree. Segments × variants of a metric:
Benjamini-Hochberg on the p the rule decides by. Under a sequential design the same steps on p = min(1, 1/e)
are e-BH and e-BY, which need no assumption on how the tests depend on each other.

Sources: Benjamini & Yekutieli (2005), JASA 100:71 (FCR); Wang & Ramdas (2022), JRSS-B 84:822 (e-BH); Xu,
Wang & Ramdas, Post-selection inference for e-value based confidence intervals (e-BY).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.inference import contrast
from switchpoint.analysis.inference.multiplicity import Correction, adjust
from switchpoint.analysis.judgement.measure import Measured
from switchpoint.analysis.numerics.arrays import rows
from switchpoint.analysis.numerics.estimates import Estimates, Float
from switchpoint.experiment.definition.types import DecisionRule, Design, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """Per metric: the corrected headline p of each other variant at one look, whether it stays on its side of
    alpha with the wider standard error of the gate, and the intervals of the selected secondary comparisons
    (None where none is selected)."""

    adjusted: tuple[Float, ...]
    confirmed: tuple[NDArray[np.bool_], ...]
    selected: tuple[Estimates | None, ...]


def corrected(measured: Sequence[Measured], look: int, others: int, rule: DecisionRule) -> Corrected:
    """Correct the headline p-values of every metric at one look, and those with the wider standard error."""
    p, wide = ([m.p[look, :others] for m in measured], [m.confirmed[look, :others] for m in measured])
    adjusted, sure = _families(measured, p, rule), _families(measured, wide, rule)
    secondary = [place for place, m in enumerate(measured) if m.metric.role is Role.SECONDARY]
    shown = [adjusted[place] < rule.alpha for place in secondary]
    chosen, size = sum(int(own.sum()) for own in shown), sum(map(len, shown))
    selected: list[Estimates | None] = [None] * len(measured)
    for place, own in zip(secondary, shown, strict=True):
        if own.any():
            selected[place] = _interval(measured[place], look, rule.alpha * chosen / size, rule)
    return Corrected(
        adjusted=tuple(adjusted),
        confirmed=tuple(~(a < rule.alpha) | (b < rule.alpha) for a, b in zip(adjusted, sure, strict=True)),
        selected=tuple(selected),
    )


def _families(measured: Sequence[Measured], p: Sequence[Float], rule: DecisionRule) -> list[Float]:
    """The p-values of one look after the correction of each metric's family."""
    holm = rule.design is not Design.BAYESIAN  # a posterior is not corrected: its prior is what shrinks it
    adjusted = [
        adjust(own, Correction.HOLM) if m.metric.role is Role.PRIMARY and holm else own
        for m, own in zip(measured, p, strict=True)
    ]
    secondary = [place for place, m in enumerate(measured) if m.metric.role is Role.SECONDARY]
    if secondary and p[0].size:
        family = adjust(np.concatenate([p[place] for place in secondary]), Correction.BENJAMINI_HOCHBERG)
        for place, own in zip(secondary, family.reshape(len(secondary), -1), strict=True):
            adjusted[place] = own
    return adjusted


def _interval(m: Measured, look: int, alpha: float, rule: DecisionRule) -> Estimates:
    here = slice(m.start + look, m.start + look + 1)
    found = rows(m.whole.pairs.contrast, here)
    if rule.design is Design.FIXED:
        return contrast.effect(found, alpha=alpha)
    return contrast.sequence(found, n_star=m.whole.n_star[here], alpha=alpha)


def of_segments(p: Float) -> Float:
    """Headline p of segments × variants, corrected as one family."""
    return adjust(p.reshape(-1), Correction.BENJAMINI_HOCHBERG).reshape(p.shape) if p.size else p


def sentences(
    measured: Sequence[Measured], others: int, segments: int, rule: DecisionRule, pairs: int = 0
) -> tuple[str, ...]:
    """The families of a report in words; `pairs` of variants were compared with each other."""
    count = {role: sum(m.metric.role is role for m in measured) for role in Role}
    method = "BH" if rule.design is Design.FIXED else "e-BH"
    lines = [_primary(others, rule)]
    if guards := count[Role.GUARDRAIL]:
        lines.append(
            f"Guardrails: {_tests(guards * others)}, each at full {rule.alpha:g}, because all have to pass."
        )
    if other := count[Role.SECONDARY]:
        lines.append(
            f"Secondary: {_tests(other * others)}, {method} at {rule.alpha:g}; intervals of those selected "
            "keep the false coverage rate."
        )
    if pairs:
        lines.append(f"Pairs of variants: {_tests(pairs)} of each metric, Holm at {rule.alpha:g}.")
    if segments > 1:
        lines.append(segments_sentence(segments * others, rule))
    return tuple(lines)


def segments_sentence(tests: int, rule: DecisionRule) -> str:
    """The family of one metric's segments in words."""
    method = "BH" if rule.design is Design.FIXED else "e-BH"
    return (
        f"Segments: {tests} tests of a metric (segments × variants) in one family, {method} at "
        f"{rule.alpha:g}; units needed are those of its strictest step, {rule.alpha:g}/{tests}."
    )


def _primary(others: int, rule: DecisionRule) -> str:
    if rule.design is Design.BAYESIAN:
        return (
            f"Primary: posterior probability above {1 - rule.alpha / 2:g}, prior of the lift "
            f"N({rule.belief.mean:.3g}, {rule.belief.sd:.3g}²); not corrected for variants or looks: false "
            "promotions are not held at alpha when it is watched."
        )
    return (
        f"Primary: {_tests(others)}, Holm at {rule.alpha:g}."
        if others > 1
        else f"Primary: one comparison at {rule.alpha:g}."
    )


def _tests(number: int) -> str:
    return "one comparison" if number == 1 else f"{number} comparisons"
