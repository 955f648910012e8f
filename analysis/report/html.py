"""A report as one self-contained HTML page: no network, no eval, readable without scripts and on paper."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from html import escape
from typing import Any

from analysis.report import format as fmt
from analysis.report.batch_model import BatchReport
from analysis.report.batch_sections import batch_sections
from analysis.report.charts import Spec, charts, theme
from analysis.report.layout import VERDICT_TONE, Section, Table, Tone, primary_comparisons, transposed
from analysis.report.model import Comparison, MetricReading, Report
from analysis.report.page import SCRIPT, STYLE
from analysis.report.sections import daily_table, report_sections, said_once, verdict_label
from analysis.report.validity_sections import overall_ratio, ratio_finding

# Which chart stands in which section, and what it shows in words.
_CHART_OF = {"effect": "cumulative", "segments": "segments", "metrics": "metrics", "sample-ratio": "ratio"}
# More columns than this do not fit the page; a table of a few such rows is turned on its side.
_WIDEST = 10
_CAPTION = {
    "cumulative": "Effect after each exposure day; its band is a confidence sequence and may be read daily.",
    "segments": "Effect with its headline interval, over all segments and in each; dashed: no effect.",
    "metrics": "Lift of every metric with its headline interval.",
    "ratio": "Share of each day's units. The band holds 99.9 % of days when assignment works as intended.",
}


def html(report: Report) -> str:
    """The full report as one HTML page."""
    specs = charts(report)
    sections = [s for s in report_sections(report) if s.key != "verdict"]
    # a page is read for the effect first; what was asked stands with the other facts at the end
    sections.sort(key=lambda s: s.key in {"experiment", "thresholds"})
    body = [_verdict(report), _tiles(report), *(_section(s, report, specs) for s in sections)]
    head = report.header
    footer = f"definition {head.definition_digest or '–'} · rule {head.rule_digest or '–'}"
    payload = {"specs": specs, "light": theme(dark=False), "dark": theme(dark=True)}
    return _page(f"{head.key}: {verdict_label(report.verdict)}", body, footer, payload if specs else None)


def batch_html(report: BatchReport) -> str:
    """Many experiments as one HTML page (tables only)."""
    title = f"Experiments of {report.header.key}"
    body = [f"<h1>{escape(title)}</h1>", *(_plain_section(s) for s in batch_sections(report))]
    return _page(title, body, f"looked at {report.header.at}", None)


def _page(title: str, body: list[str], footer: str, payload: dict[str, Any] | None) -> str:
    scripts = [_bundle(), SCRIPT] if payload else []
    data = json.dumps(payload, separators=(",", ":")).replace("<", "\\u003c") if payload else ""
    holder = f'<script type="application/json" id="charts">{data}</script>' if payload else ""
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src {' '.join(map(_hash, scripts)) or chr(39) + 'none' + chr(39)}"
    )
    return "\n".join([
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>",
        '<body>\n<div class="wrap">',
        *body,
        f"<footer>{escape(footer)} · Switchpoint</footer>\n</div>",
        holder,
        *(f"<script>{code}</script>" for code in scripts),
        "</body>\n</html>\n",
    ])  # fmt: skip


def _verdict(report: Report) -> str:
    verdict, head = report.verdict, report.header
    said = [*verdict.reasons, *(f"What would change it: {text}" for text in verdict.what_would_change)]
    items = "".join(f"<li>{_text(line)}</li>" for line in (*said, *report.warnings))
    return (
        f'<header class="verdict tone-{VERDICT_TONE[verdict.kind].value}">'
        f'<p class="eyebrow">Experiment {escape(head.key)} · looked at {escape(head.at)}</p>'
        f'<h1>{_text(verdict_label(verdict))}</h1><p class="headline">{_text(said_once(verdict))}</p>'
        + (f"<ul>{items}</ul>" if items else "")
        + "</header>"
    )


def _tiles(report: Report) -> str:
    tiles = []
    for metric, comparison in primary_comparisons(report.matured):
        tiles += _comparison_tiles(metric, comparison)
    if (ratio := overall_ratio(report.matured if report.matured.n else report.live)) is not None:
        said = ratio_finding(ratio).text
        observed = " / ".join(fmt.count(n) for n in ratio.observed)
        figure = said if ratio.p is None else fmt.p_is(ratio.p)
        when = "" if report.matured.n else ", live"
        tiles.append(_tile(f"Sample ratio{when}", figure, f"{said} · {observed} units"))
    tiles.append(
        _tile("Units, matured", fmt.count(report.matured.n), fmt.plural(report.matured.days, "exposure day"))
    )
    if report.live.n != report.matured.n:
        days = fmt.plural(report.live.days, "exposure day")
        tiles.append(_tile("Units, live", fmt.count(report.live.n), days))
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _comparison_tiles(metric: MetricReading, comparison: Comparison) -> list[str]:
    tiles = []
    estimate, enough = comparison.estimate, comparison.sufficiency
    if estimate is not None:
        bounds = estimate.lift_sequence if comparison.headline == "sequence" else estimate.lift_interval
        values = [fmt.value_of(metric, v) for v in (estimate.control_value, estimate.variant_value)]
        name, effect = f"{metric.key} lift, {comparison.variant}", fmt.effect_of(metric, estimate.effect)
        tiles.append(_tile(name, fmt.share(estimate.lift, signed=True), fmt.lift_interval(bounds)))
        tiles.append(_tile(f"{metric.key} effect, {comparison.variant}", effect, " → ".join(values)))
    if enough is not None and enough.share is not None:
        width = min(100.0, 100 * enough.share)
        meter = (
            f'<div class="meter tone-{"good" if enough.enough else "warn"}" role="meter" aria-valuemin="0" '
            f'aria-valuemax="100" aria-valuenow="{width:.0f}" aria-label="units reached of units needed">'
            f'<span style="width:{width:.1f}%"></span></div>'
        )
        detail = f"{fmt.count(enough.n_now)} of {fmt.count(enough.n_needed)} units"
        tiles.append(
            _tile(f"Sample size, {comparison.variant}", fmt.share(enough.share, digits=0), detail, meter)
        )
    return tiles


def _tile(name: str, figure: str, detail: str, extra: str = "") -> str:
    return (
        f'<div class="tile"><div class="name">{_text(name)}</div><div class="figure">{_text(figure)}</div>'
        f'{extra}<div class="detail">{_text(detail)}</div></div>'
    )


def _section(section: Section, report: Report, specs: dict[str, Spec]) -> str:
    chart = _CHART_OF.get(section.key, "")
    figure = ""
    if chart in specs:
        caption = _CAPTION[chart]
        figure = (
            f'<figure><div class="chart" id="chart-{chart}" role="img" aria-label="{escape(caption)}">'
            "<noscript>The table below holds the same numbers.</noscript></div>"
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )
    if section.key == "effect":
        figure += _daily_table(report)
    if section.key == "thresholds" and section.table:
        inner = f"<details><summary>show</summary>{_table(section.table)}</details>"
        return f"<section><h2>{_text(section.title)}</h2>{inner}</section>"
    return _plain_section(section, figure)


def _plain_section(section: Section, figure: str = "") -> str:
    lines = "".join(f"<li>{_text(line)}</li>" for line in section.lines)
    notes = "".join(f'<p class="note">{_text(note)}</p>' for note in section.notes)
    return (
        f"<section><h2>{_text(section.title)}</h2>"
        + (f"<ul>{lines}</ul>" if lines else "")
        + figure
        + (_table(section.table) if section.table else "")
        + f"{notes}</section>"
    )


def _table(table: Table) -> str:
    kind_of = ""
    if len(table.columns) > _WIDEST and len(table.rows) <= 3:
        table, kind_of = transposed(table), ' class="facts"'

    def kind(place: int, tone: Tone = Tone.PLAIN) -> str:
        names = [
            *([] if table.is_text(place) else ["num"]),
            *([tone.value] if tone is not Tone.PLAIN else []),
        ]
        return f' class="{" ".join(names)}"' if names else ""

    head = "".join(f'<th scope="col"{kind(i)}>{_text(c)}</th>' for i, c in enumerate(table.columns))
    rows = "".join(
        "<tr>" + "".join(f"<td{kind(i, c.tone)}>{_text(c.text)}</td>" for i, c in enumerate(row)) + "</tr>"
        for row in table.rows
    )
    # a table of facts has no column names; screen readers would announce empty headers
    header = f"<thead><tr>{head}</tr></thead>" if any(table.columns) else ""
    return f'<div class="scroll"><table{kind_of}>{header}<tbody>{rows}</tbody></table></div>'


def _daily_table(report: Report) -> str:
    table = daily_table(report)
    return (
        f"<details><summary>Day by day, as a table</summary>{_table(table)}</details>" if table.rows else ""
    )


def _text(text: str) -> str:
    """Escaped text with a typographic minus in front of numbers."""
    return escape(text).replace("[-", "[−").replace(" -", " −") if text[:1] != "-" else "−" + _text(text[1:])


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


@cache
def _bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one browser script (about 0.9 MB, offline)."""
    import vl_convert  # heavy, and only this page needs it

    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")).replace(
        "</script", "<\\/script"
    )
