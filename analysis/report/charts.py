"""Charts of a report as Vega-Lite specifications: plain dicts, no drawing library.

Every chart is a function of the report and returns None where there is nothing to draw. Only marks and
encodings are set here; colours of text, grid and background come from `theme`, so that one specification
serves light, dark and paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import sqrt
from typing import Any

from analysis.report import format as fmt
from analysis.report.batch_model import ALL_GROUPS, BatchReport
from analysis.report.layout import primary
from analysis.report.model import Comparison, Interval, MetricReading, Report
from experiment.decision import VerdictKind

Spec = dict[str, Any]

PALETTE = ("#3b7be0", "#c2571a", "#6b4fbb", "#0d8a72", "#b23a6f")
"""One colour per variant other than control: distinguishable in grey and for colour-blind readers."""

_SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
_NULL_LINE = {"mark": {"type": "rule", "strokeDash": [4, 4], "opacity": 0.6}, "encoding": {}}
# 99.9 % of days lie inside ± this many standard errors: the sample-ratio threshold, p < .001
_DAY_BAND = 3.29


def charts(report: Report) -> dict[str, Spec]:
    """All charts that have something to show, by key, in reading order."""
    drawn = {
        "cumulative": cumulative(report),
        "segments": forest(report),
        "metrics": lifts(report),
        "ratio": daily_share(report),
    }
    return {key: spec for key, spec in drawn.items() if spec}


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


def forest(report: Report) -> Spec | None:
    """Effect on the primary metric, over all segments and in each, with its headline interval."""
    metric = primary(report.matured)
    if metric is None:
        return None
    rows = [row for c in metric.comparisons for row in _forest_rows(metric, c)]
    if not rows:
        return None
    order = list(dict.fromkeys(row["where"] for row in rows))
    title = f"effect on {metric.key}" + (", percentage points" if fmt.as_shares(metric) else "")
    return _interval_chart(rows, order, title)


def lifts(report: Report) -> Spec | None:
    """Lift of every metric with its interval; the direction that is better is in the label."""
    rows = []
    for metric in report.matured.metrics:
        for c in metric.comparisons:
            e = c.estimate
            bounds = e and (e.lift_sequence if c.headline == "sequence" else e.lift_interval)
            if e is None or e.lift is None or not isinstance(bounds, Interval):
                continue
            arrow = "lower is better" if metric.direction == "decrease" else "higher is better"
            where = f"{metric.key} ({arrow})"
            rows.append(
                _interval_row(c.variant, where, e.lift, bounds, 100.0, fmt.share(e.lift, signed=True))
            )
    if not rows:
        return None
    return _interval_chart(rows, list(dict.fromkeys(r["where"] for r in rows)), "lift, per cent of control")


def cumulative(report: Report) -> Spec | None:
    """Effect on the primary metric after each exposure day, inside its confidence sequence."""
    metric = primary(report.matured)
    if metric is None:
        return None
    scale = 100.0 if fmt.as_shares(metric) else 1.0
    rows = [
        {
            "variant": c.variant,
            "day": d.day,
            "effect": d.effect * scale,
            "lower": _scaled(d.sequence, "lower", scale),
            "upper": _scaled(d.sequence, "upper", scale),
            "units": d.n_control + d.n_variant,
        }
        for c in metric.comparisons
        for d in c.daily
        if d.effect is not None
    ]
    if not rows:
        return None
    title = f"effect on {metric.key}" + (", pp" if fmt.as_shares(metric) else "")
    x = {
        "field": "day",
        "type": "temporal",
        "title": None,
        "axis": {"format": "%b %d", "grid": False, "tickCount": 8},
    }
    colour = _colour(rows)
    return _spec(
        rows,
        [
            {
                "transform": [{"filter": "isValid(datum.lower) && isValid(datum.upper)"}],
                "mark": {"type": "area", "opacity": 0.18},
                "encoding": {"x": x, "y": _y("lower", title), "y2": {"field": "upper"}, "color": colour},
            },
            _null_line("y"),
            {
                "mark": {"type": "line", "point": {"size": 42}, "strokeWidth": 2.2},
                "encoding": {
                    "x": x,
                    "y": _y("effect", title),
                    "color": colour,
                    "tooltip": _tooltips("variant", "day", "effect", "lower", "upper", "units"),
                },
            },
        ],
        height=260,
    )


def daily_share(report: Report) -> Spec | None:
    """Share of each day's units that met the variant, inside the band 99.9 % of days fall into."""
    metric = primary(report.live)
    expected = _expected_shares(report)
    rows = []
    for c in metric.comparisons if metric else ():
        for d in c.daily:
            day_n = d.n_control_day + d.n_variant_day
            if day_n == 0 or c.variant not in expected:
                continue
            want = expected[c.variant]
            half = _DAY_BAND * sqrt(want * (1 - want) / day_n)
            rows.append({
                "variant": c.variant,
                "day": d.day,
                "share": 100 * d.n_variant_day / day_n,
                "expected": 100 * want,
                "low": 100 * max(0.0, want - half),
                "high": 100 * min(1.0, want + half),
                "units": day_n,
            })  # fmt: skip
    if not rows:
        return None
    x = {
        "field": "day",
        "type": "temporal",
        "title": None,
        "axis": {"format": "%b %d", "grid": False, "tickCount": 8},
    }
    colour = _colour(rows)
    title = "share of the day's units, per cent"
    return _spec(
        rows,
        [
            {
                "mark": {"type": "area", "opacity": 0.14},
                "encoding": {"x": x, "y": _y("low", title), "y2": {"field": "high"}, "color": colour},
            },
            {
                "mark": {"type": "line", "strokeDash": [4, 4], "opacity": 0.8},
                "encoding": {"x": x, "y": _y("expected", title), "color": colour},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
                "encoding": {
                    "x": x,
                    "y": _y("share", title),
                    "color": colour,
                    "tooltip": _tooltips("variant", "day", "share", "expected", "low", "high", "units"),
                },
            },
        ],
        height=200,
    )


