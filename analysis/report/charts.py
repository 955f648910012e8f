"""The charts of a report, of many experiments and of a plan, as Vega-Lite specifications: plain dicts.

A chart of results is a function of them, None where there is nothing to draw.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import sqrt
from typing import Any

from switchpoint.analysis.planning.curves import Curve, Planned, Point
from switchpoint.analysis.report.marks import (
    Spec,
    band,
    changes,
    chart,
    colour,
    days,
    interval_chart,
    null_line,
    tooltips,
    y_axis,
)
from switchpoint.analysis.report.section import headline_interval, part_interval, primary
from switchpoint.analysis.results import format as fmt
from switchpoint.analysis.results.batch import ALL_GROUPS, BatchResult
from switchpoint.analysis.results.judgement import (
    Comparison,
    DayPoint,
    ExperimentResult,
    Interval,
    MetricReading,
)
from switchpoint.analysis.results.sentences import deciding
from switchpoint.experiment.registry.decision import VerdictKind

# 99.9 % of days lie inside ± this many standard errors: the sample-ratio threshold, p < .001
_DAY_BAND = 3.29

VERDICT_COLOURS = {
    VerdictKind.PROMOTE: "#0d8a72", VerdictKind.KEEP: "#3b7be0", VerdictKind.CONTINUE: "#b9c0cb",
    VerdictKind.STOP: "#7a8494", VerdictKind.ROLLBACK: "#8e44ad", VerdictKind.INVALID: "#c0362c",
}  # fmt: skip


def charts(result: ExperimentResult) -> dict[str, Spec]:
    """All charts that have something to show, by key, in reading order."""
    drawn = {
        "cumulative": cumulative(result),
        "segments": forest(result),
        "dimensions": dimensions(result),
        "metrics": lifts(result),
        "ratio": daily_share(result),
        "arrivals": arrivals(result),
    }
    return {key: spec for key, spec in drawn.items() if spec}


def batch_charts(result: BatchResult) -> dict[str, Spec]:
    """All charts of many experiments that have something to show, by key."""
    spec = verdicts_by_group(result)
    return {} if spec is None else {"verdicts": spec}


def forest(result: ExperimentResult) -> Spec | None:
    """Effect on the primary metric, over all segments and in each, with its headline interval."""
    metric = primary(result.matured)
    if metric is None:
        return None
    rows = [row for c in metric.comparisons for row in _forest_rows(metric, c)]
    if not rows:
        return None
    order = list(dict.fromkeys(row["where"] for row in rows))
    return interval_chart(rows, order, _effect_title(metric))


def dimensions(result: ExperimentResult) -> Spec | None:
    """Effect on the primary metric in every value of every dimension, with its interval."""
    metric = primary(result.matured)
    if metric is None:
        return None
    rows = [
        _forest_row(
            metric, c.variant, f"{one.dimension}: {value.segment}", estimate.effect, bounds, value.shrunk
        )
        for one in result.dimensions
        for c in one.comparisons
        for value in c.values
        if (estimate := value.estimate) is not None
        for bounds in [part_interval(one.headline, estimate)]
    ]
    order = list(dict.fromkeys(row["where"] for row in rows))
    return interval_chart(rows, order, _effect_title(metric)) if rows else None


def lifts(result: ExperimentResult) -> Spec | None:
    """Lift of every metric with its interval; the direction that is better is in the label."""
    rows = []
    for metric in result.matured.metrics:
        for c in metric.comparisons:
            e = deciding(c)
            bounds = None if e is None else e.lift_interval
            if e is None or e.lift is None or bounds is None:
                continue
            arrow = "lower is better" if metric.direction == "decrease" else "higher is better"
            where = f"{metric.key} ({arrow})"
            rows.append(
                _interval_row(c.variant, where, e.lift, bounds, 100.0, fmt.share(e.lift, signed=True))
            )
    if not rows:
        return None
    return interval_chart(rows, list(dict.fromkeys(r["where"] for r in rows)), "lift, per cent of control")


def cumulative(result: ExperimentResult) -> Spec | None:
    """Effect on the primary metric after each exposure day, inside its confidence sequence."""
    metric = primary(result.matured)
    if metric is None:
        return None
    scale = _scale(metric)
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
    title = _effect_title(metric)
    hints = tooltips("variant", "day", "effect", "lower", "upper", "units")
    layers = [
        band("lower", "upper", title, rows, opacity=0.18),
        null_line("y"),
        {
            "mark": {"type": "line", "point": {"size": 42}, "strokeWidth": 2.2},
            "encoding": {"x": days(), "y": y_axis("effect", title), "color": colour(rows), "tooltip": hints},
        },
    ]
    layers += changes(result.header.changes, rows)
    return chart(rows, layers, height=260)


def daily_share(result: ExperimentResult) -> Spec | None:
    """Share of each day's units that met the variant, inside the band 99.9 % of days fall into."""
    metric = primary(result.live)
    expected = _expected_shares(result)
    rows = [
        row
        for c in (metric.comparisons if metric else ())
        if c.variant in expected
        for d in c.daily
        if (row := _share_row(c.variant, d, expected[c.variant])) is not None
    ]
    if not rows:
        return None
    title = "share of the day's units, per cent"
    hints = tooltips("variant", "day", "share", "expected", "low", "high", "units")
    x, hue = days(), colour(rows)
    layers = [
        band("low", "high", title, rows, opacity=0.14),
        {
            "mark": {"type": "line", "strokeDash": [4, 4], "opacity": 0.8},
            "encoding": {"x": x, "y": y_axis("expected", title), "color": hue},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
            "encoding": {"x": x, "y": y_axis("share", title), "color": hue, "tooltip": hints},
        },
    ]
    layers += changes(result.header.changes, rows)
    return chart(rows, layers, height=200)


