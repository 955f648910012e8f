"""Results as self-contained HTML pages: no network, no eval, readable without scripts and on paper.

The pages are Jinja templates in `templates/`, beside their style sheets and scripts: `page.html.j2` is what
every page is made of, `parts.html.j2` the pieces that pages share. Here stands what the templates are given.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from switchpoint.analysis.planning.curves import Curve, Planned
from switchpoint.analysis.report.charts import verdicts_by_group
from switchpoint.analysis.report.marks import Spec, theme
from switchpoint.analysis.report.page import Tile, page_of, plan_page
from switchpoint.analysis.report.section import (
    VERDICT_TONE,
    Tone,
    transposed,
)
from switchpoint.analysis.report.sections import (
    batch_title,
    row_table,
    summary_table,
    table_notes,
)
from switchpoint.analysis.report.terms import meaning
from switchpoint.analysis.results import format as fmt
from switchpoint.analysis.results.batch import BatchResult
from switchpoint.analysis.results.judgement import ExperimentResult
from switchpoint.experiment.registry.decision import VerdictKind

SHOWN = 100
"""Experiments of many that a browser lays out before it is asked for more."""

_TEMPLATES = Path(__file__).parent / "templates"
_DRAWN_WIDTH = 1060
# In front of a number, not inside a date, a name or an option.
_MINUS = re.compile(r"(?<![\w.-])-(?=[\d∞.])")


def report_html(result: ExperimentResult) -> str:
    """One experiment as one page."""
    return _page("report.html.j2", page=page_of(result))


def batch_html(result: BatchResult) -> str:
    """Many experiments as one page; its table is complete without scripts."""
    head, whole, table = result.header, result.summaries[0], row_table(result, result.rows, reasons=True)
    columns, spec = table.columns[:-1], verdicts_by_group(result)
    mde = fmt.share(head.mde) if head.mde_relative else fmt.amount(head.mde)
    return _page(
        "batch.html.j2", title=batch_title(result),
        rule=(
            f"One rule judged every experiment: {fmt.design(head.design)} design, alpha {head.alpha:g}, "
            f"power {head.power:g}, MDE {mde}, evidence {head.evidence_required}."
        ),
        tiles=[
            Tile(kind, fmt.count(number), fmt.share(number / whole.experiments), tone=VERDICT_TONE[kind])
            for kind in VerdictKind
            if (number := whole.verdicts.get(kind, 0))
        ],
        drawn=None if spec is None else _drawn(spec), summary=summary_table(result),
        verdicts=[kind.value for kind in VerdictKind if any(row.verdict is kind for row in result.rows)],
        flags=sorted({flag.name for row in result.rows for flag in row.flags}), notes=table_notes(result),
        columns=columns, rows=list(zip(result.rows, table.rows, strict=True)), shown=SHOWN,
        # numbers are the usual case in this table and need no class
        words=["word" if table.is_text(i) or name == "flags" else "" for i, name in enumerate(columns)],
        footer=f"looked at {head.at}" if head.at else "a closed table",
    )  # fmt: skip


def power_html(plan: Planned, curves: Sequence[Curve], facts: Sequence[tuple[str, str]]) -> str:
    """A plan as one page: its facts, how power grows with units, and what effect can be seen.

    Args:
        facts: what the plan asks for and needs, as names and formatted values.
    """
    page = plan_page(plan, curves, facts)
    drawn = {key: _drawn(spec) for key, spec in page.charts.items()}
    return _page("power.html.j2", plan=plan, page=page, drawn=drawn)


def typeset(plain: str) -> str:
    """Text with a typographic minus in front of numbers; `--per-day` stays what is typed."""
    return _MINUS.sub("−", plain)


@cache
def environment(*folders: Path) -> Environment:
    """The templates, those of further folders among them: everything is escaped, and a name that is not there
    is an error."""
    found = Environment(
        loader=FileSystemLoader([*folders, _TEMPLATES]), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    found.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    found.filters |= {"moment": fmt.moment, "typeset": typeset}
    found.globals |= {
        "asset": asset, "chart_library": chart_library, "chart_themes": _themes, "classes": _classes,
        "meaning": meaning, "policy": _policy, "stylesheet": _stylesheet, "transposed": transposed,
    }  # fmt: skip
    return found


def _page(template: str, **given: object) -> str:
    return environment().get_template(template).render(given)


@cache
def asset(name: str) -> str:
    """A style sheet or a script beside the templates, as it is."""
    return (_TEMPLATES / name).read_text(encoding="utf-8")


@cache
def chart_library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one browser script (about 0.9 MB, offline)."""
    import vl_convert  # heavy, and only pages with charts need it

    source = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
    return source.replace("</script", "<\\/script")


@cache
def _themes() -> dict[str, Any]:
    """How charts look on a light page and on a dark one."""
    return {"light": theme(dark=False), "dark": theme(dark=True)}


def _drawn(spec: Spec) -> dict[str, str]:
    """A chart for pages that carry no chart library: drawn once for light, once for dark."""
    import vl_convert

    return {
        mode: vl_convert.vegalite_to_svg(
            {**spec, "width": _DRAWN_WIDTH, "config": theme(dark=mode == "dark")}
        )
        for mode in ("light", "dark")
    }


def _stylesheet(names: Sequence[str]) -> str:
    return "\n".join(map(asset, names))


def _policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """The page's policy: it loads nothing and uses these scripts and styles alone, by their hash."""
    return f"default-src 'none'; style-src {_hashes(styles)}; img-src data:; script-src {_hashes(scripts)}"


def _hashes(texts: Sequence[str]) -> str:
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
    return " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"


@cache
def _classes(*names: str) -> Markup:
    """The attribute of these classes; nothing where all are empty or plain."""
    kept = [name for name in names if name and name != Tone.PLAIN]
    return Markup(' class="{}"').format(" ".join(kept)) if kept else Markup("")
