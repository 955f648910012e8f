"""What a notebook shows of a report: its page in a frame of its own, its charts, its numbers as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.util import find_spec
from typing import Any, Literal

import narwhals.stable.v2 as nw

from switchpoint.analysis.report.marks import Spec, theme
from switchpoint.analysis.results.batch import BatchResult
from switchpoint.analysis.results.judgement import Comparison, ExperimentResult, Interval, MetricReading
from switchpoint.analysis.results.sentences import deciding
from switchpoint.experiment.errors import BadInput, suggest

_VEGALITE = "application/vnd.vegalite.v6+json"
_WIDTH, _HEIGHT = 760, 900
_TEXT = frozenset({
    "experiment", "metric", "role", "variant", "control", "finding", "first_day", "verdict", "reason",
    "flags",
})  # fmt: skip
Row = Mapping[str, str | float | None]
Backend = Literal["pandas", "polars"]


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart: a notebook draws it, `spec` is its Vega-Lite specification."""

    spec: Spec

    def to_svg(self) -> str:
        """The chart as a drawing."""
        import vl_convert  # heavy, and only charts need it

        return str(vl_convert.vegalite_to_svg(self.spec))

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, object]:
        """The specification for notebooks that draw it, the drawing for the others."""
        del include, exclude
        return {_VEGALITE: self.spec, "image/svg+xml": self.to_svg()}


def plot(charts: Mapping[str, Spec], name: str | None) -> Plot:
    """One of these charts, the first where none is named.

    Raises:
        BadInput: there is none of that name, or nothing to draw yet.
    """
    chosen = next(iter(charts), None) if name is None else name
    if chosen is None:
        raise BadInput("there is nothing to draw yet", fix="wait for the first matured exposure day.")
    if chosen not in charts:
        raise BadInput("no such chart", field="name", value=chosen, fix=suggest(chosen, list(charts)))
    return Plot({**charts[chosen], "width": _WIDTH, "config": {**theme(dark=False), "background": "white"}})


def framed(page: str, title: str) -> str:
    """A whole page inside a notebook, apart from the notebook's own styles and scripts."""
    return (
        f'<iframe title="{escape(title)}" sandbox="allow-scripts" width="100%" height="{_HEIGHT}" '
        f'srcdoc="{escape(page)}"></iframe>'
    )


def comparisons(result: ExperimentResult, backend: Backend) -> Any:
    """Every metric and variant on matured days as a data frame, a row each; what is missing is null.

    Raises:
        BadInput: the library is not installed.
    """
    rows = [_comparison(metric, c) for metric in result.matured.metrics for c in metric.comparisons]
    return _frame(rows, backend)


def experiments(result: BatchResult, backend: Backend) -> Any:
    """Every experiment as a data frame, a row each; what is missing is null.

    Raises:
        BadInput: the library is not installed.
    """
    rows: list[Row] = [
        {
            "experiment": row.experiment, "first_day": row.first_day, "verdict": row.verdict.value,
            "variant": row.variant, "control_value": row.control_value, "variant_value": row.variant_value,
            "effect": row.effect, "lift": row.lift, **_sides("lift", row.headline_lift), "p": row.headline_p,
            "adjusted_p": row.adjusted_p, "n": row.n, "n_compared": row.n_compared, "n_needed": row.n_needed,
            "sample_ratio_p": row.srm_p, "flags": ", ".join(flag.name for flag in row.flags),
            "reason": row.reason,
        }
        for row in result.rows
    ]  # fmt: skip
    return _frame(rows, backend)


def _comparison(metric: MetricReading, c: Comparison) -> Row:
    """One comparison by the numbers its design decides by."""
    found, read = c.estimate, deciding(c)
    return {
        "metric": metric.key, "role": metric.role, "variant": c.variant, "control": c.control,
        "n_control": _of(found, "n_control"), "n_variant": _of(found, "n_variant"),
        "control_value": _of(read, "control_value"), "variant_value": _of(read, "variant_value"),
        "effect": _of(read, "effect"), **_sides("effect", _of(read, "interval")),
        "lift": _of(read, "lift"), **_sides("lift", _of(read, "lift_interval")),
        "p": _of(read, "p"), "adjusted_p": c.adjusted_p, "finding": c.finding.value,
    }  # fmt: skip


def _of(record: object, name: str) -> Any:
    """A field of a record, None where there is no record."""
    return None if record is None else getattr(record, name)


def _sides(name: str, bounds: Interval | None) -> dict[str, float | None]:
    return {f"{name}_lower": _of(bounds, "lower"), f"{name}_upper": _of(bounds, "upper")}


def _frame(rows: Sequence[Row], backend: Backend) -> Any:
    if find_spec(backend) is None:
        raise BadInput(f"{backend} is not installed", fix=f"pip install 'switchpoint[{backend}]'")
    columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
    schema = {name: nw.String() if name in _TEXT else nw.Float64() for name in columns}
    return nw.from_dict(columns, schema, backend=backend).to_native()
