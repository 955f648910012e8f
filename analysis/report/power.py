"""A plan as one self-contained page: its facts, how power grows with units, and what effect can be seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from switchpoint.analysis.planning.curves import Curve, Planned, Point
from switchpoint.analysis.report.drawing import STYLE, figure
from switchpoint.analysis.report.marks import Spec, chart, colour
from switchpoint.analysis.report.markup import page, plain_section, text
from switchpoint.analysis.report.section import Cell, Section, Table, Tone
from switchpoint.analysis.results import format as fmt

_POWER = (
    "Power to find the planned effect, by units of both variants together. Dashed: the power asked for; "
    "where a line crosses it stand the units its design needs. Looking every day costs the distance between "
    "the lines."
)
_LIFT = (
    "Smallest effect that is found with the power asked for, by units of both variants together. Dashed: the "
    "planned one. The curve falls with the square root of the units: half the effect takes four "
    "times as many."
)


def power_html(plan: Planned, curves: Sequence[Curve], facts: Sequence[tuple[str, str]]) -> str:
    """The page.

    Args:
        facts: what the plan asks for and needs, as names and formatted values.
    """
    table = Table(
        columns=("", ""), rows=tuple((Cell(name, Tone.MUTED), Cell(value)) for name, value in facts), labels=2
    )
    head = (
        f'<header class="verdict tone-plain"><h1>How many units for {text(_lift(plan))}?</h1>'
        f'<p class="headline">{text(_answer(plan, curves))}</p></header>'
    )
    body = [
        head,
        plain_section(Section(key="plan", title="The plan", table=table)),
        plain_section(Section(key="power", title="Power", table=_points(curves)), power_figure(plan, curves)),
        plain_section(Section(key="lift", title="Visible effect"), lift_figure(plan, curves)),
    ]
    return page("Power", body, f"alpha {plan.alpha:g}, power {plan.power:g}", style=STYLE)


def power_figure(plan: Planned, curves: Sequence[Curve]) -> str:
    """Power by units."""
    rows = [_row(fmt.design(c.design), p, "power", 100 * p.power) for c in curves for p in c.powers]
    return figure(_lines(rows, "power", "power, per cent", 100 * plan.power), _POWER)


def lift_figure(plan: Planned, curves: Sequence[Curve]) -> str:
    """Smallest visible lift by units; of a control of 0 the effect itself."""
    relative = plan.mean != 0
    scale = 100 / abs(plan.mean) if relative else 1.0
    title = "smallest visible lift, per cent of control" if relative else "smallest visible effect"
    rows = [_row(fmt.design(c.design), p, "lift", scale * abs(p.effect)) for c in curves for p in c.lifts]
    return figure(_lines(rows, "lift", title, scale * abs(plan.effect)), _LIFT)


def _row(design: str, point: Point, field: str, value: float) -> dict[str, Any]:
    return {"variant": design, "units": point.units, field: value}


def _lines(rows: list[dict[str, Any]], field: str, title: str, level: float) -> Spec:
    x = {
        "field": "units", "type": "quantitative", "title": "units of both variants", "scale": {"zero": True},
        "axis": {"format": ",d", "tickCount": 8, "grid": False},
    }  # fmt: skip
    y = {"field": field, "type": "quantitative", "title": title, "scale": {"zero": True, "nice": True}}
    asked = {
        "mark": {"type": "rule", "strokeDash": [4, 4], "opacity": 0.7}, "encoding": {"y": {"datum": level}},
    }  # fmt: skip
    line = {
        "mark": {"type": "line", "strokeWidth": 2.4, "interpolate": "monotone", "point": {"size": 34}},
        "encoding": {"x": x, "y": y, "color": colour(rows), "order": {"field": "units"}},
    }
    return chart(rows, [asked, line], height=280)


def _points(curves: Sequence[Curve]) -> Table:
    """Units by power, a column per design."""
    powers = [point.power for point in curves[0].powers]
    rows = tuple(
        (Cell(fmt.share(power)), *(Cell(fmt.count(c.powers[place].units)) for c in curves))
        for place, power in enumerate(powers)
    )
    return Table(columns=("power", *(f"units, {fmt.design(c.design)}" for c in curves)), rows=rows)


def _lift(plan: Planned) -> str:
    lift = plan.lift(plan.effect)
    if lift is None:
        return f"an effect of {fmt.amount(plan.effect, signed=True)}"
    return f"a lift of {fmt.share(lift, signed=True)}"


def _answer(plan: Planned, curves: Sequence[Curve]) -> str:
    needed = {fmt.design(c.design): next(p.units for p in c.powers if p.power == plan.power) for c in curves}
    said = ", ".join(f"{fmt.count(units)} under the {design} design" for design, units in needed.items())
    return f"{said}, to find it with a power of {fmt.share(plan.power, digits=0)}."
