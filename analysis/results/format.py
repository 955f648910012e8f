"""Numbers as people read them; every rendering formats through here, so they all show the same digits."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, log10

from switchpoint.analysis.results.judgement import Interval, MetricReading

ABSENT = "–"
"""Stands where a number is missing; the reason stands beside it."""
_DECIMALS = 6
"""Decimals beyond which a small number is only bounded: nobody reads 7.51e-24 %."""
_WHOLE = 1e-9


def share(value: float | None, *, signed: bool = False, digits: int = 1) -> str:
    """A fraction as per cent: 0.0512 → `5.1%`; below 1 % with three significant digits."""
    if value is None:
        return ABSENT
    scaled = value * 100
    if 0 < abs(scaled) < 1:
        return f"{_small(scaled, 3, signed=signed)}%"
    return f"{scaled:{'+' if signed else ''}.{digits}f}%"


def count(value: int | None) -> str:
    """An integer with thousands separated by commas."""
    return ABSENT if value is None else f"{value:,}"


def amount(value: float | None, *, signed: bool = False) -> str:
    """A number in its own unit with four significant digits, never in scientific notation."""
    if value is None:
        return ABSENT
    sign = "+" if signed else ""
    if abs(value) >= 1000:
        return f"{value:{sign},.0f}"
    if value == 0 or abs(value) >= 0.1:
        return f"{value:{sign}.4g}"
    return _small(value, _DECIMALS, signed=signed)


def probability(value: float | None, log10: float | None = None) -> str:
    """A p-value with two significant digits, never 0: below what a float holds it is read from its `log10`,
    and without one it is `< 1e-300`."""
    if value is None:
        return ABSENT
    if value > 0:
        return f"{value:.2g}"
    if log10 is None:
        return "< 1e-300"
    exponent = floor(log10)
    return f"{10 ** (log10 - exponent):.1f}e{exponent}"


def p_is(value: float | None, log10: float | None = None) -> str:
    """A p-value in a sentence: `p = 0.03`, `p < 1e-300`."""
    text = probability(value, log10)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def days(number: float) -> str:
    """A time span: `1 day`, `6 hours`, `90 minutes`; whatever is whole and largest."""
    for size, noun in ((1, "day"), (24, "hour"), (24 * 60, "minute")):
        if abs(number * size - round(number * size)) < _WHOLE:
            return plural(round(number * size), noun)
    return plural(round(number * 86_400), "second")


def design(name: str) -> str:
    """A design's name as words: "group sequential"."""
    return name.replace("_", " ")


def plural(number: int, noun: str) -> str:
    """A number with its noun: `1 day`, `1,200 days`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def moment(instant: str) -> str:
    """An ISO instant in UTC as people write it: `2026-06-03 00:00 UTC`."""
    return f"{instant[:10]} {instant[11:16]} UTC"


def weeks(fast: int | None, slow: int | None) -> str:
    """Whole weeks as a range: `2`, `2 to 3`."""
    if fast is None or slow is None or fast == slow:
        return count(fast)
    return f"{fast:,} to {slow:,}"


def as_shares(metric: MetricReading) -> bool:
    """Whether the metric's values read best as per cent (proportions, and ratios of event counts)."""
    if metric.type == "proportion":
        return True
    values = [v.value for v in metric.values if v.value is not None]
    return metric.type == "ratio" and metric.decimals == 0 and bool(values) and max(map(abs, values)) <= 1


def value_of(metric: MetricReading, value: float | None) -> str:
    """A value of the metric: `10.32%` for shares, else the number."""
    return share(value, digits=2) if as_shares(metric) else amount(value)


def effect_of(metric: MetricReading, effect: float | None) -> str:
    """An absolute effect with its sign; percentage points for shares."""
    if effect is None or not as_shares(metric):
        return amount(effect, signed=True)
    return f"{_percentage_points(effect)} pp"


def interval_of(metric: MetricReading, interval: Interval | None) -> str:
    """An interval of absolute effects: `[+1.20, +3.40] pp`."""
    if interval is None:
        return ABSENT
    if as_shares(metric):
        return points(interval)
    return _brackets([_side(interval.lower, low=True), _side(interval.upper, low=False)])


def points(interval: Interval | None) -> str:
    """An interval of differences between shares, in percentage points."""
    if interval is None:
        return ABSENT
    sides = [
        _infinite(low=low) if side is None else _percentage_points(side)
        for side, low in ((interval.lower, True), (interval.upper, False))
    ]
    return f"{_brackets(sides)} pp"


def lift_interval(interval: Interval | None) -> str:
    """An interval of lifts: `[+1.2%, +3.4%]`."""
    if interval is None:
        return ABSENT
    return _brackets(
        [
            _infinite(low=low) if side is None else share(side, signed=True)
            for side, low in ((interval.lower, True), (interval.upper, False))
        ]
    )


def _percentage_points(difference: float) -> str:
    """Two decimals, below a hundredth two significant digits: a difference is never shown as none."""
    points = difference * 100
    return _small(points, 2, signed=True) if 0 < abs(points) < 0.01 else f"{points:+.2f}"


def _small(value: float, digits: int, *, signed: bool) -> str:
    """A number between -1 and 1 with so many significant digits, never in scientific notation, never as 0:
    beyond `_DECIMALS` decimals it is bounded, `<0.000001` or `>-0.000001`."""
    least = 10.0**-_DECIMALS
    if abs(value) < least / 2:
        return f"<{'+' if signed else ''}{least:f}" if value > 0 else f">-{least:f}"
    decimals = min(digits - 1 - floor(log10(abs(value))), _DECIMALS)
    return f"{value:{'+' if signed else ''}.{decimals}f}".rstrip("0").rstrip(".")


def _side(value: float | None, *, low: bool) -> str:
    return _infinite(low=low) if value is None else amount(value, signed=True)


def _infinite(*, low: bool) -> str:
    return "-∞" if low else "+∞"


def _brackets(sides: Sequence[str]) -> str:
    return f"[{', '.join(sides)}]"
