"""What charts are made of: Vega-Lite marks, axes and colours that all of them share.

Only marks and encodings are set here; colours of text, grid and background come from `theme`, so that one
specification serves light, dark and paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from switchpoint.analysis.results.header import Changed

Spec = dict[str, Any]

PALETTE = ("#3b7be0", "#c2571a", "#6b4fbb", "#0d8a72", "#b23a6f")
"""One colour per variant other than control: distinguishable in grey and for colour-blind readers."""

NEUTRAL = "#8a94a6"
"""Seen on a light and on a dark page."""

_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
_NULL_LINE = {"mark": {"type": "rule", "strokeDash": [4, 4], "opacity": 0.6}, "encoding": {}}


def theme(*, dark: bool) -> Spec:
    """Vega-Lite config for a light or dark page; the background stays transparent."""
    ink, grid = ("#d7dce5", "#343b47") if dark else ("#2b3240", "#e4e7ec")
    font = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
    return {
        "background": None,
        "font": font,
        "view": {"stroke": None},
        "axis": {
            "labelColor": ink,
            "titleColor": ink,
            "gridColor": grid,
            "domainColor": grid,
            "tickColor": grid,
            "labelFontSize": 12,
            "titleFontSize": 12,
            "titleFontWeight": 500,
            "labelLimit": 220,
        },
        "legend": {"labelColor": ink, "titleColor": ink, "labelFontSize": 12, "orient": "top", "title": None},
        "header": {"labelColor": ink},
        "rule": {"color": ink},
        "text": {"color": ink},
    }


def chart(rows: list[dict[str, Any]], layer: list[Spec], *, height: int | Mapping[str, int]) -> Spec:
    """Layers over one set of rows, as wide as the page."""
    return {
        "$schema": _SCHEMA,
        "width": "container",
        "height": height,
        "data": {"values": rows},
        "layer": layer,
    }


def null_line(axis: str) -> Spec:
    """The dashed line of no effect."""
    return {**_NULL_LINE, "encoding": {axis: {"datum": 0}}}


def y_axis(field: str, title: str) -> Spec:
    """A vertical axis that need not start at 0."""
    return {"field": field, "type": "quantitative", "title": title, "scale": {"zero": False, "nice": True}}


def colour(rows: list[dict[str, Any]]) -> Spec:
    """A colour per variant; a legend only where there are several."""
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    scale = {"domain": variants, "range": [PALETTE[i % len(PALETTE)] for i in range(len(variants))]}
    legend = {} if len(variants) > 1 else {"legend": None}
    return {"field": "variant", "type": "nominal", "scale": scale, **legend}


def tooltips(*fields: str) -> list[Spec]:
    """What a pointer shows of a mark."""
    numbers = {"effect", "lower", "upper", "share", "expected", "low", "high", "point", "shrunken"}
    return [
        {"field": f, **({"type": "quantitative", "format": ".3~f"} if f in numbers else {})} for f in fields
    ]


def days() -> Spec:
    """The axis of calendar days."""
    return {
        "field": "day",
        "type": "temporal",
        "title": None,
        "axis": {"format": "%b %d", "grid": False, "tickCount": 8},
        # days are UTC wherever the page is read
        "scale": {"type": "utc"},
    }


def band(low: str, high: str, title: str, rows: list[dict[str, Any]], *, opacity: float) -> Spec:
    """The area between two fields over the days; days without both are left out."""
    return {
        "transform": [{"filter": f"isValid(datum.{low}) && isValid(datum.{high})"}],
        "mark": {"type": "area", "opacity": opacity},
        "encoding": {
            "x": days(), "y": y_axis(low, title), "y2": {"field": high}, "color": colour(rows),
        },
    }  # fmt: skip


def changes(found: Sequence[Changed], rows: Sequence[Mapping[str, Any]]) -> list[Spec]:
    """A line at each day, among those of the rows, on which something about the experiment changed."""
    told: dict[str, list[str]] = {}
    first, last = min(row["day"] for row in rows), max(row["day"] for row in rows)
    for change in found:
        if first <= change.day <= last:
            told.setdefault(change.day, []).append(change.what)
    if not told:
        return []
    data = {"values": [{"day": day, "what": "; ".join(what)} for day, what in told.items()]}
    line = {"type": "rule", "strokeDash": [2, 3], "strokeWidth": 1.4, "color": NEUTRAL}
    # upright beside its line, where neighbours do not write over each other
    text = {
        "type": "text",
        "angle": 270,
        "align": "right",
        "baseline": "bottom",
        "dx": -4,
        "dy": -3,
        "fontSize": 11,
    }
    hints = [{"field": "day", "type": "temporal", "format": "%b %d"}, {"field": "what"}]
    return [
        {"data": data, "mark": line, "encoding": {"x": days(), "tooltip": hints}},
        {"data": data, "mark": text, "encoding": {"x": days(), "y": {"value": 0}, "text": {"field": "what"}}},
    ]


def interval_chart(rows: list[dict[str, Any]], order: list[str], title: str) -> Spec:
    """Points with their intervals, a line of text each; hollow diamonds where rows have `shrunken`."""
    lane = {"field": "variant", "sort": list(dict.fromkeys(r["variant"] for r in rows))}
    y = {"field": "where", "type": "nominal", "sort": order, "title": None, "axis": {"domain": False}}
    place = {"y": y, "yOffset": lane}
    x = {"type": "quantitative", "title": title, "scale": {"zero": True, "nice": True}}
    shrunken = [_diamond(place, x)] if any("shrunken" in row for row in rows) else []
    label: Spec = {
        "mark": {"type": "text", "dy": -12, "fontSize": 11},
        "encoding": {**place, "x": {"field": "point", **x}, "text": {"field": "label"}},
    }
    layers = [null_line("x"), _span(place, x, rows), *shrunken, _point(place, x, rows), label]
    return chart(rows, layers, height={"step": 44})


def _span(place: Spec, x: Spec, rows: list[dict[str, Any]]) -> Spec:
    ends = {"x": {"field": "lower", **x}, "x2": {"field": "upper"}}
    return {
        "transform": [{"filter": "isValid(datum.lower) && isValid(datum.upper)"}],
        "mark": {"type": "rule", "strokeWidth": 2.4},
        "encoding": {**place, **ends, "color": colour(rows)},
    }


def _point(place: Spec, x: Spec, rows: list[dict[str, Any]]) -> Spec:
    hints = tooltips("where", "variant", "point", "lower", "upper")
    return {
        "mark": {"type": "point", "filled": True, "size": 95, "opacity": 1},
        "encoding": {**place, "x": {"field": "point", **x}, "color": colour(rows), "tooltip": hints},
    }


def _diamond(place: Spec, x: Spec) -> Spec:
    return {
        "transform": [{"filter": "isValid(datum.shrunken)"}],
        "mark": {"type": "point", "shape": "diamond", "size": 130, "strokeWidth": 1.8, "color": NEUTRAL},
        "encoding": {
            **place, "x": {"field": "shrunken", **x}, "tooltip": tooltips("where", "variant", "shrunken"),
        },
    }  # fmt: skip