def arrivals(result: ExperimentResult) -> Spec | None:
    """Units that arrived on each exposure day, by variant."""
    metric = primary(result.live)
    compared = metric.comparisons if metric is not None else ()
    rows: list[dict[str, Any]] = [
        {"variant": variant, "day": day, "units": units}
        for place, c in enumerate(compared)
        for d in c.daily
        for variant, day, units in (
            *([(c.control, d.day, d.n_control_day)] if not place else []),
            (c.variant, d.day, d.n_variant_day),
        )
    ]
    if not rows:
        return None
    rows.sort(key=lambda row: row["variant"] != compared[0].control)
    line = {
        "mark": {"type": "line", "point": {"size": 34}, "strokeWidth": 2},
        "encoding": {
            "x": days(), "y": {**y_axis("units", "units a day"), "scale": {"zero": True, "nice": True}},
            "color": colour(rows), "tooltip": tooltips("variant", "day", "units"),
        },
    }  # fmt: skip
    layers = [line, *changes(result.header.changes, rows)]
    return chart(rows, layers, height=200)


def verdicts_by_group(result: BatchResult) -> Spec | None:
    """Experiments by verdict in every group (quarter); None where there are no groups."""
    groups = [summary for summary in result.summaries if summary.group != ALL_GROUPS]
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
    return chart(rows, [bars], height=240)


def power_curves(plan: Planned, curves: Sequence[Curve]) -> Spec:
    """Power by units, a line per design."""
    rows = [_point(fmt.design(c.design), p, "power", 100 * p.power) for c in curves for p in c.powers]
    return _curves(rows, "power", "power, per cent", 100 * plan.power)


def lift_curves(plan: Planned, curves: Sequence[Curve]) -> Spec:
    """Smallest visible lift by units; of a control of 0 the effect itself."""
    relative = plan.mean != 0
    scale = 100 / abs(plan.mean) if relative else 1.0
    title = "smallest visible lift, per cent of control" if relative else "smallest visible effect"
    rows = [_point(fmt.design(c.design), p, "lift", scale * abs(p.effect)) for c in curves for p in c.lifts]
    return _curves(rows, "lift", title, scale * abs(plan.effect))


