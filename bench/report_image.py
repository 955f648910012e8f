"""Draws the two main charts of a demo run's report into docs/images/report.png.

switchpoint --data here demo --once && python -m bench.report_image here/demo docs/images
"""

from __future__ import annotations

import sys
from pathlib import Path

import vl_convert

from switchpoint.analysis.report.charts import charts
from switchpoint.analysis.report.marks import theme
from switchpoint.analysis.report.sections import verdict_label
from switchpoint.router.cli.context import Context
from switchpoint.router.demo.plan import EXPERIMENT, LOOK
from switchpoint.router.judging import look

WIDTH = 680


def main(data: Path, target: Path) -> None:
    """Write the picture."""
    context = Context(data, "default", debug=False)
    try:
        report = look(context.catalog, context.ledger, EXPERIMENT, at=LOOK).report
    finally:
        context.close()
    drawn = charts(report)
    titles = {
        "cumulative": f"{EXPERIMENT}: effect on click-through by day, with its confidence sequence",
        "segments": "the same by segment, after two weeks",
    }
    parts = [{**drawn[key], "width": WIDTH, "title": title} for key, title in titles.items()]
    for part in parts:
        del part["$schema"]
    style = theme(dark=False)
    spec = {
        "$schema": drawn["segments"]["$schema"],
        "vconcat": parts,
        "title": {
            "text": f"Verdict: {verdict_label(report.verdict)}",
            "anchor": "start",
            "fontSize": 18,
            "offset": 14,
        },
        "spacing": 28,
        "padding": 18,
        "config": {
            **style,
            "background": "white",
            "title": {"anchor": "start", "frame": "group", "fontSize": 13},
        },
    }
    target.mkdir(parents=True, exist_ok=True)
    (target / "report.png").write_bytes(vl_convert.vegalite_to_png(spec, scale=2))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
