"""The picture of docs/upworthy.md as a Vega-Lite specification."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from bench.upworthy_tests import Share, Test, share
from switchpoint.analysis.report.marks import PALETTE, theme
from switchpoint.analysis.results.judgement import Severity


def picture(tests: Sequence[Test]) -> dict[str, Any]:
    """Broken sample ratios by quarter, and winners by the units a test had of those it needed."""
    clean = [t for t in tests if t.judged and t.period != "inside" and t.information is not None]
    style = theme(dark=False)
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "vconcat": [_ratio_chart(tests), _winner_chart(clean)],
        "resolve": {"scale": {"color": "independent"}},
        "spacing": 28,
        "padding": 18,
        "config": {
            **style,
            "background": "white",
            "title": {"anchor": "start", "frame": "group", "fontSize": 13},
        },
    }


def _ratio_chart(tests: Sequence[Test]) -> dict[str, Any]:
    groups: dict[str, list[Test]] = {}
    for test in tests:
        groups.setdefault(test.row.group or "", []).append(test)
    rows = [
        _point({"quarter": name}, share(own, lambda t: t.row.srm is Severity.INVALID))
        for name, own in sorted(groups.items())
    ]
    x = {
        "field": "quarter",
        "type": "ordinal",
        "title": "quarter in which the test started",
        "axis": {"labelAngle": 0},
    }
    return _dots(
        rows, x, PALETTE[1], "Tests whose units do not split as intended (p < .001), with 95 % intervals"
    )


def _winner_chart(clean: Sequence[Test]) -> dict[str, Any]:
    edges = [0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, np.inf]
    rows = []
    for low, high in pairwise(edges):
        own = [t for t in clean if low <= (t.information or 0.0) < high]
        if not own:
            continue
        name = f"{low:g} – {high:g}" if np.isfinite(high) else f"over {low:g}"
        winners = share(own, lambda t: t.winner is not None)
        chosen = share(own, lambda t: t.editor)
        rows.append(_point({"units": name, "who": "winner by the rule"}, winners))
        rows.append(_point({"units": name, "who": "editor's choice"}, chosen))
    x = {
        "field": "units",
        "type": "ordinal",
        "title": "units of the pair over units needed for the MDE",
        "sort": None,
        "axis": {"labelAngle": 0},
    }
    return _dots(
        rows,
        x,
        None,
        "Tests with a winner by the rule, and with an editor's choice, by how much data they had",
    )


def _point(labels: dict[str, str], found: Share) -> dict[str, Any]:
    low, high = found.bounds
    return {**labels, "share": found.count / found.of, "low": low, "high": high, "tests": found.of}


def _dots(
    rows: Sequence[dict[str, Any]], x: dict[str, Any], colour: str | None, title: str
) -> dict[str, Any]:
    y = {"type": "quantitative", "axis": {"format": ".0%"}, "title": "share of tests"}
    encoding: dict[str, Any] = {"x": x}
    if colour is None:
        who = {"field": "who", "type": "nominal", "title": None, "scale": {"range": [PALETTE[0], PALETTE[1]]}}
        encoding |= {"color": who, "xOffset": {"field": "who", "type": "nominal"}}
    mark = {} if colour is None else {"color": colour}
    return {
        "title": title,
        "width": 720,
        "height": 190,
        "data": {"values": list(rows)},
        "encoding": encoding,
        "layer": [
            {
                "mark": {"type": "rule", "strokeWidth": 2, **mark},
                "encoding": {"y": {**y, "field": "low"}, "y2": {"field": "high"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1, **mark},
                "encoding": {"y": {**y, "field": "share"}},
            },
        ],
    }
