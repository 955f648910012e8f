"""The style sheet and the script of the self-contained HTML result."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f5f6f8; --card: #ffffff; --ink: #1d2430; --soft: #5c6675; --line: #e3e6eb;
  --good: #0b7a4b; --good-bg: #e4f5ec; --bad: #b3261e; --bad-bg: #fdeceb;
  --warn: #8a5a00; --warn-bg: #fdf3dc; --plain: #38506f; --plain-bg: #e9eff7; --accent: #2a6fdb;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12151b; --card: #1b2029; --ink: #e6e9ef; --soft: #9aa4b2; --line: #2c333f;
    --good: #5fd19a; --good-bg: #12301f; --bad: #ff9188; --bad-bg: #3b1a18;
    --warn: #f0c05a; --warn-bg: #352910; --plain: #a9c1e2; --plain-bg: #1d2a3c; --accent: #74a7f7;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
.wrap { max-width: 1160px; margin: 0 auto; padding: 28px 20px 60px; }
.eyebrow { color: var(--soft); font-size: 13px; margin: 0 0 6px; letter-spacing: .02em; }
header.verdict {
  background: var(--tone-bg); border: 1px solid var(--line); border-left: 8px solid var(--tone);
  border-radius: 14px; padding: 24px 28px;
}
header.verdict h1 { margin: 0 0 6px; font-size: 34px; line-height: 1.15; color: var(--tone); }
header.verdict .headline { font-size: 17px; margin: 0; max-width: 75ch; }
header.verdict .headline:empty { display: none; }
header.verdict ul { margin: 12px 0 0; padding-left: 20px; color: var(--ink); max-width: 90ch; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(180px, 1fr)); gap: 12px; }
.tiles { margin: 16px 0; }
.tile, section { background: var(--card); border: 1px solid var(--line); border-radius: 14px; }
.tile { padding: 14px 16px; }
.tile .name { color: var(--soft); font-size: 13px; }
.tile .figure { font-size: 22px; font-weight: 650; line-height: 1.3; font-variant-numeric: tabular-nums; }
.tile .detail { color: var(--soft); font-size: 13px; font-variant-numeric: tabular-nums; }
.meter { height: 8px; border-radius: 99px; background: var(--line); margin: 10px 0 4px; overflow: hidden; }
.meter span { display: block; height: 100%; border-radius: 99px; background: var(--tone); }
section { padding: 20px 24px; margin: 16px 0; }
section h2 { font-size: 18px; margin: 0 0 10px; letter-spacing: -.005em; }
section p, section ul { margin: 6px 0; max-width: 95ch; }
.note, figcaption { color: var(--soft); font-size: 13px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; margin: 8px 0; }
table { font-variant-numeric: tabular-nums; }
table.facts { max-width: 560px; }
th { text-align: left; color: var(--soft); font-weight: 550; font-size: 12.5px; vertical-align: bottom; }
th, td { padding: 7px 12px 7px 0; border-bottom: 1px solid var(--line); }
tbody tr:last-child td { border-bottom: 0; }
td { vertical-align: top; }
.num { text-align: right; white-space: nowrap; }
.good { color: var(--good); } .bad { color: var(--bad); } .warn { color: var(--warn); }
.muted { color: var(--soft); }
td.good, td.bad, td.warn { font-weight: 600; }
td.muted { white-space: nowrap; }
.tone-good { --tone: var(--good); --tone-bg: var(--good-bg); }
.tone-bad { --tone: var(--bad); --tone-bg: var(--bad-bg); }
.tone-warn { --tone: var(--warn); --tone-bg: var(--warn-bg); }
.tone-plain, .tone-muted { --tone: var(--plain); --tone-bg: var(--plain-bg); }
figure { margin: 14px 0 6px; }
.chart { width: 100%; min-height: 60px; }
.chart.vega-embed { display: block; }
details summary { cursor: pointer; color: var(--soft); font-size: 13px; }
footer { color: var(--soft); font-size: 12.5px; margin-top: 24px; overflow-wrap: anywhere; }
@media (max-width: 620px) { header.verdict h1 { font-size: 26px; } section { padding: 16px; } }
@media print {
  :root {
    --page: #fff; --card: #fff; --ink: #111; --soft: #555; --line: #ccc; --good: #0b7a4b; --good-bg: #fff;
    --bad: #b3261e; --bad-bg: #fff; --warn: #8a5a00; --warn-bg: #fff; --plain: #38506f; --plain-bg: #fff;
  }
  body { font-size: 11pt; }
  .wrap { max-width: none; padding: 0; }
  section, .tile, header.verdict, figure, tr { break-inside: avoid; }
  .chart text { fill: #222 !important; }
  details:not([open]) { display: none; }
  table { font-size: 9.5pt; }
}
"""

# `ast` evaluates chart expressions without eval, so the page's policy can forbid it.
SCRIPT = """
(function () {
  "use strict";
  var data = JSON.parse(document.getElementById("charts").textContent);
  var dark = window.matchMedia("(prefers-color-scheme: dark)");
  function draw() {
    var config = dark.matches ? data.dark : data.light;
    Object.keys(data.specs).forEach(function (key) {
      var place = document.getElementById("chart-" + key);
      if (!place) { return; }
      var options = { actions: false, renderer: "svg", ast: true, config: config };
      window.vegaEmbed(place, data.specs[key], options);
    });
  }
  dark.addEventListener("change", draw);
  draw();
})();
"""
