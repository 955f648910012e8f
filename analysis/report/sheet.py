"""The columnar numbers of one metric as nested lists of plain values: [look][variant − 1].

Reading single places of arrays one by one is what a report would spend its time on; here every array is
turned into Python values once. None stands for a number that does not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.errors import Reason
from analysis.inference.result import Estimates, Float
from analysis.measure import Measured, Whole
from analysis.report.numbers import Interval, Missing
from experiment.definition import DecisionRule, Design

Numbers = list[list[float | None]]


def listed(values: Float) -> Numbers:
    """Nested lists with None where a number is not finite."""
    finite = np.isfinite(values)
    if finite.all():
        plain: Numbers = values.tolist()
        return plain
    column = values.astype(object)
    column[~finite] = None
    found: Numbers = column.tolist()
    return found


def why(code: int) -> Missing | None:
    """A reason code as a `Missing`; None for 0."""
    return _MISSING[code]


_MISSING: tuple[Missing | None, ...] = (
    None,
    *(Missing(code=reason.value, message=reason.sentence) for reason in Reason),
)


@dataclass(frozen=True, slots=True)
class Span:
    """Intervals of one kind: both sides, and the codes why there is none."""

    low: Numbers
    high: Numbers
    code: list[list[int]]

    def at(self, look: int, place: int) -> Interval | None:
        """The interval at a place; None where there is none."""
        if self.code[look][place]:
            return None
        return Interval(lower=self.low[look][place], upper=self.high[look][place])

    def bounds(self, look: int, place: int) -> Interval:
        """The interval at a place that is known to have an estimate."""
        return self.at(look, place) or Interval(lower=None, upper=None)

    def rows(self, here: slice) -> Span:
        """The same at these looks."""
        return Span(self.low[here], self.high[here], self.code[here])


def span(found: Estimates) -> Span:
    """The intervals of estimates as lists."""
    return Span(listed(found.low), listed(found.high), found.reason.tolist())


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One metric, every array a nested list; `m` are the arrays themselves."""

    m: Measured
    effect: Numbers
    error: Numbers
    p: Numbers
    interval: Span
    sequence: Span
    anytime_p: Numbers
    lift: Numbers
    lift_interval: Span
    lift_sequence: Span
    control: Numbers
    treatment: Numbers
    n_control: list[list[float]]
    n_treatment: list[list[float]]
    n: list[list[int]]
    numerator: list[list[float]]
    denominator: list[list[float]]
    events: Numbers
    needed: list[list[float]]
    method: list[list[str]]
    headline: Float

    def value(self, look: int, variant: int) -> float | None:
        """Numerator over denominator of a variant, strata summed."""
        below = self.denominator[look][variant]
        return self.numerator[look][variant] / below if below > 0 else None


def sheets(measured: Sequence[Measured], rule: DecisionRule) -> tuple[Sheet, ...]:
    """The lists of metrics that were measured together."""
    found = measured[0].whole
    lists: dict[str, Any] = {
        "effect": listed(found.effect.estimate),
        "error": listed(found.effect.standard_error),
        "p": listed(found.effect.p_value),
        "anytime_p": listed(found.sequence.p_value),
        "lift": listed(found.lift.estimate),
        "control": listed(found.pairs.control.mean),
        "treatment": listed(found.pairs.treatment.mean),
        "n_control": found.pairs.control.n.tolist(),
        "n_treatment": found.pairs.treatment.n.tolist(),
        "n": found.n.tolist(),
        "numerator": found.numerator.tolist(),
        "denominator": found.denominator.tolist(),
        "events": listed(found.pairs.events),
        "needed": found.pairs.needed.tolist(),
        "method": found.method.tolist(),
        "headline": headline_p(found, rule.design),
    }
    spans: dict[str, Any] = {
        "interval": span(found.effect),
        "sequence": span(found.sequence),
        "lift_interval": span(found.lift),
        "lift_sequence": span(found.lift_sequence),
    }
    return tuple(
        Sheet(
            m=m,
            **{name: column[m.start : m.end] for name, column in lists.items()},
            **{name: column.rows(slice(m.start, m.end)) for name, column in spans.items()},
        )
        for m in measured
    )


def headline_p(found: Whole, design: Design) -> Float:
    """The p-values the rule's design decides by; NaN where there is none."""
    own = found.effect if design is Design.FIXED else found.sequence
    return np.where(own.reason == 0, own.p_value, np.nan)
