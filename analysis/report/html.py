"""A report as one self-contained HTML page: no network, no eval, readable without scripts and on paper."""

from __future__ import annotations

from functools import cache
from html import escape

from switchpoint.analysis.report.charts import charts
from switchpoint.analysis.report.marks import Spec, theme
from switchpoint.analysis.report.markup import page, plain_section, table, text
from switchpoint.analysis.report.page import SCRIPT
from switchpoint.analysis.report.section import Section, primary_comparisons, verdict_tone
from switchpoint.analysis.report.sections import (
    daily_table,
    report_sections,
    said_once,
    unsaid,
    verdict_label,
)
from switchpoint.analysis.report.validity import overall_ratio, ratio_finding
from switchpoint.analysis.results import format as fmt
from switchpoint.analysis.results.headline import deciding
from switchpoint.analysis.results.judgement import Comparison, ExperimentResult, MetricReading

# Which chart stands in which section, and what it shows in words.
_CHART_OF = {"effect": "cumulative", "segments": "segments", "metrics": "metrics", "sample-ratio": "ratio"}
_CAPTION = {
    "cumulative": (
        "Effect after each exposure day inside its confidence sequence, which may be read every day: once "
        "the band has left the dashed line, an effect is shown."
    ),
    "segments": (
        "Effect with its interval, over all segments and in each. An interval that crosses the dashed line "
        "shows no difference. Hollow diamonds are the shrunken effects, the ones to rank segments by."
    ),
    "metrics": (
        "Lift of every metric with its interval. An interval that crosses the dashed line shows no "
        "difference."
    ),
    "ratio": (
        "Share of each day's units that met the variant; dashed: as intended. The band holds 99.9 % of days "
        "when assignment works, so a point outside it is a day on which units were lost or moved."
    ),
}


def html(result: ExperimentResult) -> str:
    """The full report as one HTML page."""
    specs = charts(result)
    sections = [s for s in report_sections(result) if s.key != "verdict"]
    # a page is read for the effect first; what was asked stands with the other facts at the end
    sections.sort(key=lambda s: s.key in {"experiment", "thresholds"})
    body = [_verdict(result), _tiles(result), *(_section(s, result, specs) for s in sections)]
    head = result.header
    footer = f"definition {head.definition_digest or '–'} · rule {head.rule_digest or '–'}"
    title = f"{head.key}: {verdict_label(result.verdict)}"
    if not specs:
        return page(title, body, footer)
    payload = {"specs": specs, "light": theme(dark=False), "dark": theme(dark=True)}
    return page(title, body, footer, scripts=(_bundle(), SCRIPT), data=payload)


def _verdict(result: ExperimentResult) -> str:
    verdict, head = result.verdict, result.header
    said = [*verdict.reasons, *(f"What would change it: {change}" for change in verdict.what_would_change)]
    items = "".join(f"<li>{text(line)}</li>" for line in (*said, *unsaid(result)))
    return (
        f'<header class="verdict tone-{verdict_tone(verdict).value}">'
        f'<p class="eyebrow">Experiment {escape(head.key)} · looked at {escape(head.at)}</p>'
        f'<h1>{text(verdict_label(verdict))}</h1><p class="headline">{text(said_once(verdict))}</p>'
        + (f"<ul>{items}</ul>" if items else "")
        + "</header>"
    )


def _tiles(result: ExperimentResult) -> str:
    tiles = []
    for metric, comparison in primary_comparisons(result.matured):
        tiles += _comparison_tiles(metric, comparison)
    if (ratio := overall_ratio(result.matured if result.matured.n else result.live)) is not None:
        said = ratio_finding(ratio).text
        observed = " / ".join(fmt.count(n) for n in ratio.observed)
        figure = said if ratio.p is None else fmt.p_is(ratio.p)
        when = "" if result.matured.n else ", live"
        tiles.append(_tile(f"Sample ratio{when}", figure, f"{said} · {observed} units"))
    tiles.append(
        _tile("Units, matured", fmt.count(result.matured.n), fmt.plural(result.matured.days, "exposure day"))
    )
    if result.live.n != result.matured.n:
        days = fmt.plural(result.live.days, "exposure day")
        tiles.append(_tile("Units, live", fmt.count(result.live.n), days))
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _comparison_tiles(metric: MetricReading, comparison: Comparison) -> list[str]:
    tiles = []
    estimate, enough = comparison.estimate, comparison.sufficiency
    if estimate is not None:
        read = deciding(comparison)
        shown, bounds = read or estimate, None if read is None else read.lift_interval
        values = [fmt.value_of(metric, v) for v in (shown.control_value, shown.variant_value)]
        name, effect = f"{metric.key} lift, {comparison.variant}", fmt.effect_of(metric, shown.effect)
        tiles.append(_tile(name, fmt.share(shown.lift, signed=True), fmt.lift_interval(bounds)))
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
        f'<div class="tile"><div class="name">{text(name)}</div><div class="figure">{text(figure)}</div>'
        f'{extra}<div class="detail">{text(detail)}</div></div>'
    )


def _section(section: Section, result: ExperimentResult, specs: dict[str, Spec]) -> str:
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
        figure += _daily_table(result)
    if section.key == "thresholds" and section.table:
        inner = f"<details><summary>show</summary>{table(section.table)}</details>"
        return f"<section><h2>{text(section.title)}</h2>{inner}</section>"
    return plain_section(section, figure)


def _daily_table(result: ExperimentResult) -> str:
    cells = daily_table(result)
    if not cells.rows:
        return ""
    return f"<details><summary>Day by day, as a table</summary>{table(cells)}</details>"


@cache
def _bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one browser script (about 0.9 MB, offline)."""
    import vl_convert  # heavy, and only this page needs it

    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")).replace(
        "</script", "<\\/script"
    )