VERDICT_COLOURS = {
    VerdictKind.PROMOTE: "#0d8a72", VerdictKind.KEEP: "#3b7be0", VerdictKind.CONTINUE: "#b9c0cb",
    VerdictKind.STOP: "#7a8494", VerdictKind.ROLLBACK: "#8e44ad", VerdictKind.INVALID: "#c0362c",
}  # fmt: skip


def verdicts_by_group(report: BatchReport) -> Spec | None:
    """Experiments by verdict in every group (quarter); None where there are no groups."""
    groups = [summary for summary in report.summaries if summary.group != ALL_GROUPS]
    kinds = [kind for kind in VerdictKind if any(g.verdicts.get(kind.value) for g in groups)]
    rows = [
        {
            "group": g.group,
            "verdict": kind.value,
            "experiments": g.verdicts.get(kind.value, 0),
            "place": place,
        }
        for g in groups
        for place, kind in enumerate(kinds)
    ]
    if not rows:
        return None
    colours = {"domain": [k.value for k in kinds], "range": [VERDICT_COLOURS[k] for k in kinds]}
    bars = {
        "mark": {"type": "bar", "width": {"band": 0.72}},
        "encoding": {
            "x": {"field": "group", "type": "ordinal", "title": None, "axis": {"labelAngle": 0}},
            "y": {"field": "experiments", "type": "quantitative", "title": "experiments"},
            "color": {"field": "verdict", "type": "nominal", "scale": colours, "sort": colours["domain"]},
            "order": {"field": "place"},
        },
    }
    return _spec(rows, [bars], height=240)


