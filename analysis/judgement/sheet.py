"""The columnar numbers of one metric as nested lists of plain values: [look][variant − 1].

Reading single places of arrays one by one is what a report would spend its time on; here every array is
turned into Python values once. None stands for a number that does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from switchpoint.analysis.judgement.measure import Headline, Measured
from switchpoint.analysis.judgement.plans import PlanRead, plans
from switchpoint.analysis.numerics import arrays as columnar
from switchpoint.analysis.numerics.estimates import Estimates, Float
from switchpoint.analysis.numerics.reasons import Reason
from switchpoint.analysis.results.numbers import DayPoint, Interval, Missing
from switchpoint.experiment.definition.types import DecisionRule

Mask = NDArray[np.bool_]
Numbers = list[list[float | None]]
Points = tuple[tuple[DayPoint, ...], ...]


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


Intervals = list[list[Interval | None]]


def intervals(low: Numbers, high: Numbers, code: list[list[int]]) -> Intervals:
    """The intervals between these sides; None where a code says that there is none."""
    return [
        [None if why_not else Interval(lower=a, upper=b) for a, b, why_not in zip(*row, strict=True)]
        for row in zip(low, high, code, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Span:
    """Intervals of one kind, and the codes why there is none."""

    interval: Intervals
    code: list[list[int]]

    def at(self, look: int, place: int) -> Interval | None:
        """The interval at a place; None where there is none."""
        return self.interval[look][place]

    def bounds(self, look: int, place: int) -> Interval:
        """The interval at a place that is known to have an estimate."""
        return self.interval[look][place] or Interval(lower=None, upper=None)

    def rows(self, here: slice) -> Span:
        """The same at these looks."""
        return Span(self.interval[here], self.code[here])


def span(found: Estimates) -> Span:
    """The intervals of estimates as lists."""
    code = found.reason.tolist()
    return Span(intervals(listed(found.low), listed(found.high), code), code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One metric, every array a nested list; `m` are the arrays themselves, `plans` the group sequential
    plans of all variants by look, `headline` the p-values the metric is decided by and `confirmed` the same
    with the wider standard error of the gate.

    `daily`: the points of the series, per variant other than control.
    """

    m: Measured
    daily: Points
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
    confirmed: Float
    plans: Mapping[int, tuple[PlanRead, ...]]

    def value(self, look: int, variant: int) -> float | None:
        """Numerator over denominator of a variant, strata summed."""
        below = self.denominator[look][variant]
        return self.numerator[look][variant] / below if below > 0 else None


def sheets(
    measured: Sequence[Measured],
    rule: DecisionRule,
    read: Mask | None = None,
    daily: Sequence[Points] | None = None,
) -> tuple[Sheet, ...]:
    """The lists of metrics that were measured together.

    Args:
        read: the looks that are read in full (None: all); at the others only the two sides' values and units
            have places.
        daily: the points of each metric's series, where there is one.
    """
    found = measured[0].whole
    part = _Part(np.flatnonzero(np.tile(read, len(measured))) if read is not None else None, len(found.n))
    pairs = found.pairs
    lists: dict[str, Any] = {
        "effect": part.numbers(found.effect.estimate),
        "error": part.numbers(found.effect.standard_error),
        "p": part.numbers(found.effect.p_value),
        "anytime_p": part.numbers(found.sequence.p_value),
        "lift": part.numbers(found.lift.estimate),
        "control": listed(pairs.control.mean),
        "treatment": listed(pairs.treatment.mean),
        "n_control": pairs.control.n.tolist(),
        "n_treatment": pairs.treatment.n.tolist(),
        "n": part.placed(found.n),
        "numerator": part.placed(found.numerator),
        "denominator": part.placed(found.denominator),
        "events": part.numbers(pairs.events),
        "needed": part.placed(pairs.needed),
        "method": part.placed(found.method),
    }
    spans: dict[str, Any] = {
        "interval": part.span(found.effect),
        "sequence": part.span(found.sequence),
        "lift_interval": part.span(found.lift),
        "lift_sequence": part.span(found.lift_sequence),
    }
    planned = [plans(m, rule) for m in measured]
    return tuple(
        Sheet(
            m=m,
            daily=() if daily is None else daily[place],
            plans=planned[place],
            headline=_headline(m, planned[place]),
            confirmed=_headline(m, planned[place], confirmed=True),
            **{name: column[m.start : m.end] for name, column in lists.items()},
            **{name: column.rows(slice(m.start, m.end)) for name, column in spans.items()},
        )
        for place, m in enumerate(measured)
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """The rows of arrays that are read place by place (None: all), as lists of `size` rows."""

    rows: NDArray[np.int64] | None
    size: int

    def numbers(self, values: Float) -> Numbers:
        """Numbers of these rows, None where one is not finite."""
        return self._placed(listed(values if self.rows is None else values[self.rows]))

    def placed(self, values: NDArray[Any]) -> list[list[Any]]:
        """Plain values of these rows."""
        found: list[list[Any]] = (values if self.rows is None else values[self.rows]).tolist()
        return self._placed(found)

    def span(self, found: Estimates) -> Span:
        """Intervals of these rows."""
        whole = span(found if self.rows is None else columnar.rows(found, self.rows))
        return Span(self._placed(whole.interval), self._placed(whole.code))

    def _placed(self, lists: list[list[Any]]) -> list[list[Any]]:
        """The others are one list without places, so that reading one fails."""
        if self.rows is None:
            return lists
        nothing: list[Any] = []
        found = [nothing] * self.size
        for row, own in zip(self.rows.tolist(), lists, strict=True):
            found[row] = own
        return found


def _headline(m: Measured, planned: Mapping[int, tuple[PlanRead, ...]], *, confirmed: bool = False) -> Float:
    """The p-values the metric is decided by; NaN where there is none. Away from the looks that a plan or a
    posterior decides, by the confidence sequence. Plans and posteriors have the wider error as they are."""
    found, once = m.whole, m.headline is Headline.INTERVAL
    own = found.effect if once else found.sequence
    wide = found.confirmed if once else found.sequence_confirmed
    here = slice(m.start, m.end)
    p = np.where(own.reason[here] == 0, (wide if confirmed else own.p_value)[here], np.nan)
    for look, reads in planned.items():
        p[look] = np.nan
        for v, one in enumerate(reads):
            if one.effect is not None and int(one.effect.reason[0]) == 0:
                p[look, v] = float(one.effect.p_value[0])
    if m.headline is Headline.POSTERIOR:
        better = m.posterior.better
        p[list(m.pooled_at)] = 2 * np.minimum(better, 1 - better)
    return p