def _point(design: str, point: Point, field: str, value: float) -> dict[str, Any]:
    return {"variant": design, "units": point.units, field: value}


def _curves(rows: list[dict[str, Any]], field: str, title: str, level: float) -> Spec:
    x = {
        "field": "units", "type": "quantitative", "title": "units of both variants", "scale": {"zero": True},
        "axis": {"format": ",d", "tickCount": 8, "grid": False, "labelSeparation": 12},
    }  # fmt: skip
    y = {"field": field, "type": "quantitative", "title": title, "scale": {"zero": True, "nice": True}}
    hue = {**colour(rows), "legend": {"columns": 2}}  # four designs side by side are cut on a phone
    asked = {
        "mark": {"type": "rule", "strokeDash": [4, 4], "opacity": 0.7}, "encoding": {"y": {"datum": level}},
    }  # fmt: skip
    line = {
        "mark": {"type": "line", "strokeWidth": 2.4, "interpolate": "monotone", "point": {"size": 34}},
        "encoding": {"x": x, "y": y, "color": hue, "order": {"field": "units"}},
    }
    return chart(rows, [asked, line], height=280)


def _share_row(variant: str, day: DayPoint, want: float) -> dict[str, Any] | None:
    """One day's share and its band, in per cent; None on a day without units."""
    units = day.n_control_day + day.n_variant_day
    if not units:
        return None
    half = _DAY_BAND * sqrt(want * (1 - want) / units)
    return {
        "variant": variant,
        "day": day.day,
        "share": 100 * day.n_variant_day / units,
        "expected": 100 * want,
        "low": 100 * max(0.0, want - half),
        "high": 100 * min(1.0, want + half),
        "units": units,
    }


def _forest_rows(metric: MetricReading, comparison: Comparison) -> Iterable[dict[str, Any]]:
    readings = [
        ("all segments", comparison.estimate, None),
        *((s.segment, s.estimate, s.shrunk) for s in comparison.segments),
    ]
    for where, estimate, shrunk in readings:
        if estimate is None:
            continue
        # without a deciding interval of the effect (no look yet, a posterior) the one that may always be read
        bounds = headline_interval(comparison, estimate) or estimate.sequence
        read = deciding(comparison) if estimate is comparison.estimate else None
        effect = estimate.effect if read is None else read.effect
        yield _forest_row(metric, comparison.variant, where, effect, bounds, shrunk)


def _forest_row(
    metric: MetricReading, variant: str, where: str, effect: float, bounds: Interval | None,
    shrunk: float | None,
) -> dict[str, Any]:  # fmt: skip
    scale = _scale(metric)
    row = _interval_row(variant, where, effect, bounds, scale, fmt.effect_of(metric, effect))
    return row if shrunk is None else {**row, "shrunken": shrunk * scale}


def _scale(metric: MetricReading) -> float:
    """Shares are drawn in percentage points."""
    return 100.0 if fmt.as_shares(metric) else 1.0


def _effect_title(metric: MetricReading) -> str:
    return f"effect on {metric.key}" + (", percentage points" if fmt.as_shares(metric) else "")


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


def _scaled(bounds: Interval | None, side: str, scale: float) -> float | None:
    value: float | None = getattr(bounds, side) if bounds else None
    return None if value is None else value * scale


def _expected_shares(result: ExperimentResult) -> dict[str, float]:
    """Intended share of each variant among itself and control, from the strata summed."""
    overall = next((r for r in result.live.sample_ratio if r.scope == "overall"), None)
    if overall is None or overall.expected is None:
        return {}
    wanted = dict(zip(overall.variants, overall.expected, strict=True))
    control = wanted[overall.variants[0]]
    return {v: n / (n + control) for v, n in wanted.items() if v != overall.variants[0] and n + control > 0}