def _forest_rows(metric: MetricReading, comparison: Comparison) -> Iterable[dict[str, Any]]:
    scale = 100.0 if fmt.as_shares(metric) else 1.0
    readings = [
        ("all segments", comparison.estimate),
        *((s.segment, s.estimate) for s in comparison.segments),
    ]
    for where, estimate in readings:
        if estimate is None:
            continue
        bounds = estimate.sequence if comparison.headline == "sequence" else estimate.interval
        label = fmt.effect_of(metric, estimate.effect)
        yield _interval_row(comparison.variant, where, estimate.effect, bounds, scale, label)


def _interval_row(
    variant: str, where: str, point: float, bounds: Interval | None, scale: float, label: str
) -> dict[str, Any]:
    return {
        "variant": variant,
        "where": where,
        "point": point * scale,
        "lower": _scaled(bounds, "lower", scale),
        "upper": _scaled(bounds, "upper", scale),
        "label": label,
    }


def _interval_chart(rows: list[dict[str, Any]], order: list[str], title: str) -> Spec:
    lane = {"field": "variant", "sort": list(dict.fromkeys(r["variant"] for r in rows))}
    y = {"field": "where", "type": "nominal", "sort": order, "title": None, "axis": {"domain": False}}
    place = {"y": y, "yOffset": lane}
    colour = _colour(rows)
    x = {"type": "quantitative", "title": title, "scale": {"zero": True, "nice": True}}
    point = {**place, "x": {"field": "point", **x}}
    return _spec(
        rows,
        [
            _null_line("x"),
            {
                "transform": [{"filter": "isValid(datum.lower) && isValid(datum.upper)"}],
                "mark": {"type": "rule", "strokeWidth": 2.4},
                "encoding": {
                    **place,
                    "x": {"field": "lower", **x},
                    "x2": {"field": "upper"},
                    "color": colour,
                },
            },
            {
                "mark": {"type": "point", "filled": True, "size": 95, "opacity": 1},
                "encoding": {
                    **point,
                    "color": colour,
                    "tooltip": _tooltips("where", "variant", "point", "lower", "upper"),
                },
            },
            {
                "mark": {"type": "text", "dy": -12, "fontSize": 11},
                "encoding": {**point, "text": {"field": "label"}},
            },
        ],
        height={"step": 44},
    )


def _spec(rows: list[dict[str, Any]], layer: list[Spec], *, height: int | Mapping[str, int]) -> Spec:
    return {
        "$schema": _SCHEMA,
        "width": "container",
        "height": height,
        "data": {"values": rows},
        "layer": layer,
    }


def _null_line(axis: str) -> Spec:
    return {**_NULL_LINE, "encoding": {axis: {"datum": 0}}}


def _y(field: str, title: str) -> Spec:
    return {"field": field, "type": "quantitative", "title": title, "scale": {"zero": False, "nice": True}}


def _colour(rows: list[dict[str, Any]]) -> Spec:
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    scale = {"domain": variants, "range": [PALETTE[i % len(PALETTE)] for i in range(len(variants))]}
    legend = {} if len(variants) > 1 else {"legend": None}
    return {"field": "variant", "type": "nominal", "scale": scale, **legend}


def _tooltips(*fields: str) -> list[Spec]:
    numbers = {"effect", "lower", "upper", "share", "expected", "low", "high", "point"}
    return [
        {"field": f, **({"type": "quantitative", "format": ".3~f"} if f in numbers else {})} for f in fields
    ]


def _scaled(bounds: Interval | None, side: str, scale: float) -> float | None:
    value: float | None = getattr(bounds, side) if bounds else None
    return None if value is None else value * scale


def _expected_shares(report: Report) -> dict[str, float]:
    """Intended share of each variant among itself and control, from the strata summed."""
    overall = next((r for r in report.live.sample_ratio if r.scope == "overall"), None)
    if overall is None or overall.expected is None:
        return {}
    wanted = dict(zip(overall.variants, overall.expected, strict=True))
    control = wanted[overall.variants[0]]
    return {v: n / (n + control) for v, n in wanted.items() if v != overall.variants[0] and n + control > 0}
