"""The chart of many experiments."""

from __future__ import annotations

from switchpoint.analysis.report.marks import Spec, chart
from switchpoint.analysis.results.batch import ALL_GROUPS, BatchResult
from switchpoint.experiment.registry.decision import VerdictKind

VERDICT_COLOURS = {
    VerdictKind.PROMOTE: "#0d8a72", VerdictKind.KEEP: "#3b7be0", VerdictKind.CONTINUE: "#b9c0cb",
    VerdictKind.STOP: "#7a8494", VerdictKind.ROLLBACK: "#8e44ad", VerdictKind.INVALID: "#c0362c",
}  # fmt: skip


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
